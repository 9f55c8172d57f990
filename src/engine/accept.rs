//! Accepting: which connections are let in, how many in a turn, and what happens when descriptors run out.
//!
//! Listeners are edge-triggered too. A listener stays `readable` until accept4(2) returns `WouldBlock`, even while a
//! limit or a lack of descriptors forbids accepting, because its event is not repeated. `Engine::dispatch` calls
//! `accept_pending` once a turn; `drain` empties the queues before it closes the listeners.
//!
//! Errors of accept4(2) never end the server and never make it spin. Those of one connection (`ConnectionAborted`) and
//! `Interrupted` are skipped. All others, EMFILE and ENFILE above all, pause accepting until a connection of ours
//! closes or [`RETRY_AFTER`] is over.

use std::collections::HashMap;
use std::io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
use std::net::IpAddr;
use std::time::Duration;

use super::budget::Source;
use super::connection::Connection;
use super::net::Net;
use super::seldom::Seldom;
use super::{Engine, ServiceId};
use crate::endpoint::Address;
use crate::error::{CloseReason, is_exhaustion};
use crate::moment::Moment;
use crate::service::{ConnId, Service};

/// Connections accepted from one listener in one turn: the rest waits in the kernel, so that a burst of connects does
/// not hold up open connections.
const ACCEPTS_PER_TURN: usize = 16;

/// Connections accepted from a closing listener at most, where the kernel does not tell how many wait.
const LONGEST_QUEUE: usize = 65_536;

/// How long accepting pauses after an error, unless a connection closes before.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The listeners, and what admission depends on.
#[derive(Debug)]
pub(super) struct Acceptor<L> {
    pub(super) listeners: Vec<Listener<L>>,
    /// While accepting pauses after an error: when it is tried again.
    retry_at: Option<Moment>,
    /// When the last warning about such an error, or about the connection limit, was logged.
    warned: Seldom,
    /// Accepted connections that are open, by source; empty unless `max_per_ip` is set.
    per_source: HashMap<Source, u32>,
    pub(super) once: Once,
}

#[derive(Debug)]
pub(super) struct Listener<L> {
    socket: L,
    pub(super) number: u32,
    pub(super) service: ServiceId,
    /// Connections may wait in the queue: an event said so, and accept has not returned `WouldBlock` since.
    readable: bool,
    /// Set when the listener is to close: the connections in its queue that are still to be accepted before.
    closing: Option<usize>,
}

/// Whether the server drains when the first connection that it accepts has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    No,
    /// It will, and no connection has been accepted yet.
    Awaited,
    /// It will, when this connection has ended.
    Accepted(ConnId),
}

impl<L> Default for Acceptor<L> {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            retry_at: None,
            warned: Seldom::default(),
            per_source: HashMap::new(),
            once: Once::No,
        }
    }
}

impl<L> Acceptor<L> {
    /// Notes that connections wait in the queue of the listener with this number.
    pub(super) fn note_waiting(&mut self, number: u32) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.number == number) {
            listener.readable = true;
        }
    }

    /// When accepting is to be tried again, if it pauses while connections wait.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at.filter(|_| self.listeners.iter().any(|listener| listener.readable))
    }

    /// Ends the pause after an error: a connection has closed, and so a descriptor is free.
    pub(super) fn end_pause(&mut self) {
        self.retry_at = None;
    }

    /// Takes an accepted connection that has ended off its source's count.
    pub(super) fn count_out(&mut self, ip: Option<IpAddr>) {
        if !self.per_source.is_empty()
            && let Some(source) = ip.map(Source::from)
            && let Some(count) = self.per_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source);
            }
        }
    }

    /// Counts a new connection of this source, unless that has as many as it may. Returns whether it was counted.
    fn count_in(&mut self, peer: &Address, max_per_ip: Option<u32>) -> bool {
        let (Some(most), Some(ip)) = (max_per_ip, peer.ip()) else { return true };
        let count = self.per_source.entry(ip.into()).or_default();
        let has_room = *count < most;
        *count += u32::from(has_room);
        has_room
    }
}

impl<L> Listener<L> {
    pub(super) fn socket(&self) -> &L {
        &self.socket
    }

    /// Notes that a connection of its queue has been accepted.
    fn note_accepted(&mut self) {
        self.closing = self.closing.map(|left| left.saturating_sub(1));
        self.readable &= self.closing != Some(0);
    }

    /// Notes that its queue is empty.
    fn note_empty(&mut self) {
        self.readable = false;
        self.closing = self.closing.map(|_| 0);
    }
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Adds a listener, whose connections `service` gets. Fails where [`Net::register_listener`] does.
    pub fn listen(&mut self, service: ServiceId, mut socket: N::Listener) -> std::io::Result<()> {
        let number = self.acceptor.listeners.last().map_or(0, |last| last.number + 1);
        self.net.register_listener(&mut socket, number)?;
        self.acceptor.listeners.push(Listener { socket, number, service, readable: false, closing: None });
        Ok(())
    }

    /// Drains once the next connection to be accepted has ended. Datagrams do not count.
    pub fn drain_after_first(&mut self) {
        self.acceptor.once = Once::Awaited;
    }

    /// Whether connections wait and may be accepted now.
    pub(super) fn can_accept(&self) -> bool {
        self.table.len() < self.limits.max_connections
            && self.acceptor.retry_at.is_none_or(|at| at <= self.turn.now)
            && self.acceptor.listeners.iter().any(|listener| listener.readable)
    }

    /// Accepts from each listener where connections wait, up to [`ACCEPTS_PER_TURN`].
    pub(super) fn accept_pending(&mut self) {
        for listener in 0..self.acceptor.listeners.len() {
            self.accept(listener, ACCEPTS_PER_TURN);
        }
    }

    /// Accepts up to `budget` connections from one listener, until its queue is empty or a limit is reached.
    fn accept(&mut self, index: usize, budget: usize) {
        for _ in 0..budget {
            let Some(listener) = self.acceptor.listeners.get_mut(index).filter(|listener| listener.readable) else {
                return;
            };
            if self.table.len() >= self.limits.max_connections {
                return self.warn_of_limit();
            }
            if self.acceptor.retry_at.is_some_and(|at| self.turn.now < at) {
                return;
            }
            match self.net.accept(&mut listener.socket) {
                Ok((stream, peer)) => {
                    self.acceptor.retry_at = None;
                    let service = listener.service;
                    let is_closing = listener.closing.is_some();
                    listener.note_accepted();
                    self.admit(service, stream, peer, is_closing);
                }
                Err(error) => match error.kind() {
                    WouldBlock => listener.note_empty(),
                    // The peer of this connection gave up while it waited; the next one is not affected.
                    Interrupted | ConnectionAborted => {}
                    _ => self.pause_accepting(&error),
                },
            }
        }
    }

    /// Closes the listeners of these services once the connections in their queues now have been accepted: closing a
    /// listener resets them. At the connection limit that takes until others close, or the drain's time is up.
    pub(super) fn close_listeners(&mut self, of: impl Fn(ServiceId) -> bool) {
        let Self { net, acceptor, .. } = self;
        for listener in acceptor.listeners.iter_mut().filter(|listener| of(listener.service)) {
            listener.closing = Some(net.waiting(&mut listener.socket).unwrap_or(LONGEST_QUEUE));
            listener.readable = true;
        }
        // By number, because the list may change: an accepted connection may make its service retire.
        let listeners = self.acceptor.listeners.iter().filter(|listener| listener.closing.is_some());
        let numbers: Vec<u32> = listeners.map(|listener| listener.number).collect();
        for number in numbers {
            let found = self.acceptor.listeners.iter().position(|listener| listener.number == number);
            if let Some(index) = found {
                self.accept(index, LONGEST_QUEUE);
            }
        }
        self.close_empty_listeners();
    }

    /// Closes the listeners that are to close and have nothing left to accept.
    pub(super) fn close_empty_listeners(&mut self) {
        self.acceptor.listeners.retain(|listener| listener.closing != Some(0));
    }

    /// The number of connections in the listeners' queues, as far as the kernel tells.
    pub(super) fn waiting(&mut self) -> usize {
        let Self { net, acceptor, .. } = self;
        acceptor.listeners.iter_mut().filter_map(|listener| net.waiting(&mut listener.socket)).sum()
    }

    /// Makes a connection of an accepted stream, or closes the stream where a limit forbids it. The service's greeting
    /// leaves at once: an accepted socket is writable from the start.
    fn admit(&mut self, service: ServiceId, stream: N::Stream, peer: Address, is_closing: bool) {
        self.turn.stats.accepted += 1;
        if !self.acceptor.count_in(&peer, self.limits.max_per_ip) {
            self.turn.stats.count_close(CloseReason::Limit);
            return self.log(service, &peer, format_args!("turned away (limit)"));
        }
        self.log(service, &peer, format_args!("connected"));
        let drains = self.net.short_read_drains(&stream);
        let Ok(id) = self.enroll(Connection::accepted(stream, service, peer.clone(), drains, self.turn.now)) else {
            self.turn.stats.count_close(CloseReason::Limit);
            self.acceptor.count_out(peer.ip());
            return self.log(service, &peer, format_args!("closed (limit)"));
        };
        if self.acceptor.once == Once::Awaited {
            self.acceptor.once = Once::Accepted(id);
        }
        self.call(id, |service, peer, out| service.opened(peer, out));
        if is_closing {
            self.drain_connection(id);
        }
    }

    fn warn_of_limit(&mut self) {
        if self.acceptor.warned.may(self.turn.now) {
            let most = self.limits.max_connections;
            log::warn!("{most} connections are open, as many as may be: the backlog holds new ones until one closes");
        }
    }

    fn pause_accepting(&mut self, error: &std::io::Error) {
        self.acceptor.retry_at = Some(self.turn.now + RETRY_AFTER);
        if self.acceptor.warned.may(self.turn.now) {
            let hint = if is_exhaustion(error) { "; raise 'ulimit -n' or allow fewer connections" } else { "" };
            log::warn!("cannot accept: {error}; the backlog holds new connections until it can{hint}");
        }
    }
}
