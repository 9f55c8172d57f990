//! Accepting: who comes in, how many at a time, and what happens when there is no descriptor left.
//!
//! Listeners are edge-triggered like all else: a listener stays `readable` until accept says `WouldBlock`, whatever
//! keeps us from accepting meanwhile (a full house, no descriptor), because there will be no second event.

use std::collections::HashMap;
use std::io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
use std::time::Duration;

use super::budget::Source;
use super::connection::Connection;
use super::net::Net;
use super::{Engine, SELDOM, ServiceId};
use crate::endpoint::Address;
use crate::error::{CloseReason, is_exhaustion};
use crate::moment::Moment;
use crate::service::{ConnId, Service};

/// Connections accepted from one listener in one turn.
const ACCEPTS: usize = 16;

/// After running out of descriptors: how soon to try again when none of ours becomes free.
const RETRY: Duration = Duration::from_millis(100);

/// The listeners, and what has to be known about those who came in.
#[derive(Debug)]
pub(super) struct Door<L> {
    pub(super) listeners: Vec<Listener<L>>,
    /// Accepting stopped for want of descriptors; it is tried again then, or as soon as a connection closes.
    retry_at: Option<Moment>,
    warned: Option<Moment>,
    /// Connections by source, where `max_per_ip` is set.
    crowds: HashMap<Source, u32>,
    /// The first connection that was accepted.
    pub(super) first: Option<ConnId>,
}

#[derive(Debug)]
pub(super) struct Listener<L> {
    socket: L,
    pub(super) number: u32,
    pub(super) service: u16,
    readable: bool,
}

impl<L> Default for Door<L> {
    fn default() -> Self {
        Self { listeners: Vec::new(), retry_at: None, warned: None, crowds: HashMap::new(), first: None }
    }
}

impl<L> Door<L> {
    /// When accepting is tried again, if it has stopped.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at.filter(|_| self.listeners.iter().any(|listener| listener.readable))
    }

    /// A connection has ended: a descriptor is free, and its source has one fewer.
    pub(super) fn left(&mut self, peer: &Address) {
        self.retry_at = None;
        if !self.crowds.is_empty()
            && let Some(source) = peer.ip().map(Source::from)
            && let Some(crowd) = self.crowds.get_mut(&source)
        {
            *crowd -= 1;
            if *crowd == 0 {
                self.crowds.remove(&source);
            }
        }
    }

    /// Counts one in, unless its source has as many as it may have.
    fn lets_in(&mut self, peer: &Address, max_per_ip: Option<u32>) -> bool {
        let (Some(most), Some(ip)) = (max_per_ip, peer.ip()) else { return true };
        let crowd = self.crowds.entry(ip.into()).or_default();
        let welcome = *crowd < most;
        *crowd += u32::from(welcome);
        welcome
    }
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Adds a listener whose connections this service gets.
    pub fn listen(&mut self, service: ServiceId, mut socket: N::Listener) -> std::io::Result<()> {
        let number = self.door.listeners.last().map_or(0, |last| last.number + 1);
        self.net.register_listener(&mut socket, number)?;
        self.door.listeners.push(Listener { socket, number, service: service.0, readable: false });
        Ok(())
    }

    /// An event for a listener: connections wait in its queue.
    pub fn acceptable(&mut self, number: u32) {
        for listener in self.door.listeners.iter_mut().filter(|listener| listener.number == number) {
            listener.readable = true;
        }
    }

    /// Whether accepting would get anywhere now.
    pub(super) fn can_accept(&self) -> bool {
        self.table.len() < self.limits.max_connections
            && self.door.retry_at.is_none_or(|at| at <= self.now)
            && self.door.listeners.iter().any(|listener| listener.readable)
    }

    /// Accepts from each listener that has connections waiting, a few from each.
    pub(super) fn accept_pending(&mut self) {
        if self.can_accept() {
            for listener in 0..self.door.listeners.len() {
                self.accept(listener, ACCEPTS);
            }
        }
    }

    /// Accepts up to `budget` connections, unless something keeps us from it.
    pub(super) fn accept(&mut self, index: usize, budget: usize) {
        for _ in 0..budget {
            let Some(listener) = self.door.listeners.get_mut(index) else { return };
            let hindered = self.door.retry_at.is_some_and(|at| self.now < at);
            if !listener.readable || hindered || self.table.len() >= self.limits.max_connections {
                return;
            }
            match self.net.accept(&mut listener.socket) {
                Ok((stream, peer)) => {
                    self.door.retry_at = None;
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

    fn admit(&mut self, service: u16, stream: N::Stream, peer: Address) {
        self.stats.accepted += 1;
        if !self.door.lets_in(&peer, self.limits.max_per_ip) {
            self.stats.count_close(CloseReason::Limit);
            return self.trace_connection(service, &peer, format_args!("turned away (limit)"));
        }
        self.trace_connection(service, &peer, format_args!("connected"));
        let drains = self.net.short_read_drains(&stream);
        let Ok(id) = self.enroll(Connection::accepted(stream, service, peer.clone(), drains, self.now)) else {
            self.stats.count_close(CloseReason::Limit);
            self.door.left(&peer);
            return self.trace_connection(service, &peer, format_args!("closed (limit)"));
        };
        self.door.first.get_or_insert(id);
        self.call(id, |service, peer, out| service.opened(peer, out));
    }

    fn stop_accepting(&mut self, error: &std::io::Error) {
        self.door.retry_at = Some(self.now + RETRY);
        if self.door.warned.is_none_or(|warned| self.now >= warned + SELDOM) {
            self.door.warned = Some(self.now);
            let hint = if is_exhaustion(error) { "; raise 'ulimit -n' or lower --max-connections" } else { "" };
            log::warn!("cannot accept: {error}; the backlog holds new connections until it can{hint}");
        }
    }
}
