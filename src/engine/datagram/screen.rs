//! Decides which datagrams may be answered.
//!
//! A source address can be forged. A forged datagram must not make two responders answer each other for ever, nor make
//! this server send much more than was sent to it. So datagrams from certain sources are never answered
//! ([`Silence::Loop`]), and others only while their source's budget lasts ([`Silence::Budget`]). What the bytes mean is
//! for the service to say ([`Service::is_harmless`](crate::service::Service::is_harmless)).

use std::net::{IpAddr, SocketAddr};

use super::super::budget::Source;
use super::super::net::Arrival;
use super::{DatagramSocket, Datagrams};
use crate::endpoint::Address;
use crate::moment::Moment;

/// Ports of services that may answer an answer (CVE-2024-2169): echo, daytime, qotd, chargen, time, domain, tftp, ntp,
/// snmp, ldap, kpasswd, ssdp, mdns, memcached.
const RESPONDERS: [u16; 14] = [7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 464, 1900, 5353, 11211];

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The answer could set off a loop.
    Loop,
    /// Its source has used up its budget.
    Budget,
    /// Its sender has no address: a Unix socket that is not bound.
    Nowhere,
}

impl<D> Datagrams<D> {
    /// Decides whether the datagram in this slot of the batch may be answered. Returns the source whose budget an
    /// answer is charged to, if to any.
    pub(super) fn screen(
        &mut self,
        number: u32,
        slot: usize,
        is_harmless: impl FnOnce(&[u8]) -> bool,
        now: Moment,
    ) -> Result<Option<Source>, Silence> {
        let socket = &self.sockets[number as usize];
        if socket.asks.is_some() {
            return Ok(None);
        }
        let (arrival, bytes) = self.batch.datagram(slot);
        let source = match &arrival.source {
            Address::Ip(source) => source,
            Address::Unix(None) => return Err(Silence::Nowhere),
            Address::Unix(Some(path)) if self.sockets.iter().any(|(_, socket)| socket.is_bound_to(path)) => {
                return Err(Silence::Loop);
            }
            Address::Unix(Some(_)) => return Ok(None),
        };
        let ip = source.ip().to_canonical();
        if is_suspect(source, ip) {
            return Err(Silence::Loop);
        }
        let is_harmless = is_harmless(bytes);
        let is_served_here = self.served_ports.binary_search(&source.port()).is_ok();
        if is_served_here && !(is_harmless && is_far(ip, arrival, socket)) {
            return Err(Silence::Loop);
        }
        // A question to many hosts has an answer from each of them: that alone is a gain, however short the answers.
        if is_harmless && !arrival.to_many || ip.is_loopback() {
            return Ok(None);
        }
        if self.budget.as_mut().is_none_or(|budget| budget.allows(ip.into(), now)) {
            return Ok(Some(ip.into()));
        }
        if self.warned.may(now) {
            log::warn!("{ip} is over its datagram budget: no answer to it for now (see --udp-budget)");
        }
        Err(Silence::Budget)
    }
}

/// Whether a source is another host: neither loopback nor the address that the datagram was sent to.
fn is_far<D>(ip: IpAddr, arrival: &Arrival, socket: &DatagramSocket<D>) -> bool {
    let own = arrival.local.map(|local| local.ip).or(socket.local.ip()).map(|local| local.to_canonical());
    !ip.is_loopback() && Some(ip) != own
}

/// Whether datagrams from this source are never answered, whatever they say.
fn is_suspect(source: &SocketAddr, ip: IpAddr) -> bool {
    let unfit = match ip {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    unfit || source.port() == 0 || RESPONDERS.contains(&source.port())
}
