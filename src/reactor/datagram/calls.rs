//! The calls that receive and send datagrams.
//!
//! | socket | receives | sends |
//! |---|---|---|
//! | UDP, one address | recvmmsg(2), a batch in one call | sendto(2); a run: sendmmsg(2) with UDP_SEGMENT |
//! | UDP, all addresses | recvmsg(2) one by one, with packet info | sendmmsg(2), with packet info; a run: and UDP_SEGMENT |
//! | UDP, connected | recvmmsg(2) | send(2); a run: sendmmsg(2) with UDP_SEGMENT |
//! | Unix | recvfrom(2) one by one | sendto(2) |
//! | Unix, connected | recv(2) one by one | send(2) |
//!
//! Packet info (ip(7), ipv6(7)) is there because an answer has to leave from the address that was asked. It is why a
//! socket bound to all addresses does not receive in batches: nix's headers for recvmmsg do not reset the length of
//! control data, so that from the second batch on it may be cut. They do not reset that of addresses either: hence a
//! set of headers for each family. The calls that send with control data are in `outgoing`.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, ErrorKind::WouldBlock, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use mio::net::UnixDatagram;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, UnixAddr,
    recvmmsg, recvmsg,
};

use super::outgoing::Outgoing;
use super::{Datagram, Family, Reach};
use crate::endpoint::Address;
use crate::engine::{Arrival, BATCH, Batch, LocalAddress};
use crate::reactor::calls::{Call, Calls};

/// A receive that brought fewer datagrams than this is followed by one that prepares room for this many only. To prepare
/// a whole batch takes half as long as to answer a datagram.
const FEW: usize = 4;

thread_local! {
    /// Scratch of single calls, and so one set for each thread that runs a reactor. A field of the reactor would keep
    /// that from being `Send`: nix's headers hold raw pointers.
    static HEADERS: RefCell<Headers> = RefCell::new(Headers::new());
}

/// Receives a batch; whether more may wait.
pub(in crate::reactor) fn receive(socket: &mut Datagram, batch: &mut Batch, calls: &impl Calls) -> io::Result<bool> {
    HEADERS.with_borrow_mut(|headers| headers.receive(socket, batch, calls))
}

/// Sends one datagram, from a certain local address if one is given. A connected socket sends to where it is connected.
pub(in crate::reactor) fn send_to<C: Calls>(
    socket: &Datagram,
    bytes: &[u8],
    to: &Address,
    from: Option<LocalAddress>,
    calls: &C,
) -> io::Result<()> {
    if !C::TELLS {
        return send_one(socket, bytes, to, from);
    }
    let fd = socket.as_raw_fd();
    let name = match (&socket.family, socket.reach) {
        (Family::Unix(_), Reach::Connected) => "write",
        _ if from.is_some() => "sendmmsg",
        _ => "sendto",
    };
    let call = Call::Send { name, fd, bytes, to: (socket.reach != Reach::Connected).then_some(to), segment: None };
    told_sent(calls, &call, send_one(socket, bytes, to, from))
}

/// Tells of a call that sent datagrams: sendto(2) returns the number of bytes, sendmmsg(2) that of messages, here 1.
#[inline(always)]
pub(super) fn told_sent(calls: &impl Calls, call: &Call<'_>, result: io::Result<()>) -> io::Result<()> {
    let Call::Send { name, bytes, .. } = call else { return result };
    let count = if *name == "sendmmsg" { 1 } else { bytes.len() };
    calls.made(call, result.as_ref().map(|()| count));
    result
}

fn send_one(socket: &Datagram, bytes: &[u8], to: &Address, from: Option<LocalAddress>) -> io::Result<()> {
    if socket.reach == Reach::Connected {
        return send_connected(&socket.family, bytes);
    }
    match (&socket.family, to) {
        (Family::Ipv4(socket) | Family::Ipv6(socket), Address::Ip(to)) => match from {
            None => socket.send_to(bytes, *to).map(drop),
            Some(from) => HEADERS.with_borrow_mut(|headers| headers.outgoing.send_from(socket, bytes, *to, from)),
        },
        (Family::Unix(socket), Address::Unix(Some(path))) => send_unix(socket, bytes, path),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Sends `bytes` as datagrams of `segment` bytes each, the last one perhaps shorter: all of them or none.
pub(in crate::reactor) fn send_run(
    socket: &Datagram,
    bytes: &[u8],
    segment: usize,
    to: &Address,
    from: Option<LocalAddress>,
    calls: &impl Calls,
) -> io::Result<()> {
    let (Family::Ipv4(udp) | Family::Ipv6(udp), Address::Ip(to)) = (&socket.family, to) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let segment = u16::try_from(segment).map_err(|_| io::ErrorKind::InvalidInput)?;
    let to = (socket.reach != Reach::Connected).then_some(*to);
    HEADERS.with_borrow_mut(|headers| headers.outgoing.send_run(udp, bytes, segment, to, from, calls))
}

/// What the calls need beside the socket, allocated once for all sockets.
struct Headers {
    receive_v4: MultiHeaders<SockaddrIn>,
    receive_v6: MultiHeaders<SockaddrIn6>,
    outgoing: Outgoing,
    control: Vec<u8>,
}

impl Headers {
    fn new() -> Self {
        Self {
            receive_v4: MultiHeaders::preallocate(BATCH, None),
            receive_v6: MultiHeaders::preallocate(BATCH, None),
            outgoing: Outgoing::new(),
            control: vec![0; nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo).capacity()],
        }
    }

    fn receive(&mut self, socket: &mut Datagram, batch: &mut Batch, calls: &impl Calls) -> io::Result<bool> {
        let fd = socket.as_raw_fd();
        let last = &mut socket.last_batch;
        match (&socket.family, socket.reach) {
            (Family::Ipv4(_) | Family::Ipv6(_), Reach::Wildcard) => one_by_one(
                batch,
                told_each(calls, "recvmsg", fd, |slot| receive_with_info(fd, &mut self.control, slot)),
            ),
            (Family::Ipv4(_), _) => {
                receive_batch(fd, &mut self.receive_v4, last, batch, calls, |v4| SocketAddr::V4(v4.into()))
            }
            (Family::Ipv6(_), _) => {
                receive_batch(fd, &mut self.receive_v6, last, batch, calls, |v6| SocketAddr::V6(v6.into()))
            }
            (Family::Unix(socket), Reach::Connected) => one_by_one(
                batch,
                told_each(calls, "recvfrom", fd, |slot| {
                    // It hears from one sender only, and the engine knows which.
                    Ok(Arrival { length: socket.recv(slot)?, source: Address::Unix(None), local: None, to_many: false })
                }),
            ),
            (Family::Unix(socket), _) => one_by_one(
                batch,
                told_each(calls, "recvfrom", fd, |slot| {
                    let (length, source) = socket.recv_from(slot)?;
                    Ok(Arrival { length, source: unix_address(&source), local: None, to_many: false })
                }),
            ),
        }
    }
}

/// Receives a batch in one call; whether more may wait. The call has little room if the `last` one brought little.
fn receive_batch<A: SockaddrLike + Copy, C: Calls>(
    fd: RawFd,
    headers: &mut MultiHeaders<A>,
    last: &mut usize,
    batch: &mut Batch,
    calls: &C,
    address: impl Fn(A) -> SocketAddr,
) -> io::Result<bool> {
    let (room, result) = if *last < FEW {
        (FEW, receive_up_to::<FEW, A>(fd, headers, batch, address))
    } else {
        (BATCH, receive_up_to::<BATCH, A>(fd, headers, batch, address))
    };
    if C::TELLS {
        tell_of_batch(fd, batch, room, &result, calls);
    }
    let may_wait = result?;
    *last = batch.len();
    Ok(may_wait)
}

#[inline(always)]
fn tell_of_batch(fd: RawFd, batch: &mut Batch, room: usize, result: &io::Result<bool>, calls: &impl Calls) {
    let (mut slots, arrivals) = batch.split();
    let length = arrivals.first().map_or(0, |first| first.length);
    let first = slots.next().and_then(|slot| slot.get(..length)).unwrap_or_default();
    let call = Call::ReceiveMany { fd, first, arrivals, room };
    calls.made(&call, result.as_ref().map(|_| arrivals.len()));
}

/// Receives up to `N` datagrams in one call; whether more may wait.
///
/// A batch that is not full has emptied the socket. On a connected one an error may also have cut it short
/// (recvmmsg(2), BUGS); that error arrived during the call and so makes an edge of its own, upon which the engine
/// receives again.
fn receive_up_to<const N: usize, A: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<A>,
    batch: &mut Batch,
    address: impl Fn(A) -> SocketAddr,
) -> io::Result<bool> {
    let (mut slots, arrivals) = batch.split();
    let mut slices: [[IoSliceMut<'_>; 1]; N] =
        std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
    let received = recvmmsg(fd, headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    arrivals.extend(received.filter_map(|message| {
        Some(Arrival {
            length: message.bytes,
            source: Address::Ip(address(message.address?)),
            local: None,
            to_many: false,
        })
    }));
    Ok(arrivals.len() == N)
}

/// Receives in this way, and tells of each call.
fn told_each<C: Calls>(
    calls: &C,
    name: &'static str,
    fd: RawFd,
    mut receive: impl FnMut(&mut [u8]) -> io::Result<Arrival>,
) -> impl FnMut(&mut [u8]) -> io::Result<Arrival> {
    move |slot| {
        let room = slot.len();
        let result = receive(slot);
        let arrival = result.as_ref().ok();
        let bytes = arrival.and_then(|arrival| slot.get(..arrival.length)).unwrap_or_default();
        let from = arrival.map(|arrival| &arrival.source);
        let call = Call::Receive { name, fd, bytes, room, is_peek: false, from };
        calls.made(&call, result.as_ref().map(|arrival| arrival.length));
        result
    }
}

/// Receives until nothing waits or the batch is full; whether more may wait. What arrived before an error is kept.
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
    let (local, to_many) = message.cmsgs()?.find_map(local_address).unzip();
    let source = source.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Arrival { length: message.bytes, source: Address::Ip(source), local, to_many: to_many.unwrap_or_default() })
}

/// The address to answer from, of a datagram that came with this packet info; and whether it was sent to many hosts.
///
/// The interface is passed on only where the address has no meaning without it: all else leaves as it is routed.
fn local_address(info: ControlMessageOwned) -> Option<(LocalAddress, bool)> {
    match info {
        // ipi_addr is where it was sent to; where that is a broadcast address or a multicast group, ipi_spec_dst is
        // the address of ours to answer from (ip(7)).
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
            Some((IpAddr::V4(ip).into(), info.ipi_spec_dst.s_addr != info.ipi_addr.s_addr))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let sent_to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let interface = info.ipi6_ifindex;
            match sent_to {
                // IPv4 over a dual-stack socket: another control message, the one above, tells more.
                _ if sent_to.to_ipv4_mapped().is_some() => None,
                _ if sent_to.is_multicast() => {
                    Some((LocalAddress { ip: Ipv6Addr::UNSPECIFIED.into(), interface }, true))
                }
                _ if sent_to.is_unicast_link_local() => Some((LocalAddress { ip: sent_to.into(), interface }, false)),
                _ => Some((IpAddr::V6(sent_to).into(), false)),
            }
        }
        _ => None,
    }
}

fn send_connected(family: &Family, bytes: &[u8]) -> io::Result<()> {
    match family {
        Family::Ipv4(socket) | Family::Ipv6(socket) => socket.send(bytes)?,
        Family::Unix(socket) => socket.send(bytes)?,
    };
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

/// The sender's path. An abstract name (unix(7)) is written as one that begins with a NUL byte; an unnamed sender has
/// none.
fn unix_address(address: &std::os::unix::net::SocketAddr) -> Address {
    let abstract_name = || {
        let name = [&[0], address.as_abstract_name()?].concat();
        Some(PathBuf::from(OsString::from_vec(name)))
    };
    let path = address.as_pathname().map(Path::to_owned).or_else(abstract_name);
    Address::Unix(path.map(PathBuf::into_boxed_path))
}
