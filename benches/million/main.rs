//! One million connections on one machine: `pingpong serve` and `pingpong bench` in as many processes as the limit of
//! descriptors asks for, on loopback.
//!
//! ```text
//! cargo bench --bench million                              a million, about four minutes
//! cargo bench --bench million -- --connections 100k        fewer
//! cargo bench --bench million -- --seconds 600             held for ten minutes
//! cargo bench --bench million -- --heartbeat 30            every connection asks twice a minute
//! ```
//!
//! The map:
//! - `walls.rs`: what this machine can carry, and what lifts its walls.
//! - `plan.rs`: how many processes, which ports, how many connections each.
//! - `fleet.rs`: the servers and the loads: started, watched, ended.
//! - `active.rs`: a hundred clients that ask beside the many.
//! - `kernel.rs`: what the kernel says of sockets and memory.
//! - `slabs.rs`: where its bytes are.
//! - `report.rs`: what is shown.
//!
//! The connections are made in steps, each by loads of its own. When all are there, they are held for long enough that
//! each has asked at least once. Then the loads are interrupted, report, and close their connections.
//!
//! Slowness never fails; exit 1 when a process dies, a connection fails or is lost, a heartbeat has no right answer in
//! time, or something is left behind.

mod active;
mod fleet;
mod kernel;
mod options;
mod plan;
mod report;
mod slabs;
mod walls;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use common::Result;
use common::child;

use active::Active;
use fleet::Fleet;
use kernel::Snapshot;
use options::Options;
use plan::Plan;

fn main() -> ExitCode {
    child::enter("million", play, bench)
}

/// All children are other programs here.
fn play(role: &str, arguments: &[&str]) -> Result<()> {
    Err(format!("no such role: {role} {arguments:?}").into())
}

/// So many connections were there after so many seconds, and a hundred clients beside them were served like this.
struct Step {
    connections: u64,
    took: Duration,
    counted: Option<u64>,
    active: Active,
}

/// Makes the connections, holds them, ends them; false when not all of it went well.
fn bench(words: &[String]) -> Result<bool> {
    let options = Options::parse(words)?;
    let began = Instant::now();
    let descriptors = child::raise_descriptor_limit()?;
    let walls = walls::all(descriptors, options.heartbeat);
    let plan = Plan::new(&options, descriptors, &walls)?;
    report::heading(&options, &plan, &walls);

    let before = Snapshot::take()?;
    let mut fleet = Fleet::start(&plan)?;
    report::steps_heading();
    let mut all_made = Duration::ZERO;
    for (loads, connections) in plan.steps() {
        let took = fleet.grow_to(loads, connections, &before)?;
        all_made += took;
        let counted = kernel::counted_by_ss();
        let active = active::ask(&plan, &mut fleet)?;
        report::step(&Step { connections, took, counted, active });
    }
    hold(&mut fleet, options.hold)?;
    let full = Snapshot::take()?;
    let ours = fleet.memory()?;
    let ends = fleet.end()?;
    let closed = kernel::wait_for_sockets(&before)?;
    let sound = report::outcome(&plan, &ends, all_made, closed);
    report::memory(&plan, &before, &full, ours);
    report::footing(began.elapsed());
    Ok(sound)
}

/// Waits for so long, and watches that nobody dies meanwhile.
fn hold(fleet: &mut Fleet, time: Duration) -> Result<()> {
    const NAP: Duration = Duration::from_millis(200);
    let until = Instant::now() + time;
    while Instant::now() < until {
        fleet.are_alive()?;
        thread::sleep(NAP);
    }
    Ok(())
}
