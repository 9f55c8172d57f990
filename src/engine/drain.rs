//! Shutting down without owing anyone an answer.
//!
//! What the backlog holds is accepted and what has arrived is taken in; then there is no listening and no reading any
//! more, and every answer that is owed is given, up to a deadline. The connections' own rules do the work: a draining
//! connection does not read, and closes when it owes nothing.

use super::Engine;
use super::connection::State;
use super::net::Net;
use crate::error::CloseReason;
use crate::moment::Moment;
use crate::service::{ConnId, Service};

/// Bytes taken in of one connection at the most: more than the kernel's buffer holds (net.ipv4.tcp_rmem), so that who
/// sends on and on keeps nobody.
const TAKEN_IN: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    Draining { until: Moment },
    Stopped,
}

impl Phase {
    pub(super) fn until(self) -> Option<Moment> {
        match self {
            Self::Draining { until } => Some(until),
            Self::Running | Self::Stopped => None,
        }
    }
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Begins to shut down; a second call changes nothing.
    pub fn drain(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Draining { until: self.now + self.limits.drain };
        self.close_listeners(|_| true);
        for (_, socket) in &mut self.datagrams {
            socket.note_arrival(&mut self.arrived);
        }
        for id in self.table.ids() {
            self.drain_connection(id);
        }
    }

    /// Closes the listeners of these services, once what waits there has been let in: closing would reset it.
    fn close_listeners(&mut self, of: impl Fn(u16) -> bool) {
        let listeners = self.door.listeners.iter().filter(|listener| of(listener.service));
        // By number: whom one lets in may make a service retire, and other listeners go.
        let numbers: Vec<u32> = listeners.map(|listener| listener.number).collect();
        for number in numbers {
            self.acceptable(number);
            let found = self.door.listeners.iter().position(|listener| listener.number == number);
            if let Some(index) = found {
                self.accept(index, usize::MAX);
            }
        }
        self.door.listeners.retain(|listener| !of(listener.service));
    }

    /// Takes in what has arrived for a connection, and has it read no more.
    fn drain_connection(&mut self, id: ConnId) {
        let outcome = self.take_in(id);
        let Some(connection) = self.table.get_mut(id) else { return };
        connection.draining = true;
        // A rest that waits for more is offered once more: no more will come.
        connection.hungry = false;
        let had_output = connection.has_output();
        self.go_on(id, had_output, outcome);
    }

    /// Reads until nothing is left, whatever has not been answered yet. (A short read would not do: the event that
    /// tells of a FIN or of an urgent mark may be still to come.)
    fn take_in(&mut self, id: ConnId) -> Result<(), CloseReason> {
        let Self { net, table, pool, scratch, stats, now, .. } = self;
        let Some(connection) = table.get_mut(id).filter(|connection| connection.state == State::Open) else {
            return Ok(());
        };
        connection.readable = true;
        connection.no_short_stop = true;
        let mut taken = 0;
        while connection.readable && !connection.eof && taken < TAKEN_IN {
            let count = connection.read(net, scratch, stats, *now)?;
            taken += count;
            pool.append(&mut connection.rx, &scratch[..count]).map_err(|_| CloseReason::Limit)?;
        }
        Ok(())
    }

    /// Ends one service as `drain` ends all of them, and the server with the last one.
    pub(super) fn retire(&mut self, service: u16) {
        self.close_listeners(|listener| listener == service);
        let serves = self.datagrams.iter().any(|(_, socket)| socket.asks.is_none());
        if self.door.listeners.is_empty() && !serves {
            return self.drain();
        }
        for id in self.table.ids() {
            if self.table.get_mut(id).is_some_and(|connection| connection.service == service) {
                self.drain_connection(id);
            }
        }
    }

    /// Ends at once, whatever is owed.
    pub fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }

    /// Ends the draining when nothing is left to do, or when it has taken too long.
    pub(super) fn watch_drain(&mut self) {
        let Phase::Draining { until } = self.phase else {
            let over = |first| !self.table.contains(first);
            if self.phase == Phase::Running && self.limits.once && self.door.first.is_some_and(over) {
                self.drain();
            }
            return;
        };
        self.close_datagrams(true);
        if self.now >= until {
            let late = self.table.ids();
            if !late.is_empty() && !self.limits.drain.is_zero() {
                log::warn!("shutting down with {} connections still open: the drain's time is up", late.len());
            }
            late.into_iter().for_each(|id| self.close(id, CloseReason::Shutdown));
            self.settle();
            self.close_datagrams(false);
        }
        if self.is_drained() {
            self.phase = Phase::Stopped;
        }
    }

    /// Whether the draining is over.
    pub(super) fn is_drained(&self) -> bool {
        let is_draining = matches!(self.phase, Phase::Draining { .. });
        is_draining && self.table.len() == 0 && self.datagrams.iter().all(|(_, socket)| socket.is_idle())
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether there is nothing left to do: the loop may end.
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }
}
