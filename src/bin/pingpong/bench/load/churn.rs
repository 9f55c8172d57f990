//! A connection for each request (`--churn`).
//!
//! A request counts as sent when its connection is dialled, so that the time to connect is a part of the service time.
//! Its bytes follow when the connection is there; after the answer the connection is closed.

use std::io;

use pingpong::service::{Outbox, Peer};

use super::dialer::{WAIT, is_for_now};
use super::wake::{Tag, Visit, Wake};
use super::{Lifetime, Load};
use crate::bench::record::Fact;

impl Load {
    /// Dials a connection for the request that has just been noted.
    pub(super) fn visit(&mut self, index: usize, out: &mut Outbox<'_>) {
        let connection = &mut self.connections[index];
        connection.hang_up();
        connection.visit = connection.visit.next();
        self.dialer.dial(Tag::Asking(connection.visit), out);
    }

    /// A connection has come about after the start: for one request, whose bytes are sent now, or too late to be of use.
    pub(super) fn arrived(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let request = match (self.lifetime, self.index_of(out.tag())) {
            (Lifetime::OneRequest, Some(index)) => {
                self.connections[index].pending.next_in_order().map(|number| (index, number))
            }
            _ => None,
        };
        let Some((index, number)) = request else { return out.close() };
        self.connections[index].peer = Some(peer);
        out.reply(self.messages.request(number));
    }

    /// A dial has failed after the start. (A connection for the whole run comes too late then: it was counted as failed at
    /// the start.)
    pub(super) fn visit_failed(&mut self, error: &io::Error, out: &mut Outbox<'_>) {
        let Some(index) = self.index_of(out.tag()) else { return };
        if self.lifetime == Lifetime::WholeRun {
            return;
        }
        if is_for_now(error) || is_portless(error) {
            self.ledger.counts[Fact::PortWaits] += u64::from(is_portless(error));
            let visit = self.connections[index].visit;
            return out.wake_at(out.now() + WAIT, Wake::Redial(visit).into());
        }
        // A server that ends takes its socket's file with it.
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => self.refuse_all(index, error, out.now()),
            _ => self.give_up_all(index, Fact::Broken, out.now()),
        }
        self.ledger.refused(error);
        // In the closed loop the sweep has it ask again: at once would be a busy loop where no server is.
        self.enqueue(index, out);
        self.end_if_complete(out);
    }

    /// Dials once more for the same request, unless that was given up meanwhile.
    pub(super) fn redial(&mut self, visit: Visit, out: &mut Outbox<'_>) {
        if let Some(index) = self.index_of(Tag::Asking(visit).into()) {
            self.visit(index, out);
        }
    }

    /// Leaves a connection whose request was given up: what still comes there is of no interest.
    pub(super) fn break_off(&mut self, index: usize, out: &mut Outbox<'_>) {
        let connection = &mut self.connections[index];
        if let Some(peer) = connection.peer {
            out.close_other(peer);
        }
        connection.hang_up();
        connection.pending.abandon(|_| {});
    }
}

/// Whether a dial failed for want of a local port.
fn is_portless(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
}
