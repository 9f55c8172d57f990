//! [`Prober`]: the service that asks, on one dialled connection or on one datagram socket.
//!
//! The schedule never waits for answers, and no answer sets off a question. An answer is matched by the sequence number
//! in it, never by counting; only fixed texts, which have none, are matched in order.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use pingpong::service::{Framing, Input, Outbox, Peer, Service, escaped};
use pingpong::{CloseReason, Moment};

use super::{PingOptions, Tally};
use crate::budget::may_be_budgeted;
use crate::error::Error;
use crate::probe::Probe;
use crate::target::{Target, line_end};

/// The most bytes of an unexpected answer that are shown.
const SHOWN: usize = 256;

/// Questions whose answer may still come, late: older ones are forgotten, and count as lost.
const PENDING: usize = 1 << 20;

/// How long an address may take to be reached, where `--timeout` is shorter: the kernel repeats a request that was lost
/// after one second, and again after two (tcp(7)).
const CONNECT: Duration = Duration::from_secs(5);

/// The keys of the timers: one sends the next question, one ends the run, one gives an address up.
const SEND: u64 = 0;
const END: u64 = 1;
const GIVE_UP: u64 = 2;

#[derive(Debug)]
pub(super) struct Prober {
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
    /// Why it ended before its time.
    error: Option<Error>,
}

impl Prober {
    /// Looks the host up. Nothing is asked yet.
    pub(super) fn new(options: PingOptions) -> Result<Self, Error> {
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

    /// Dials; the first question is sent when the server is reached.
    pub(super) fn begin(&mut self, out: &mut Outbox<'_>) {
        self.dial(out);
    }

    /// What has come of the questions; the error, if nothing could be asked because of it.
    pub(super) fn take_outcome(&mut self) -> Result<Tally, Error> {
        match self.error.take() {
            Some(error) if self.tally.sent == 0 => Err(error),
            _ => Ok(self.tally.clone()),
        }
    }

    /// Prints the summary.
    pub(super) fn report(&self, out: &mut Outbox<'_>) {
        out.print(self.tally.to_string().as_bytes());
        let is_budgeted = may_be_budgeted(self.target.endpoint(), self.target.address(), &self.probe);
        if is_budgeted && self.tally.lost() * 2 > self.tally.sent {
            out.print(b"(a pingpong server answers only so many such datagrams a second: see its --udp-budget)\n");
        }
    }

    /// Dials the next address; false where none is left.
    fn dial(&mut self, out: &mut Outbox<'_>) -> bool {
        let is_dialled = self.target.dial_next(out);
        if is_dialled {
            out.cancel_wake(GIVE_UP);
            out.wake_at(out.now() + self.timeout.max(CONNECT), GIVE_UP);
        }
        is_dialled
    }

    /// The address dialled last cannot be reached, or refuses datagrams: then the next one may do, or the next datagram.
    fn leave_address(&mut self, error: io::Error, out: &mut Outbox<'_>) {
        let is_reached = self.target.peer().is_some();
        self.tally.refused += u64::from(is_reached);
        let has_moved_on = self.tally.received == 0 && self.dial(out);
        if !has_moved_on && !is_reached {
            self.error = Some(self.target.unreachable(error));
            out.stop();
        }
    }

    /// Asks the next question, and sets the timer for the question after it, or for the end after the last.
    fn send(&mut self, out: &mut Outbox<'_>) {
        let Some(peer) = self.target.peer() else { return };
        self.tally.sent += 1;
        let sequence = self.tally.sent;
        self.pending.insert(sequence, out.now());
        if self.pending.len() > PENDING {
            self.pending.pop_first();
        }
        out.send(peer, &self.probe.question(sequence, self.line_end()));
        if self.count == Some(sequence) {
            return out.after(self.timeout, END);
        }
        self.due = (self.due + self.interval).max(out.now());
        out.after(self.due.since(out.now()), SEND);
    }

    fn line_end(&self) -> &'static str {
        line_end(Framing::Line, self.target.endpoint().is_datagram())
    }

    /// Counts an answer: right or wrong, in time or late, or one too many.
    fn count_answer(&mut self, answer: &[u8], out: &mut Outbox<'_>) {
        let oldest = self.pending.keys().next().copied();
        let claimed = self.probe.sequence_of(answer).or(oldest);
        let Some((sequence, asked)) = claimed.and_then(|claimed| self.pending.remove_entry(&claimed)) else {
            self.tally.duplicate += 1;
            return self.show_unexpected("duplicate answer", answer, out);
        };
        if answer != self.probe.answer(sequence, self.line_end()) {
            self.tally.wrong += 1;
            return self.show_unexpected("wrong answer", answer, out);
        }
        let trip = out.now().since(asked);
        let is_late = trip > self.timeout;
        if is_late {
            self.tally.late += 1;
        } else {
            self.tally.received += 1;
        }
        self.tally.add_trip(trip);
        if !self.quiet {
            let (name, endpoint) = (self.probe.answer_name(), self.target.endpoint());
            let (millis, late) = (trip.as_nanos() as f64 / 1e6, if is_late { " (late)" } else { "" });
            out.print(format!("{name} from {endpoint}: seq={sequence} time={millis:.3} ms{late}\n").as_bytes());
        }
    }

    fn show_unexpected(&self, what: &str, answer: &[u8], out: &mut Outbox<'_>) {
        if !self.quiet {
            let shown = escaped(&answer[..answer.len().min(SHOWN)]);
            out.print(format!("{what} from {}: \"{shown}\"\n", self.target.endpoint()).as_bytes());
        }
    }

    fn is_complete(&self) -> bool {
        self.pending.is_empty() && self.count == Some(self.tally.sent)
    }
}

impl Service for Prober {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        if !self.target.reached(peer, out) {
            return;
        }
        out.cancel_wake(GIVE_UP);
        // At the second address of a name the schedule goes on.
        if self.tally.sent == 0 {
            self.due = out.now();
            self.send(out);
        }
    }

    fn failed(&mut self, _: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        if self.target.is_at_hand(out) {
            self.leave_address(error, out);
        }
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        while let Some(answer) = input.line() {
            self.count_answer(answer, out);
        }
        if self.is_complete() {
            out.stop();
        }
    }

    fn closed(&mut self, _: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        if !self.target.is_at_hand(out) {
            return;
        }
        if why != CloseReason::Shutdown {
            let broken_off = Error::BrokenOff { endpoint: self.target.endpoint().clone(), why };
            out.print(format!("{broken_off}\n").as_bytes());
            self.error = Some(broken_off);
        }
        out.stop();
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        match key {
            SEND => self.send(out),
            END => out.stop(),
            _ => self.leave_address(io::ErrorKind::TimedOut.into(), out),
        }
    }
}
