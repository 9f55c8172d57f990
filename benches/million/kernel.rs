//! What the kernel says of sockets and memory.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::Result;

use crate::slabs::Slabs;

/// How long sockets may take to go after their processes have.
const GONE_WITHIN: Duration = Duration::from_secs(30);
const NAP: Duration = Duration::from_millis(50);

/// Sockets of others that may come and go meanwhile.
const OTHERS: u64 = 50;

/// A moment's sockets and memory.
pub(crate) struct Snapshot {
    sockets: Sockets,
    /// Bytes, by the names of /proc/meminfo.
    memory: BTreeMap<String, f64>,
    /// Where they can be read: only root may.
    pub(crate) slabs: Option<Slabs>,
}

/// TCP's of /proc/net/sockstat.
#[derive(Clone, Copy)]
struct Sockets {
    /// Listening and connected ones, in this network namespace.
    in_use: u64,
    time_wait: u64,
}

/// What is left when all processes have ended.
pub(crate) struct Closed {
    pub(crate) took: Duration,
    pub(crate) left: u64,
    pub(crate) time_wait: u64,
}

impl Snapshot {
    pub(crate) fn take() -> Result<Self> {
        Ok(Self { sockets: Sockets::now()?, memory: memory()?, slabs: Slabs::read() })
    }

    /// Connections made since then, with both ends here.
    pub(crate) fn connections_since(&self) -> Result<u64> {
        Ok(Sockets::now()?.in_use.saturating_sub(self.sockets.in_use) / 2)
    }

    /// How much more of it there is now than there was `before`, in bytes.
    pub(crate) fn growth(&self, before: &Self, names: &[&str]) -> f64 {
        let sum = |snapshot: &Self| names.iter().filter_map(|name| snapshot.memory.get(*name)).sum::<f64>();
        sum(self) - sum(before)
    }
}

impl Sockets {
    fn now() -> Result<Self> {
        // TCP: inuse 5 orphan 0 tw 0 alloc 8 mem 3
        let text = fs::read_to_string("/proc/net/sockstat")?;
        let line = text.lines().find(|line| line.starts_with("TCP:")).ok_or("sockstat without TCP")?;
        let of = |key: &str| -> Result<u64> {
            let number = line.split(' ').skip_while(|word| *word != key).nth(1);
            Ok(number.ok_or_else(|| format!("sockstat without {key}"))?.parse()?)
        };
        Ok(Self { in_use: of("inuse")?, time_wait: of("tw")? })
    }
}

fn memory() -> Result<BTreeMap<String, f64>> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let lines = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().trim_end_matches(" kB").parse::<f64>().ok()? * 1024.0))
    });
    Ok(lines.collect())
}

/// Established connections as `ss -s` counts them, each end for itself, halved. `None` where there is no ss.
pub(crate) fn counted_by_ss() -> Option<u64> {
    let output = Command::new("ss").arg("-s").output().ok()?;
    // TCP:   2063 (estab 2, closed 2059, orphaned 0, timewait 2059)
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, rest) = text.split_once("(estab ")?;
    Some(rest.split(',').next()?.parse::<u64>().ok()? / 2)
}

/// Waits until all sockets since `before` are gone.
pub(crate) fn wait_for_sockets(before: &Snapshot) -> Result<Closed> {
    let began = Instant::now();
    loop {
        let now = Sockets::now()?;
        let left = now.in_use.saturating_sub(before.sockets.in_use);
        if left <= OTHERS || began.elapsed() > GONE_WITHIN {
            let left = if left <= OTHERS { 0 } else { left };
            return Ok(Closed { took: began.elapsed(), left, time_wait: now.time_wait });
        }
        thread::sleep(NAP);
    }
}
