//! Signals as events: signalfd(2).
//!
//! A signal goes to any thread that does not block it, so the ones taken here must be blocked in every thread. Threads
//! inherit the mask of the thread that starts them (pthread_sigmask(3)); where the mask is set before there are others,
//! all have it. The command does that; for the library it is opt-in
//! ([`Reactor::watch_signals`](super::Reactor::watch_signals)), because an embedder may have threads already.
//!
//! SIGHUP is left alone. A blocked signal reaches the descriptor even where it is to be ignored, and so nohup(1) would
//! have no effect.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};

use super::calls::{Call, Calls, Held, told_open};
use crate::error::{Error, describe};

#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 in this thread, and in those it starts from now on, and takes them.
    pub(super) fn take_over<C: Calls>(calls: &C) -> Result<Held<Self, C>, Error> {
        let ours: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2].into_iter().collect();
        let taken = ours.thread_block().and_then(|()| {
            let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
            SignalFd::with_flags(&ours, flags)
        });
        let taken = taken.map(Self).map_err(io::Error::from);
        told_open(calls, &Call::SignalFd, taken).map_err(|source| Error::Loop { part: "signalfd", source })
    }

    /// The next signal that has arrived.
    pub(super) fn next(&self, calls: &impl Calls) -> Option<Signal> {
        loop {
            let read = self.0.read_signal();
            tell(self.as_raw_fd(), &read, calls);
            match read {
                Ok(info) => return Signal::try_from(i32::try_from(info?.ssi_signo).ok()?).ok(),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    let cause = describe(&errno.into());
                    // Logged first: a signal that is pending ends the process in the next call.
                    log::warn!(
                        "signals cannot be read ({cause}): SIGINT and SIGTERM now end at once, without draining"
                    );
                    give_back();
                    return None;
                }
            }
        }
    }
}

/// Tells of a read of the descriptor.
fn tell(fd: RawFd, read: &nix::Result<Option<siginfo>>, calls: &impl Calls) {
    let call = |signal| Call::ReadSignal { fd, signal };
    match read {
        Ok(Some(info)) => calls.made(&call(i32::try_from(info.ssi_signo).ok()), Ok(size_of::<siginfo>())),
        Ok(None) => calls.made(&call(None), Err(&Errno::EAGAIN.into())),
        Err(errno) => calls.made(&call(None), Err(&(*errno).into())),
    }
}

/// Unblocks SIGINT and SIGTERM. They then end the process at once, which is their default action; if they stayed blocked
/// and nobody read them, only SIGKILL would. The others stay blocked: their default action is the same.
pub(super) fn give_back() {
    let ending: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    // It cannot fail for a valid set of signals (pthread_sigmask(3)).
    let _ = ending.thread_unblock();
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Readable when a signal has arrived.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
