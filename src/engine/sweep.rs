//! Idle, stall and linger limits, without a timer for each connection.
//!
//! While any connection has a time limit, the table is swept bit by bit: a pass takes a sixteenth of the shortest limit,
//! in four parts. So a limit is exceeded by a sixteenth at the most, and no part keeps the loop for long. A pass that
//! finds no limit is the last: an idle server is not woken.

use std::time::Duration;

use super::Engine;
use super::net::Net;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::Service;

/// Parts that one pass is done in.
const PARTS: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the next part is due, while there is anything to watch.
    next: Option<Moment>,
    /// The slot at which it begins.
    slot: usize,
    /// Whether this pass has met a time limit.
    met: bool,
    interval: Duration,
}

impl Sweep {
    pub(super) fn new(limits: &Limits) -> Self {
        let all = limits.idle_timeout.into_iter().chain([limits.stall_timeout, limits.linger]);
        // Where there is no time at all there is nothing to wait for.
        let shortest = all.filter(|limit| !limit.is_zero()).min();
        let interval = shortest.unwrap_or_default() / 16 / PARTS as u32;
        Self { interval: interval.max(Duration::from_millis(1)), ..Self::default() }
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.next
    }

    /// Some connection has a time limit.
    pub(super) fn watch(&mut self, now: Moment) {
        self.met = true;
        self.next.get_or_insert(now + self.interval);
    }
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Does the part of a pass that is due, if one is.
    pub(super) fn sweep(&mut self) {
        if self.sweep.next.is_none_or(|next| self.now < next) {
            return;
        }
        let slots = self.table.slots();
        let end = (self.sweep.slot + slots.div_ceil(PARTS)).min(slots);
        for slot in self.sweep.slot..end {
            let Some((id, connection)) = self.table.in_slot(slot) else { continue };
            match connection.deadline(&self.limits) {
                Some((at, why)) if at <= self.now => self.close(id, why),
                Some(_) => self.sweep.met = true,
                None => {}
            }
        }
        self.settle();
        self.sweep.next = Some(self.now + self.sweep.interval);
        self.sweep.slot = end;
        if end == slots {
            self.sweep.slot = 0;
            if !std::mem::take(&mut self.sweep.met) {
                self.sweep.next = None;
            }
        }
    }
}
