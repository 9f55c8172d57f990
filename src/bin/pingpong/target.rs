//! The far side of `client` and `ping`: an endpoint whose addresses are tried in order until one is reached.
//!
//! When to go on to the next address is for the command to say: it knows whether anything was answered. `bench`, which
//! dials one address many times, shares the look-up and the line end.

use std::collections::VecDeque;
use std::io;

use pingpong::service::{Dial, Framing, Outbox, Peer};
use pingpong::{Address, Endpoint};

use crate::error::Error;

/// An endpoint, and how far dialling it has come.
#[derive(Debug)]
pub(crate) struct Target {
    endpoint: Endpoint,
    untried: VecDeque<Address>,
    /// The address dialled last.
    address: Option<Address>,
    /// Addresses dialled so far: the tag of what was dialled at the last.
    dialled: u64,
    /// Set while that address is reached: the connection, or the socket opened last.
    peer: Option<Peer>,
}

impl Target {
    /// Looks the endpoint's host up. Nothing is dialled yet.
    pub(crate) fn resolve(endpoint: Endpoint) -> Result<Self, Error> {
        let untried = resolve(&endpoint)?.into();
        Ok(Self { endpoint, untried, address: None, dialled: 0, peer: None })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address dialled last.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Where to send, once an address is reached.
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// Leaves the address dialled before, if any, and dials the next one; false where none is left.
    pub(crate) fn dial_next(&mut self, out: &mut Outbox<'_>) -> bool {
        let Some(address) = self.untried.pop_front() else { return false };
        if let Some(left) = self.peer.take() {
            out.close_other(left);
        }
        self.dialled += 1;
        self.address = Some(address);
        self.dial_again(out);
        true
    }

    /// Dials the address at hand once more, for a second socket there.
    pub(crate) fn dial_again(&self, out: &mut Outbox<'_>) {
        let Some(address) = &self.address else { return };
        let dial = Dial { tag: self.dialled, ..Dial::from(address) };
        if self.endpoint.is_datagram() {
            out.ask(dial);
        } else {
            out.connect(dial);
        }
    }

    /// Whether the peer at hand is the address dialled last. One that took too long may still be reached, or fail, when
    /// the next is dialled.
    pub(crate) fn is_at_hand(&self, out: &Outbox<'_>) -> bool {
        out.tag() == self.dialled
    }

    /// An address is reached; whether it is the one dialled last. Any other is left.
    pub(crate) fn reached(&mut self, peer: Peer, out: &mut Outbox<'_>) -> bool {
        let is_awaited = self.is_at_hand(out);
        if is_awaited {
            self.peer = Some(peer);
        } else {
            out.close();
        }
        is_awaited
    }

    /// What to tell the user when no address would do.
    pub(crate) fn unreachable(&self, error: io::Error) -> Error {
        Error::Connect { endpoint: self.endpoint.clone(), source: error }
    }
}

/// Looks the endpoint's host up: its addresses, in the order in which they are to be tried.
pub(crate) fn resolve(endpoint: &Endpoint) -> Result<Vec<Address>, Error> {
    endpoint.addresses().map_err(|source| pingpong::Error::Resolve { endpoint: endpoint.clone(), source }.into())
}

/// What ends a message on its way out: a line's end in a stream of lines, else nothing. A datagram is one message.
pub(crate) fn line_end(framing: Framing, is_datagram: bool) -> &'static str {
    if framing == Framing::Line && !is_datagram { "\n" } else { "" }
}
