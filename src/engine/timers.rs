//! Exact timers: delayed answers and schedules. Timeouts of connections are not here but in `sweep`.
//!
//! A heap, ordered by time and never searched. Timers that are cancelled, or whose connection closes, stay there and are
//! stale. They are dropped when they run out, or all at once as soon as they outnumber the live ones; otherwise
//! connections that come and go would pile them up. A cancelled timer never comes first: it wakes no loop.
//!
//! `effects` and `step` set timers, `Engine::dispatch` runs them.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use crate::moment::Moment;
use crate::service::{ConnId, ServiceId};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Timers in the heap that are cancelled or whose connection has closed.
    stale: usize,
    /// The timers in the heap by what they are for. Kept from the first [`cancel`](Self::cancel) on, because most
    /// services cancel none.
    index: Option<HashMap<Due, Count>>,
}

/// Timers in the heap that are for the same.
#[derive(Debug, Default)]
struct Count {
    /// Timers that are not cancelled.
    live: u32,
    cancelled: u32,
    /// A timer whose order is not above this one is cancelled.
    cancelled_up_to: u64,
}

impl Count {
    /// Whether a timer that is counted here is cancelled.
    fn is_cancelled(&self, order: u64) -> bool {
        order <= self.cancelled_up_to
    }

    /// Uncounts a timer that has left the heap.
    fn take_out(&mut self, order: u64) {
        if self.is_cancelled(order) {
            self.cancelled -= 1;
        } else {
            self.live -= 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.live == 0 && self.cancelled == 0
    }
}

impl Timers {
    pub(super) fn set(&mut self, at: Moment, due: Due) {
        self.set += 1;
        if let Some(index) = &mut self.index {
            index.entry(due).or_default().live += 1;
        }
        self.heap.push(Reverse(Timer { at, order: self.set, due }));
    }

    /// When the next timer runs out.
    pub(super) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    /// Takes the next timer out, if its time has come. Its connection may have closed.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Due> {
        self.next().filter(|at| *at <= now)?;
        let Reverse(timer) = self.heap.pop()?;
        self.take_out(timer);
        self.drop_first_cancelled();
        Some(timer.due)
    }

    /// Cancels all timers set so far that are for this. Returns how many there were.
    pub(super) fn cancel(&mut self, due: Due, is_live: impl Fn(ConnId) -> bool) -> u32 {
        let index = self.index.get_or_insert_with(|| index_of(&self.heap));
        let Some(count) = index.get_mut(&due) else { return 0 };
        let cancelled = std::mem::take(&mut count.live);
        count.cancelled += cancelled;
        count.cancelled_up_to = self.set;
        self.stale += cancelled as usize;
        self.drop_first_cancelled();
        self.clean(is_live);
        cancelled
    }

    /// Uncounts a timer that has been taken out, and whose connection has closed.
    pub(super) fn forget_stale(&mut self) {
        self.stale -= 1;
    }

    /// Counts `count` timers of a closed connection as stale.
    pub(super) fn abandon(&mut self, count: u32, is_live: impl Fn(ConnId) -> bool) {
        self.stale += count as usize;
        self.clean(is_live);
    }

    /// Drops all stale timers when they outnumber the live ones.
    fn clean(&mut self, is_live: impl Fn(ConnId) -> bool) {
        if self.stale * 2 <= self.heap.len() {
            return;
        }
        let Self { heap, index, stale, .. } = self;
        heap.retain(|Reverse(timer)| {
            let is_cancelled = index.as_ref().is_some_and(|index| index[&timer.due].is_cancelled(timer.order));
            !is_cancelled && timer.due.owner().is_none_or(&is_live)
        });
        if let Some(index) = index {
            *index = index_of(heap);
        }
        *stale = 0;
    }

    /// Drops cancelled timers until the next one to run out is not cancelled.
    fn drop_first_cancelled(&mut self) {
        while let Some(Reverse(first)) = self.heap.peek()
            && let Some(index) = &self.index
            && index[&first.due].is_cancelled(first.order)
        {
            let timer = *first;
            self.heap.pop();
            self.take_out(timer);
            self.stale -= 1;
        }
    }

    /// Takes a timer that has left the heap out of the index.
    fn take_out(&mut self, timer: Timer) {
        if let Some(index) = &mut self.index
            && let Entry::Occupied(mut entry) = index.entry(timer.due)
        {
            entry.get_mut().take_out(timer.order);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

/// Counts the timers of a heap that has no cancelled ones.
fn index_of(heap: &BinaryHeap<Reverse<Timer>>) -> HashMap<Due, Count> {
    let mut index: HashMap<Due, Count> = HashMap::new();
    for Reverse(timer) in heap {
        index.entry(timer.due).or_default().live += 1;
    }
    index
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

    #[test]
    fn cancelled_timers_do_not_run_and_wake_nobody() {
        let mut timers = Timers::default();
        for (nanos, key) in [(1, 1), (2, 2), (3, 1), (4, 3)] {
            timers.set(at(nanos), due(None, key));
        }
        assert_eq!(timers.cancel(due(None, 1), |_| true), 2);
        assert_eq!(timers.cancel(due(None, 1), |_| true), 0);
        timers.set(at(5), due(None, 1));
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.pop_due(at(9)), Some(due(None, 2)));
        assert_eq!(timers.next(), Some(at(4)));
        assert_eq!(timers.pop_due(at(9)), Some(due(None, 3)));
        assert_eq!(timers.pop_due(at(9)), Some(due(None, 1)));
        assert_eq!((timers.len(), timers.stale), (0, 0));
        assert!(timers.index.is_some_and(|index| index.is_empty()));
    }

    #[test]
    fn cancelling_does_not_pile_up_timers() {
        let mut timers = Timers::default();
        timers.set(at(1), due(None, 0));
        let owner = Some(ConnId::new(1, 1));
        for key in 0..10_000 {
            for _ in 0..3 {
                timers.set(at(1000), due(owner, key % 7));
            }
            assert_eq!(timers.cancel(due(owner, key % 7), |_| true), 3);
            assert!(timers.len() <= 6, "{}", timers.len());
        }
        assert!(timers.index.as_ref().is_some_and(|index| index.len() <= 8));
        assert_eq!(timers.pop_due(at(1000)), Some(due(None, 0)));
        assert_eq!((timers.len(), timers.stale), (0, 0));
    }
}
