//! `pingpong ping`: round trips, counted and timed, as ping(8) does it over ICMP.
//!
//! One service on one dialled connection, or on one datagram socket that asks. The schedule never waits for answers and
//! no answer sets off a question; what comes is matched by its sequence number, never by counting.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::DynReactor;
use crate::error::Error;
use crate::probe::Probe;
use crate::target::{Target, line_end};
use pingpong::CloseReason;
use pingpong::Endpoint;
use pingpong::Limits;
use pingpong::Moment;
use pingpong::service::{Framing, Input, Outbox, Peer, Service, escaped};
use pingpong::{ConsoleKind, WhenFull};

/// The options of `pingpong ping`.
#[derive(Debug)]
pub(crate) struct PingOptions {
    pub(crate) endpoint: Endpoint,
    /// How often to ask; for ever, if not given.
    pub(crate) count: Option<u64>,
    /// From one question to the next.
    pub(crate) interval: Duration,
    /// An answer after this long is late.
    pub(crate) timeout: Duration,
    /// No line for each answer.
    pub(crate) quiet: bool,
    pub(crate) probe: Probe,
}

/// The timer that sends; the other one ends.
const SEND: u64 = 0;
const END: u64 = 1;

/// Asks until it has asked often enough or is interrupted, and reports.
pub(crate) fn run(options: PingOptions) -> Result<Tally, Error> {
    let mut limits = Limits::default();
    // Once we end there is nothing to wait for.
    limits.linger = Duration::ZERO;
    let mut reactor = DynReactor::new(limits)?;
    reactor.watch_signals()?;
    let prober = Rc::new(RefCell::new(Prober::new(options)?));
    let id = reactor.add("ping", Box::new(prober.clone()));
    reactor.open_console(id, ConsoleKind::Nobody, "", WhenFull::Wait)?;
    reactor.with(id, |_, out| prober.borrow_mut().target.dial_next(out));
    reactor.run()?;

    let mut prober = prober.borrow_mut();
    match prober.error.take() {
        Some(error) if prober.tally.sent == 0 => Err(error),
        _ => {
            reactor.with(id, |_, out| prober.report(out));
            reactor.print();
            Ok(prober.tally.clone())
        }
    }
}

/// What has come of the questions: sent = received + late + wrong + lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Questions asked.
    pub(crate) sent: u64,
    /// Answered right and in time.
    pub(crate) received: u64,
    /// Answered right, but after the timeout.
    pub(crate) late: u64,
    /// Answered with other bytes.
    pub(crate) wrong: u64,
    /// Answers to what was answered already, or never asked.
    pub(crate) duplicate: u64,
    /// Nobody was there to answer.
    pub(crate) refused: u64,
    times: Times,
}

impl Tally {
    /// Never answered.
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.received - self.late - self.wrong
    }
}

/// Round trips, in microseconds.
#[derive(Clone, Debug, Default)]
struct Times {
    count: f64,
    min: f64,
    max: f64,
    sum: f64,
    squares: f64,
}

impl Times {
    fn add(&mut self, trip: Duration) {
        let micros = trip.as_nanos() as f64 / 1e3;
        self.min = if self.count == 0.0 { micros } else { self.min.min(micros) };
        self.max = self.max.max(micros);
        self.count += 1.0;
        self.sum += micros;
        self.squares += micros * micros;
    }

    /// min/avg/max/mdev in milliseconds; mdev is the standard deviation, as ping(8) has it.
    fn line(&self) -> String {
        let mean = self.sum / self.count;
        let deviation = (self.squares / self.count - mean * mean).max(0.0).sqrt();
        let millis = [self.min, mean, self.max, deviation].map(|micros| format!("{:.3}", micros / 1e3));
        format!("rtt min/avg/max/mdev = {} ms\n", millis.join("/"))
    }
}

struct Prober {
    target: Target,
    count: Option<u64>,
    interval: Duration,
    timeout: Duration,
    quiet: bool,
    probe: Probe,
    /// When each question that is not answered was asked, by its sequence number.
    pending: BTreeMap<u64, Moment>,
    /// When the next question is due: the schedule does not drift.
    due: Moment,
    tally: Tally,
    error: Option<Error>,
}

impl Prober {
    fn new(options: PingOptions) -> Result<Self, Error> {
        Ok(Self {
            target: Target::resolve(options.endpoint)?,
            count: options.count,
            interval: options.interval,
            timeout: options.timeout,
            quiet: options.quiet,
            probe: options.probe,
            pending: BTreeMap::new(),
            due: Moment::default(),
            tally: Tally::default(),
            error: None,
        })
    }

    /// Asks the next question, and sets the time for the one after.
    fn send(&mut self, out: &mut Outbox<'_>) {
        let Some(peer) = self.target.peer() else { return };
        self.tally.sent += 1;
        let sequence = self.tally.sent;
        self.pending.insert(sequence, out.now());
        out.send(peer, &self.probe.question(sequence, self.terminator()));
        if self.count == Some(sequence) {
            return out.after(self.timeout, END);
        }
        self.due = (self.due + self.interval).max(out.now());
        out.after(self.due.since(out.now()), SEND);
    }

    fn terminator(&self) -> &'static str {
        line_end(Framing::Line, self.target.endpoint().is_datagram())
    }

    /// Takes an answer: right or wrong, in time or late, or one too many.
    fn judge(&mut self, answer: &[u8], out: &mut Outbox<'_>) {
        let probe = &self.probe;
        let oldest = self.pending.keys().next().copied();
        let claimed = probe.sequence_of(answer).or(oldest);
        let Some((sequence, asked)) = claimed.and_then(|claimed| self.pending.remove_entry(&claimed)) else {
            self.tally.duplicate += 1;
            return self.say("duplicate answer", answer, out);
        };
        if answer != probe.answer(sequence, self.terminator()) {
            self.tally.wrong += 1;
            return self.say("wrong answer", answer, out);
        }
        let trip = out.now().since(asked);
        let is_late = trip > self.timeout;
        match is_late {
            true => self.tally.late += 1,
            false => self.tally.received += 1,
        }
        self.tally.times.add(trip);
        if !self.quiet {
            let (name, endpoint) = (probe.answer_name(), self.target.endpoint());
            let (millis, late) = (trip.as_nanos() as f64 / 1e6, if is_late { " (late)" } else { "" });
            out.print(format!("{name} from {endpoint}: seq={sequence} time={millis:.3} ms{late}\n").as_bytes());
        }
    }

    fn say(&self, what: &str, answer: &[u8], out: &mut Outbox<'_>) {
        if !self.quiet {
            let shown = escaped(&answer[..answer.len().min(256)]);
            out.print(format!("{what} from {}: \"{shown}\"\n", self.target.endpoint()).as_bytes());
        }
    }

    fn stop_when_all_is_answered(&self, out: &mut Outbox<'_>) {
        if self.pending.is_empty() && self.count == Some(self.tally.sent) {
            out.stop();
        }
    }

    fn report(&self, out: &mut Outbox<'_>) {
        let Tally { sent, received, late, wrong, duplicate, .. } = &self.tally;
        let lost = self.tally.lost();
        let percent = if *sent == 0 { 0.0 } else { 100.0 * lost as f64 / *sent as f64 };
        out.print(
            format!(
                "{sent} sent, {received} received, {lost} lost ({percent:.0}%), {late} late, {wrong} wrong, {duplicate} duplicate\n"
            )
            .as_bytes(),
        );
        if self.tally.times.count > 0.0 {
            out.print(self.tally.times.line().as_bytes());
        }
        let is_far = matches!(self.target.endpoint(), Endpoint::Udp(_)) && !matches!(self.probe, Probe::Pong(_));
        if is_far && lost * 2 > *sent {
            out.print(b"(a pingpong server answers only so many such datagrams a second: see its --udp-budget)\n");
        }
    }
}

impl Service for Prober {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        self.target.reached(peer);
        // At the second address of a name the schedule goes on.
        if self.tally.sent == 0 {
            self.due = out.now();
            self.send(out);
        }
    }

    fn failed(&mut self, peer: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        if peer != self.target.peer() {
            return;
        }
        // Where a datagram found nobody, the next address may do, or the next datagram.
        self.tally.refused += u64::from(peer.is_some());
        if self.tally.received == 0 && self.target.dial_next(out) || peer.is_some() {
            return;
        }
        self.error = Some(self.target.unreachable(error));
        out.stop();
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        while let Some(answer) = input.line() {
            let answer = answer.to_vec();
            self.judge(&answer, out);
        }
        self.stop_when_all_is_answered(out);
    }

    fn closed(&mut self, _: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        if why != CloseReason::Shutdown {
            self.error = Some(Error::BrokenOff { endpoint: self.target.endpoint().clone(), why });
            out.print(format!("{} closed the connection\n", self.target.endpoint()).as_bytes());
        }
        out.stop();
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        match key {
            SEND => self.send(out),
            _ => out.stop(),
        }
    }
}
