//! How a phase ends: the asking stops, the answers that are due are waited for, the books are closed.
//!
//! The asking stops when the measured time is over, when enough has been sent, when the last connection is lost, or when
//! every connection waits for answers that do not come. What was due and has not been sent then is counted, with the
//! reason. Each answer is waited for until its time is up, and no longer.

use std::mem;
use std::time::Duration;

use pingpong::Moment;
use pingpong::service::Outbox;

use super::connection::Connection;
use super::heartbeat::Heartbeats;
use super::{Lifetime, Load, Pace, Stage};
use crate::bench::Extent;
use crate::bench::record::{Fact, Hindrance};
use crate::error::Error;

/// How long after the last connection that asks the idle ones of the same server are seen to end.
const IDLE_FOLLOW: Duration = Duration::from_millis(50);

impl Load {
    /// No connection is left that could ask.
    pub(super) fn server_gone(&mut self, out: &mut Outbox<'_>) {
        if self.stage != Stage::Asking {
            return;
        }
        // What a held-up schedule had not sent before is not for want of a connection.
        if matches!(&self.pace, Pace::Open(turns) if turns.is_held_up()) {
            self.count_unsent(out.now());
        }
        self.gone.get_or_insert(out.now());
        self.stop_asking(out);
    }

    /// Sends no request any more.
    pub(super) fn stop_asking(&mut self, out: &mut Outbox<'_>) {
        if self.stage != Stage::Asking {
            return;
        }
        // What was due just now is sent a little late.
        self.send_last_probes(out);
        self.send_last_heartbeats(out);
        self.enter(Stage::Awaiting);
        self.count_unsent(self.ledger.until().unwrap_or(out.now()));
        self.stop_probing(self.ledger.until().unwrap_or(out.now()));
        self.stop_heartbeats(self.ledger.until().unwrap_or(out.now()));
        self.ledger.close();
        self.end_if_complete(out);
    }

    /// Stops asking when as many requests have been sent as were asked for; ends when each has its outcome.
    #[inline(always)]
    pub(super) fn end_if_complete(&mut self, out: &mut Outbox<'_>) {
        match self.stage {
            Stage::Asking if self.left == 0 => self.stop_asking(out),
            Stage::Awaiting => self.end_if_answered(out),
            _ => {}
        }
    }

    fn end_if_answered(&mut self, out: &mut Outbox<'_>) {
        if self.ledger.is_complete()
            && self.heartbeats.as_ref().is_none_or(Heartbeats::are_complete)
            && self.probing.as_ref().is_none_or(|probing| probing.is_complete())
            && !self.may_lose_idle(out.now())
        {
            self.enter(Stage::Resting);
        }
    }

    /// Whether the server has just gone, and idle connections may go with it.
    fn may_lose_idle(&self, now: Moment) -> bool {
        self.idle > 0 && self.gone.is_some_and(|gone| now.since(gone) < IDLE_FOLLOW)
    }

    /// Stops asking when there are requests to send and no end of the time, but every connection has as many requests
    /// unanswered as it may have, and all of these have been given up. (A datagram that is given up makes room.)
    pub(super) fn end_if_stuck(&mut self, out: &mut Outbox<'_>) {
        let is_counting = matches!(self.phase.extent, Extent::Requests(_)) && self.ledger.covers(out.now());
        let may_be_stuck = self.stage == Stage::Asking && self.lifetime == Lifetime::WholeRun && is_counting;
        if !may_be_stuck || self.connections.iter().any(|connection| connection.pending.is_awaited()) {
            return;
        }
        let is_stuck = match self.pace {
            Pace::Open(ref turns) => turns.is_held_up(),
            Pace::Closed { depth, begun } => {
                let may_ask = |connection: &Connection| {
                    connection.peer.is_some() && connection.pending.unanswered() < depth as usize
                };
                begun == self.connections.len() && !self.connections.iter().any(may_ask)
            }
        };
        if is_stuck {
            self.stop_asking(out);
        }
    }

    /// The measured time ends now, though it was to last longer.
    pub(in crate::bench) fn end_early(&mut self, out: &mut Outbox<'_>) {
        if self.stage == Stage::Asking && self.ledger.covers(out.now()) {
            self.until = out.now();
            self.ledger.shorten(out.now());
            self.end_of_time(out);
        }
    }

    /// Counts the requests as unsent that were due before `until` and have not been sent: there are none where the
    /// answers decide when requests are due. Where a number was asked for, all that are missing count, once the run ends.
    fn count_unsent(&mut self, until: Moment) {
        let Self { pace, ledger, phase, gone, stage, left, .. } = self;
        let why = match pace {
            _ if gone.is_some() => Hindrance::NoConnection,
            Pace::Open(turns) if !turns.is_held_up() => Hindrance::TooSlow,
            _ => Hindrance::TooManyUnanswered,
        };
        match (&mut *pace, phase.extent) {
            (Pace::Open(turns), Extent::Duration(_)) => {
                let from = ledger.from();
                ledger.unsent_until(until, why, |moment| turns.schedule.skip(from, moment));
            }
            (_, Extent::Requests(_)) if *stage == Stage::Awaiting => ledger.unsent(mem::take(left), why),
            _ => {}
        }
    }

    /// Closes the books of a phase that is over, or is the last one. Fails where no server could be reached.
    pub(in crate::bench) fn conclude(&mut self, now: Moment, kernel_drops: u64) -> Result<(), Error> {
        if let Some(error) = self.unreachable.take() {
            return Err(error);
        }
        let now = self.interrupted.unwrap_or(now);
        if self.stage == Stage::Asking {
            // What was due just now would have been sent.
            if matches!(&self.pace, Pace::Open(turns) if turns.is_held_up() || turns.is_behind(now)) {
                self.count_unsent(self.ledger.until().map_or(now, |until| until.min(now)));
            }
            self.stop_heartbeats(self.ledger.until().map_or(now, |until| until.min(now)));
            self.stop_probing(self.ledger.until().map_or(now, |until| until.min(now)));
            self.ledger.interrupt(now);
        }
        self.ledger.end(now);
        self.count_connections();
        let counts = &mut self.ledger.counts;
        counts[Fact::Unfinished] = counts.pending();
        counts[Fact::KernelDrops] = kernel_drops - self.drops_before;
        self.drops_before = kernel_drops;
        Ok(())
    }

    /// Counts each connection that was asked for by what it has come to.
    fn count_connections(&mut self) {
        let count = |is: fn(&Connection) -> bool| self.connections.iter().filter(|one| is(one)).count() as u64;
        let (unserved, stalled) = (count(Connection::is_unserved), count(Connection::is_stalled));
        let counts = &mut self.ledger.counts;
        if let Some(heartbeats) = &self.heartbeats {
            heartbeats.conclude(counts);
        }
        counts[Fact::IdleHeld] = self.idle - counts[Fact::IdleSilent];
        if self.lifetime == Lifetime::WholeRun {
            counts[Fact::ConnectionsUnserved] = unserved;
            counts[Fact::ConnectionsStalled] = stalled;
            counts[Fact::ConnectionsHeld] = self.present as u64 - unserved - stalled;
        }
        if let Some(probing) = &self.probing {
            probing.conclude(counts);
        }
        let unmade =
            counts[Fact::ConnectionsRequested] - counts[Fact::ConnectionsOpened] - counts[Fact::ConnectionsFailed];
        self.ledger.connections_failed("interrupted before they were made".to_owned(), unmade);
    }
}
