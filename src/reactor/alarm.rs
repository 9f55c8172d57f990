//! Exact time: deadlines met to a few microseconds.
//!
//! A poll's own timeout is too coarse for that: mio rounds it up to whole milliseconds. A timerfd (timerfd_create(2))
//! ends a poll some 14 µs late, and later where it has to wake a sleeping CPU. A loop that polls without waiting is
//! never late, and takes a whole CPU. So the loop sleeps by a timerfd until shortly before a deadline, and polls for
//! the rest.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::calls::{Call, Calls, Epoll, Held, told, told_open};
use super::token::Token;
use crate::error::Error;
use crate::moment::Moment;

/// For a deadline nearer than this the loop polls without waiting.
const NEAR: Duration = Duration::from_micros(200);

#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    /// The deadline that the timer was last set for.
    deadline: Option<Moment>,
    /// Time spent so far in polls, and in turns that had nothing to do.
    polled: Duration,
    /// The part of it in which the loop polled without waiting, and found nothing.
    spun: Duration,
    /// When the last poll began, and when the turn after it did.
    poll_began: Moment,
    turn_began: Moment,
    /// The poll does not wait.
    is_spinning: bool,
    /// The last turn had nothing to do.
    was_idle: bool,
}

impl Alarm {
    pub(super) fn new<C: Calls>(epoll: &Epoll<C>, start: Moment) -> Result<Held<Self, C>, Error> {
        let failed = |source| Error::Loop { part: "timerfd", source };
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(io::Error::from).map(Self::with(start));
        let alarm = told_open(epoll.calls(), &Call::TimerCreate, timer).map_err(failed)?;
        let fd = alarm.as_raw_fd();
        // The timer is never read. Setting it forgets that it has expired (timerfd_settime(2)), so that the next time
        // is a new edge.
        epoll.add(&mut SourceFd(&fd), fd, Token::Alarm, Interest::READABLE).map_err(failed)?;
        Ok(alarm)
    }

    fn with(start: Moment) -> impl FnOnce(TimerFd) -> Self {
        move |timer| Self {
            timer,
            deadline: None,
            polled: Duration::ZERO,
            spun: Duration::ZERO,
            poll_began: start,
            turn_began: start,
            is_spinning: false,
            was_idle: false,
        }
    }

    /// A turn has ended. It began at this moment, and had something to do or not.
    pub(super) fn turn_ended(&mut self, began: Moment, was_busy: bool) {
        let poll = began.since(self.poll_began);
        self.polled += poll;
        if self.is_spinning && !was_busy {
            self.spun += poll;
        }
        self.turn_began = began;
        self.was_idle = !was_busy;
    }

    /// A poll is about to begin: sets the timer, if need be, to end it in time for this deadline. Returns how long the
    /// poll may wait as far as the deadline is concerned; `None` is for ever, until the timer ends it.
    pub(super) fn poll_begins(
        &mut self,
        now: Moment,
        deadline: Option<Moment>,
        calls: &impl Calls,
    ) -> Option<Duration> {
        self.poll_began = now;
        if self.was_idle {
            let turn = now.since(self.turn_began);
            self.polled += turn;
            self.spun += turn;
        }
        let deadline = deadline?;
        let left = deadline.since(now);
        if left <= NEAR {
            return Some(Duration::ZERO);
        }
        if self.deadline != Some(deadline) {
            let sleep = Expiration::OneShot(TimeSpec::from_duration(left - NEAR));
            let set = self.timer.set(sleep, TimerSetTimeFlags::empty()).map_err(io::Error::from);
            let call = Call::TimerSet { fd: self.as_raw_fd(), after: left - NEAR };
            if told(calls, &call, set).is_err() {
                // The poll's own timeout is late, but better than none.
                return Some(left);
            }
            self.deadline = Some(deadline);
        }
        None
    }

    /// The poll that begins waits for this long at most.
    pub(super) fn waits(&mut self, wait: Option<Duration>) {
        self.is_spinning = wait == Some(Duration::ZERO);
    }

    /// Time spent so far in polls, and in turns that had nothing to do.
    pub(super) fn polled(&self) -> Duration {
        self.polled
    }

    /// The part of it in which the loop polled without waiting, and found nothing.
    pub(super) fn spun(&self) -> Duration {
        self.spun
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_fd().as_raw_fd()
    }
}
