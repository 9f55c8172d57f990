//! The states of a connection, what events have told of its socket, and what has become of each direction.
//!
//! Plain data: `connection` decides what changes it, `io` what calls use up.

use std::time::Duration;

use super::super::event::Readiness;
use crate::error::CloseReason;
use crate::moment::Moment;

/// How far a connection has come on its way from dialling to closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum State {
    /// Dialled, without an outcome yet.
    Connecting,
    Open,
    /// Being closed: nothing is read or served any more, unsent output is still sent.
    Finishing(CloseReason),
    /// Our FIN has been sent and the peer's is awaited; input is discarded meanwhile. A close(2) with unread input
    /// would make the kernel send a reset and drop the output that is still under way.
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

/// What events have told of a socket and calls have not used up yet. Events are edges: each is told once (EPOLLET,
/// epoll(7)).
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// A read may return something.
    pub(super) readable: bool,
    /// A write may find room.
    pub(super) writable: bool,
    /// A short read means that the stream is empty. False from the event on that tells of a FIN, an error or an urgent
    /// mark: these may stand behind the data of the same edge.
    pub(super) short_read_drains: bool,
    /// An event told that the connection is broken, or closed in both directions. A read or a write would find that
    /// out; a connection that does neither now is closed on account of this.
    pub(super) hung_up: Option<CloseReason>,
}

impl Edge {
    /// Adds what an event says. Errors and hang-ups set both bits: the next call finds out what has happened.
    pub(super) fn apply(&mut self, event: Readiness) {
        let broken = Readiness::ERROR | Readiness::WRITE_CLOSED;
        self.readable |= event.has_any(Readiness::READABLE | Readiness::READ_CLOSED | broken);
        self.writable |= event.has_any(Readiness::WRITABLE | broken);
        self.short_read_drains &= !event.has_any(Readiness::READ_CLOSED | Readiness::PRIORITY | broken);
        if event.has_any(broken) {
            let is_error = event.has_any(Readiness::ERROR);
            self.hung_up = Some(if is_error { CloseReason::Reset } else { CloseReason::Peer });
        }
    }

    /// Assumes that there is something to read, though no event said so, and has reads go on until `WouldBlock`.
    pub(super) fn assume_readable(&mut self) {
        self.readable = true;
        self.short_read_drains = false;
    }
}

/// What has become of the direction from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    /// The server or the service drains: what had arrived when the drain began is still read.
    Draining,
    /// The server or the service drains, and nothing is read any more.
    Stopped,
    /// The end of the stream has been read.
    Ended,
}

/// What has become of the direction to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    /// The service has ended it; our FIN follows the unsent output.
    Ending,
    /// Our FIN has been sent.
    Ended,
}

/// How much of the input the service has been offered, with room for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    /// Not all of it.
    Part,
    /// All of it.
    All,
    /// All of it, since the stream has ended.
    Last,
}

/// A limit of time on a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct TimeLimit {
    pub(super) since: Moment,
    pub(in crate::engine) length: Duration,
    /// The reason of the close when it is over.
    pub(in crate::engine) why: CloseReason,
}

impl TimeLimit {
    pub(in crate::engine) fn is_over(self, now: Moment) -> bool {
        self.since + self.length <= now
    }
}
