//! Idle, stall and linger limits, without a timer for each connection.
//!
//! While any connection has a time limit, passes over the whole table look for limits that are over. A pass takes a
//! sixteenth of the shortest limit in the table, so that a connection outlives its limit by a sixteenth at most. It is
//! done in four parts, so that a large table does not hold up the loop. A pass that meets no limit is the last one: an
//! idle server is not woken.
//!
//! `step` schedules a limit when a connection comes under it; `Engine::dispatch` calls `sweep` in each turn.

use std::time::Duration;

use super::Engine;
use super::net::Net;
use crate::moment::Moment;
use crate::service::Service;

/// Parts of a pass.
const PARTS: u32 = 4;

#[derive(Debug)]
pub(super) struct Sweep {
    /// When the next part is due; `None` while no connection has a limit.
    next: Option<Moment>,
    /// Time from one part to the next.
    interval: Duration,
    /// The slot of the table at which the next part begins.
    slot: usize,
    /// The shortest limit that this pass has met so far.
    shortest: Option<Duration>,
    /// The turn has all events that there are. Otherwise a connection whose event is still to come would look idle.
    pub(super) has_all_events: bool,
    /// The next part is overdue by more than an interval, and has been put off once.
    is_late: bool,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { next: None, interval: Duration::ZERO, slot: 0, shortest: None, has_all_events: true, is_late: false }
    }
}

impl Sweep {
    pub(super) fn next(&self) -> Option<Moment> {
        self.next
    }

    /// Makes the passes frequent enough for a connection with a limit of this length.
    pub(super) fn schedule(&mut self, now: Moment, limit: Duration) {
        self.include(limit);
        let interval = interval_for(limit);
        if self.next.is_none() || interval < self.interval {
            self.interval = interval;
            self.next = Some(self.next.map_or(now + interval, |next| next.min(now + interval)));
        }
    }

    /// Includes a limit in `shortest`.
    fn include(&mut self, limit: Duration) {
        self.shortest = Some(self.shortest.map_or(limit, |shortest| shortest.min(limit)));
    }

    /// Plans the next part, after one that ended before `slot`. `is_last` says whether that ended the pass.
    fn advance(&mut self, now: Moment, slot: usize, is_last: bool) {
        self.slot = if is_last { 0 } else { slot };
        if is_last {
            let shortest = self.shortest.take();
            self.interval = shortest.map_or(Duration::ZERO, interval_for);
            self.next = shortest.map(|_| now + self.interval);
        } else {
            self.next = Some(now + self.interval);
        }
    }
}

fn interval_for(limit: Duration) -> Duration {
    (limit / 16 / PARTS).max(Duration::from_millis(1))
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Does the next part of the pass, if it is due: closes the connections whose limit is over.
    pub(super) fn sweep(&mut self) {
        let Some(next) = self.sweep.next.filter(|next| *next <= self.turn.now) else { return };
        // After a stop of the process (SIGSTOP), or a long turn, connections whose bytes wait in the kernel look idle:
        // a poll comes first.
        let was_late = std::mem::replace(&mut self.sweep.is_late, self.turn.now.since(next) > self.sweep.interval);
        if !self.sweep.has_all_events || self.sweep.is_late && !was_late {
            return;
        }
        self.sweep.is_late = false;
        let slots = self.table.slots();
        let end = (self.sweep.slot + slots.div_ceil(PARTS as usize)).min(slots);
        for slot in self.sweep.slot..end {
            let Some((id, connection)) = self.table.in_slot(slot) else { continue };
            match connection.time_limit(&self.limits) {
                Some(limit) if limit.is_over(self.turn.now) => self.close(id, limit.why),
                Some(limit) => self.sweep.include(limit.length),
                None => {}
            }
        }
        self.settle();
        self.sweep.advance(self.turn.now, end, end == slots);
    }
}
