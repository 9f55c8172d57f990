//! A connection as it is shown to whoever watches.

use super::super::status::Activity;
use super::{Connection, State};
use crate::moment::Moment;

impl<T> Connection<T> {
    pub(in crate::engine) fn stream(&self) -> &T {
        &self.stream
    }

    /// When a byte last came in or went out.
    pub(in crate::engine) fn active_at(&self) -> Moment {
        self.active_at
    }

    /// What it waits for, or what it does. Output that waits is the peer's doing, and outweighs an answer that is owed.
    pub(in crate::engine) fn activity(&self) -> Activity {
        match self.state {
            State::Connecting => Activity::Connecting,
            State::Open if self.has_unsent() => Activity::OutputWaits,
            State::Open if self.paused => Activity::OwesAnswer,
            State::Open => Activity::Open,
            State::Finishing(_) => Activity::Finishing,
            State::Lingering(_) => Activity::Lingering,
        }
    }
}
