//! The load: a service whose connections ask, and check and time every answer.
//!
//! First everyone is connected, then it warms up, then it measures, then it waits for the answers that are still due.
//! In the closed loop a connection asks again when it has its answer; in the open loop the schedule asks, whether or
//! not answers came, and what it could not send in time is still counted from when it was due.

mod ask;
mod connection;
mod dialer;
mod message;
mod open;
mod overdue;
mod pending;
mod schedule;
mod wake;

use std::io;
use std::time::Duration;

use crate::bench::record::Fact;
use crate::bench::record::Ledger;
use crate::bench::{BenchOptions, Extent};
use crate::error::Error;
use connection::Connection;
use dialer::Dialer;
use message::Messages;
use open::Turns;
use pingpong::Address;
use pingpong::CloseReason;
use pingpong::Moment;
use pingpong::service::{Input, Outbox, Peer, Service};
use schedule::Schedule;
use wake::{Tag, Wake};

/// How long a datagram that looks whether anyone is there waits for an answer.
const SCOUTING: Duration = Duration::from_millis(250);

/// How long to wait for a local port to become free, or for a Unix socket's backlog to have room.
const WAIT: Duration = Duration::from_millis(1);

/// Bytes that one connection may have unanswered in the open loop, and the fewest requests whatever their size.
const WINDOW_BYTES: usize = 4 << 20;
const LEAST_WINDOW: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// One connection looks whether anyone is there.
    Scouting,
    /// The others are made.
    Connecting,
    /// Requests are sent; they count from when the warm-up is over.
    Asking,
    /// Nothing is sent any more; answers are waited for.
    Awaiting,
    Over,
}

#[derive(Debug)]
pub(super) struct Load {
    options: BenchOptions,
    pub(super) stage: Stage,
    messages: Messages,
    dialer: Dialer,
    connections: Vec<Connection>,
    /// The open loop's.
    turns: Option<Turns>,
    /// So many requests of one connection may be unanswered in the open loop.
    window: usize,
    /// A timer is set to go on dialling.
    dials_later: bool,
    /// Requests so far, all numbered.
    requests: u64,
    /// Askers that have begun.
    begun: usize,
    /// Where the sweep goes on.
    swept: usize,
    /// Askers that have a connection.
    present: usize,
    pub(super) ledger: Ledger,
    /// Idle connections that are there.
    idle: u64,
    error: Option<io::Error>,
}

impl Load {
    pub(super) fn new(options: BenchOptions, addresses: Vec<Address>, shows_progress: bool) -> Self {
        let is_datagram = options.endpoint.is_datagram();
        let messages = Messages::new(&options.probe, options.framing, is_datagram);
        let window = (WINDOW_BYTES / messages.request_len().max(messages.answer_len())).max(LEAST_WINDOW);
        // One that visits makes its connections later.
        let asking = if options.churn { 1 } else { options.connections };
        Self {
            stage: Stage::Scouting,
            dialer: Dialer::new(addresses, is_datagram, options.sources, asking, options.idle),
            connections: (0..options.connections).map(|_| Connection::default()).collect(),
            messages,
            turns: None,
            window: if options.churn { 1 } else { window },
            dials_later: false,
            requests: 0,
            begun: 0,
            swept: 0,
            present: 0,
            ledger: Ledger::new(&options, shows_progress),
            idle: 0,
            error: None,
            options,
        }
    }

    pub(super) fn is_datagram(&self) -> bool {
        self.options.endpoint.is_datagram()
    }

    /// Begins: looks whether anyone is there.
    pub(super) fn begin(&mut self, out: &mut Outbox<'_>) {
        self.ledger.begin(out.now());
        let idle = u64::from(self.options.idle);
        let asking = if self.options.churn { 0 } else { u64::from(self.options.connections) };
        self.ledger.counts[Fact::ConnectionsRequested] = asking + idle;
        self.dialer.send_scout(out);
        out.wake_at(out.now() + self.sweep_interval(), Wake::Sweep.into());
    }

    /// Where the far side really is, of the addresses that its name has.
    pub(super) fn address(&self) -> Option<&Address> {
        self.dialer.address()
    }

    /// Ends the last part, and counts what is still open. Fails where nobody was there.
    pub(super) fn conclude(&mut self, now: Moment, kernel_drops: u64) -> Result<(), Error> {
        if let Some(source) = self.error.take() {
            return Err(Error::Connect { endpoint: self.options.endpoint.clone(), source });
        }
        self.ledger.end(now);
        let counts = &mut self.ledger.counts;
        counts[Fact::Unfinished] = counts.pending();
        counts[Fact::IdleHeld] = self.idle;
        counts[Fact::KernelDrops] = kernel_drops;
        Ok(())
    }

    fn dial_more(&mut self, out: &mut Outbox<'_>) {
        if let Some(due) = self.dialer.dial_more(out) {
            self.dial_later(due, out);
        }
        if self.dialer.is_complete() {
            self.start(out);
        }
    }

    /// Goes on dialling at this moment, unless it will anyway.
    fn dial_later(&mut self, at: Moment, out: &mut Outbox<'_>) {
        if !std::mem::replace(&mut self.dials_later, true) {
            out.wake_at(at, Wake::Dial.into());
        }
    }

    /// Someone is there: all the others are to come.
    fn connect_all(&mut self, out: &mut Outbox<'_>) {
        if self.stage == Stage::Scouting {
            self.stage = Stage::Connecting;
            if let Some(rate) = self.options.connect_rate {
                self.dialer.keep_pace(out.now(), rate);
            }
            self.dial_more(out);
        }
    }

    /// Everyone is there who will be: the asking begins.
    pub(super) fn start(&mut self, out: &mut Outbox<'_>) {
        if self.stage != Stage::Connecting {
            return;
        }
        let now = out.now();
        self.stage = Stage::Asking;
        let from = now + self.options.warmup;
        let until = match self.options.extent {
            Extent::Duration(duration) => Some(from + duration),
            Extent::Requests(_) => None,
        };
        self.ledger.measure(now, from, until);
        if let Some(until) = until {
            // The open loop ends by itself, with the last request that is due; unless it is held up.
            let patience = if self.options.rate.is_some() { self.options.timeout } else { Duration::ZERO };
            out.wake_at(until + patience, Wake::End.into());
        }
        // The scout's question is nobody's to wait for.
        self.connections[0].pending.give_up(now, Duration::ZERO, |_| {});
        match self.options.rate {
            Some(rate) => {
                self.turns = Some(Turns::new(Schedule::new(now, rate), self.connections.len() as u32));
                self.connections.iter_mut().for_each(|connection| connection.is_queued = true);
                out.wake_at(now, Wake::Send.into());
            }
            None => out.wake_at(now, Wake::Begin.into()),
        }
        if self.present == 0 && !self.options.churn {
            self.stop_asking(out);
        }
    }

    /// Sends nothing any more.
    pub(super) fn stop_asking(&mut self, out: &mut Outbox<'_>) {
        if self.stage != Stage::Asking {
            return;
        }
        self.stage = Stage::Awaiting;
        if let (Some(turns), Some(until)) = (&mut self.turns, self.ledger.until()) {
            self.ledger.counts[Fact::Unsent] = turns.schedule.skip(self.ledger.from(), until.min(out.now()));
        }
        self.ledger.close(out.now());
        self.end_if_complete(out);
    }

    pub(super) fn end_if_complete(&mut self, out: &mut Outbox<'_>) {
        if let Extent::Requests(requests) = self.options.extent
            && self.stage == Stage::Asking
            && self.ledger.counts[Fact::Sent] >= requests
        {
            return self.stop_asking(out);
        }
        if self.stage == Stage::Awaiting && self.ledger.is_complete() {
            self.stage = Stage::Over;
            out.stop();
        }
    }

    /// The connection that a connection is of, unless it has another one by now.
    fn index_of(&self, tag: u64) -> Option<usize> {
        let Tag::Asking(visit) = tag.into() else { return None };
        let index = visit.index as usize;
        self.connections.get(index).filter(|connection| connection.visit == visit.number).map(|_| index)
    }
}

impl Service for Load {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let tag = out.tag();
        let is_idle = Tag::from(tag) == Tag::Idle;
        if self.stage == Stage::Asking || self.stage == Stage::Awaiting {
            // For one request, or too late to be waited for.
            match self.index_of(tag) {
                Some(index) if self.options.churn => {
                    let Some(number) = self.connections[index].pending.oldest() else { return out.close() };
                    self.connections[index].peer = Some(peer);
                    out.reply(self.messages.request(number));
                }
                _ => out.close(),
            }
            return;
        }
        self.dialer.note_outcome(out.now());
        if is_idle {
            self.idle += 1;
        } else if let Some(index) = self.index_of(tag) {
            self.connections[index].peer = Some(peer);
            self.present += 1;
        }
        if self.options.churn && !is_idle {
            // It has found someone; the visits make connections of their own.
            self.connections[0].hang_up();
            out.close();
        } else {
            self.ledger.counts[Fact::ConnectionsOpened] += 1;
        }
        match self.stage {
            Stage::Scouting if self.is_datagram() => {
                self.ask(0, out.now(), out);
                out.wake_at(out.now() + SCOUTING, Wake::Scout.into());
            }
            Stage::Scouting => self.connect_all(out),
            _ => self.dial_more(out),
        }
    }

    fn failed(&mut self, peer: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        let index = self.index_of(out.tag());
        match (self.stage, peer, index) {
            (Stage::Scouting, ..) => {
                if !self.dialer.try_next_address() {
                    self.error = Some(error);
                    return out.stop();
                }
                self.connections[0] = Connection::default();
                self.present = 0;
                self.ledger.counts[Fact::ConnectionsOpened] = 0;
                self.dialer.send_scout(out);
            }
            (Stage::Connecting, None, _) if is_for_now(&error) => {
                self.dialer.note_outcome(out.now());
                self.dialer.dial_again(out.tag().into());
                self.dial_later(out.now() + WAIT, out);
            }
            (Stage::Connecting, None, _) => {
                self.dialer.note_outcome(out.now());
                self.ledger.connections_failed(&error, 1);
                self.dial_more(out);
            }
            // Nobody takes the datagrams of this one. The sweep has it ask again, not at full speed.
            (_, Some(_), Some(index)) => {
                self.give_up_all(index, Fact::Refused, out.now());
                self.end_if_complete(out);
            }
            (Stage::Asking | Stage::Awaiting, None, Some(index)) if is_for_now(&error) || is_portless(&error) => {
                self.ledger.counts[Fact::PortWaits] += u64::from(is_portless(&error));
                out.wake_at(out.now() + WAIT, Wake::Redial(self.visit_of(index)).into());
            }
            (Stage::Asking | Stage::Awaiting, None, Some(index)) => {
                let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
                self.give_up_all(index, if is_refused { Fact::Refused } else { Fact::Broken }, out.now());
                self.ledger.refused(&error);
                if self.turns.is_some() {
                    self.enqueue(index, out);
                }
                self.end_if_complete(out);
            }
            _ => {}
        }
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let Some(index) = self.index_of(out.tag()) else {
            input.take_rest();
            return;
        };
        if input.is_datagram() {
            let verdict = self.connections[index].take_answer(input.take_rest(), &mut self.messages, self.requests);
            self.answered(index, verdict, out);
            return self.connect_all(out);
        }
        // An answer may end the connection, and the connection go on with another one.
        while self.index_of(out.tag()).is_some()
            && let Some(verdict) = self.connections[index].next_answer(input, &mut self.messages, self.requests)
        {
            self.answered(index, verdict, out);
        }
    }

    fn closed(&mut self, peer: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        // By ourselves, or interrupted: nothing is lost that way.
        if matches!(why, CloseReason::Service | CloseReason::Shutdown) {
            return;
        }
        if Tag::from(out.tag()) == Tag::Idle {
            self.idle -= 1;
            self.ledger.counts[Fact::ConnectionsLost] += 1;
            return;
        }
        let Some(index) = self.index_of(out.tag()).filter(|index| self.connections[*index].peer == Some(peer)) else {
            return;
        };
        self.connections[index].hang_up();
        self.give_up_all(index, Fact::Broken, out.now());
        if self.options.churn {
            self.ask_next(index, out);
            return;
        }
        self.ledger.counts[Fact::ConnectionsLost] += 1;
        self.present -= 1;
        match self.present {
            // Nobody is left to ask.
            0 => self.stop_asking(out),
            _ => self.end_if_complete(out),
        }
    }

    fn expired(&mut self, index: u64, out: &mut Outbox<'_>) {
        match Wake::from(index) {
            Wake::Send => self.keep_schedule(out),
            Wake::End => self.stop_asking(out),
            Wake::Sweep => self.sweep(out),
            Wake::Begin => self.begin_some(out),
            Wake::Dial => {
                self.dials_later = false;
                self.dial_more(out);
            }
            Wake::Scout => self.connect_all(out),
            // Unless it was given up meanwhile.
            Wake::Redial(visit) => {
                if let Some(index) = self.index_of(Tag::Asking(visit).into()) {
                    self.visit(index, out);
                }
            }
        }
    }
}

/// Whether a dial failed only for now: a Unix socket's backlog is full (connect(2), EAGAIN).
fn is_for_now(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether a dial failed for want of a local port.
fn is_portless(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
}
