//! Exact time: a timerfd (timerfd_create(2)) where mio's milliseconds are too coarse, and polling where even its few
//! microseconds are.
//!
//! A timerfd fires some 14 µs late, more where the CPU has to be woken; a poll that does not wait is never late, and
//! takes a CPU. So what is far off is slept for, what is near is polled for.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::token::Token;
use crate::error::Error;
use crate::moment::Moment;

/// Deadlines nearer than this are polled for.
const NEAR: Duration = Duration::from_micros(200);

#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    /// The deadline that it is set for.
    set: Option<Moment>,
    /// Time spent in polls so far, and in turns that had nothing to do.
    polled: Duration,
    /// When the last poll began, and when the turn after it did.
    poll_began: Moment,
    turn_began: Moment,
    /// The last turn had nothing to do.
    was_idle: bool,
}

impl Alarm {
    pub(super) fn new(registry: &Registry, start: Moment) -> Result<Self, Error> {
        let failed = |source| Error::Loop { part: "timerfd", source };
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(|errno| failed(errno.into()))?;
        // Never read: each time it is set anew that begins anew, and so does the edge.
        registry
            .register(&mut SourceFd(&timer.as_fd().as_raw_fd()), Token::Alarm.into(), Interest::READABLE)
            .map_err(failed)?;
        Ok(Self { timer, set: None, polled: Duration::ZERO, poll_began: start, turn_began: start, was_idle: false })
    }

    /// A turn has ended, which began at this moment, and had anything to do or not.
    pub(super) fn turn_ended(&mut self, began: Moment, was_busy: bool) {
        self.polled += began.since(self.poll_began);
        self.turn_began = began;
        self.was_idle = !was_busy;
    }

    pub(super) fn polled(&self) -> Duration {
        self.polled
    }

    /// A poll begins now: sees to it that it ends in time for this deadline; how long it may wait on its own account.
    pub(super) fn poll_begins(&mut self, now: Moment, deadline: Option<Moment>) -> Option<Duration> {
        self.poll_began = now;
        if self.was_idle {
            self.polled += now.since(self.turn_began);
        }
        let deadline = deadline?;
        let left = deadline.since(now);
        if left <= NEAR {
            return Some(Duration::ZERO);
        }
        if self.set != Some(deadline) {
            let sleep = Expiration::OneShot(TimeSpec::from_duration(left - NEAR));
            if self.timer.set(sleep, TimerSetTimeFlags::empty()).is_err() {
                return Some(left);
            }
            self.set = Some(deadline);
        }
        None
    }
}
