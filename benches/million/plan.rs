//! How many processes, which ports, how many connections each.
//!
//! All connections come from one address, 127.0.0.1, and go to as many ports of it as keep the kernel from searching for
//! a free local port (`pingpong bench` would take more addresses otherwise). A local port then serves one connection to
//! each of the ports, and all those share what the kernel remembers of it: with an address for each load there was one
//! such note (tcp_bind_bucket, tcp_bind2_bucket) for each connection, 256 bytes.

use std::net::{Ipv4Addr, TcpListener};

use common::Result;
use common::child;

use crate::options::Options;
use crate::walls::{Wall, number};

/// Processes at either end.
pub(crate) const MOST_PROCESSES: u64 = 1_000;
/// Descriptors of a process that are no idle connection's: listeners, active clients, what unevenness adds.
const RESERVED: u64 = 500;
/// The loads begin in three steps: at a quarter, at a half, at all of the connections.
const STEP: u64 = 4;
/// The part of the local ports between two addresses that are taken without a search.
const UNSEARCHED: u64 = 4;
/// Ports below are for others.
const FIRST_PORT: u64 = 5_000;

pub(crate) struct Plan {
    pub(crate) connections: u64,
    pub(crate) servers: u64,
    pub(crate) loads: u64,
    pub(crate) heartbeat: u64,
    /// Ports that each server listens at.
    pub(crate) ports: u64,
    first_port: u64,
    server_cpus: Vec<usize>,
    load_cpus: Vec<usize>,
}

impl Plan {
    /// As many connections as are asked for and as the walls allow.
    pub(crate) fn new(options: &Options, descriptors: u64, walls: &[Wall]) -> Result<Self> {
        let allowed = walls.first().map_or(u64::MAX, |wall| wall.connections);
        let connections = options.connections.min(allowed);
        if connections < STEP {
            return Err("this machine has no room for a connection".into());
        }
        let (server_cpus, load_cpus) = divided(child::allowed_cpus()?)?;
        let each = carried_by(descriptors);
        let servers = connections.div_ceil(each).max(server_cpus.len() as u64);
        let loads = connections.div_ceil(each).max(load_cpus.len() as u64).next_multiple_of(STEP);
        let ports = connections.div_ceil(local_ports().unwrap_or(20_000) / UNSEARCHED).div_ceil(servers).max(1);
        let first_port = free_ports(servers * ports)?;
        let heartbeat = options.heartbeat.as_secs();
        Ok(Self { connections, servers, loads, heartbeat, ports, first_port, server_cpus, load_cpus })
    }

    /// Up to which load each step goes, and how many connections there are then. The first has none.
    pub(crate) fn steps(&self) -> Vec<(u64, u64)> {
        let up_to = |loads: u64| (loads, (0..loads).map(|number| self.of_load(number)).sum());
        [0, self.loads / STEP, self.loads / 2, self.loads].map(up_to).to_vec()
    }

    /// The connections of a load.
    pub(crate) fn of_load(&self, number: u64) -> u64 {
        self.connections / self.loads + u64::from(number < self.connections % self.loads)
    }

    /// All ports of all servers.
    pub(crate) fn endpoint(&self) -> String {
        format!("tcp://127.0.0.1:{}-{}", self.first_port, self.first_port + self.servers * self.ports - 1)
    }

    /// The endpoints of a server: every so many-th port is its own, so that neighbouring ports are of different servers.
    pub(crate) fn of_server(&self, number: u64) -> impl Iterator<Item = String> {
        (0..self.ports).map(move |turn| format!("tcp://127.0.0.1:{}", self.first_port + number + turn * self.servers))
    }

    pub(crate) fn server_cpu(&self, number: u64) -> usize {
        self.server_cpus[number as usize % self.server_cpus.len()]
    }

    pub(crate) fn load_cpu(&self, number: u64) -> usize {
        self.load_cpus[number as usize % self.load_cpus.len()]
    }

    /// On which CPUs what runs.
    pub(crate) fn cpus(&self) -> String {
        match (&self.server_cpus[..], &self.load_cpus[..]) {
            (servers, loads) if servers == loads => "all on ONE CPU".to_owned(),
            ([server], [load]) => format!("servers on CPU {server}, loads on CPU {load}"),
            (servers, loads) => format!("servers on {} CPUs, loads on {} others", servers.len(), loads.len()),
        }
    }
}

/// The connections that a process with so many descriptors holds.
pub(crate) fn carried_by(descriptors: u64) -> u64 {
    descriptors.saturating_sub(RESERVED)
}

/// The connections that there are ports for.
pub(crate) fn by_ports() -> Option<u64> {
    let listening = number("net/ipv4/ip_local_port_range", 0)?.saturating_sub(FIRST_PORT);
    Some(local_ports()? / UNSEARCHED * listening)
}

/// One half of the CPUs for the servers, the other one for the loads.
fn divided(cpus: Vec<usize>) -> Result<(Vec<usize>, Vec<usize>)> {
    match &cpus[..] {
        [] => Err("no CPU to run on".into()),
        [one] => Ok((vec![*one], vec![*one])),
        _ => {
            let (servers, loads) = cpus.split_at(cpus.len() / 2);
            Ok((servers.to_vec(), loads.to_vec()))
        }
    }
}

fn local_ports() -> Option<u64> {
    let range = |place| number("net/ipv4/ip_local_port_range", place);
    Some((range(1)? + 1).saturating_sub(range(0)?))
}

/// The first of so many ports in a row at which nobody listens.
fn free_ports(count: u64) -> Result<u64> {
    let end = number("net/ipv4/ip_local_port_range", 0).unwrap_or(32_768);
    let is_free = |port: &u64| TcpListener::bind((Ipv4Addr::LOCALHOST, *port as u16)).is_ok();
    let mut first = FIRST_PORT;
    while first + count <= end {
        match (first..first + count).rev().find(|port| !is_free(port)) {
            None => return Ok(first),
            Some(taken) => first = taken + 1,
        }
    }
    Err(format!("no {count} ports in a row are free between {FIRST_PORT} and {end}").into())
}
