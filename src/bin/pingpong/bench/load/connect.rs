//! From the first dial to the first request.
//!
//! One connection, the scout, is made first. It looks whether a server is there, and tries the ports of a range and the
//! addresses of a name one after another; then all the others are made. A stream that comes about is proof enough. A
//! datagram socket always comes about, so the scout sends a request from it: only a refusal says that no server is there,
//! for a datagram may be lost.

use std::io;
use std::time::Duration;

use pingpong::describe;
use pingpong::service::{Outbox, Peer};

use super::connection::Connection;
use super::deal::Deal;
use super::dialer::is_for_now;
use super::wake::{Tag, Wake};
use super::{Lifetime, Load, Stage};
use crate::bench::record::Fact;
use crate::error::Error;

/// How long a datagram scout waits for an answer.
const SCOUTING: Duration = Duration::from_millis(250);

impl Load {
    /// A connection that was asked for has come about.
    pub(super) fn connected(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        self.dialer.note_outcome(out.now());
        match (Tag::from(out.tag()), self.lifetime) {
            (Tag::Idle(index), _) => {
                if let Some(heartbeats) = &mut self.heartbeats {
                    heartbeats.connected(index, peer);
                }
                self.idle += 1;
                self.ledger.counts[Fact::ConnectionsOpened] += 1;
            }
            (Tag::Asking(visit), Lifetime::WholeRun) => {
                self.connections[visit.index as usize].peer = Some(peer);
                self.present += 1;
                self.ledger.counts[Fact::ConnectionsOpened] += 1;
            }
            // The scout has found a server; each request will have a connection of its own.
            (Tag::Asking(_), Lifetime::OneRequest) => out.close(),
        }
        if self.stage == Stage::Connecting {
            self.dial_more(out);
        } else if self.is_datagram() {
            self.ask(0, out.now(), out);
            out.wake_at(out.now() + SCOUTING, Wake::Scout.into());
        } else {
            self.connect_all(out);
        }
    }

    /// The scout has done its work: all the other connections are made.
    pub(super) fn connect_all(&mut self, out: &mut Outbox<'_>) {
        if self.stage != Stage::Scouting {
            return;
        }
        self.enter(Stage::Connecting);
        if self.dialer.is_first_port_dead() {
            self.begin_at_first_port(out);
        }
        if let Some(rate) = self.options.undivided().connect_rate {
            self.dialer.keep_rate(out.now(), rate, Deal::to(self.options.part));
        }
        self.dial_more(out);
    }

    /// The time of a datagram scout is up, or was that of an earlier one.
    pub(super) fn scouted_long_enough(&mut self, out: &mut Outbox<'_>) {
        if self.dialer.quiet_for(out.now()) >= SCOUTING {
            self.connect_all(out);
        }
    }

    /// The scout has found a server at a later port than the first connection's. All connections are dialled from that one
    /// on, so that those of a dead port are counted, whichever it is.
    fn begin_at_first_port(&mut self, out: &mut Outbox<'_>) {
        match self.lifetime {
            Lifetime::WholeRun => {
                self.forget_scout(out);
                self.dialer.begin_after(0);
            }
            // The scout is none of those that are counted.
            Lifetime::OneRequest => self.dialer.begin_after(1),
        }
    }

    fn forget_scout(&mut self, out: &mut Outbox<'_>) {
        if let Some(peer) = self.connections[0].peer {
            out.close_other(peer);
        }
        self.connections[0] = Connection::new(0, !self.is_datagram());
        self.present = 0;
        self.ledger.counts[Fact::ConnectionsOpened] = 0;
    }

    /// Dials as many connections as may be dialled now. When every dial has its outcome, the asking begins.
    pub(super) fn dial_more(&mut self, out: &mut Outbox<'_>) {
        self.dialer.dial_more(out);
        self.rest_if_made(out);
    }

    /// Goes on when every dial has its outcome.
    pub(super) fn rest_if_made(&mut self, out: &mut Outbox<'_>) {
        if self.dialer.is_complete() {
            self.rest(out);
        }
    }

    /// The scout's dial has failed, or its datagram was refused: the next port may do, or the next address. Ports are
    /// tried for no longer than a connection may take.
    pub(super) fn scout_failed(&mut self, error: io::Error, out: &mut Outbox<'_>) {
        let has_time = out.now().since(self.ledger.began()) < self.options.connect_timeout;
        let has_next = has_time && self.dialer.try_next_port() || self.dialer.try_next_address();
        if !has_next {
            let endpoint = self.options.endpoint.clone();
            self.unreachable = Some(Error::Connect { endpoint, source: error });
            return out.stop();
        }
        self.forget_scout(out);
        self.dialer.send_scout(out);
    }

    /// A dial has failed after the scout had found a server.
    pub(super) fn dial_failed(&mut self, error: &io::Error, out: &mut Outbox<'_>) {
        self.dialer.note_outcome(out.now());
        if is_for_now(error) {
            return self.dialer.dial_again(out.tag().into(), out);
        }
        self.ledger.connections_failed(describe(error), 1);
        self.dial_more(out);
    }

    /// Gives up the dials under way when none of them has had an outcome for longer than the timeout, and with them those
    /// that were to follow.
    pub(super) fn give_up_stuck_dials(&mut self, out: &mut Outbox<'_>) {
        let waited = self.options.connect_timeout;
        if !self.dialer.is_stuck(out.now(), waited) {
            return;
        }
        match self.stage {
            Stage::Connecting => {
                let counts = &self.ledger.counts;
                let outcomes = counts[Fact::ConnectionsOpened] + counts[Fact::ConnectionsFailed];
                // The probe's has a limit of its own.
                let undecided = u64::from(self.probing.as_ref().is_some_and(|probing| probing.is_undecided()));
                let missing = counts[Fact::ConnectionsRequested].saturating_sub(outcomes + undecided);
                let dialled = u64::from(self.dialer.under_way()).min(missing);
                self.ledger.connections_failed(format!("timed out after {waited:?}"), dialled);
                self.ledger.connections_failed("not dialled after that".to_owned(), missing - dialled);
                self.rest(out);
            }
            // A datagram scout has a timer of its own.
            Stage::Scouting if !self.is_datagram() => {
                let endpoint = self.options.endpoint.clone();
                self.unreachable = Some(Error::Unreached { endpoint, waited });
                out.stop();
            }
            _ => {}
        }
    }
}
