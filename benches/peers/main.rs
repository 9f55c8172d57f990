//! `pingpong serve` beside other servers, and `pingpong bench` beside other load generators, on loopback.
//!
//! ```text
//! cargo bench --bench peers                          everything that is installed, under five minutes
//! cargo bench --bench peers -- --only redis          the rows whose text has "redis" in it
//! cargo bench --bench peers -- --rounds 21 --window 500
//! ```
//!
//! The map:
//! - `servers.rs`: which servers there are, and what they are asked.
//! - `start.rs`: how each is started on a free port.
//! - `rust.rs`: the servers that one would write with tokio or the standard library.
//! - `family.rs`: what a server uses, its processes included.
//! - `compare.rs`: a server in turn with ours under the same load.
//! - `memory.rs`: what an idle connection takes.
//! - `generators.rs`: load generators in turn with ours.
//! - `report.rs`: the table.
//!
//! The processes, the readers of CPU time, the medians and the options are in `benches/common`.
//!
//! Server and load have a CPU each. What is not installed has a row that says so. A slow result never fails; wrong
//! answers, or a row that could not be measured, exit 1.

mod compare;
mod family;
mod generators;
mod memory;
mod report;
mod rust;
mod servers;
mod start;

use std::process::ExitCode;
use std::time::Instant;

use common::Result;
use common::child::{self, Cpus};
use common::options::Options;

use compare::{CHURN, LASTING, Load, Run};
use report::Outcome;
use servers::{Kind, PEERS, Transport, find};

/// pingpong's services that peers are compared with.
const OURS: [Kind; 2] = [Kind::Echo, Kind::Ping];

fn main() -> ExitCode {
    child::enter("peers", play, bench)
}

/// The life of a child in one of this benchmark's roles.
fn play(role: &str, arguments: &[&str]) -> Result<()> {
    match arguments {
        [count, address] if role == memory::HOLDS => memory::hold(count, address),
        [scheme] => rust::play(role, scheme),
        _ => Err(format!("no such role: {role} {arguments:?}").into()),
    }
}

/// Runs the rows asked for; false when an answer was wrong or a row broke off.
fn bench(words: &[String]) -> Result<bool> {
    let options = Options::parse(words, 6, 250)?;
    let started = Instant::now();
    child::raise_descriptor_limit()?;
    let cpus = Cpus::pick()?;
    report::heading(&options, cpus);
    let mut sound = true;
    for load in &LASTING {
        sound &= compare_servers(load, &options, cpus);
    }
    sound &= measure_memory(&options, cpus);
    sound &= compare_generators(&options, cpus);
    sound &= compare_servers(&CHURN, &options, cpus);
    report::footing(started.elapsed(), sound);
    Ok(sound)
}

/// A block of the table. pingpong's own lines come last: they have the runs that all others were compared with.
fn compare_servers(load: &Load, options: &Options, cpus: Cpus) -> bool {
    let wanted = PEERS.iter().filter(|peer| options.wants(&format!("{}: {}", load.name, peer.name())));
    let mut ours: [Vec<Run>; 2] = Default::default();
    let mut sound = true;
    for (index, &peer) in wanted.enumerate() {
        if index == 0 {
            report::columns(load.name);
        }
        let outcome = outcome(peer, load.transport, || compare::pairs(peer, load, options, cpus));
        sound &= report::peer(peer, &outcome);
        if let Ok(Outcome::Measured(pairs)) = outcome {
            let service = usize::from(peer.reference() == Kind::Ping);
            ours[service].extend(pairs.ours);
        }
    }
    OURS.iter().zip(&ours).fold(sound, |sound, (&service, runs)| report::ours(service, runs) && sound)
}

fn measure_memory(options: &Options, cpus: Cpus) -> bool {
    let mut sound = true;
    let wanted = |kind: &&Kind| options.wants(&format!("{}: {}", memory::NAME, kind.name()));
    for (index, &kind) in PEERS.iter().chain([&Kind::Ping]).filter(wanted).enumerate() {
        if index == 0 {
            report::memory_columns();
        }
        sound &= report::memory(kind, outcome(kind, Transport::Tcp, || memory::measure(kind, cpus)));
    }
    sound
}

fn compare_generators(options: &Options, cpus: Cpus) -> bool {
    let mut sound = true;
    let wanted = |it: &generators::Generator| options.wants(&format!("load generator: {}", it.name()));
    for (index, generator) in generators::ALL.into_iter().filter(wanted).enumerate() {
        if index == 0 {
            report::generator_columns();
        }
        let outcome = match generator.missing() {
            Some(program) => Ok(Outcome::Absent(not_installed(program))),
            None => generators::pairs(generator, options, cpus).map(Outcome::Measured),
        };
        sound &= report::generator(generator, &outcome);
    }
    sound
}

/// What is measured of a server, if it is there and can do it.
fn outcome<T>(kind: Kind, transport: Transport, measure: impl FnOnce() -> Result<T>) -> Result<Outcome<T>> {
    if let Some(program) = kind.program()
        && find(program).is_none()
    {
        return Ok(Outcome::Absent(not_installed(program)));
    }
    match kind.cannot(transport) {
        Some(why) => Ok(Outcome::Absent(why.to_owned())),
        None => measure().map(Outcome::Measured),
    }
}

fn not_installed(program: &str) -> String {
    format!("not installed ({program})")
}
