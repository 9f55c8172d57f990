//! The client's side: connections that a service dials, and datagram sockets that it asks from.
//!
//! A datagram socket either serves (it is bound, and questions arrive) or asks (it is connected to one far side, and
//! answers arrive). Dialled connections and asking sockets live in the same tables as accepted and bound ones and take
//! the same steps; only how they begin is different, and that is here. `effects` calls it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::connection::Connection;
use super::datagram::Asks;
use super::net::Net;
use super::{Clock, Engine, ServiceId};
use crate::endpoint::Address;
use crate::error::CloseReason;
use crate::service::{ConnId, Dial, Peer, PeerAddress, Recipient, Service};

impl<S: Service, N: Net> Engine<S, N> {
    /// Dials for a service: `opened` or `failed` tells it the outcome, in this turn or a later one.
    pub(super) fn dial(&mut self, service: ServiceId, dial: Dial) {
        let Dial { to, from, tag } = dial;
        let begun = self.net.connect(&to, from).and_then(|stream| {
            let drains = self.net.short_read_drains(&stream);
            self.enroll(Connection::dialled(stream, service, to.clone(), drains, self.turn.now).with_tag(tag))
        });
        match begun {
            Ok(id) => {
                self.turn.stats.dialled += 1;
                // A Unix stream is connected already, and no event will tell.
                if let Some(connection) = self.table.get_mut(id) {
                    connection.assume_writable();
                    connection.enqueue(id, &mut self.runnable);
                }
            }
            Err(error) => self.tell_failed(service, None, PeerAddress::Whole(&to), tag, error),
        }
    }

    /// Puts a connection into the table and registers its socket. Where registering fails (epoll_ctl(2): ENOSPC,
    /// ENOMEM) only this connection is dropped.
    pub(super) fn enroll(&mut self, connection: Connection<N::Stream>) -> io::Result<ConnId> {
        let Self { net, table, .. } = self;
        let id = table.insert(connection);
        let registered = table.get_mut(id).map_or(Ok(()), |connection| connection.register(net, id));
        if registered.is_err() {
            drop(table.remove(id));
        }
        registered.map(|()| id)
    }

    /// The step of a connection that is being dialled: opens it, drops it, or waits on, as the socket says. (The event
    /// that led here is a hint only.)
    pub(super) fn check_dial(&mut self, id: ConnId, clock: Clock<'_>) {
        let Self { net, table, turn, exact, .. } = self;
        let Some(connection) = table.get_mut(id) else { return };
        match connection.is_established(net) {
            Ok(true) => {
                if *exact {
                    turn.now = clock();
                }
                connection.open();
                let (service, peer) = (connection.service(), connection.peer().clone());
                self.log(service, &peer, format_args!("connected"));
                self.call(id, |service, peer, out| service.opened(peer, out));
            }
            Ok(false) => connection.await_writable(),
            Err(error) => {
                let Some(connection) = self.table.remove(id) else { return };
                self.turn.stats.count_close(CloseReason::Reset);
                let failed = connection.close(&mut self.pool, &mut self.turn);
                self.tell_failed(failed.service, None, PeerAddress::Packed(&failed.peer), failed.tag, error);
                self.settle();
            }
        }
    }

    fn tell_failed(
        &mut self,
        service: ServiceId,
        peer: Option<Peer>,
        address: PeerAddress<'_>,
        mut tag: u64,
        error: io::Error,
    ) {
        let gone = Recipient::gone(address, &mut tag);
        self.call_service(service, Some(gone), |service, out| service.failed(peer, error, out));
    }

    /// Opens an asking socket for a service: `opened` or `failed` tells it the outcome at once. What arrives there is
    /// an answer, and is not screened.
    pub(super) fn ask(&mut self, service: ServiceId, dial: Dial) {
        let Dial { to, from, mut tag } = dial;
        let opened = self.net.ask(&to, from).and_then(|socket| {
            let asks = Asks { to: Arc::new(to.clone()), tag };
            self.add_datagram(service, socket, Address::Unix(None), Some(asks))
        });
        match opened {
            Ok(number) => {
                let peer = Peer::Datagram(number);
                let recipient =
                    Recipient { peer: Some(peer), address: PeerAddress::Whole(&to), tag: &mut tag, waiting: 0 };
                self.call_service(service, Some(recipient), |service, out| service.opened(peer, out));
                if let Some(asks) = self.datagrams.get_mut(number).and_then(|socket| socket.asks.as_mut()) {
                    asks.tag = tag;
                }
            }
            Err(error) => self.tell_failed(service, None, PeerAddress::Whole(&to), tag, error),
        }
    }

    /// Sends from an asking socket to its far side.
    ///
    /// The error that a send returns may be an earlier question's, as told by ICMP meanwhile: then this one has not been
    /// sent, and the error is cleared (udp(7)). So a send that fails is tried once more.
    pub(super) fn send_question(&mut self, number: u32, range: Range<usize>) {
        let Self { net, datagrams, output, turn, .. } = self;
        let Some(socket) = datagrams.get_mut(number).filter(|socket| !socket.is_left) else { return };
        let Some(Asks { to, .. }) = socket.asks.clone() else { return };
        let question = &output.effects.bytes[range];
        let mut send = || socket.send_or_queue(net, question, &to, None, &mut turn.stats).err();
        let first = send();
        let second = first.as_ref().and_then(|_| send());
        if socket.queued() > 0 {
            turn.unsent.note_datagrams(number, true);
        }
        let Some(first) = first else { return };
        if second.as_ref().is_none_or(|second| second.raw_os_error() != first.raw_os_error()) {
            self.tell_asker(number, first);
        }
        if let Some(error) = second {
            self.tell_asker(number, error);
        }
    }

    /// Tells the service of an asking socket about an error there. A serving socket's errors are only counted.
    pub(super) fn tell_asker(&mut self, number: u32, error: io::Error) {
        let Some(socket) = self.datagrams.get_mut(number).filter(|socket| !socket.is_left) else { return };
        let service = socket.service;
        let Some(Asks { to, tag }) = socket.asks.clone() else { return };
        self.tell_failed(service, Some(Peer::Datagram(number)), PeerAddress::Whole(&to), tag, error);
    }
}
