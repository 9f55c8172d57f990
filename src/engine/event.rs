//! What an [`Engine`](super::Engine) is told.

use crate::service::{ConnId, ServiceId};

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection may be ready for something. For one that has gone the event is stale and does nothing.
    Connection(ConnId, Readiness),
    /// Connections wait in the queue of the listener with this number.
    Listener(u32),
    /// A datagram socket may be ready for something.
    Datagram {
        /// The socket's number.
        number: u32,
        /// Datagrams wait, or an error does.
        readable: bool,
        /// There is room in the send buffer, or a Unix receiver has made room.
        writable: bool,
    },
    /// A line for a service, from the console or an embedder, without its end.
    Line(ServiceId, Vec<u8>),
    /// There are no more lines for a service.
    LinesEnded(ServiceId),
    /// The server is to shut down; a second time this changes nothing.
    Drain,
}

/// What an event says of a connection. All but `readable` and `writable` are hints: reading and writing decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Something to read, be it the end or an error.
    pub readable: bool,
    /// Room to write.
    pub writable: bool,
    /// The peer has finished sending: a FIN may stand right behind the data of the same edge.
    pub read_closed: bool,
    /// Neither side will send any more.
    pub write_closed: bool,
    /// The socket has an error.
    pub error: bool,
    /// Urgent data (tcp(7)): a read stops at its mark.
    pub priority: bool,
}
