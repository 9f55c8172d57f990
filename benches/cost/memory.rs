//! The memory of an idle connection at either end: resident memory with 10,000 of them, less that with one.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::child::{Child, Cpus};
use common::ended::last_of;
use common::options::GENERATIONS;
use common::{Result, measure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::rows::Server;
use crate::run::Load;

/// The text that `--only` looks in.
pub(crate) const NAME: &str = "memory of 10,000 idle connections, each";

const MANY: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// From the last connection until the first question has been answered.
const BREATH: Duration = Duration::from_millis(100);

/// Resident bytes.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) server: f64,
    pub(crate) load: f64,
}

/// Bytes per idle connection, several times.
pub(crate) fn compare(cpus: Cpus) -> Result<Vec<Ends>> {
    let growth = |_| {
        let (one, many) = (with_idle(1, cpus)?, with_idle(MANY, cpus)?);
        let each = |one: f64, many: f64| (many - one) / (MANY - 1) as f64;
        Ok(Ends { server: each(one.server, many.server), load: each(one.load, many.load) })
    };
    (0..GENERATIONS).map(growth).collect()
}

/// The resident memory of both ends with this many idle connections, and one that asks once.
fn with_idle(idle: usize, cpus: Cpus) -> Result<Ends> {
    let (server, endpoint) = Server::Tcp.start(cpus.server)?;
    let before = descriptors(server.pid())?;
    let role = Load::pingpong(&endpoint, "").role(&format!("-c 1 --idle {idle} -r 0.01 -d 60s"));
    let mut load = Child::start(cpus.load, &role)?;
    let deadline = Instant::now() + PATIENCE;
    while descriptors(server.pid())? < before + idle + 1 {
        if !is_running(load.pid()) {
            // An error in what it said says more than this one.
            last_of(&mut load)?;
            return Err("the load ended before it had connected all".into());
        }
        if Instant::now() > deadline {
            return Err(format!("`{}` has not connected all in {PATIENCE:?}", load.name()).into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(BREATH);
    let ends = Ends { server: measure::resident(server.pid())?, load: measure::resident(load.pid())? };
    kill(load.pid(), Signal::SIGINT)?;
    let report: Value = serde_json::from_str(&last_of(&mut load)?)?;
    let held = &report["metrics"]["idle_held"];
    if *held != idle {
        return Err(format!("{held} of {idle} idle connections were held").into());
    }
    Ok(ends)
}

fn descriptors(pid: Pid) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Whether the process is neither gone nor a zombie.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}
