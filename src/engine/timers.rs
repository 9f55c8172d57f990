//! Exact timers: delayed answers and schedules. (Timeouts of connections are swept for, see `sweep`.)
//!
//! A heap. Nobody searches it: a timer whose connection has gone stays until it runs out or until such timers are
//! more than the live ones, and then all of them are dropped at once. Without that, churn would pile them up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::moment::Moment;
use crate::service::ConnId;

/// Whom to call when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) at: Moment,
    /// Timers of the same moment run in the order in which they were set.
    order: u64,
    pub(super) service: u16,
    pub(super) owner: Option<u64>,
    pub(super) key: u64,
}

impl Timer {
    pub(super) fn owner(&self) -> Option<ConnId> {
        self.owner.map(ConnId::from)
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    set: u64,
    /// Timers in the heap whose connection has gone.
    stale: usize,
}

impl Timers {
    pub(super) fn set(&mut self, at: Moment, service: u16, owner: Option<ConnId>, key: u64) {
        self.set += 1;
        self.heap.push(Reverse(Timer { at, order: self.set, service, owner: owner.map(u64::from), key }));
    }

    /// When the next timer runs out.
    pub(super) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    /// Takes a timer that has run out. It may be stale.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Timer> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(timer)| timer)
    }

    /// Notes that a timer taken out was stale.
    pub(super) fn forget_stale(&mut self) {
        self.stale -= 1;
    }

    /// Notes that `count` timers have lost their connection, and drops all such when they are the most.
    pub(super) fn abandon(&mut self, count: u32, is_live: impl Fn(ConnId) -> bool) {
        self.stale += count as usize;
        if self.stale * 2 > self.heap.len() {
            self.heap.retain(|Reverse(timer)| timer.owner().is_none_or(&is_live));
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

    #[test]
    fn timers_run_out_in_order_and_not_early() {
        let mut timers = Timers::default();
        for (nanos, key) in [(5, 1), (3, 2), (5, 3)] {
            timers.set(at(nanos), 0, None, key);
        }
        assert_eq!(timers.next(), Some(at(3)));
        assert!(timers.pop_due(at(2)).is_none());
        let keys: Vec<u64> = std::iter::from_fn(|| timers.pop_due(at(9))).map(|timer| timer.key).collect();
        assert_eq!(keys, [2, 1, 3]);
    }

    #[test]
    fn churn_does_not_pile_up_timers() {
        let mut timers = Timers::default();
        let keeper = ConnId::new(0, 1);
        timers.set(at(1000), 0, Some(keeper), 0);
        for serial in 2..10_000 {
            timers.set(at(1000), 0, Some(ConnId::new(1, serial)), 0);
            timers.abandon(1, |id| id == keeper);
            assert!(timers.len() <= 3, "{}", timers.len());
        }
        timers.abandon(1, |_| false);
        assert_eq!(timers.len(), 0);
    }
}
