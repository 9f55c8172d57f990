//! Stream sockets: TCP and Unix behind one type.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use mio::net::{TcpStream, UnixStream};
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, SockAddr, Socket, Type};

use super::calls::{Call, Calls, Held, told};
use super::options::{self, bind_without_port, keep_alive, told_set};
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
    pub(super) fn connect<C: Calls>(to: &Address, from: Option<IpAddr>, calls: &C) -> io::Result<Held<Self, C>> {
        match to {
            Address::Ip(ip) => {
                let socket = options::open(Domain::for_address(*ip), Type::STREAM, calls)?;
                if let Some(from) = from {
                    bind_without_port(&socket, from, calls)?;
                }
                begin_to_connect(&socket, &(*ip).into(), to, calls)?;
                told_set(calls, &*socket, "TCP_NODELAY", 1, socket.set_tcp_nodelay(true))?;
                keep_alive(&socket, calls)?;
                Ok(socket.map(|socket| Self::Tcp(TcpStream::from_std(socket.into()))))
            }
            Address::Unix(Some(path)) => {
                let address = SockAddr::unix(path)?;
                let socket = options::open(Domain::UNIX, Type::STREAM, calls)?;
                begin_to_connect(&socket, &address, to, calls)?;
                Ok(socket.map(|socket| Self::Unix(UnixStream::from_std(socket.into()))))
            }
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
    pub(super) fn is_established(&self, calls: &impl Calls) -> io::Result<bool> {
        let fd = self.as_raw_fd();
        let error = match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        };
        let code = error.as_ref().ok().map(|error| error.as_ref().and_then(io::Error::raw_os_error).unwrap_or(0));
        let error = told(calls, &Call::GetOption { fd, name: "SO_ERROR", value: code.map(i64::from) }, error)?;
        if let Some(error) = error {
            return Err(error);
        }
        let Self::Tcp(stream) = self else { return Ok(true) };
        let peer = stream.peer_addr();
        let address = peer.as_ref().ok().copied().map(Address::Ip);
        match told(calls, &Call::PeerName { fd, address: address.as_ref() }, peer) {
            // A simultaneous open with itself (RFC 9293, 3.5): for a port of the ephemeral range without a listener,
            // the kernel may pick that very port to connect from.
            Ok(peer) if local_name(stream, calls)? == peer => {
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

impl AsRawFd for Stream {
    #[inline(always)]
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// connect(2); an event tells when it is over.
fn begin_to_connect(socket: &Socket, address: &SockAddr, to: &Address, calls: &impl Calls) -> io::Result<()> {
    match told(calls, &Call::Connect { fd: socket.as_raw_fd(), to }, socket.connect(address)) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
        _ => Ok(()),
    }
}

/// getsockname(2)
fn local_name(stream: &TcpStream, calls: &impl Calls) -> io::Result<SocketAddr> {
    let local = stream.local_addr();
    let address = local.as_ref().ok().copied().map(Address::Ip);
    told(calls, &Call::SocketName { fd: stream.as_raw_fd(), address: address.as_ref() }, local)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;
    use crate::reactor::calls::Quiet;

    #[test]
    fn dialled_stream_notices_that_its_server_has_vanished() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = Address::Ip(listener.local_addr().unwrap());
        for from in [None, Some("127.0.0.2".parse().unwrap())] {
            let held = Stream::connect(&to, from, &Quiet).unwrap();
            let Stream::Tcp(dialled) = &*held else { panic!("it is a TCP address") };
            let dialled = SockRef::from(dialled);
            assert!(dialled.keepalive().unwrap());
            assert_eq!(dialled.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
        }
    }
}
