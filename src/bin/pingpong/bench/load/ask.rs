//! How a load asks, and what it does with an answer.
//!
//! Closed loop: who has an answer asks again. Open loop: the schedule asks whoever is free. With a connection for each
//! request either of them dials first, and the request is sent when someone is there.

use super::connection::Verdict;
use super::open::Turns;
use super::wake::{Tag, Visit, Wake};
use super::{Load, Stage};
use crate::bench::Extent;
use crate::bench::record::{Fact, Request};
use pingpong::Moment;
use pingpong::service::Outbox;

/// Connections that begin at once.
const BEGUN_AT_ONCE: usize = 8;

impl Load {
    /// Has the next few connections ask for the first time.
    pub(super) fn begin_some(&mut self, out: &mut Outbox<'_>) {
        let end = (self.begun + BEGUN_AT_ONCE).min(self.connections.len());
        for index in self.begun..end {
            self.top_up(index, out);
        }
        self.begun = end;
        if end < self.connections.len() {
            out.wake_at(out.now(), Wake::Begin.into());
        }
    }

    /// Whether another request may be sent that is due now.
    fn may_send(&self, due: Moment) -> bool {
        let is_enough = match self.options.extent {
            Extent::Requests(requests) => self.ledger.covers(due) && self.ledger.counts[Fact::Sent] >= requests,
            Extent::Duration(_) => self.ledger.until().is_some_and(|until| due >= until),
        };
        self.stage == Stage::Asking && !is_enough
    }

    /// Notes a request of this connection that is sent now.
    fn note_request(&mut self, index: usize, due: Moment, now: Moment) -> u64 {
        self.requests += 1;
        let request = Request { number: self.requests, due, sent: now };
        self.connections[index].pending.push(request);
        self.ledger.sent(&request);
        request.number
    }

    /// Sends a request of this connection, on its connection or on one made for it.
    pub(super) fn ask(&mut self, index: usize, due: Moment, out: &mut Outbox<'_>) {
        if self.options.churn {
            self.note_request(index, due, out.now());
            return self.visit(index, out);
        }
        if let Some(peer) = self.connections[index].peer {
            let number = self.note_request(index, due, out.now());
            out.send(peer, self.messages.request(number));
        }
    }

    /// In the closed loop: has an connection ask until enough of its requests are under way.
    pub(super) fn top_up(&mut self, index: usize, out: &mut Outbox<'_>) {
        let is_there = |load: &Self| load.options.churn || load.connections[index].peer.is_some();
        while is_there(self) && self.connections[index].pending.awaited() < self.depth() && self.may_send(out.now()) {
            self.ask(index, out.now(), out);
        }
    }

    fn depth(&self) -> u32 {
        if self.options.churn { 1 } else { self.options.pipeline }
    }

    /// Makes the connection for one request.
    pub(super) fn visit(&mut self, index: usize, out: &mut Outbox<'_>) {
        let visit = self.visit_of(index).next();
        let connection = &mut self.connections[index];
        connection.hang_up();
        connection.visit = visit.number;
        self.dialer.dial(Tag::Asking(visit), out);
    }

    /// The latest dial of this connection.
    pub(super) fn visit_of(&self, index: usize) -> Visit {
        Visit { index: index as u32, number: self.connections[index].visit }
    }

    /// In the open loop: sends the request that is due, if anyone is free to.
    pub(super) fn keep_schedule(&mut self, out: &mut Outbox<'_>) {
        let Some(due) = self.turns.as_ref().map(|turns| turns.schedule.due()) else { return };
        if !self.may_send(due) {
            return self.stop_asking(out);
        }
        if due <= out.now() {
            let Some(index) = self.turns.as_mut().and_then(Turns::next) else { return };
            self.connections[index].is_queued = false;
            if self.options.churn || self.connections[index].peer.is_some() {
                self.turns.iter_mut().for_each(|turns| turns.schedule.advance());
                self.ask(index, due, out);
                self.enqueue(index, out);
            }
        }
        let next = self.turns.as_ref().map_or(due, |turns| turns.schedule.due());
        out.wake_at(next, Wake::Send.into());
    }

    /// Lets the open loop ask this one again, unless too much of it is unanswered.
    pub(super) fn enqueue(&mut self, index: usize, out: &mut Outbox<'_>) {
        let is_datagram = self.is_datagram();
        let connection = &mut self.connections[index];
        let under_way = if is_datagram { connection.pending.awaited() as usize } else { connection.pending.len() };
        let Some(turns) = self.turns.as_mut().filter(|_| !connection.is_queued && under_way < self.window) else {
            return;
        };
        connection.is_queued = true;
        if turns.add(index) {
            out.wake_at(out.now(), Wake::Send.into());
        }
    }

    /// Takes an answer into account, and asks the next question.
    pub(super) fn answered(&mut self, index: usize, verdict: Verdict, out: &mut Outbox<'_>) {
        match verdict {
            Verdict::Right(settled) => self.ledger.answered(settled, true, out.now()),
            Verdict::Wrong(settled) => self.ledger.answered(settled, false, out.now()),
            Verdict::Surplus => return self.ledger.surplus(out.now()),
        }
        if self.options.churn {
            out.close();
            self.connections[index].hang_up();
        }
        self.ask_next(index, out);
    }

    /// One request of this connection is over: the next one, or the end.
    pub(super) fn ask_next(&mut self, index: usize, out: &mut Outbox<'_>) {
        if self.stage == Stage::Asking && self.turns.is_some() {
            self.enqueue(index, out);
        } else if self.options.churn {
            self.top_up(index, out);
        } else if self.connections[index].pending.awaited() < self.depth() && self.may_send(out.now()) {
            let number = self.note_request(index, out.now(), out.now());
            out.reply(self.messages.request(number));
        }
        self.end_if_complete(out);
    }

    /// All that this connection waits for will not come.
    pub(super) fn give_up_all(&mut self, index: usize, fact: Fact, now: Moment) {
        let Self { connections, ledger, .. } = self;
        connections[index].pending.abandon(|request| ledger.failed(request, fact, now));
    }
}
