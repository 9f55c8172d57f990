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
use crate::reactor::options::{ListenOptions, bind_without_port, dual_stack};
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
    pub(super) fn udp(
        address: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<(Vec<(Self, SocketAddr)>, SocketAddr)> {
        let socket = serving(address, options)?;
        dual_stack(&socket, address)?;
        let reach = if address.ip().is_unspecified() { Reach::Wildcard } else { Reach::Specific };
        if reach == Reach::Wildcard {
            // Before bind(2): what arrives between the two calls would come without it.
            ask_for_local_address(&socket, address)?;
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into());
        let local = socket.local_addr()?;
        let beside = if reach == Reach::Wildcard { beside::open(&socket, local, options) } else { Vec::new() };
        let mut sockets = vec![(Self::new(Family::of(socket, local), reach), local)];
        sockets.extend(beside);
        Ok((sockets, local))
    }

    fn new(family: Family, reach: Reach) -> Self {
        Self { _file: None, family, reach, last_batch: 0 }
    }

    /// A Unix socket that serves at a path.
    pub(super) fn unix(path: &Path, options: &ListenOptions) -> Result<Self, Refusal> {
        let (file, socket) = SocketFile::bind(path, Type::DGRAM, options.unix_mode)?;
        let socket = UnixDatagram::from_std(socket.into());
        Ok(Self { _file: Some(file), ..Self::new(Family::Unix(socket), Reach::Specific) })
    }

    /// A socket to ask from.
    pub(super) fn connected(to: &Address, from: Option<IpAddr>) -> io::Result<Self> {
        let family = match to {
            Address::Ip(to) => {
                let socket = Socket::new(Domain::for_address(*to), Type::DGRAM.nonblocking(), None)?;
                socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
                if let Some(from) = from {
                    bind_without_port(&socket, from)?;
                }
                socket.connect(&(*to).into())?;
                Family::of(UdpSocket::from_std(socket.into()), *to)
            }
            Address::Unix(Some(path)) => {
                let socket = UnixDatagram::unbound()?;
                // It needs a name to be answered at: the kernel picks an abstract one (unix(7), autobind).
                nix::sys::socket::bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
                socket.connect(path)?;
                Family::Unix(socket)
            }
            Address::Unix(None) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(Self::new(family, Reach::Connected))
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

    fn raw_fd(&self) -> RawFd {
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
fn serving(address: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    options.share_port(&socket)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    Ok(socket)
}

/// Has each datagram come with the local address that it was sent to (IP_PKTINFO, ip(7); IPV6_RECVPKTINFO, ipv6(7)).
fn ask_for_local_address(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    // On a dual-stack socket, too: for IPv4, IPV6_RECVPKTINFO tells only the address that was asked. Where that is a
    // broadcast address, an answer cannot leave from it.
    setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
    if address.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    Ok(())
}
