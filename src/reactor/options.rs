//! Socket options that several kinds of sockets share, and those a caller may choose ([`ListenOptions`]).
//!
//! Names no kind of socket, so that each can use it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::calls::{Call, Calls, Held, told, told_open};
use crate::endpoint::Address;

/// How sockets listen; the default is what `pingpong serve` does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Connections that wait to be accepted, per listener (listen(2)); net.core.somaxconn caps it. Default: 4096.
    pub backlog: i32,
    /// Whether several processes may share the port (SO_REUSEPORT, socket(7)). Default: no.
    pub reuse_port: bool,
    /// Permissions of Unix sockets' files (chmod(2)): write permission is what a client needs (unix(7)). Default: what
    /// the umask leaves.
    pub unix_mode: Option<u32>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 4096, reuse_port: false, unix_mode: None }
    }
}

impl ListenOptions {
    /// The most sockets beside a UDP one that is bound to all addresses: one for each address of this machine, so that
    /// it costs no more than one that is bound to a single address. For who counts descriptors.
    pub const MOST_BESIDE: usize = 8;

    /// Shares the port only where that was chosen: it hides that another server is there already.
    pub(super) fn share_port(&self, socket: &Socket, calls: &impl Calls) -> io::Result<()> {
        if !self.reuse_port {
            return Ok(());
        }
        told_set(calls, socket, "SO_REUSEPORT", 1, socket.set_reuse_port(true))
    }
}

/// Turns TCP's keepalive on (SO_KEEPALIVE, tcp(7)), so that a peer which has vanished is noticed within 4 minutes: after
/// 2 minutes of silence the kernel sends the first of 4 probes, one every 30 seconds. (By default it waits 2 hours.)
pub(super) fn keep_alive(socket: &Socket, calls: &impl Calls) -> io::Result<()> {
    told_set(calls, socket, "SO_KEEPALIVE", 1, socket.set_keepalive(true))?;
    told_set(calls, socket, "TCP_KEEPIDLE", 120, setsockopt(socket, sockopt::TcpKeepIdle, &120).map_err(Into::into))?;
    told_set(
        calls,
        socket,
        "TCP_KEEPINTVL",
        30,
        setsockopt(socket, sockopt::TcpKeepInterval, &30).map_err(Into::into),
    )?;
    told_set(calls, socket, "TCP_KEEPCNT", 4, setsockopt(socket, sockopt::TcpKeepCount, &4).map_err(Into::into))
}

/// Has `[::]` take IPv4 too (IPV6_V6ONLY, ipv6(7)), whatever net.ipv6.bindv6only says.
pub(super) fn dual_stack(socket: &Socket, address: SocketAddr, calls: &impl Calls) -> io::Result<()> {
    if !address.is_ipv6() || !address.ip().is_unspecified() {
        return Ok(());
    }
    told_set(calls, socket, "IPV6_V6ONLY", 0, socket.set_only_v6(false))
}

/// Binds a socket that is about to connect to a local address. The kernel picks the port when it connects
/// (IP_BIND_ADDRESS_NO_PORT, ip(7)): a port picked by bind(2) would be taken for all far sides at once.
pub(super) fn bind_without_port(socket: &Socket, from: IpAddr, calls: &impl Calls) -> io::Result<()> {
    let result = setsockopt(socket, sockopt::IpBindAddressNoPort, &true).map_err(Into::into);
    told_set(calls, socket, "IP_BIND_ADDRESS_NO_PORT", 1, result)?;
    bind(socket, SocketAddr::new(from, 0), calls)
}

/// bind(2)
pub(super) fn bind(socket: &Socket, to: SocketAddr, calls: &impl Calls) -> io::Result<()> {
    let result = socket.bind(&to.into());
    told(calls, &Call::Bind { fd: socket.as_raw_fd(), to: &Address::Ip(to) }, result)
}

/// A socket of this kind that does not block.
pub(super) fn open<C: Calls>(family: Domain, kind: Type, calls: &C) -> io::Result<Held<Socket, C>> {
    let call = Call::Socket {
        family: match family {
            Domain::IPV4 => "AF_INET",
            Domain::IPV6 => "AF_INET6",
            _ => "AF_UNIX",
        },
        kind: match kind {
            Type::STREAM => "SOCK_STREAM",
            Type::DGRAM => "SOCK_DGRAM",
            _ => "SOCK_SEQPACKET",
        },
    };
    told_open(calls, &call, Socket::new(family, kind.nonblocking(), None))
}

/// Tells of an option that was set (setsockopt(2)).
#[inline(always)]
pub(super) fn told_set(
    calls: &impl Calls,
    socket: &impl AsRawFd,
    name: &'static str,
    value: i64,
    result: io::Result<()>,
) -> io::Result<()> {
    told(calls, &Call::SetOption { fd: socket.as_raw_fd(), name, value }, result)
}
