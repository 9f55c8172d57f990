//! Framing: where a message begins and ends in a stream. A datagram is always one message.

use std::time::Duration;

use memchr::memchr;

use super::{Input, Outbox};

/// How long an `auto` connection whose first bytes are many and hold no LF waits for one.
const AUTO_WAIT: Duration = Duration::from_millis(200);

/// A first chunk shorter than this without LF is a message of its own: what a client does that calls `send` and
/// `recv(1024)`.
const AUTO_CHUNK: usize = 1024;

/// Bits of a connection's tag that belong to the framing.
pub(super) const TAG_BITS: u32 = 2;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

/// How a stream is cut into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The beginning of a connection decides for its whole life. An LF in the first chunk: lines. None, and shorter
    /// than 1,024 bytes: chunks. None, and longer: it waits for the LF, 200 ms at most, then chunks.
    #[default]
    Auto,
    /// A message ends with LF; one CR before it belongs to the terminator. At end of stream the rest is a message.
    Line,
    /// Each chunk that one read returns is a message.
    Raw,
}

/// What a connection's beginning has decided, as its tag keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Undecided = 0,
    Line = 1,
    Raw = 2,
    /// Many bytes without LF have come, and the timer runs.
    Waiting = 3,
}

/// One message: its text, and what ended it.
#[derive(Debug)]
pub struct Message<'a> {
    /// Without the terminator.
    pub text: &'a mut [u8],
    /// What ended it; the answer ends likewise.
    pub terminator: Terminator,
}

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminator {
    /// Nothing: a chunk, a bare datagram or an unterminated last line.
    None,
    /// LF.
    Lf,
    /// CR LF.
    CrLf,
}

impl Terminator {
    /// The bytes it is made of.
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

impl<'a> Message<'a> {
    fn split(bytes: &'a mut [u8]) -> Self {
        let terminator = match bytes {
            [.., b'\r', b'\n'] => Terminator::CrLf,
            [.., b'\n'] => Terminator::Lf,
            _ => Terminator::None,
        };
        let length = bytes.len() - terminator.as_bytes().len();
        Self { text: &mut bytes[..length], terminator }
    }

    fn chunk(bytes: &'a mut [u8]) -> Self {
        Self { text: bytes, terminator: Terminator::None }
    }
}

impl Framing {
    /// Takes the next message from `input`, or nothing while none is complete. The decision of `Auto` is kept in
    /// the lowest bits of the connection's tag.
    pub fn next<'i>(self, input: &'i mut Input<'_>, out: &mut Outbox<'_>) -> Option<Message<'i>> {
        if input.is_empty() {
            return None;
        }
        if input.is_datagram() {
            return Some(Message::split(input.take_rest()));
        }
        match self.mode(input, out) {
            Mode::Line => input.line().map(Message::split),
            Mode::Raw => Some(Message::chunk(input.take_rest())),
            Mode::Undecided | Mode::Waiting => None,
        }
    }

    fn mode(self, input: &mut Input<'_>, out: &mut Outbox<'_>) -> Mode {
        match self {
            Self::Line => Mode::Line,
            Self::Raw => Mode::Raw,
            Self::Auto => match Mode::of(out.tag()) {
                decided @ (Mode::Line | Mode::Raw) => decided,
                before @ (Mode::Undecided | Mode::Waiting) => {
                    let mode = before.decide(input);
                    out.set_tag(out.tag() & !TAG_MASK | mode as u64);
                    if mode == Mode::Waiting {
                        input.mark_scanned();
                        if before == Mode::Undecided {
                            out.after(AUTO_WAIT, 0);
                        }
                    }
                    mode
                }
            },
        }
    }
}

impl Mode {
    const fn of(tag: u64) -> Self {
        match tag & TAG_MASK {
            0 => Self::Undecided,
            1 => Self::Line,
            2 => Self::Raw,
            _ => Self::Waiting,
        }
    }

    fn decide(self, input: &Input<'_>) -> Self {
        if memchr(b'\n', input.rest()).is_some() {
            return Self::Line;
        }
        // Offered again without a new byte: the timer has run out, or the server is shutting down.
        let waited = self == Self::Waiting && input.is_unchanged();
        let short = self == Self::Undecided && input.rest().len() < AUTO_CHUNK;
        match waited || short || input.is_complete() {
            true => Self::Raw,
            false => Self::Waiting,
        }
    }
}
