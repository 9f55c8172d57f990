//! Messages that leave with control data: from a certain local address (packet info, ip(7), ipv6(7)), as several
//! datagrams (UDP_SEGMENT, udp(7)), or both.
//!
//! sendmmsg(2) is used for single messages because its headers are kept: nix's sendmsg allocates anew for each control
//! message. The headers have room for control data of one shape, no more and no less: hence a set for each shape.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, getsockopt, sendmmsg, sockopt,
};

use super::calls::told_sent;
use crate::endpoint::Address;
use crate::engine::LocalAddress;
use crate::reactor::calls::{Call, Calls, told};

/// The headers of messages to both families.
pub(super) struct Outgoing {
    v4: Shapes<SockaddrIn>,
    v6: Shapes<SockaddrIn6>,
    /// Whether the kernel knows UDP_SEGMENT (Linux 4.18), once that was asked.
    has_segments: Option<bool>,
}

/// The headers of single messages, by what their control data says.
struct Shapes<A> {
    from: MultiHeaders<A>,
    segmented: MultiHeaders<A>,
    segmented_from: MultiHeaders<A>,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            v4: Shapes {
                from: headers(nix::cmsg_space!(libc::in_pktinfo)),
                segmented: headers(nix::cmsg_space!(u16)),
                segmented_from: headers(nix::cmsg_space!(libc::in_pktinfo, u16)),
            },
            v6: Shapes {
                from: headers(nix::cmsg_space!(libc::in6_pktinfo)),
                segmented: headers(nix::cmsg_space!(u16)),
                segmented_from: headers(nix::cmsg_space!(libc::in6_pktinfo, u16)),
            },
            has_segments: None,
        }
    }

    /// Sends one datagram from a local address.
    pub(super) fn send_from(
        &mut self,
        socket: &impl AsRawFd,
        bytes: &[u8],
        to: SocketAddr,
        from: LocalAddress,
    ) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        match to {
            SocketAddr::V4(to) => {
                let info = info_v4(from)?;
                send(fd, &mut self.v4.from, bytes, Some(to.into()), [ControlMessage::Ipv4PacketInfo(&info)])
            }
            SocketAddr::V6(to) => {
                let info = info_v6(from);
                send(fd, &mut self.v6.from, bytes, Some(to.into()), [ControlMessage::Ipv6PacketInfo(&info)])
            }
        }
    }

    /// Sends a run, to an address or to where the socket is connected. Fails with `Unsupported` where the kernel does
    /// not know of runs: it would send one large datagram.
    pub(super) fn send_run(
        &mut self,
        socket: &(impl AsFd + AsRawFd),
        bytes: &[u8],
        segment: u16,
        to: Option<SocketAddr>,
        from: Option<LocalAddress>,
        calls: &impl Calls,
    ) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        let has_segments = || {
            let asked = getsockopt(socket, sockopt::UdpGsoSegment).map_err(io::Error::from);
            let value = asked.as_ref().ok().map(|size| i64::from(*size));
            told(calls, &Call::GetOption { fd, name: "UDP_SEGMENT", value }, asked).is_ok()
        };
        if !*self.has_segments.get_or_insert_with(has_segments) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let address = to.map(Address::Ip);
        let call = Call::Send { name: "sendmmsg", fd, bytes, to: address.as_ref(), segment: Some(segment) };
        told_sent(calls, &call, self.send_segments(fd, bytes, segment, to, from))
    }

    fn send_segments(
        &mut self,
        fd: RawFd,
        bytes: &[u8],
        segment: u16,
        to: Option<SocketAddr>,
        from: Option<LocalAddress>,
    ) -> io::Result<()> {
        let segments = ControlMessage::UdpGsoSegments(&segment);
        match (to, from) {
            // The family of a connected socket's address does not matter: there is none.
            (None, _) => send(fd, &mut self.v4.segmented, bytes, None, [segments]),
            (Some(SocketAddr::V4(to)), None) => send(fd, &mut self.v4.segmented, bytes, Some(to.into()), [segments]),
            (Some(SocketAddr::V6(to)), None) => send(fd, &mut self.v6.segmented, bytes, Some(to.into()), [segments]),
            (Some(SocketAddr::V4(to)), Some(from)) => {
                let info = info_v4(from)?;
                let control = [ControlMessage::Ipv4PacketInfo(&info), segments];
                send(fd, &mut self.v4.segmented_from, bytes, Some(to.into()), control)
            }
            (Some(SocketAddr::V6(to)), Some(from)) => {
                let info = info_v6(from);
                let control = [ControlMessage::Ipv6PacketInfo(&info), segments];
                send(fd, &mut self.v6.segmented_from, bytes, Some(to.into()), control)
            }
        }
    }
}

/// Headers of one message, with this much room for control data.
fn headers<A: SockaddrLike + Copy>(control: Vec<u8>) -> MultiHeaders<A> {
    MultiHeaders::preallocate(1, Some(control))
}

fn send<A: SockaddrLike + Copy, const N: usize>(
    fd: RawFd,
    headers: &mut MultiHeaders<A>,
    bytes: &[u8],
    to: Option<A>,
    control: [ControlMessage<'_>; N],
) -> io::Result<()> {
    sendmmsg(fd, headers, &[[IoSlice::new(bytes)]], [to], control, MsgFlags::empty())?;
    Ok(())
}

/// Fails with `InvalidInput` for an IPv6 address, which an IPv4 socket does not have.
fn info_v4(from: LocalAddress) -> io::Result<libc::in_pktinfo> {
    let IpAddr::V4(ip) = from.ip else { return Err(io::ErrorKind::InvalidInput.into()) };
    let ip = libc::in_addr { s_addr: u32::from(ip).to_be() };
    Ok(libc::in_pktinfo { ipi_ifindex: from.interface as i32, ipi_spec_dst: ip, ipi_addr: ip })
}

fn info_v6(from: LocalAddress) -> libc::in6_pktinfo {
    let ip = match from.ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: from.interface }
}
