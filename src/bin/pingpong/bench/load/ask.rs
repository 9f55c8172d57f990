//! How a load asks, and what it does with an answer.
//!
//! Closed loop: who has an answer asks again. Open loop: the schedule asks whoever is free. With a connection for each
//! request either of them dials first, and the request is sent when someone is there.

use super::connection::Verdict;
use super::open::Rota;
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
        let end = (self.begun + BEGUN_AT_ONCE).min(self.askers.len());
        for key in self.begun..end {
            self.top_up(key, out);
        }
        self.begun = end;
        if end < self.askers.len() {
            out.wake_at(out.now(), Wake::Begin.into());
        }
    }

    /// Whether another request may be sent that is due now.
    fn may_ask(&self, due: Moment) -> bool {
        let is_enough = match self.options.extent {
            Extent::Requests(requests) => self.ledger.covers(due) && self.ledger.counts[Fact::Sent] >= requests,
            Extent::Duration(_) => self.ledger.until().is_some_and(|until| due >= until),
        };
        self.stage == Stage::Asking && !is_enough
    }

    /// Notes a request of this asker that is sent now.
    fn note(&mut self, key: usize, due: Moment, now: Moment) -> u64 {
        self.requests += 1;
        let request = Request { number: self.requests, due, sent: now };
        self.askers[key].pending.push(request);
        self.ledger.sent(&request);
        request.number
    }

    /// Sends a request of this asker, on its connection or on one made for it.
    pub(super) fn ask(&mut self, key: usize, due: Moment, out: &mut Outbox<'_>) {
        if self.options.churn {
            self.note(key, due, out.now());
            return self.visit(key, out);
        }
        if let Some(peer) = self.askers[key].peer {
            let number = self.note(key, due, out.now());
            out.send(peer, self.wording.request(number));
        }
    }

    /// In the closed loop: has an asker ask until enough of its requests are under way.
    pub(super) fn top_up(&mut self, key: usize, out: &mut Outbox<'_>) {
        let is_there = |load: &Self| load.options.churn || load.askers[key].peer.is_some();
        while is_there(self) && self.askers[key].pending.waiting() < self.depth() && self.may_ask(out.now()) {
            self.ask(key, out.now(), out);
        }
    }

    fn depth(&self) -> u32 {
        if self.options.churn { 1 } else { self.options.pipeline }
    }

    /// Makes the connection for one request.
    pub(super) fn visit(&mut self, key: usize, out: &mut Outbox<'_>) {
        let visit = self.visit_of(key).next();
        let asker = &mut self.askers[key];
        asker.hang_up();
        asker.visit = visit.number;
        self.crowd.dial(Tag::Asking(visit), out);
    }

    /// The latest dial of this asker.
    pub(super) fn visit_of(&self, key: usize) -> Visit {
        Visit { index: key as u32, number: self.askers[key].visit }
    }

    /// In the open loop: sends the request that is due, if anyone is free to.
    pub(super) fn keep_schedule(&mut self, out: &mut Outbox<'_>) {
        let Some(due) = self.rota.as_ref().map(|rota| rota.schedule.due()) else { return };
        if !self.may_ask(due) {
            return self.settle_down(out);
        }
        if due <= out.now() {
            let Some(key) = self.rota.as_mut().and_then(Rota::next) else { return };
            self.askers[key].is_free = false;
            if self.options.churn || self.askers[key].peer.is_some() {
                self.rota.iter_mut().for_each(|rota| rota.schedule.advance());
                self.ask(key, due, out);
                self.set_free(key, out);
            }
        }
        let next = self.rota.as_ref().map_or(due, |rota| rota.schedule.due());
        out.wake_at(next, Wake::Send.into());
    }

    /// Lets the open loop ask this one again, unless too much of it is unanswered.
    pub(super) fn set_free(&mut self, key: usize, out: &mut Outbox<'_>) {
        let is_datagram = self.is_datagram();
        let asker = &mut self.askers[key];
        let under_way = if is_datagram { asker.pending.waiting() as usize } else { asker.pending.len() };
        let Some(rota) = self.rota.as_mut().filter(|_| !asker.is_free && under_way < self.window) else { return };
        asker.is_free = true;
        if rota.add(key) {
            out.wake_at(out.now(), Wake::Send.into());
        }
    }

    /// Takes an answer into account, and asks the next question.
    pub(super) fn judge(&mut self, key: usize, verdict: Verdict, out: &mut Outbox<'_>) {
        match verdict {
            Verdict::Right(settled) => self.ledger.answered(settled, true, out.now()),
            Verdict::Wrong(settled) => self.ledger.answered(settled, false, out.now()),
            Verdict::Surplus => return self.ledger.surplus(out.now()),
        }
        if self.options.churn {
            out.close();
            self.askers[key].hang_up();
        }
        self.go_on(key, out);
    }

    /// One request of this asker is over: the next one, or the end.
    pub(super) fn go_on(&mut self, key: usize, out: &mut Outbox<'_>) {
        if self.stage == Stage::Asking && self.rota.is_some() {
            self.set_free(key, out);
        } else if self.options.churn {
            self.top_up(key, out);
        } else if self.askers[key].pending.waiting() < self.depth() && self.may_ask(out.now()) {
            let number = self.note(key, out.now(), out.now());
            out.reply(self.wording.request(number));
        }
        self.end_when_settled(out);
    }

    /// All that this asker waits for will not come.
    pub(super) fn give_up_all(&mut self, key: usize, fact: Fact, now: Moment) {
        let Self { askers, ledger, .. } = self;
        askers[key].pending.abandon(|request| ledger.failed(request, fact, now));
    }
}
