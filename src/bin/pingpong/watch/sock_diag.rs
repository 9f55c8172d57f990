//! Asks the kernel about sockets: sock_diag(7), the source of what ss(8) shows.
//!
//! One socket is looked up by its addresses or its inode, many are told of in one answer. A load of thousands of
//! connections asks once for all of them: `Question::tcp(..).remote_ports(..).with_figures()`.
//!
//! `netlink-packet-sock-diag` knows the messages; what it lacks, the filter by ports, is put behind its request here.

#![cfg_attr(not(test), expect(dead_code, reason = "only tests ask for all sockets of a kind yet"))]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NlasIterator, Parseable,
};
use netlink_packet_sock_diag::inet::{self, ExtensionFlags, InetRequest, InetResponseBuffer, InetResponseHeader};
use netlink_packet_sock_diag::inet::{SocketId, Timer};
use netlink_packet_sock_diag::unix::nlas::Nla as UnixAttribute;
use netlink_packet_sock_diag::unix::{self, ShowFlags, UnixRequest, UnixResponse};
use netlink_packet_sock_diag::{AF_INET, AF_INET6, INET_DIAG_INFO, SOCK_DIAG_BY_FAMILY, SockDiagMessage};
use nix::libc;
use socket2::{Domain, Socket, Type};

use super::socket::{Figures, InetSocket, KernelState, Protocol, UnixSocket};

/// Room for the part of an answer that one read returns: the kernel fills 32 KiB at most.
const ROOM: usize = 64 << 10;

/// The kernel answers within the call that asks; this bounds a fault of its own.
const PATIENCE: Duration = Duration::from_secs(1);

/// "Whichever it is", where a socket is asked for by its addresses (INET_DIAG_NOCOOKIE).
const ANY_COOKIE: [u8; 8] = [0xff; 8];

const ALL_PORTS: RangeInclusive<u16> = 0..=u16::MAX;

/// A socket to the kernel's sock_diag(7). It sees the sockets of this network namespace, also those of other users.
#[derive(Debug)]
pub(crate) struct SockDiag {
    socket: Socket,
    /// Of the request under way, so that an answer to an earlier one is told apart.
    sequence: u32,
    room: Box<[u8]>,
}

/// Which internet sockets are asked for, and how much is to be told of each.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    protocol: Protocol,
    is_v6: bool,
    local: RangeInclusive<u16>,
    remote: RangeInclusive<u16>,
    with_figures: bool,
}

impl Question {
    /// All sockets of this protocol, over IPv4 or IPv6. (A socket for both is one of IPv6.)
    pub(crate) fn all(protocol: Protocol, is_v6: bool) -> Self {
        Self { protocol, is_v6, local: ALL_PORTS, remote: ALL_PORTS, with_figures: false }
    }

    /// Only those at these local ports.
    pub(crate) fn local_ports(self, local: RangeInclusive<u16>) -> Self {
        Self { local, ..self }
    }

    /// Only those connected to these ports.
    pub(crate) fn remote_ports(self, remote: RangeInclusive<u16>) -> Self {
        Self { remote, ..self }
    }

    /// With [`Figures`], which make the answer several times as long.
    pub(crate) fn with_figures(self) -> Self {
        Self { with_figures: true, ..self }
    }

    fn request(&self, id: SocketId) -> SockDiagMessage {
        SockDiagMessage::InetRequest(InetRequest {
            family: if self.is_v6 { AF_INET6 } else { AF_INET },
            protocol: self.protocol.number(),
            extensions: if self.with_figures { ExtensionFlags::INFO } else { ExtensionFlags::empty() },
            states: inet::StateFlags::from_bits_retain(u32::MAX),
            socket_id: id,
        })
    }

    /// The filter by ports, as the kernel runs it for each socket: an attribute with a program of comparisons, each of
    /// which goes on with the next, or jumps behind the end, which is a no (`struct inet_diag_bc_op`, inet_diag.h).
    fn filter(&self) -> Vec<u8> {
        const REQ_BYTECODE: u16 = 1;
        const SOURCE_GE: u8 = 2;
        const SOURCE_LE: u8 = 3;
        const DESTINATION_GE: u8 = 4;
        const DESTINATION_LE: u8 = 5;
        /// A comparison, and the operation after it that only holds its port.
        const STEP: u16 = 8;
        let mut tests = Vec::new();
        for (ports, at_least, at_most) in
            [(&self.local, SOURCE_GE, SOURCE_LE), (&self.remote, DESTINATION_GE, DESTINATION_LE)]
        {
            if *ports != ALL_PORTS {
                tests.extend([(at_least, *ports.start()), (at_most, *ports.end())]);
            }
        }
        if tests.is_empty() {
            return Vec::new();
        }
        let mut left = STEP * tests.len() as u16;
        let mut filter = Vec::new();
        filter.extend((left + 4).to_ne_bytes());
        filter.extend(REQ_BYTECODE.to_ne_bytes());
        for (code, port) in tests {
            filter.extend([code, STEP as u8]);
            filter.extend((left + 4).to_ne_bytes());
            filter.extend([0, 0]);
            filter.extend(port.to_ne_bytes());
            left -= STEP;
        }
        filter
    }
}

impl SockDiag {
    /// Fails where the kernel has no such thing, or a sandbox forbids it.
    pub(crate) fn open() -> io::Result<Self> {
        let kind = Type::from(libc::SOCK_RAW).cloexec();
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(libc::NETLINK_SOCK_DIAG.into()))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, room: vec![0; ROOM].into() })
    }

    /// Tells of all sockets that the question asks for.
    pub(crate) fn each(&mut self, question: &Question, mut tell: impl FnMut(InetSocket)) -> io::Result<()> {
        let id = if question.is_v6 { SocketId::new_v6() } else { SocketId::new_v4() };
        self.ask(question.request(id), &question.filter(), true, |answer| {
            tell(inet_socket(question.protocol, answer)?);
            Ok(())
        })
    }

    /// The socket with these addresses, all that is known of it; `None` where there is none (any more). `peer` is `None`
    /// for a listener, and for a datagram socket that is not connected.
    pub(crate) fn one(
        &mut self,
        protocol: Protocol,
        local: SocketAddr,
        peer: Option<SocketAddr>,
    ) -> io::Result<Option<InetSocket>> {
        let is_v6 = local.is_ipv6();
        let nobody =
            SocketAddr::new(if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }, 0);
        let peer = peer.unwrap_or(nobody);
        // udp(7) sockets are looked up as for a datagram that arrives: from the other end.
        let (near, far) = if protocol == Protocol::Udp { (peer, local) } else { (local, peer) };
        let id = SocketId {
            source_port: near.port(),
            destination_port: far.port(),
            source_address: near.ip(),
            destination_address: far.ip(),
            interface_id: 0,
            cookie: ANY_COOKIE,
        };
        let question = Question::all(protocol, is_v6).with_figures();
        let mut found = None;
        self.ask(question.request(id), &[], false, |answer| {
            found = Some(inet_socket(protocol, answer)?);
            Ok(())
        })?;
        // Where there is no such connection (any more), the kernel offers the listener at its port.
        Ok(found.filter(|socket| is_same(socket.local, local) && is_same(socket.peer, peer)))
    }

    /// Tells of all Unix sockets.
    pub(crate) fn each_unix(&mut self, mut tell: impl FnMut(UnixSocket)) -> io::Result<()> {
        self.ask(unix_request(0), &[], true, |answer| {
            tell(unix_socket(answer)?);
            Ok(())
        })
    }

    /// The Unix socket with this inode.
    pub(crate) fn one_unix(&mut self, inode: u32) -> io::Result<Option<UnixSocket>> {
        let mut found = None;
        self.ask(unix_request(inode), &[], false, |answer| {
            found = Some(unix_socket(answer)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Sends a request, with `filter` behind it, and reads the answers: one, or (`is_many`) all up to the end of them.
    fn ask(
        &mut self,
        request: SockDiagMessage,
        filter: &[u8],
        is_many: bool,
        mut tell: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.write_all(&packet(request, filter, is_many, self.sequence))?;
        loop {
            let length = self.socket.read(&mut self.room)?;
            let mut rest = &self.room[..length];
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
                // Each begins at a multiple of four bytes (netlink(7)).
                rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
                if message.sequence_number() != self.sequence {
                    continue;
                }
                match message.message_type() {
                    SOCK_DIAG_BY_FAMILY => tell(message.payload())?,
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let error = ErrorBuffer::new_checked(message.payload()).map_err(io::Error::other)?;
                        let code = error.code().map_or(0, |code| -code.get());
                        return match io::Error::from_raw_os_error(code) {
                            error if !is_many && error.kind() == io::ErrorKind::NotFound => Ok(()),
                            error => Err(error),
                        };
                    }
                    _ => {}
                }
                if !is_many {
                    return Ok(());
                }
            }
        }
    }
}

/// The bytes of a request.
fn packet(request: SockDiagMessage, filter: &[u8], is_many: bool, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = if is_many { NLM_F_REQUEST | NLM_F_DUMP } else { NLM_F_REQUEST };
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes.extend_from_slice(filter);
    // The length comes first (nlmsghdr, netlink(7)).
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

fn unix_request(inode: u32) -> SockDiagMessage {
    SockDiagMessage::UnixRequest(UnixRequest {
        state_flags: unix::StateFlags::from_bits_retain(u32::MAX),
        inode,
        show_flags: ShowFlags::PEER | ShowFlags::RQLEN,
        cookie: ANY_COOKIE,
    })
}

/// The header and, where it has been asked for, the attribute with the figures: to parse the others too (`InetResponse`)
/// would double the time that ten thousand sockets take.
fn inet_socket(protocol: Protocol, answer: &[u8]) -> io::Result<InetSocket> {
    let header = InetResponseHeader::parse(answer).map_err(io::Error::other)?;
    let attributes = NlasIterator::new(answer.get(size_of::<InetResponseBuffer>()..).unwrap_or_default());
    let mut infos = attributes.filter_map(Result::ok).filter(|attribute| attribute.kind() == INET_DIAG_INFO);
    let id = &header.socket_id;
    Ok(InetSocket {
        protocol,
        state: KernelState::of(header.state),
        local: SocketAddr::new(id.source_address, id.source_port),
        peer: SocketAddr::new(id.destination_address, id.destination_port),
        inode: header.inode,
        received: header.recv_queue,
        sent: header.send_queue,
        retrying: match header.timer {
            Some(Timer::Retransmit(_, times)) => times,
            _ => 0,
        },
        figures: infos.next().map(|attribute| Figures::of(attribute.value())),
    })
}

fn unix_socket(answer: &[u8]) -> io::Result<UnixSocket> {
    let response = UnixResponse::parse(answer).map_err(io::Error::other)?;
    let queues = response.nlas.iter().find_map(|attribute| match attribute {
        UnixAttribute::ReceiveQueueLength(received, sent) => Some((*received, *sent)),
        _ => None,
    });
    let (received, sent) = queues.unwrap_or_default();
    let state = KernelState::of(response.header.state);
    Ok(UnixSocket { state, inode: response.header.inode, peer: response.peer(), received, sent })
}

/// Whether two addresses are the same, scope and flow label of IPv6 aside, which sock_diag does not tell.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}
