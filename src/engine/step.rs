//! The step of a connection: read, serve, write, in this order, then decide what follows.
//!
//! The hot path. A step has one read, one callback and one write at most; what it leaves goes into the run queue, so
//! that no connection keeps the others waiting for longer than one read's worth of work. `Engine::dispatch` gives a
//! connection its step; the calls on the socket are `connection/io.rs`.
//!
//! Because the answer is written in the step that made it, no code has to arm a write: `conclude` compares the unsent
//! output before and after, and arms or disarms the socket where that changed. (A write that is not armed, while no
//! event comes, stalls its connection for ever.)

use super::connection::{Connection, State};
use super::event::Readiness;
use super::net::Net;
use super::timers::Due;
use super::{Clock, Engine};
use crate::error::CloseReason;
use crate::service::{ConnId, FIRST_LINE, Outbox, Peer, PeerAddress, Recipient, Service};

impl<S: Service, N: Net> Engine<S, N> {
    /// Gives a connection one step, as its state and what an event has `told` demand; the run queue has nothing to tell.
    /// An open one: reads once, offers the service what has arrived, writes the answer. Keeps the input that the service
    /// left and the output that the kernel did not take.
    #[inline(always)]
    pub(super) fn step(&mut self, id: ConnId, told: Readiness, clock: Clock<'_>) {
        let Self { net, services, table, pool, scratch, output, turn, timers, limits, exact, .. } = self;
        // None: the event is stale, its connection has been closed.
        let Some(connection) = table.get_mut(id) else { return };
        connection.apply(told);
        if connection.is_queued() {
            // Its turn in the run queue comes.
            return;
        }
        let had_unsent = connection.has_unsent();
        if !connection.is_open() {
            return self.step_unopen(id, had_unsent, clock);
        }

        let fresh = match connection.fill(net, pool, scratch, turn) {
            Ok(fresh) => fresh,
            Err(why) => return self.end_step(id, had_unsent, Err(why)),
        };
        if *exact {
            turn.now = clock();
        }
        if fresh == 0 && !connection.wants_service() {
            let outcome = connection.flush(net, pool, turn);
            return self.end_step(id, had_unsent, outcome);
        }
        let mut kept = connection.take_kept();
        let mut input = connection.input(&mut kept, &mut scratch[..fresh], limits.max_message);
        let (service, caller) = services.caller(connection.service());
        let mut out = Outbox::new(caller, Some(connection.recipient(id)), turn, output);
        if !input.is_empty() {
            service.received(Peer::Stream(id), &mut input, &mut out);
        }
        let (answer, consumed) = (out.into_answer(), input.consumed());
        let bytes = answer.join(input.bytes(), &mut output.replies);
        let outcome = connection.write(net, pool, turn, bytes);

        if connection.keep(kept, consumed, answer.has_room, &scratch[..fresh], pool) {
            timers.set(turn.now + FIRST_LINE, Due::FirstLine(id));
            connection.add_timer();
        }
        // The common case ends here: all input was answered, all output was sent, and there are no effects.
        let is_done = outcome.is_ok() && output.effects.list.is_empty() && connection.is_at_rest(had_unsent, limits);
        if !is_done {
            self.end_step(id, had_unsent, outcome);
        }
    }

    /// The step of a connection that is not open yet, or being closed.
    #[inline(never)]
    fn step_unopen(&mut self, id: ConnId, had_unsent: bool, clock: Clock<'_>) {
        let Some(connection) = self.table.get_mut(id) else { return };
        let outcome = match connection.state() {
            State::Connecting => return self.check_dial(id, clock),
            State::Open => Ok(()),
            State::Finishing(why) => self.flush(id).map_err(|_| why),
            State::Lingering(why) => self.discard(id, why),
        };
        self.end_step(id, had_unsent, outcome);
    }

    /// Runs a callback for an open connection outside of its step: a greeting, a timer. The answer is written at once.
    pub(super) fn call(&mut self, id: ConnId, callback: impl FnOnce(&mut S, Peer, &mut Outbox<'_>)) {
        let Self { net, services, table, pool, output, turn, .. } = self;
        let Some(connection) = table.get_mut(id).filter(|connection| connection.is_open()) else { return };
        let had_unsent = connection.has_unsent();
        let (service, caller) = services.caller(connection.service());
        let mut out = Outbox::new(caller, Some(connection.recipient(id)), turn, output);
        callback(service, Peer::Stream(id), &mut out);
        let answer = out.into_answer().join(&[], &mut output.replies);
        let outcome = connection.write(net, pool, turn, answer);
        self.end_step(id, had_unsent, outcome);
    }

    /// Ends a step: closes the connection if its outcome says so, carries out the effects, decides what follows.
    pub(super) fn end_step(&mut self, id: ConnId, had_unsent: bool, outcome: Result<(), CloseReason>) {
        if let Err(why) = outcome {
            self.close(id, why);
        }
        self.settle();
        self.conclude(id, had_unsent);
        self.settle();
        if self.pool.is_over_limit() {
            self.relieve();
        }
    }

    /// Closes the connections with the largest buffers until all buffers together are within
    /// [`Limits::max_buffered`](crate::Limits::max_buffered).
    #[cold]
    pub(super) fn relieve(&mut self) {
        while self.pool.is_over_limit()
            && let Some(largest) = self.table.max_by_key(Connection::buffered)
        {
            self.close(largest, CloseReason::Limit);
            self.settle();
        }
    }

    fn flush(&mut self, id: ConnId) -> Result<(), CloseReason> {
        let Self { net, table, pool, turn, .. } = self;
        table.get_mut(id).map_or(Ok(()), |connection| connection.flush(net, pool, turn))
    }

    /// The step of a lingering connection: reads once and throws that away. `Err` when the lingering is over.
    fn discard(&mut self, id: ConnId, why: CloseReason) -> Result<(), CloseReason> {
        let Self { net, table, scratch, turn, .. } = self;
        let Some(connection) = table.get_mut(id) else { return Ok(()) };
        if connection.discard(net, scratch, turn) { Err(why) } else { Ok(()) }
    }

    /// Begins to close a connection: it is closed once its unsent output has been sent.
    pub(super) fn finish_connection(&mut self, id: ConnId, had_unsent: bool, why: CloseReason) {
        let Some(connection) = self.table.get_mut(id) else { return };
        connection.finish(why, &mut self.pool);
        self.conclude(id, had_unsent);
    }

    /// Decides what follows once a connection may have changed: closes it, sends its FIN, arms its socket, watches its
    /// time limit, or queues it for another step.
    pub(super) fn conclude(&mut self, id: ConnId, had_unsent: bool) {
        let Self { net, table, limits, turn, sweep, runnable, .. } = self;
        let Some(connection) = table.get_mut(id) else { return };
        if connection.is_at_rest(had_unsent, limits) {
            return;
        }
        if connection.is_over_limit(limits.max_message) {
            return self.finish_connection(id, had_unsent, CloseReason::Overflow);
        }
        if connection.is_stalled(limits.max_unsent) {
            return self.close(id, CloseReason::Stall);
        }
        match connection.verdict() {
            Some(CloseReason::Peer) => return self.close(id, CloseReason::Peer),
            Some(why) => return self.finish_connection(id, had_unsent, why),
            None => {}
        }
        if let Some(why) = connection.hung_up() {
            return self.close(id, why);
        }
        if connection.owes_fin() && connection.shut_down(net).is_err() {
            return self.close(id, CloseReason::Reset);
        }
        if let Some(why) = connection.finished() {
            // Without lingering close(2) sends the FIN. After the end of the peer's stream no input can be left unread,
            // which would make the kernel drop what is still under way.
            let closes_cleanly = why == CloseReason::Shutdown && connection.closes_cleanly(net);
            if closes_cleanly || connection.has_ended() || limits.linger.is_zero() || connection.shut_down(net).is_err()
            {
                return self.close(id, why);
            }
            connection.linger(why);
            if connection.time_limit(limits).is_some_and(|limit| limit.is_over(turn.now)) {
                return self.close(id, why);
            }
        }
        // Only at a change: Unix streams are watched for writability just while output waits (see `Net::arm_stream`).
        if connection.has_unsent() != had_unsent && connection.arm(net, id).is_err() {
            return self.close(id, CloseReason::Limit);
        }
        if let Some(limit) = connection.time_limit(limits) {
            sweep.schedule(turn.now, limit.length);
        }
        connection.enqueue(id, runnable);
    }

    /// Closes a connection now and removes it. Effects of the service's `closed` wait for `settle`.
    pub(super) fn close(&mut self, id: ConnId, why: CloseReason) {
        let Some(connection) = self.table.remove(id) else { return };
        let closed = connection.close(&mut self.pool, &mut self.turn);
        self.turn.stats.count_close(why);
        if closed.timers > 0 {
            self.timers.abandon(closed.timers, |id| self.table.contains(id));
        }
        self.acceptor.end_pause();
        if !closed.is_dialled {
            self.acceptor.count_out(closed.peer.ip());
        }
        self.log(closed.service, &closed.peer, format_args!("closed ({why})"));
        let mut tag = closed.tag;
        let gone = Recipient::gone(PeerAddress::Packed(&closed.peer), &mut tag);
        self.call_service(closed.service, Some(gone), |service, out| service.closed(Peer::Stream(id), why, out));
    }
}
