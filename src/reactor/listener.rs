//! Listening sockets, TCP and Unix behind one type.
//!
//! They are set up so that the kernel's queue is as long as was asked for, and so that accepted sockets, which inherit
//! their options, need no calls of their own.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Socket, Type};

use super::options::{ListenOptions, dual_stack, keep_alive};
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
    pub(super) fn tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<(Self, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        // A restart need not wait for connections in TIME_WAIT; two live listeners still exclude each other.
        socket.set_reuse_address(true)?;
        options.share_port(&socket)?;
        // Accepted sockets inherit both, which saves five calls for each.
        socket.set_tcp_nodelay(true)?;
        keep_alive(&socket)?;
        dual_stack(&socket, address)?;
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        let socket = TcpListener::from_std(socket.into());
        let local = socket.local_addr()?;
        Ok((Self::Tcp(socket), local))
    }

    /// Listens at a path.
    pub(super) fn unix(path: &Path, options: &ListenOptions) -> Result<Self, Refusal> {
        let (file, socket) = SocketFile::bind(path, Type::STREAM, options.unix_mode)?;
        socket.listen(options.backlog)?;
        Ok(Self::Unix { _file: file, socket: UnixListener::from_std(socket.into()) })
    }

    /// accept4(2). The stream does not block.
    pub(super) fn accept(&self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(socket) => socket.accept().map(|(stream, peer)| (Stream::Tcp(stream), Address::Ip(peer))),
            // The client's own path would tell nothing, and mostly it has none.
            Self::Unix { socket, .. } => socket.accept().map(|(stream, _)| (Stream::Unix(stream), Address::Unix(None))),
        }
    }

    /// What epoll(7) watches.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(socket) => socket,
            Self::Unix { socket, .. } => socket,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use socket2::SockRef;

    use super::*;

    #[test]
    fn accepted_sockets_inherit_what_the_listener_has_set() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let (listener, local) = Listener::tcp(host.parse().unwrap(), &ListenOptions::default()).unwrap();
            let _client = TcpStream::connect(local).unwrap();
            let Listener::Tcp(socket) = &listener else { panic!("it is a TCP listener") };
            poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            let (Stream::Tcp(accepted), _) = listener.accept().unwrap() else { panic!("it accepts TCP") };
            let accepted = SockRef::from(&accepted);
            assert!(accepted.tcp_nodelay().unwrap());
            assert!(accepted.keepalive().unwrap());
            assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
            assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
            assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
        }
    }
}
