//! Exact timers: delayed answers and schedules. Timeouts of connections are not here but in `sweep`.
//!
//! A heap, ordered by time and never searched. When a connection closes, its timers stay and are stale. They are
//! dropped when they run out, or all at once as soon as they outnumber the live ones; otherwise connections that come
//! and go would pile them up. `effects` and `step` set timers, `Engine::dispatch` runs them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::moment::Moment;
use crate::service::{ConnId, ServiceId};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// `Service::expired` is called with `key`, on behalf of the connection that owns the timer, if one does.
    Service { service: ServiceId, owner: Option<ConnId>, key: u64 },
    /// This connection's `auto` framing stops waiting for the end of the first line.
    FirstLine(ConnId),
    /// The datagram socket with this number sends its queue again.
    Resend(u32),
    /// The datagram socket with this number, whose receives failed, is tried again.
    Receive(u32),
}

impl Due {
    /// The connection whose closing makes the timer stale.
    fn owner(self) -> Option<ConnId> {
        match self {
            Self::Service { owner, .. } => owner,
            Self::FirstLine(id) => Some(id),
            Self::Resend(_) | Self::Receive(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at: Moment,
    /// Timers set for the same moment run in the order in which they were set.
    order: u64,
    due: Due,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    /// Timers set so far.
    set: u64,
    /// Timers in the heap whose connection has closed.
    stale: usize,
}

impl Timers {
    pub(super) fn set(&mut self, at: Moment, due: Due) {
        self.set += 1;
        self.heap.push(Reverse(Timer { at, order: self.set, due }));
    }

    /// When the next timer runs out.
    pub(super) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    /// Takes the next timer out, if its time has come. It may be stale.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Due> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(timer)| timer.due)
    }

    /// Uncounts a stale timer that has been taken out.
    pub(super) fn forget_stale(&mut self) {
        self.stale -= 1;
    }

    /// Counts `count` timers of a closed connection as stale. Drops all stale ones when they outnumber the live ones.
    pub(super) fn abandon(&mut self, count: u32, is_live: impl Fn(ConnId) -> bool) {
        self.stale += count as usize;
        if self.stale * 2 > self.heap.len() {
            self.heap.retain(|Reverse(timer)| timer.due.owner().is_none_or(&is_live));
            self.stale = 0;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Moment {
        Moment::from_nanos(nanos)
    }

    fn due(owner: Option<ConnId>, key: u64) -> Due {
        Due::Service { service: ServiceId::new(0), owner, key }
    }

    #[test]
    fn timers_run_out_in_order_and_not_early() {
        let mut timers = Timers::default();
        for (nanos, key) in [(5, 1), (3, 2), (5, 3)] {
            timers.set(at(nanos), due(None, key));
        }
        assert_eq!(timers.next(), Some(at(3)));
        assert!(timers.pop_due(at(2)).is_none());
        let dues: Vec<Due> = std::iter::from_fn(|| timers.pop_due(at(9))).collect();
        assert_eq!(dues, [2, 1, 3].map(|key| due(None, key)));
    }

    #[test]
    fn churn_does_not_pile_up_timers() {
        let mut timers = Timers::default();
        let keeper = ConnId::new(0, 1);
        timers.set(at(1000), due(Some(keeper), 0));
        for serial in 2..10_000 {
            timers.set(at(1000), due(Some(ConnId::new(1, serial)), 0));
            timers.abandon(1, |id| id == keeper);
            assert!(timers.len() <= 3, "{}", timers.len());
        }
        timers.abandon(1, |_| false);
        assert_eq!(timers.len(), 0);
    }
}
