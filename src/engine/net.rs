//! [`Net`]: the seam between the engine's decisions and the sockets.
//!
//! The engine calls nothing else that touches the outside. In production `reactor` implements it with mio's sockets; in
//! tests the sockets are scripted, so that any order of events and any error can be played.

use std::io;
use std::net::IpAddr;

use crate::endpoint::Address;
use crate::service::ConnId;

/// Non-blocking sockets whose events are edge-triggered (EPOLLET, epoll(7)).
///
/// Errors are the kernel's, passed on unchanged; `WouldBlock` and `Interrupted` are among them. No method waits.
pub trait Net {
    /// A connected stream. Dropping it closes it.
    type Stream;
    /// A listening socket. Dropping it closes it, which resets the connections in its queue.
    type Listener;
    /// A datagram socket. Dropping it closes it.
    type Datagram;

    /// Takes one connection from the queue (accept4(2)). Returns the stream and its peer's address.
    fn accept(&mut self, listener: &mut Self::Listener) -> io::Result<(Self::Stream, Address)>;

    /// The number of connections in the listener's queue (TCP_INFO, tcp(7)); `None` where the kernel does not tell.
    fn waiting(&mut self, listener: &mut Self::Listener) -> Option<usize>;

    /// Whether the peer's kernel has acknowledged all that was sent, so that a close loses none of it.
    fn is_acknowledged(&mut self, stream: &mut Self::Stream) -> bool;

    /// Begins to connect a stream (connect(2)), from the local address `from` if one is given.
    /// [`established`](Self::established) tells the outcome.
    fn connect(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Self::Stream>;

    /// Opens a datagram socket to ask from. It is connected (connect(2)): an unconnected one would not be told of
    /// ICMP errors (udp(7)).
    fn ask(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Self::Datagram>;

    /// Returns whether a dialled stream is connected by now. Fails when it never will be.
    ///
    /// An event says at most that it is time to ask: SO_ERROR has the failure, getpeername(2) the success. A stream
    /// whose peer is its own local address is connected to itself, and has failed.
    fn established(&mut self, stream: &mut Self::Stream) -> io::Result<bool>;

    /// Reports this stream's events under `id` from now on. A TCP stream is registered once, for everything, and never
    /// again: an epoll_ctl(2) for each answer costs 8 to 16 % of the CPU.
    fn register_stream(&mut self, stream: &mut Self::Stream, id: ConnId) -> io::Result<()>;

    /// Reports this listener's events under `number` from now on.
    fn register_listener(&mut self, listener: &mut Self::Listener, number: u32) -> io::Result<()>;

    /// Reports this datagram socket's events under `number` from now on.
    fn register_datagram(&mut self, socket: &mut Self::Datagram, number: u32) -> io::Result<()>;

    /// Whether a read that returns less than was asked for has emptied this stream.
    ///
    /// True of TCP (the engine itself sees to FIN, errors and urgent data, which may share an edge with data). Not true
    /// of Unix streams: a read also stops at ancillary data and between the bytes of two senders (unix(7)).
    fn short_read_drains(&self, stream: &Self::Stream) -> bool;

    /// Says whether output waits for this stream to become writable. Called at each change.
    ///
    /// A TCP stream reports writability anyway and ignores it. A Unix stream would become writable anew at each read of
    /// its peer: watched all the time, it would wake the loop twice for each answer.
    fn arm_stream(&mut self, stream: &mut Self::Stream, id: ConnId, output_waits: bool) -> io::Result<()>;

    /// Receives into `buffer` (recv(2)). Returns the number of bytes; 0 is the end of the stream.
    fn recv(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;

    /// Returns how many bytes could be received now, without receiving any (recv(2), MSG_PEEK). 0 is the end of the
    /// stream; fails with `WouldBlock` when nothing waits.
    fn arrived(&mut self, stream: &mut Self::Stream) -> io::Result<usize>;

    /// Sends as much of `bytes` as the kernel takes (send(2), MSG_NOSIGNAL). Returns the number of bytes.
    fn send(&mut self, stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize>;

    /// Sends a FIN behind what has been sent (shutdown(2), SHUT_WR).
    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<()>;

    /// Receives waiting datagrams into `batch`, as many as it holds (recvmmsg(2)). Returns whether more may wait; fails
    /// with `WouldBlock` when there is none.
    fn receive(&mut self, socket: &mut Self::Datagram, batch: &mut Batch) -> io::Result<bool>;

    /// Sends one datagram (sendto(2)), from the local address `from` where the socket has several. An asking socket
    /// sends to the far side that it is connected to, whatever `to` says.
    fn send_to(
        &mut self,
        socket: &mut Self::Datagram,
        bytes: &[u8],
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()>;

    /// Sends `bytes` as datagrams of `segment` bytes each, of which the last may be shorter, in one call (UDP_SEGMENT,
    /// udp(7)): all of them or none. Fails with `Unsupported` where this socket cannot, and otherwise as
    /// [`send_to`](Self::send_to) does; then they may be sent one by one.
    fn send_run(
        &mut self,
        socket: &mut Self::Datagram,
        bytes: &[u8],
        segment: usize,
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()>;

    /// Says whether output waits for this socket to become writable. Called at each change: watched for that all the
    /// time, each datagram sent would raise an edge.
    fn arm_datagram(&mut self, socket: &mut Self::Datagram, number: u32, output_waits: bool) -> io::Result<()>;

    /// The number of datagrams that the kernel has dropped so far because these sockets' receive buffers were full.
    fn kernel_drops<'a>(&self, sockets: impl Iterator<Item = &'a Self::Datagram>) -> u64
    where
        Self::Datagram: 'a;
}

/// Datagrams that one receive returns at most.
pub(crate) const BATCH: usize = 32;

/// Bytes of a slot, which holds one datagram. The largest has 65,507 (IPv4) or 65,527 (IPv6): none is ever cut.
const SLOT: usize = 65_536;

/// Bytes from the beginning of one slot to the next: an odd number of cache lines. With an even one, the beginnings of
/// all slots (all that small datagrams use) would compete for the same sets of the CPU's cache.
const STRIDE: usize = SLOT + 64;

/// Slots for datagrams, and what the last receive put there. Pages of a slot that were never written cost no memory.
#[derive(Debug)]
pub struct Batch {
    slots: Box<[u8]>,
    arrivals: Vec<Arrival>,
}

/// One datagram of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its length in bytes.
    pub length: usize,
    /// The sender's address.
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
        Self { slots: vec![0; BATCH * STRIDE].into(), arrivals: Vec::with_capacity(BATCH) }
    }

    /// The slots to receive into, in order, each larger than any datagram, and the list that gets an entry for each
    /// datagram in them.
    pub fn split(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut Vec<Arrival>) {
        (self.slots.chunks_exact_mut(STRIDE).map(|chunk| &mut chunk[..SLOT]), &mut self.arrivals)
    }

    pub(crate) fn len(&self) -> usize {
        self.arrivals.len()
    }

    pub(super) fn clear(&mut self) {
        self.arrivals.clear();
    }

    /// Whether the datagram behind this one came the same way, so that the answers to both may.
    pub(super) fn is_followed(&self, index: usize) -> bool {
        let arrival = &self.arrivals[index];
        self.arrivals.get(index + 1).is_some_and(|next| next.source == arrival.source && next.local == arrival.local)
    }

    pub(super) fn datagram(&mut self, index: usize) -> (&Arrival, &mut [u8]) {
        let arrival = &self.arrivals[index];
        let start = index * STRIDE;
        (arrival, &mut self.slots[start..start + arrival.length])
    }
}
