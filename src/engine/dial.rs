//! The other side of a conversation: connections that we dial, datagram sockets that we ask from.
//!
//! They live in the same tables and take the same steps as what was accepted and bound; only their beginning differs.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::connection::{Connection, State};
use super::datagram::Asks;
use super::net::Net;
use super::{Engine, ServiceId};
use crate::endpoint::Address;
use crate::error::CloseReason;
use crate::service::{ConnId, Dial, Outbox, Peer, Recipient, Service};

impl<S: Service, N: Net> Engine<S, N> {
    /// Dials for a service, which is told the outcome.
    pub(super) fn dial(&mut self, service: u16, dial: Dial) {
        let Dial { to, from, tag } = dial;
        let begun = self.net.connect(&to, from).and_then(|stream| {
            let drains = self.net.short_read_drains(&stream);
            let mut dialled = Connection::dialled(stream, service, to.clone(), drains, self.now);
            dialled.tag = tag;
            self.enroll(dialled)
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
            Err(error) => self.tell_failed(service, None, &to, tag, &error),
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
                self.now = net.now(self.now);
                connection.state = State::Open;
                let (service, peer) = (connection.service, connection.peer.clone());
                self.trace_connection(service, &peer, format_args!("connected"));
                self.call(id, |service, peer, out| service.opened(peer, out));
            }
            Ok(false) => connection.writable = false,
            Err(error) => {
                self.stats.count_close(CloseReason::Reset);
                let Some(Connection { service, tag, peer, .. }) = self.table.remove(id) else { return };
                self.tell_failed(service, None, &peer, tag, &error);
                self.settle();
            }
        }
    }

    fn tell_failed(&mut self, service: u16, peer: Option<Peer>, address: &Address, mut tag: u64, error: &io::Error) {
        let gone = Recipient { peer: None, address, tag: &mut tag, waiting: 0 };
        self.call_service(service, Some(gone), |service, out| service.failed(peer, error, out));
    }

    /// Opens a datagram socket that a service asks from: what arrives there is an answer, and is not judged as a
    /// question.
    pub(super) fn begin_to_ask(&mut self, service: u16, dial: Dial) {
        let Dial { to, from, mut tag } = dial;
        let opened = self.net.ask(&to, from).and_then(|socket| {
            let asks = Asks { to: Arc::new(to.clone()), tag };
            self.add_datagram(ServiceId(service), socket, Address::Unix(None), Some(asks))
        });
        match opened {
            Ok(number) => {
                let peer = Peer::Datagram(number);
                let recipient = Recipient { peer: Some(peer), address: &to, tag: &mut tag, waiting: 0 };
                self.call_service(service, Some(recipient), |service, out| service.opened(peer, out));
                let asks = self.datagrams.get_mut(number as usize).and_then(|socket| socket.asks.as_mut());
                asks.into_iter().for_each(|asks| asks.tag = tag);
            }
            Err(error) => self.tell_failed(service, None, &to, tag, &error),
        }
    }

    /// Sends from such a socket.
    pub(super) fn send_question(&mut self, number: u32, range: Range<usize>) {
        let Self { net, datagrams, effects, stats, .. } = self;
        let Some(socket) = datagrams.get_mut(number as usize) else { return };
        let Some(Asks { to, .. }) = socket.asks.clone() else { return };
        if let Err(error) = socket.dispatch(net, &effects.bytes[range], &to, None, stats) {
            self.tell_asker(number, &error);
        }
    }

    /// Tells the service of a socket that asks of an error there; a socket that serves has nobody to tell.
    pub(super) fn tell_asker(&mut self, number: u32, error: &io::Error) {
        let Some(socket) = self.datagrams.get(number as usize) else { return };
        let Some(Asks { to, tag }) = socket.asks.clone() else { return };
        self.tell_failed(socket.service, Some(Peer::Datagram(number)), &to, tag, error);
    }

    /// Runs something on a service outside of a turn, with an outbox but no peer at hand.
    pub fn with<T>(&mut self, service: ServiceId, run: impl FnOnce(&mut S, &mut Outbox<'_>) -> T) -> T {
        let result = self.call_service(service.0, None, run);
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
