//! The seam between decisions and sockets: [`Net`].
//!
//! The engine calls nothing else that touches the outside. In production the sockets are mio's (`reactor`); in tests
//! they are scripted, so that every order of events and every error can be played.

use std::io;
use std::net::IpAddr;

use crate::endpoint::Address;
use crate::service::ConnId;

/// Non-blocking, edge-triggered sockets. Errors are the kernel's, passed up unchanged.
pub trait Net {
    /// A connected stream. Dropping it closes it.
    type Stream;
    /// A listening socket. Dropping it closes it, which resets whoever waits in its queue.
    type Listener;
    /// A datagram socket. Dropping it closes it.
    type Datagram;

    /// Takes one connection from the queue (accept4(2)).
    fn accept(&mut self, listener: &mut Self::Listener) -> io::Result<(Self::Stream, Address)>;

    /// Begins to connect (connect(2)), from a certain local address if one is given; `established` tells the outcome.
    fn connect(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Self::Stream>;

    /// A datagram socket to ask from, connected (connect(2)) so that it hears of refusals.
    fn ask(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Self::Datagram>;

    /// Whether a dialled stream is connected by now; an error when it never will be.
    fn established(&mut self, stream: &mut Self::Stream) -> io::Result<bool>;

    /// Has events for this stream reported under `id` from now on.
    fn register_stream(&mut self, stream: &mut Self::Stream, id: ConnId) -> io::Result<()>;

    /// Has events for this listener reported under `number` from now on.
    fn register_listener(&mut self, listener: &mut Self::Listener, number: u32) -> io::Result<()>;

    /// Has events for this datagram socket reported under `number` from now on.
    fn register_datagram(&mut self, socket: &mut Self::Datagram, number: u32) -> io::Result<()>;

    /// Whether a read that returns less than was asked for has emptied the stream. So it is with TCP, unless a FIN,
    /// an error or an urgent mark is about; a Unix stream also ends a read at a boundary between two senders.
    fn short_read_drains(&self, stream: &Self::Stream) -> bool;

    /// Says whether output waits for this stream to become writable. Called at each change; a stream that reports
    /// writability anyway ignores it.
    fn arm_stream(&mut self, stream: &mut Self::Stream, id: ConnId, output_waits: bool) -> io::Result<()>;

    /// Receives into `buffer` (recv(2)); 0 is the end of the stream.
    fn recv(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends what the kernel takes of `bytes` (send(2)), never raising SIGPIPE.
    fn send(&mut self, stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize>;

    /// Sends a FIN behind what has been sent (shutdown(2)).
    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<()>;

    /// Receives as many datagrams as wait and as `batch` holds (recvmmsg(2)); whether more may wait. `WouldBlock` when
    /// there is none.
    fn receive(&mut self, socket: &mut Self::Datagram, batch: &mut Batch) -> io::Result<bool>;

    /// Sends one datagram (sendto(2)); `from` is the local address it leaves from, where the socket has several. A
    /// socket that asks sends to where it asks.
    fn send_to(
        &mut self,
        socket: &mut Self::Datagram,
        bytes: &[u8],
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()>;

    /// Says whether output waits for this socket to become writable. Called at each change.
    fn arm_datagram(&mut self, socket: &mut Self::Datagram, number: u32, output_waits: bool) -> io::Result<()>;

    /// Datagrams that the kernel has dropped so far for want of room in these sockets' receive buffers.
    fn kernel_drops<'a>(&self, sockets: impl Iterator<Item = &'a Self::Datagram>) -> u64
    where
        Self::Datagram: 'a;
}

/// The most datagrams that one receive takes.
pub(crate) const BATCH: usize = 32;

/// The room for one datagram. More than the largest, 65,507 bytes, so that none is ever cut.
const SLOT: usize = 65_536;

/// From one slot's beginning to the next: an odd number of cache lines, or the beginnings of all slots, which is all
/// that small datagrams use, would compete for one set of the cache.
const STRIDE: usize = SLOT + 64;

/// Room for datagrams, and what a receive put there. Pages never touched cost no memory.
#[derive(Debug)]
pub struct Batch {
    room: Box<[u8]>,
    arrivals: Vec<Arrival>,
}

/// One datagram of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its length in bytes.
    pub length: usize,
    /// Who sent it.
    pub source: Address,
    /// The local address that its answer leaves from, where the socket has several.
    pub local: Option<LocalAddress>,
    /// Whether it was sent to a broadcast address or a multicast group, as far as the kernel tells.
    pub to_many: bool,
}

/// An address of this machine that a datagram leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address; where it is unspecified the kernel picks one of the interface's.
    pub ip: IpAddr,
    /// The index of the interface (if_nametoindex(3)) that the datagram leaves through; 0 leaves that to the routing
    /// table. A link-local address has no meaning without its interface.
    pub interface: u32,
}

impl From<IpAddr> for LocalAddress {
    fn from(ip: IpAddr) -> Self {
        Self { ip, interface: 0 }
    }
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { room: vec![0; BATCH * STRIDE].into(), arrivals: Vec::with_capacity(BATCH) }
    }

    /// The slots to receive into, in order, each larger than any datagram; and where to note what arrived in them.
    pub fn split(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut Vec<Arrival>) {
        (self.room.chunks_exact_mut(STRIDE).map(|chunk| &mut chunk[..SLOT]), &mut self.arrivals)
    }

    pub(super) fn len(&self) -> usize {
        self.arrivals.len()
    }

    pub(super) fn clear(&mut self) {
        self.arrivals.clear();
    }

    pub(super) fn datagram(&mut self, index: usize) -> (&Arrival, &mut [u8]) {
        let arrival = &self.arrivals[index];
        let start = index * STRIDE;
        (arrival, &mut self.room[start..start + arrival.length])
    }
}
