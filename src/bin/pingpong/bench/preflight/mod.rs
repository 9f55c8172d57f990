//! What this machine has too little of for a load, found out before anything is dialled: descriptors, local ports,
//! memory, and what the kernel bounds beside them.
//!
//! The error names the resource that runs out first, and the sysctl that lifts it. One shortage cannot be foreseen: how
//! many ports a closed loop of new connections uses up depends on how fast the server is. The report warns of that one.
//!
//! A limit of the kernel is a wall only where the load surely meets it; net.core.somaxconn is none, for connections that
//! find a listener's queue full come about a second later.
//!
//! - `kernel`: what there is, as proc(5) tells

mod kernel;

use std::io;
use std::net::{SocketAddr, UdpSocket};

use nix::libc::EAFNOSUPPORT;
use pingpong::{Address, Ports};

use super::options::{BenchOptions, Extent};
use super::sources::Sources;
use crate::descriptors;
use crate::error::{Error, Resource};
use crate::probe::Probe;
use kernel::Kernel;

/// Kernel memory of one end of an idle TCP connection, and our own memory for it, in bytes; both measured.
const KERNEL_END: u64 = 3_400;
const OUR_PART: u64 = 300;

/// Bytes that are noted of an unanswered request.
const NOTED: u64 = 32;

/// Bytes of a page of memory, and those that the kernel takes for a datagram beside its own.
const PAGE: u64 = 4_096;
const BESIDE_DATAGRAM: u64 = 704;

/// What a load needs of one resource, and what there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let kernel = Kernel::at("/proc");
    if let Some(Address::Ip(target)) = addresses.first() {
        check_sources(options.sources, *target)?;
    }
    let load = Wanted::new(options, addresses, &kernel);
    let short = load.needs(&kernel, descriptors as u64).into_iter().filter(|need| need.needed > need.available);
    match short.min_by(|a, b| a.share().total_cmp(&b.share())) {
        Some(Need { of, needed, available }) => Err(Error::Shortage { of, needed, available }),
        None => Ok(load.ports),
    }
}

/// A load, as far as it needs something.
#[derive(Debug)]
struct Wanted<'a> {
    options: &'a BenchOptions,
    /// Connections or sockets, the idle ones included.
    connections: u64,
    target: Option<(SocketAddr, Ports)>,
    /// How many ends of a connection are on this machine.
    ends: u64,
    is_near: bool,
    /// How many connections there can be by the number of local ports.
    ports: Option<u64>,
}

impl<'a> Wanted<'a> {
    fn new(options: &'a BenchOptions, addresses: &[Address], kernel: &Kernel) -> Self {
        let target = match addresses.first() {
            Some(Address::Ip(target)) => Some(*target).zip(options.endpoint.ports()),
            _ => None,
        };
        // A Unix socket, or loopback.
        let is_near = target.is_none_or(|(target, _)| target.ip().to_canonical().is_loopback());
        let connections = u64::from(options.connections) + u64::from(options.idle);
        let ports = target.and_then(|(target, ports)| {
            let sources = options.sources.map_or(1, Sources::count);
            let local = kernel.local_ports()?.saturating_mul(sources);
            if options.endpoint.is_datagram() {
                // Datagram sockets share no local port.
                return Some(local);
            }
            // A local port does for one connection to each port of the target.
            let local = local.saturating_mul(ports.count() as u64);
            // The list of connections can be long: it is read only where there may be too few ports.
            let taken = if connections > local / 2 { kernel.ports_in_use(target.ip(), ports) } else { 0 };
            Some(local.saturating_sub(taken))
        });
        Self { options, connections, target, ends: if is_near { 2 } else { 1 }, is_near, ports }
    }

    /// What it needs, and what there is.
    fn needs(&self, kernel: &Kernel, descriptors: u64) -> Vec<Need> {
        let mut needs = Vec::new();
        let mut need = |of, needed, available: Option<u64>| {
            needs.extend(available.map(|available| Need { of, needed, available }));
        };
        let own = self.connections + descriptors::RESERVED as u64;
        let is_beyond = kernel.descriptors_of_a_process().is_some_and(|most| own > most);
        let descriptors_of = if is_beyond { Resource::DescriptorsOfAProcess } else { Resource::Descriptors };
        need(descriptors_of, own, Some(descriptors));
        need(Resource::Files, self.connections * self.ends + descriptors::RESERVED as u64, kernel.files_left());
        let memory = kernel.memory();
        need(Resource::Memory, self.connections * (self.ends * KERNEL_END + OUR_PART), memory);
        // Half of the memory, for the server may be on this machine too.
        need(Resource::Unanswered, self.unanswered(NOTED), memory.map(|memory| memory / 2));
        if self.target.is_none() {
            return needs;
        }
        need(Resource::Ports, self.connections, self.ports);
        if let Some(rate) = self.options.rate.filter(|_| self.options.churn) {
            let kept = kernel.port_kept_for(self.is_near);
            need(Resource::PortsPerSecond, rate.ceil() as u64, self.ports.map(|ports| ports / kept));
        }
        need(Resource::Tracked, self.tracked(kernel.tracked_for()), kernel.tracked_left());
        let is_datagram = self.options.endpoint.is_datagram();
        let (pages, beside) = if is_datagram { (Resource::UdpPages, BESIDE_DATAGRAM) } else { (Resource::TcpPages, 0) };
        // What is in a buffer takes a page of it at least.
        let in_buffers = (self.unanswered(beside) / PAGE).max(self.options.connections.into());
        need(pages, in_buffers, kernel.pages_left(is_datagram));
        needs
    }

    /// Bytes that may be unanswered at once: each request as long as it is, and what there is `beside` it.
    fn unanswered(&self, beside: u64) -> u64 {
        let requests = u64::from(self.options.connections).saturating_mul(u64::from(self.options.pipeline));
        let longest = match &self.options.probe {
            Probe::Pong(size) | Probe::Echo(size) => *size,
            Probe::Fixed { send, expect } => send.len().max(expect.len()),
        };
        requests.saturating_mul(longest as u64 + beside)
    }

    /// Connections that a firewall has to track at once. It keeps those that were closed for a while.
    fn tracked(&self, kept_for: u64) -> u64 {
        let Some(rate) = self.options.rate.filter(|_| self.options.churn) else { return self.connections };
        let seconds = match self.options.extent {
            Extent::Duration(duration) => (self.options.warmup + duration).as_secs_f64().min(kept_for as f64),
            Extent::Requests(requests) => (requests as f64 / rate).min(kept_for as f64),
        };
        self.connections + (rate * seconds) as u64
    }
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

#[cfg(test)]
mod tests;
