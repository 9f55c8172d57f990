//! Where services answer: an endpoint becomes one socket or several, and the engine gets them.
//!
//! A host with several addresses is listened on at each of them, and at each port of a range.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::Reactor;
use super::calls::Calls;
use super::datagram::Datagram;
use super::listener::Listener;
use super::options::ListenOptions;
use super::socket_file::Refusal;
use crate::endpoint::{Address, Endpoint, HostPort};
use crate::error::Error;
use crate::service::Service;
use crate::service::ServiceId;

impl<S: Service, C: Calls> Reactor<S, C> {
    /// Has a service answer at an endpoint, connections and datagrams alike. Returns where it really listens: one
    /// endpoint for each address of the host and each port of a range, with the port that the kernel picked where it was
    /// 0.
    /// [`Endpoint::socket_addr`] is what to connect to.
    pub fn listen(&mut self, service: ServiceId, endpoint: &Endpoint) -> Result<Vec<Endpoint>, Error> {
        self.listen_with(service, endpoint, &ListenOptions::default())
    }

    /// [`listen`](Self::listen), with options.
    pub fn listen_with(
        &mut self,
        service: ServiceId,
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> Result<Vec<Endpoint>, Error> {
        let addresses = endpoint.addresses().map_err(|source| Error::Resolve { endpoint: endpoint.clone(), source })?;
        self.listen_at(service, endpoint, &addresses, options)
    }

    /// [`listen_with`](Self::listen_with), at the addresses that the endpoint has ([`Endpoint::addresses`]). A look-up
    /// may take long, and a program that has [taken signals over](Self::watch_signals) cannot be interrupted meanwhile:
    /// it looks names up before.
    pub fn listen_at(
        &mut self,
        service: ServiceId,
        endpoint: &Endpoint,
        addresses: &[Address],
        options: &ListenOptions,
    ) -> Result<Vec<Endpoint>, Error> {
        match endpoint {
            Endpoint::Tcp(_) | Endpoint::Udp(_) => {
                let bound = self.listen_at_all(service, endpoint, addresses, options)?;
                warn_of_exposure(endpoint, &bound);
                Ok(bound)
            }
            Endpoint::Unix(path) | Endpoint::UnixGram(path) => {
                self.listen_unix(service, endpoint.is_datagram(), path, options).map_err(|refusal| match refusal {
                    Refusal::Occupied(by) => Error::Occupied { endpoint: endpoint.clone(), by },
                    Refusal::Failed(source) => Error::Listen { endpoint: endpoint.clone(), source },
                })?;
                Ok(vec![endpoint.clone()])
            }
        }
    }

    /// Listens at every address of a host. An address that this machine does not have (IPv6 switched off, say) does not
    /// stop the others: it is a warning, and an error only where none is left.
    fn listen_at_all(
        &mut self,
        service: ServiceId,
        endpoint: &Endpoint,
        addresses: &[Address],
        options: &ListenOptions,
    ) -> Result<Vec<Endpoint>, Error> {
        let mut bound = Vec::new();
        let mut missing = None;
        for address in addresses {
            let Address::Ip(address) = *address else { continue };
            match self.listen_ip(service, endpoint.is_datagram(), address, options) {
                Ok(local) => bound.push(at(endpoint, local)),
                Err(source) if is_missing(&source) => {
                    missing = Some(Error::Listen { endpoint: at(endpoint, address), source });
                }
                Err(source) => return Err(Error::Listen { endpoint: at(endpoint, address), source }),
            }
        }
        match missing {
            Some(error) if bound.is_empty() => return Err(error),
            Some(error) => log::warn!("{error}"),
            None => {}
        }
        Ok(bound)
    }

    fn listen_ip(
        &mut self,
        service: ServiceId,
        is_datagram: bool,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<SocketAddr> {
        if is_datagram {
            let (sockets, local) = Datagram::udp(address, options, self.engine.net().epoll.calls())?;
            for (socket, local) in sockets {
                self.engine.bind(service, socket, Address::Ip(local))?;
            }
            Ok(local)
        } else {
            let (socket, local) = Listener::tcp(address, options, self.engine.net().epoll.calls())?;
            self.engine.listen(service, socket)?;
            Ok(local)
        }
    }

    fn listen_unix(
        &mut self,
        service: ServiceId,
        is_datagram: bool,
        path: &Path,
        options: &ListenOptions,
    ) -> Result<(), Refusal> {
        let calls = self.engine.net().epoll.calls();
        if is_datagram {
            let socket = Datagram::unix(path, options, calls)?;
            self.engine.bind(service, socket, Address::Unix(Some(path.into())))?;
        } else {
            let socket = Listener::unix(path, options, calls)?;
            self.engine.listen(service, socket)?;
        }
        Ok(())
    }
}

/// Says which datagram sockets other hosts can reach: in one line for all ports of a range.
fn warn_of_exposure(endpoint: &Endpoint, bound: &[Endpoint]) {
    let Endpoint::Udp(HostPort { ports, .. }) = endpoint else { return };
    let mut places: Vec<HostPort> = Vec::new();
    for local in bound.iter().filter_map(Endpoint::socket_addr).filter(|local| !local.ip().is_loopback()) {
        let mut place = HostPort::from(local);
        if ports.count() > 1 {
            place.ports = *ports;
        }
        if !places.contains(&place) {
            places.push(place);
        }
    }
    for place in places {
        log::warn!(
            "udp://{place} answers datagrams from other hosts, whose addresses can be forged (see --udp-budget)"
        );
    }
}

/// The endpoint at one of its host's addresses.
fn at(endpoint: &Endpoint, address: SocketAddr) -> Endpoint {
    if endpoint.is_datagram() { Endpoint::Udp(address.into()) } else { Endpoint::Tcp(address.into()) }
}

/// Whether this machine does not have such an address, or such a kind of address.
fn is_missing(error: &io::Error) -> bool {
    let unsupported = error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT);
    unsupported || error.kind() == io::ErrorKind::AddrNotAvailable
}
