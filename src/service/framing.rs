//! Framing: where a message begins and ends in a stream. A datagram is always one message.
//!
//! `auto` decides once for the whole life of a connection. The engine keeps its [`Decision`] with the connection, and
//! runs the timer that ends its wait for a line end, so that a service keeps nothing for it and forwards nothing to it.

use std::time::Duration;

use super::{Input, Terminator};

/// How long `auto` waits for the LF of a long first line.
pub(crate) const FIRST_LINE: Duration = Duration::from_millis(200);

/// A first chunk with no LF and fewer bytes than this is a whole message, as clients that call `recv(1024)` send it.
const SHORT_CHUNK: usize = 1024;

/// How a stream is cut into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// `Line` or `Raw`, decided by the first chunk for the connection's whole life. With an LF in it: `Line`. With none
    /// and fewer than 1,024 bytes: `Raw`. With none and more bytes: `Line` if the LF comes within 200 ms, else `Raw`.
    #[default]
    Auto,
    /// A message ends with LF; one CR before that belongs to the terminator. At the end of the stream the rest is a
    /// message too.
    Line,
    /// Each chunk that one read returns is a message, without a terminator.
    Raw,
}

/// What `auto` has decided for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing has arrived yet.
    #[default]
    Undecided,
    /// A long first chunk without LF has arrived; the engine's timer runs.
    Waiting,
    Line,
    Raw,
}

/// One message, as [`Framing::next`] takes it from the input.
#[derive(Debug)]
pub struct Message<'a> {
    /// The bytes of the message without its terminator. They may be changed and sent back:
    /// [`Outbox::answer_in_place`](super::Outbox::answer_in_place).
    pub text: &'a mut [u8],
    /// What ended it. The built-in services end the answer with the same.
    pub terminator: Terminator,
}

impl<'a> Message<'a> {
    fn line(bytes: &'a mut [u8]) -> Self {
        let terminator = Terminator::of(bytes);
        let length = bytes.len() - terminator.as_bytes().len();
        Self { text: &mut bytes[..length], terminator }
    }

    fn chunk(bytes: &'a mut [u8]) -> Self {
        Self { text: bytes, terminator: Terminator::None }
    }
}

impl Framing {
    /// Whether a stream is cut into lines, as far as that is decided.
    pub(super) fn takes_lines(self, input: &Input<'_>) -> bool {
        let is_line = self == Self::Line || self == Self::Auto && input.decision == Decision::Line;
        is_line && !input.is_datagram()
    }

    /// Takes the next message from `input`; `None` while none is complete.
    pub fn next<'i>(self, input: &'i mut Input<'_>) -> Option<Message<'i>> {
        if input.is_empty() {
            return None;
        }
        if input.is_datagram() {
            return Some(Message::line(input.take_rest()));
        }
        let decision = match self {
            Self::Line => Decision::Line,
            Self::Raw => Decision::Raw,
            Self::Auto => decide(input),
        };
        match decision {
            Decision::Line => input.line().map(Message::line),
            Decision::Raw => Some(Message::chunk(input.take_rest())),
            Decision::Undecided | Decision::Waiting => None,
        }
    }
}

/// Decides how `auto` frames a connection, from the bytes that have arrived, unless it has decided already.
fn decide(input: &mut Input<'_>) -> Decision {
    let before = input.decision;
    if matches!(before, Decision::Line | Decision::Raw) {
        return before;
    }
    let is_short = before == Decision::Undecided && input.rest().len() < SHORT_CHUNK;
    input.decision = if input.find_line_end().is_some() {
        Decision::Line
    } else if is_short || input.is_complete() {
        Decision::Raw
    } else {
        Decision::Waiting
    };
    input.decision
}
