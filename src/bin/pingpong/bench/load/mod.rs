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
use connection::Asker;
use dialer::Crowd;
use message::Wording;
use open::Rota;
use pingpong::Address;
use pingpong::Moment;
use pingpong::service::{Input, Outbox, Peer, Service};
use pingpong::{CloseReason, Error, copy_of};
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
    wording: Wording,
    crowd: Crowd,
    askers: Vec<Asker>,
    /// The open loop's.
    rota: Option<Rota>,
    /// So many requests of one asker may be unanswered in the open loop.
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
        let wording = Wording::new(&options.probe, options.framing, is_datagram);
        let window = (WINDOW_BYTES / wording.request_len().max(wording.answer_len())).max(LEAST_WINDOW);
        // One that visits makes its connections later.
        let asking = if options.churn { 1 } else { options.connections };
        Self {
            stage: Stage::Scouting,
            crowd: Crowd::new(addresses, is_datagram, options.sources, asking, options.idle),
            askers: (0..options.connections).map(|_| Asker::default()).collect(),
            wording,
            rota: None,
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
        self.crowd.send_scout(out);
        out.wake_at(out.now() + self.sweep_interval(), Wake::Sweep.into());
    }

    /// Where the far side really is, of the addresses that its name has.
    pub(super) fn address(&self) -> Option<&Address> {
        self.crowd.address()
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
        if let Some(due) = self.crowd.dial_more(out) {
            self.dial_later(due, out);
        }
        if self.crowd.is_complete() {
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
    fn gather(&mut self, out: &mut Outbox<'_>) {
        if self.stage == Stage::Scouting {
            self.stage = Stage::Connecting;
            if let Some(rate) = self.options.connect_rate {
                self.crowd.keep_pace(out.now(), rate);
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
        self.askers[0].pending.give_up(now, Duration::ZERO, |_| {});
        match self.options.rate {
            Some(rate) => {
                self.rota = Some(Rota::new(Schedule::new(now, rate), self.askers.len() as u32));
                self.askers.iter_mut().for_each(|asker| asker.is_free = true);
                out.wake_at(now, Wake::Send.into());
            }
            None => out.wake_at(now, Wake::Begin.into()),
        }
        if self.present == 0 && !self.options.churn {
            self.settle_down(out);
        }
    }

    /// Sends nothing any more.
    pub(super) fn settle_down(&mut self, out: &mut Outbox<'_>) {
        if self.stage != Stage::Asking {
            return;
        }
        self.stage = Stage::Awaiting;
        if let (Some(rota), Some(until)) = (&mut self.rota, self.ledger.until()) {
            self.ledger.counts[Fact::Unsent] = rota.schedule.skip(self.ledger.from(), until.min(out.now()));
        }
        self.ledger.close(out.now());
        self.end_when_settled(out);
    }

    pub(super) fn end_when_settled(&mut self, out: &mut Outbox<'_>) {
        if let Extent::Requests(requests) = self.options.extent
            && self.stage == Stage::Asking
            && self.ledger.counts[Fact::Sent] >= requests
        {
            return self.settle_down(out);
        }
        if self.stage == Stage::Awaiting && self.ledger.is_complete() {
            self.stage = Stage::Over;
            out.stop();
        }
    }

    /// The asker that a connection is of, unless it has another one by now.
    fn asker_of(&self, tag: u64) -> Option<usize> {
        let Tag::Asking(visit) = tag.into() else { return None };
        let key = visit.index as usize;
        self.askers.get(key).filter(|asker| asker.visit == visit.number).map(|_| key)
    }
}

impl Service for Load {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let tag = out.tag();
        let is_idle = Tag::from(tag) == Tag::Idle;
        if self.stage == Stage::Asking || self.stage == Stage::Awaiting {
            // For one request, or too late to be waited for.
            match self.asker_of(tag) {
                Some(key) if self.options.churn => {
                    let Some(number) = self.askers[key].pending.oldest() else { return out.close() };
                    self.askers[key].peer = Some(peer);
                    out.reply(self.wording.request(number));
                }
                _ => out.close(),
            }
            return;
        }
        self.crowd.settled(out.now());
        if is_idle {
            self.idle += 1;
        } else if let Some(key) = self.asker_of(tag) {
            self.askers[key].peer = Some(peer);
            self.present += 1;
        }
        if self.options.churn && !is_idle {
            // It has found someone; the visits make connections of their own.
            self.askers[0].hang_up();
            out.close();
        } else {
            self.ledger.counts[Fact::ConnectionsOpened] += 1;
        }
        match self.stage {
            Stage::Scouting if self.is_datagram() => {
                self.ask(0, out.now(), out);
                out.wake_at(out.now() + SCOUTING, Wake::Scout.into());
            }
            Stage::Scouting => self.gather(out),
            _ => self.dial_more(out),
        }
    }

    fn failed(&mut self, peer: Option<Peer>, error: &io::Error, out: &mut Outbox<'_>) {
        let key = self.asker_of(out.tag());
        match (self.stage, peer, key) {
            (Stage::Scouting, ..) => {
                if !self.crowd.try_next_address() {
                    self.error = Some(copy_of(error));
                    return out.stop();
                }
                self.askers[0] = Asker::default();
                self.present = 0;
                self.ledger.counts[Fact::ConnectionsOpened] = 0;
                self.crowd.send_scout(out);
            }
            (Stage::Connecting, None, _) if is_for_now(error) => {
                self.crowd.settled(out.now());
                self.crowd.dial_again(out.tag().into());
                self.dial_later(out.now() + WAIT, out);
            }
            (Stage::Connecting, None, _) => {
                self.crowd.settled(out.now());
                self.ledger.connections_failed(error, 1);
                self.dial_more(out);
            }
            // Nobody takes the datagrams of this one. The sweep has it ask again, not at full speed.
            (_, Some(_), Some(key)) => {
                self.give_up_all(key, Fact::Refused, out.now());
                self.end_when_settled(out);
            }
            (Stage::Asking | Stage::Awaiting, None, Some(key)) if is_for_now(error) || is_portless(error) => {
                self.ledger.counts[Fact::PortWaits] += u64::from(is_portless(error));
                out.wake_at(out.now() + WAIT, Wake::Redial(self.visit_of(key)).into());
            }
            (Stage::Asking | Stage::Awaiting, None, Some(key)) => {
                let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
                self.give_up_all(key, if is_refused { Fact::Refused } else { Fact::Broken }, out.now());
                self.ledger.refused(error);
                if self.rota.is_some() {
                    self.set_free(key, out);
                }
                self.end_when_settled(out);
            }
            _ => {}
        }
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let Some(key) = self.asker_of(out.tag()) else {
            input.take_rest();
            return;
        };
        if input.is_datagram() {
            let verdict = self.askers[key].datagram(input.take_rest(), &mut self.wording, self.requests);
            self.judge(key, verdict, out);
            return self.gather(out);
        }
        // An answer may end the connection, and the asker go on with another one.
        while self.asker_of(out.tag()).is_some()
            && let Some(verdict) = self.askers[key].next_answer(input, &mut self.wording, self.requests)
        {
            self.judge(key, verdict, out);
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
        let Some(key) = self.asker_of(out.tag()).filter(|key| self.askers[*key].peer == Some(peer)) else { return };
        self.askers[key].hang_up();
        self.give_up_all(key, Fact::Broken, out.now());
        if self.options.churn {
            self.go_on(key, out);
            return;
        }
        self.ledger.counts[Fact::ConnectionsLost] += 1;
        self.present -= 1;
        match self.present {
            // Nobody is left to ask.
            0 => self.settle_down(out),
            _ => self.end_when_settled(out),
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        match Wake::from(key) {
            Wake::Send => self.keep_schedule(out),
            Wake::End => self.settle_down(out),
            Wake::Sweep => self.sweep(out),
            Wake::Begin => self.begin_some(out),
            Wake::Dial => {
                self.dials_later = false;
                self.dial_more(out);
            }
            Wake::Scout => self.gather(out),
            // Unless it was given up meanwhile.
            Wake::Redial(visit) => {
                if let Some(key) = self.asker_of(Tag::Asking(visit).into()) {
                    self.visit(key, out);
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
