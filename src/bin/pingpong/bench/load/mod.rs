//! The load: a service whose connections ask, and check and time every answer.
//!
//! It makes its connections, warms up, measures, and waits for the answers that are still due ([`Stage`]). Then it rests,
//! and may go through another [`Phase`] on the same connections, with books of its own. What makes a connection ask is its
//! [`Pace`], how long a connection lives its [`Lifetime`].
//!
//! A request, from being due to being counted:
//!
//! - here: a timer runs out, bytes arrive ([`Service`]), and the stage decides what that means
//! - `open`, `closed`: the two loops decide that a request is due, and which connection sends it
//! - `ask`: it is sent; its answer, once taken, sets off the next one
//! - `connection`: arriving bytes are matched with the requests that wait (`pending`), by their text (`message`)
//! - `record/ledger`: it is counted
//!
//! Beside that way: `connect` makes the connections before the start, by the `dialer`; `churn` makes one for each request;
//! `phase` begins to ask and to measure; `heartbeat` has the idle ones ask now and then; `probing` asks on a stamped
//! socket; `overdue` finds the answers that did not come, and `lapsed` remembers their requests; `ending` ends the run;
//! `schedule` says when event k is due, `deal` which events are a part's, with `dice` where it is random; `wake` packs
//! timers and tags into the engine's numbers.

mod ask;
mod churn;
mod closed;
mod connect;
mod connection;
mod deal;
mod dialer;
mod dice;
mod ending;
mod heartbeat;
mod lapsed;
mod message;
mod open;
mod overdue;
mod pending;
mod phase;
mod probing;
mod schedule;
mod wake;

use std::io;
use std::time::Duration;

use crate::error::Error;
use pingpong::service::{Input, Outbox, Peer, Service};
use pingpong::{Address, CloseReason, Moment};

use super::options::{BenchOptions, Phase};
use super::record::{Fact, Ledger};
use connection::Connection;
pub(super) use dialer::is_spreadable;
use dialer::{Dialer, Route};
use heartbeat::Heartbeats;
use message::Messages;
use open::Turns;
use probing::Probing;
pub(super) use probing::Wanted;
use wake::{Due, Tag, Wake};

/// A moment that does not come.
const NEVER: Moment = Moment::from_nanos(u64::MAX);

/// How far a load has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// One connection looks whether a server is there.
    Scouting,
    /// The others are made.
    Connecting,
    /// They are made, and the moment to begin has not come.
    Waiting,
    /// Requests are sent; they count from when the warm-up is over.
    Asking,
    /// No request is sent any more; answers are waited for.
    Awaiting,
    /// Nothing is asked: no phase has begun, or every request of the last one has its outcome.
    Resting,
}

/// What makes a connection ask.
#[derive(Debug)]
enum Pace {
    /// Closed loop: an answer does. Each connection keeps `depth` requests unanswered. So far the first `begun` of them
    /// do; the others are to begin in the next turns.
    Closed { depth: u32, begun: usize },
    /// Open loop: the schedule does.
    Open(Turns),
}

/// How long a connection lives, in either loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
    /// It is made before the start and stays.
    WholeRun,
    /// It is made for one request and closed after the answer (`--churn`).
    OneRequest,
}

/// The service of all connections of a load.
#[derive(Debug)]
pub(super) struct Load {
    options: BenchOptions,
    pub(super) stage: Stage,
    /// What is asked at present, or was last.
    pub(super) phase: Phase,
    /// How many phases have begun, modulo 2^31.
    pub(super) phases: u32,
    /// The warm-up of this one is not over.
    is_settling: bool,
    pace: Pace,
    lifetime: Lifetime,
    dialer: Dialer,
    connections: Vec<Connection>,
    messages: Messages,
    pub(super) ledger: Ledger,
    /// Connections that ask and are there, where they live for the whole run.
    present: usize,
    /// Idle connections that are there.
    idle: u64,
    heartbeats: Option<Heartbeats>,
    pub(super) probing: Option<Box<Probing>>,
    /// The connection at which the next sweep begins.
    swept: usize,
    /// When that is due.
    sweep_due: Moment,
    /// The last sweep came far too late.
    stood_still: bool,
    /// No request is due from then on; the end of time where that is not known.
    until: Moment,
    /// How many requests may still be sent that count.
    left: u64,
    /// There was a right answer, be it in a warm-up or an earlier phase.
    pub(super) was_answered: bool,
    /// Datagrams that our kernel had dropped before this phase.
    drops_before: u64,
    /// When to begin, where not at once.
    start: Option<Moment>,
    /// Why nothing could be asked: no server could be reached, or not in time.
    unreachable: Option<Error>,
    /// When the last connection was lost that could ask.
    gone: Option<Moment>,
    /// When a signal began to end the run. Closing many thousand connections takes a while, which is none of it.
    interrupted: Option<Moment>,
}

impl Load {
    /// A load that goes through this phase when its connections are made.
    pub(super) fn new(options: BenchOptions, phase: Phase, addresses: Vec<Address>, shows_progress: bool) -> Self {
        let is_datagram = options.endpoint.is_datagram();
        let messages = Messages::new(&options.probe, options.framing, is_datagram);
        let lifetime = if options.churn { Lifetime::OneRequest } else { Lifetime::WholeRun };
        // Of connections that live for one request, only the scout is made before the start.
        let (asked_for, dialled) = match lifetime {
            Lifetime::WholeRun => (options.connections, options.connections),
            Lifetime::OneRequest => (0, 1),
        };
        let route = Route::new(&options, &addresses);
        let mut ledger = Ledger::new(&options, shows_progress);
        ledger.counts[Fact::ConnectionsRequested] = u64::from(asked_for) + u64::from(options.idle);
        let probing = Probing::new(&options).map(Box::new);
        ledger.counts[Fact::ConnectionsRequested] += u64::from(probing.is_some());
        Self {
            stage: Stage::Scouting,
            phase,
            phases: 0,
            is_settling: false,
            pace: Pace::Closed { depth: 0, begun: 0 },
            lifetime,
            dialer: Dialer::new(route, dialled, options.idle),
            connections: (0..options.connections).map(|index| Connection::new(index, !is_datagram)).collect(),
            messages,
            ledger,
            present: 0,
            idle: 0,
            heartbeats: Heartbeats::new(&options),
            probing,
            swept: 0,
            sweep_due: NEVER,
            stood_still: false,
            until: NEVER,
            left: 0,
            was_answered: false,
            drops_before: 0,
            start: None,
            unreachable: None,
            gone: None,
            interrupted: None,
            options,
        }
    }

    /// The address that is loaded, of those that the endpoint's name has.
    pub(super) fn address(&self) -> Option<&Address> {
        self.dialer.address()
    }

    /// Whether only their order tells which request an answer belongs to, and one may be lost on the way.
    pub(super) fn is_by_order(&self) -> bool {
        self.messages.are_by_order()
    }

    /// Whether answers carry a number.
    pub(super) fn is_numbered(&self) -> bool {
        self.messages.is_numbered()
    }

    /// Has the first phase begin at this moment.
    pub(super) fn start_at(&mut self, start: Moment) {
        self.start = Some(start);
    }

    /// For how long it waits for its start yet.
    pub(super) fn waits_for(&self, now: Moment) -> Duration {
        self.start.map_or(Duration::ZERO, |start| start.since(now))
    }

    /// Begins: sends the scout.
    pub(super) fn begin(&mut self, out: &mut Outbox<'_>) {
        self.ledger.begin(out.now());
        self.dialer.send_scout(out);
        self.sweep_later(out);
    }

    /// A connection that asks has ended, and not by the load's choice.
    fn connection_lost(&mut self, index: usize, why: CloseReason, out: &mut Outbox<'_>) {
        self.connections[index].hang_up();
        // The far side talks without an end: that is not the answer, and it is this side that hung up.
        if why == CloseReason::Overflow
            && let Some(answered) = self.connections[index].pending.take_next()
        {
            self.ledger.mistakes.note_endless(self.messages.answer(answered.request.number));
            self.ledger.answered(&answered, false, out.now());
        }
        self.give_up_all(index, Fact::Broken, out.now());
        if self.lifetime == Lifetime::OneRequest {
            return self.ask_next(index, out);
        }
        self.ledger.counts[Fact::ConnectionsLost] += 1;
        self.present -= 1;
        if self.present == 0 {
            self.server_gone(out);
        }
        self.end_if_complete(out);
    }

    /// When the last connection was lost, counted from the beginning of the measured time; `None` where one stayed.
    pub(super) fn gone_after(&self) -> Option<Duration> {
        self.gone.map(|gone| gone.since(self.ledger.from()))
    }

    /// Changes the stage; nothing else does.
    fn enter(&mut self, stage: Stage) {
        log::trace!("bench: {:?} -> {stage:?}", self.stage);
        self.stage = stage;
    }

    fn is_datagram(&self) -> bool {
        self.options.endpoint.is_datagram()
    }

    /// The connection that carries this tag, unless it was dialled anew since.
    fn index_of(&self, tag: u64) -> Option<usize> {
        let Tag::Asking(visit) = tag.into() else { return None };
        let index = visit.index as usize;
        self.connections.get(index).filter(|connection| connection.visit == visit).map(|_| index)
    }
}

impl Service for Load {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        match self.stage {
            Stage::Scouting | Stage::Connecting => self.connected(peer, out),
            Stage::Waiting | Stage::Asking | Stage::Awaiting | Stage::Resting => self.arrived(peer, out),
        }
    }

    fn failed(&mut self, peer: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        match (self.stage, peer) {
            (Stage::Scouting, _) => self.scout_failed(error, out),
            (Stage::Connecting, None) => self.dial_failed(&error, out),
            (Stage::Asking | Stage::Awaiting, None) => self.visit_failed(&error, out),
            (Stage::Waiting | Stage::Resting, None) => {}
            (_, Some(_)) => self.datagrams_refused(&error, out),
        }
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let Some(index) = self.index_of(out.tag()) else { return self.received_idle(input, out) };
        self.messages.arrive();
        if input.is_datagram() {
            self.forget_overdue(index, out.now());
            let Self { connections, messages, ledger, .. } = self;
            let verdict = connections[index].take_answer(input.take_rest(), messages, &mut ledger.mistakes);
            self.answered(index, &verdict, out);
            return self.connect_all(out);
        }
        let visit = self.connections[index].visit;
        // After an answer the connection may be dialled anew: what follows on the old one is of no interest.
        while !input.is_empty()
            && self.connections[index].visit == visit
            && let Some(verdict) =
                self.connections[index].next_answer(input, &mut self.messages, &mut self.ledger.mistakes)
        {
            self.answered(index, &verdict, out);
        }
    }

    fn closed(&mut self, peer: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        // Closed by the load itself, or interrupted: nothing is lost that way.
        if why == CloseReason::Shutdown {
            self.interrupted.get_or_insert(out.now());
        }
        if matches!(why, CloseReason::Service | CloseReason::Shutdown) {
            return;
        }
        if let Tag::Idle(index) = out.tag().into() {
            self.idle -= 1;
            self.ledger.counts[Fact::ConnectionsLost] += 1;
            return self.idle_broken(index, true, out);
        }
        let index = self.index_of(out.tag()).filter(|index| self.connections[*index].peer == Some(peer));
        if let Some(index) = index {
            self.connection_lost(index, why, out);
        }
    }

    fn ready(&mut self, out: &mut Outbox<'_>) {
        self.probe_ready(out);
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        match Wake::from(key) {
            Wake::Phase(phase, _) if phase != self.phases => {}
            Wake::Phase(_, Due::Send) => self.keep_schedule(out),
            Wake::Phase(_, Due::Begin) => self.begin_some(out),
            Wake::Phase(_, Due::Measure) => self.begin_measuring_if_due(out.now()),
            Wake::Phase(_, Due::End) => self.end_of_time(out),
            Wake::Phase(_, Due::Heartbeat) => self.send_heartbeats(out),
            Wake::Phase(_, Due::Probe) => self.probe_due(out),
            Wake::Phase(_, Due::ProbeReady) => self.probe_ready(out),
            Wake::Sweep => self.sweep(out),
            Wake::Dial => {
                self.dialer.woke();
                self.dial_more(out);
            }
            Wake::Scout => self.scouted_long_enough(out),
            Wake::Made => self.made(out),
            Wake::Start => self.start_now(out),
            Wake::Redial(visit) => self.redial(visit, out),
        }
    }
}
