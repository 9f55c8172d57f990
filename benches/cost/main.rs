//! What `pingpong bench` costs beside the server that it loads, and how fast it is beside redis-benchmark, on loopback.
//!
//! ```text
//! cargo bench --bench cost                          every row, under two minutes
//! cargo bench --bench cost -- --only redis          the rows whose text has "redis" in it
//! cargo bench --bench cost -- --rounds 45 --window 500
//! ```
//!
//! The map:
//! - `rows.rs`: the loads, and the bar of each.
//! - `run.rs`: one run of a load to its end: what it says, and what it and its server spent on it.
//! - `redis.rs`: redis-server and redis-benchmark, where they are installed, in turn with ours.
//! - `connecting.rs`: many connections, made by it and by a bare loop.
//! - `memory.rs`: what an idle connection takes at either end.
//! - `report.rs`: the table.
//!
//! The processes, the readers of CPU time and memory, the medians and the options are in `benches/common`.
//!
//! Server and load are pinned, each to a CPU of its own or both to one. Every ratio is of two figures of the same run,
//! or of neighbouring runs where two programs are compared, so that a machine which slows down for a while slows both
//! of them.
//! A slow result never fails; wrong answers, or a row that could not be measured, exit 1.

mod connecting;
mod memory;
mod redis;
mod report;
mod rows;
mod run;

use std::process::ExitCode;
use std::time::Instant;

use common::Result;
use common::child::{self, Cpus};
use common::options::Options;

use rows::{CHURN, Folder, Place, ROWS, Row};
use run::{Load, Run};

fn main() -> ExitCode {
    child::enter("cost", play, bench)
}

/// All children are other programs here, but for the bare loop that connects.
fn play(role: &str, arguments: &[&str]) -> Result<()> {
    if role == connecting::BARE {
        return connecting::play(arguments);
    }
    Err(format!("no such role: {role} {arguments:?}").into())
}

/// Runs the rows asked for; false when an answer was wrong or a row broke off.
fn bench(words: &[String]) -> Result<bool> {
    let options = Options::parse(words, 12, 250)?;
    let started = Instant::now();
    child::raise_descriptor_limit()?;
    let _folder = Folder::create()?;
    let cpus = Cpus::pick()?;
    report::heading(&options, cpus);
    let mut sound = true;
    sound &= measure_rows(ROWS, &options, cpus);
    if options.wants(redis::NAME) {
        sound &= report::redis(redis::compare(&options, cpus));
    }
    if options.wants(memory::NAME) {
        sound &= report::memory(memory::compare(cpus));
    }
    if options.wants(connecting::NAME) {
        sound &= report::connecting(connecting::compare(&options, cpus));
    }
    sound &= measure_rows(CHURN, &options, cpus);
    report::footing(started.elapsed(), sound);
    Ok(sound)
}

/// Measures those of these rows that are asked for.
fn measure_rows(rows: &[Row], options: &Options, cpus: Cpus) -> bool {
    let wanted: Vec<&Row> = rows.iter().filter(|row| options.wants(&row.name())).collect();
    if !wanted.is_empty() {
        report::columns("load");
    }
    let mut sound = true;
    for row in wanted {
        sound &= report::row(row, repeat(row, options, cpus));
    }
    sound
}

fn repeat(row: &Row, options: &Options, cpus: Cpus) -> Result<Vec<Run>> {
    let load_cpu = if row.place == Place::Together { cpus.server } else { cpus.load };
    let extent = format!("{} -d {}ms", row.load, options.window.as_millis());
    let mut runs = Vec::new();
    for rounds in options.generations() {
        let (server, endpoint) = row.server.start(cpus.server)?;
        let load = Load::pingpong(&endpoint, "");
        // The first run finds caches, ports and page tables cold.
        load.run(&extent, &server, load_cpu)?;
        for _ in rounds {
            runs.push(load.run(&extent, &server, load_cpu)?);
        }
    }
    Ok(runs)
}
