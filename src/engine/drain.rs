//! Shutting down without leaving an answer owed.
//!
//! A drain accepts what the backlogs hold and reads what has arrived. Then nothing is accepted or read any more, and
//! the answers that are owed are given, until [`Limits::drain`](crate::Limits::drain) is over. The connections' own
//! rules do most of it: one that may not receive is closed once it owes nothing (`Connection::verdict`).
//!
//! The backlogs come first because closing a listener resets the connections in its queue.

use std::time::Duration;

use super::accept::Once;
use super::connection::State;
use super::net::Net;
use super::{Engine, ServiceId};
use crate::error::CloseReason;
use crate::moment::Moment;
use crate::service::{ConnId, Service};

/// The first time after which a drain checks for connections to close. It doubles with each check.
const FIRST_CHECK: Duration = Duration::from_millis(5);

/// The longest time between two such checks.
const LAST_CHECK: Duration = Duration::from_millis(80);

/// How far the server has come on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    Draining {
        /// What is still owed at this moment is dropped.
        until: Moment,
        /// When to check next for connections to close: no event tells of an acknowledgement.
        check_at: Moment,
        /// The time between the last check and the next.
        check_after: Duration,
    },
    Stopped,
}

impl Stage {
    /// When a drain has something to do without an event.
    pub(super) fn next(self) -> Option<Moment> {
        match self {
            Self::Draining { until, check_at, .. } => Some(until.min(check_at)),
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
        let now = self.turn.now;
        self.stage =
            Stage::Draining { until: now + self.limits.drain, check_at: now + FIRST_CHECK, check_after: FIRST_CHECK };
        self.close_listeners(|_| true);
        self.datagrams.drain();
        for id in self.table.ids() {
            self.drain_connection(id);
        }
    }

    /// Has a connection read what has arrived by now and no more, at the pace at which its peer takes the answers.
    pub(super) fn drain_connection(&mut self, id: ConnId) {
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

    /// Closes the lingering connections whose peer's kernel has acknowledged everything. To wait for each peer's FIN
    /// would make the server last as long as its idlest client, or the linger limit.
    fn close_acknowledged(&mut self) {
        for id in self.table.ids() {
            let Self { net, table, .. } = self;
            let Some(connection) = table.get_mut(id) else { continue };
            if let State::Lingering(why) = connection.state()
                && connection.closes_cleanly(net)
            {
                self.close(id, why);
            }
        }
        self.settle();
    }

    /// Ends the loop after this turn, whatever is owed.
    pub(crate) fn stop(&mut self) {
        self.stage = Stage::Stopped;
    }

    /// Ends a drain when nothing is owed any more or its time is up; begins one when the first connection has ended
    /// and that was asked for.
    pub(super) fn check_drain(&mut self) {
        let Stage::Draining { until, check_at, check_after } = self.stage else {
            if let Once::Accepted(first) = self.acceptor.once
                && self.stage == Stage::Running
                && !self.table.contains(first)
            {
                self.drain();
            }
            return;
        };
        self.close_empty_listeners();
        self.close_datagrams(true);
        if self.turn.now >= check_at {
            self.close_acknowledged();
            let check_after = (check_after * 2).min(LAST_CHECK);
            self.stage = Stage::Draining { until, check_at: self.turn.now + check_after, check_after };
        }
        if self.turn.now >= until {
            self.acceptor.listeners.clear();
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
        is_draining && self.table.len() == 0 && self.acceptor.listeners.is_empty() && self.datagrams.are_idle()
    }

    pub(super) fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    /// Whether the engine has ended and needs no further turn.
    pub fn is_stopped(&self) -> bool {
        self.stage == Stage::Stopped
    }
}
