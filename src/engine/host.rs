//! What the engine's owner calls between turns: on behalf of a console, a handle or a test.

use super::net::Net;
use super::{Engine, ServiceId};
use crate::moment::Moment;
use crate::service::{Lines, Outbox, PrintQueue, Service};

impl<S: Service, N: Net> Engine<S, N> {
    /// Runs `run` on a service between turns, at the time `now`, with an outbox that has no peer at hand. Its effects
    /// are carried out before this returns.
    pub fn with<T>(&mut self, service: ServiceId, now: Moment, run: impl FnOnce(&mut S, &mut Outbox<'_>) -> T) -> T {
        self.turn.now = now;
        let result = self.call_service(service, None, run);
        self.settle();
        if self.pool.is_over_limit() {
            self.relieve();
        }
        result
    }

    /// When the last turn began.
    pub(crate) fn began(&self) -> Moment {
        self.began
    }

    /// The time that the clock returned last.
    pub(crate) fn now(&self) -> Moment {
        self.turn.now
    }

    /// The number of unsent bytes of all connections of a service together.
    pub(crate) fn unsent(&self, service: ServiceId) -> usize {
        self.turn.unsent.of_service(service)
    }

    /// Whether services take lines: no drain has begun, and none has paused or ignored them.
    pub(crate) fn takes_lines(&self) -> bool {
        self.is_running() && self.output.lines == Lines::Wanted
    }

    /// Appends to `text` what services have printed ([`Outbox::print`]) since the last call.
    pub fn take_printed(&mut self, text: &mut Vec<u8>) {
        self.output.printed.take(text, usize::MAX);
    }

    /// What services have printed and nobody has taken.
    pub(crate) fn printed(&self) -> &PrintQueue {
        &self.output.printed
    }

    /// The same, for its owner to take.
    pub(crate) fn printed_mut(&mut self) -> &mut PrintQueue {
        &mut self.output.printed
    }

    /// Ends the engine and returns its services, in the order in which they were added.
    pub fn into_services(self) -> impl Iterator<Item = S> {
        self.services.0.into_iter().map(|named| named.service)
    }
}
