//! One connection: its state, the facts beside it, and what follows from them.
//!
//! The fields are private: methods change them, and what can be derived is not stored. A connection decides nothing
//! about the loop; `step` calls it and acts on what it says.
//!
//! - `state`: the states, what events have told, and what has become of each direction
//! - `drain`: what is still read once the server or the service drains
//! - `io`: the calls on the socket, and what their results mean
//! - `offer`: input on its way to the service, and back
//! - `status`: what is shown of it to whoever watches

mod drain;
mod io;
mod offer;
mod state;
mod status;

use std::collections::VecDeque;

use super::buffer::{Lent, Pool, capacity, length};
use super::event::Readiness;
use crate::endpoint::{Address, PackedAddress};
use crate::error::CloseReason;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{ConnId, Decision, HIGH_MARK, Peer, PeerAddress, Recipient, ServiceId, Turn, is_over_limit};

pub(super) use state::State;
use state::{Edge, Receiving, Seen, Sending, TimeLimit};

/// A congested connection whose unsent bytes have fallen to this is read again.
const LOW_MARK: usize = HIGH_MARK / 4;

/// Bytes that a lingering connection discards at most before it is closed.
const LINGER_BYTES: u32 = 4 << 20;

#[derive(Debug)]
pub(super) struct Connection<T> {
    stream: T,
    /// Set by the table when it inserts the connection.
    id: ConnId,
    service: ServiceId,
    /// Timers that it owns, and that have neither run out nor been cancelled.
    timers: u32,
    /// A number that belongs to its service: `Outbox::tag`.
    tag: u64,
    /// Input that the service has not taken.
    rx: Lent,
    /// Output that the kernel has not taken.
    tx: Lent,
    state: State,
    /// When a byte last came in or went out, discarded input not counted.
    active_at: Moment,
    peer: PackedAddress,
    edge: Edge,
    receiving: Receiving,
    /// Bytes that may at most be read while `Receiving::Draining`, or discarded while `State::Lingering`.
    allowance: u32,
    sending: Sending,
    seen: Seen,
    /// What `auto` framing has decided.
    decision: Decision,
    /// Dialled by a service of ours; otherwise accepted.
    is_dialled: bool,
    /// The service owes an answer and takes no input until it has given it.
    paused: bool,
    /// Unsent output has reached the high mark and not yet fallen to the low mark: nothing is read or served.
    congested: bool,
    /// It is in the run queue.
    queued: bool,
}

/// What is left of a closed connection.
pub(super) struct Closed {
    pub(super) service: ServiceId,
    pub(super) peer: PackedAddress,
    pub(super) tag: u64,
    pub(super) timers: u32,
    pub(super) is_dialled: bool,
}

impl<T> Connection<T> {
    /// An accepted connection. Its socket is writable from the start, so that a greeting leaves in the same turn.
    pub(super) fn accepted(stream: T, service: ServiceId, peer: Address, short_read_drains: bool, now: Moment) -> Self {
        let mut accepted = Self::dialled(stream, service, peer, short_read_drains, now);
        accepted.state = State::Open;
        accepted.edge.writable = true;
        accepted.is_dialled = false;
        accepted
    }

    /// A connection that is being dialled. Its socket becomes writable once it has an outcome (connect(2)).
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
            peer: peer.into(),
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

    /// The same with this tag.
    pub(super) fn with_tag(self, tag: u64) -> Self {
        Self { tag, ..self }
    }

    /// Closes the socket and returns the buffers to the pool.
    pub(super) fn close(mut self, pool: &mut Pool, turn: &mut Turn) -> Closed {
        if self.tx.is_some() {
            turn.unsent.note(self.id, self.service, 0);
        }
        pool.take_back(&mut self.rx);
        pool.take_back(&mut self.tx);
        Closed {
            service: self.service,
            peer: self.peer,
            tag: self.tag,
            timers: self.timers,
            is_dialled: self.is_dialled,
        }
    }
}

/// What a connection is.
impl<T> Connection<T> {
    pub(super) fn id(&self) -> ConnId {
        self.id
    }

    /// Sets the id: the table's part.
    pub(super) fn set_id(&mut self, id: ConnId) {
        self.id = id;
    }

    pub(super) fn service(&self) -> ServiceId {
        self.service
    }

    pub(super) fn peer(&self) -> &PackedAddress {
        &self.peer
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(super) fn is_queued(&self) -> bool {
        self.queued
    }

    pub(super) fn recipient(&mut self, id: ConnId) -> Recipient<'_> {
        // Where we ask, questions that wait must not look like a reason to leave an answer: see `weigh_output`.
        let waiting = if self.is_dialled { 0 } else { length(&self.tx) };
        Recipient {
            peer: Some(Peer::Stream(id)),
            address: PeerAddress::Packed(&self.peer),
            tag: &mut self.tag,
            waiting,
        }
    }
}

/// What follows from a connection's fields.
impl<T> Connection<T> {
    /// Whether output waits for the kernel to take it.
    pub(super) fn has_unsent(&self) -> bool {
        self.tx.is_some()
    }

    /// Whether there is input that the service has not been offered, or not since the stream has ended.
    fn has_unseen(&self) -> bool {
        let most = || if self.receiving == Receiving::Ended { Seen::Last } else { Seen::All };
        self.rx.is_some() && self.seen < most()
    }

    /// Whether the service may be offered input: it owes no answer, and unsent output is under the bound.
    fn is_willing(&self) -> bool {
        self.is_open() && !(self.paused | self.congested)
    }

    /// Whether input that has been read already is to be offered to the service.
    pub(super) fn wants_service(&self) -> bool {
        self.is_willing() && self.has_unseen()
    }

    /// Whether the next step reads from the socket. A congested connection does not, and so TCP slows its peer down.
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

    /// Whether a step now would do something. Such a connection goes into the run queue, because no event may come for
    /// it: its last step left input in the kernel, or unsent output has fallen to the low mark, so that it may be read
    /// again.
    pub(super) fn is_runnable(&self) -> bool {
        let has_outcome = self.state == State::Connecting && self.edge.writable;
        let wants_write = self.has_unsent() && self.edge.writable;
        has_outcome || self.wants_read() || self.wants_service() || wants_write
    }

    /// Whether nothing is to be done before the next event: it is open, both its buffers are empty, the output was
    /// empty before the step too, and no time limit applies. Implies that `conclude` would change nothing.
    #[inline(always)]
    pub(super) fn is_at_rest(&self, had_unsent: bool, limits: &Limits) -> bool {
        // One jump for all of these: `|` looks at each.
        let touched = had_unsent | self.rx.is_some() | self.tx.is_some() | self.paused | self.edge.readable;
        !touched
            && limits.idle_timeout.is_none()
            && self.edge.hung_up.is_none()
            && self.is_open()
            && self.sending != Sending::Ending
            && self.receiving == Receiving::Open
    }

    /// Whether the service was offered all input and left more than one message may have.
    pub(super) fn is_over_limit(&self, max_message: usize) -> bool {
        let is_left = self.state == State::Open && self.seen > Seen::Part && !self.paused;
        is_left && self.rx.as_ref().is_some_and(|rx| is_over_limit(rx.bytes(), max_message))
    }

    /// The capacity of the buffers that it has borrowed, in bytes.
    pub(super) fn buffered(&self) -> usize {
        capacity(&self.rx) + capacity(&self.tx)
    }

    /// Whether it has more unsent output than `max_unsent` bytes.
    pub(super) fn is_stalled(&self, max_unsent: usize) -> bool {
        self.tx.is_some() && length(&self.tx) > max_unsent
    }

    /// Why an open connection is to be closed now, if it is: it owes nothing, and nothing more will be read.
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

    /// Why a connection is to be closed that an event reported as broken or closed in both directions. Only where no
    /// step would do anything: otherwise a read or a write finds out itself, after what arrived before. A paused
    /// connection reads nothing, and would stay for ever.
    pub(super) fn hung_up(&self) -> Option<CloseReason> {
        let why = self.edge.hung_up.filter(|_| !self.is_runnable())?;
        Some(self.state.closing().unwrap_or(why))
    }

    /// Whether our FIN is due: the service has ended its sending, and all output has been sent.
    pub(super) fn owes_fin(&self) -> bool {
        self.sending == Sending::Ending && self.state == State::Open && !self.has_unsent()
    }

    /// Why a finishing connection is being closed, once all its output has been sent.
    pub(super) fn finished(&self) -> Option<CloseReason> {
        match self.state {
            State::Finishing(why) if !self.has_unsent() => Some(why),
            _ => None,
        }
    }

    /// Whether the end of the peer's stream has been read: no input can be left unread.
    pub(super) fn has_ended(&self) -> bool {
        self.receiving == Receiving::Ended
    }

    /// The time limit that applies now: linger, stall, or idle.
    pub(super) fn time_limit(&self, limits: &Limits) -> Option<TimeLimit> {
        let limit = |since, length, why| Some(TimeLimit { since, length, why });
        match self.state {
            State::Lingering(why) => limit(self.active_at, limits.linger, why),
            _ if let Some(tx) = &self.tx => limit(tx.progress_at(), limits.stall_timeout, CloseReason::Stall),
            State::Open if !self.paused && !self.is_runnable() => {
                limits.idle_timeout.and_then(|timeout| limit(self.active_at, timeout, CloseReason::Idle))
            }
            State::Connecting | State::Open | State::Finishing(_) => None,
        }
    }
}

/// What changes a connection.
impl<T> Connection<T> {
    /// Changes the state, and traces that: no other function does.
    fn enter(&mut self, next: State) {
        log::trace!(target: "pingpong::state", "{}: {:?}, then {next:?}", self.peer, self.state);
        self.state = next;
    }

    /// Notes what an event says.
    pub(super) fn apply(&mut self, event: Readiness) {
        self.edge.apply(event);
    }

    /// Opens a dialled connection, which is connected now.
    pub(super) fn open(&mut self) {
        self.enter(State::Open);
    }

    /// Appends it to the run queue, if a step would do something and it is not there already.
    pub(super) fn enqueue(&mut self, id: ConnId, runnable: &mut VecDeque<ConnId>) {
        if self.is_runnable() && !self.queued {
            self.queued = true;
            runnable.push_back(id);
        }
    }

    /// Notes that it is not in the run queue any more.
    pub(super) fn dequeue(&mut self) {
        self.queued = false;
    }

    /// Assumes that the socket is writable, though no event said so: the next step asks whether the dial has an
    /// outcome.
    pub(super) fn assume_writable(&mut self) {
        self.edge.writable = true;
    }

    /// Waits for an event to say that the socket is writable.
    pub(super) fn await_writable(&mut self) {
        self.edge.writable = false;
    }

    /// Ends `auto` framing's wait for a line end: what has arrived is a chunk, and so is each later read.
    pub(super) fn decide_raw(&mut self) {
        if self.decision == Decision::Waiting {
            self.decision = Decision::Raw;
            self.seen = Seen::Part;
        }
    }

    /// Stops reading and serving it, until [`resume`](Self::resume).
    pub(super) fn pause(&mut self) {
        self.paused = self.state == State::Open;
    }

    /// Ends a pause, and has the input offered again even without one.
    pub(super) fn resume(&mut self) {
        self.paused = false;
        self.seen = Seen::Part;
    }

    /// Ends our sending: a FIN follows the output that waits.
    pub(super) fn end_sending(&mut self) {
        if self.sending == Sending::Open {
            self.sending = Sending::Ending;
        }
    }

    /// Whether the service may still send.
    pub(super) fn may_send(&self) -> bool {
        self.state == State::Open && self.sending == Sending::Open
    }

    /// Begins to close an open connection: output is still sent, input is discarded.
    pub(super) fn finish(&mut self, why: CloseReason, pool: &mut Pool) {
        if self.state == State::Open {
            self.enter(State::Finishing(why));
            self.paused = false;
        }
        pool.take_back(&mut self.rx);
    }

    /// Begins to linger, after our FIN: input is discarded until the peer's FIN.
    pub(super) fn linger(&mut self, why: CloseReason) {
        self.enter(State::Lingering(why));
        self.allowance = LINGER_BYTES;
        self.sending = Sending::Ended;
        // Input that a short read or a pause left in the kernel raises no further edge.
        self.edge.assume_readable();
    }

    pub(super) fn add_timer(&mut self) {
        self.timers += 1;
    }

    pub(super) fn remove_timers(&mut self, count: u32) {
        self.timers -= count;
    }

    /// Notes the number of unsent bytes, and sets `congested` from it, with hysteresis. A dialled connection is never
    /// congested: the answers that it reads make no output, and two sides that both wait for the other to read would
    /// wait for ever.
    fn update_congestion(&mut self, turn: &mut Turn) {
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
    fn an_idle_connection_is_small() {
        // What a stream is in production: an enum of two descriptors.
        assert!(size_of::<Connection<(i32, i32)>>() <= 88, "{}", size_of::<Connection<(i32, i32)>>());
    }
}
