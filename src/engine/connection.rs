//! One connection: its state, the facts beside it, and what follows from them.
//!
//! Pure: no socket is touched here. `step` acts on what these functions say.

use std::collections::VecDeque;
use std::time::Duration;

use super::buffer::{Lent, held};
use super::net::Readiness;
use crate::endpoint::Address;
use crate::error::CloseReason;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{ConnId, HIGH_MARK};

/// Unsent bytes at which a congested connection is read again.
const LOW_MARK: usize = HIGH_MARK / 4;

/// Bytes thrown away of a peer that sends on after we have closed.
const LINGER_BYTES: u32 = 4 << 20;

#[derive(Debug)]
pub(super) struct Connection<T> {
    pub(super) stream: T,
    pub(super) serial: u32,
    pub(super) service: u16,
    /// Timers set for it that have not run out.
    pub(super) timers: u32,
    pub(super) tag: u64,
    /// What has arrived and was not taken.
    pub(super) rx: Lent,
    /// What was answered and not yet sent.
    pub(super) tx: Lent,
    pub(super) state: State,
    /// When the last byte came in or went out, those thrown away not counted.
    pub(super) active: Moment,
    /// When output last moved, or began to wait.
    pub(super) progress: Moment,
    pub(super) peer: Address,

    /// There may be something to read. Set by events, cleared by `WouldBlock` or by a short read.
    pub(super) readable: bool,
    /// There may be room to write. Set by events, cleared by `WouldBlock` or by a short write.
    pub(super) writable: bool,
    /// We have made it, to ask; else the peer has.
    is_dialled: bool,
    /// Whether we have more to say.
    pub(super) sending: Sending,
    /// A short read does not mean that nothing is left: a FIN, an error or an urgent mark may stand behind it.
    pub(super) no_short_stop: bool,
    /// An event has told that the connection is broken, or closed on both sides. While there is something to read or
    /// to write, that shows itself; else nobody would ever notice.
    pub(super) hung_up: Option<CloseReason>,
    /// The peer has finished sending.
    pub(super) eof: bool,
    /// The service has been offered the unterminated rest at the end of the stream.
    pub(super) last_given: bool,
    /// The service wants more bytes than `rx` holds.
    pub(super) hungry: bool,
    /// The service owes an answer and wants nothing until it is given.
    pub(super) paused: bool,
    /// So much output waits that no more is made, until it has fallen under the low mark.
    pub(super) congested: bool,
    /// In the run queue.
    pub(super) queued: bool,
    /// The server is shutting down: nothing is read any more.
    pub(super) draining: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Dialled: whether anyone is there is not known yet.
    Connecting,
    Open,
    /// Closing: no more is read, what is owed is still sent.
    Finishing(CloseReason),
    /// Our FIN is out; the peer's is awaited, and what it sends meanwhile is thrown away. Closing with unread input
    /// would make the kernel drop what is still under way to the peer.
    Lingering {
        why: CloseReason,
        left: u32,
    },
}

impl State {
    /// Why the connection is being closed, if it is.
    pub(super) fn closing(self) -> Option<CloseReason> {
        match self {
            Self::Finishing(why) | Self::Lingering { why, .. } => Some(why),
            Self::Connecting | Self::Open => None,
        }
    }
}

/// How long something may take, and what exceeding it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimit {
    since: Moment,
    pub(super) length: Duration,
    pub(super) why: CloseReason,
}

impl TimeLimit {
    pub(super) fn is_over(self, now: Moment) -> bool {
        self.since + self.length <= now
    }
}

/// How far our half of the conversation has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    /// The service has said its last; it is sent as soon as there is room.
    Ending,
    /// Our FIN is out.
    Ended,
}

impl<T> Connection<T> {
    /// An accepted connection: writable from the start.
    pub(super) fn accepted(stream: T, service: u16, peer: Address, short_read_drains: bool, now: Moment) -> Self {
        let dialled = Self::dialled(stream, service, peer, short_read_drains, now);
        Self { state: State::Open, writable: true, is_dialled: false, ..dialled }
    }

    /// A connection that we have begun to make: it becomes writable when it is there.
    pub(super) fn dialled(stream: T, service: u16, peer: Address, short_read_drains: bool, now: Moment) -> Self {
        Self {
            stream,
            serial: 0,
            service,
            timers: 0,
            tag: 0,
            rx: None,
            tx: None,
            state: State::Connecting,
            active: now,
            progress: now,
            peer,
            readable: false,
            writable: false,
            is_dialled: true,
            sending: Sending::Open,
            no_short_stop: !short_read_drains,
            hung_up: None,
            eof: false,
            last_given: false,
            hungry: false,
            paused: false,
            congested: false,
            queued: false,
            draining: false,
        }
    }

    /// Takes in what an event says.
    pub(super) fn apply(&mut self, event: Readiness) {
        let fatal = event.error || event.write_closed;
        self.readable |= event.readable || event.read_closed || fatal;
        self.writable |= event.writable || fatal;
        // Data and FIN may share one edge: after a short read there would be no second one, and the connection
        // would be left for ever. At an urgent mark bytes stay behind likewise.
        self.no_short_stop |= event.read_closed || event.priority || fatal;
        if fatal {
            self.hung_up = Some(if event.error { CloseReason::Reset } else { CloseReason::Peer });
        }
    }

    pub(super) fn has_output(&self) -> bool {
        self.tx.is_some()
    }

    /// Whether the next step reads from the socket.
    pub(super) fn wants_read(&self) -> bool {
        match self.state {
            State::Open => {
                let is_willing = !self.draining && !self.paused && !self.congested;
                self.readable && !self.eof && is_willing && (self.rx.is_none() || self.hungry)
            }
            State::Connecting | State::Finishing(_) => false,
            State::Lingering { .. } => self.readable && !self.eof,
        }
    }

    /// Whether what has been read is to be offered to the service.
    pub(super) fn wants_service(&self) -> bool {
        let offered = match self.eof {
            true => self.last_given && (self.rx.is_none() || self.hungry),
            false => self.rx.is_none() || self.hungry,
        };
        self.state == State::Open && !self.paused && !self.congested && !offered
    }

    fn wants_write(&self) -> bool {
        self.has_output() && self.writable
    }

    /// Whether a step now would get anywhere.
    pub(super) fn is_runnable(&self) -> bool {
        let has_outcome = self.state == State::Connecting && self.writable;
        has_outcome || self.wants_read() || self.wants_service() || self.wants_write()
    }

    /// Puts it into the run queue, if a step would get anywhere and it is not there already.
    pub(super) fn enqueue(&mut self, id: ConnId, runnable: &mut VecDeque<ConnId>) {
        if self.is_runnable() && !self.queued {
            self.queued = true;
            runnable.push_back(id);
        }
    }

    /// Sets `congested` from what waits to be sent. Not where we ask: what is read there makes no output, and not
    /// reading could make both sides wait for each other.
    pub(super) fn weigh(&mut self) {
        if self.is_dialled {
            return;
        }
        let mark = if self.congested { LOW_MARK + 1 } else { HIGH_MARK };
        self.congested = held(&self.tx) >= mark;
    }

    /// Open, with nothing in its buffers and nothing to do until the next event.
    pub(super) fn is_at_rest(&self) -> bool {
        let untouched = self.rx.is_none() && self.tx.is_none() && !self.paused && !self.readable;
        untouched
            && self.hung_up.is_none()
            && self.state == State::Open
            && self.sending != Sending::Ending
            && !self.eof
            && !self.draining
    }

    /// Why an open connection is over, if it is: nothing is owed, and nothing more will be asked.
    pub(super) fn verdict(&self) -> Option<CloseReason> {
        let nothing_owed = !self.paused && !self.has_output() && !self.wants_service();
        if self.state != State::Open || !nothing_owed {
            None
        } else if self.eof {
            Some(CloseReason::Peer)
        } else if self.draining {
            Some(CloseReason::Shutdown)
        } else {
            None
        }
    }

    /// Enters the last two states; the only place that does.
    pub(super) fn finish(&mut self, why: CloseReason) {
        if self.state == State::Open {
            self.state = State::Finishing(why);
            self.paused = false;
        }
    }

    /// Our FIN has been sent.
    pub(super) fn linger(&mut self, why: CloseReason) {
        self.state = State::Lingering { why, left: LINGER_BYTES };
        // Whatever was left unread by a short read or by a pause is to be looked at once.
        self.readable = true;
        self.no_short_stop = true;
    }

    /// Takes in that `count` bytes were thrown away; whether the peer has finished, or has sent more than enough.
    pub(super) fn has_lingered(&mut self, count: usize) -> bool {
        let State::Lingering { left, .. } = &mut self.state else { return false };
        *left = left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        self.eof || *left == 0
    }

    /// The time limit that applies to it now.
    pub(super) fn time_limit(&self, limits: &Limits) -> Option<TimeLimit> {
        let limit = |since, length, why| Some(TimeLimit { since, length, why });
        match self.state {
            State::Lingering { why, .. } => limit(self.active, limits.linger, why),
            _ if self.has_output() => limit(self.progress, limits.stall_timeout, CloseReason::Stall),
            State::Open if !self.paused && !self.wants_service() => {
                limits.idle_timeout.and_then(|timeout| limit(self.active, timeout, CloseReason::Idle))
            }
            State::Connecting | State::Open | State::Finishing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_less_than_two_cache_lines() {
        // What a stream is in production: an enum of two descriptors.
        assert!(size_of::<Connection<(i32, i32)>>() <= 112, "{}", size_of::<Connection<(i32, i32)>>());
    }
}
