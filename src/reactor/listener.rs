//! Listening sockets, TCP and Unix behind one type.
//!
//! They are set up so that the kernel's queue is as long as was asked for, and so that accepted sockets, which inherit
//! their options, need no calls of their own.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Socket, Type};

use super::calls::{Call, Calls, Held, told, told_open};
use super::options::{self, ListenOptions, bind, dual_stack, keep_alive, told_set};
use super::socket_file::{Refusal, SocketFile};
use super::stream::Stream;
use crate::endpoint::Address;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    /// tcp(7)
    Tcp(TcpListener),
    /// unix(7)
    Unix {
        /// Declared, and so dropped, before the socket.
        _file: SocketFile,
        socket: UnixListener,
    },
}

impl Listener {
    /// Listens at an address; port 0 lets the kernel pick one. Built by hand, because mio's own `bind` asks for a
    /// backlog of 128 (in a burst of 5,000 connections some then wait for seconds), and cannot share its port.
    pub(super) fn tcp<C: Calls>(
        address: SocketAddr,
        options: &ListenOptions,
        calls: &C,
    ) -> io::Result<(Held<Self, C>, SocketAddr)> {
        let socket = options::open(Domain::for_address(address), Type::STREAM, calls)?;
        // A restart need not wait for connections in TIME_WAIT; two live listeners still exclude each other.
        told_set(calls, &*socket, "SO_REUSEADDR", 1, socket.set_reuse_address(true))?;
        options.share_port(&socket, calls)?;
        // Accepted sockets inherit both, which saves five calls for each.
        told_set(calls, &*socket, "TCP_NODELAY", 1, socket.set_tcp_nodelay(true))?;
        keep_alive(&socket, calls)?;
        dual_stack(&socket, address, calls)?;
        bind(&socket, address, calls)?;
        listen(&socket, options, calls)?;
        let socket = socket.map(|socket| TcpListener::from_std(socket.into()));
        let local = socket.local_addr();
        let name = local.as_ref().ok().copied().map(Address::Ip);
        let local = told(calls, &Call::SocketName { fd: socket.as_raw_fd(), address: name.as_ref() }, local)?;
        Ok((socket.map(Self::Tcp), local))
    }

    /// Listens at a path.
    pub(super) fn unix<C: Calls>(path: &Path, options: &ListenOptions, calls: &C) -> Result<Held<Self, C>, Refusal> {
        let (file, socket) = SocketFile::bind(path, Type::STREAM, options.unix_mode, calls)?;
        listen(&socket, options, calls)?;
        Ok(socket.map(|socket| Self::Unix { _file: file, socket: UnixListener::from_std(socket.into()) }))
    }

    /// accept4(2). The stream does not block.
    pub(super) fn accept<C: Calls>(&self, calls: &C) -> io::Result<(Held<Stream, C>, Address)> {
        let accepted = match self {
            Self::Tcp(socket) => socket.accept().map(|(stream, peer)| (Stream::Tcp(stream), Address::Ip(peer))),
            // The client's own path would tell nothing, and mostly it has none.
            Self::Unix { socket, .. } => socket.accept().map(|(stream, _)| (Stream::Unix(stream), Address::Unix(None))),
        };
        let (stream, peer) =
            accepted.map_or_else(|error| (Err(error), None), |(stream, peer)| (Ok(stream), Some(peer)));
        let stream = told_open(calls, &Call::Accept { fd: self.as_raw_fd(), peer: peer.as_ref() }, stream)?;
        Ok((stream, peer.unwrap_or(Address::Unix(None))))
    }

    /// What epoll(7) watches.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(socket) => socket,
            Self::Unix { socket, .. } => socket,
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix { socket, .. } => socket.as_raw_fd(),
        }
    }
}

/// listen(2)
fn listen(socket: &Socket, options: &ListenOptions, calls: &impl Calls) -> io::Result<()> {
    let backlog = options.backlog;
    told(calls, &Call::Listen { fd: socket.as_raw_fd(), backlog }, socket.listen(backlog))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use socket2::SockRef;

    use super::*;
    use crate::reactor::calls::Quiet;

    #[test]
    fn accepted_sockets_inherit_what_the_listener_has_set() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let (listener, local) = Listener::tcp(host.parse().unwrap(), &ListenOptions::default(), &Quiet).unwrap();
            let _client = TcpStream::connect(local).unwrap();
            let Listener::Tcp(socket) = &*listener else { panic!("it is a TCP listener") };
            poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            let (accepted, _) = listener.accept(&Quiet).unwrap();
            let Stream::Tcp(accepted) = &*accepted else { panic!("it accepts TCP") };
            let accepted = SockRef::from(accepted);
            assert!(accepted.tcp_nodelay().unwrap());
            assert!(accepted.keepalive().unwrap());
            assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
            assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
            assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
        }
    }
}
