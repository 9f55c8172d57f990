//! What the kernel says of a process, and what repeated figures amount to.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;

use crate::Result;

/// On-CPU time of all its threads, from proc(5)'s `schedstat`; exact while they sleep, a tick late while they run.
pub fn cpu_ns(pid: Pid) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        total += schedstat.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(total)
}

/// Resident bytes. From `smaps_rollup`, which counts pages; `status` may lag by some hundred KiB.
pub fn resident(pid: Pid) -> Result<f64> {
    rollup(pid, "Rss:")
}

/// Its part of the resident bytes, where each page that it shares with others is divided among them.
pub fn proportional(pid: Pid) -> Result<f64> {
    rollup(pid, "Pss:")
}

fn rollup(pid: Pid, key: &str) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = rollup.lines().find_map(|line| line.strip_prefix(key)).ok_or("smaps_rollup without it")?;
    Ok(kib.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// Its [`cpu_ns`] once it sleeps: when it has used none for the length of `nap`. Gives up after 100 naps, because a
/// server may have timers that run for ever.
pub fn cpu_ns_at_rest(pid: Pid, nap: Duration) -> Result<u64> {
    let mut seen = cpu_ns(pid)?;
    for _ in 0..100 {
        thread::sleep(nap);
        let now = cpu_ns(pid)?;
        if now == seen {
            break;
        }
        seen = now;
    }
    Ok(seen)
}

/// The median of repeated figures and the interval around it.
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let count = figures.len();
        let (rank, _) = interval(count);
        Self {
            low: figures[rank],
            median: f64::midpoint(figures[(count - 1) / 2], figures[count / 2]),
            high: figures[count - 1 - rank],
        }
    }
}

/// The narrowest interval of order statistics that covers the true median with at least 95 %:
/// how many figures it leaves out on each side, and what it covers. Of fewer than six figures: all of them.
pub fn interval(count: usize) -> (usize, f64) {
    let mut chosen = (0, 1.0 - 2.0 * 0.5f64.powi(count as i32));
    let mut tail = 0.0;
    let mut ways = 1.0;
    for rank in 0..count / 2 {
        tail += ways * 0.5f64.powi(count as i32);
        ways *= (count - rank) as f64 / (rank + 1) as f64;
        if 1.0 - 2.0 * tail >= 0.95 {
            chosen = (rank, 1.0 - 2.0 * tail);
        }
    }
    chosen
}
