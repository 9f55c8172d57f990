//! Shutting down without owing anyone an answer.
//!
//! What the backlog holds is accepted and what has arrived is taken in; then there is no listening and no reading any
//! more, and every answer that is owed is given, up to a deadline. The connections' own rules do the work: a draining
//! connection does not read, and closes when it owes nothing.

use super::accept::Once;
use super::net::Net;
use super::{Engine, ServiceId};
use crate::error::CloseReason;
use crate::moment::Moment;
use crate::service::{ConnId, Service};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    Draining { until: Moment },
    Stopped,
}

impl Stage {
    pub(super) fn until(self) -> Option<Moment> {
        match self {
            Self::Draining { until } => Some(until),
            Self::Running | Self::Stopped => None,
        }
    }
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Begins to shut down; a second call changes nothing.
    pub(super) fn drain(&mut self) {
        if self.stage != Stage::Running {
            return;
        }
        self.stage = Stage::Draining { until: self.turn.now + self.limits.drain };
        self.close_listeners(|_| true);
        self.datagrams.assume_arrivals();
        for id in self.table.ids() {
            self.drain_connection(id);
        }
    }

    /// Closes the listeners of these services, once what waits there has been let in: closing would reset it.
    fn close_listeners(&mut self, of: impl Fn(ServiceId) -> bool) {
        let listeners = self.acceptor.listeners.iter().filter(|listener| of(listener.service));
        // By number: a connection that is let in may make its service retire, and other listeners go.
        let numbers: Vec<u32> = listeners.map(|listener| listener.number).collect();
        for number in numbers {
            self.acceptor.note_waiting(number);
            let found = self.acceptor.listeners.iter().position(|listener| listener.number == number);
            if let Some(index) = found {
                self.accept(index, usize::MAX);
            }
        }
        self.acceptor.listeners.retain(|listener| !of(listener.service));
    }

    /// Takes in what has arrived for a connection, and has it read no more.
    fn drain_connection(&mut self, id: ConnId) {
        let Self { net, table, pool, scratch, turn, .. } = self;
        let Some(connection) = table.get_mut(id) else { return };
        let outcome = if connection.is_open() { connection.take_in(net, pool, scratch, turn) } else { Ok(()) };
        connection.stop_receiving();
        let had_unsent = connection.has_unsent();
        self.end_step(id, had_unsent, outcome);
    }

    /// Ends one service as `drain` ends all of them, and the server with the last one.
    pub(super) fn retire(&mut self, service: ServiceId) {
        self.close_listeners(|listener| listener == service);
        if self.acceptor.listeners.is_empty() && !self.datagrams.has_serving_sockets() {
            return self.drain();
        }
        for id in self.table.ids() {
            if self.table.get_mut(id).is_some_and(|connection| connection.service() == service) {
                self.drain_connection(id);
            }
        }
    }

    /// Ends at once, whatever is owed.
    pub fn stop(&mut self) {
        self.stage = Stage::Stopped;
    }

    /// Ends the draining when nothing is left to do, or when it has taken too long.
    pub(super) fn check_drain(&mut self) {
        let Stage::Draining { until } = self.stage else {
            if let Once::Accepted(first) = self.acceptor.once
                && self.stage == Stage::Running
                && !self.table.contains(first)
            {
                self.drain();
            }
            return;
        };
        self.close_datagrams(true);
        if self.turn.now >= until {
            let late = self.table.ids();
            if !late.is_empty() && !self.limits.drain.is_zero() {
                log::warn!("shutting down with {} connections still open: the drain's time is up", late.len());
            }
            for id in late {
                self.close(id, CloseReason::Shutdown);
            }
            self.settle();
            self.close_datagrams(false);
        }
        if self.is_drained() {
            self.stage = Stage::Stopped;
        }
    }

    /// Whether the draining is over.
    pub(super) fn is_drained(&self) -> bool {
        let is_draining = matches!(self.stage, Stage::Draining { .. });
        is_draining && self.table.len() == 0 && self.datagrams.are_idle()
    }

    pub(super) fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    /// Whether there is nothing left to do: the loop may end.
    pub fn is_stopped(&self) -> bool {
        self.stage == Stage::Stopped
    }
}
