//! How a request is sent and its answer taken, in both loops.

use std::io;

use pingpong::Moment;
use pingpong::service::Outbox;

use super::connection::Verdict;
use super::wake::Tag;
use super::{Lifetime, Load, Pace, Stage};
use crate::bench::record::{Fact, Request};

impl Load {
    /// Whether one more request, due at this moment, belongs to the run.
    #[inline]
    pub(super) fn may_send(&self, due: Moment) -> bool {
        self.stage == Stage::Asking && due < self.until && self.left > 0
    }

    /// Sends a request, on this connection or on one that is dialled for it.
    pub(super) fn ask(&mut self, index: usize, due: Moment, out: &mut Outbox<'_>) {
        match self.lifetime {
            Lifetime::WholeRun => {
                let Some(peer) = self.connections[index].peer else { return };
                let number = self.note_request(index, due, out.now());
                out.send(peer, self.messages.request(number));
            }
            Lifetime::OneRequest => {
                self.note_request(index, due, out.now());
                self.visit(index, out);
            }
        }
    }

    /// Counts an answer that has come on the connection at hand, and goes on with the next request.
    #[inline(always)]
    pub(super) fn answered(&mut self, index: usize, verdict: &Verdict, out: &mut Outbox<'_>) {
        match verdict {
            Verdict::Right(answered) => {
                self.was_answered = true;
                self.ledger.answered(answered, true, out.now());
            }
            Verdict::Wrong(answered) => self.ledger.answered(answered, false, out.now()),
            Verdict::Surplus => return self.ledger.surplus(out.now()),
        }
        self.connections[index].is_served = true;
        if self.lifetime == Lifetime::OneRequest {
            self.connections[index].hang_up();
            out.close();
        }
        self.ask_next(index, out);
    }

    /// A request of the connection at hand has its outcome: sends the next one, or ends the run.
    pub(super) fn ask_next(&mut self, index: usize, out: &mut Outbox<'_>) {
        match (&self.pace, self.lifetime) {
            (Pace::Open(_), _) => self.enqueue(index, out),
            (Pace::Closed { .. }, Lifetime::OneRequest) => {
                self.top_up(index, out);
            }
            (Pace::Closed { depth, .. }, Lifetime::WholeRun) => {
                if self.connections[index].pending.unanswered() < *depth as usize && self.may_send(out.now()) {
                    let number = self.note_request(index, out.now(), out.now());
                    // A reply, unlike a send, leaves in one write with those to the other answers of this read.
                    out.reply(self.messages.request(number));
                }
            }
        }
        self.end_if_complete(out);
    }

    /// The datagrams of the socket at hand are refused. The sweep has it ask again: at once would be a busy loop.
    pub(super) fn datagrams_refused(&mut self, error: &io::Error, out: &mut Outbox<'_>) {
        if let Tag::Idle(index) = out.tag().into() {
            return self.idle_broken(index, false, out);
        }
        let Some(index) = self.index_of(out.tag()) else { return };
        self.refuse_all(index, error, out.now());
        self.end_if_complete(out);
    }

    /// Counts all unanswered requests of a connection as refused, for this reason.
    pub(super) fn refuse_all(&mut self, index: usize, error: &io::Error, now: Moment) {
        let before = self.ledger.counts[Fact::Refused];
        self.give_up_all(index, Fact::Refused, now);
        self.ledger.requests_refused(error, self.ledger.counts[Fact::Refused] - before);
    }

    /// Counts all unanswered requests of a connection as failed: their answers will not come.
    pub(super) fn give_up_all(&mut self, index: usize, fact: Fact, now: Moment) {
        let Self { connections, ledger, .. } = self;
        connections[index].pending.abandon(|request| ledger.failed(request, fact, now));
    }

    /// Notes a request that is sent now. Returns its number.
    #[inline(always)]
    fn note_request(&mut self, index: usize, due: Moment, now: Moment) -> u64 {
        let request = Request { number: self.messages.next_number(), due, sent: now };
        let connection = &mut self.connections[index];
        connection.pending.push(request);
        connection.has_asked = true;
        self.left -= u64::from(self.ledger.sent(&request));
        request.number
    }
}
