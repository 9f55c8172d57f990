//! Exact timers: delayed answers and schedules. (Timeouts of connections are swept for, see `sweep`.)
//!
//! A heap. It is never searched: a timer whose connection has gone stays until it runs out, or until such timers
//! outnumber the live ones and are all dropped at once. Without that, churn would pile them up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::moment::Moment;
use crate::service::{ConnId, ServiceId};

/// What is due when a timer has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A service is called, for the connection that the timer was set for or for itself.
    Service { service: ServiceId, owner: Option<ConnId>, key: u64 },
    /// A connection with `auto` framing has waited long enough for the end of its first line.
    FirstLine(ConnId),
    /// A datagram socket whose receives failed is to be tried again.
    Receive(u32),
}

impl Due {
    /// The connection that the timer ends with.
    fn owner(self) -> Option<ConnId> {
        match self {
            Self::Service { owner, .. } => owner,
            Self::FirstLine(id) => Some(id),
            Self::Receive(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at: Moment,
    /// Timers of the same moment run in the order in which they were set.
    order: u64,
    due: Due,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    /// Timers set so far.
    set: u64,
    /// Timers in the heap whose connection has gone.
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

    /// Takes a timer that has run out. It may be stale.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Due> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(timer)| timer.due)
    }

    /// Notes that a timer taken out was stale.
    pub(super) fn forget_stale(&mut self) {
        self.stale -= 1;
    }

    /// Notes that `count` timers have lost their connection, and drops all such when they are the most.
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
