//! Accepting: which connections are let in, how many at a time, and what happens when there is no descriptor left.
//!
//! Listeners are edge-triggered like all else: a listener stays `readable` until accept says `WouldBlock`, whatever
//! keeps us from accepting meanwhile (a limit reached, no descriptor), because there will be no second event.

use std::collections::HashMap;
use std::io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
use std::time::Duration;

use super::budget::Source;
use super::connection::Connection;
use super::net::Net;
use super::{Engine, ServiceId, WARN_EVERY};
use crate::endpoint::Address;
use crate::error::{CloseReason, is_exhaustion};
use crate::moment::Moment;
use crate::service::{ConnId, Service};

/// Connections accepted from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 16;

/// After running out of descriptors: how soon to try again when none of ours becomes free.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The listeners, and what has to be known of those that have been let in.
#[derive(Debug)]
pub(super) struct Acceptor<L> {
    pub(super) listeners: Vec<Listener<L>>,
    /// Accepting stopped for want of descriptors; it is tried again then, or as soon as a connection closes.
    retry_at: Option<Moment>,
    warned: Option<Moment>,
    /// Connections by source, where `max_per_ip` is set.
    per_source: HashMap<Source, u32>,
    pub(super) once: Once,
}

#[derive(Debug)]
pub(super) struct Listener<L> {
    socket: L,
    pub(super) number: u32,
    pub(super) service: ServiceId,
    readable: bool,
}

/// Whether the server ends with the first connection that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    No,
    Awaited,
    Accepted(ConnId),
}

impl<L> Default for Acceptor<L> {
    fn default() -> Self {
        Self { listeners: Vec::new(), retry_at: None, warned: None, per_source: HashMap::new(), once: Once::No }
    }
}

impl<L> Acceptor<L> {
    /// Connections wait in the queue of the listener with this number.
    pub(super) fn note_waiting(&mut self, number: u32) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.number == number) {
            listener.readable = true;
        }
    }

    /// When accepting is tried again, if it has stopped.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at.filter(|_| self.listeners.iter().any(|listener| listener.readable))
    }

    /// A connection has ended: a descriptor is free, and its source has one fewer.
    pub(super) fn note_closed(&mut self, peer: &Address) {
        self.retry_at = None;
        if !self.per_source.is_empty()
            && let Some(source) = peer.ip().map(Source::from)
            && let Some(count) = self.per_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source);
            }
        }
    }

    /// Counts a connection in, unless its source has as many as it may have.
    fn count_in(&mut self, peer: &Address, max_per_ip: Option<u32>) -> bool {
        let (Some(most), Some(ip)) = (max_per_ip, peer.ip()) else { return true };
        let count = self.per_source.entry(ip.into()).or_default();
        let has_room = *count < most;
        *count += u32::from(has_room);
        has_room
    }
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Adds a listener whose connections this service gets.
    pub fn listen(&mut self, service: ServiceId, mut socket: N::Listener) -> std::io::Result<()> {
        let number = self.acceptor.listeners.last().map_or(0, |last| last.number + 1);
        self.net.register_listener(&mut socket, number)?;
        self.acceptor.listeners.push(Listener { socket, number, service, readable: false });
        Ok(())
    }

    /// Drains when the first connection that is accepted from now on has ended. (Datagrams do not count.)
    pub fn drain_after_first(&mut self) {
        self.acceptor.once = Once::Awaited;
    }

    /// Whether accepting would get anywhere now.
    pub(super) fn can_accept(&self) -> bool {
        self.table.len() < self.limits.max_connections
            && self.acceptor.retry_at.is_none_or(|at| at <= self.turn.now)
            && self.acceptor.listeners.iter().any(|listener| listener.readable)
    }

    /// Accepts from each listener that has connections waiting, a few from each.
    pub(super) fn accept_pending(&mut self) {
        if self.can_accept() {
            for listener in 0..self.acceptor.listeners.len() {
                self.accept(listener, ACCEPTS_PER_TURN);
            }
        }
    }

    /// Accepts up to `budget` connections, unless something keeps us from it.
    pub(super) fn accept(&mut self, index: usize, budget: usize) {
        for _ in 0..budget {
            let Some(listener) = self.acceptor.listeners.get_mut(index) else { return };
            let hindered = self.acceptor.retry_at.is_some_and(|at| self.turn.now < at);
            if !listener.readable || hindered || self.table.len() >= self.limits.max_connections {
                return;
            }
            match self.net.accept(&mut listener.socket) {
                Ok((stream, peer)) => {
                    self.acceptor.retry_at = None;
                    let service = listener.service;
                    self.admit(service, stream, peer);
                }
                Err(error) => match error.kind() {
                    WouldBlock => listener.readable = false,
                    // Of one connection, which is gone: the next may be fine.
                    Interrupted | ConnectionAborted => {}
                    _ => self.stop_accepting(&error),
                },
            }
        }
    }

    fn admit(&mut self, service: ServiceId, stream: N::Stream, peer: Address) {
        self.turn.stats.accepted += 1;
        if !self.acceptor.count_in(&peer, self.limits.max_per_ip) {
            self.turn.stats.count_close(CloseReason::Limit);
            return self.log(service, &peer, format_args!("turned away (limit)"));
        }
        self.log(service, &peer, format_args!("connected"));
        let drains = self.net.short_read_drains(&stream);
        let Ok(id) = self.enroll(Connection::accepted(stream, service, peer.clone(), drains, self.turn.now)) else {
            self.turn.stats.count_close(CloseReason::Limit);
            self.acceptor.note_closed(&peer);
            return self.log(service, &peer, format_args!("closed (limit)"));
        };
        if self.acceptor.once == Once::Awaited {
            self.acceptor.once = Once::Accepted(id);
        }
        self.call(id, |service, peer, out| service.opened(peer, out));
    }

    fn stop_accepting(&mut self, error: &std::io::Error) {
        self.acceptor.retry_at = Some(self.turn.now + RETRY_AFTER);
        if self.acceptor.warned.is_none_or(|warned| self.turn.now >= warned + WARN_EVERY) {
            self.acceptor.warned = Some(self.turn.now);
            let hint = if is_exhaustion(error) { "; raise 'ulimit -n' or lower --max-connections" } else { "" };
            log::warn!("cannot accept: {error}; the backlog holds new connections until it can{hint}");
        }
    }
}
