//! [`Input`]: what has arrived from one peer, for a service to take messages from.
//!
//! A view of the engine's read buffer. It remembers how much was taken, so that the engine keeps only the rest, and how
//! far an LF was searched for, so that a line that arrives byte by byte is scanned once and not once for each byte.

use std::ops::Range;

use memchr::memchr;

use super::Terminator;
use super::framing::Decision;

/// The bytes that a peer has sent and that its service has not taken yet.
///
/// A service takes messages until none is complete. The engine keeps the rest, and offers it again with the bytes that
/// follow; where the rest alone exceeds [`Limits::max_message`](crate::Limits::max_message), it closes the connection
/// ([`CloseReason::Overflow`](crate::CloseReason::Overflow)). A message need not be a line:
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
    /// The first `taken` bytes have been taken.
    taken: usize,
    /// Where the message taken last lies in `bytes`.
    message: Range<usize>,
    /// The length of the message that was put back; 0 for none.
    put_back: usize,
    /// `bytes[taken..scanned]` holds no LF.
    scanned: usize,
    extent: Extent,
    max_message: usize,
    /// What `auto` framing has decided for this connection.
    pub(super) decision: Decision,
}

/// What follows the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// More of the stream may follow.
    Partial,
    /// The stream has ended: an unterminated rest is a message.
    Last,
    /// Nothing: they are a datagram, not taken yet. Even an empty one is a message.
    Datagram,
    /// Nothing: they are a datagram, which has been taken.
    Taken,
}

impl<'a> Input<'a> {
    /// The input from a stream. The first `scanned` bytes hold no LF.
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

    /// The input from one datagram.
    pub(crate) fn datagram(bytes: &'a mut [u8]) -> Self {
        Self::stream(bytes, 0, Decision::default(), Extent::Datagram, usize::MAX)
    }

    /// The bytes that have not been taken yet. Looking at them takes nothing.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Whether no message is left to take. False for an empty datagram that has not been taken.
    #[inline]
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

    /// Takes the next `len` bytes as one message, or all that are left if they are fewer.
    #[inline]
    pub fn take(&mut self, len: usize) -> &mut [u8] {
        let end = self.bytes.len().min(self.taken.saturating_add(len));
        if self.extent == Extent::Datagram {
            self.extent = Extent::Taken;
        }
        self.message = self.taken..end;
        self.taken = end;
        &mut self.bytes[self.message.clone()]
    }

    /// Puts the message taken last back. It is offered again, alone and with the same bounds, once the connection is
    /// resumed ([`Outbox::resume`](super::Outbox::resume)): for a service that answers it later.
    pub fn put_back(&mut self) {
        self.taken = self.message.start;
        self.put_back = self.message.len();
    }

    /// Takes all that is left as one message.
    #[inline]
    pub fn take_rest(&mut self) -> &mut [u8] {
        self.take(usize::MAX)
    }

    /// Takes the next line, its LF included. The end of a datagram or of a stream ends a line too.
    ///
    /// Returns `None` while the line is not complete, and for a line longer than
    /// [`Limits::max_message`](crate::Limits::max_message) bytes, terminator not counted: the engine closes that
    /// connection.
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

    /// Takes a run of lines as one message: those that `answer` turns into their own answers, one after the other, until
    /// it returns false for one or the run has `most` bytes. Returns how many lines they are. Lines that may be too long
    /// are left to [`line`](Self::line).
    pub(super) fn take_run(&mut self, most: usize, mut answer: impl FnMut(&mut [u8]) -> bool) -> u64 {
        let (start, mut end, mut count) = (self.taken, self.taken, 0);
        while end < self.bytes.len()
            && end - start < most
            && let Some(length) = memchr(b'\n', &self.bytes[end..])
            && length <= self.max_message
            && answer(&mut self.bytes[end..=end + length])
        {
            end += length + 1;
            count += 1;
        }
        if count > 0 {
            self.message = start..end;
            self.taken = end;
        }
        count
    }

    /// The index behind the next LF, if there is one. Bytes searched in vain are not searched again.
    pub(super) fn find_line_end(&mut self) -> Option<usize> {
        let from = self.scanned.max(self.taken);
        let found = memchr(b'\n', &self.bytes[from..]);
        if found.is_none() {
            self.scanned = self.bytes.len();
        }
        found.map(|found| from + found + 1)
    }

    /// Where the message taken last lies in `bytes`.
    pub(crate) fn message(&self) -> Range<usize> {
        self.message.clone()
    }

    /// All bytes, those taken included.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    pub(crate) fn bytes_of(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// What the service has taken and found.
    pub(crate) fn consumed(&self) -> Consumed {
        Consumed {
            taken: self.taken,
            scanned: self.scanned.saturating_sub(self.taken),
            put_back: self.put_back,
            decision: self.decision,
        }
    }
}

/// The bytes of a stream that goes on, so that code which takes messages can be tested without an engine.
impl<'a> From<&'a mut [u8]> for Input<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Self::stream(bytes, 0, Decision::default(), Extent::Partial, usize::MAX)
    }
}

/// What a service has taken of an [`Input`], and what was found in the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consumed {
    /// Bytes taken off the front.
    pub(crate) taken: usize,
    /// The first `scanned` bytes of the rest hold no LF.
    pub(crate) scanned: usize,
    /// The first `put_back` bytes of the rest are one message, to be offered alone; 0 for none.
    pub(crate) put_back: usize,
    pub(crate) decision: Decision,
}

/// Whether the bytes that a service left are more than one message may have. A CR at their end is not counted: it may
/// be half of a terminator.
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
