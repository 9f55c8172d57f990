//! Idle, stall and linger limits, without a timer for each connection.
//!
//! While any connection has a time limit, the table is swept bit by bit: a pass takes a sixteenth of the shortest limit
//! that some connection has, in four parts. So a limit is exceeded by a sixteenth at the most, and no part keeps the loop for
//! long. A pass that finds no limit is the last: an idle server is not woken.

use std::time::Duration;

use super::Engine;
use super::net::Net;
use crate::moment::Moment;
use crate::service::Service;

/// Parts that one pass is done in.
const PARTS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the next part is due, while there is anything to watch.
    next: Option<Moment>,
    /// From one part to the next.
    interval: Duration,
    /// The slot at which the next part begins.
    slot: usize,
    /// The shortest limit that this pass has met.
    shortest: Option<Duration>,
}

impl Sweep {
    pub(super) fn next(&self) -> Option<Moment> {
        self.next
    }

    /// Some connection has a time limit of this length.
    pub(super) fn schedule(&mut self, now: Moment, limit: Duration) {
        self.include(limit);
        let interval = interval_for(limit);
        if self.next.is_none() || interval < self.interval {
            self.interval = interval;
            self.next = Some(self.next.map_or(now + interval, |next| next.min(now + interval)));
        }
    }

    fn include(&mut self, limit: Duration) {
        self.shortest = Some(self.shortest.map_or(limit, |shortest| shortest.min(limit)));
    }

    /// A part has ended at this slot, and the pass with it or not.
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
    /// Does the part of a pass that is due, if one is.
    pub(super) fn sweep(&mut self) {
        if self.sweep.next.is_none_or(|next| self.turn.now < next) {
            return;
        }
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
