//! Whom a client talks to: an endpoint, and the addresses of it that have not been tried.

use std::collections::VecDeque;
use std::io;

use pingpong::service::Outbox;
use pingpong::{Address, Endpoint};

use crate::error::Error;

/// An endpoint whose addresses are tried in order.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    untried: VecDeque<Address>,
}

impl Target {
    /// Looks the endpoint's host up.
    pub(crate) fn resolve(endpoint: Endpoint) -> Result<Self, Error> {
        let untried = resolve(&endpoint)?.into();
        Ok(Self { endpoint, untried })
    }

    /// Whether there is another address to try.
    pub(crate) fn has_more(&self) -> bool {
        !self.untried.is_empty()
    }

    /// Tries the next address.
    pub(crate) fn dial(&mut self, out: &mut Outbox<'_>) {
        match self.untried.pop_front() {
            Some(address) if self.endpoint.is_datagram() => out.ask(&address),
            Some(address) => out.connect(&address),
            None => {}
        }
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
