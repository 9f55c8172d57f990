//! What `pingpong serve` survives: attacks on it, on loopback, and how those beside it fare meanwhile.
//!
//! ```text
//! cargo bench --bench survive                            every attack for 5 s, some minutes in all
//! cargo bench --bench survive -- --only deaf             the attacks whose name has "deaf" in it
//! cargo bench --bench survive -- --only 'all at once' --seconds 600
//! ```
//!
//! The map:
//! - `attacks/`: the table of attacks, and each of them.
//! - `trial.rs`: one attack from the server's start to its end: what is looked at, and what has to hold.
//! - `server.rs`, `counters.rs`: the server, what proc(5) and its counters say of it.
//! - `bystander.rs`: asks all the while, and compares every answer.
//! - `tools.rs`: strace, prlimit and the C compiler, where they are installed.
//! - `report.rs`: the table.
//! - `short.c`: the shim that shortens reads and writes.
//!
//! Every attack has a fresh server. All of it stays on loopback and is bounded in time. A child ends with the
//! campaign, even when the campaign is killed. An attack that the server does not hold against exits 1.

mod attacks;
mod bystander;
mod counters;
mod options;
mod report;
mod server;
mod tools;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs, process};

use common::Result;
use common::child::{self, Cpus};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use attacks::ATTACKS;
use options::Options;
use trial::Trial;

fn main() -> ExitCode {
    child::enter("survive", |role, _| Err(format!("no such role: {role}").into()), campaign)
}

/// Runs the attacks asked for; false when the server did not hold against one.
fn campaign(words: &[String]) -> Result<bool> {
    let options = Options::parse(words)?;
    if !ATTACKS.iter().any(|attack| options.wants(attack.name)) {
        return Err("there is no such attack".into());
    }
    let started = Instant::now();
    child::raise_descriptor_limit()?;
    let cpus = Cpus::pick()?;
    stay_on(cpus.load)?;
    report::heading(&options, cpus);
    let mut tally = report::Tally::default();
    for attack in ATTACKS.iter().filter(|attack| options.wants(attack.name)) {
        if let Some(missing) = attack.needs.iter().find(|tool| !tools::has(tool)) {
            report::skipped(attack.name, missing);
            tally.skipped += 1;
            continue;
        }
        let folder = Folder::create()?;
        let trial = Trial::run(attack, &folder.0, cpus, options.length);
        report::lines(attack, &trial);
        if trial.holds() {
            tally.held += 1;
        } else {
            tally.fell += 1;
        }
    }
    report::footing(started.elapsed(), &tally);
    Ok(tally.fell == 0)
}

/// Keeps the attacks and the bystander off the server's CPU.
fn stay_on(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// The folder of an attack's sockets, log and pipe. Dropping it removes it.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self> {
        let path: &Path = &env::temp_dir().join(format!("pingpong-survive-{}", process::id()));
        fs::create_dir(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}
