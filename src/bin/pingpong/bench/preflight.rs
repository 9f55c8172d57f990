//! What this machine has too little of for a load, found out before anything is dialled: descriptors, local ports,
//! memory.
//!
//! The error names the resource that runs out first. One shortage cannot be foreseen: how many ports a closed loop of
//! new connections uses up depends on how fast the server is. The report warns of that one.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::error::{Error, Resource};
use nix::libc::EAFNOSUPPORT;
use pingpong::{Address, Endpoint, Ports};

use super::machine;
use super::options::BenchOptions;
use super::sources::Sources;
use crate::descriptors;
use crate::probe::Probe;

/// Kernel memory of one end of an idle TCP connection, and our own memory for it, in bytes; both measured.
const KERNEL_END: u64 = 3_400;
const OUR_PART: u64 = 300;

/// Bytes that are noted of an unanswered request.
const NOTED: u64 = 32;

/// Seconds for which a closed connection keeps its port: TIME_WAIT (tcp(7)), and where the kernel reuses it early.
const TIME_WAIT: u64 = 60;
const REUSED_AFTER: u64 = 1;

/// What a load needs of one resource, and what there is of it.
struct Need {
    of: Resource,
    needed: u64,
    available: u64,
}

impl Need {
    /// The share of the need that can be met.
    fn share(&self) -> f64 {
        self.available as f64 / self.needed as f64
    }
}

/// Fails when the machine has too little for what is asked. Returns how many local ports there are, where endpoints
/// have ports.
pub(super) fn check(options: &BenchOptions, addresses: &[Address], descriptors: usize) -> Result<Option<u64>, Error> {
    let wanted = u64::from(options.connections) + u64::from(options.idle);
    let target = addresses.first();
    // A Unix socket, or loopback: both ends of a connection take memory here.
    let is_near = target.and_then(Address::ip).is_none_or(|ip| ip.is_loopback());
    let ends = if is_near { 2 } else { 1 };
    let mut needs = Vec::new();
    let mut need = |of, needed, available: Option<u64>| {
        needs.extend(available.map(|available| Need { of, needed, available }));
    };
    need(Resource::Descriptors, wanted + descriptors::RESERVED as u64, Some(descriptors as u64));
    let memory = machine::memory("MemAvailable");
    need(Resource::Memory, wanted * (ends * KERNEL_END + OUR_PART), memory);
    // Half of the memory, for the server may be on this machine too.
    need(Resource::Unanswered, unanswered(options), memory.map(|memory| memory / 2));
    let mut ports = None;
    if let (Some(Address::Ip(target)), Some(target_ports)) = (target, options.endpoint.ports()) {
        check_sources(options.sources, *target)?;
        ports = local_ports(options.sources).map(|ports| match options.endpoint {
            Endpoint::Tcp(_) => {
                // A local port does for one connection to each port of the target.
                let ports = ports * target_ports.count() as u64;
                // The list of connections can be long: it is read only where there may be too few ports.
                if wanted > ports / 2 { ports.saturating_sub(ports_in_use(target.ip(), target_ports)) } else { ports }
            }
            // Datagram sockets share none.
            _ => ports,
        });
        need(Resource::Ports, wanted, ports);
        if let Some(rate) = options.rate.filter(|_| options.churn) {
            let kept = if is_reused(is_near) { REUSED_AFTER } else { TIME_WAIT };
            need(Resource::PortsPerSecond, rate.ceil() as u64, ports.map(|ports| ports / kept));
        }
    }
    let short = needs.into_iter().filter(|need| need.needed > need.available);
    match short.min_by(|a, b| a.share().total_cmp(&b.share())) {
        Some(Need { of, needed, available }) => Err(Error::Shortage { of, needed, available }),
        None => Ok(ports),
    }
}

/// Bytes that may be unanswered at once: each request as long as it is, and what is noted of it.
fn unanswered(options: &BenchOptions) -> u64 {
    let requests = u64::from(options.connections).saturating_mul(u64::from(options.pipeline));
    let longest = match &options.probe {
        Probe::Pong(size) | Probe::Echo(size) => *size,
        Probe::Fixed { send, expect } => send.len().max(expect.len()),
    };
    requests.saturating_mul(longest as u64 + NOTED)
}

/// Fails when this machine does not have the first or the last of the local addresses.
fn check_sources(sources: Option<Sources>, target: SocketAddr) -> Result<(), Error> {
    let Some(sources) = sources else { return Ok(()) };
    for address in [sources.nth(0), sources.nth(sources.count() - 1)] {
        let bound = if address.is_ipv4() == target.is_ipv4() {
            UdpSocket::bind((address, 0)).map(drop)
        } else {
            Err(io::Error::from_raw_os_error(EAFNOSUPPORT))
        };
        bound.map_err(|source| Error::Source { address, source })?;
    }
    Ok(())
}

/// Ports for connections to one target, of all local addresses together.
fn local_ports(sources: Option<Sources>) -> Option<u64> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = range.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(low)), Some(Ok(high))) = (bounds.next(), bounds.next()) else { return None };
    Some((high + 1).saturating_sub(low).saturating_mul(sources.map_or(1, Sources::count)))
}

/// Local ports taken by connections to these ports of a host. Those in TIME_WAIT count unless the kernel reuses them.
fn ports_in_use(host: IpAddr, ports: Ports) -> u64 {
    const TIME_WAIT_STATE: &str = "06";
    let table = if host.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let host_shown = shown_in_proc(host);
    let is_reused = is_reused(host.is_loopback());
    let is_target = |address: &str| {
        let (host, port) = address.split_once(':').unwrap_or_default();
        host == host_shown && u16::from_str_radix(port, 16).is_ok_and(|port| ports.iter().contains(&port))
    };
    let table = fs::read_to_string(table).unwrap_or_default();
    let taken = table.lines().filter(|line| {
        // sl local_address rem_address st …
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(is_target) && !(is_reused && fields.next() == Some(TIME_WAIT_STATE))
    });
    taken.count() as u64
}

/// Whether the kernel reuses the ports of closed connections after a second (tcp_tw_reuse, tcp(7)); 2 means on loopback
/// only.
fn is_reused(is_near: bool) -> bool {
    let setting = fs::read_to_string("/proc/sys/net/ipv4/tcp_tw_reuse").unwrap_or_default();
    setting.trim() == "1" || setting.trim() == "2" && is_near
}

/// An address as /proc/net/tcp shows it: words of the machine's byte order, in hexadecimal (proc_net(5)).
fn shown_in_proc(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    words.map(|word| format!("{word:08X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_the_kernel_shows_them() {
        assert_eq!(shown_in_proc("127.0.0.1".parse().unwrap()), "0100007F");
        assert_eq!(shown_in_proc("::1".parse().unwrap()), "00000000000000000000000001000000");
    }
}
