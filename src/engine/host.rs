//! What the engine's owner may ask of its services between turns: a console, a handle, a test.

use super::net::Net;
use super::{Engine, ServiceId};
use crate::moment::Moment;
use crate::service::{Outbox, Service};

impl<S: Service, N: Net> Engine<S, N> {
    /// Runs something on a service between turns, with an outbox but no peer at hand. It is `now`.
    pub fn with<T>(&mut self, service: ServiceId, now: Moment, run: impl FnOnce(&mut S, &mut Outbox<'_>) -> T) -> T {
        self.turn.now = now;
        let result = self.call_service(service, None, run);
        self.settle();
        result
    }

    /// When the last turn began.
    pub fn began(&self) -> Moment {
        self.began
    }

    /// The time as it was last told.
    pub fn now(&self) -> Moment {
        self.turn.now
    }

    /// Whether lines are still wanted.
    pub fn takes_lines(&self) -> bool {
        self.is_running() && !self.output.ignores_lines
    }

    /// What services have printed since the last call, appended to `text`.
    pub fn take_printed(&mut self, text: &mut Vec<u8>) {
        text.append(&mut self.output.printed);
    }

    /// The services, for an owner that wants their results.
    pub fn into_services(self) -> impl Iterator<Item = S> {
        self.services.0.into_iter().map(|named| named.service)
    }
}
