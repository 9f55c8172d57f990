//! The states of a connection, and what each of its halves has come to.

use std::time::Duration;

use super::super::event::Readiness;
use crate::error::CloseReason;
use crate::moment::Moment;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum State {
    /// Dialled: whether the far side is there is not known yet.
    Connecting,
    Open,
    /// Closing: no more is read, what is owed is still sent.
    Finishing(CloseReason),
    /// Our FIN is out; the peer's is awaited, and what it sends meanwhile is thrown away. Closing with unread input
    /// would make the kernel drop what is still under way to the peer.
    Lingering(CloseReason),
}

impl State {
    /// Why the connection is being closed, if it is.
    pub(in crate::engine) fn closing(self) -> Option<CloseReason> {
        match self {
            Self::Finishing(why) | Self::Lingering(why) => Some(why),
            Self::Connecting | Self::Open => None,
        }
    }
}

/// What events have said and calls have used up. Events are edges: each is told once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// There may be something to read.
    pub(super) readable: bool,
    /// There may be room to write.
    pub(super) writable: bool,
    /// A short read has emptied the stream. It has not where a FIN, an error or an urgent mark may stand behind the
    /// bytes: they may share one edge, and there would be no second one.
    pub(super) short_read_drains: bool,
    /// The connection is broken, or closed on both sides. Reading or writing shows that where there is something to
    /// read or to write; else nothing but the event does.
    pub(super) hung_up: Option<CloseReason>,
}

impl Edge {
    /// Takes in what an event says.
    pub(super) fn apply(&mut self, event: Readiness) {
        let fatal = event.error || event.write_closed;
        self.readable |= event.readable || event.read_closed || fatal;
        self.writable |= event.writable || fatal;
        self.short_read_drains &= !(event.read_closed || event.priority || fatal);
        if fatal {
            self.hung_up = Some(if event.error { CloseReason::Reset } else { CloseReason::Peer });
        }
    }

    /// The next read is to find the end of what has arrived, whatever events have said.
    pub(super) fn assume_readable(&mut self) {
        self.readable = true;
        self.short_read_drains = false;
    }
}

/// What is still to come from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    /// The server is draining: what had arrived when that began is still read.
    Draining,
    /// The server is draining, and nothing is read any more.
    Stopped,
    /// The peer has finished sending.
    Ended,
}

/// What is still to come from the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    /// The service has said its last; it is sent as soon as there is room.
    Ending,
    /// Our FIN is out.
    Ended,
}

/// How much of what has arrived the service has been offered, with room to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    /// Not all of it.
    Part,
    /// All of it.
    All,
    /// All of it, and that the stream ends there.
    Last,
}

/// How long something may take, and what exceeding it means.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct TimeLimit {
    pub(super) since: Moment,
    pub(in crate::engine) length: Duration,
    pub(in crate::engine) why: CloseReason,
}

impl TimeLimit {
    pub(in crate::engine) fn is_over(self, now: Moment) -> bool {
        self.since + self.length <= now
    }
}
