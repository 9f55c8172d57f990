//! Stream sockets: TCP and Unix behind one type.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;

use mio::net::{TcpStream, UnixStream};
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, SockRef, Socket, Type};

use super::options::{bind_without_port, keep_alive};
use crate::endpoint::Address;

/// A connection's socket.
#[derive(Debug)]
pub(super) enum Stream {
    /// tcp(7)
    Tcp(TcpStream),
    /// unix(7)
    Unix(UnixStream),
}

impl Stream {
    /// Begins to connect (connect(2)), from a certain local address if one is given.
    pub(super) fn connect(to: &Address, from: Option<IpAddr>) -> io::Result<Self> {
        match to {
            Address::Ip(to) => {
                let stream = match from {
                    None => TcpStream::connect(*to)?,
                    Some(from) => connect_from(*to, from)?,
                };
                stream.set_nodelay(true)?;
                keep_alive(&SockRef::from(&stream))?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(Some(path)) => UnixStream::connect(path).map(Self::Unix),
            Address::Unix(None) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// How many bytes can be received now; 0 is the end of the stream.
    ///
    /// A look that takes nothing (recv(2), MSG_PEEK) tells. With MSG_TRUNC, TCP copies nothing either (tcp(7)), so that
    /// `room` needs only addresses, no memory.
    pub(super) fn arrived(&self, room: &mut [u8]) -> io::Result<usize> {
        let look = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        Ok(match self {
            Self::Tcp(stream) => recv(stream.as_raw_fd(), room, look | MsgFlags::MSG_TRUNC)?,
            Self::Unix(stream) => recv(stream.as_raw_fd(), room, look)?,
        })
    }

    /// Whether it is connected by now; an error when it never will be.
    ///
    /// The event is only a hint. SO_ERROR has the error of a connect(2) that failed (EINPROGRESS there); where it has
    /// none, getpeername(2) tells whether the handshake is over.
    pub(super) fn is_established(&self) -> io::Result<bool> {
        let error = match self {
            Self::Tcp(stream) => stream.take_error()?,
            Self::Unix(stream) => stream.take_error()?,
        };
        if let Some(error) = error {
            return Err(error);
        }
        let Self::Tcp(stream) = self else { return Ok(true) };
        match stream.peer_addr() {
            // A simultaneous open with itself (RFC 9293, 3.5): for a port of the ephemeral range without a listener,
            // the kernel may pick that very port to connect from.
            Ok(peer) if stream.local_addr()? == peer => {
                Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connected to itself: nobody listens there"))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// recv(2)
    #[inline]
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    /// send(2), by the standard library with MSG_NOSIGNAL: no SIGPIPE is raised.
    #[inline]
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    /// shutdown(2): ends what we send.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// [`TcpStream::connect`], from this address.
fn connect_from(to: SocketAddr, from: IpAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None)?;
    bind_without_port(&socket, from)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn dialled_stream_notices_that_its_server_has_vanished() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = Address::Ip(listener.local_addr().unwrap());
        for from in [None, Some("127.0.0.2".parse().unwrap())] {
            let Stream::Tcp(dialled) = Stream::connect(&to, from).unwrap() else { panic!("it is a TCP address") };
            let dialled = SockRef::from(&dialled);
            assert!(dialled.keepalive().unwrap());
            assert_eq!(dialled.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
        }
    }
}
