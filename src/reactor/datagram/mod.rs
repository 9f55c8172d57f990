//! Datagram sockets: UDP bound to one address, UDP bound to all of them, Unix.
//!
//! One address: recvmmsg(2), a batch in one call. All addresses: recvmsg(2) one by one with packet info (ip(7),
//! ipv6(7)), because the answer has to leave from the address that was asked, and because nix's headers for recvmmsg
//! do not reset the length of control data. (They do not reset that of addresses either, hence one set for each
//! family.) sendmmsg(2) with one header that lives on: nix's sendmsg would allocate for each control message.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind::WouldBlock, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use mio::event::Source;
use mio::net::{UdpSocket, UnixDatagram};
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike,
    SockaddrStorage, UnixAddr, recvmmsg, recvmsg, sendmmsg, setsockopt, sockopt,
};
use socket2::{Domain, Socket, Type};

use crate::endpoint::Address;
use crate::engine::{Arrival, BATCH, Batch};
use crate::reactor::options::{ListenOptions, bind_without_port, dual_stack};
use crate::reactor::socket_file::{self, Refusal, SocketFile};

/// What to ask for as receive buffer, in bytes: the default holds about 256 small datagrams. net.core.rmem_max caps it.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A datagram socket. (A Unix one removes its file when dropped.)
#[derive(Debug)]
pub(super) enum Datagram {
    /// udp(7), bound to one address.
    Specific {
        /// The socket.
        socket: UdpSocket,
        /// Its family.
        is_ipv4: bool,
    },
    /// udp(7), connected to where it asks.
    Asking {
        /// The socket.
        socket: UdpSocket,
        /// Its family.
        is_ipv4: bool,
    },
    /// udp(7), bound to all addresses.
    Wildcard(UdpSocket),
    /// unix(7)
    Unix(UnixDatagram, Option<SocketFile>),
}

/// A UDP socket. No SO_REUSEADDR: a second server on the port would steal datagrams unnoticed.
pub(super) fn udp(address: SocketAddr, options: &ListenOptions) -> io::Result<(Datagram, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    options.share_port(&socket)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    dual_stack(&socket, address)?;
    let is_wildcard = address.ip().is_unspecified();
    if is_wildcard && address.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    } else if is_wildcard {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into());
    let local = socket.local_addr()?;
    Ok((
        if is_wildcard { Datagram::Wildcard(socket) } else { Datagram::Specific { socket, is_ipv4: local.is_ipv4() } },
        local,
    ))
}

/// A Unix datagram socket.
pub(super) fn unix(path: &Path) -> Result<Datagram, Refusal> {
    let (socket, file) = socket_file::bind(path, Type::DGRAM)?;
    Ok(Datagram::Unix(UnixDatagram::from_std(socket.into()), Some(file)))
}

/// A socket to ask from: connected, so that it hears of refusals, and no answers but from there. A Unix one needs a
/// name to be answered at; the kernel gives it an abstract one (unix(7): autobind).
pub(super) fn asking(to: &Address, from: Option<IpAddr>) -> io::Result<Datagram> {
    match to {
        Address::Ip(to) => {
            let socket = Socket::new(Domain::for_address(*to), Type::DGRAM.nonblocking(), None)?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
            if let Some(from) = from {
                bind_without_port(&socket, from)?;
            }
            socket.connect(&(*to).into())?;
            let socket = UdpSocket::from_std(socket.into());
            Ok(Datagram::Asking { socket, is_ipv4: to.is_ipv4() })
        }
        Address::Unix(Some(path)) => {
            let socket = UnixDatagram::unbound()?;
            nix::sys::socket::bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
            socket.connect(path)?;
            Ok(Datagram::Unix(socket, None))
        }
        Address::Unix(None) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl Datagram {
    /// What epoll(7) watches.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Specific { socket, .. } | Self::Asking { socket, .. } | Self::Wildcard(socket) => socket,
            Self::Unix(socket, _) => socket,
        }
    }

    fn raw_fd(&self) -> RawFd {
        match self {
            Self::Specific { socket, .. } | Self::Asking { socket, .. } | Self::Wildcard(socket) => socket.as_raw_fd(),
            Self::Unix(socket, _) => socket.as_raw_fd(),
        }
    }
}

/// Datagrams dropped for want of room, as /proc/net/udp tells (proc_net(5)); 0 where it does not.
pub(super) fn kernel_drops<'a>(sockets: impl Iterator<Item = &'a Datagram>) -> u64 {
    let is_udp = |socket: &&Datagram| !matches!(socket, Datagram::Unix(..));
    let mut inodes: Vec<u64> = sockets.filter(is_udp).filter_map(|socket| inode_of(socket.raw_fd())).collect();
    if inodes.is_empty() {
        return 0;
    }
    inodes.sort_unstable();
    let drops_in = |table: &str| -> u64 {
        let table = fs::read_to_string(table).unwrap_or_default();
        let ours = table.lines().filter_map(|line| {
            // sl local remote st queues timer retransmits uid timeout inode ref pointer drops
            let mut fields = line.split_whitespace().skip(9);
            let inode = fields.next()?.parse().ok()?;
            inodes.binary_search(&inode).is_ok().then(|| fields.nth(2)?.parse::<u64>().ok())?
        });
        ours.sum()
    };
    ["/proc/net/udp", "/proc/net/udp6"].into_iter().map(drops_in).sum()
}

/// The number by which a socket goes in such a table.
fn inode_of(fd: RawFd) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// What the calls need beside the socket, allocated once.
pub(super) struct Headers {
    receive_v4: MultiHeaders<SockaddrIn>,
    receive_v6: MultiHeaders<SockaddrIn6>,
    send_v4: MultiHeaders<SockaddrIn>,
    send_v6: MultiHeaders<SockaddrIn6>,
    control: Vec<u8>,
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers")
    }
}

impl Headers {
    pub(super) fn new() -> Self {
        Self {
            receive_v4: MultiHeaders::preallocate(BATCH, None),
            receive_v6: MultiHeaders::preallocate(BATCH, None),
            send_v4: MultiHeaders::preallocate(1, Some(nix::cmsg_space!(libc::in_pktinfo))),
            send_v6: MultiHeaders::preallocate(1, Some(nix::cmsg_space!(libc::in6_pktinfo))),
            control: vec![0; nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo).capacity()],
        }
    }

    pub(super) fn receive(&mut self, socket: &mut Datagram, batch: &mut Batch) -> io::Result<bool> {
        match socket {
            Datagram::Specific { socket, is_ipv4: true } | Datagram::Asking { socket, is_ipv4: true } => {
                receive_batch(socket.as_raw_fd(), &mut self.receive_v4, batch, |v4| SocketAddr::V4(v4.into()))
            }
            Datagram::Specific { socket, is_ipv4: false } | Datagram::Asking { socket, is_ipv4: false } => {
                receive_batch(socket.as_raw_fd(), &mut self.receive_v6, batch, |v6| SocketAddr::V6(v6.into()))
            }
            Datagram::Wildcard(socket) => {
                one_by_one(batch, |slot| receive_with_info(socket.as_raw_fd(), &mut self.control, slot))
            }
            // One that asks hears from nobody else.
            Datagram::Unix(socket, None) => {
                let source = Address::Unix(None);
                one_by_one(batch, |slot| {
                    Ok(Arrival { length: socket.recv(slot)?, source: source.clone(), local: None })
                })
            }
            Datagram::Unix(socket, Some(_)) => one_by_one(batch, |slot| {
                let (length, source) = socket.recv_from(slot)?;
                Ok(Arrival { length, source: unix_address(&source), local: None })
            }),
        }
    }

    pub(super) fn send_to(
        &mut self,
        socket: &mut Datagram,
        bytes: &[u8],
        to: &Address,
        from: Option<IpAddr>,
    ) -> io::Result<()> {
        match (socket, to) {
            (Datagram::Asking { socket, .. }, _) => socket.send(bytes).map(drop),
            (Datagram::Specific { socket, .. }, Address::Ip(to)) => socket.send_to(bytes, *to).map(drop),
            (Datagram::Wildcard(socket), Address::Ip(to)) => match (to, from) {
                (SocketAddr::V4(to), Some(IpAddr::V4(from))) => {
                    let info =
                        libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: in_addr(from), ipi_addr: in_addr(from) };
                    send_one(
                        socket.as_raw_fd(),
                        &mut self.send_v4,
                        bytes,
                        (*to).into(),
                        ControlMessage::Ipv4PacketInfo(&info),
                    )
                }
                (SocketAddr::V6(to), Some(IpAddr::V6(from))) => {
                    let info =
                        libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
                    send_one(
                        socket.as_raw_fd(),
                        &mut self.send_v6,
                        bytes,
                        (*to).into(),
                        ControlMessage::Ipv6PacketInfo(&info),
                    )
                }
                _ => socket.send_to(bytes, *to).map(drop),
            },
            (Datagram::Unix(socket, None), _) => socket.send(bytes).map(drop),
            (Datagram::Unix(socket, Some(_)), Address::Unix(Some(path))) => send_unix(socket, bytes, path),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// Receives a batch in one call; a batch that is not full has emptied the socket.
fn receive_batch<A: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<A>,
    batch: &mut Batch,
    address: impl Fn(A) -> SocketAddr,
) -> io::Result<bool> {
    let (mut slots, arrivals) = batch.split();
    let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
    let received = recvmmsg(fd, headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    arrivals.extend(received.filter_map(|message| {
        Some(Arrival { length: message.bytes, source: Address::Ip(address(message.address?)), local: None })
    }));
    Ok(arrivals.len() == BATCH)
}

/// Receives until nothing waits or the batch is full. What has arrived before an error is kept.
fn one_by_one(batch: &mut Batch, mut receive: impl FnMut(&mut [u8]) -> io::Result<Arrival>) -> io::Result<bool> {
    let (slots, arrivals) = batch.split();
    for slot in slots {
        match receive(slot) {
            Ok(arrival) => arrivals.push(arrival),
            Err(error) if arrivals.is_empty() => return Err(error),
            Err(error) => return Ok(error.kind() != WouldBlock),
        }
    }
    Ok(true)
}

fn receive_with_info(fd: RawFd, control: &mut [u8], slot: &mut [u8]) -> io::Result<Arrival> {
    let mut slices = [IoSliceMut::new(slot)];
    let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let source = message.address.as_ref().and_then(|source| {
        let v4 = source.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| source.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
    });
    let local = message.cmsgs()?.find_map(|info| match info {
        // The address to answer from, which for a broadcast is not the one it was sent to.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr))),
        _ => None,
    });
    let source = source.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Arrival { length: message.bytes, source: Address::Ip(source), local })
}

fn send_one<A: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<A>,
    bytes: &[u8],
    to: A,
    info: ControlMessage<'_>,
) -> io::Result<()> {
    sendmmsg(fd, headers, &[[IoSlice::new(bytes)]], [Some(to)], [info], MsgFlags::empty())?;
    Ok(())
}

fn send_unix(socket: &UnixDatagram, bytes: &[u8], path: &Path) -> io::Result<()> {
    match path.as_os_str().as_encoded_bytes() {
        [0, name @ ..] => {
            let to = UnixAddr::new_abstract(name)?;
            nix::sys::socket::sendto(socket.as_raw_fd(), bytes, &to, MsgFlags::empty())?;
            Ok(())
        }
        _ => socket.send_to(bytes, path).map(drop),
    }
}

fn unix_address(address: &std::os::unix::net::SocketAddr) -> Address {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStringExt;
    let abstract_path = || {
        let name = [&[0], address.as_abstract_name()?].concat();
        Some(std::ffi::OsString::from_vec(name).into())
    };
    Address::Unix(
        address.as_pathname().map(Path::to_owned).or_else(abstract_path).map(std::path::PathBuf::into_boxed_path),
    )
}

fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(ip).to_be() }
}
