//! Carries out what services ask for beyond an answer.
//!
//! A callback only notes its effects in the outbox. They are carried out after it, in the order noted, so that no
//! service runs inside another's callback. An effect may call a service, which may note more: the list is worked off
//! until it is empty.

use std::ops::Range;

use super::Engine;
use super::net::Net;
use super::timers::Due;
use crate::error::CloseReason;
use crate::moment::Moment;
use crate::service::{ConnId, Effect, Peer, Service, ServiceId};

impl<S: Service, N: Net> Engine<S, N> {
    /// Carries out the effects noted so far, and those that they cause.
    #[inline]
    pub(super) fn settle(&mut self) {
        if !self.output.effects.list.is_empty() {
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some((service, effect)) = self.output.effects.list.pop_front() {
            match effect {
                Effect::Pause(id) => {
                    if let Some(connection) = self.table.get_mut(id) {
                        connection.pause();
                    }
                }
                Effect::Resume(id) => self.resume(id),
                Effect::Close(id) => self.close_for_service(id),
                Effect::CloseAsking(number) => {
                    self.send_run();
                    self.datagrams.leave_asking(number);
                }
                Effect::Send(Peer::Stream(id), range) => self.send_to_other(id, range),
                Effect::Send(Peer::Datagram(number), range) => {
                    let next = self.output.effects.list.front();
                    let another = matches!(next, Some((_, Effect::Send(Peer::Datagram(next), _))) if *next == number);
                    self.send_question(number, range, another);
                }
                Effect::EndSending(id) => self.end_sending(id),
                Effect::After { owner, at, key } => self.set_timer(service, owner, at, key),
                Effect::Cancel { owner, key } => self.cancel_timers(service, owner, key),
                Effect::Connect(dial) => self.dial(service, dial),
                Effect::Ask(dial) => self.ask(service, dial),
                Effect::Retire => self.retire(service),
                Effect::Drain => self.drain(),
                Effect::Stop => self.stop(),
            }
        }
        self.output.effects.bytes.clear();
    }

    /// Offers a connection's input to its service again in its next step, whether it was paused or not.
    fn resume(&mut self, id: ConnId) {
        let Some(connection) = self.table.get_mut(id) else { return };
        connection.resume();
        connection.enqueue(id, &mut self.runnable);
    }

    fn close_for_service(&mut self, id: ConnId) {
        let Some(connection) = self.table.get_mut(id) else { return };
        let had_unsent = connection.has_unsent();
        self.finish_connection(id, had_unsent, CloseReason::Service);
    }

    fn send_to_other(&mut self, id: ConnId, range: Range<usize>) {
        let Self { net, table, pool, output, turn, .. } = self;
        let Some(connection) = table.get_mut(id).filter(|connection| connection.may_send()) else { return };
        let had_unsent = connection.has_unsent();
        match connection.write(net, pool, turn, &output.effects.bytes[range]) {
            Ok(()) => self.conclude(id, had_unsent),
            Err(why) => self.close(id, why),
        }
    }

    fn end_sending(&mut self, id: ConnId) {
        let Some(connection) = self.table.get_mut(id) else { return };
        connection.end_sending();
        let had_unsent = connection.has_unsent();
        self.conclude(id, had_unsent);
    }

    /// Sets a timer, unless the connection that owns it has gone.
    fn set_timer(&mut self, service: ServiceId, owner: Option<ConnId>, at: Moment, key: u64) {
        if let Some(owner) = owner {
            let Some(connection) = self.table.get_mut(owner) else { return };
            connection.add_timer();
        }
        self.timers.set(at, Due::Service { service, owner, key });
    }

    /// Cancels timers, unless the connection that owns them has gone: then they are stale already.
    fn cancel_timers(&mut self, service: ServiceId, owner: Option<ConnId>, key: u64) {
        if owner.is_some_and(|owner| !self.table.contains(owner)) {
            return;
        }
        let Self { timers, table, .. } = self;
        let cancelled = timers.cancel(Due::Service { service, owner, key }, |id| table.contains(id));
        if let Some(connection) = owner.and_then(|owner| table.get_mut(owner)) {
            connection.remove_timers(cancelled);
        }
    }
}
