//! [`Outbox`]: what a service wants done: an answer to the peer at hand, and effects beyond it.
//!
//! The answer is collected, and the engine writes it in one call when the callback returns. Everything else is noted as
//! an [`Effect`] and carried out after the callback, in order, so that no service runs inside another's callback.

use std::ops::Range;
use std::time::Duration;

use log::log_enabled;

use super::callback::{Answer, Caller, Lines, Output, Recipient, Turn};
use super::effect::Effect;
use super::print_queue::Voice;
use super::{ConnId, Dial, Input, Peer};
use crate::endpoint::Address;
use crate::moment::Moment;

/// Unsent bytes at which a connection has no room for answers. An accepted one is then neither read nor served until
/// they have fallen to a quarter.
pub(crate) const HIGH_MARK: usize = 64 << 10;

/// Bytes of a message that a log line shows at most.
const MAX_SHOWN: usize = 256;

/// Takes a service's answers and requests. Each callback gets a new one.
///
/// Most callbacks have a peer at hand: the connection or datagram that they are about. [`reply`](Self::reply),
/// [`tag`](Self::tag), [`pause`](Self::pause), [`close`](Self::close) and the like concern it; in a callback without
/// one, such as [`line`](super::Service::line), they do nothing. [`send`](Self::send) reaches any other connection by
/// its [`Peer`], also from a timer. This service broadcasts what each member says to the others, and pushes the number
/// of members to all of them once a second:
///
/// ```
/// use std::time::Duration;
/// use pingpong::CloseReason;
/// use pingpong::service::{Input, Outbox, Peer, Service};
///
/// /// A room, in which every line goes to all other members.
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
///         out.wake_at(out.now() + Duration::from_secs(1), 0);
///     }
///
///     fn closed(&mut self, peer: Peer, _: CloseReason, out: &mut Outbox<'_>) {
///         self.members.retain(|member| *member != peer);
///         if self.members.is_empty() {
///             out.cancel_wake(0);
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Outbox<'a> {
    caller: Caller<'a>,
    recipient: Option<Recipient<'a>>,
    turn: &'a mut Turn,
    output: &'a mut Output,
    /// The part of the input that is sent back from where it lies. It precedes `Output::replies`.
    in_place: Range<usize>,
    /// There is an answer, perhaps an empty one.
    answered: bool,
}

impl<'a> Outbox<'a> {
    /// An empty outbox for a callback to this service.
    pub(crate) fn new(
        caller: Caller<'a>,
        recipient: Option<Recipient<'a>>,
        turn: &'a mut Turn,
        output: &'a mut Output,
    ) -> Self {
        output.replies.clear();
        Self { caller, recipient, turn, output, in_place: 0..0, answered: false }
    }

    /// Ends the callback: what it has answered.
    pub(crate) fn into_answer(self) -> Answer {
        Answer { has_room: self.has_room(), in_place: self.in_place, is_given: self.answered }
    }
}

impl Outbox<'_> {
    /// Appends bytes to the answer to the peer at hand. Several replies to a datagram are one datagram; an empty reply
    /// is an empty one.
    pub fn reply(&mut self, bytes: &[u8]) {
        self.answered = true;
        self.output.replies.extend_from_slice(bytes);
    }

    /// Answers with the message last taken from `input`, as it stands there now, changed in place or not. Consecutive
    /// messages answered so are sent straight from the read buffer, without being copied.
    #[inline(always)]
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

    /// Whether unsent bytes for the peer at hand are under the bound, 64 KiB. A service asks before it takes a message,
    /// so that a peer which does not read its answers makes it buffer no more. On a connection that the service has
    /// dialled only this callback's replies count: what waits there are questions.
    pub fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// The bytes that may still be answered before the peer at hand has no room.
    pub(super) fn room(&self) -> usize {
        let waiting = self.recipient.as_ref().map_or(0, |recipient| recipient.waiting);
        HIGH_MARK.saturating_sub(waiting + self.in_place.len() + self.output.replies.len())
    }

    /// The time: when this turn of the loop began or last ran timers. With
    /// [exact time](crate::Reactor::keep_exact_time): when what is at hand was received, or its timer ran.
    pub fn now(&self) -> Moment {
        self.turn.now
    }

    /// The tag of the connection at hand: a number that is its service's alone, to find what it keeps for the
    /// connection. At first it is 0, or [`Dial::tag`]. It is there also in [`closed`](super::Service::closed) and
    /// [`failed`](super::Service::failed).
    ///
    /// An asking datagram socket has a tag too; for a serving one, and with no peer at hand, it is 0.
    pub fn tag(&self) -> u64 {
        self.recipient.as_ref().map_or(0, |recipient| *recipient.tag)
    }

    /// Sets the [`tag`](Self::tag) of the connection, or asking socket, at hand.
    pub fn set_tag(&mut self, tag: u64) {
        if let Some(recipient) = &mut self.recipient {
            *recipient.tag = tag;
        }
    }

    /// Pauses the connection at hand: it is not read, and its input not offered, until [`resume`](Self::resume). For a
    /// service that owes it an answer: a paused connection is not closed for idleness, nor at the end of its stream.
    pub fn pause(&mut self) {
        self.note_for_stream(Effect::Pause);
    }

    /// Resumes the connection at hand: input that was left or put back is offered again.
    pub fn resume(&mut self) {
        self.note_for_stream(Effect::Resume);
    }

    /// Closes the connection at hand once its unsent output has been sent. No more of its input is offered.
    pub fn close(&mut self) {
        self.note_for_stream(Effect::Close);
    }

    /// The peer at hand, for [`expired`](super::Service::expired), which is not given it. `None` without one, and once it
    /// has closed.
    pub fn peer(&self) -> Option<Peer> {
        self.recipient.as_ref()?.peer
    }

    /// The address of the peer at hand; `None` without one.
    pub fn address(&self) -> Option<Address> {
        self.recipient.as_ref().map(|recipient| recipient.address.to_address())
    }

    /// Whether the unsent bytes of any connection are under the bound, 64 KiB, like [`has_room`](Self::has_room); of an
    /// asking datagram socket, whether none of its datagrams waits for room. What this callback has [sent](Self::send)
    /// does not count yet.
    ///
    /// For a service that sends much on its own account: a peer that does not read is closed
    /// ([`CloseReason::Stall`](crate::CloseReason::Stall)) once it has more unsent bytes than
    /// [`Limits::max_unsent`](crate::Limits::max_unsent).
    pub fn has_room_for(&self, to: impl Into<Peer>) -> bool {
        match to.into() {
            Peer::Stream(id) => self.turn.unsent.of(id) < HIGH_MARK,
            Peer::Datagram(number) => !self.turn.unsent.has_datagrams(number),
        }
    }

    /// Sends to any connection, or from an asking datagram socket. Does nothing if that has closed meanwhile.
    pub fn send(&mut self, to: impl Into<Peer>, bytes: &[u8]) {
        let start = self.output.effects.bytes.len();
        self.output.effects.bytes.extend_from_slice(bytes);
        self.note(Effect::Send(to.into(), start..self.output.effects.bytes.len()));
    }

    /// Closes any connection once its unsent output has been sent, or an asking datagram socket at once: what arrives
    /// there from now on is not received, and [`closed`](super::Service::closed) is not called. Does nothing if it has
    /// closed meanwhile. (The number of a datagram socket that has closed may be that of a later one; what the kernel had
    /// dropped there is not counted.)
    pub fn close_other(&mut self, other: impl Into<Peer>) {
        match other.into() {
            Peer::Stream(id) => self.note(Effect::Close(id)),
            Peer::Datagram(number) => self.note(Effect::CloseAsking(number)),
        }
    }

    /// Ends our half of a connection (shutdown(2), SHUT_WR) once its unsent output has been sent. Its input is still
    /// received.
    pub fn finish_sending(&mut self, to: impl Into<Peer>) {
        if let Peer::Stream(id) = to.into() {
            self.note(Effect::EndSending(id));
        }
    }

    /// Dials a stream (connect(2)). [`opened`](super::Service::opened) or [`failed`](super::Service::failed) tells the
    /// outcome.
    pub fn connect(&mut self, to: impl Into<Dial>) {
        self.note(Effect::Connect(to.into()));
    }

    /// Opens an asking datagram socket, one that is connected to a far side: [`opened`](super::Service::opened) or
    /// [`failed`](super::Service::failed) tells the outcome. [`send`](Self::send) asks, and answers are
    /// [`received`](super::Service::received).
    pub fn ask(&mut self, to: impl Into<Dial>) {
        self.note(Effect::Ask(to.into()));
    }

    /// Says that lines are not wanted for now: the console reads none until [`resume_lines`](Self::resume_lines). For a
    /// service that keeps lines to use them later, and so bounds what it keeps. Those that the console has read already,
    /// a few thousand bytes at most, still come, and so do those of a [`Handle`](crate::Handle).
    pub fn pause_lines(&mut self) {
        if self.output.lines == Lines::Wanted {
            self.output.lines = Lines::Paused;
        }
    }

    /// Says that lines are wanted again.
    pub fn resume_lines(&mut self) {
        if self.output.lines == Lines::Paused {
            self.output.lines = Lines::Wanted;
        }
    }

    /// Says that lines are not wanted any more: the console reads no more of them and shows no further prompt.
    pub fn ignore_lines(&mut self) {
        self.output.lines = Lines::Ignored;
    }

    /// Prints text on the console, as it is: text from the network must be [`escaped`](super::escaped). It appears at the
    /// end of the turn, or when the console has room; without a console it is discarded. What waits is bounded
    /// ([`WhenFull::Drop`](crate::WhenFull::Drop)): lines beyond that are left out, and the console says so.
    pub fn print(&mut self, text: &[u8]) {
        self.output.printed.print(Voice::Service, text);
    }

    /// Prints a line about a client that comes or goes. However many do, they leave others' lines alone.
    pub(crate) fn print_attendance(&mut self, line: &str) {
        self.output.printed.print(Voice::Attendance, line.as_bytes());
    }

    /// Prints a line of what a client has said, escaped, behind a label. However much it says, it leaves others' lines
    /// alone.
    pub(crate) fn print_said(&mut self, client: u64, label: &str, said: &[u8]) {
        self.output.printed.print_said(client, label, said);
    }

    /// Ends this service: its listeners are closed, and its connections too once they are owed nothing. When no service
    /// listens any more, the server [drains](Self::drain).
    pub fn retire(&mut self) {
        self.note(Effect::Retire);
    }

    /// Shuts the server down: takes in what has arrived, gives the answers that are owed, for
    /// [`Limits::drain`](crate::Limits::drain) at most, then ends the loop.
    pub fn drain(&mut self) {
        self.note(Effect::Drain);
    }

    /// Ends the loop after this turn, whatever is still owed.
    pub fn stop(&mut self) {
        self.note(Effect::Stop);
    }

    /// Sets a timer: [`expired`](super::Service::expired) is called with `key` after `delay`. With a connection at hand
    /// the connection owns the timer: it is at hand again then, and the timer ends with it.
    pub fn after(&mut self, delay: Duration, key: u64) {
        let owner = self.stream();
        self.note(Effect::After { owner, at: self.turn.now + delay, key });
    }

    /// Sets a timer of the service's own: [`expired`](super::Service::expired) is called with `key` at this moment, or
    /// as soon as possible if it has passed, without a peer at hand.
    pub fn wake_at(&mut self, at: Moment, key: u64) {
        self.note(Effect::After { owner: None, at, key });
    }

    /// Cancels the timers with this key that the connection at hand owns. Without a connection at hand it does nothing,
    /// and [`closed`](super::Service::closed) has none: a connection's timers have ended with it.
    ///
    /// A timer is put off by cancelling it and setting it anew. This service closes a connection that has said nothing
    /// for ten seconds:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pingpong::service::{Input, Outbox, Peer, Service};
    /// const PATIENCE: Duration = Duration::from_secs(10);
    /// const SILENT: u64 = 0;
    ///
    /// struct Impatient;
    ///
    /// impl Service for Impatient {
    ///     fn opened(&mut self, _: Peer, out: &mut Outbox<'_>) {
    ///         out.after(PATIENCE, SILENT);
    ///     }
    ///
    ///     fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
    ///         input.take_rest();
    ///         out.cancel(SILENT);
    ///         out.after(PATIENCE, SILENT);
    ///     }
    ///
    ///     fn expired(&mut self, _: u64, out: &mut Outbox<'_>) {
    ///         out.reply(b"too late\n");
    ///         out.close();
    ///     }
    /// }
    /// ```
    pub fn cancel(&mut self, key: u64) {
        if let Some(id) = self.stream() {
            self.note(Effect::Cancel { owner: Some(id), key });
        }
    }

    /// Cancels the service's own timers with this key: those set by [`wake_at`](Self::wake_at), and by
    /// [`after`](Self::after) without a connection at hand.
    pub fn cancel_wake(&mut self, key: u64) {
        self.note(Effect::Cancel { owner: None, key });
    }

    /// Whether the log shows messages ([`record`](Self::record)).
    pub(super) fn shows_messages(&self) -> bool {
        log_enabled!(log::Level::Trace)
    }

    /// Counts messages that the log does not show.
    pub(super) fn count_messages(&mut self, messages: u64) {
        self.turn.stats.messages += messages;
    }

    /// Counts a message ([`Stats::messages`](crate::Stats::messages)): one counts only where its service calls this. At
    /// log level `trace` also logs it with its answer, which is only computed then.
    pub fn record(&mut self, question: &[u8], answer: impl FnOnce() -> Vec<u8>) {
        self.turn.stats.messages += 1;
        if log_enabled!(log::Level::Trace) {
            self.trace(question, &answer());
        }
    }

    /// Counts a datagram that the service does not answer because an answer could set off a loop
    /// ([`Stats::loops`](crate::Stats::loops)).
    pub fn count_unanswered(&mut self) {
        self.turn.stats.loops += 1;
    }

    #[cold]
    fn trace(&self, question: &[u8], answer: &[u8]) {
        let Some(Recipient { address, .. }) = &self.recipient else { return };
        let (question, answer) = (Shown(question), Shown(answer));
        log::trace!("{}: {address} received {question}, answered {answer}", self.caller.name);
    }

    /// The connection at hand, if the peer at hand is one.
    fn stream(&self) -> Option<ConnId> {
        match self.peer()? {
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

/// A message as a log line shows it: quoted, escaped, and cut after [`MAX_SHOWN`] bytes.
struct Shown<'a>(&'a [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shown, cut) = self.0.split_at(self.0.len().min(MAX_SHOWN));
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if cut.is_empty() { Ok(()) } else { write!(f, " (and {} bytes more)", cut.len()) }
    }
}
