//! Heartbeats: every idle connection asks once in a while, and its answer is checked (`--heartbeat`).
//!
//! One schedule serves all: its event k is a heartbeat of connection k modulo their number, so that heartbeats are spread
//! evenly and each connection's are an interval apart. They begin with the measured time and end with it. Those that are
//! due within a fifth of a second leave together: the loop polls before each timer, to be exact for requests,
//! and would spend more on a timer for each heartbeat than on the heartbeat.
//!
//! A connection waits for one answer at a time: what it has to remember are forty bytes. On a stream, a heartbeat whose
//! time is up keeps its place until its answer comes, and those that are due meanwhile are not sent. A datagram whose time
//! is up makes room; an answer that comes after the next one was sent is not looked at any more.

use std::time::Duration;

use pingpong::Moment;
use pingpong::service::{Input, Outbox, Peer};

use super::deal::Deal;
use super::message::Messages;
use super::open::GRACE;
use super::schedule::Schedule;
use super::wake::{Due, Tag};
use super::{Load, Stage};
use crate::bench::BenchOptions;
use crate::bench::record::{Counts, Fact, Mistakes};

/// Heartbeats that one call sends at most.
const SENT_AT_ONCE: usize = 64;

/// Heartbeats wait for later ones for so long at most, and for this part of the interval.
const TOGETHER: Duration = Duration::from_millis(200);
const PART: u32 = 16;

/// The heartbeats of all idle connections.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// Those of all parts of the load together, and which of them are its own.
    per_second: f64,
    deal: Deal,
    /// How far timers are apart, at least.
    together: Duration,
    schedule: Schedule,
    messages: Messages,
    is_datagram: bool,
    timeout: Duration,
    hearts: Vec<Heart>,
    /// How many were due so far. Sent or not, each has a number: the first one is 1.
    due: u64,
    /// How many of these were due in earlier phases: what becomes of them now is not counted any more.
    earlier: u64,
    /// How many of these, from the first one on, wait for no answer any more.
    settled: u64,
    /// How many wait for an answer whose time is not up.
    waiting: u64,
}

/// One idle connection.
#[derive(Clone, Debug)]
struct Heart {
    peer: Option<Peer>,
    state: State,
    /// A heartbeat of it got no right answer in time.
    is_silent: bool,
    /// How many bytes of the answer have come and were right.
    matched: u32,
    /// The newest one sent.
    number: u64,
    sent: Moment,
}

/// What has become of the newest heartbeat of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has its outcome, or there was none.
    Quiet,
    /// It waits for its answer.
    Waiting,
    /// Its time is up.
    Lapsed,
}

/// Bytes that came on an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Right,
    Wrong,
    /// The beginning of the right answer, or nothing of interest.
    Nothing,
}

impl Heartbeats {
    /// `None` where none are asked for.
    pub(super) fn new(options: &BenchOptions) -> Option<Self> {
        let interval = options.heartbeat.filter(|_| options.idle > 0)?;
        let per_second = |idle: u32| f64::from(idle) / interval.as_secs_f64();
        let is_datagram = options.endpoint.is_datagram();
        let heart =
            Heart { peer: None, state: State::Quiet, is_silent: false, matched: 0, number: 0, sent: Moment::default() };
        let full = Duration::from_secs_f64(SENT_AT_ONCE as f64 / per_second(options.idle));
        let all = options.undivided().idle;
        Some(Self {
            per_second: per_second(all),
            // Event k of all of them is a heartbeat of connection k modulo their number, whichever part has that.
            deal: Deal::to(options.part).in_rounds(all.into()),
            together: TOGETHER.min(interval / PART).min(full),
            schedule: Schedule::new(Moment::default(), per_second(all)),
            messages: Messages::new(&options.probe, options.framing, is_datagram),
            is_datagram,
            timeout: options.timeout,
            hearts: vec![heart; options.idle as usize],
            due: 0,
            earlier: 0,
            settled: 0,
            waiting: 0,
        })
    }

    /// Begins with them at `from`. A connection that has left one of an earlier phase unanswered is silent till then.
    fn start(&mut self, from: Moment) {
        self.schedule = Schedule::new(from, self.per_second).dealt(self.deal);
        self.earlier = self.due;
        for heart in &mut self.hearts {
            heart.is_silent = heart.state == State::Lapsed;
        }
    }

    /// An idle connection has come about.
    pub(super) fn connected(&mut self, index: u32, peer: Peer) {
        self.hearts[index as usize].peer = Some(peer);
    }

    /// An idle connection has ended, or its datagrams are refused.
    pub(super) fn broken(&mut self, index: u32, has_ended: bool, counts: &mut Counts) {
        let heart = &mut self.hearts[index as usize];
        if has_ended {
            heart.peer = None;
        }
        if heart.state == State::Waiting {
            (heart.state, heart.is_silent) = (State::Quiet, true);
            self.waiting -= 1;
            counts[Fact::HeartbeatsBroken] += 1;
        }
    }

    /// Sends some of those that are due before `until`. Returns when to send the next ones; `None` after the last one.
    fn send_due(&mut self, until: Moment, counts: &mut Counts, out: &mut Outbox<'_>) -> Option<Moment> {
        let now = out.now();
        for _ in 0..SENT_AT_ONCE {
            let due = self.schedule.due();
            if due >= until || due > now {
                break;
            }
            self.schedule.advance();
            counts[Fact::Heartbeats] += 1;
            let index = self.index_of(self.due);
            let heart = &mut self.hearts[index];
            self.due += 1;
            let number = self.messages.next_number();
            match heart.peer.filter(|_| heart.may_ask(self.is_datagram)) {
                Some(peer) => {
                    heart.ask(number, now);
                    self.waiting += 1;
                    out.send(peer, self.messages.request(number));
                }
                None => counts[Fact::HeartbeatsUnsent] += 1,
            }
        }
        let due = self.schedule.due();
        let last = Moment::from_nanos(until.as_nanos().saturating_sub(1));
        let next = if due <= now { now } else { due.max(last.min(now + self.together)) };
        (due < until).then_some(next)
    }

    /// Sends no more of them. Those that were due before `until` and have not been sent are counted.
    fn stop(&mut self, from: Moment, until: Moment, counts: &mut Counts) {
        let unsent = self.schedule.skip(from, until);
        counts[Fact::Heartbeats] += unsent;
        counts[Fact::HeartbeatsUnsent] += unsent;
    }

    /// Takes what came on an idle connection. Returns whether a heartbeat has its outcome by that.
    fn take(
        &mut self,
        index: u32,
        input: &mut Input<'_>,
        now: Moment,
        counts: &mut Counts,
        mistakes: &mut Mistakes,
    ) -> bool {
        let Self { hearts, messages, is_datagram, timeout, waiting, earlier, .. } = self;
        let heart = &mut hearts[index as usize];
        let bytes: &[u8] = input.take_rest();
        if heart.state == State::Quiet {
            return false;
        }
        let came = if *is_datagram { heart.take_datagram(bytes, messages) } else { heart.take_bytes(bytes, messages) };
        if came == Came::Wrong {
            mistakes.note_wrong(heart.matched as usize, bytes, messages.answer(heart.number));
        }
        let is_in_time = now.since(heart.sent) <= *timeout;
        let fact = match came {
            Came::Nothing => return false,
            _ if heart.number <= *earlier => {
                heart.state = State::Quiet;
                return false;
            }
            Came::Wrong => Fact::HeartbeatsWrong,
            Came::Right if is_in_time => Fact::HeartbeatsAnswered,
            Came::Right => Fact::HeartbeatsLate,
        };
        counts[fact] += 1;
        match heart.state {
            State::Lapsed => counts[Fact::HeartbeatsLost] -= 1,
            State::Waiting | State::Quiet => *waiting -= 1,
        }
        heart.is_silent |= fact != Fact::HeartbeatsAnswered;
        heart.state = State::Quiet;
        true
    }

    /// Gives up those that have waited for longer than the timeout. They were sent in the order of their numbers.
    pub(super) fn give_up_overdue(&mut self, now: Moment, counts: &mut Counts) {
        while self.settled < self.due {
            let index = self.index_of(self.settled);
            let heart = &mut self.hearts[index];
            if heart.state == State::Waiting && heart.number == self.settled + 1 {
                if now.since(heart.sent) <= self.timeout {
                    return;
                }
                (heart.state, heart.is_silent) = (State::Lapsed, true);
                self.waiting -= 1;
                counts[Fact::HeartbeatsLost] += 1;
            }
            self.settled += 1;
        }
    }

    /// Whether each of them has its outcome.
    pub(super) fn are_complete(&self) -> bool {
        self.waiting == 0
    }

    /// Counts what is left at the end of the run.
    pub(super) fn conclude(&self, counts: &mut Counts) {
        counts[Fact::HeartbeatsUnfinished] = self.waiting;
        let silent = self.hearts.iter().filter(|heart| heart.peer.is_some() && heart.is_silent);
        counts[Fact::IdleSilent] = silent.count() as u64;
    }

    /// The connection whose turn this one is, counted from 0.
    fn index_of(&self, event: u64) -> usize {
        (event % self.hearts.len() as u64) as usize
    }
}

impl Heart {
    fn may_ask(&self, is_datagram: bool) -> bool {
        match self.state {
            State::Quiet => true,
            State::Waiting => false,
            State::Lapsed => is_datagram,
        }
    }

    fn ask(&mut self, number: u64, now: Moment) {
        (self.state, self.number, self.sent, self.matched) = (State::Waiting, number, now, 0);
    }

    /// Compares the next bytes of a stream with the answer as they come. What follows it, or a wrong one, is passed over.
    fn take_bytes(&mut self, bytes: &[u8], messages: &mut Messages) -> Came {
        let expected = &messages.answer(self.number)[self.matched as usize..];
        let count = bytes.len().min(expected.len());
        if bytes[..count] != expected[..count] {
            return Came::Wrong;
        }
        if count == expected.len() {
            return Came::Right;
        }
        self.matched += count as u32;
        Came::Nothing
    }

    fn take_datagram(&mut self, bytes: &[u8], messages: &mut Messages) -> Came {
        if bytes == messages.answer(self.number) {
            return Came::Right;
        }
        // An answer to an earlier one, which was given up.
        let is_old = messages.number_of(bytes).is_some_and(|number| number != self.number);
        if is_old { Came::Nothing } else { Came::Wrong }
    }
}

impl Load {
    /// Has heartbeats begin at `from`.
    pub(super) fn start_heartbeats(&mut self, from: Moment, out: &mut Outbox<'_>) {
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.start(from);
            out.wake_at(from, self.wake(Due::Heartbeat));
        }
    }

    /// Sends the heartbeats that are due, and sets the timer for the next one.
    pub(super) fn send_heartbeats(&mut self, out: &mut Outbox<'_>) {
        let Some(heartbeats) = self.heartbeats.as_mut().filter(|_| self.stage == Stage::Asking) else { return };
        if let Some(next) = heartbeats.send_due(self.until, &mut self.ledger.counts, out) {
            out.wake_at(next, self.wake(Due::Heartbeat));
        }
    }

    /// Sends what is due, however many they are: the time is over. What is later than a delay of this machine's explains is
    /// not sent any more.
    pub(super) fn send_last_heartbeats(&mut self, out: &mut Outbox<'_>) {
        let (now, until) = (out.now(), self.until.min(out.now()));
        let Some(heartbeats) = &mut self.heartbeats else { return };
        while now.since(heartbeats.schedule.due()) <= GRACE
            && heartbeats.send_due(until, &mut self.ledger.counts, out).is_some()
        {}
    }

    /// Sends no heartbeat any more.
    pub(super) fn stop_heartbeats(&mut self, until: Moment) {
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.stop(self.ledger.from(), until, &mut self.ledger.counts);
        }
    }

    /// Bytes have come on a connection that does not belong to the load: an answer to a heartbeat, or nothing of interest.
    pub(super) fn received_idle(&mut self, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let (Tag::Idle(index), Some(heartbeats)) = (out.tag().into(), &mut self.heartbeats) else {
            input.take_rest();
            return;
        };
        let ledger = &mut self.ledger;
        if heartbeats.take(index, input, out.now(), &mut ledger.counts, &mut ledger.mistakes) {
            self.end_if_complete(out);
        }
    }

    /// An idle connection has ended, or its datagrams are refused.
    pub(super) fn idle_broken(&mut self, index: u32, has_ended: bool, out: &mut Outbox<'_>) {
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.broken(index, has_ended, &mut self.ledger.counts);
            self.end_if_complete(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert_eq!(size_of::<Heart>(), 40);
    }
}
