//! One connection gets its turn: read, serve, write, and then see where that leaves it.
//!
//! The hot path. One read and one callback a step; what is left goes into the run queue, so that one connection never
//! keeps the others waiting for longer than one read's worth.

use std::io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};
use std::ops::Range;

use super::buffer::{Pool, held};
use super::connection::{Connection, Sending, State};
use super::net::Net;
use super::{Engine, Named};
use crate::error::CloseReason;
use crate::moment::Moment;
use crate::service::{ConnId, Effect, Input, Outbox, Peer, Progress, Recipient, Service, is_over_limit};
use crate::stats::Stats;

impl<S: Service, N: Net> Engine<S, N> {
    /// Gives a connection its turn, carries out what its service wants, and decides how it goes on.
    pub(super) fn step(&mut self, id: ConnId) {
        let Some(connection) = self.table.get_mut(id) else { return };
        connection.queued = false;
        let had_output = connection.has_output();
        let outcome = match connection.state {
            State::Connecting => return self.establish(id),
            State::Open => self.converse(id),
            State::Finishing(why) => self.flush(id).map_err(|_| why),
            State::Lingering { why, .. } => self.discard(id, why),
        };
        self.go_on(id, had_output, outcome);
    }

    /// Runs a callback for an open connection outside of its turn: a greeting, a timer.
    pub(super) fn call(&mut self, id: ConnId, callback: impl FnOnce(&mut S, Peer, &mut Outbox<'_>)) {
        let Self { net, services, table, pool, replies, effects, stats, now, .. } = self;
        let Some(connection) = table.get_mut(id).filter(|connection| connection.state == State::Open) else { return };
        let had_output = connection.has_output();
        let number = connection.service;
        let Named { name, service } = &mut services[usize::from(number)];
        let mut out = Outbox::new(Some(connection.recipient(id)), number, name, replies, effects, stats, *now);
        callback(service, Peer::Stream(id), &mut out);
        let outcome = connection.write(net, pool, replies, stats, *now);
        self.go_on(id, had_output, outcome);
    }

    pub(super) fn go_on(&mut self, id: ConnId, had_output: bool, outcome: Result<(), CloseReason>) {
        if let Err(why) = outcome {
            self.close(id, why);
        }
        self.settle();
        self.conclude(id, had_output);
        self.settle();
    }

    /// Reads what has arrived, has it answered, writes the answer; keeps what was not taken and not sent.
    fn converse(&mut self, id: ConnId) -> Result<(), CloseReason> {
        let Self { net, services, table, pool, scratch, replies, effects, stats, limits, now, .. } = self;
        let Some(connection) = table.get_mut(id) else { return Ok(()) };

        let fresh = match connection.wants_read() {
            true => connection.read(net, scratch, stats, *now)?,
            false => 0,
        };
        *now = net.now(*now);
        if fresh == 0 && !connection.wants_service() {
            return connection.write(net, pool, &[], stats, *now);
        }
        if connection.rx.is_some() {
            pool.append(&mut connection.rx, &scratch[..fresh]).map_err(|_| CloseReason::Limit)?;
        }

        // Where nothing was kept from before, the service takes its share of the scratch itself.
        let mut kept = connection.rx.take();
        let scanned = kept.as_ref().map_or(0, |kept| kept.scanned);
        let (bytes, is_all) = match &mut kept {
            Some(kept) => kept.offer(),
            None => (&mut scratch[..fresh], true),
        };
        let is_last = connection.eof && is_all;
        connection.last_given = is_last;
        let number = connection.service;
        let Named { name, service } = &mut services[usize::from(number)];
        let mut input = Input::stream(bytes, scanned, is_last, limits.max_message);
        let mut out = Outbox::new(Some(connection.recipient(id)), number, name, replies, effects, stats, *now);
        if !input.is_empty() {
            service.received(Peer::Stream(id), &mut input, &mut out);
        }
        let (has_room, in_place) = (out.has_room(), out.in_place);
        let Progress { taken, scanned, put_back } = input.progress();

        let answer = join(&bytes[in_place], replies);
        let outcome = connection.write(net, pool, answer, stats, *now);

        let kept_all = match kept.is_some() {
            true => {
                pool.consume(&mut kept, taken);
                connection.rx = kept;
                Ok(())
            }
            false => pool.append(&mut connection.rx, &scratch[taken..fresh]),
        };
        if let Some(rx) = &mut connection.rx {
            rx.scanned = scanned;
            rx.put_back = put_back;
        }
        connection.hungry = has_room && is_all && connection.rx.is_some();
        kept_all.map_err(|_| CloseReason::Limit).and(outcome)
    }

    fn flush(&mut self, id: ConnId) -> Result<(), CloseReason> {
        let Self { net, table, pool, stats, now, .. } = self;
        table.get_mut(id).map_or(Ok(()), |connection| connection.write(net, pool, &[], stats, *now))
    }

    /// Reads on and throws away, until the peer has finished too or has sent more than enough.
    fn discard(&mut self, id: ConnId, why: CloseReason) -> Result<(), CloseReason> {
        let Self { net, table, scratch, stats, now, .. } = self;
        let Some(connection) = table.get_mut(id) else { return Ok(()) };
        let active = connection.active;
        let count = connection.read(net, scratch, stats, *now).map_err(|_| why)?;
        // What is thrown away prolongs nothing.
        connection.active = active;
        if connection.has_lingered(count) { Err(why) } else { Ok(()) }
    }

    /// Carries out what services want beyond answering, in the order in which they said it.
    #[inline]
    pub(super) fn settle(&mut self) {
        if !self.effects.list.is_empty() {
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some((service, effect)) = self.effects.list.pop_front() {
            match effect {
                Effect::Pause(id) => {
                    if let Some(connection) = self.table.get_mut(id) {
                        connection.paused = connection.state == State::Open;
                    }
                }
                Effect::Resume(id) => self.resume(id),
                Effect::Close(id) => {
                    let had_output = self.table.get_mut(id).is_some_and(|connection| connection.has_output());
                    self.finish_connection(id, had_output, CloseReason::Service);
                }
                Effect::After { owner, at, key } => {
                    if let Some(connection) = owner.and_then(|owner| self.table.get_mut(owner)) {
                        connection.timers += 1;
                    } else if owner.is_some() {
                        continue;
                    }
                    self.timers.set(at, service, owner, key);
                }
                Effect::Send(Peer::Stream(id), range) => self.send_to_other(id, range),
                Effect::Send(Peer::Datagram(number), range) => self.send_question(number, range),
                Effect::FinishSending(id) => {
                    let Some(connection) = self.table.get_mut(id) else { continue };
                    if connection.sending == Sending::Open {
                        connection.sending = Sending::Ending;
                    }
                    let had_output = connection.has_output();
                    self.conclude(id, had_output);
                }
                Effect::Connect(dial) => self.dial(service, dial),
                Effect::Ask(dial) => self.begin_to_ask(service, dial),
                Effect::Retire => self.retire(service),
                Effect::Drain => self.drain(),
                Effect::Stop => self.stop(),
            }
        }
        self.effects.bytes.clear();
    }

    fn send_to_other(&mut self, id: ConnId, range: Range<usize>) {
        let Self { net, table, pool, effects, stats, now, .. } = self;
        let Some(connection) = table.get_mut(id) else { return };
        if connection.state != State::Open || connection.sending != Sending::Open {
            return;
        }
        let had_output = connection.has_output();
        match connection.write(net, pool, &effects.bytes[range], stats, *now) {
            Ok(()) => self.conclude(id, had_output),
            Err(why) => self.close(id, why),
        }
    }

    /// Offers a connection's input to its service again, paused or not.
    pub(super) fn resume(&mut self, id: ConnId) {
        let Some(connection) = self.table.get_mut(id) else { return };
        connection.paused = false;
        connection.hungry = false;
        connection.last_given = false;
        connection.enqueue(id, &mut self.runnable);
    }

    /// Has a connection closed once its output is out. Its input is of no more interest.
    fn finish_connection(&mut self, id: ConnId, had_output: bool, why: CloseReason) {
        let Some(connection) = self.table.get_mut(id) else { return };
        connection.finish(why);
        self.pool.take_back(&mut connection.rx);
        self.conclude(id, had_output);
    }

    /// Sees where a connection stands after something was done for it: over, closing, or waiting for what.
    fn conclude(&mut self, id: ConnId, had_output: bool) {
        let Self { net, table, limits, now, sweep, runnable, .. } = self;
        let Some(connection) = table.get_mut(id) else { return };
        // Mostly there is nothing to see: all that came was answered, and all of that was sent.
        if connection.is_at_rest() && !had_output && limits.idle_timeout.is_none() {
            return;
        }
        let rest_too_long = || connection.rx.as_ref().is_some_and(|rx| is_over_limit(rx.bytes(), limits.max_message));
        if connection.state == State::Open && connection.hungry && !connection.paused && rest_too_long() {
            return self.finish_connection(id, had_output, CloseReason::Overflow);
        }
        match connection.verdict() {
            Some(CloseReason::Peer) => return self.close(id, CloseReason::Peer),
            Some(why) => return self.finish_connection(id, had_output, why),
            None => {}
        }
        if let Some(why) = connection.hung_up
            && !connection.is_runnable()
        {
            let why = connection.state.closing().unwrap_or(why);
            return self.close(id, why);
        }
        if connection.sending == Sending::Ending && connection.state == State::Open && !connection.has_output() {
            connection.sending = Sending::Ended;
            if net.shutdown_write(&mut connection.stream).is_err() {
                return self.close(id, CloseReason::Reset);
            }
        }
        if let State::Finishing(why) = connection.state
            && !connection.has_output()
        {
            // Where nobody lingers, closing sends the FIN.
            if connection.eof || limits.linger.is_zero() || net.shutdown_write(&mut connection.stream).is_err() {
                return self.close(id, why);
            }
            connection.sending = Sending::Ended;
            connection.linger(why);
            if connection.time_limit(limits).is_some_and(|limit| limit.is_over(*now)) {
                return self.close(id, why);
            }
        }
        let has_output = connection.has_output();
        if has_output != had_output && net.arm_stream(&mut connection.stream, id, has_output).is_err() {
            return self.close(id, CloseReason::Limit);
        }
        if let Some(limit) = connection.time_limit(limits) {
            sweep.watch(*now, limit.length);
        }
        connection.enqueue(id, runnable);
    }
}

/// What is sent back: the input's own bytes, then the replies, as one piece, so that one call sends it.
pub(super) fn join<'a>(in_place: &'a [u8], replies: &'a mut Vec<u8>) -> &'a [u8] {
    if replies.is_empty() {
        return in_place;
    }
    if !in_place.is_empty() {
        replies.splice(0..0, in_place.iter().copied());
    }
    replies
}

/// The calls on the socket, and what their results mean.
impl<T> Connection<T> {
    fn recipient(&mut self, id: ConnId) -> Recipient<'_> {
        Recipient { peer: Some(Peer::Stream(id)), address: &self.peer, tag: &mut self.tag, waiting: held(&self.tx) }
    }

    pub(super) fn read<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        scratch: &mut [u8],
        stats: &mut Stats,
        now: Moment,
    ) -> Result<usize, CloseReason> {
        match net.recv(&mut self.stream, scratch) {
            Ok(0) => {
                self.eof = true;
                Ok(0)
            }
            Ok(count) => {
                // A short read has emptied the stream: the call that would return WouldBlock can be saved.
                self.readable = count == scratch.len() || self.no_short_stop;
                self.active = now;
                stats.bytes_in += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == WouldBlock => {
                self.readable = false;
                Ok(0)
            }
            Err(error) if error.kind() == Interrupted => Ok(0),
            Err(_) => Err(CloseReason::Reset),
        }
    }

    /// Sends what waits and then `bytes`, as far as the kernel takes it; keeps the rest.
    fn write<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        bytes: &[u8],
        stats: &mut Stats,
        now: Moment,
    ) -> Result<(), CloseReason> {
        if self.has_output() {
            pool.append(&mut self.tx, bytes).map_err(|_| CloseReason::Limit)?;
            let mut tx = self.tx.take();
            let sent = tx.as_ref().map_or(Ok(0), |tx| self.send(net, tx.bytes(), stats, now));
            pool.consume(&mut tx, *sent.as_ref().unwrap_or(&0));
            self.tx = tx;
            sent?;
            self.weigh();
        } else if !bytes.is_empty() {
            let sent = self.send(net, bytes, stats, now)?;
            if sent < bytes.len() {
                self.progress = now;
                pool.append(&mut self.tx, &bytes[sent..]).map_err(|_| CloseReason::Limit)?;
                self.weigh();
            }
        }
        Ok(())
    }

    fn send<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        bytes: &[u8],
        stats: &mut Stats,
        now: Moment,
    ) -> Result<usize, CloseReason> {
        while self.writable {
            match net.send(&mut self.stream, bytes) {
                Ok(count) => {
                    // A short write has filled the kernel's buffer: an event says when there is room again.
                    self.writable = count == bytes.len();
                    self.active = now;
                    self.progress = now;
                    stats.bytes_out += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == WouldBlock => self.writable = false,
                Err(error) if error.kind() == Interrupted => {}
                Err(error) if error.kind() == BrokenPipe => return Err(CloseReason::Peer),
                Err(_) => return Err(CloseReason::Reset),
            }
        }
        Ok(0)
    }
}
