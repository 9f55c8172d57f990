//! The sockets beside one that is bound to all addresses: one for each address that the machine has at that time.
//!
//! A socket bound to all addresses has each datagram come with the one that it was sent to, and each answer leave from
//! there: packet info (ip(7), ipv6(7)) costs a tenth more CPU than a socket that is bound to one. The kernel prefers
//! the latter where there are both. What is sent elsewhere comes to the former as before: to an address that is new, to
//! a link-local, broadcast or multicast one, to others of 127.0.0.0/8.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use nix::ifaddrs::getifaddrs;
use socket2::SockRef;

use super::{Bound, Datagram, Family, Reach, serving};
use crate::reactor::calls::{Calls, Held};
use crate::reactor::options::{self, ListenOptions, told_set};

/// Opens them, at the port of a socket that is bound to all addresses. Those that cannot be opened are left out: none of
/// them is needed. There are none where several processes share the port: one that starts when the machine has a new
/// address would get all that is sent there.
///
/// Two sockets may have a port in common in this way if both say so (SO_REUSEADDR, socket(7)). They say so only until
/// all are bound: another server that sets it, too, would take their datagrams away unnoticed.
pub(super) fn open<C: Calls>(wildcard: &UdpSocket, local: SocketAddr, options: &ListenOptions, calls: &C) -> Bound<C> {
    if options.reuse_port {
        return Vec::new();
    }
    let share = |socket: &UdpSocket, shares| {
        told_set(calls, socket, "SO_REUSEADDR", shares as i64, SockRef::from(socket).set_reuse_address(shares))
    };
    if share(wildcard, true).is_err() {
        return Vec::new();
    }
    let addresses = addresses_beside(local.ip()).into_iter().map(|ip| SocketAddr::new(ip, local.port()));
    let mut sockets = Vec::new();
    for address in addresses.take(ListenOptions::MOST_BESIDE) {
        match bind(address, options, calls) {
            Ok(socket) => sockets.push((socket, address)),
            Err(error) => log::debug!("udp://{address} has no socket of its own: {error}"),
        }
    }
    sockets.retain(|(socket, _)| share(socket, false).is_ok());
    if share(wildcard, false).is_err() {
        sockets.clear();
    }
    let datagram = |(socket, address): (Held<UdpSocket, C>, _)| {
        (socket.map(|socket| Datagram::new(Family::of(socket, address), Reach::Specific)), address)
    };
    sockets.into_iter().map(datagram).collect()
}

fn bind<C: Calls>(address: SocketAddr, options: &ListenOptions, calls: &C) -> io::Result<Held<UdpSocket, C>> {
    let socket = serving(address, options, calls)?;
    told_set(calls, &*socket, "SO_REUSEADDR", 1, socket.set_reuse_address(true))?;
    options::bind(&socket, address, calls)?;
    Ok(socket.map(|socket| UdpSocket::from_std(socket.into())))
}

/// The addresses of this machine that a socket bound to `wildcard` stands for, without those that mean nothing without
/// their interface.
fn addresses_beside(wildcard: IpAddr) -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => wildcard.is_ipv6() && !ip.is_unicast_link_local(),
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::calls::Quiet;

    #[test]
    fn all_addresses_stand_for_loopback_too() {
        let (v4, v6) = ([127, 0, 0, 1].into(), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST));
        let beside = addresses_beside([0, 0, 0, 0].into());
        assert!(beside.contains(&v4) && beside.iter().all(IpAddr::is_ipv4), "{beside:?}");
        let beside = addresses_beside(std::net::Ipv6Addr::UNSPECIFIED.into());
        assert!(beside.contains(&v4) && beside.contains(&v6), "{beside:?}");
    }

    #[test]
    fn there_are_none_where_processes_share_the_port() {
        let options = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        let (sockets, _) = Datagram::udp("[::]:0".parse().unwrap(), &options, &Quiet).unwrap();
        assert_eq!(sockets.len(), 1);
    }

    #[test]
    fn once_they_are_open_nobody_else_gets_the_port() {
        for host in ["0.0.0.0:0", "[::]:0"] {
            let (sockets, local) = Datagram::udp(host.parse().unwrap(), &ListenOptions::default(), &Quiet).unwrap();
            assert!(sockets.len() > 1, "{host}");
            for (_, address) in &sockets {
                assert_eq!(address.port(), local.port());
                let error = bind(*address, &ListenOptions::default(), &Quiet).expect_err("it is taken");
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address}");
            }
        }
    }
}
