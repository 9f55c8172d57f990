//! [`Outbox`]: what a service wants done. Answers to the peer at hand, and effects beyond it.
//!
//! Answers are collected here and written by the engine in one call when the service returns. Everything else is
//! noted as an [`Effect`] and carried out after the callback, in order, so that a service never runs inside another.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use log::log_enabled;

use super::{ConnId, Input, Peer};
use crate::endpoint::Address;
use crate::moment::Moment;
use crate::stats::Stats;

/// Unsent bytes of one connection from which on its service is not asked for more.
pub(crate) const HIGH_MARK: usize = 64 << 10;

/// The most bytes of one message that a log line shows.
const SHOWN: usize = 256;

/// Takes a service's answers and wishes. Made anew for each callback.
#[derive(Debug)]
pub struct Outbox<'a> {
    pub(crate) recipient: Option<Recipient<'a>>,
    pub(crate) service: &'a str,
    pub(crate) replies: &'a mut Vec<u8>,
    /// The part of the input that is sent back where it lies, before `replies`.
    pub(crate) in_place: Range<usize>,
    /// Whether there is an answer, be it an empty one.
    pub(crate) answered: bool,
    pub(crate) effects: &'a mut Effects,
    pub(crate) stats: &'a mut Stats,
    pub(crate) now: Moment,
}

/// Whom to dial, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The far side.
    pub to: Address,
    /// The local address to come from, where it matters; its port is the kernel's choice, made when it connects
    /// (IP_BIND_ADDRESS_NO_PORT, ip(7)), so that one port serves connections to many far sides.
    pub from: Option<IpAddr>,
    /// The number that this connection carries for its service from the start: [`Outbox::tag`].
    pub tag: u64,
}

impl From<&Address> for Dial {
    fn from(to: &Address) -> Self {
        Self { to: to.clone(), from: None, tag: 0 }
    }
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

impl<'a> Outbox<'a> {
    /// An empty one for a callback of the service with this number and name.
    pub(crate) fn new(
        recipient: Option<Recipient<'a>>,
        number: u16,
        service: &'a str,
        replies: &'a mut Vec<u8>,
        effects: &'a mut Effects,
        stats: &'a mut Stats,
        now: Moment,
    ) -> Self {
        replies.clear();
        effects.service = number;
        Self { recipient, service, replies, in_place: 0..0, answered: false, effects, stats, now }
    }
}

impl Outbox<'_> {
    /// Appends to the answer to the peer at hand. When it has gone (in [`closed`](super::Service::closed)) it goes nowhere.
    pub fn reply(&mut self, bytes: &[u8]) {
        self.answered = true;
        self.replies.extend_from_slice(bytes);
    }

    /// Answers with the message last taken from `input`, as it stands there now: changed in place or not, it is
    /// sent straight from the read buffer.
    pub fn answer_in_place(&mut self, input: &Input<'_>) {
        self.answered = true;
        let message = input.message();
        if !self.replies.is_empty() {
            self.replies.extend_from_slice(input.bytes_of(message));
        } else if self.in_place.is_empty() {
            self.in_place = message;
        } else if self.in_place.end == message.start {
            self.in_place.end = message.end;
        } else {
            self.replies.extend_from_slice(input.bytes_of(self.in_place.clone()));
            self.replies.extend_from_slice(input.bytes_of(message));
            self.in_place = 0..0;
        }
    }

    /// Whether the bytes waiting for the peer at hand are few enough for more. Look before you take a message.
    pub fn has_room(&self) -> bool {
        let waiting = self.recipient.as_ref().map_or(0, |recipient| recipient.waiting);
        waiting + self.in_place.len() + self.replies.len() < HIGH_MARK
    }

    /// The time: when this turn of the loop began, or where the loop
    /// [keeps exact time](crate::Reactor::keep_exact_time), when what is at hand was received or fell due.
    pub fn now(&self) -> Moment {
        self.now
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

    /// Sends to any connection, or to where a datagram socket asks; nothing happens when it is no longer there.
    pub fn send(&mut self, to: impl Into<Peer>, bytes: &[u8]) {
        let start = self.effects.bytes.len();
        self.effects.bytes.extend_from_slice(bytes);
        self.effects.note(Effect::Send(to.into(), start..self.effects.bytes.len()));
    }

    /// Closes any connection, once what it is owed has been sent.
    pub fn close_other(&mut self, other: impl Into<Peer>) {
        if let Peer::Stream(id) = other.into() {
            self.effects.note(Effect::Close(id));
        }
    }

    /// Tells a connection's peer that we have finished sending (shutdown(2)), once what waits has been sent.
    pub fn finish_sending(&mut self, to: impl Into<Peer>) {
        if let Peer::Stream(id) = to.into() {
            self.effects.note(Effect::FinishSending(id));
        }
    }

    /// Dials (connect(2)): [`opened`](super::Service::opened) or [`failed`](super::Service::failed) tells the outcome.
    pub fn connect(&mut self, to: impl Into<Dial>) {
        self.effects.note(Effect::Connect(to.into()));
    }

    /// Opens a datagram socket to ask from: [`opened`](super::Service::opened) or
    /// [`failed`](super::Service::failed) tells the outcome.
    pub fn ask(&mut self, to: impl Into<Dial>) {
        self.effects.note(Effect::Ask(to.into()));
    }

    /// No more lines are wanted: the console shows no prompt any more.
    pub fn ignore_lines(&mut self) {
        self.effects.ignores_lines = true;
    }

    /// Writes to the console.
    pub fn print(&mut self, text: &[u8]) {
        self.effects.printed.extend_from_slice(text);
    }

    /// Ends this service: nobody is let in any more, and its connections are closed once they have got what they are
    /// owed. When it was the last one, the server drains.
    pub fn retire(&mut self) {
        self.effects.note(Effect::Retire);
    }

    /// Shuts the server down, as SIGTERM would.
    pub fn drain(&mut self) {
        self.effects.note(Effect::Drain);
    }

    /// Ends the loop after this turn, whatever is still owed.
    pub fn stop(&mut self) {
        self.effects.note(Effect::Stop);
    }

    /// Calls [`expired`](super::Service::expired) with `key` after `delay`. With a connection at hand the timer is
    /// that connection's: the outbox is again its own then, and the timer ends with it.
    pub fn after(&mut self, delay: Duration, key: u64) {
        let owner = self.stream();
        self.effects.note(Effect::After { owner, at: self.now + delay, key });
    }

    /// Calls [`expired`](super::Service::expired) with `key` at this moment, whoever is at hand now: the timer is the
    /// service's own.
    pub fn wake_at(&mut self, at: Moment, key: u64) {
        self.effects.note(Effect::After { owner: None, at, key });
    }

    /// Counts a message and, where the log shows messages (`-vv`), writes it there with its answer.
    pub fn record(&mut self, question: &[u8], answer: impl FnOnce() -> Vec<u8>) {
        self.stats.messages += 1;
        if log_enabled!(log::Level::Trace) {
            self.trace(question, &answer());
        }
    }

    /// Counts a datagram left unanswered because the answer could set off a loop.
    pub fn refuse(&mut self) {
        self.stats.loops += 1;
    }

    #[cold]
    fn trace(&self, question: &[u8], answer: &[u8]) {
        let Some(Recipient { address, .. }) = &self.recipient else { return };
        let (question, answer) = (Shown(question), Shown(answer));
        log::trace!("{}: {address} received {question}, answered {answer}", self.service);
    }

    fn stream(&self) -> Option<ConnId> {
        match self.recipient.as_ref()?.peer? {
            Peer::Stream(id) => Some(id),
            Peer::Datagram(_) => None,
        }
    }

    fn note_for_stream(&mut self, effect: impl FnOnce(ConnId) -> Effect) {
        if let Some(id) = self.stream() {
            self.effects.note(effect(id));
        }
    }
}

/// What a service wants done beyond answering the peer at hand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Pause(ConnId),
    Resume(ConnId),
    Close(ConnId),
    /// The bytes lie in the arena of [`Effects`].
    Send(Peer, Range<usize>),
    FinishSending(ConnId),
    Connect(Dial),
    Ask(Dial),
    Retire,
    Drain,
    Stop,
    After {
        owner: Option<ConnId>,
        at: Moment,
        key: u64,
    },
}

/// Effects in order, the bytes of all in one arena.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) list: VecDeque<(u16, Effect)>,
    pub(crate) bytes: Vec<u8>,
    /// For the console.
    pub(crate) printed: Vec<u8>,
    pub(crate) ignores_lines: bool,
    /// The service being called, whose effects these are.
    pub(crate) service: u16,
}

impl Effects {
    fn note(&mut self, effect: Effect) {
        self.list.push_back((self.service, effect));
    }
}

/// A message as a log line shows it: quoted, escaped, cut where it is long.
struct Shown<'a>(&'a [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shown, cut) = self.0.split_at(self.0.len().min(SHOWN));
        write!(f, "\"{}\"", shown.escape_ascii())?;
        match cut.len() {
            0 => Ok(()),
            more => write!(f, " (and {more} bytes more)"),
        }
    }
}
