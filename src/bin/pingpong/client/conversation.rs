//! [`Conversation`]: what every client does, whatever decides what is said next.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use pingpong::CloseReason;
use pingpong::service::{Framing, Outbox, Peer};

use super::ClientOptions;
use crate::error::Error;
use crate::target::{Target, line_end};

/// A conversation with one server: reaches it, says messages, waits for answers, and keeps the outcome.
#[derive(Debug)]
pub(super) struct Conversation {
    target: Target,
    framing: Framing,
    timeout: Duration,
    /// Messages not said yet.
    unsaid: VecDeque<Vec<u8>>,
    /// Datagrams said before anything came back. That an address takes no datagrams is learned only after they were
    /// sent: then they are said again at the next one.
    unconfirmed: Vec<Vec<u8>>,
    /// Messages said at this address.
    said: u64,
    /// Chunks, or datagrams, that came back.
    arrivals: u64,
    /// The key of the timer that counts. Every wait and every end of a wait takes a new one, and so makes the timers
    /// set before void.
    timer: u64,
    outcome: Option<Result<(), Error>>,
}

impl Conversation {
    /// Looks the host up. Nothing is dialled yet.
    pub(super) fn new(options: ClientOptions) -> Result<Self, Error> {
        Ok(Self {
            target: Target::resolve(options.endpoint)?,
            framing: options.framing,
            timeout: options.timeout,
            unsaid: options.messages.into(),
            unconfirmed: Vec::new(),
            said: 0,
            arrivals: 0,
            timer: 0,
            outcome: None,
        })
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn peer(&self) -> Option<Peer> {
        self.target.peer()
    }

    /// Whether something has arrived.
    pub(super) fn has_heard(&self) -> bool {
        self.arrivals > 0
    }

    /// Whether as many datagrams came back as were said.
    pub(super) fn is_all_answered(&self) -> bool {
        self.arrivals >= self.said
    }

    /// Whether there is nothing left to say.
    pub(super) fn is_all_said(&self) -> bool {
        self.unsaid.is_empty()
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
            self.stop_waiting();
        }
        is_awaited
    }

    /// The address at hand cannot be reached, or takes no datagrams.
    pub(super) fn failed(&mut self, error: io::Error, out: &mut Outbox<'_>) {
        if self.target.is_at_hand(out) {
            self.leave_address(error, out);
        }
    }

    /// Whether what happens concerns the address that was dialled last.
    pub(super) fn is_at_hand(&self, out: &Outbox<'_>) -> bool {
        self.target.is_at_hand(out)
    }

    /// Dials the next address, and says there what was said here; ends where there is none.
    fn leave_address(&mut self, error: io::Error, out: &mut Outbox<'_>) {
        if self.has_heard() || !self.dial(out) {
            return self.end(Err(self.target.unreachable(error)), out);
        }
        self.said = 0;
        for message in self.unconfirmed.drain(..).rev() {
            self.unsaid.push_front(message);
        }
    }

    /// Something arrived.
    pub(super) fn heard(&mut self) {
        self.arrivals += 1;
    }

    /// Keeps a message to be said later.
    pub(super) fn say_later(&mut self, message: &[u8]) {
        self.unsaid.push_back(message.to_vec());
    }

    /// Says the next of the messages that were kept; false where there is none.
    pub(super) fn say_next(&mut self, out: &mut Outbox<'_>) -> bool {
        let message = self.unsaid.pop_front();
        if let Some(message) = &message {
            self.say(message, out);
        }
        message.is_some()
    }

    /// Says a message, if the server is reached.
    pub(super) fn say(&mut self, message: &[u8], out: &mut Outbox<'_>) {
        let Some(peer) = self.target.peer() else { return };
        let is_datagram = self.target.endpoint().is_datagram();
        self.said += 1;
        if is_datagram && !self.has_heard() {
            self.unconfirmed.push(message.to_vec());
        }
        out.send(peer, &[message, line_end(self.framing, is_datagram).as_bytes()].concat());
    }

    /// Waits for as long as an answer may take.
    pub(super) fn wait(&mut self, out: &mut Outbox<'_>) {
        self.timer += 1;
        out.after(self.timeout, self.timer);
    }

    /// Makes the timer void.
    fn stop_waiting(&mut self) {
        self.timer += 1;
    }

    /// Whether an answer is overdue, now that the timer with this key has run out. Where it is the address that was
    /// waited for, that address has failed.
    pub(super) fn is_answer_overdue(&mut self, key: u64, out: &mut Outbox<'_>) -> bool {
        if key != self.timer {
            return false;
        }
        if self.target.peer().is_none() {
            self.leave_address(io::ErrorKind::TimedOut.into(), out);
            return false;
        }
        true
    }

    /// The connection has ended. That the server closed it is a good end if `may_close`.
    pub(super) fn closed(&mut self, why: CloseReason, may_close: bool, out: &mut Outbox<'_>) {
        let broken_off = || Error::BrokenOff { endpoint: self.target.endpoint().clone(), why };
        let outcome = if may_close && why == CloseReason::Peer { Ok(()) } else { Err(broken_off()) };
        self.end(outcome, out);
    }

    /// Ends without the answer that was waited for; `unterminated` says that bytes came, but no line end.
    pub(super) fn end_unanswered(&mut self, unterminated: bool, out: &mut Outbox<'_>) {
        let (endpoint, waited) = (self.target.endpoint().clone(), self.timeout);
        self.end(Err(Error::NoAnswer { endpoint, waited, unterminated }), out);
    }

    /// Ends with this outcome, unless there is one already.
    pub(super) fn end(&mut self, outcome: Result<(), Error>, out: &mut Outbox<'_>) {
        self.stop_waiting();
        self.outcome.get_or_insert(outcome);
        out.stop();
    }

    /// How it went; well, if nothing else was noted.
    pub(super) fn take_outcome(&mut self) -> Result<(), Error> {
        self.outcome.take().unwrap_or(Ok(()))
    }
}
