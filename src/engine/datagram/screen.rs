//! Which datagrams may be answered.
//!
//! A source address can be forged. So that no packet sets two responders talking for ever, and none gains more than a
//! few bytes, some are never answered ([`Loop`](Silence::Loop)), and the others only within their source's budget.

use std::net::{IpAddr, SocketAddr};

use super::super::SELDOM;
use super::super::budget::Source;
use super::super::net::Arrival;
use super::{DatagramSocket, Datagrams};
use crate::endpoint::Address;
use crate::moment::Moment;

/// Ports of services that answer whatever they get: echo, daytime, quotd, chargen, time, domain, tftp, ntp, snmp,
/// ldap, kpasswd, ssdp, mdns, memcached. (See CVE-2024-2169.)
const RESPONDERS: [u16; 14] = [7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 464, 1900, 5353, 11211];

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The answer could set off a loop.
    Loop,
    /// Its source has used up its budget.
    Budget,
    /// There is no address to answer to.
    Nowhere,
}

impl<D> Datagrams<D> {
    /// Whether this datagram, which waits in the batch, may be answered; and whose budget the answer is taken from, if
    /// anyone's. Its service says whether the answer is harmless.
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
            Address::Unix(path) if self.sockets.iter().any(|(_, socket)| socket.path() == path.as_deref()) => {
                return Err(Silence::Loop);
            }
            Address::Unix(Some(_)) => return Ok(None),
        };
        let ip = source.ip().to_canonical();
        if is_suspect(source, ip) {
            return Err(Silence::Loop);
        }
        let is_harmless = is_harmless(bytes);
        let is_served_here = self.sockets.iter().any(|(_, socket)| socket.port() == Some(source.port()));
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
        if self.warned.is_none_or(|warned| now >= warned + SELDOM) {
            self.warned = Some(now);
            log::warn!("{ip} is over its datagram budget: no answer to it for now (see --udp-budget)");
        }
        Err(Silence::Budget)
    }
}

/// Whether a source is neither on loopback nor the address that this socket was asked at.
fn is_far<D>(ip: IpAddr, arrival: &Arrival, socket: &DatagramSocket<D>) -> bool {
    let own = arrival.local.map(|local| local.ip).or(socket.local.ip()).map(|local| local.to_canonical());
    !ip.is_loopback() && Some(ip) != own
}

/// Whether a datagram from here must not be answered, whatever it says.
fn is_suspect(source: &SocketAddr, ip: IpAddr) -> bool {
    let unfit = match ip {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    unfit || source.port() == 0 || RESPONDERS.contains(&source.port())
}
