//! The engine's [`Net`], made of mio's sockets: each call is passed on to the socket that it is for, and each socket is
//! registered for the events that it needs.
//!
//! mio registers edge-triggered (EPOLLET, epoll(7)): an event comes once, and what it says holds until a call shows that
//! it no longer does (`WouldBlock`, a short read). The engine remembers it.

use std::io;
use std::net::IpAddr;

use mio::{Interest, Poll};

use super::datagram::{self, Datagram};
use super::listener::Listener;
use super::stream::Stream;
use super::tcp_info;
use super::token::Token;
use crate::endpoint::Address;
use crate::engine::{Batch, LocalAddress, Net};
use crate::service::ConnId;

/// The poll, and what sockets need beside it.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) poll: Poll,
    /// Room to look at what has arrived, made when it is first needed. Its pages are hardly ever touched.
    room: Option<Box<[u8]>>,
}

impl Sockets {
    pub(super) fn new(poll: Poll) -> Self {
        Self { poll, room: None }
    }
}

impl Net for Sockets {
    type Stream = Stream;
    type Listener = Listener;
    type Datagram = Datagram;

    fn accept(&mut self, listener: &mut Listener) -> io::Result<(Stream, Address)> {
        listener.accept()
    }

    fn waiting(&mut self, listener: &mut Listener) -> Option<usize> {
        match listener {
            Listener::Tcp(socket) => tcp_info::waiting(socket).ok(),
            Listener::Unix { .. } => None,
        }
    }

    fn is_acknowledged(&mut self, stream: &mut Stream) -> bool {
        match stream {
            // A connection that is broken has nobody to harm.
            Stream::Tcp(stream) => tcp_info::is_acknowledged(stream).unwrap_or(true),
            // What was sent is in the receiver's queue already (unix(7)).
            Stream::Unix(_) => true,
        }
    }

    fn connect(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Stream> {
        Stream::connect(to, from)
    }

    fn ask(&mut self, to: &Address, from: Option<IpAddr>) -> io::Result<Datagram> {
        Datagram::connected(to, from)
    }

    fn established(&mut self, stream: &mut Stream) -> io::Result<bool> {
        stream.is_established()
    }

    fn register_stream(&mut self, stream: &mut Stream, id: ConnId) -> io::Result<()> {
        let token = Token::Connection(id).into();
        match stream {
            // Once, for everything: to change the interest with each answer would cost a call each (8 to 16 % of the
            // CPU). PRIORITY because of urgent data (tcp(7)): a read stops at its mark, though more has arrived.
            Stream::Tcp(stream) => self.poll.registry().register(
                stream,
                token,
                Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY,
            ),
            Stream::Unix(stream) => self.poll.registry().register(stream, token, interest(false)),
        }
    }

    fn register_listener(&mut self, listener: &mut Listener, number: u32) -> io::Result<()> {
        self.poll.registry().register(listener.source(), Token::Listener(number).into(), Interest::READABLE)
    }

    fn register_datagram(&mut self, socket: &mut Datagram, number: u32) -> io::Result<()> {
        self.poll.registry().register(socket.source(), Token::Datagram(number).into(), interest(false))
    }

    fn short_read_drains(&self, stream: &Stream) -> bool {
        // A Unix stream's read also ends where ancillary data or another sender's bytes begin (unix(7)), though more
        // has arrived.
        matches!(stream, Stream::Tcp(_))
    }

    fn arm_stream(&mut self, stream: &mut Stream, id: ConnId, output_waits: bool) -> io::Result<()> {
        match stream {
            // It is registered for writability anyway.
            Stream::Tcp(_) => Ok(()),
            Stream::Unix(stream) => {
                self.poll.registry().reregister(stream, Token::Connection(id).into(), interest(output_waits))
            }
        }
    }

    #[inline(always)]
    fn recv(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.receive(buffer)
    }

    fn arrived(&mut self, stream: &mut Stream) -> io::Result<usize> {
        // More than any receive buffer holds (net.ipv4.tcp_rmem).
        const ROOM: usize = 64 << 20;
        stream.arrived(self.room.get_or_insert_with(|| vec![0; ROOM].into()))
    }

    #[inline(always)]
    fn send(&mut self, stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
        stream.send(bytes)
    }

    fn shutdown_write(&mut self, stream: &mut Stream) -> io::Result<()> {
        stream.shutdown_write()
    }

    fn receive(&mut self, socket: &mut Datagram, batch: &mut Batch) -> io::Result<bool> {
        datagram::receive(socket, batch)
    }

    fn send_to(
        &mut self,
        socket: &mut Datagram,
        bytes: &[u8],
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()> {
        datagram::send_to(socket, bytes, to, from)
    }

    fn send_run(
        &mut self,
        socket: &mut Datagram,
        bytes: &[u8],
        segment: usize,
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()> {
        datagram::send_run(socket, bytes, segment, to, from)
    }

    fn arm_datagram(&mut self, socket: &mut Datagram, number: u32, output_waits: bool) -> io::Result<()> {
        self.poll.registry().reregister(socket.source(), Token::Datagram(number).into(), interest(output_waits))
    }

    fn kernel_drops<'a>(&self, sockets: impl Iterator<Item = &'a Datagram>) -> u64 {
        datagram::kernel_drops(sockets)
    }
}

/// The events that a Unix stream or a datagram socket is registered for: writability only while output waits.
///
/// A Unix stream reports that it is writable whenever its peer reads, a datagram socket whenever something that it sent
/// has left. Without this each answer would wake the loop twice (round trips a third slower).
fn interest(output_waits: bool) -> Interest {
    if output_waits { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}
