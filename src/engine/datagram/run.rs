//! A run: consecutive answers to one peer, or questions to one server, that leave in one call (UDP_SEGMENT, udp(7)).
//!
//! All of a run have the same length; the last one may be shorter, and ends it. A run never outlasts the batch that is
//! answered, or the callback that asks. What to do where the kernel refuses one is for [`DatagramSocket`](super::DatagramSocket)
//! to decide.

use std::io::{self, ErrorKind::Unsupported};

use nix::errno::Errno;

use super::super::net::LocalAddress;
use crate::endpoint::Address;

/// Bytes of a run at most: those of the largest datagram over IPv4.
const MAX_BYTES: usize = 65_507;

/// Datagrams of a run at most: what any kernel with UDP_SEGMENT takes (UDP_MAX_SEGMENTS; 128 since Linux 6.9).
const MAX_COUNT: usize = 64;

/// Where a datagram goes to, and the local address that it leaves from, where its socket has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Way<'a> {
    pub(in crate::engine) to: &'a Address,
    pub(in crate::engine) from: Option<LocalAddress>,
}

/// The answers that are kept back, because the next one may follow them.
#[derive(Debug)]
pub(super) struct Run {
    /// The number of the socket that they leave from.
    socket: u32,
    /// The answers, one behind the other.
    bytes: Vec<u8>,
    /// The length of each, but for the last.
    segment: usize,
    to: Address,
    from: Option<LocalAddress>,
}

impl Run {
    pub(super) fn new() -> Self {
        Self { socket: 0, bytes: Vec::new(), segment: 0, to: Address::Unix(None), from: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number of answers.
    pub(super) fn len(&self) -> usize {
        self.bytes.len().div_ceil(self.segment.max(1))
    }

    pub(super) fn socket(&self) -> u32 {
        self.socket
    }

    pub(super) fn way(&self) -> Way<'_> {
        Way { to: &self.to, from: self.from }
    }

    /// All answers, and the length of each but the last.
    pub(super) fn segments(&self) -> (&[u8], usize) {
        (&self.bytes, self.segment)
    }

    /// The answers one by one.
    pub(super) fn answers(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.segment.max(1))
    }

    /// Begins with this answer, which is not empty.
    pub(super) fn begin(&mut self, socket: u32, answer: &[u8], way: Way<'_>) {
        self.socket = socket;
        self.bytes.clear();
        self.bytes.extend_from_slice(answer);
        self.segment = answer.len();
        self.to.clone_from(way.to);
        self.from = way.from;
    }

    /// Appends an answer, if it may follow those that are there.
    pub(super) fn append(&mut self, socket: u32, answer: &[u8], way: Way<'_>) -> bool {
        if self.is_empty() {
            return false;
        }
        let most = MAX_BYTES.min(MAX_COUNT * self.segment);
        let fits = (1..=self.segment).contains(&answer.len()) && self.bytes.len() + answer.len() <= most;
        let has_ended = !self.bytes.len().is_multiple_of(self.segment);
        let follows = fits && !has_ended && self.socket == socket && self.way() == way;
        if follows {
            self.bytes.extend_from_slice(answer);
        }
        follows
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Why the kernel refuses a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// This socket's kernel or interface has no UDP_SEGMENT.
    Always,
    /// An answer is longer than a packet on the way may be: alone it would leave in fragments.
    TooLong,
    /// Something forbids it, and each answer alone too, or not.
    Forbidden,
    /// For what also befalls a single datagram: it was the first one's turn.
    First,
}

impl From<&io::Error> for Refused {
    fn from(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EIO) => Self::Always,
            Some(Errno::EINVAL | Errno::EMSGSIZE) => Self::TooLong,
            Some(Errno::EPERM) => Self::Forbidden,
            _ if error.kind() == Unsupported => Self::Always,
            _ => Self::First,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Address {
        Address::Ip(([127, 0, 0, 1], port).into())
    }

    fn to(peer: &Address) -> Way<'_> {
        Way { to: peer, from: None }
    }

    fn begun(answer: &[u8]) -> Run {
        let mut run = Run::new();
        run.begin(0, answer, to(&peer(1)));
        run
    }

    #[test]
    fn answers_of_one_size_to_one_peer_follow_each_other() {
        let mut run = begun(b"aaa");
        assert!(run.append(0, b"bbb", to(&peer(1))));
        assert!(!run.append(0, b"ccc", to(&peer(2))));
        assert!(!run.append(
            0,
            b"ccc",
            Way { from: Some(LocalAddress::from(std::net::IpAddr::from([10, 0, 0, 1]))), ..to(&peer(1)) }
        ));
        assert!(!run.append(0, b"cccc", to(&peer(1))), "a longer one");
        assert!(!run.append(0, b"", to(&peer(1))), "an empty one");
        assert_eq!((run.len(), run.answers().collect::<Vec<_>>()), (2, vec![&b"aaa"[..], b"bbb"]));
    }

    #[test]
    fn it_leaves_from_one_socket() {
        assert!(!begun(b"aaa").append(1, b"bbb", to(&peer(1))));
    }

    #[test]
    fn it_has_no_more_datagrams_than_any_kernel_takes() {
        let mut run = begun(b"aaa");
        assert_eq!((0..100).filter(|_| run.append(0, b"bbb", to(&peer(1)))).count(), 63);
    }

    #[test]
    fn a_shorter_answer_ends_it() {
        let mut run = begun(b"aaa");
        assert!(run.append(0, b"b", to(&peer(1))));
        assert!(!run.append(0, b"ccc", to(&peer(1))) && !run.append(0, b"c", to(&peer(1))));
        assert_eq!((run.len(), run.answers().collect::<Vec<_>>()), (2, vec![&b"aaa"[..], b"b"]));
    }

    #[test]
    fn it_is_no_longer_than_a_datagram_may_be() {
        let mut run = begun(&[0; 30_000]);
        assert!(run.append(0, &[1; 30_000], to(&peer(1))));
        assert!(!run.append(0, &[2; 5_508], to(&peer(1))));
        assert!(run.append(0, &[2; 5_507], to(&peer(1))));
    }

    #[test]
    fn an_empty_one_takes_nothing() {
        let mut run = begun(b"aaa");
        run.clear();
        assert!(!run.append(0, b"bbb", to(&peer(1))));
        assert_eq!((run.len(), run.is_empty()), (0, true));
    }
}
