//! [`Input`]: what has arrived from one peer, for a service to take messages from.
//!
//! A view of the engine's read buffer. It tracks what was taken, so that the engine keeps just the rest, and up to where
//! a line end was looked for, so that a line that trickles in costs linear time.

use std::ops::Range;

use memchr::memchr;

use super::Terminator;
use super::framing::Decision;

/// The bytes that a peer has sent and that no message has been made of yet.
///
/// A service takes messages until none is complete; the engine keeps the rest and offers it again with the bytes that
/// follow. Messages need not be lines:
///
/// ```
/// use pingpong::service::{Input, Outbox, Peer, Service};
///
/// /// Answers each message, which is one byte of length and as many bytes of text, with its text.
/// struct Counted;
///
/// impl Service for Counted {
///     fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
///         while out.has_room()
///             && let [length, rest @ ..] = input.rest()
///             && rest.len() >= usize::from(*length)
///         {
///             let message = input.take(1 + usize::from(*length));
///             out.reply(&message[1..]);
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a mut [u8],
    /// Bytes taken so far: `bytes[taken..]` is the rest.
    taken: usize,
    /// What the last `take` gave.
    message: Range<usize>,
    /// The length of a message that was put back.
    put_back: usize,
    /// No line ends before here.
    scanned: usize,
    extent: Extent,
    max_message: usize,
    /// What `auto` framing has decided for this connection.
    pub(super) decision: Decision,
}

/// What follows the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The stream goes on.
    Partial,
    /// The stream has ended: an unterminated rest is a message.
    Last,
    /// This is a datagram, not taken yet: one message even when it is empty.
    Datagram,
    /// This is a datagram, taken.
    Taken,
}

impl<'a> Input<'a> {
    /// Bytes of a stream, the first `scanned` of which hold no LF.
    pub(crate) fn stream(
        bytes: &'a mut [u8],
        scanned: usize,
        decision: Decision,
        extent: Extent,
        max_message: usize,
    ) -> Self {
        let scanned = scanned.min(bytes.len());
        Self { bytes, taken: 0, message: 0..0, put_back: 0, scanned, extent, max_message, decision }
    }

    pub(crate) fn datagram(bytes: &'a mut [u8]) -> Self {
        Self::stream(bytes, 0, Decision::default(), Extent::Datagram, usize::MAX)
    }

    /// What has not been taken yet.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Whether nothing is left to take.
    pub fn is_empty(&self) -> bool {
        match self.extent {
            Extent::Datagram => false,
            Extent::Taken => true,
            Extent::Partial | Extent::Last => self.rest().is_empty(),
        }
    }

    /// Whether these bytes are one datagram.
    pub fn is_datagram(&self) -> bool {
        matches!(self.extent, Extent::Datagram | Extent::Taken)
    }

    /// Whether nothing will follow: the stream has ended, or this is a datagram.
    pub fn is_complete(&self) -> bool {
        self.extent != Extent::Partial
    }

    /// Takes the next `len` bytes as one message, or all that are left when they are fewer.
    pub fn take(&mut self, len: usize) -> &mut [u8] {
        let end = self.bytes.len().min(self.taken.saturating_add(len));
        if self.extent == Extent::Datagram {
            self.extent = Extent::Taken;
        }
        self.message = self.taken..end;
        self.taken = end;
        &mut self.bytes[self.message.clone()]
    }

    /// Gives the message taken last back. It is offered again as it is, alone, once the connection is resumed.
    pub fn put_back(&mut self) {
        self.taken = self.message.start;
        self.put_back = self.message.len();
    }

    /// Takes all that is left as one message.
    pub fn take_rest(&mut self) -> &mut [u8] {
        self.take(usize::MAX)
    }

    /// Takes the next line, its LF included; a datagram or the end of a stream ends a line too.
    ///
    /// `None` while the line is not complete, and for one longer than
    /// [`Limits::max_message`](crate::Limits::max_message): the engine closes that connection.
    pub fn line(&mut self) -> Option<&mut [u8]> {
        if self.is_empty() {
            return None;
        }
        let end = if self.is_datagram() { None } else { self.find_line_end() };
        let length = match end {
            Some(end) => end - self.taken,
            None if self.is_complete() => self.rest().len(),
            None => return None,
        };
        let terminator = Terminator::of(&self.rest()[..length]).as_bytes();
        (length - terminator.len() <= self.max_message).then(|| self.take(length))
    }

    /// Where the next line ends, behind its LF. Bytes that hold none are not looked at again.
    pub(super) fn find_line_end(&mut self) -> Option<usize> {
        let from = self.scanned.max(self.taken);
        let found = memchr(b'\n', &self.bytes[from..]);
        if found.is_none() {
            self.scanned = self.bytes.len();
        }
        found.map(|found| from + found + 1)
    }

    /// Where the message taken last lies in the bytes given.
    pub(crate) fn message(&self) -> Range<usize> {
        self.message.clone()
    }

    /// All bytes at hand, those taken included.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    pub(crate) fn bytes_of(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// What the service made of it.
    pub(crate) fn consumed(&self) -> Consumed {
        Consumed {
            taken: self.taken,
            scanned: self.scanned.saturating_sub(self.taken),
            put_back: self.put_back,
            decision: self.decision,
        }
    }
}

/// The bytes of a stream that goes on, for code that takes messages and is tested without an engine.
impl<'a> From<&'a mut [u8]> for Input<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Self::stream(bytes, 0, Decision::default(), Extent::Partial, usize::MAX)
    }
}

/// What a service made of an [`Input`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consumed {
    /// Bytes taken off the front.
    pub(crate) taken: usize,
    /// The first so many bytes of the rest hold no LF.
    pub(crate) scanned: usize,
    /// The first so many bytes of the rest are one message, to be offered alone; 0 for none.
    pub(crate) put_back: usize,
    pub(crate) decision: Decision,
}

/// Whether bytes that no service takes are more than one message may have. A CR at their end may wait for its LF.
pub(crate) fn is_over_limit(rest: &[u8], max_message: usize) -> bool {
    rest.len() - usize::from(rest.last() == Some(&b'\r')) > max_message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_the_rest_stays() {
        let mut bytes = *b"one\r\ntwo\nthr";
        let mut input = Input::from(&mut bytes[..]);
        assert_eq!(input.line().unwrap(), b"one\r\n");
        assert_eq!(input.line().unwrap(), b"two\n");
        assert!(input.line().is_none());
        assert_eq!(input.rest(), b"thr");
        assert_eq!(input.consumed(), Consumed { taken: 9, scanned: 3, put_back: 0, decision: Decision::Undecided });
    }

    #[test]
    fn an_ended_streams_rest_is_a_line() {
        let mut bytes = *b"rest";
        let mut input = Input::stream(&mut bytes, 0, Decision::Undecided, Extent::Last, 64);
        assert_eq!(input.line().unwrap(), b"rest");
        assert!(input.line().is_none());
    }

    #[test]
    fn an_empty_datagram_is_one_message() {
        let mut input = Input::datagram(&mut []);
        assert!(!input.is_empty());
        assert_eq!(input.line().unwrap(), b"");
        assert!(input.line().is_none());
    }

    #[test]
    fn the_limit_counts_no_terminator() {
        for (text, given) in [("1234\n", true), ("1234\r\n", true), ("12345\n", false), ("12345\r\n", false)] {
            let mut bytes = text.as_bytes().to_vec();
            let mut input = Input::stream(&mut bytes, 0, Decision::Undecided, Extent::Partial, 4);
            assert_eq!(input.line().is_some(), given, "{text:?}");
            assert_eq!(is_over_limit(input.rest(), 4), !given, "{text:?}");
        }
    }

    #[test]
    fn a_carriage_return_may_wait_for_its_line_feed_at_the_limit() {
        assert!(!is_over_limit(b"1234\r", 4));
        assert!(is_over_limit(b"12345", 4));
    }
}
