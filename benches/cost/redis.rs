//! redis-server under redis-benchmark, a common way to measure, in turn with ours.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use common::Result;
use common::child::{Child, Cpus};
use common::options::Options;

use crate::rows::Server;
use crate::run::{Load, Run};

/// The text that `--only` looks in.
pub(crate) const NAME: &str = "redis-benchmark, redis-server";

/// Requests of the first run, which tells how many the other runs need.
const FIRST: u64 = 20_000;
/// A run here lasts this many windows, because redis-benchmark tells its time in whole milliseconds.
const WINDOWS: u32 = 4;
/// Attempts to find a free port: another process may take it meanwhile.
const ATTEMPTS: usize = 5;

/// A load and its server.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pair {
    /// redis-benchmark against redis-server.
    Theirs,
    /// pingpong bench against redis-server.
    Mixed,
    /// pingpong bench against pingpong serve.
    Ours,
}

impl Pair {
    pub(crate) const ALL: [Self; 3] = [Self::Theirs, Self::Mixed, Self::Ours];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Theirs => "redis-benchmark -c 50, redis-server",
            Self::Mixed => "pingpong bench -c 50, redis-server",
            Self::Ours => "pingpong bench -c 50, pingpong serve",
        }
    }
}

/// Runs of all three pairs, in turn.
pub(crate) struct Comparison {
    pub(crate) version: String,
    /// Of each run.
    pub(crate) requests: u64,
    /// By pair, as in [`Pair::ALL`].
    pub(crate) runs: [Vec<Run>; 3],
}

/// A comparison, or why there is none.
pub(crate) enum Outcome {
    Compared(Comparison),
    Skipped(String),
}

pub(crate) fn compare(options: &Options, cpus: Cpus) -> Result<Outcome> {
    for program in ["redis-server", "redis-benchmark"] {
        if let Err(error) = Command::new(program).arg("--version").output() {
            return Ok(Outcome::Skipped(format!("{program} does not start: {error}")));
        }
    }
    let version = String::from_utf8_lossy(&Command::new("redis-server").arg("--version").output()?.stdout).into_owned();
    let version = version.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("?").to_owned();
    let mut comparison = Comparison { version, requests: FIRST, runs: [const { Vec::new() }; 3] };
    for rounds in options.generations() {
        let duel = Duel::start(cpus)?;
        // The first runs find everything cold.
        let theirs = duel.run(Pair::Theirs, FIRST)?;
        duel.run(Pair::Mixed, FIRST)?;
        duel.run(Pair::Ours, FIRST)?;
        if comparison.requests == FIRST {
            comparison.requests = ((theirs.rate_by_cpu() * (options.window * WINDOWS).as_secs_f64()) as u64).max(1000);
        }
        for round in rounds {
            for turn in 0..3 {
                let which = (round + turn) % 3;
                comparison.runs[which].push(duel.run(Pair::ALL[which], comparison.requests)?);
            }
        }
    }
    Ok(Outcome::Compared(comparison))
}

/// Both servers, up at the same time.
struct Duel {
    redis: Child,
    port: u16,
    pingpong: Child,
    endpoint: String,
    cpus: Cpus,
}

impl Duel {
    fn start(cpus: Cpus) -> Result<Self> {
        let (redis, port) = start_redis(cpus.server)?;
        let (pingpong, endpoint) = Server::Tcp.start(cpus.server)?;
        Ok(Self { redis, port, pingpong, endpoint, cpus })
    }

    fn run(&self, pair: Pair, requests: u64) -> Result<Run> {
        let (load, server) = match pair {
            Pair::Theirs => (Load::redis(self.port), &self.redis),
            Pair::Mixed => {
                let endpoint = format!("tcp://127.0.0.1:{}", self.port);
                (Load::pingpong(&endpoint, "--send PING\\r\\n --expect +PONG\\r\\n"), &self.redis)
            }
            Pair::Ours => (Load::pingpong(&self.endpoint, ""), &self.pingpong),
        };
        load.run(&format!("-c 50 -n {requests}"), server, self.cpus.load)
    }
}

/// A fresh redis-server that keeps nothing, and its port. It cannot report a port that the kernel picks, so a free one
/// is found first; when another process takes that meanwhile, the next one is tried.
fn start_redis(cpu: usize) -> Result<(Child, u16)> {
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let port_word = port.to_string();
        let role = ["exec", "redis-server", "--bind", "127.0.0.1", "--port", &port_word];
        let role = role.into_iter().chain(["--save", "", "--appendonly", "no"]).map(str::to_owned);
        let mut redis = Child::start(cpu, &role.collect::<Vec<_>>())?;
        let mut said = Vec::new();
        while let Some(line) = redis.next_line()? {
            if line.contains("Ready to accept connections") {
                return Ok((redis, port));
            }
            said.push(line);
        }
        failure = said.pop().unwrap_or_else(|| redis.last_words());
    }
    Err(format!("redis-server does not start: {failure}").into())
}
