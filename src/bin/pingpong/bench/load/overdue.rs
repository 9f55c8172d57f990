//! Answers that are overdue, and connections that do not come about, without a timer for each.

use std::io;
use std::time::Duration;

use super::wake::Wake;
use super::{Load, Stage};
use crate::bench::record::Fact;
use pingpong::service::Outbox;

/// Connections that are looked at for overdue answers at once.
const SWEPT_AT_ONCE: usize = 512;

impl Load {
    pub(super) fn sweep_interval(&self) -> Duration {
        let parts = self.connections.len().div_ceil(SWEPT_AT_ONCE) as u32;
        (self.options.timeout / 16 / parts).clamp(Duration::from_millis(1), Duration::from_millis(50))
    }

    /// Looks at some of the connections for requests whose time is up.
    pub(super) fn sweep(&mut self, out: &mut Outbox<'_>) {
        let now = out.now();
        let end = (self.swept + SWEPT_AT_ONCE).min(self.connections.len());
        for index in self.swept..end {
            self.give_up_overdue(index, out);
        }
        self.swept = if end == self.connections.len() { 0 } else { end };
        self.ledger.end_part_if_due(now);
        // Whoever does not answer a SYN for so long is not waited for.
        if self.stage == Stage::Connecting
            && self.dialer.is_waiting()
            && now.since(self.dialer.progress) > self.options.timeout
        {
            let counts = &self.ledger.counts;
            let settled = counts[Fact::ConnectionsOpened] + counts[Fact::ConnectionsFailed];
            let missing = counts[Fact::ConnectionsRequested].saturating_sub(settled);
            self.ledger.connections_failed(&io::ErrorKind::TimedOut.into(), missing);
            self.start(out);
        }
        // (A datagram scout has a time of its own.)
        let is_dialling = self.stage == Stage::Scouting && !self.is_datagram();
        if is_dialling && now.since(self.dialer.progress) > self.options.timeout {
            self.error = Some(io::ErrorKind::TimedOut.into());
            out.stop();
        }
        self.end_if_complete(out);
        out.wake_at(now + self.sweep_interval(), Wake::Sweep.into());
    }

    fn give_up_overdue(&mut self, index: usize, out: &mut Outbox<'_>) {
        let now = out.now();
        let Self { connections, ledger, options, .. } = self;
        let connection = &mut connections[index];
        let waiting = connection.pending.awaited();
        connection.pending.give_up(now, options.timeout, |request| ledger.failed(request, Fact::Lost, now));
        if options.endpoint.is_datagram() {
            connection.pending.forget(now, 2 * options.timeout);
        }
        if options.churn && connection.pending.awaited() < waiting {
            // Whatever comes on that connection is of no interest any more.
            if let Some(peer) = connection.peer {
                out.close_other(peer);
            }
            connection.hang_up();
            connection.pending.abandon(|_| {});
        }
        match self.turns {
            Some(_) => self.enqueue(index, out),
            None if index < self.begun => self.top_up(index, out),
            None => {}
        }
    }
}
