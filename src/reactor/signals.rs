//! Signals as events: signalfd(2).
//!
//! A signal of ours must be blocked in every thread, so that only the descriptor sees it. SIGHUP stays as it is, or nohup(1) would have no effect: a blocked signal is never ignored.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::Error;

fn ours() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1].into_iter().collect()
}

fn failed(source: std::io::Error) -> Error {
    Error::Loop { part: "signalfd", source }
}

#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks SIGINT, SIGTERM and SIGUSR1 in this thread, and in those it starts from now on, and takes them.
    pub(super) fn take_over() -> Result<Self, Error> {
        ours().thread_block().map_err(|errno| failed(errno.into()))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&ours(), flags).map(Self).map_err(|errno| failed(errno.into()))
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }

    /// The next signal that has arrived.
    pub(super) fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}
