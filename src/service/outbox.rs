//! [`Outbox`]: what a service wants done. Answers to the peer at hand, and effects beyond it.
//!
//! Answers are collected here and written by the engine in one call when the service returns. Everything else is
//! noted as an [`Effect`] and carried out after the callback, in order, so that a service never runs inside another.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use log::log_enabled;

use super::effect::{Effect, Effects};
use super::{ConnId, Dial, Input, Peer, ServiceId};
use crate::endpoint::Address;
use crate::moment::Moment;
use crate::stats::Stats;

/// A connection with so many unsent bytes is full: its service is not asked for more.
pub(crate) const HIGH_MARK: usize = 64 << 10;

/// The most bytes of one message that a log line shows.
const MAX_SHOWN: usize = 256;

/// Takes a service's answers and wishes. Made anew for each callback.
///
/// A service answers the peer at hand with [`reply`](Self::reply), and reaches any other connection by its
/// [`Peer`], also from a timer:
///
/// ```
/// use std::time::Duration;
/// use pingpong::CloseReason;
/// use pingpong::service::{Input, Outbox, Peer, Service};
///
/// /// Tells every line to all the others, and once a second how many they are.
/// #[derive(Default)]
/// struct Room {
///     members: Vec<Peer>,
/// }
///
/// impl Service for Room {
///     fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
///         if self.members.is_empty() {
///             // The timer is the service's own: it outlives this connection.
///             out.wake_at(out.now() + Duration::from_secs(1), 0);
///         }
///         self.members.push(peer);
///     }
///
///     fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
///         while let Some(line) = input.line() {
///             for member in self.members.iter().filter(|member| **member != from) {
///                 out.send(*member, line);
///             }
///         }
///     }
///
///     fn expired(&mut self, _: u64, out: &mut Outbox<'_>) {
///         let count = format!("{} here\n", self.members.len());
///         for member in &self.members {
///             out.send(*member, count.as_bytes());
///         }
///         if !self.members.is_empty() {
///             out.wake_at(out.now() + Duration::from_secs(1), 0);
///         }
///     }
///
///     fn closed(&mut self, peer: Peer, _: CloseReason, _: &mut Outbox<'_>) {
///         self.members.retain(|member| *member != peer);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Outbox<'a> {
    caller: Caller<'a>,
    recipient: Option<Recipient<'a>>,
    turn: &'a mut Turn,
    output: &'a mut Output,
    /// The part of the input that is sent back where it lies, before the replies.
    in_place: Range<usize>,
    /// Whether there is an answer, be it an empty one.
    answered: bool,
}

/// The service that is being called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) id: ServiceId,
    pub(crate) name: &'a str,
}

/// The peer at hand, as an [`Outbox`] needs to know it.
#[derive(Debug)]
pub(crate) struct Recipient<'a> {
    /// `None` when it has gone, or never was there.
    pub(crate) peer: Option<Peer>,
    pub(crate) address: &'a Address,
    pub(crate) tag: &'a mut u64,
    /// Bytes that already wait to be sent to it.
    pub(crate) waiting: usize,
}

impl<'a> Recipient<'a> {
    /// A peer that has gone, or never was there: its service may still look at its address and its tag.
    pub(crate) fn gone(address: &'a Address, tag: &'a mut u64) -> Self {
        Self { peer: None, address, tag, waiting: 0 }
    }
}

/// What all callbacks of a turn share: the time, and the counters.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) now: Moment,
    pub(crate) stats: Stats,
    pub(crate) unsent: Unsent,
}

/// The bytes that connections have not been sent, of those that have any: mostly there are none.
#[derive(Debug, Default)]
pub(crate) struct Unsent(HashMap<ConnId, (ServiceId, usize)>);

impl Unsent {
    /// Notes how many bytes wait for a connection now.
    pub(crate) fn note(&mut self, id: ConnId, service: ServiceId, bytes: usize) {
        if bytes == 0 {
            self.0.remove(&id);
        } else {
            self.0.insert(id, (service, bytes));
        }
    }

    fn of(&self, id: ConnId) -> usize {
        self.0.get(&id).map_or(0, |(_, bytes)| *bytes)
    }

    /// Bytes that wait for all connections of a service together.
    pub(crate) fn of_service(&self, service: ServiceId) -> usize {
        self.0.values().filter(|(of, _)| *of == service).map(|(_, bytes)| bytes).sum()
    }
}

/// What callbacks leave behind for the engine.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// What the service at hand answers, before the kernel has taken its share.
    pub(crate) replies: Vec<u8>,
    pub(crate) effects: Effects,
    /// For the console.
    pub(crate) printed: Vec<u8>,
    pub(crate) ignores_lines: bool,
}

/// What a callback has answered.
#[derive(Debug)]
pub(crate) struct Answer {
    in_place: Range<usize>,
    /// Whether there is an answer, be it an empty one.
    pub(crate) is_given: bool,
    /// Whether the service might have answered more.
    pub(crate) has_room: bool,
}

impl Answer {
    /// The bytes to send, in one piece so that one call sends them: the part of the `input` that is sent back where it
    /// lies, then the replies.
    #[inline(always)]
    pub(crate) fn join<'b>(&self, input: &'b [u8], replies: &'b mut Vec<u8>) -> &'b [u8] {
        let in_place = &input[self.in_place.clone()];
        if replies.is_empty() {
            return in_place;
        }
        if !in_place.is_empty() {
            replies.splice(0..0, in_place.iter().copied());
        }
        replies
    }
}

impl<'a> Outbox<'a> {
    /// An empty outbox for a callback of this service.
    pub(crate) fn new(
        caller: Caller<'a>,
        recipient: Option<Recipient<'a>>,
        turn: &'a mut Turn,
        output: &'a mut Output,
    ) -> Self {
        output.replies.clear();
        Self { caller, recipient, turn, output, in_place: 0..0, answered: false }
    }

    /// What has been answered. The callback is over.
    pub(crate) fn into_answer(self) -> Answer {
        Answer { has_room: self.has_room(), in_place: self.in_place, is_given: self.answered }
    }
}

impl Outbox<'_> {
    /// Appends to the answer to the peer at hand. When it has gone (in [`closed`](super::Service::closed)) it goes nowhere.
    pub fn reply(&mut self, bytes: &[u8]) {
        self.answered = true;
        self.output.replies.extend_from_slice(bytes);
    }

    /// Answers with the message last taken from `input`, as it stands there now: changed in place or not, it is
    /// sent straight from the read buffer.
    pub fn answer_in_place(&mut self, input: &Input<'_>) {
        self.answered = true;
        let message = input.message();
        if !self.output.replies.is_empty() {
            self.output.replies.extend_from_slice(input.bytes_of(message));
        } else if self.in_place.is_empty() {
            self.in_place = message;
        } else if self.in_place.end == message.start {
            self.in_place.end = message.end;
        } else {
            self.output.replies.extend_from_slice(input.bytes_of(self.in_place.clone()));
            self.output.replies.extend_from_slice(input.bytes_of(message));
            self.in_place = 0..0;
        }
    }

    /// Whether the bytes waiting for the peer at hand are few enough for more. Look before you take a message.
    pub fn has_room(&self) -> bool {
        let waiting = self.recipient.as_ref().map_or(0, |recipient| recipient.waiting);
        waiting + self.in_place.len() + self.output.replies.len() < HIGH_MARK
    }

    /// The time: when this turn of the loop began, or where the loop
    /// [keeps exact time](crate::Reactor::keep_exact_time), when what is at hand was received or fell due.
    pub fn now(&self) -> Moment {
        self.turn.now
    }

    /// The number that the connection at hand carries for its service, also when it has just gone or could not be
    /// made; at first 0, or what [`Dial::tag`] said. A datagram socket that asks has one too, one that serves has none: 0.
    pub fn tag(&self) -> u64 {
        self.recipient.as_ref().map_or(0, |recipient| *recipient.tag)
    }

    /// Changes [`tag`](Self::tag).
    pub fn set_tag(&mut self, tag: u64) {
        if let Some(recipient) = &mut self.recipient {
            *recipient.tag = tag;
        }
    }

    /// Stops reading from the connection at hand and offering what it sent, until [`resume`](Self::resume): its
    /// service owes it an answer.
    pub fn pause(&mut self) {
        self.note_for_stream(Effect::Pause);
    }

    /// Lets the connection at hand go on: what it has sent is offered again.
    pub fn resume(&mut self) {
        self.note_for_stream(Effect::Resume);
    }

    /// Closes the connection at hand, once what it is owed has been sent.
    pub fn close(&mut self) {
        self.note_for_stream(Effect::Close);
    }

    /// The address of the peer at hand.
    pub fn address(&self) -> Option<&Address> {
        self.recipient.as_ref().map(|recipient| recipient.address)
    }

    /// Whether the bytes waiting for any connection are few enough for more. Look before you [`send`](Self::send): a
    /// peer that does not read is closed ([`CloseReason::Stall`](crate::CloseReason::Stall)) once more than
    /// [`Limits::max_unsent`](crate::Limits::max_unsent) wait for it. What this callback has sent already counts.
    pub fn has_room_for(&self, to: impl Into<Peer>) -> bool {
        match to.into() {
            Peer::Stream(id) => self.turn.unsent.of(id) + self.output.effects.bytes.len() < HIGH_MARK,
            Peer::Datagram(_) => true,
        }
    }

    /// Sends to any connection, or to where a datagram socket asks; nothing happens when it is no longer there.
    pub fn send(&mut self, to: impl Into<Peer>, bytes: &[u8]) {
        let start = self.output.effects.bytes.len();
        self.output.effects.bytes.extend_from_slice(bytes);
        self.note(Effect::Send(to.into(), start..self.output.effects.bytes.len()));
    }

    /// Closes any connection, once what it is owed has been sent.
    pub fn close_other(&mut self, other: impl Into<Peer>) {
        if let Peer::Stream(id) = other.into() {
            self.note(Effect::Close(id));
        }
    }

    /// Tells a connection's peer that we have finished sending (shutdown(2)), once what waits has been sent.
    pub fn finish_sending(&mut self, to: impl Into<Peer>) {
        if let Peer::Stream(id) = to.into() {
            self.note(Effect::EndSending(id));
        }
    }

    /// Dials (connect(2)): [`opened`](super::Service::opened) or [`failed`](super::Service::failed) tells the outcome.
    pub fn connect(&mut self, to: impl Into<Dial>) {
        self.note(Effect::Connect(to.into()));
    }

    /// Opens a datagram socket to ask from: [`opened`](super::Service::opened) or
    /// [`failed`](super::Service::failed) tells the outcome.
    pub fn ask(&mut self, to: impl Into<Dial>) {
        self.note(Effect::Ask(to.into()));
    }

    /// No more lines are wanted: the console shows no prompt any more.
    pub fn ignore_lines(&mut self) {
        self.output.ignores_lines = true;
    }

    /// Writes to the console.
    pub fn print(&mut self, text: &[u8]) {
        self.output.printed.extend_from_slice(text);
    }

    /// Ends this service: nobody is let in any more, and its connections are closed once they have got what they are
    /// owed. When it was the last one, the server drains.
    pub fn retire(&mut self) {
        self.note(Effect::Retire);
    }

    /// Shuts the server down, as SIGTERM would.
    pub fn drain(&mut self) {
        self.note(Effect::Drain);
    }

    /// Ends the loop after this turn, whatever is still owed.
    pub fn stop(&mut self) {
        self.note(Effect::Stop);
    }

    /// Calls [`expired`](super::Service::expired) with `key` after `delay`. With a connection at hand the timer is
    /// that connection's: the outbox is again its own then, and the timer ends with it.
    pub fn after(&mut self, delay: Duration, key: u64) {
        let owner = self.stream();
        self.note(Effect::After { owner, at: self.turn.now + delay, key });
    }

    /// Calls [`expired`](super::Service::expired) with `key` at this moment, whoever is at hand now: the timer is the
    /// service's own.
    pub fn wake_at(&mut self, at: Moment, key: u64) {
        self.note(Effect::After { owner: None, at, key });
    }

    /// Counts a message and, where the log shows messages (`-vv`), writes it there with its answer.
    pub fn record(&mut self, question: &[u8], answer: impl FnOnce() -> Vec<u8>) {
        self.turn.stats.messages += 1;
        if log_enabled!(log::Level::Trace) {
            self.trace(question, &answer());
        }
    }

    /// Counts a datagram that the service leaves unanswered because an answer could set off a loop.
    pub fn count_unanswered(&mut self) {
        self.turn.stats.loops += 1;
    }

    #[cold]
    fn trace(&self, question: &[u8], answer: &[u8]) {
        let Some(Recipient { address, .. }) = &self.recipient else { return };
        let (question, answer) = (Shown(question), Shown(answer));
        log::trace!("{}: {address} received {question}, answered {answer}", self.caller.name);
    }

    fn stream(&self) -> Option<ConnId> {
        match self.recipient.as_ref()?.peer? {
            Peer::Stream(id) => Some(id),
            Peer::Datagram(_) => None,
        }
    }

    fn note(&mut self, effect: Effect) {
        self.output.effects.list.push_back((self.caller.id, effect));
    }

    fn note_for_stream(&mut self, effect: impl FnOnce(ConnId) -> Effect) {
        if let Some(id) = self.stream() {
            self.note(effect(id));
        }
    }
}

/// A message as a log line shows it: quoted, escaped, cut where it is long.
struct Shown<'a>(&'a [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shown, cut) = self.0.split_at(self.0.len().min(MAX_SHOWN));
        write!(f, "\"{}\"", shown.escape_ascii())?;
        match cut.len() {
            0 => Ok(()),
            more => write!(f, " (and {more} bytes more)"),
        }
    }
}
