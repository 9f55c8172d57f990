//! What this machine has too little of for a load, found out before anything is dialled: descriptors, local ports,
//! memory, and what the kernel bounds beside them.
//!
//! The error names the resource that runs out first, and the sysctl that lifts it. One shortage cannot be foreseen: how
//! many ports a closed loop of new connections uses up depends on how fast the server is. The report warns of that one.
//!
//! Found out on the way: whether connecting would be slow. Beyond half of the local ports between two addresses the
//! kernel looks for each free one port by port: 19,000 connections to one port took ten times as long from one address
//! as from three. On loopback, where all of 127.0.0.0/8 is ours, the load then takes more addresses, unless its user has
//! named some. (Elsewhere a warning tells. A port picked by bind(2) would spare the search, but be taken for all far
//! sides, of other programs too, until TIME_WAIT is over.)
//!
//! A limit of the kernel is a wall only where the load surely meets it; net.core.somaxconn is none, for connections that
//! find a listener's queue full come about a second later.
//!
//! - `kernel`: what there is, as proc(5) tells

mod kernel;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process;

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

/// The part of the local ports, between one pair of addresses, that are taken without a search: half of them in theory,
/// but some may be in use.
const UNSEARCHED: u64 = 3;

/// New connections a second that a closed loop may come to, where each request has its own.
const VISITS: u64 = 40_000;

/// What a load finds on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ground {
    /// How many connections there can be by the number of local ports, where endpoints have ports.
    pub(super) ports: Option<u64>,
    /// Local addresses to dial from, on loopback, where one would not do and nobody has named any.
    pub(super) spread: Option<Sources>,
    /// The kernel has to look for the last of the ports one by one.
    pub(super) is_crowded: bool,
}

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

/// Fails when the machine has too little for what is asked.
pub(super) fn check(options: &BenchOptions, addresses: &[Address], descriptors: usize) -> Result<Ground, Error> {
    let kernel = Kernel::at("/proc");
    if let Some(Address::Ip(target)) = addresses.first() {
        check_sources(options.sources, target.ip())?;
    }
    let load = Wanted::new(options, addresses, &kernel);
    let short = load.needs(&kernel, descriptors as u64).into_iter().filter(|need| need.needed > need.available);
    match short.min_by(|a, b| a.share().total_cmp(&b.share())) {
        Some(Need { of, needed, available }) => Err(Error::Shortage { of, needed, available }),
        None => Ok(load.ground),
    }
}

/// A load, as far as it needs something.
#[derive(Debug)]
struct Wanted<'a> {
    options: &'a BenchOptions,
    /// Connections or sockets, the idle ones included.
    connections: u64,
    /// Servers that have so many each, at the same time.
    servers: u64,
    target: Option<(SocketAddr, Ports)>,
    /// How many ends of a connection are on this machine.
    ends: u64,
    is_near: bool,
    ground: Ground,
}

impl<'a> Wanted<'a> {
    fn new(options: &'a BenchOptions, addresses: &[Address], kernel: &Kernel) -> Self {
        let target = match addresses.first() {
            Some(Address::Ip(target)) => Some(*target).zip(options.endpoint.ports()),
            _ => None,
        };
        // A Unix socket, or loopback.
        let is_near = target.is_none_or(|(target, _)| target.ip().to_canonical().is_loopback());
        let probe = u64::from(options.probe_rate.is_some());
        let connections = u64::from(options.connections) + u64::from(options.idle) + probe;
        let mut wanted = Self {
            options,
            connections,
            servers: 1 + options.against.len() as u64,
            target,
            ends: if is_near { 2 } else { 1 },
            is_near,
            ground: Ground::default(),
        };
        if let Some(((target, ports), local)) = target.zip(kernel.local_ports()) {
            wanted.ground = wanted.ground_for(target.ip(), ports, local, kernel);
        }
        wanted
    }

    /// What there is of local ports, where one local address has so many.
    fn ground_for(&self, target: IpAddr, ports: Ports, local: u64, kernel: &Kernel) -> Ground {
        // A local port does for one connection to each port of the target. Datagram sockets share none.
        let local =
            if self.options.endpoint.is_datagram() { local } else { local.saturating_mul(ports.count() as u64) };
        let spread = self.spread(target, local);
        let sources = spread.or(self.options.sources).map_or(1, Sources::count);
        let all = local.saturating_mul(sources);
        // The list of connections can be long: it is read only where there may be too few ports.
        let may_be_short = spread.is_none() && self.connections > all / 4 && !self.options.endpoint.is_datagram();
        let taken = if may_be_short { kernel.ports_in_use(target, ports) } else { 0 };
        Ground {
            ports: Some(all.saturating_sub(taken)),
            spread,
            is_crowded: may_be_short && self.connections + taken > all / 2,
        }
    }

    /// As many addresses of loopback as have ports enough, where one has not.
    fn spread(&self, target: IpAddr, local: u64) -> Option<Sources> {
        let visits = match (self.options.peak_rate(), self.options.extent) {
            _ if !self.options.churn => 0,
            (Some(rate), _) => rate.ceil() as u64,
            (None, Extent::Requests(requests)) => requests.min(VISITS),
            (None, Extent::Duration(duration)) => (VISITS as f64 * duration.as_secs_f64().min(1.0)) as u64,
        };
        let count = self.connections.max(visits).div_ceil((local / UNSEARCHED).max(1));
        let is_free = self.options.sources.is_none() && target.is_ipv4() && target.is_loopback() && count > 1;
        let spread = is_free.then(|| Sources::of_loopback(count, process::id()));
        spread.filter(|_| check_sources(spread, target).is_ok())
    }

    /// What it needs, and what there is.
    fn needs(&self, kernel: &Kernel, descriptors: u64) -> Vec<Need> {
        let mut needs = Vec::new();
        let mut need = |of, needed, available: Option<u64>| {
            needs.extend(available.map(|available| Need { of, needed, available }));
        };
        let all = self.connections * self.servers;
        let own = all + descriptors::RESERVED as u64;
        let is_beyond = kernel.descriptors_of_a_process().is_some_and(|most| own > most);
        let descriptors_of = if is_beyond { Resource::DescriptorsOfAProcess } else { Resource::Descriptors };
        need(descriptors_of, own, Some(descriptors));
        need(Resource::Files, all * self.ends + descriptors::RESERVED as u64, kernel.files_left());
        let memory = kernel.memory();
        need(Resource::Memory, all * (self.ends * KERNEL_END + OUR_PART), memory);
        // Half of the memory, for the server may be on this machine too.
        need(Resource::Unanswered, self.unanswered(NOTED), memory.map(|memory| memory / 2));
        if self.target.is_none() {
            return needs;
        }
        need(Resource::Ports, self.connections, self.ground.ports);
        if let Some(rate) = self.options.peak_rate().filter(|_| self.options.churn) {
            let kept = kernel.port_kept_for(self.is_near);
            need(Resource::PortsPerSecond, rate.ceil() as u64, self.ground.ports.map(|ports| ports / kept));
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
        let Some(rate) = self.options.peak_rate().filter(|_| self.options.churn) else { return self.connections };
        let seconds = match self.options.extent {
            Extent::Duration(duration) => (self.options.warmup + duration).as_secs_f64().min(kept_for as f64),
            Extent::Requests(requests) => (requests as f64 / rate).min(kept_for as f64),
        };
        self.connections + (rate * seconds) as u64
    }
}

/// Fails when this machine does not have the first or the last of the local addresses.
fn check_sources(sources: Option<Sources>, target: IpAddr) -> Result<(), Error> {
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
