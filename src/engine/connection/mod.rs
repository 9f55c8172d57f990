//! One connection: its state, the facts beside it, and what follows from them.
//!
//! The fields are private; verbs change them, and what can be derived is derived. `state` has the states and what each
//! half of the conversation has come to, `io` the calls on the socket and what their results mean. `turn` gives a
//! connection its step and acts on what these functions say.

mod io;
mod state;

use std::collections::VecDeque;

use super::buffer::{Lent, Pool, capacity, length};
use super::event::Readiness;
use crate::endpoint::Address;
use crate::error::CloseReason;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{
    ConnId, Consumed, Decision, Extent, HIGH_MARK, Input, Peer, Recipient, ServiceId, Turn, is_over_limit,
};

pub(super) use state::State;
use state::{Edge, Receiving, Seen, Sending, TimeLimit};

/// Unsent bytes at which a congested connection is read again.
const LOW_MARK: usize = HIGH_MARK / 4;

/// Bytes thrown away of a peer that sends on after we have closed.
const LINGER_BYTES: u32 = 4 << 20;

#[derive(Debug)]
pub(super) struct Connection<T> {
    stream: T,
    /// Given by the table.
    id: ConnId,
    service: ServiceId,
    /// Timers set for it that have not run out.
    timers: u32,
    /// Its service's own number for it.
    tag: u64,
    /// What has arrived and was not taken.
    rx: Lent,
    /// What was answered and not yet sent.
    tx: Lent,
    state: State,
    /// When the last byte came in or went out, those thrown away not counted.
    active_at: Moment,
    /// When output last moved, or began to wait.
    progress_at: Moment,
    peer: Address,
    edge: Edge,
    receiving: Receiving,
    /// Bytes that are still read while `Draining`, or thrown away while `Lingering`.
    allowance: u32,
    sending: Sending,
    seen: Seen,
    /// What `auto` framing has decided.
    decision: Decision,
    /// We have made it, to ask; else the peer has.
    is_dialled: bool,
    /// The service owes an answer and wants nothing until it is given.
    paused: bool,
    /// So much output waits that no more is made, until it has fallen under the low mark.
    congested: bool,
    /// In the run queue.
    queued: bool,
}

/// A connection that has been closed: what is left to be told of it.
pub(super) struct Closed {
    pub(super) service: ServiceId,
    pub(super) peer: Address,
    pub(super) tag: u64,
    pub(super) timers: u32,
}

/// Input on its way to the service and back: what the connection has kept, if anything.
pub(super) struct Offer {
    kept: Lent,
    /// Nothing stands behind it.
    is_all: bool,
    /// The stream ends there.
    is_last: bool,
    decision: Decision,
}

impl Offer {
    /// The input: what was kept, or else the `fresh` bytes themselves.
    #[inline(always)]
    pub(super) fn input<'a>(&'a mut self, fresh: &'a mut [u8], max_message: usize) -> Input<'a> {
        let extent = if self.is_last { Extent::Last } else { Extent::Partial };
        let (bytes, scanned) = match &mut self.kept {
            Some(kept) => kept.offer(),
            None => (fresh, 0),
        };
        Input::stream(bytes, scanned, self.decision, extent, max_message)
    }
}

impl<T> Connection<T> {
    /// An accepted connection: writable from the start.
    pub(super) fn accepted(stream: T, service: ServiceId, peer: Address, short_read_drains: bool, now: Moment) -> Self {
        let mut accepted = Self::dialled(stream, service, peer, short_read_drains, now);
        accepted.state = State::Open;
        accepted.edge.writable = true;
        accepted.is_dialled = false;
        accepted
    }

    /// A connection that we have begun to make: it becomes writable when it is there.
    pub(super) fn dialled(stream: T, service: ServiceId, peer: Address, short_read_drains: bool, now: Moment) -> Self {
        Self {
            stream,
            id: ConnId::new(0, 0),
            service,
            timers: 0,
            tag: 0,
            rx: None,
            tx: None,
            state: State::Connecting,
            active_at: now,
            progress_at: now,
            peer,
            edge: Edge { readable: false, writable: false, short_read_drains, hung_up: None },
            receiving: Receiving::Open,
            allowance: 0,
            sending: Sending::Open,
            seen: Seen::All,
            decision: Decision::default(),
            is_dialled: true,
            paused: false,
            congested: false,
            queued: false,
        }
    }

    /// The same, carrying this number for its service.
    pub(super) fn with_tag(self, tag: u64) -> Self {
        Self { tag, ..self }
    }

    /// Closes the socket and gives the buffers back.
    pub(super) fn close(mut self, pool: &mut Pool, turn: &mut Turn) -> Closed {
        if self.tx.is_some() {
            turn.unsent.note(self.id, self.service, 0);
        }
        pool.take_back(&mut self.rx);
        pool.take_back(&mut self.tx);
        Closed { service: self.service, peer: self.peer, tag: self.tag, timers: self.timers }
    }
}

/// What it is.
impl<T> Connection<T> {
    pub(super) fn id(&self) -> ConnId {
        self.id
    }

    /// The table gives it its name.
    pub(super) fn set_id(&mut self, id: ConnId) {
        self.id = id;
    }

    pub(super) fn service(&self) -> ServiceId {
        self.service
    }

    pub(super) fn peer(&self) -> &Address {
        &self.peer
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn is_queued(&self) -> bool {
        self.queued
    }

    pub(super) fn recipient(&mut self, id: ConnId) -> Recipient<'_> {
        Recipient { peer: Some(Peer::Stream(id)), address: &self.peer, tag: &mut self.tag, waiting: length(&self.tx) }
    }
}

/// What follows from its fields.
impl<T> Connection<T> {
    pub(super) fn has_unsent(&self) -> bool {
        self.tx.is_some()
    }

    /// Whether there is input that the service has not been offered, or not yet as the last.
    fn has_unseen(&self) -> bool {
        let most = if self.receiving == Receiving::Ended { Seen::Last } else { Seen::All };
        self.rx.is_some() && self.seen < most
    }

    /// Whether the service may be offered input: it owes no answer, and there is room for the next one.
    fn is_willing(&self) -> bool {
        self.state == State::Open && !self.paused && !self.congested
    }

    /// Whether what has been read is to be offered to the service.
    pub(super) fn wants_service(&self) -> bool {
        self.is_willing() && self.has_unseen()
    }

    /// Whether the next step reads from the socket.
    fn wants_read(&self) -> bool {
        match self.state {
            State::Open => {
                let may_receive = matches!(self.receiving, Receiving::Open | Receiving::Draining);
                self.edge.readable && may_receive && self.is_willing() && !self.has_unseen()
            }
            State::Connecting | State::Finishing(_) => false,
            State::Lingering(_) => self.edge.readable && self.receiving != Receiving::Ended,
        }
    }

    /// Whether a step now would get anywhere.
    pub(super) fn is_runnable(&self) -> bool {
        let has_outcome = self.state == State::Connecting && self.edge.writable;
        let wants_write = self.has_unsent() && self.edge.writable;
        has_outcome || self.wants_read() || self.wants_service() || wants_write
    }

    /// Whether there is nothing to see to before the next event: it is open, its buffers are empty now and its output was
    /// before, and no time limit begins.
    #[inline(always)]
    pub(super) fn is_at_rest(&self, had_unsent: bool, limits: &Limits) -> bool {
        let untouched = self.rx.is_none() && self.tx.is_none() && !self.paused && !self.edge.readable;
        untouched
            && !had_unsent
            && limits.idle_timeout.is_none()
            && self.edge.hung_up.is_none()
            && self.state == State::Open
            && self.sending != Sending::Ending
            && self.receiving == Receiving::Open
    }

    /// Whether the service has been offered the rest of the input, has left it, and it is longer than a message may be.
    pub(super) fn is_over_limit(&self, max_message: usize) -> bool {
        let is_left = self.state == State::Open && self.seen > Seen::Part && !self.paused;
        is_left && self.rx.as_ref().is_some_and(|rx| is_over_limit(rx.bytes(), max_message))
    }

    /// The bytes of buffers that it has borrowed.
    pub(super) fn buffered(&self) -> usize {
        capacity(&self.rx) + capacity(&self.tx)
    }

    /// Whether more output waits than may.
    pub(super) fn is_stalled(&self, max_unsent: usize) -> bool {
        self.tx.is_some() && length(&self.tx) > max_unsent
    }

    /// Why an open connection is over, if it is: nothing is owed, and nothing more will be asked.
    pub(super) fn verdict(&self) -> Option<CloseReason> {
        let nothing_owed = !self.paused && !self.has_unsent() && !self.wants_service();
        if self.state != State::Open || !nothing_owed {
            return None;
        }
        match self.receiving {
            Receiving::Open | Receiving::Draining => None,
            Receiving::Stopped => Some(CloseReason::Shutdown),
            Receiving::Ended => Some(CloseReason::Peer),
        }
    }

    /// Why a connection that an event has told to be broken, or closed on both sides, is to be closed now: no call on
    /// it would find that out.
    pub(super) fn hung_up(&self) -> Option<CloseReason> {
        let why = self.edge.hung_up.filter(|_| !self.is_runnable())?;
        Some(self.state.closing().unwrap_or(why))
    }

    /// Whether the service has said its last and all of it is out: a FIN is due.
    pub(super) fn owes_fin(&self) -> bool {
        self.sending == Sending::Ending && self.state == State::Open && !self.has_unsent()
    }

    /// Why the connection is being closed, once its output is out.
    pub(super) fn finished(&self) -> Option<CloseReason> {
        match self.state {
            State::Finishing(why) if !self.has_unsent() => Some(why),
            _ => None,
        }
    }

    /// Whether the peer has finished sending, so that nothing it sends could be left unread.
    pub(super) fn has_ended(&self) -> bool {
        self.receiving == Receiving::Ended
    }

    /// The time limit that applies to it now.
    pub(super) fn time_limit(&self, limits: &Limits) -> Option<TimeLimit> {
        let limit = |since, length, why| Some(TimeLimit { since, length, why });
        match self.state {
            State::Lingering(why) => limit(self.active_at, limits.linger, why),
            _ if self.has_unsent() => limit(self.progress_at, limits.stall_timeout, CloseReason::Stall),
            State::Open if !self.paused && !self.wants_service() => {
                limits.idle_timeout.and_then(|timeout| limit(self.active_at, timeout, CloseReason::Idle))
            }
            State::Connecting | State::Open | State::Finishing(_) => None,
        }
    }
}

/// What changes it.
impl<T> Connection<T> {
    /// Enters a state: the only place where it changes.
    fn enter(&mut self, next: State) {
        log::trace!(target: "pingpong::state", "{}: {:?}, then {next:?}", self.peer, self.state);
        self.state = next;
    }

    /// Takes in what an event says.
    pub(super) fn apply(&mut self, event: Readiness) {
        self.edge.apply(event);
    }

    /// A dialled connection is there.
    pub(super) fn open(&mut self) {
        self.enter(State::Open);
    }

    /// Puts it into the run queue, if a step would get anywhere and it is not there already.
    pub(super) fn enqueue(&mut self, id: ConnId, runnable: &mut VecDeque<ConnId>) {
        if self.is_runnable() && !self.queued {
            self.queued = true;
            runnable.push_back(id);
        }
    }

    /// It has been taken out of the run queue, if it was there.
    pub(super) fn dequeue(&mut self) {
        self.queued = false;
    }

    /// Whether a dial has an outcome is to be found out: a Unix one has it at once, and no event tells.
    pub(super) fn assume_writable(&mut self) {
        self.edge.writable = true;
    }

    /// The dial has no outcome yet.
    pub(super) fn await_writable(&mut self) {
        self.edge.writable = false;
    }

    /// Its input on the way to the service; [`keep`](Self::keep) brings back what the service leaves of it.
    #[inline(always)]
    pub(super) fn offer(&mut self) -> Offer {
        let kept = self.rx.take();
        let is_all = kept.as_ref().is_none_or(|kept| kept.offers_all());
        Offer { is_last: is_all && self.receiving == Receiving::Ended, kept, is_all, decision: self.decision }
    }

    /// Keeps what the service has not consumed of an offer, which was made of `fresh` where nothing was kept before.
    /// Whether `auto` framing begins to wait for a line end.
    #[inline(always)]
    pub(super) fn keep(
        &mut self,
        offer: Offer,
        consumed: Consumed,
        has_room: bool,
        fresh: &[u8],
        pool: &mut Pool,
    ) -> bool {
        let Offer { mut kept, is_all, is_last, decision } = offer;
        self.decision = consumed.decision;
        if kept.is_some() {
            pool.consume(&mut kept, consumed.taken);
            self.rx = kept;
        } else if consumed.taken < fresh.len() {
            pool.append(&mut self.rx, &fresh[consumed.taken..]);
        }
        // Mostly nothing is left.
        let Some(rx) = &mut self.rx else { return false };
        rx.note(consumed.scanned, consumed.put_back);
        self.seen = match (has_room && is_all, is_last) {
            (false, _) => Seen::Part,
            (true, false) => Seen::All,
            (true, true) => Seen::Last,
        };
        decision != Decision::Waiting && consumed.decision == Decision::Waiting
    }

    /// The wait for the end of a first line is over: what has arrived is a chunk, and so is what follows.
    pub(super) fn decide_raw(&mut self) {
        if self.decision == Decision::Waiting {
            self.decision = Decision::Raw;
            self.seen = Seen::Part;
        }
    }

    /// The service owes an answer.
    pub(super) fn pause(&mut self) {
        self.paused = self.state == State::Open;
    }

    /// The service goes on: its input is offered again, paused or not.
    pub(super) fn resume(&mut self) {
        self.paused = false;
        self.seen = Seen::Part;
    }

    /// The service has said its last.
    pub(super) fn end_sending(&mut self) {
        if self.sending == Sending::Open {
            self.sending = Sending::Ending;
        }
    }

    /// Whether the service may still send.
    pub(super) fn may_send(&self) -> bool {
        self.state == State::Open && self.sending == Sending::Open
    }

    /// The server is draining: no more is read than the `arrived` bytes that wait in the kernel; `None` where the stream
    /// has ended.
    pub(super) fn drain(&mut self, arrived: Option<usize>) {
        if self.receiving != Receiving::Open {
            return;
        }
        match arrived {
            None => self.receiving = Receiving::Ended,
            Some(0) => self.stop_receiving(),
            Some(arrived) => {
                self.receiving = Receiving::Draining;
                self.allowance = u32::try_from(arrived).unwrap_or(u32::MAX);
                self.edge.assume_readable();
            }
        }
    }

    /// Nothing is read any more. What was left because more was to come is offered once again: no more will come.
    fn stop_receiving(&mut self) {
        self.receiving = Receiving::Stopped;
        self.decide_raw();
        self.seen = Seen::Part;
    }

    /// Begins to close. What it is owed is sent; its input is of no more interest.
    pub(super) fn finish(&mut self, why: CloseReason, pool: &mut Pool) {
        if self.state == State::Open {
            self.enter(State::Finishing(why));
            self.paused = false;
        }
        pool.take_back(&mut self.rx);
    }

    /// Our FIN has been sent: awaits the peer's.
    pub(super) fn linger(&mut self, why: CloseReason) {
        self.enter(State::Lingering(why));
        self.allowance = LINGER_BYTES;
        self.sending = Sending::Ended;
        // Whatever was left unread by a short read or by a pause is to be looked at once.
        self.edge.assume_readable();
    }

    pub(super) fn add_timer(&mut self) {
        self.timers += 1;
    }

    pub(super) fn remove_timer(&mut self) {
        self.timers -= 1;
    }

    /// Notes how much waits to be sent, and whether that is too much for more. Not where we ask: what is read there
    /// makes no output, and not reading could make both sides wait for each other.
    fn weigh_output(&mut self, turn: &mut Turn) {
        let unsent = length(&self.tx);
        turn.unsent.note(self.id, self.service, unsent);
        let mark = if self.congested { LOW_MARK + 1 } else { HIGH_MARK };
        self.congested = unsent >= mark && !self.is_dialled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_less_than_two_cache_lines() {
        // What a stream is in production: an enum of two descriptors.
        assert!(size_of::<Connection<(i32, i32)>>() <= 112, "{}", size_of::<Connection<(i32, i32)>>());
    }
}
