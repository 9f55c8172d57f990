//! A server and pingpong under the same loads, in turn.
//!
//! A run's figures cover all that it asks after its first question on each connection: what a run of only those costs is
//! measured first and subtracted, but for churn, where connecting is the work.

use std::time::Duration;

use common::Result;
use common::child::Cpus;
use common::ended::Ended;
use common::options::Options;
use serde_json::Value;

use crate::family;
use crate::servers::{Kind, Transport};
use crate::start::Server;

/// How often to look whether a server has closed its connections and sleeps.
const NAP: Duration = Duration::from_millis(5);
/// A window lasts at least this long for each connection, so that the first questions are a small part of it.
const SHARE: Duration = Duration::from_micros(500);

/// What the servers are loaded with.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) transport: Transport,
    /// The options of `pingpong bench`.
    pub(crate) options: &'static str,
    /// Connections that have to be made before the work begins; none where making them is the work.
    made_before: usize,
}

const fn tcp(name: &'static str, options: &'static str, made_before: usize) -> Load {
    Load { name, transport: Transport::Tcp, options, made_before }
}

/// Loads of connections that stay.
pub(crate) const LASTING: [Load; 4] = [
    tcp("50 connections", "-c 50", 50),
    tcp("1,000 connections", "-c 1000", 1000),
    tcp("50 connections, 16 outstanding", "-c 50 -p 16", 50),
    Load { transport: Transport::Udp, ..tcp("UDP, 50 sockets", "-c 50", 50) },
];

/// Measured last, because the closed connections occupy the kernel for another minute.
pub(crate) const CHURN: Load = tcp("connect, ask, close; 50 at a time", "-c 50 --churn", 0);

/// What one run brought.
#[derive(Clone, Default)]
pub(crate) struct Run {
    requests: f64,
    pub(crate) per_second: f64,
    server_cpu: Duration,
    pub(crate) wrong: u64,
    /// Requests that failed otherwise.
    pub(crate) lost: u64,
}

impl Run {
    fn of(server: &Server, load: &str, cpu: usize) -> Result<Self> {
        let before = family::cpu_at_rest(server.pid(), NAP)?;
        let said = Said::of(&Ended::of(&server.bench(load), cpu)?.text)?;
        Ok(Self {
            requests: said.requests,
            per_second: said.per_second,
            server_cpu: family::cpu_at_rest(server.pid(), NAP)?.saturating_sub(before),
            wrong: said.wrong,
            lost: said.lost,
        })
    }

    fn less(self, other: &Self) -> Result<Self> {
        let requests = self.requests - other.requests;
        if requests < self.requests / 2.0 {
            return Err(format!("too few answers to measure: {}", self.requests).into());
        }
        Ok(Self { requests, server_cpu: self.server_cpu.saturating_sub(other.server_cpu), ..self })
    }

    /// CPU microseconds of the server for each request.
    pub(crate) fn us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.requests
    }
}

/// What `pingpong bench --json` says.
pub(crate) struct Said {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Said {
    pub(crate) fn of(text: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(text)?;
        let figure =
            |name: &str| report["metrics"][name].as_f64().ok_or_else(|| format!("no {name} among the metrics"));
        let count = |name: &str| report["metrics"][name].as_u64().ok_or_else(|| format!("no {name} among the metrics"));
        let wrong = count("wrong")?;
        Ok(Self {
            requests: figure("requests")?,
            per_second: figure("requests_per_second")?,
            p50_us: figure("service_p50_us")?,
            p99_us: figure("service_p99_us")?,
            wrong,
            lost: count("errors")? - wrong,
        })
    }
}

/// Runs in turn: those of a pair have the same index.
#[derive(Default)]
pub(crate) struct Pairs {
    pub(crate) ours: Vec<Run>,
    pub(crate) theirs: Vec<Run>,
}

pub(crate) fn pairs(peer: Kind, load: &Load, options: &Options, cpus: Cpus) -> Result<Pairs> {
    let mut pairs = Pairs::default();
    let window = options.window.max(SHARE * u32::try_from(load.made_before)?);
    let extent = format!("{} -d {}ms", load.options, window.as_millis());
    for rounds in options.generations() {
        let ours = Opponent::start(peer.reference(), load, cpus)?;
        let theirs = Opponent::start(peer, load, cpus)?;
        for round in rounds {
            for is_ours in [round % 2 == 0, round % 2 == 1] {
                if is_ours {
                    pairs.ours.push(ours.run(&extent)?);
                } else {
                    pairs.theirs.push(theirs.run(&extent)?);
                }
            }
        }
    }
    Ok(pairs)
}

/// A server, and what the first question on each connection costs it.
struct Opponent {
    server: Server,
    first: Run,
    load_cpu: usize,
}

impl Opponent {
    fn start(kind: Kind, load: &Load, cpus: Cpus) -> Result<Self> {
        let server = Server::start(kind, load.transport, cpus.server)?;
        let first = match load.made_before {
            0 => {
                // The first run finds caches and page tables cold.
                Run::of(&server, &format!("{} -n 100", load.options), cpus.load)?;
                Run::default()
            }
            count => {
                let first = format!("-c {count} -n {count}");
                Run::of(&server, &first, cpus.load)?;
                Run::of(&server, &first, cpus.load)?
            }
        };
        Ok(Self { server, first, load_cpu: cpus.load })
    }

    fn run(&self, extent: &str) -> Result<Run> {
        Run::of(&self.server, extent, self.load_cpu)?.less(&self.first)
    }
}
