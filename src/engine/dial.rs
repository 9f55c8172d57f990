//! The other side of a conversation: connections that we dial, datagram sockets that we ask from.
//!
//! They live in the same tables and take the same steps as what was accepted and bound; only their beginning differs.

use std::io;
use std::ops::Range;

use super::connection::{Connection, State};
use super::net::Net;
use super::{Engine, ServiceId};
use crate::endpoint::Address;
use crate::error::CloseReason;
use crate::service::{ConnId, Outbox, Peer, Service};

impl<S: Service, N: Net> Engine<S, N> {
    /// Dials for a service, which is told the outcome.
    pub(super) fn dial(&mut self, service: u16, to: &Address) {
        let begun = self.net.connect(to).and_then(|stream| {
            let drains = self.net.short_read_drains(&stream);
            self.enroll(Connection::dialled(stream, service, to.clone(), drains, self.now))
        });
        match begun {
            Ok(id) => {
                self.stats.dialled += 1;
                // It may be there already: a Unix one is, and no event will tell.
                if let Some(connection) = self.table.get_mut(id) {
                    connection.writable = true;
                    connection.enqueue(id, &mut self.runnable);
                }
            }
            Err(error) => self.tell_failed(service, None, &error),
        }
    }

    /// Enters a connection into the table and has its events reported; if that fails it is gone.
    pub(super) fn enroll(&mut self, connection: Connection<N::Stream>) -> io::Result<ConnId> {
        let Self { net, table, .. } = self;
        let id = table.insert(connection);
        let registered = table.get_mut(id).map_or(Ok(()), |connection| net.register_stream(&mut connection.stream, id));
        if registered.is_err() {
            drop(table.remove(id));
        }
        registered.map(|()| id)
    }

    /// A dialled connection has an outcome: it is there, or it never will be.
    pub(super) fn establish(&mut self, id: ConnId) {
        let Self { net, table, .. } = self;
        let Some(connection) = table.get_mut(id) else { return };
        match net.established(&mut connection.stream) {
            Ok(true) => {
                connection.state = State::Open;
                let (service, peer) = (connection.service, connection.peer.clone());
                self.trace_connection(service, &peer, format_args!("connected"));
                self.call(id, |service, peer, out| service.opened(peer, out));
            }
            Ok(false) => connection.writable = false,
            Err(error) => {
                let service = connection.service;
                self.stats.count_close(CloseReason::Reset);
                drop(self.table.remove(id));
                self.tell_failed(service, None, &error);
                self.settle();
            }
        }
    }

    pub(super) fn tell_failed(&mut self, service: u16, peer: Option<Peer>, error: &io::Error) {
        self.call_service(service, |service, out| service.failed(peer, error, out));
    }

    /// Opens a datagram socket that a service asks from: what arrives there is an answer, and is not judged as a
    /// question.
    pub(super) fn begin_to_ask(&mut self, service: u16, to: Address) {
        let opened = self.net.ask(&to).and_then(|socket| {
            let local = Address::Unix(None);
            self.add_datagram(ServiceId(service), socket, local, Some(to))
        });
        match opened {
            Ok(number) => self.call_service(service, |service, out| service.opened(Peer::Datagram(number), out)),
            Err(error) => self.tell_failed(service, None, &error),
        }
    }

    /// Sends from such a socket.
    pub(super) fn send_question(&mut self, number: u32, range: Range<usize>) {
        let Self { net, datagrams, effects, stats, .. } = self;
        let Some(socket) = datagrams.iter_mut().find(|socket| socket.number == number) else { return };
        let Some(to) = socket.asks.clone() else { return };
        let service = socket.service;
        if let Err(error) = socket.dispatch(net, &effects.bytes[range], &to, None, stats) {
            self.tell_failed(service, Some(Peer::Datagram(number)), &error);
        }
    }

    /// Runs something on a service outside of a turn, with an outbox but no peer at hand.
    pub fn with<T>(&mut self, service: ServiceId, run: impl FnOnce(&mut S, &mut Outbox<'_>) -> T) -> T {
        let result = self.call_service(service.0, run);
        self.settle();
        result
    }

    /// A line for a service, from the console or an embedder.
    pub fn line(&mut self, service: ServiceId, text: &[u8]) {
        self.with(service, |service, out| service.line(text, out));
    }

    /// There are no more lines for a service.
    pub fn lines_ended(&mut self, service: ServiceId) {
        self.with(service, |service, out| service.lines_ended(out));
    }

    /// Whether lines are still wanted.
    pub fn takes_lines(&self) -> bool {
        self.is_running() && !self.effects.ignores_lines
    }

    /// What services have printed since the last call, appended to `text`.
    pub fn take_printed(&mut self, text: &mut Vec<u8>) {
        text.append(&mut self.effects.printed);
    }
}
