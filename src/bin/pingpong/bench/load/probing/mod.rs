//! The probe (`--probe`): one connection more that asks on a schedule of its own, what a client feels while others load.
//!
//! - `calls`: what the load has it do
//!
//! Its socket is no connection of the engine's, because its messages are stamped by the kernel ([`Line`]); the runner
//! opens it when the scout has found a server. It asks in the measured time alone. A late answer holds up no other
//! message: as many may be under way as a connection of the open loop may have.

mod calls;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;

use pingpong::{Address, Moment};

use super::connection::{Connection, Verdict};
use super::deal::Deal;
use super::message::Messages;
use super::open;
use super::schedule::Schedule;
use crate::bench::BenchOptions;
use crate::bench::record::{Answered, Counts, Fact, Ledger, Passage, Passages, Request};
use crate::bench::stamped::{Departure, Line, Place, Received};

/// Messages that one call sends at most.
const SENT_AT_ONCE: usize = 8;

/// Bytes beyond a right answer that a line may have.
const ENDLESS: usize = 64 << 10;

/// Bytes of the largest datagram.
const DATAGRAM: usize = 65_536;

/// The socket that is to be opened.
#[derive(Debug)]
pub(in crate::bench) struct Wanted {
    pub(in crate::bench) to: Address,
    pub(in crate::bench) from: Option<IpAddr>,
    pub(in crate::bench) is_stream: bool,
}

/// The probe, and what has come of it.
#[derive(Debug)]
pub(in crate::bench) struct Probing {
    state: State,
    /// Those of all parts of the load together, and which of them are its own.
    per_second: f64,
    deal: Deal,
    schedule: Schedule,
    messages: Messages,
    /// Which messages are unanswered.
    connection: Connection,
    window: usize,
    timeout: Duration,
    is_stream: bool,
    /// A message was due that could not be sent.
    is_held_up: bool,
    /// The messages that may be answered, the oldest one in front; their numbers rise.
    under_way: VecDeque<UnderWay>,
    /// Bytes or datagrams sent, by which departures are told apart, modulo 2^32.
    sent: u32,
    /// What the kernel did not take of the message that was sent last.
    unsent: Vec<u8>,
    /// What has come of an answer.
    arrived: Vec<u8>,
    /// Messages that are due from then on belong to this phase.
    from: Moment,
    pub(in crate::bench) passages: Passages,
    counts: Outcomes,
}

/// How far the probe's connection has come.
#[derive(Debug)]
enum State {
    /// To be dialled. That was tried before, from this moment on, and refused for now.
    Wanted(Option<Moment>),
    Dialling(Box<dyn Line>, Moment),
    Open(Box<dyn Line>),
    Failed,
    Lost,
}

/// A message that may be answered.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    number: u64,
    /// Of its departure.
    key: u32,
    given: Option<(Place, Moment)>,
    /// How often the clock of the stamps was set before.
    steps: u32,
}

/// What this phase knows beside the counts.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    /// Messages whose time is not up.
    waiting: u64,
    has_asked: bool,
    is_served: bool,
}

impl Probing {
    /// `None` where none is asked for.
    pub(in crate::bench::load) fn new(options: &BenchOptions) -> Option<Self> {
        let per_second = options.undivided().probe_rate?;
        let is_datagram = options.endpoint.is_datagram();
        let messages = Messages::new(&options.probe, options.framing, is_datagram);
        Some(Self {
            state: State::Wanted(None),
            per_second,
            deal: Deal::to(options.part),
            schedule: Schedule::new(Moment::default(), per_second),
            window: open::window(1, messages.longest()),
            messages,
            connection: Connection::new(0, !is_datagram),
            timeout: options.timeout,
            is_stream: !is_datagram,
            is_held_up: false,
            under_way: VecDeque::new(),
            sent: 0,
            unsent: Vec::new(),
            arrived: Vec::new(),
            from: Moment::default(),
            passages: Passages::new(false),
            counts: Outcomes::default(),
        })
    }

    /// Whether it is not known yet whether there is a connection.
    pub(in crate::bench::load) fn is_undecided(&self) -> bool {
        matches!(self.state, State::Wanted(_) | State::Dialling(..))
    }

    /// Whether each message has its outcome.
    pub(in crate::bench::load) fn is_complete(&self) -> bool {
        self.counts.waiting == 0
    }

    fn line(&mut self) -> Option<&mut Box<dyn Line>> {
        if let State::Open(line) = &mut self.state { Some(line) } else { None }
    }

    /// Begins at `from`. What is unanswered from an earlier phase is not counted any more.
    fn start(&mut self, from: Moment) {
        self.schedule = Schedule::new(from, self.per_second).dealt(self.deal);
        self.from = from;
        let is_stamped = self.line().is_some_and(|line| line.is_stamped());
        self.passages = Passages::new(is_stamped);
        self.counts = Outcomes::default();
    }

    /// Sends some of those that are due before `until`. Returns when the next one is; `None` after the last one, or while
    /// nothing can be sent.
    fn send_due(&mut self, now: Moment, until: Moment, counts: &mut Counts) -> io::Result<Option<Moment>> {
        self.is_held_up = !self.flush()?;
        for _ in 0..SENT_AT_ONCE {
            let due = self.schedule.due();
            if due >= until {
                return Ok(None);
            }
            self.is_held_up |= self.connection.pending.unanswered() >= self.window;
            if self.is_held_up {
                return Ok(None);
            }
            if due > now {
                break;
            }
            if !self.send(due, counts)? {
                self.is_held_up = true;
                return Ok(None);
            }
        }
        let next = self.schedule.due();
        Ok((next < until).then_some(next.max(now)))
    }

    /// Sends the message that was due at this moment. Returns whether the kernel took any of it.
    fn send(&mut self, due: Moment, counts: &mut Counts) -> io::Result<bool> {
        let State::Open(line) = &mut self.state else { return Ok(false) };
        let number = self.messages.next_number();
        let bytes = self.messages.request(number);
        let mut sending = line.send(bytes);
        if !self.is_stream && sending.as_ref().is_err_and(|error| !is_for_now(error)) {
            // It is an earlier message that was refused; the error is cleared by being told (udp(7)).
            sending = line.send(bytes);
        }
        let sending = match sending {
            Ok(sending) => sending,
            Err(error) if is_for_now(&error) => return Ok(false),
            Err(error) if self.is_stream => return Err(error),
            Err(_) => {
                self.schedule.advance();
                counts[Fact::Probes] += 1;
                counts[Fact::ProbesBroken] += 1;
                return Ok(true);
            }
        };
        self.unsent.extend_from_slice(&bytes[sending.count..]);
        let length = if self.is_stream { bytes.len() as u32 } else { 1 };
        self.schedule.advance();
        self.sent = self.sent.wrapping_add(length);
        if self.under_way.len() > self.window {
            self.under_way.pop_front();
        }
        let key = self.sent.wrapping_sub(1);
        self.under_way.push_back(UnderWay { number, key, given: None, steps: sending.steps });
        self.connection.pending.push(Request { number, due, sent: sending.at.max(due) });
        counts[Fact::Probes] += 1;
        self.counts.waiting += 1;
        self.counts.has_asked = true;
        Ok(true)
    }

    /// Sends what the kernel did not take. Returns whether nothing is left.
    fn flush(&mut self) -> io::Result<bool> {
        let State::Open(line) = &mut self.state else { return Ok(false) };
        while !self.unsent.is_empty() {
            match line.send(&self.unsent) {
                Ok(sending) => drop(self.unsent.drain(..sending.count)),
                Err(error) if is_for_now(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads the next answer, or a part of it. Returns false when there is none now.
    fn read(&mut self, ledger: &mut Ledger) -> io::Result<bool> {
        let State::Open(line) = &mut self.state else { return Ok(false) };
        let before = self.arrived.len();
        // On a stream no more than one answer is read at once: a read has one stamp only.
        let room = match self.is_stream {
            true => self.messages.answer_len().saturating_sub(before).max(1),
            false => DATAGRAM,
        };
        self.arrived.resize(before + room, 0);
        let received = line.receive(&mut self.arrived[before..]);
        self.arrived.truncate(before + received.as_ref().map_or(0, |received| received.count));
        let received = match received {
            Ok(Received { count: 0, .. }) if self.is_stream => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(received) => received,
            Err(error) if is_for_now(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.note_departures();
        if !self.is_stream {
            let length = self.arrived.len();
            self.take_answer(length, &received, ledger);
            return Ok(true);
        }
        while let Some(length) = self.answer_length() {
            self.take_answer(length, &received, ledger);
        }
        // A line without an end is no answer.
        let most = ENDLESS + self.messages.answer_len();
        if self.arrived.len() > most { Err(ErrorKind::InvalidData.into()) } else { Ok(true) }
    }

    /// The length of the first answer in what has come on a stream, once it is there as a whole.
    fn answer_length(&self) -> Option<usize> {
        if self.messages.is_line() {
            return memchr::memchr(b'\n', &self.arrived).map(|end| end + 1);
        }
        let length = self.messages.answer_len();
        (self.arrived.len() >= length).then_some(length)
    }

    /// Notes when messages were given to the device.
    fn note_departures(&mut self) {
        let State::Open(line) = &mut self.state else { return };
        while let Some(Departure { key, place, at }) = line.departure() {
            let sent = self.under_way.iter_mut().rev().find(|sent| sent.key == key);
            // One that is sent again (TCP) was given to the device when it was for the first time.
            if let Some(sent) = sent.filter(|sent| sent.given.is_none_or(|(before, _)| before < place)) {
                sent.given = Some((place, at));
            }
        }
    }

    /// Takes an answer of this length from what has come.
    fn take_answer(&mut self, length: usize, received: &Received, ledger: &mut Ledger) {
        self.messages.arrive();
        let verdict = self.connection.take_answer(&self.arrived[..length], &mut self.messages, &mut ledger.mistakes);
        self.arrived.drain(..length);
        let (answered, is_right) = match verdict {
            Verdict::Right(answered) => (answered, true),
            Verdict::Wrong(answered) => (answered, false),
            Verdict::Surplus => return ledger.surplus(received.at),
        };
        let stamps = self.stamps(&answered, received);
        let Request { due, sent, .. } = answered.request;
        if due < self.from {
            return;
        }
        let counts = &mut ledger.counts;
        match answered.was_overdue {
            true => counts[Fact::ProbesLost] -= 1,
            false => self.counts.waiting -= 1,
        }
        self.counts.is_served = true;
        if !is_right {
            counts[Fact::ProbesWrong] += 1;
            return;
        }
        let read = received.at.max(sent);
        let is_in_time = read.since(sent) <= self.timeout;
        counts[if is_in_time { Fact::ProbesAnswered } else { Fact::ProbesLate }] += 1;
        let is_told = self.passages.record(&Passage { due, sent, stamps, read });
        counts[Fact::ProbesUnstamped] += u64::from(!is_told);
    }

    /// When this message was given to the device, and when its answer came. Forgets the messages up to it, where answers
    /// come in order.
    fn stamps(&mut self, answered: &Answered, received: &Received) -> Option<(Moment, Moment)> {
        let number = answered.request.number;
        let place = self.under_way.binary_search_by_key(&number, |sent| sent.number).ok()?;
        let sent = self.under_way[place];
        if self.is_stream || place == 0 {
            self.under_way.drain(..=place);
        }
        // After the clock of the stamps was set, they cannot be compared.
        let given = sent.given.filter(|_| sent.steps == received.steps);
        given.map(|(_, at)| at).zip(received.came)
    }

    /// The connection has ended, or datagrams are refused: no answer will come to what is under way.
    fn broken(&mut self, counts: &mut Counts) {
        let from = self.from;
        let waiting = &mut self.counts.waiting;
        self.connection.pending.abandon(|request| {
            if request.due >= from {
                counts[Fact::ProbesBroken] += 1;
                *waiting -= 1;
            }
        });
        self.under_way.clear();
        self.arrived.clear();
        if self.is_stream && matches!(self.state, State::Open(_)) {
            self.state = State::Lost;
            counts[Fact::ConnectionsLost] += 1;
        }
    }

    fn give_up_overdue(&mut self, now: Moment, counts: &mut Counts) {
        let (from, timeout) = (self.from, self.timeout);
        let waiting = &mut self.counts.waiting;
        self.connection.pending.give_up(now, timeout, |request| {
            if request.due >= from {
                counts[Fact::ProbesLost] += 1;
                *waiting -= 1;
            }
        });
    }

    /// Counts what is left at the end of a phase, and what has become of the connection.
    pub(in crate::bench::load) fn conclude(&self, counts: &mut Counts) {
        counts[Fact::ProbesUnfinished] = self.counts.waiting;
        let State::Open(_) = self.state else { return };
        let pending = &self.connection.pending;
        let is_silent = self.counts.has_asked && !self.counts.is_served && !pending.is_awaited();
        let fact = match () {
            () if self.counts.has_asked && !pending.has_been_answered() => Fact::ConnectionsUnserved,
            () if pending.waits_in_vain() || is_silent => Fact::ConnectionsStalled,
            _ => Fact::ConnectionsHeld,
        };
        counts[fact] += 1;
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
