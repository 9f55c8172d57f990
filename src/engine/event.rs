//! What an [`Engine`](super::Engine) is told: events of sockets, lines from outside, the request to drain.

use std::ops::BitOr;

use crate::service::{ConnId, ServiceId};

/// Something that has happened outside of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream registered under this id has become ready. Ignored if that connection has closed.
    Connection(ConnId, Readiness),
    /// Connections wait in the queue of the listener registered under this number.
    Listener(u32),
    /// The datagram socket registered under this number has become ready.
    Datagram {
        /// The socket's number.
        number: u32,
        /// A datagram or an error waits.
        readable: bool,
        /// The send buffer has room, or a Unix receiver has made room.
        writable: bool,
    },
    /// A line for a service, from the console or an embedder, without its terminator.
    Line(ServiceId, Vec<u8>),
    /// No more lines will come for a service.
    LinesEnded(ServiceId),
    /// A descriptor that is watched for a service has become ready.
    Ready(ServiceId),
    /// The server is to drain: [`Outbox::drain`](crate::service::Outbox::drain). A second time changes nothing.
    Drain,
}

/// What an event says about a connection (epoll_ctl(2)): a set of the constants below.
///
/// All of it is a hint that sets bits: recv(2), send(2) and SO_ERROR decide what has become of the connection. An edge
/// is told once; the engine keeps the bits until a call has used them up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness(u8);

impl Readiness {
    /// EPOLLIN: a read returns data, the end of the stream or an error.
    pub const READABLE: Self = Self(1);
    /// EPOLLOUT: a write finds room, or an error.
    pub const WRITABLE: Self = Self(1 << 1);
    /// EPOLLRDHUP: the peer has ended its stream. Its FIN may stand right behind data that the same edge tells of.
    pub const READ_CLOSED: Self = Self(1 << 2);
    /// EPOLLHUP: both directions are closed.
    pub const WRITE_CLOSED: Self = Self(1 << 3);
    /// EPOLLERR: the socket has an error (SO_ERROR, socket(7)).
    pub const ERROR: Self = Self(1 << 4);
    /// EPOLLPRI: urgent data (tcp(7)). A read stops at its mark, with data behind it.
    pub const PRIORITY: Self = Self(1 << 5);

    /// This set if `holds`, else the empty one.
    #[must_use]
    pub const fn when(self, holds: bool) -> Self {
        Self(self.0 * holds as u8)
    }

    /// Whether any of `these` is in it.
    pub const fn has_any(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }
}

impl BitOr for Readiness {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
