//! Shutting down without leaving an answer owed.
//!
//! A drain accepts what the backlogs hold and reads what has arrived. Then nothing is accepted or read any more, and
//! the answers that are owed are given, until [`Limits::drain`](crate::Limits::drain) is over. The connections' own
//! rules do most of it: one that may not receive is closed once it owes nothing (`Connection::verdict`).
//!
//! The backlogs come first because closing a listener resets the connections in its queue.

use super::accept::Once;
use super::net::Net;
use super::{Engine, ServiceId};
use crate::error::CloseReason;
use crate::moment::Moment;
use crate::service::{ConnId, Service};

/// How far the server has come on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    /// What is still owed at this moment is dropped.
    Draining {
        until: Moment,
    },
    Stopped,
}

impl Stage {
    /// When a drain ends, whatever is owed.
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

    /// Accepts what waits at the listeners of these services, then closes them.
    fn close_listeners(&mut self, of: impl Fn(ServiceId) -> bool) {
        let listeners = self.acceptor.listeners.iter().filter(|listener| of(listener.service));
        // By number, because the list may change: an accepted connection may make its service retire.
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

    /// Has a connection read what has arrived by now and no more, at the pace at which its peer takes the answers.
    fn drain_connection(&mut self, id: ConnId) {
        let Self { net, table, .. } = self;
        let Some(connection) = table.get_mut(id) else { return };
        let arrived = connection.arrived(net);
        connection.drain(arrived);
        let had_unsent = connection.has_unsent();
        self.end_step(id, had_unsent, Ok(()));
    }

    /// Drains one service; with the last serving one, the server.
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

    /// Ends the loop after this turn, whatever is owed.
    pub(crate) fn stop(&mut self) {
        self.stage = Stage::Stopped;
    }

    /// Ends a drain when nothing is owed any more or its time is up; begins one when the first connection has ended
    /// and that was asked for.
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

    /// Whether a drain has nothing left to wait for.
    pub(super) fn is_drained(&self) -> bool {
        let is_draining = matches!(self.stage, Stage::Draining { .. });
        is_draining && self.table.len() == 0 && self.datagrams.are_idle()
    }

    pub(super) fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    /// Whether the engine has ended and needs no further turn.
    pub fn is_stopped(&self) -> bool {
        self.stage == Stage::Stopped
    }
}
