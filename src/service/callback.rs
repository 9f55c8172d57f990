//! What the engine gives each callback, and what a callback leaves behind: the data behind [`Outbox`](super::Outbox).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use super::effect::Effects;
use super::print_queue::PrintQueue;
use super::{ConnId, Peer, ServiceId};
use crate::endpoint::{Address, PackedAddress};
use crate::moment::Moment;
use crate::stats::Stats;

/// The service that a callback is made to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) id: ServiceId,
    pub(crate) name: &'a str,
}

/// The peer at hand, as far as an outbox needs to know it.
#[derive(Debug)]
pub(crate) struct Recipient<'a> {
    /// `None` if it has closed, or was never connected.
    pub(crate) peer: Option<Peer>,
    pub(crate) address: PeerAddress<'a>,
    pub(crate) tag: &'a mut u64,
    /// Unsent bytes for it that wait already.
    pub(crate) waiting: usize,
}

impl<'a> Recipient<'a> {
    /// A peer that has closed or was never connected. Its service can still read its address and its tag.
    pub(crate) fn gone(address: PeerAddress<'a>, tag: &'a mut u64) -> Self {
        Self { peer: None, address, tag, waiting: 0 }
    }
}

/// The address of a peer, as it is kept: a connection's is packed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PeerAddress<'a> {
    Whole(&'a Address),
    Packed(&'a PackedAddress),
}

impl PeerAddress<'_> {
    pub(crate) fn to_address(self) -> Address {
        match self {
            Self::Whole(address) => address.clone(),
            Self::Packed(address) => address.to_address(),
        }
    }
}

impl fmt::Display for PeerAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(address) => address.fmt(f),
            Self::Packed(address) => address.fmt(f),
        }
    }
}

/// What all callbacks of a turn share: the time and the counters.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) now: Moment,
    pub(crate) stats: Stats,
    pub(crate) unsent: Unsent,
}

/// What waits for room: the number of unsent bytes of each connection that has any, and the asking datagram sockets
/// that have unsent datagrams. Most have none.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    bytes: HashMap<ConnId, (ServiceId, usize)>,
    sockets: HashSet<u32>,
}

impl Unsent {
    /// Sets the number of unsent bytes of a connection.
    pub(crate) fn note(&mut self, id: ConnId, service: ServiceId, bytes: usize) {
        if bytes == 0 {
            self.bytes.remove(&id);
        } else {
            self.bytes.insert(id, (service, bytes));
        }
    }

    /// The number of unsent bytes of a connection.
    pub(super) fn of(&self, id: ConnId) -> usize {
        self.bytes.get(&id).map_or(0, |(_, bytes)| *bytes)
    }

    /// Notes whether datagrams of this asking socket wait.
    pub(crate) fn note_datagrams(&mut self, number: u32, wait: bool) {
        if wait {
            self.sockets.insert(number);
        } else {
            self.sockets.remove(&number);
        }
    }

    /// Whether datagrams of this asking socket wait.
    pub(super) fn has_datagrams(&self, number: u32) -> bool {
        self.sockets.contains(&number)
    }

    /// The number of unsent bytes of all connections of a service together.
    pub(crate) fn of_service(&self, service: ServiceId) -> usize {
        self.bytes.values().filter(|(of, _)| *of == service).map(|(_, bytes)| bytes).sum()
    }
}

/// What callbacks leave behind for the engine.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The replies of the last callback, cleared for the next one.
    pub(crate) replies: Vec<u8>,
    /// The effects that have not been carried out yet.
    pub(crate) effects: Effects,
    /// Text for the console, until the reactor takes it.
    pub(crate) printed: PrintQueue,
    pub(crate) lines: Lines,
}

/// Whether a service wants lines from the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lines {
    #[default]
    Wanted,
    /// Not for now.
    Paused,
    /// Not any more.
    Ignored,
}

/// What a callback has answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The part of the input that is sent back as it stands there.
    pub(super) in_place: Range<usize>,
    /// There is an answer, perhaps an empty one.
    pub(crate) is_given: bool,
    /// There was still room when the service returned: it left its input for another reason.
    pub(crate) has_room: bool,
}

impl Answer {
    /// The bytes to send: the part of `input` that is sent back, then the replies. In one piece, so that one call sends
    /// them; where either is empty, nothing is copied.
    #[inline(always)]
    pub(crate) fn join<'b>(&self, input: &'b [u8], replies: &'b mut Vec<u8>) -> &'b [u8] {
        let in_place = &input[self.in_place.clone()];
        if replies.is_empty() {
            return in_place;
        }
        if !in_place.is_empty() {
            replies.splice(0..0, in_place.iter().copied());
        }
        replies
    }
}
