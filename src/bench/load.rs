//! The load: a service whose connections ask, and check and time every answer.
//!
//! First everyone is connected, then it warms up, then it measures, then it waits for the answers that are still due.
//! In the closed loop a connection asks again when it has its answer; in the open loop the schedule asks, whether or
//! not answers came, and what it could not send in time is still counted from when it was due.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::asker::{Asker, Verdict};
use super::crowd::{Crowd, IDLE};
use super::pending::{Request, Settled};
use super::results::{Counts, Fact, Latency};
use super::schedule::Schedule;
use super::wording::Wording;
use crate::cli::{BenchOptions, Extent};
use crate::endpoint::Address;
use crate::error::{CloseReason, Error};
use crate::moment::Moment;
use crate::service::{Input, Outbox, Peer, Service};

/// The timers.
const SEND: u64 = 0;
const END: u64 = 1;
const SWEEP: u64 = 2;
const BEGIN: u64 = 3;
const DIAL: u64 = 4;
const SCOUT: u64 = 5;
const REDIAL: u64 = 6;

/// Connections that begin, or are looked at for answers that are overdue, at once.
const BEGUN_AT_ONCE: usize = 8;
const SWEPT_AT_ONCE: usize = 512;

/// How long a datagram that looks whether anyone is there waits for an answer.
const SCOUTING: Duration = Duration::from_millis(250);

/// How long to wait for a local port to become free.
const PORT_WAIT: Duration = Duration::from_millis(1);

/// Bytes that one connection may have unanswered in the open loop, and the fewest requests whatever their size.
const WINDOW_BYTES: usize = 4 << 20;
const LEAST_WINDOW: usize = 16;

/// How long the parts are that an HdrHistogram log consists of.
const PART: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// One connection looks whether anyone is there.
    Scouting,
    /// The others are made.
    Connecting,
    /// Requests are sent; they count from when the warm-up is over.
    Asking,
    /// Nothing is sent any more; answers are waited for.
    Settling,
    Over,
}

#[derive(Debug)]
pub(super) struct Load {
    options: BenchOptions,
    is_datagram: bool,
    pub(super) phase: Phase,
    wording: Wording,
    crowd: Crowd,
    askers: Vec<Asker>,
    /// The open loop's.
    schedule: Option<Schedule>,
    /// Those that it may ask, whose turn comes next first.
    free: VecDeque<u32>,
    /// Nobody was free when the schedule wanted to send.
    is_held_up: bool,
    window: usize,
    /// Those that wait for a local port.
    portless: VecDeque<u32>,
    /// Requests so far, all numbered.
    requests: u64,
    /// Askers that have begun.
    begun: usize,
    /// Where the sweep goes on.
    swept: usize,
    pub(super) times: Times,
    pub(super) counts: Counts,
    pub(super) service: Latency,
    pub(super) response: Option<Latency>,
    /// How much later than intended requests were sent.
    pub(super) lag: Option<Latency>,
    part_began: Moment,
    /// What the progress line shows: answers of late, and all of them.
    pub(super) recent: Option<Histogram<u64>>,
    pub(super) answered: u64,
    /// Idle connections that are there.
    idle: u64,
    error: Option<io::Error>,
}

/// When what began. All zero until then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) dialled: Moment,
    pub(super) connected: Moment,
    /// Requests that are due from here on count …
    pub(super) measured_from: Moment,
    /// … up to here.
    pub(super) until: Option<Moment>,
    /// When the last one that counts was sent, and settled.
    pub(super) last_sent: Moment,
    pub(super) last_settled: Moment,
}

impl Times {
    fn covers(&self, moment: Moment) -> bool {
        moment >= self.measured_from && self.until.is_none_or(|until| moment < until)
    }
}

impl Load {
    pub(super) fn new(options: BenchOptions, addresses: Vec<Address>, shows_progress: bool) -> Self {
        let is_datagram = options.endpoint.is_datagram();
        let wording = Wording::new(&options.exchange, options.framing, is_datagram);
        let keeps_parts = options.hdr.is_some();
        let is_open = options.rate.is_some();
        let window = (WINDOW_BYTES / wording.request_len().max(wording.answer_len())).max(LEAST_WINDOW);
        // One that visits makes its connections later.
        let asking = if options.churn { 1 } else { options.connections };
        Self {
            is_datagram,
            phase: Phase::Scouting,
            crowd: Crowd::new(addresses, is_datagram, options.sources, asking, options.idle),
            askers: (0..options.connections).map(|_| Asker::default()).collect(),
            wording,
            schedule: None,
            free: VecDeque::new(),
            is_held_up: false,
            window: if options.churn { 1 } else { window },
            portless: VecDeque::new(),
            requests: 0,
            begun: 0,
            swept: 0,
            times: Times::default(),
            counts: Counts::default(),
            service: Latency::new(keeps_parts),
            response: is_open.then(|| Latency::new(keeps_parts)),
            lag: is_open.then(|| Latency::new(false)),
            part_began: Moment::default(),
            recent: shows_progress.then(super::results::histogram),
            answered: 0,
            idle: 0,
            error: None,
            options,
        }
    }

    /// Begins: looks whether anyone is there.
    pub(super) fn begin(&mut self, out: &mut Outbox<'_>) {
        self.times.dialled = out.now();
        self.crowd.progress = out.now();
        let idle = u64::from(self.options.idle);
        let asking = if self.options.churn { 0 } else { u64::from(self.options.connections) };
        self.counts[Fact::ConnectionsRequested] = asking + idle;
        self.crowd.send_scout(out);
        out.wake_at(out.now() + self.sweep_interval(), SWEEP);
    }

    /// How long the measuring has gone on, or did in all: until the last request was sent where they came too late to be
    /// sent in time.
    pub(super) fn measured(&self, now: Moment) -> Duration {
        let end = match (self.phase, self.times.until) {
            (Phase::Scouting | Phase::Connecting, _) => return Duration::ZERO,
            (_, Some(until)) => now.min(until).max(self.times.last_sent),
            (Phase::Asking, None) => now,
            (Phase::Settling | Phase::Over, None) => self.times.last_settled,
        };
        end.since(self.times.measured_from)
    }

    /// Why connections could not be made, and how many.
    pub(super) fn refusals(&self) -> &BTreeMap<String, u64> {
        &self.crowd.refusals
    }

    /// Where the far side really is, of the addresses that its name has.
    pub(super) fn address(&self) -> Option<String> {
        self.crowd.address().map(Address::to_string)
    }

    /// Ends the last part, and counts what is still open. Fails where nobody was there.
    pub(super) fn conclude(&mut self, now: Moment, kernel_drops: u64) -> Result<(), Error> {
        if let Some(source) = self.error.take() {
            return Err(Error::Connect { endpoint: self.options.endpoint.clone(), source });
        }
        self.end_part(self.times.measured_from + self.measured(now));
        self.counts[Fact::Unfinished] = self.counts.open();
        self.counts[Fact::IdleHeld] = self.idle;
        self.counts[Fact::KernelDrops] = kernel_drops;
        Ok(())
    }

    // Connecting.

    fn dial_more(&mut self, out: &mut Outbox<'_>) {
        if let Some(due) = self.crowd.dial_more(out) {
            out.wake_at(due, DIAL);
        }
        if self.crowd.is_complete() {
            self.start(out);
        }
    }

    /// Someone is there: all the others are to come.
    fn gather(&mut self, out: &mut Outbox<'_>) {
        if self.phase == Phase::Scouting {
            self.phase = Phase::Connecting;
            if let Some(rate) = self.options.connect_rate {
                self.crowd.keep_pace(out.now(), rate);
            }
            self.dial_more(out);
        }
    }

    /// Everyone is there who will be: the asking begins.
    fn start(&mut self, out: &mut Outbox<'_>) {
        if self.phase != Phase::Connecting {
            return;
        }
        let now = out.now();
        self.phase = Phase::Asking;
        self.times.connected = now;
        self.times.measured_from = now + self.options.warmup;
        self.part_began = self.times.measured_from;
        if let Extent::Duration(duration) = self.options.extent {
            let until = self.times.measured_from + duration;
            self.times.until = Some(until);
            // The open loop ends by itself, with the last request that is due; unless it is held up.
            let patience = if self.options.rate.is_some() { self.options.timeout } else { Duration::ZERO };
            out.wake_at(until + patience, END);
        }
        match self.options.rate {
            Some(rate) => {
                self.schedule = Some(Schedule::new(now, rate));
                self.free = (0..self.askers.len() as u32).collect();
                self.askers.iter_mut().for_each(|asker| asker.is_free = true);
                out.wake_at(now, SEND);
            }
            None => out.wake_at(now, BEGIN),
        }
    }

    /// Has the next few connections ask for the first time.
    fn begin_some(&mut self, out: &mut Outbox<'_>) {
        let end = (self.begun + BEGUN_AT_ONCE).min(self.askers.len());
        for key in self.begun..end {
            self.top_up(key, out);
        }
        self.begun = end;
        if end < self.askers.len() {
            out.wake_at(out.now(), BEGIN);
        }
    }

    // Asking.

    /// Whether another request may be sent that is due now.
    fn may_ask(&self, due: Moment) -> bool {
        let is_enough = match self.options.extent {
            Extent::Requests(requests) => due >= self.times.measured_from && self.counts[Fact::Sent] >= requests,
            Extent::Duration(_) => self.times.until.is_some_and(|until| due >= until),
        };
        self.phase == Phase::Asking && !is_enough
    }

    /// Notes a request of this asker that is sent now.
    fn note(&mut self, key: usize, intended: Moment, now: Moment) -> u64 {
        self.requests += 1;
        let number = self.requests;
        self.askers[key].pending.push(Request { number, intended, sent: now });
        if self.phase == Phase::Asking && self.times.covers(intended) {
            self.counts[Fact::Sent] += 1;
            self.times.last_sent = now;
            if let Some(lag) = &mut self.lag {
                lag.record(now.since(intended));
            }
        }
        number
    }

    /// Sends a request of this asker, on its connection or on one made for it.
    fn ask(&mut self, key: usize, intended: Moment, out: &mut Outbox<'_>) {
        if self.options.churn {
            self.note(key, intended, out.now());
            return self.visit(key, out);
        }
        if let Some(peer) = self.askers[key].peer {
            let number = self.note(key, intended, out.now());
            out.send(peer, self.wording.request(number));
        }
    }

    /// In the closed loop: has an asker ask until enough of its requests are under way.
    fn top_up(&mut self, key: usize, out: &mut Outbox<'_>) {
        let is_there = |load: &Self| load.options.churn || load.askers[key].peer.is_some();
        while is_there(self) && self.askers[key].pending.waiting() < self.depth() && self.may_ask(out.now()) {
            self.ask(key, out.now(), out);
        }
    }

    fn depth(&self) -> u32 {
        if self.options.churn { 1 } else { self.options.pipeline }
    }

    /// Makes the connection for one request.
    fn visit(&mut self, key: usize, out: &mut Outbox<'_>) {
        let asker = &mut self.askers[key];
        asker.hang_up();
        asker.visit = asker.visit.wrapping_add(1) & i32::MAX as u32;
        let tag = u64::from(asker.visit) << 32 | key as u64;
        self.crowd.dial(tag, out);
    }

    /// In the open loop: sends the request that is due, if anyone is free to.
    fn keep_schedule(&mut self, out: &mut Outbox<'_>) {
        let Some(due) = self.schedule.as_ref().map(Schedule::due) else { return };
        if !self.may_ask(due) {
            return self.settle_down(out);
        }
        if due <= out.now() {
            let Some(key) = self.free.pop_front() else {
                self.is_held_up = true;
                return;
            };
            let key = key as usize;
            self.askers[key].is_free = false;
            if self.options.churn || self.askers[key].peer.is_some() {
                self.schedule.iter_mut().for_each(Schedule::advance);
                self.ask(key, due, out);
                self.set_free(key, out);
            }
        }
        let next = self.schedule.as_ref().map_or(due, Schedule::due);
        out.wake_at(next, SEND);
    }

    /// Lets the open loop ask this one again, unless too much of it is unanswered.
    fn set_free(&mut self, key: usize, out: &mut Outbox<'_>) {
        let asker = &mut self.askers[key];
        let under_way = if self.is_datagram { asker.pending.waiting() as usize } else { asker.pending.len() };
        if self.schedule.is_none() || asker.is_free || under_way >= self.window {
            return;
        }
        asker.is_free = true;
        self.free.push_back(key as u32);
        if std::mem::take(&mut self.is_held_up) {
            out.wake_at(out.now(), SEND);
        }
    }

    // Answers.

    /// Takes an answer into account, and asks the next question.
    fn judge(&mut self, key: usize, verdict: Verdict, out: &mut Outbox<'_>) {
        self.answered += 1;
        match verdict {
            Verdict::Right(settled) => self.count_answer(settled, true, out.now()),
            Verdict::Wrong(settled) => self.count_answer(settled, false, out.now()),
            Verdict::Surplus => {
                self.counts[Fact::Duplicate] += u64::from(self.is_measuring(out.now()));
                return;
            }
        }
        if self.options.churn {
            out.close();
            self.askers[key].hang_up();
        }
        self.go_on(key, out);
    }

    /// One request of this asker is over: the next one, or the end.
    fn go_on(&mut self, key: usize, out: &mut Outbox<'_>) {
        if self.phase == Phase::Asking && self.schedule.is_some() {
            self.set_free(key, out);
        } else if self.options.churn {
            self.top_up(key, out);
        } else if self.askers[key].pending.waiting() < self.depth() && self.may_ask(out.now()) {
            let number = self.note(key, out.now(), out.now());
            out.reply(self.wording.request(number));
        }
        self.end_when_settled(out);
    }

    fn count_answer(&mut self, settled: Settled, is_right: bool, now: Moment) {
        let Settled { request, was_overdue, is_overtaken } = settled;
        let took = now.since(request.sent);
        if let Some(recent) = &mut self.recent {
            recent.record(took.as_nanos() as u64).expect("it grows");
        }
        if !self.is_counted(&request) {
            return;
        }
        self.times.last_settled = now;
        self.counts[Fact::Lost] -= u64::from(was_overdue);
        self.counts[Fact::Reordered] += u64::from(is_overtaken && self.is_datagram);
        if !is_right {
            self.counts[Fact::Wrong] += 1;
            return;
        }
        self.counts[if took > self.options.timeout { Fact::Late } else { Fact::Requests }] += 1;
        self.service.record(took);
        if let Some(response) = &mut self.response {
            response.record(now.since(request.intended));
        }
    }

    /// Whether a request is one of those that count.
    fn is_counted(&self, request: &Request) -> bool {
        !matches!(self.phase, Phase::Scouting | Phase::Connecting) && self.times.covers(request.intended)
    }

    fn is_measuring(&self, now: Moment) -> bool {
        matches!(self.phase, Phase::Asking | Phase::Settling) && now >= self.times.measured_from
    }

    /// All that this asker waits for will not come.
    fn give_up_all(&mut self, key: usize, fact: Fact, now: Moment) {
        let Self { askers, counts, times, phase, .. } = self;
        askers[key].pending.abandon(|request| {
            if !matches!(phase, Phase::Scouting | Phase::Connecting) && times.covers(request.intended) {
                counts[fact] += 1;
                times.last_settled = now;
            }
        });
    }

    // The end.

    /// Sends nothing any more.
    fn settle_down(&mut self, out: &mut Outbox<'_>) {
        if self.phase != Phase::Asking {
            return;
        }
        self.phase = Phase::Settling;
        if let (Some(schedule), Some(until)) = (&mut self.schedule, self.times.until) {
            self.counts[Fact::Unsent] = schedule.skip(self.times.measured_from, until);
        }
        self.end_when_settled(out);
    }

    fn end_when_settled(&mut self, out: &mut Outbox<'_>) {
        if let Extent::Requests(requests) = self.options.extent
            && self.phase == Phase::Asking
            && self.counts[Fact::Sent] >= requests
        {
            return self.settle_down(out);
        }
        if self.phase == Phase::Settling && self.counts.open() == 0 {
            self.phase = Phase::Over;
            out.stop();
        }
    }

    /// Gives up with what is there: nobody is left to ask.
    fn end_when_deserted(&mut self, out: &mut Outbox<'_>) {
        let is_deserted = !self.options.churn && self.askers.iter().all(|asker| asker.peer.is_none());
        if is_deserted && self.phase == Phase::Asking {
            let now = out.now();
            self.times.until = Some(self.times.until.map_or(now, |until| until.min(now)));
            self.settle_down(out);
        }
    }

    // The sweep.

    fn sweep_interval(&self) -> Duration {
        let parts = self.askers.len().div_ceil(SWEPT_AT_ONCE) as u32;
        (self.options.timeout / 16 / parts).clamp(Duration::from_millis(1), Duration::from_millis(50))
    }

    /// Looks at some of the askers for requests whose time is up.
    fn sweep(&mut self, out: &mut Outbox<'_>) {
        let now = out.now();
        let end = (self.swept + SWEPT_AT_ONCE).min(self.askers.len());
        for key in self.swept..end {
            self.sweep_one(key, out);
        }
        self.swept = if end == self.askers.len() { 0 } else { end };
        if self.is_measuring(now) && now.since(self.part_began) >= PART {
            self.end_part(now);
        }
        // Whoever does not answer a SYN for so long is not waited for.
        if self.phase == Phase::Connecting
            && self.crowd.is_waiting()
            && now.since(self.crowd.progress) > self.options.timeout
        {
            let opened = self.counts[Fact::ConnectionsOpened] + self.counts[Fact::ConnectionsFailed];
            self.counts[Fact::ConnectionsFailed] += self.counts[Fact::ConnectionsRequested].saturating_sub(opened);
            self.crowd.refused(&io::ErrorKind::TimedOut.into());
            self.start(out);
        }
        if self.phase == Phase::Scouting && now.since(self.crowd.progress) > self.options.timeout {
            self.error = Some(io::ErrorKind::TimedOut.into());
            out.stop();
        }
        self.end_when_settled(out);
        out.wake_at(now + self.sweep_interval(), SWEEP);
    }

    fn sweep_one(&mut self, key: usize, out: &mut Outbox<'_>) {
        let now = out.now();
        let Self { askers, counts, times, options, phase, .. } = self;
        let asker = &mut askers[key];
        let mut given_up = 0;
        asker.pending.give_up(now, options.timeout, |request| {
            given_up += 1;
            if !matches!(phase, Phase::Scouting | Phase::Connecting) && times.covers(request.intended) {
                counts[Fact::Lost] += 1;
                times.last_settled = now;
            }
        });
        if self.is_datagram {
            asker.pending.forget(now, 2 * options.timeout);
        }
        if options.churn && given_up > 0 {
            // Whatever comes on that connection is of no interest any more.
            if let Some(peer) = asker.peer {
                out.close_other(peer);
            }
            asker.hang_up();
            asker.pending.abandon(|_| {});
        }
        match self.schedule {
            Some(_) => self.set_free(key, out),
            None if key < self.begun => self.top_up(key, out),
            None => {}
        }
    }

    fn end_part(&mut self, now: Moment) {
        self.service.end_part(self.part_began, now);
        if let Some(response) = &mut self.response {
            response.end_part(self.part_began, now);
        }
        self.part_began = now;
    }

    /// The asker that a connection is of, unless it has another one by now.
    fn asker_of(&self, tag: u64) -> Option<usize> {
        let (key, visit) = (tag as u32 as usize, (tag >> 32) as u32);
        self.askers.get(key).filter(|asker| asker.visit == visit).map(|_| key)
    }
}

impl Service for Load {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let tag = out.tag();
        if self.phase == Phase::Asking || self.phase == Phase::Settling {
            // For one request, or too late to be waited for.
            match self.asker_of(tag) {
                Some(key) if self.options.churn => {
                    self.askers[key].peer = Some(peer);
                    if let Some(number) = self.askers[key].pending.oldest() {
                        out.reply(self.wording.request(number));
                    }
                }
                _ => out.close(),
            }
            return;
        }
        self.crowd.settled(out.now());
        if tag == IDLE {
            self.idle += 1;
        } else if let Some(key) = self.asker_of(tag) {
            self.askers[key].peer = Some(peer);
        }
        if self.options.churn && tag != IDLE {
            // It has found someone; the visits make connections of their own.
            self.askers[0].hang_up();
            out.close();
        } else {
            self.counts[Fact::ConnectionsOpened] += 1;
        }
        match self.phase {
            Phase::Scouting if self.is_datagram => {
                self.ask(0, out.now(), out);
                out.wake_at(out.now() + SCOUTING, SCOUT);
            }
            Phase::Scouting => self.gather(out),
            _ => self.dial_more(out),
        }
    }

    fn failed(&mut self, peer: Option<Peer>, error: &io::Error, out: &mut Outbox<'_>) {
        let key = self.asker_of(out.tag());
        match (self.phase, peer, key) {
            (Phase::Scouting, ..) => {
                if !self.crowd.try_next_address() {
                    self.error = Some(copy_of(error));
                    return out.stop();
                }
                self.askers[0] = Asker::default();
                self.counts[Fact::ConnectionsOpened] = 0;
                self.crowd.send_scout(out);
            }
            (Phase::Connecting, None, _) => {
                self.crowd.settled(out.now());
                self.crowd.refused(error);
                self.counts[Fact::ConnectionsFailed] += 1;
                self.dial_more(out);
            }
            // Nobody takes the datagrams of this one. The sweep has it ask again, not at full speed.
            (_, Some(_), Some(key)) => {
                self.give_up_all(key, Fact::Refused, out.now());
                self.end_when_settled(out);
            }
            (Phase::Asking | Phase::Settling, None, Some(key)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                self.counts[Fact::PortWaits] += 1;
                self.portless.push_back(key as u32);
                out.wake_at(out.now() + PORT_WAIT, REDIAL);
            }
            (Phase::Asking | Phase::Settling, None, Some(key)) => {
                let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
                self.give_up_all(key, if is_refused { Fact::Refused } else { Fact::Broken }, out.now());
                self.crowd.refused(error);
                if self.schedule.is_some() {
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
        if out.tag() == IDLE {
            self.idle -= 1;
            self.counts[Fact::ConnectionsLost] += 1;
            return;
        }
        let Some(key) = self.asker_of(out.tag()).filter(|key| self.askers[*key].peer == Some(peer)) else { return };
        self.askers[key].hang_up();
        self.give_up_all(key, Fact::Broken, out.now());
        if self.options.churn {
            self.go_on(key, out);
        } else {
            self.counts[Fact::ConnectionsLost] += 1;
            self.end_when_deserted(out);
            self.end_when_settled(out);
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        match key {
            SEND => self.keep_schedule(out),
            END => self.settle_down(out),
            SWEEP => self.sweep(out),
            BEGIN => self.begin_some(out),
            DIAL => self.dial_more(out),
            SCOUT => self.gather(out),
            REDIAL => {
                if let Some(key) = self.portless.pop_front() {
                    self.visit(key as usize, out);
                }
            }
            _ => {}
        }
    }
}

/// An error cannot be cloned, but its number says all.
fn copy_of(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
