//! Socket options that several kinds of sockets share, and those a caller may choose ([`ListenOptions`]).
//!
//! Names no other file of the reactor, so that each kind of socket can use it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Socket, TcpKeepalive};

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
    pub(super) fn share_port(&self, socket: &Socket) -> io::Result<()> {
        if self.reuse_port { socket.set_reuse_port(true) } else { Ok(()) }
    }
}

/// Turns TCP's keepalive on (SO_KEEPALIVE, tcp(7)), so that a peer which has vanished is noticed within 4 minutes: after
/// 2 minutes of silence the kernel sends the first of 4 probes, one every 30 seconds. (By default it waits 2 hours.)
pub(super) fn keep_alive(socket: &Socket) -> io::Result<()> {
    let silence = TcpKeepalive::new().with_time(Duration::from_secs(120));
    socket.set_tcp_keepalive(&silence.with_interval(Duration::from_secs(30)).with_retries(4))
}

/// Has `[::]` take IPv4 too (IPV6_V6ONLY, ipv6(7)), whatever net.ipv6.bindv6only says.
pub(super) fn dual_stack(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() && address.ip().is_unspecified() { socket.set_only_v6(false) } else { Ok(()) }
}

/// Binds a socket that is about to connect to a local address. The kernel picks the port when it connects
/// (IP_BIND_ADDRESS_NO_PORT, ip(7)): a port picked by bind(2) would be taken for all far sides at once.
pub(super) fn bind_without_port(socket: &Socket, from: IpAddr) -> io::Result<()> {
    setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(from, 0).into())
}
