//! Shutting down without owing anyone an answer.
//!
//! What the backlog holds is accepted and what has arrived is taken in; then there is no listening and no reading any
//! more, and every answer that is owed is given, up to a deadline. The connections' own rules do the work: a draining
//! connection reads until nothing is left of what had arrived, and closes when it owes nothing.

use super::Engine;
use super::net::Net;
use crate::error::CloseReason;
use crate::moment::Moment;
use crate::service::Service;

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
        for listener in 0..self.door.listeners.len() {
            self.acceptable(listener as u32);
            self.accept(listener, usize::MAX);
        }
        self.door.listeners.clear();
        for socket in &mut self.datagrams {
            socket.readable = true;
        }
        for id in self.table.ids() {
            if let Some(connection) = self.table.get_mut(id) {
                connection.draining = true;
                connection.readable |= !connection.eof;
                // The event that tells of a FIN or of an urgent mark may be still to come, and comes too late.
                connection.no_short_stop = true;
                // A rest that waits for more is offered once more: no more will come.
                connection.hungry = false;
                connection.enqueue(id, &mut self.runnable);
            }
        }
    }

    /// Ends the draining when nothing is left to do, or when it has taken too long.
    pub(super) fn watch_drain(&mut self) {
        let Phase::Draining { until } = self.phase else {
            if self.limits.once && self.door.first_left {
                self.drain();
            }
            return;
        };
        self.close_datagrams(true);
        if self.now >= until {
            let late = self.table.ids();
            if !late.is_empty() {
                log::warn!("shutting down with {} connections still open: the drain's time is up", late.len());
            }
            late.into_iter().for_each(|id| self.close(id, CloseReason::Shutdown));
            self.settle();
            self.close_datagrams(false);
        }
        if self.table.len() == 0 && self.datagrams.is_empty() {
            self.phase = Phase::Stopped;
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether there is nothing left to do: the loop may end.
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }
}
