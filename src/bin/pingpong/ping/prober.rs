//! [`Prober`]: the service that asks, on one dialled connection or from datagram sockets.
//!
//! The schedule never waits for answers, and no answer sets off a question. An answer is matched by the sequence number
//! in it, never by counting. Fixed texts have none. In a stream they are in order. A datagram may be lost, and then order
//! would give each answer to the question before; so a socket that waits for an answer is asked nothing more, and an
//! answer belongs to the question that was asked on its socket. While answers come before the next question is due, that
//! is one socket all the time.

use std::io;
use std::time::Duration;

use pingpong::service::{Framing, Input, Outbox, Peer, Service, escaped};
use pingpong::{CloseReason, Moment};

use super::tally::words_of;
use super::unanswered::{Question, Unanswered};
use super::{PingOptions, Tally};
use crate::budget::may_be_budgeted;
use crate::error::Error;
use crate::probe::Probe;
use crate::target::{Target, line_end};

/// The most bytes of an unexpected answer that are shown.
const SHOWN: usize = 256;

/// Questions whose answer may still come, late: older ones are forgotten, and count as lost.
const UNANSWERED: usize = 1 << 18;

/// The same where each of them has a socket to itself, if descriptors allow so many.
const SOCKETS: usize = 1000;

/// How long after `--timeout` such a socket is kept open for an answer that is late.
const KEPT: Duration = Duration::from_secs(60);

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
    connect_timeout: Duration,
    quiet: bool,
    probe: Probe,
    unanswered: Unanswered,
    /// Sockets on which no answer is waited for, where each question needs one of its own.
    free: Vec<Peer>,
    /// The most questions that may be unanswered.
    most: usize,
    /// When the next question is due: the schedule does not drift.
    due: Moment,
    tally: Tally,
    /// Why it ended before its time.
    error: Option<Error>,
}

impl Prober {
    /// Looks the host up. Nothing is asked yet. At most so many sockets may be open at a time.
    pub(super) fn new(options: PingOptions, sockets: usize) -> Result<Self, Error> {
        let is_exclusive = options.probe.is_fixed() && options.endpoint.is_datagram();
        Ok(Self {
            target: Target::resolve(options.endpoint)?,
            count: options.count,
            interval: options.interval,
            timeout: options.timeout,
            connect_timeout: options.connect_timeout,
            quiet: options.quiet,
            probe: options.probe,
            unanswered: Unanswered::default(),
            free: Vec::new(),
            most: if is_exclusive { sockets.clamp(1, SOCKETS) } else { UNANSWERED },
            due: Moment::default(),
            tally: Tally::default(),
            error: None,
        })
    }

    /// Dials; the first question is sent when the server is reached.
    pub(super) fn begin(&mut self, out: &mut Outbox<'_>) {
        self.dial(out);
    }

    /// What has come of the questions by now, and why no more could be asked, if so; the error, if nothing could be.
    pub(super) fn take_outcome(&mut self, now: Moment) -> Result<(Tally, Option<Error>), Error> {
        if !self.tally.is_cut_short {
            // It was interrupted: their time is not over.
            self.tally.under_way = self.unanswered.asked_after(before(now, self.timeout));
        }
        match self.error.take() {
            Some(error) if self.tally.sent == 0 => Err(error),
            error => Ok((self.tally.clone(), error)),
        }
    }

    /// Prints the summary.
    pub(super) fn report(&self, out: &mut Outbox<'_>) {
        out.print(self.tally.to_string().as_bytes());
        let is_budgeted = may_be_budgeted(self.target.endpoint(), self.target.address(), &self.probe);
        if is_budgeted && self.tally.lost() * 2 > self.tally.sent {
            out.print(b"(a pingpong server answers only so many such datagrams a second: see its --udp-budget)\n");
        }
        if self.tally.forgotten > 0 {
            let Self { most, tally: Tally { forgotten, .. }, .. } = self;
            out.print(
                format!("({forgotten} lost were given up early: {most} may be unanswered at a time)\n").as_bytes(),
            );
        }
    }

    /// Whether a question has a socket to itself until it is answered.
    fn is_exclusive(&self) -> bool {
        self.probe.is_fixed() && self.target.endpoint().is_datagram()
    }

    /// Dials the next address; false where none is left.
    fn dial(&mut self, out: &mut Outbox<'_>) -> bool {
        let is_dialled = self.target.dial_next(out);
        if is_dialled {
            out.cancel_wake(GIVE_UP);
            out.wake_at(out.now() + self.connect_timeout, GIVE_UP);
        }
        is_dialled
    }

    /// The address dialled last cannot be reached: dials the next one, if there is one.
    fn leave_address(&mut self, error: io::Error, out: &mut Outbox<'_>) {
        if !self.dial(out) {
            self.error = Some(self.target.unreachable(error));
            out.stop();
        }
    }

    /// Asks the next question, and sets the timer for the question after it, or for the end after the last.
    fn ask(&mut self, out: &mut Outbox<'_>) {
        // Without one, it goes on in `opened`.
        let Some(peer) = self.place_to_ask(out) else { return };
        self.tally.sent += 1;
        let number = self.tally.sent;
        self.unanswered.add(Question { number, asked: out.now(), on: peer });
        out.send(peer, &self.probe.question(number, self.line_end()));
        self.go_on(out);
    }

    /// Where the next question can be asked. Has a socket opened for it if there is none.
    fn place_to_ask(&mut self, out: &mut Outbox<'_>) -> Option<Peer> {
        self.forget(out);
        if !self.is_exclusive() {
            return self.target.peer();
        }
        let free = self.free.pop();
        if free.is_none() {
            self.target.dial_again(out);
        }
        free
    }

    /// Gives up the oldest questions where there are too many, and closes their sockets; so it does with long overdue
    /// ones, where they hold sockets.
    fn forget(&mut self, out: &mut Outbox<'_>) {
        let since = if self.is_exclusive() { before(out.now(), self.timeout + KEPT) } else { Moment::default() };
        while let Some(question) = self.unanswered.take_too_old(self.most, since) {
            if self.is_exclusive() {
                out.close_other(question.on);
            }
            self.tally.forgotten += u64::from(out.now().since(question.asked) < self.timeout);
        }
    }

    /// Sets the timer for the next question, or for the end.
    fn go_on(&mut self, out: &mut Outbox<'_>) {
        if self.count == Some(self.tally.sent) {
            return out.wake_at(out.now() + self.timeout, END);
        }
        self.due = (self.due + self.interval).max(out.now());
        out.wake_at(self.due, SEND);
    }

    fn line_end(&self) -> &'static str {
        line_end(Framing::Line, self.target.endpoint().is_datagram())
    }

    /// Counts an answer: right or wrong, in time or late, or one too many.
    fn count_answer(&mut self, from: Peer, answer: &[u8], out: &mut Outbox<'_>) {
        let question = match self.probe.sequence_of(answer) {
            Some(number) => self.unanswered.take(number),
            None => self.unanswered.take_oldest_on(from),
        };
        let Some(question) = question else {
            self.tally.duplicate += 1;
            return self.show_unexpected("duplicate answer", answer, out);
        };
        if answer != self.probe.answer(question.number, self.line_end()) {
            self.tally.wrong += 1;
            if self.is_exclusive() {
                // The right one may follow.
                out.close_other(from);
            }
            return self.show_unexpected("wrong answer", answer, out);
        }
        if self.is_exclusive() {
            self.free.push(from);
        }
        self.count_right_answer(question, out);
    }

    fn count_right_answer(&mut self, question: Question, out: &mut Outbox<'_>) {
        let trip = out.now().since(question.asked);
        let is_late = trip > self.timeout;
        if is_late {
            self.tally.late += 1;
        } else {
            self.tally.received += 1;
        }
        self.tally.add_trip(trip);
        if !self.quiet {
            let (name, endpoint, number) = (self.probe.answer_name(), self.target.endpoint(), question.number);
            let (millis, late) = (trip.as_nanos() as f64 / 1e6, if is_late { " (late)" } else { "" });
            out.print(format!("{name} from {endpoint}: seq={number} time={millis:.3} ms{late}\n").as_bytes());
        }
    }

    /// A datagram could not be delivered. Before anything was answered the next address may do better: then all is asked
    /// again there.
    fn count_undelivered(&mut self, on: Peer, error: &io::Error, out: &mut Outbox<'_>) {
        let is_own = is_of_the_last_send(error);
        if !is_own && !self.tally.has_answers() && self.dial(out) {
            for peer in self.free.drain(..).chain(self.unanswered.peers()) {
                out.close_other(peer);
            }
            out.cancel_wake(SEND);
            out.cancel_wake(END);
            self.unanswered.clear();
            self.tally = Tally::default();
            return;
        }
        let question = if is_own { self.unanswered.take_newest_on(on) } else { self.unanswered.take_oldest_on(on) };
        let Some(Question { number, .. }) = question else { return };
        if self.is_exclusive() {
            self.free.push(on);
        }
        self.count_failure(number, error, out);
    }

    /// A question has failed, as the kernel said.
    fn count_failure(&mut self, number: u64, error: &io::Error, out: &mut Outbox<'_>) {
        let words = words_of(error);
        if !self.quiet {
            let endpoint = self.target.endpoint();
            out.print(format!("no answer from {endpoint}: seq={number} {words}\n").as_bytes());
        }
        self.tally.add_failure(words);
        if self.is_complete() {
            out.stop();
        }
    }

    /// The connection has ended before all was asked and answered.
    fn cut_short(&self, why: CloseReason) -> Error {
        Error::CutShort { endpoint: self.target.endpoint().clone(), why, asked: self.tally.sent, count: self.count }
    }

    fn show_unexpected(&self, what: &str, answer: &[u8], out: &mut Outbox<'_>) {
        if !self.quiet {
            let shown = escaped(&answer[..answer.len().min(SHOWN)]);
            out.print(format!("{what} from {}: \"{shown}\"\n", self.target.endpoint()).as_bytes());
        }
    }

    fn is_complete(&self) -> bool {
        self.unanswered.is_empty() && self.count == Some(self.tally.sent)
    }
}

impl Service for Prober {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let is_first = self.target.peer().is_none();
        if !self.target.reached(peer, out) {
            return;
        }
        if self.is_exclusive() {
            self.free.push(peer);
        }
        if is_first {
            out.cancel_wake(GIVE_UP);
            self.due = out.now();
        }
        // By a timer: the clock is read again before it runs, and the time of opening is not the answer's.
        out.wake_at(out.now(), SEND);
    }

    fn failed(&mut self, peer: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        if !self.target.is_at_hand(out) {
            return;
        }
        match peer {
            Some(peer) => self.count_undelivered(peer, &error, out),
            None if self.target.peer().is_none() => self.leave_address(error, out),
            // No further socket could be opened.
            None => {
                self.tally.sent += 1;
                self.go_on(out);
                self.count_failure(self.tally.sent, &error, out);
            }
        }
    }

    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        if !self.target.is_at_hand(out) {
            return;
        }
        if input.is_datagram() {
            self.count_answer(from, input.take_rest(), out);
        }
        while let Some(answer) = input.line() {
            self.count_answer(from, answer, out);
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
            self.tally.is_cut_short = true;
            self.error = Some(self.cut_short(why));
        }
        out.stop();
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        match key {
            SEND => self.ask(out),
            END => out.stop(),
            _ => self.leave_address(io::ErrorKind::TimedOut.into(), out),
        }
    }
}

/// Whether an error is of the datagram that was sent last. What is told by ICMP is of an earlier one: of the first that
/// is unanswered, as likely as not.
fn is_of_the_last_send(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    !matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// The moment so long before another; the beginning of time, if that is later.
fn before(moment: Moment, time: Duration) -> Moment {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Moment::from_nanos(moment.as_nanos().saturating_sub(nanos))
}
