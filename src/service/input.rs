//! [`Input`]: what has arrived from one peer, for a service to take messages from.
//!
//! A view of the engine's read buffer. It tracks what was taken, so that the engine keeps just the rest, and how far
//! a line's end was looked for, so that a line that trickles in costs linear time.

use std::ops::Range;

use memchr::memchr;

/// The bytes that a peer has sent and that no message has been made of yet.
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a mut [u8],
    /// Taken so far: `bytes[taken..]` is the rest.
    taken: usize,
    /// What the last `take` gave.
    message: Range<usize>,
    /// The length of a message that was put back.
    put_back: usize,
    /// No line ends before here.
    scanned: usize,
    extent: Extent,
    max_message: usize,
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
    #[doc(hidden)]
    pub fn stream(bytes: &'a mut [u8], scanned: usize, ended: bool, max_message: usize) -> Self {
        let (length, extent) = (bytes.len(), if ended { Extent::Last } else { Extent::Partial });
        Self { bytes, taken: 0, message: 0..0, put_back: 0, scanned: scanned.min(length), extent, max_message }
    }

    pub(crate) fn datagram(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes,
            taken: 0,
            message: 0..0,
            put_back: 0,
            scanned: 0,
            extent: Extent::Datagram,
            max_message: usize::MAX,
        }
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

    /// Gives the message taken last back: it is offered again as it is, alone, once the connection is resumed.
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
        let from = self.scanned.max(self.taken);
        let length = match memchr(b'\n', &self.bytes[from..]) {
            _ if self.is_datagram() => self.rest().len(),
            Some(found) => from + found + 1 - self.taken,
            None => {
                self.scanned = self.bytes.len();
                match self.extent {
                    Extent::Last => self.rest().len(),
                    _ => return None,
                }
            }
        };
        let terminator = match &self.rest()[..length] {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        };
        (length - terminator <= self.max_message).then(|| self.take(length))
    }

    /// Whether every byte at hand has been looked at before: this is not a call for new bytes.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.scanned == self.bytes.len()
    }

    /// Notes that no line ends in what is here.
    pub(crate) fn mark_scanned(&mut self) {
        self.scanned = self.bytes.len();
    }

    /// Where the message taken last lies in the bytes given.
    pub(crate) fn message(&self) -> Range<usize> {
        self.message.clone()
    }

    pub(crate) fn bytes_of(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// What the service made of it.
    pub(crate) fn progress(&self) -> Progress {
        let scanned = self.scanned.saturating_sub(self.taken);
        Progress { taken: self.taken, scanned, put_back: self.put_back }
    }
}

/// What a service made of an [`Input`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) taken: usize,
    /// Into what remains, no line ends before here.
    pub(crate) scanned: usize,
    /// So many bytes of what remains are one message, to be offered alone.
    pub(crate) put_back: usize,
}

/// Whether bytes that no service takes are more than one message may have: a CR at their end may wait for its LF.
pub(crate) fn is_over_limit(rest: &[u8], max_message: usize) -> bool {
    rest.len() - usize::from(rest.last() == Some(&b'\r')) > max_message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_the_rest_stays() {
        let mut bytes = *b"one\r\ntwo\nthr";
        let mut input = Input::stream(&mut bytes, 0, false, 64);
        assert_eq!(input.line().unwrap(), b"one\r\n");
        assert_eq!(input.line().unwrap(), b"two\n");
        assert!(input.line().is_none());
        assert_eq!(input.rest(), b"thr");
        assert_eq!(input.progress(), Progress { taken: 9, scanned: 3, put_back: 0 });
    }

    #[test]
    fn an_ended_streams_rest_is_a_line() {
        let mut bytes = *b"rest";
        let mut input = Input::stream(&mut bytes, 0, true, 64);
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
            let mut input = Input::stream(&mut bytes, 0, false, 4);
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
