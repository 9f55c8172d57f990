//! What this machine has too little of, found out before anything is dialled: descriptors, local ports, memory.
//!
//! What is said is which of them runs out first. A wall that cannot be known beforehand (how many ports a closed loop of
//! new connections uses depends on the server) is reported when it was met.

use std::fs;
use std::net::{SocketAddr, UdpSocket};

use super::{Sources, machine};
use crate::bench::BenchOptions;
use crate::descriptors;
use pingpong::{Address, Endpoint};
use pingpong::{Error, Resource};

/// Kernel memory of one end of an idle TCP connection, in bytes, measured; and our own part of it.
const KERNEL_END: u64 = 3_400;
const OUR_PART: u64 = 300;

/// How long a closed connection keeps its port: TIME_WAIT (tcp(7)), and where the kernel may use it again at once.
const TIME_WAIT: u64 = 60;
const REUSED_AFTER: u64 = 1;

/// Fails when what is asked for cannot be. Returns how many local ports there are, where there are ports.
pub(super) fn check(options: &BenchOptions, addresses: &[Address], descriptors: usize) -> Result<Option<u64>, Error> {
    let wanted = u64::from(options.connections) + u64::from(options.idle);
    let target = addresses.first();
    let is_near = target.and_then(Address::ip).is_none_or(|ip| ip.is_loopback());
    let ends = if is_near { 2 } else { 1 };
    let memory_each = ends * KERNEL_END + OUR_PART;
    let mut walls = vec![
        (Resource::Descriptors, wanted + descriptors::RESERVED as u64, Some(descriptors as u64)),
        (Resource::Memory, wanted * memory_each, machine::memory("MemAvailable")),
    ];
    let mut ports = None;
    if let Some(Address::Ip(target)) = target {
        check_sources(options.sources, *target)?;
        ports = local_ports(options.sources).map(|ports| match options.endpoint {
            // The list of connections can be long: it is read only where there may be too few ports.
            Endpoint::Tcp(_) if wanted > ports / 2 => ports.saturating_sub(ports_in_use(*target)),
            _ => ports,
        });
        walls.push((Resource::Ports, wanted, ports));
        if let Some(rate) = options.rate.filter(|_| options.churn) {
            let kept = if is_reused(is_near) { REUSED_AFTER } else { TIME_WAIT };
            walls.push((Resource::PortsPerSecond, rate.ceil() as u64, ports.map(|ports| ports / kept)));
        }
    }
    // The one that is met first is the one of which there is the smallest part of what is needed.
    let short = walls.into_iter().filter_map(|(of, needed, available)| Some((of, needed, available?)));
    let share = |needed: u64, available: u64| available as f64 / needed as f64;
    let first = short
        .filter(|(_, needed, available)| needed > available)
        .min_by(|a, b| share(a.1, a.2).total_cmp(&share(b.1, b.2)));
    first.map_or(Ok(ports), |(of, needed, available)| Err(Error::Shortage { of, needed, available }))
}

/// Whether the first and the last of the local addresses are there.
fn check_sources(sources: Option<Sources>, target: SocketAddr) -> Result<(), Error> {
    let Some(sources) = sources else { return Ok(()) };
    for address in [sources.nth(0), sources.nth(sources.count() - 1)] {
        let bound = match address.is_ipv4() == target.is_ipv4() {
            true => UdpSocket::bind((address, 0)).map(drop),
            false => Err(std::io::Error::from_raw_os_error(nix::libc::EAFNOSUPPORT)),
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

/// Local ports that connections to the target have already, those included whose time is not over, unless they can be
/// used again.
fn ports_in_use(target: SocketAddr) -> u64 {
    const TIME_WAIT_STATE: &str = "06";
    let table = if target.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let target_shown = shown_in_proc(target);
    let is_reused = is_reused(target.ip().is_loopback());
    let table = fs::read_to_string(table).unwrap_or_default();
    let count = table.lines().filter(|line| {
        // sl local_address rem_address st …
        let mut fields = line.split_whitespace().skip(2);
        fields.next() == Some(&target_shown) && !(is_reused && fields.next() == Some(TIME_WAIT_STATE))
    });
    count.count() as u64
}

/// An address as /proc/net/tcp has it: words of the machine's byte order, in hexadecimal (proc_net(5)).
fn shown_in_proc(address: SocketAddr) -> String {
    let octets = match address {
        SocketAddr::V4(v4) => v4.ip().octets().to_vec(),
        SocketAddr::V6(v6) => v6.ip().octets().to_vec(),
    };
    let words =
        octets.chunks_exact(4).map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

/// Whether the kernel uses ports of closed connections again after a second (tcp_tw_reuse, tcp(7)): 2 means on loopback.
fn is_reused(is_near: bool) -> bool {
    let setting = fs::read_to_string("/proc/sys/net/ipv4/tcp_tw_reuse").unwrap_or_default();
    setting.trim() == "1" || setting.trim() == "2" && is_near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_the_kernel_shows_them() {
        assert_eq!(shown_in_proc("127.0.0.1:8888".parse().unwrap()), "0100007F:22B8");
        assert_eq!(shown_in_proc("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
    }
}
