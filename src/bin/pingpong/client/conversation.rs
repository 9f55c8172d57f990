//! [`Conversation`]: what every client does, whatever decides what is said next.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use nix::libc::EMSGSIZE;
use pingpong::service::{Framing, Outbox, Peer};
use pingpong::{CloseReason, Endpoint, Moment};

use super::unanswered::Unanswered;
use super::{ClientOptions, LONGEST_ANSWER};
use crate::error::Error;
use crate::target::{Target, line_end};

/// The key of the timer for addresses and answers. Clients have other keys for their own timers.
const DEADLINE: u64 = 0;

/// A conversation with one server: reaches it, says messages, waits for answers, and keeps the outcome.
#[derive(Debug)]
pub(super) struct Conversation {
    target: Target,
    framing: Framing,
    timeout: Duration,
    /// Messages not said yet.
    unsaid: VecDeque<Vec<u8>>,
    /// Datagrams under way. That an address takes none is learned only after they were sent: then they are said again at
    /// the next one.
    unanswered: Unanswered,
    /// Datagrams that were not answered in time and are given up.
    lost: u64,
    /// Messages said.
    said: u64,
    /// Whether something has arrived.
    has_heard: bool,
    /// Whether something has been said since something arrived last.
    has_last_word: bool,
    /// Until when an address or an answer is waited for.
    deadline: Option<Moment>,
    outcome: Option<Result<Option<Remark>, Error>>,
}

/// What the user is to know of a conversation that went well.
#[derive(Debug)]
pub(super) enum Remark {
    /// The server closed the connection, and we had not finished.
    Closed { endpoint: Endpoint },
    /// Some datagrams were not answered.
    Lost { endpoint: Endpoint, said: u64, lost: u64 },
}

impl Conversation {
    /// Looks the host up. Nothing is dialled yet.
    pub(super) fn new(options: ClientOptions) -> Result<Self, Error> {
        Ok(Self {
            target: Target::resolve(options.endpoint)?,
            framing: options.framing,
            timeout: options.timeout,
            unsaid: options.messages.into(),
            unanswered: Unanswered::default(),
            lost: 0,
            said: 0,
            has_heard: false,
            has_last_word: false,
            deadline: None,
            outcome: None,
        })
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn peer(&self) -> Option<Peer> {
        self.target.peer()
    }

    /// Messages not said yet.
    pub(super) fn unsaid(&self) -> usize {
        self.unsaid.len()
    }

    /// Whether every datagram that was said has been answered or given up.
    pub(super) fn awaits_nothing(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Whether something has arrived.
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Whether something has been said.
    pub(super) fn has_spoken(&self) -> bool {
        self.said > 0
    }

    /// Whether the server had the last word: all is said, and something has arrived since.
    pub(super) fn is_answered(&self) -> bool {
        self.has_heard && !self.has_last_word && self.unsaid.is_empty()
    }

    pub(super) fn is_over(&self) -> bool {
        self.outcome.is_some()
    }

    /// Dials the next address, and waits for it as long as for an answer; false where none is left.
    pub(super) fn dial(&mut self, out: &mut Outbox<'_>) -> bool {
        self.wait(out);
        self.target.dial_next(out)
    }

    /// An address is reached; whether it is the one that was waited for.
    pub(super) fn reached(&mut self, peer: Peer, out: &mut Outbox<'_>) -> bool {
        let is_awaited = self.target.reached(peer, out);
        if is_awaited {
            self.stop_waiting(out);
        }
        is_awaited
    }

    /// The address at hand cannot be reached, or takes no datagrams.
    pub(super) fn failed(&mut self, error: io::Error, out: &mut Outbox<'_>) {
        if self.target.is_at_hand(out) {
            self.leave_address(error, out);
        }
    }

    /// Dials the next address, and says there what was said here; ends where there is none, or where not all could be
    /// said again.
    fn leave_address(&mut self, error: io::Error, out: &mut Outbox<'_>) {
        if error.raw_os_error() == Some(EMSGSIZE) {
            let endpoint = self.target.endpoint().clone();
            return self.end(Err(Error::Send { endpoint, source: error }), out);
        }
        if self.has_heard || self.lost > 0 || !self.dial(out) {
            return self.end(Err(self.target.unreachable(error)), out);
        }
        let mut again = self.unanswered.take();
        self.said -= again.len() as u64;
        again.append(&mut self.unsaid);
        self.unsaid = again;
    }

    /// Something arrived.
    pub(super) fn heard(&mut self) {
        self.has_heard = true;
        self.has_last_word = false;
        self.unanswered.settle_oldest();
    }

    /// Keeps a message to be said later.
    pub(super) fn say_later(&mut self, message: &[u8]) {
        self.unsaid.push_back(message.to_vec());
    }

    /// Says the next `most` messages, if the server is reached; of datagrams no more than may be under way. Lines are
    /// sent in one call. (Bare texts are not: the far side may take what one read returns for one message.)
    pub(super) fn say(&mut self, most: usize, out: &mut Outbox<'_>) {
        let Some(peer) = self.target.peer() else { return };
        let is_datagram = self.target.endpoint().is_datagram();
        let end = line_end(self.framing, is_datagram);
        let mut lines = Vec::new();
        for _ in 0..most {
            if self.unanswered.is_full() {
                break;
            }
            let Some(message) = self.unsaid.pop_front() else { break };
            self.said += 1;
            self.has_last_word = true;
            if end.is_empty() {
                out.send(peer, &message);
            } else {
                lines.extend_from_slice(&message);
                lines.extend_from_slice(end.as_bytes());
            }
            if is_datagram {
                self.unanswered.push(message);
            }
        }
        if !lines.is_empty() {
            out.send(peer, &lines);
        }
    }

    /// Waits for as long as an answer may take.
    pub(super) fn wait(&mut self, out: &mut Outbox<'_>) {
        self.wait_until(out.now() + self.timeout, out);
    }

    pub(super) fn wait_until(&mut self, at: Moment, out: &mut Outbox<'_>) {
        out.cancel_wake(DEADLINE);
        out.wake_at(at, DEADLINE);
        self.deadline = Some(at);
    }

    pub(super) fn stop_waiting(&mut self, out: &mut Outbox<'_>) {
        out.cancel_wake(DEADLINE);
        self.deadline = None;
    }

    /// Until when an address or an answer is waited for.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// Whether an answer is overdue, now that the timer with this key has run out. Where it is the address that was
    /// waited for, that address has failed.
    pub(super) fn is_answer_overdue(&mut self, key: u64, out: &mut Outbox<'_>) -> bool {
        if key != DEADLINE {
            return false;
        }
        self.deadline = None;
        if self.target.peer().is_none() {
            self.leave_address(io::ErrorKind::TimedOut.into(), out);
            return false;
        }
        true
    }

    /// Gives up the datagrams that are under way: their answers have not come in time.
    pub(super) fn give_up(&mut self) {
        self.lost += self.unanswered.take().len() as u64;
    }

    /// Whether what happens concerns the address that was dialled last.
    pub(super) fn is_at_hand(&self, out: &Outbox<'_>) -> bool {
        self.target.is_at_hand(out)
    }

    /// The connection has ended before all was said, or answered.
    pub(super) fn break_off(&mut self, why: CloseReason, out: &mut Outbox<'_>) {
        let endpoint = self.target.endpoint().clone();
        let error = match why {
            CloseReason::Overflow => Error::LongAnswer { endpoint, most: LONGEST_ANSWER },
            why => Error::BrokenOff { endpoint, why },
        };
        self.end(Err(error), out);
    }

    /// The server has closed the connection, which is a good end. Where we had not finished the user is told.
    pub(super) fn end_closed(&mut self, had_finished: bool, out: &mut Outbox<'_>) {
        let remark = (!had_finished).then(|| Remark::Closed { endpoint: self.target.endpoint().clone() });
        self.end(Ok(remark), out);
    }

    /// Ends a conversation of datagrams, when no more answers are waited for.
    pub(super) fn end_asking(&mut self, out: &mut Outbox<'_>) {
        if self.said > 0 && !self.has_heard {
            return self.end_unanswered(false, out);
        }
        let Self { lost, said, .. } = *self;
        let remark = (lost > 0).then(|| Remark::Lost { endpoint: self.target.endpoint().clone(), said, lost });
        self.end(Ok(remark), out);
    }

    /// Ends without the answer that was waited for; `unterminated` says that bytes came, but no line end.
    pub(super) fn end_unanswered(&mut self, unterminated: bool, out: &mut Outbox<'_>) {
        let (endpoint, waited) = (self.target.endpoint().clone(), self.timeout);
        self.end(Err(Error::NoAnswer { endpoint, waited, unterminated }), out);
    }

    /// Ends with this outcome, unless there is one already.
    pub(super) fn end(&mut self, outcome: Result<Option<Remark>, Error>, out: &mut Outbox<'_>) {
        self.stop_waiting(out);
        self.outcome.get_or_insert(outcome);
        out.stop();
    }

    /// How it went; well, if nothing else was noted.
    pub(super) fn take_outcome(&mut self) -> Result<Option<Remark>, Error> {
        self.outcome.take().unwrap_or(Ok(None))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { endpoint } => write!(f, "{endpoint} closed the connection"),
            Self::Lost { endpoint, said, lost } => {
                write!(f, "{endpoint} did not answer {lost} of {said} datagrams in time (try a longer --timeout)")
            }
        }
    }
}
