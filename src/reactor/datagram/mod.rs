//! Datagram sockets, UDP and Unix: how they are made, and how they send and receive.
//!
//! - `calls`: sending and receiving, in one way for each kind of socket
//! - `outgoing`: messages that leave with control data
//! - `beside`: the sockets beside one that is bound to all addresses
//! - `drops`: what the kernel dropped
//!
//! Which datagrams are answered, and what waits for room, is the engine's to decide.

mod beside;
mod calls;
mod drops;
mod outgoing;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use mio::event::Source;
use mio::net::{UdpSocket, UnixDatagram};
use nix::sys::socket::{UnixAddr, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::endpoint::Address;
use crate::reactor::calls::{Call, Calls, Held, told};
use crate::reactor::options::{self, ListenOptions, bind_without_port, dual_stack, told_set};
use crate::reactor::socket_file::{Refusal, SocketFile};

pub(super) use calls::{receive, send_run, send_to};
pub(super) use drops::kernel_drops;

/// What to ask for as receive buffer, in bytes: the default holds about 256 small datagrams. net.core.rmem_max caps it.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A datagram socket.
#[derive(Debug)]
pub(super) struct Datagram {
    /// Of a Unix socket that is bound to a path. Declared, and so dropped, before the socket.
    _file: Option<SocketFile>,
    family: Family,
    reach: Reach,
    /// How many datagrams the last receive brought.
    last_batch: usize,
}

/// Sockets that serve, with their addresses.
type Bound<C> = Vec<(Held<Datagram, C>, SocketAddr)>;

#[derive(Debug)]
enum Family {
    /// udp(7) over ip(7)
    Ipv4(UdpSocket),
    /// udp(7) over ipv6(7)
    Ipv6(UdpSocket),
    /// unix(7)
    Unix(UnixDatagram),
}

/// How much of the network a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Bound to one address.
    Specific,
    /// Bound to all addresses of the machine: each datagram comes with the one that it was sent to, and its answer has
    /// to leave from there.
    Wildcard,
    /// Connected: it sends to one place, receives from there only, and hears of refusals (udp(7): ECONNREFUSED).
    Connected,
}

impl Datagram {
    /// A UDP socket that serves at an address; port 0 lets the kernel pick one. SO_REUSEADDR stays off: two servers
    /// that both set it may bind the same port, and the second takes the datagrams of the first unnoticed.
    ///
    /// Returns it with its address, and behind it those [beside](beside::open) it, if it is bound to all addresses.
    pub(super) fn udp<C: Calls>(
        address: SocketAddr,
        options: &ListenOptions,
        calls: &C,
    ) -> io::Result<(Bound<C>, SocketAddr)> {
        let socket = serving(address, options, calls)?;
        dual_stack(&socket, address, calls)?;
        let reach = if address.ip().is_unspecified() { Reach::Wildcard } else { Reach::Specific };
        if reach == Reach::Wildcard {
            // Before bind(2): what arrives between the two calls would come without it.
            ask_for_local_address(&socket, address, calls)?;
        }
        options::bind(&socket, address, calls)?;
        let socket = socket.map(|socket| UdpSocket::from_std(socket.into()));
        let local = socket.local_addr();
        let name = local.as_ref().ok().copied().map(Address::Ip);
        let local = told(calls, &Call::SocketName { fd: socket.as_raw_fd(), address: name.as_ref() }, local)?;
        let beside = if reach == Reach::Wildcard { beside::open(&socket, local, options, calls) } else { Vec::new() };
        let mut sockets = vec![(socket.map(|socket| Self::new(Family::of(socket, local), reach)), local)];
        sockets.extend(beside);
        Ok((sockets, local))
    }

    fn new(family: Family, reach: Reach) -> Self {
        Self { _file: None, family, reach, last_batch: 0 }
    }

    /// A Unix socket that serves at a path.
    pub(super) fn unix<C: Calls>(path: &Path, options: &ListenOptions, calls: &C) -> Result<Held<Self, C>, Refusal> {
        let (file, socket) = SocketFile::bind(path, Type::DGRAM, options.unix_mode, calls)?;
        Ok(socket.map(|socket| {
            let socket = UnixDatagram::from_std(socket.into());
            Self { _file: Some(file), ..Self::new(Family::Unix(socket), Reach::Specific) }
        }))
    }

    /// A socket to ask from.
    pub(super) fn connected<C: Calls>(to: &Address, from: Option<IpAddr>, calls: &C) -> io::Result<Held<Self, C>> {
        let family = match to {
            Address::Ip(ip) => {
                let socket = options::open(Domain::for_address(*ip), Type::DGRAM, calls)?;
                make_room(&socket, calls)?;
                if let Some(from) = from {
                    bind_without_port(&socket, from, calls)?;
                }
                told(calls, &Call::Connect { fd: socket.as_raw_fd(), to }, socket.connect(&(*ip).into()))?;
                socket.map(|socket| Family::of(UdpSocket::from_std(socket.into()), *ip))
            }
            Address::Unix(Some(path)) => {
                let socket = options::open(Domain::UNIX, Type::DGRAM, calls)?;
                let socket = socket.map(|socket| UnixDatagram::from_std(socket.into()));
                let fd = socket.as_raw_fd();
                // It needs a name to be answered at: the kernel picks an abstract one (unix(7), autobind).
                let bound = nix::sys::socket::bind(fd, &UnixAddr::new_unnamed()).map_err(Into::into);
                told(calls, &Call::Bind { fd, to: &Address::Unix(None) }, bound)?;
                told(calls, &Call::Connect { fd, to }, socket.connect(path))?;
                socket.map(Family::Unix)
            }
            Address::Unix(None) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(family.map(|family| Self::new(family, Reach::Connected)))
    }

    /// What epoll(7) watches.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match &mut self.family {
            Family::Ipv4(socket) | Family::Ipv6(socket) => socket,
            Family::Unix(socket) => socket,
        }
    }

    fn is_udp(&self) -> bool {
        matches!(self.family, Family::Ipv4(_) | Family::Ipv6(_))
    }
}

impl AsRawFd for Datagram {
    fn as_raw_fd(&self) -> RawFd {
        match &self.family {
            Family::Ipv4(socket) | Family::Ipv6(socket) => socket.as_raw_fd(),
            Family::Unix(socket) => socket.as_raw_fd(),
        }
    }
}

impl AsFd for Datagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.family {
            Family::Ipv4(socket) | Family::Ipv6(socket) => socket.as_fd(),
            Family::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Family {
    /// Of a UDP socket with such an address.
    fn of(socket: UdpSocket, address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4(socket) } else { Self::Ipv6(socket) }
    }
}

/// A UDP socket to serve at this address, not bound yet.
fn serving<C: Calls>(address: SocketAddr, options: &ListenOptions, calls: &C) -> io::Result<Held<Socket, C>> {
    let socket = options::open(Domain::for_address(address), Type::DGRAM, calls)?;
    options.share_port(&socket, calls)?;
    make_room(&socket, calls)?;
    Ok(socket)
}

/// Has the kernel keep more of what arrives until it is received (SO_RCVBUF, socket(7)).
fn make_room(socket: &Socket, calls: &impl Calls) -> io::Result<()> {
    let result = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    told_set(calls, socket, "SO_RCVBUF", RECEIVE_BUFFER as i64, result)
}

/// Has each datagram come with the local address that it was sent to (IP_PKTINFO, ip(7); IPV6_RECVPKTINFO, ipv6(7)).
fn ask_for_local_address(socket: &Socket, address: SocketAddr, calls: &impl Calls) -> io::Result<()> {
    // On a dual-stack socket, too: for IPv4, IPV6_RECVPKTINFO tells only the address that was asked. Where that is a
    // broadcast address, an answer cannot leave from it.
    let result = setsockopt(socket, sockopt::Ipv4PacketInfo, &true).map_err(Into::into);
    told_set(calls, socket, "IP_PKTINFO", 1, result)?;
    if address.is_ipv6() {
        let result = setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true).map_err(Into::into);
        told_set(calls, socket, "IPV6_RECVPKTINFO", 1, result)?;
    }
    Ok(())
}
