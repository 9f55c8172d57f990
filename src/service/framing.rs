//! Framing: where a message begins and ends in a stream. A datagram is always one message.
//!
//! `auto` decides once for the whole life of a connection. What it has decided is the connection's ([`Decision`]), kept by
//! the engine beside the bytes; the timer that ends its wait for a line end is the engine's too. A service has neither
//! to keep nor to forward anything.

use std::time::Duration;

use super::{Input, Terminator};

/// How long an `auto` connection waits for an LF when its first bytes are many and hold none.
pub(crate) const FIRST_LINE: Duration = Duration::from_millis(200);

/// A first chunk shorter than this without LF is a message of its own: a client that calls `send` and `recv(1024)`.
const SHORT_CHUNK: usize = 1024;

/// How a stream is cut into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The beginning of a connection decides for its whole life. An LF in the first chunk: lines. No LF, and shorter
    /// than 1,024 bytes: chunks. No LF, and longer: it waits for the LF, 200 ms at most, then chunks.
    #[default]
    Auto,
    /// A message ends with LF; one CR before it belongs to the terminator. At end of stream the rest is a message.
    Line,
    /// Each chunk that one read returns is a message.
    Raw,
}

/// What `auto` has decided for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing has arrived yet.
    #[default]
    Undecided,
    /// Many bytes without LF have arrived; the engine's timer runs.
    Waiting,
    Line,
    Raw,
}

/// One message: its text, and what ended it.
#[derive(Debug)]
pub struct Message<'a> {
    /// Without the terminator.
    pub text: &'a mut [u8],
    /// What ended it; the answer ends likewise.
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
    /// Takes the next message from `input`, or nothing while none is complete.
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

/// What `auto` makes of a connection, now that these bytes have arrived.
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
