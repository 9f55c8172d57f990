//! The engine's [`Net`], made of mio's sockets: each call is passed on to the socket that it is for, and each socket is
//! registered for the events that it needs.
//!
//! mio registers edge-triggered (EPOLLET, epoll(7)): an event comes once, and what it says holds until a call shows that
//! it no longer does (`WouldBlock`, a short read). The engine remembers it.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use mio::Interest;

use super::calls::{Call, Calls, Epoll, Held, told, told_count};
use super::datagram::{self, Datagram};
use super::listener::Listener;
use super::stream::Stream;
use super::tcp_info;
use super::token::Token;
use crate::endpoint::Address;
use crate::engine::{Batch, LocalAddress, Net};
use crate::service::ConnId;

/// The epoll(7), and what sockets need beside it. `C` is told of each call.
#[derive(Debug)]
pub(super) struct Sockets<C: Calls> {
    pub(super) epoll: Epoll<C>,
    /// Room to look at what has arrived, made when it is first needed. Its pages are hardly ever touched.
    room: Option<Box<[u8]>>,
}

impl<C: Calls> Sockets<C> {
    pub(super) fn new(epoll: Epoll<C>) -> Self {
        Self { epoll, room: None }
    }

    #[inline(always)]
    fn calls(&self) -> &C {
        self.epoll.calls()
    }

    /// Tells that a socket was asked for its TCP_INFO.
    fn tcp_info<T>(&self, socket: &impl AsRawFd, told_what: io::Result<T>) -> io::Result<T> {
        told(self.calls(), &Call::GetOption { fd: socket.as_raw_fd(), name: "TCP_INFO", value: None }, told_what)
    }
}

impl<C: Calls> Net for Sockets<C> {
    type Stream = Held<Stream, C>;
    type Listener = Held<Listener, C>;
    type Datagram = Held<Datagram, C>;

    fn accept(&mut self, listener: &mut Self::Listener) -> io::Result<(Self::Stream, Address)> {
        listener.accept(self.calls())
    }

    fn waiting(&mut self, listener: &mut Self::Listener) -> Option<usize> {
        match &**listener {
            Listener::Tcp(socket) => self.tcp_info(socket, tcp_info::waiting(socket)).ok(),
            Listener::Unix { .. } => None,
        }
    }

    fn is_acknowledged(&mut self, stream: &mut Self::Stream) -> bool {
        match &**stream {
            // A connection that is broken has nobody to harm.
            Stream::Tcp(stream) => self.tcp_info(stream, tcp_info::is_acknowledged(stream)).unwrap_or(true),
            // What was sent is in the receiver's queue already (unix(7)).
            Stream::Unix(_) => true,
        }
    }

    fn connect(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Self::Stream> {
        Stream::connect(to, from, self.calls())
    }

    fn ask(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Self::Datagram> {
        Datagram::connected(to, from, self.calls())
    }

    fn established(&mut self, stream: &mut Self::Stream) -> io::Result<bool> {
        stream.is_established(self.calls())
    }

    fn register_stream(&mut self, stream: &mut Self::Stream, id: ConnId) -> io::Result<()> {
        let (fd, token) = (stream.as_raw_fd(), Token::Connection(id));
        match &mut **stream {
            // Once, for everything: to change the interest with each answer would cost a call each (8 to 16 % of the
            // CPU). PRIORITY because of urgent data (tcp(7)): a read stops at its mark, though more has arrived.
            Stream::Tcp(stream) => {
                self.epoll.add(stream, fd, token, Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY)
            }
            Stream::Unix(stream) => self.epoll.add(stream, fd, token, interest(false)),
        }
    }

    fn register_listener(&mut self, listener: &mut Self::Listener, number: u32) -> io::Result<()> {
        let fd = listener.as_raw_fd();
        self.epoll.add(listener.source(), fd, Token::Listener(number), Interest::READABLE)
    }

    fn register_datagram(&mut self, socket: &mut Self::Datagram, number: u32) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        self.epoll.add(socket.source(), fd, Token::Datagram(number), interest(false))
    }

    fn short_read_drains(&self, stream: &Self::Stream) -> bool {
        // A Unix stream's read also ends where ancillary data or another sender's bytes begin (unix(7)), though more
        // has arrived.
        matches!(&**stream, Stream::Tcp(_))
    }

    fn arm_stream(&mut self, stream: &mut Self::Stream, id: ConnId, output_waits: bool) -> io::Result<()> {
        let fd = stream.as_raw_fd();
        match &mut **stream {
            // It is registered for writability anyway.
            Stream::Tcp(_) => Ok(()),
            Stream::Unix(stream) => self.epoll.modify(stream, fd, Token::Connection(id), interest(output_waits)),
        }
    }

    #[inline(always)]
    fn recv(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
        let result = stream.receive(buffer);
        if !C::TELLS {
            return result;
        }
        let (fd, room) = (stream.as_raw_fd(), buffer.len());
        let bytes = result.as_ref().ok().and_then(|count| buffer.get(..*count)).unwrap_or_default();
        let call = Call::Receive { name: "recvfrom", fd, bytes, room, is_peek: false, from: None };
        told_count(self.calls(), &call, result)
    }

    fn arrived(&mut self, stream: &mut Self::Stream) -> io::Result<usize> {
        // More than any receive buffer holds (net.ipv4.tcp_rmem).
        const ROOM: usize = 64 << 20;
        let result = stream.arrived(self.room.get_or_insert_with(|| vec![0; ROOM].into()));
        let fd = stream.as_raw_fd();
        let call = Call::Receive { name: "recvfrom", fd, bytes: &[], room: ROOM, is_peek: true, from: None };
        told_count(self.calls(), &call, result)
    }

    #[inline(always)]
    fn send(&mut self, stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize> {
        let result = stream.send(bytes);
        if !C::TELLS {
            return result;
        }
        let call = Call::Send { name: "sendto", fd: stream.as_raw_fd(), bytes, to: None, segment: None };
        told_count(self.calls(), &call, result)
    }

    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<()> {
        told(self.calls(), &Call::Shutdown { fd: stream.as_raw_fd() }, stream.shutdown_write())
    }

    fn receive(&mut self, socket: &mut Self::Datagram, batch: &mut Batch) -> io::Result<bool> {
        datagram::receive(socket, batch, self.calls())
    }

    fn send_to(
        &mut self,
        socket: &mut Self::Datagram,
        bytes: &[u8],
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()> {
        datagram::send_to(socket, bytes, to, from, self.calls())
    }

    fn send_run(
        &mut self,
        socket: &mut Self::Datagram,
        bytes: &[u8],
        segment: usize,
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()> {
        datagram::send_run(socket, bytes, segment, to, from, self.calls())
    }

    fn arm_datagram(&mut self, socket: &mut Self::Datagram, number: u32, output_waits: bool) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        self.epoll.modify(socket.source(), fd, Token::Datagram(number), interest(output_waits))
    }

    fn kernel_drops<'a>(&self, sockets: impl Iterator<Item = &'a Self::Datagram>) -> u64
    where
        Self::Datagram: 'a,
    {
        datagram::kernel_drops(sockets.map(|socket| &**socket))
    }
}

/// The events that a Unix stream or a datagram socket is registered for: writability only while output waits.
///
/// A Unix stream reports that it is writable whenever its peer reads, a datagram socket whenever something that it sent
/// has left. Without this each answer would wake the loop twice (round trips a third slower).
fn interest(output_waits: bool) -> Interest {
    if output_waits { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}
