//! The datagrams of one socket that wait for room: in its send buffer, or at a Unix receiver that does not read.
//!
//! Each receiver has a lane, whose datagrams leave in order. The queue is bounded, and each lane to a share of it, so
//! that a receiver which never reads cannot use up the room of the others. Nothing here sends: `socket` does.

use std::collections::{HashMap, VecDeque};

use super::super::net::LocalAddress;
use crate::endpoint::Address;

/// Datagrams in a lane at most, and their bytes.
const LANE_COUNT: usize = 1024;
const LANE_BYTES: usize = 1 << 20;

/// Datagrams in a queue at most, and their bytes: those of eight full lanes.
const MAX_COUNT: usize = 8 * LANE_COUNT;
const MAX_BYTES: usize = 8 * LANE_BYTES;

/// The datagrams that wait, by receiver.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    lanes: HashMap<Address, Lane>,
    count: usize,
    bytes: usize,
}

/// The datagrams that wait for one receiver. Never empty.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Waiting>,
    bytes: usize,
}

/// A datagram that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) bytes: Box<[u8]>,
    /// The local address that it leaves from, where the socket has several.
    pub(super) from: Option<LocalAddress>,
}

/// What became of an attempt to send a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Now,
    /// This receiver has no room.
    NoRoom,
    /// The send buffer has no room: no other receiver need be tried.
    NoRoomAtAll,
    Failed,
}

/// The datagrams that left the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flushed {
    pub(super) sent: u64,
    /// Refused by the kernel.
    pub(super) failed: u64,
    bytes: usize,
}

impl Flushed {
    /// How many they are.
    pub(super) fn left(self) -> usize {
        (self.sent + self.failed) as usize
    }
}

impl SendQueue {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether datagrams wait for this receiver.
    pub(super) fn has(&self, to: &Address) -> bool {
        !self.lanes.is_empty() && self.lanes.contains_key(to)
    }

    /// Appends a datagram to its receiver's lane. Returns false where the queue or the lane is full.
    pub(super) fn push(&mut self, to: &Address, waiting: Waiting) -> bool {
        let length = waiting.bytes.len();
        if self.count >= MAX_COUNT || self.bytes + length > MAX_BYTES {
            return false;
        }
        if let Some(lane) = self.lanes.get(to)
            && (lane.queue.len() >= LANE_COUNT || lane.bytes + length > LANE_BYTES)
        {
            return false;
        }
        let lane = self.lanes.entry(to.clone()).or_default();
        lane.bytes += length;
        lane.queue.push_back(waiting);
        self.bytes += length;
        self.count += 1;
        true
    }

    /// Calls `send` for the datagrams that wait, those of each lane in order. Goes on to the next lane when a receiver has
    /// no room, and ends when the send buffer has none.
    pub(super) fn flush(&mut self, mut send: impl FnMut(&Address, &Waiting) -> Sent) -> Flushed {
        let Self { lanes, count, bytes } = self;
        let mut flushed = Flushed::default();
        let mut has_room = true;
        lanes.retain(|to, lane| {
            has_room = has_room && lane.flush(&mut flushed, |waiting| send(to, waiting)) != Sent::NoRoomAtAll;
            !lane.queue.is_empty()
        });
        *count -= flushed.left();
        *bytes -= flushed.bytes;
        flushed
    }

    /// The same for the lane of one receiver.
    pub(super) fn flush_lane(&mut self, to: &Address, send: impl FnMut(&Waiting) -> Sent) -> Flushed {
        let mut flushed = Flushed::default();
        if let Some(lane) = self.lanes.get_mut(to) {
            lane.flush(&mut flushed, send);
            if lane.queue.is_empty() {
                self.lanes.remove(to);
            }
        }
        self.count -= flushed.left();
        self.bytes -= flushed.bytes;
        flushed
    }
}

impl Lane {
    /// Sends the datagrams in order, until one finds no room. Returns what became of the last.
    fn flush(&mut self, flushed: &mut Flushed, mut send: impl FnMut(&Waiting) -> Sent) -> Sent {
        while let Some(waiting) = self.queue.front() {
            match send(waiting) {
                Sent::Now => flushed.sent += 1,
                Sent::Failed => flushed.failed += 1,
                no_room => return no_room,
            }
            flushed.bytes += waiting.bytes.len();
            self.bytes -= waiting.bytes.len();
            self.queue.pop_front();
        }
        Sent::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(name: &str) -> Address {
        Address::Unix(Some(std::path::Path::new(name).into()))
    }

    fn datagram(text: &str) -> Waiting {
        Waiting { bytes: text.as_bytes().into(), from: None }
    }

    #[test]
    fn one_receiver_has_its_share_and_no_more() {
        let mut queue = SendQueue::default();
        let kept = (0..MAX_COUNT).filter(|_| queue.push(&receiver("/deaf"), datagram("x"))).count();
        assert_eq!(kept, LANE_COUNT);
        assert!(queue.push(&receiver("/other"), datagram("x")));
        let long = "x".repeat(LANE_BYTES);
        assert!(!queue.push(&receiver("/other"), datagram(&long)));
    }

    #[test]
    fn many_receivers_share_a_bound() {
        let mut queue = SendQueue::default();
        let kept = (0..10 * MAX_COUNT).filter(|i| queue.push(&receiver(&i.to_string()), datagram("x"))).count();
        assert_eq!((kept, queue.len()), (MAX_COUNT, MAX_COUNT));
    }

    #[test]
    fn each_lane_leaves_in_order_past_one_that_takes_nothing() {
        let mut queue = SendQueue::default();
        for text in ["1", "2", "3"] {
            queue.push(&receiver("/deaf"), datagram(text));
            queue.push(&receiver("/hears"), datagram(text));
        }
        let mut heard = Vec::new();
        let flushed = queue.flush(|to, waiting| {
            if *to == receiver("/deaf") {
                return Sent::NoRoom;
            }
            heard.extend_from_slice(&waiting.bytes);
            Sent::Now
        });
        assert_eq!((heard, flushed), (b"123".to_vec(), Flushed { sent: 3, failed: 0, bytes: 3 }));
        assert_eq!(queue.len(), 3);
        assert!(queue.has(&receiver("/deaf")) && !queue.has(&receiver("/hears")));
    }

    #[test]
    fn full_send_buffer_ends_the_flush_at_once() {
        let mut queue = SendQueue::default();
        for name in ["a", "b", "c"] {
            queue.push(&receiver(name), datagram("x"));
        }
        let mut tried = 0;
        queue.flush(|_, _| {
            tried += 1;
            Sent::NoRoomAtAll
        });
        assert_eq!((tried, queue.len()), (1, 3));
    }
}
