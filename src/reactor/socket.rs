//! The engine's [`Net`], made of mio's sockets.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Poll};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::clock::Clock;
use super::datagram::{self, Datagram, Headers};
use super::listener::Listener;
use super::token::Token;
use crate::endpoint::Address;
use crate::engine::{Batch, Net};
use crate::moment::Moment;
use crate::service::ConnId;

/// mio's sockets, and the poll that watches them.
#[derive(Debug)]
pub struct Sockets {
    pub(super) poll: Poll,
    headers: Headers,
    /// Where time is kept exactly: the clock to read.
    pub(super) exact: Option<Clock>,
}

/// A connection's socket.
#[derive(Debug)]
pub enum Stream {
    /// tcp(7)
    Tcp(TcpStream),
    /// unix(7)
    Unix(UnixStream),
}

impl Sockets {
    pub(super) fn new(poll: Poll) -> Self {
        Self { poll, headers: Headers::new(), exact: None }
    }
}

fn source_of(socket: &mut Datagram) -> &mut dyn Source {
    match socket {
        Datagram::Specific { socket, .. } | Datagram::Asking { socket, .. } | Datagram::Wildcard(socket) => socket,
        Datagram::Unix(socket, _) => socket,
    }
}

/// With each write a Unix peer's read, and with each send a datagram's delivery, makes the socket writable anew: an
/// edge nobody waits for. So these are asked for only while output waits.
fn interest(output_waits: bool) -> Interest {
    if output_waits { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}

/// Begins to connect from this address. The port is taken when it connects, not when it is bound: else it would be
/// taken for all far sides at once.
fn connect_from(to: SocketAddr, from: IpAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None)?;
    bind_without_port(&socket, from)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

pub(super) fn bind_without_port(socket: &Socket, from: IpAddr) -> io::Result<()> {
    setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(from, 0).into())
}

impl Net for Sockets {
    type Stream = Stream;
    type Listener = Listener;
    type Datagram = Datagram;

    fn accept(&mut self, listener: &mut Listener) -> io::Result<(Stream, Address)> {
        match listener {
            Listener::Tcp(socket) => socket.accept().map(|(stream, peer)| (Stream::Tcp(stream), Address::Ip(peer))),
            Listener::Unix(socket, _) => socket.accept().map(|(stream, _)| (Stream::Unix(stream), Address::Unix(None))),
        }
    }

    fn connect(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Stream> {
        match to {
            Address::Ip(to) => {
                let stream = match from {
                    None => TcpStream::connect(*to)?,
                    Some(from) => connect_from(*to, from)?,
                };
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Address::Unix(Some(path)) => UnixStream::connect(path).map(Stream::Unix),
            Address::Unix(None) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn ask(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Datagram> {
        datagram::asking(to, from)
    }

    fn now(&self, turn: Moment) -> Moment {
        self.exact.map_or(turn, Clock::now)
    }

    fn established(&mut self, stream: &mut Stream) -> io::Result<bool> {
        // Events are hints; these two tell.
        let error = match stream {
            Stream::Tcp(stream) => stream.take_error()?,
            Stream::Unix(stream) => stream.take_error()?,
        };
        if let Some(error) = error {
            return Err(error);
        }
        let Stream::Tcp(stream) = stream else { return Ok(true) };
        match stream.peer_addr() {
            // TCP's simultaneous open with itself (RFC 9293, 3.5): where nobody listens, a port may be its own peer.
            Ok(peer) if stream.local_addr()? == peer => {
                Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connected to itself: nobody listens there"))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn register_stream(&mut self, stream: &mut Stream, id: ConnId) -> io::Result<()> {
        let token = Token::Connection(id).into();
        match stream {
            // Once and for all: a change of interest for each answer would cost a call each.
            Stream::Tcp(stream) => self.poll.registry().register(
                stream,
                token,
                Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY,
            ),
            Stream::Unix(stream) => self.poll.registry().register(stream, token, interest(false)),
        }
    }

    fn register_listener(&mut self, listener: &mut Listener, number: u32) -> io::Result<()> {
        let token = Token::Listener(number).into();
        match listener {
            Listener::Tcp(socket) => self.poll.registry().register(socket, token, Interest::READABLE),
            Listener::Unix(socket, _) => self.poll.registry().register(socket, token, Interest::READABLE),
        }
    }

    fn register_datagram(&mut self, socket: &mut Datagram, number: u32) -> io::Result<()> {
        self.poll.registry().register(source_of(socket), Token::Datagram(number).into(), interest(false))
    }

    fn short_read_drains(&self, stream: &Stream) -> bool {
        matches!(stream, Stream::Tcp(_))
    }

    fn arm_stream(&mut self, stream: &mut Stream, id: ConnId, output_waits: bool) -> io::Result<()> {
        match stream {
            Stream::Tcp(_) => Ok(()),
            Stream::Unix(stream) => {
                self.poll.registry().reregister(stream, Token::Connection(id).into(), interest(output_waits))
            }
        }
    }

    fn recv(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        match stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    fn send(&mut self, stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
        match stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn shutdown_write(&mut self, stream: &mut Stream) -> io::Result<()> {
        match stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn receive(&mut self, socket: &mut Datagram, batch: &mut Batch) -> io::Result<bool> {
        self.headers.receive(socket, batch)
    }

    fn send_to(&mut self, socket: &mut Datagram, bytes: &[u8], to: &Address, from: Option<IpAddr>) -> io::Result<()> {
        self.headers.send_to(socket, bytes, to, from)
    }

    fn arm_datagram(&mut self, socket: &mut Datagram, number: u32, output_waits: bool) -> io::Result<()> {
        self.poll.registry().reregister(source_of(socket), Token::Datagram(number).into(), interest(output_waits))
    }

    fn kernel_drops<'a>(&self, sockets: impl Iterator<Item = &'a Datagram>) -> u64 {
        datagram::kernel_drops(sockets)
    }
}
