//! The sweep: finds overdue answers and stuck dials, without a timer for each.

use std::mem;
use std::time::Duration;

use pingpong::Moment;
use pingpong::service::Outbox;

use super::wake::Wake;
use super::{Lifetime, Load, Pace};
use crate::bench::record::Fact;

/// Connections that are looked at in one sweep.
const SWEPT_AT_ONCE: usize = 512;

/// A sweep that comes so late finds a load that stood still: it was stopped, or had no processor.
const STOOD_STILL: Duration = Duration::from_millis(100);

impl Load {
    /// Looks at the next few connections, and sets the timer for the next sweep.
    ///
    /// After a time in which the load stood still, it only sets the timer: answers may have come meanwhile, and are read
    /// first. It does so once, or a load that stumbles all the time would never end.
    pub(super) fn sweep(&mut self, out: &mut Outbox<'_>) {
        let late = out.now().since(self.sweep_due);
        let stood_still = late > STOOD_STILL;
        if stood_still {
            self.ledger.stood_still(late, out.now());
        }
        if stood_still && !mem::replace(&mut self.stood_still, true) {
            return self.sweep_later(out);
        }
        self.stood_still = stood_still;
        let end = (self.swept + SWEPT_AT_ONCE).min(self.connections.len());
        for index in self.swept..end {
            self.give_up_overdue(index, out);
        }
        self.swept = if end == self.connections.len() { 0 } else { end };
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.give_up_overdue(out.now(), &mut self.ledger.counts);
        }
        self.give_up_overdue_probes(out);
        self.ledger.end_part_if_due(out.now());
        self.give_up_stuck_dials(out);
        self.end_if_complete(out);
        self.end_if_stuck(out);
        self.sweep_later(out);
    }

    /// Sets the timer for the next sweep: often enough that every connection is looked at sixteen times in a timeout.
    pub(super) fn sweep_later(&mut self, out: &mut Outbox<'_>) {
        let parts = self.connections.len().div_ceil(SWEPT_AT_ONCE) as u32;
        let interval = self.options.timeout / 16 / parts;
        let interval = interval.clamp(Duration::from_millis(1), Duration::from_millis(50));
        self.sweep_due = out.now() + interval;
        out.wake_at(self.sweep_due, Wake::Sweep.into());
    }

    /// A datagram has come. Where only the order tells whose answer it is, it is that of a request whose time is not up: the
    /// sweep may not have looked yet.
    pub(super) fn forget_overdue(&mut self, index: usize, now: Moment) {
        if self.is_by_order() {
            let Self { connections, ledger, options, .. } = self;
            let pending = &mut connections[index].pending;
            pending.give_up(now, options.timeout, |request| ledger.failed(request, Fact::Lost, now));
        }
    }

    /// Counts the requests of this connection whose time is up as lost, and has it ask as many others as it may.
    fn give_up_overdue(&mut self, index: usize, out: &mut Outbox<'_>) {
        let now = out.now();
        let timeout = self.options.timeout;
        let Self { connections, ledger, .. } = self;
        let pending = &mut connections[index].pending;
        let given_up = pending.give_up(now, timeout, |request| ledger.failed(request, Fact::Lost, now));
        if given_up > 0 && self.lifetime == Lifetime::OneRequest {
            self.break_off(index, out);
        }
        match self.pace {
            Pace::Open(_) => self.enqueue(index, out),
            Pace::Closed { begun, .. } if index < begun => {
                self.top_up(index, out);
            }
            Pace::Closed { .. } => {}
        }
    }
}
