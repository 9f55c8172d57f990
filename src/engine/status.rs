//! What each socket is about, for whoever watches: computed when asked for, so that no connection is larger for it.

use super::datagram::DatagramSocket;
use super::net::Net;
use super::{Engine, ServiceId};
use crate::endpoint::Address;
use crate::moment::Moment;
use crate::service::Service;

/// What a socket waits for, or what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activity {
    /// It listens.
    Listening,
    /// It has been dialled and is not connected yet.
    Connecting,
    /// It waits for its peer to say something.
    Open,
    /// Its service owes an answer, and nothing more is read until it has given it.
    OwesAnswer,
    /// There is output that the kernel does not take, because the peer has not taken what it was sent before.
    OutputWaits,
    /// It is being closed: what it was told is thrown away, what it has to say is still sent.
    Finishing,
    /// Our side of it is closed, and it waits for the peer to close the other.
    Lingering,
}

/// A socket, as [`Engine::sockets`] tells of it.
pub(crate) struct Status<'a, N: Net> {
    pub(crate) socket: Socket<'a, N>,
    pub(crate) service: &'a str,
    pub(crate) peer: Option<Address>,
    pub(crate) activity: Activity,
    /// When a byte last came or went, where that is kept.
    pub(crate) active_at: Option<Moment>,
}

pub(crate) enum Socket<'a, N: Net> {
    Listener(&'a N::Listener),
    Stream(&'a N::Stream),
    Datagram(&'a N::Datagram),
}

impl<S: Service, N: Net> Engine<S, N> {
    /// All sockets: listeners, datagram sockets, connections.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = Status<'_, N>> {
        let listeners = self.acceptor.listeners.iter().map(|listener| Status {
            socket: Socket::Listener(listener.socket()),
            service: self.name(listener.service),
            peer: None,
            activity: Activity::Listening,
            active_at: None,
        });
        let datagrams = self.datagrams.iter().map(|socket| Status {
            socket: Socket::Datagram(socket.socket()),
            service: self.name(socket.service),
            peer: socket.asks.as_ref().map(|asks| (*asks.to).clone()),
            activity: datagram_activity(socket),
            active_at: None,
        });
        let streams = self.table.iter().map(|connection| Status {
            socket: Socket::Stream(connection.stream()),
            service: self.name(connection.service()),
            peer: Some(connection.peer().to_address()),
            activity: connection.activity(),
            active_at: Some(connection.active_at()),
        });
        listeners.chain(datagrams).chain(streams)
    }

    fn name(&self, service: ServiceId) -> &str {
        &self.services.0[service.index()].name
    }
}

fn datagram_activity<D>(socket: &DatagramSocket<D>) -> Activity {
    if socket.queued() > 0 { Activity::OutputWaits } else { Activity::Open }
}
