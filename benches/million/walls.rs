//! What this machine can carry: each limit as a number of connections, with both ends here, and what lifts it.

use std::fs;
use std::time::Duration;

use crate::plan;

/// Memory of a connection with both its ends, kernel's and ours, in bytes: measured, and a twentieth more.
const BYTES: u64 = 9_000;
/// Memory that is left to others.
const SPARED: u64 = 512 << 20;
/// A server or a load with no connection.
const PROCESS: u64 = 2 << 20;

/// CAP_SYS_ADMIN, a bit of the capabilities (capabilities(7)): open files are not limited.
const SYS_ADMIN: u32 = 21;

/// A limit.
pub(crate) struct Wall {
    pub(crate) name: &'static str,
    /// So many connections are possible.
    pub(crate) connections: u64,
    pub(crate) lifted_by: &'static str,
}

/// All limits that this machine has, the narrowest first. One that cannot be read is none.
pub(crate) fn all(descriptors: u64, heartbeat: Duration) -> Vec<Wall> {
    let mut walls = Vec::new();
    let mut wall = |name, lifted_by, connections: Option<u64>| {
        walls.extend(connections.map(|connections| Wall { name, connections, lifted_by }));
    };
    let each = plan::carried_by(descriptors);
    wall(
        "descriptors",
        "`ulimit -Hn` (beyond fs.nr_open: sysctl fs.nr_open)",
        Some(each.saturating_mul(plan::MOST_PROCESSES)),
    );
    wall("memory", "more memory", memory(each));
    wall("open files", "sysctl fs.file-max", files());
    wall("epoll watches", "sysctl fs.epoll.max_user_watches", number("fs/epoll/max_user_watches", 0).map(half));
    wall("ports", "sysctl net.ipv4.ip_local_port_range", plan::by_ports());
    wall("tracked connections", "sysctl net.netfilter.nf_conntrack_max", tracked());
    wall("TCP buffers", "sysctl net.ipv4.tcp_mem", buffers(heartbeat));
    walls.sort_by_key(|wall| wall.connections);
    walls
}

fn half(ends: u64) -> u64 {
    ends / 2
}

fn memory(each: u64) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = kib.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024;
    Some(available.saturating_sub(SPARED) / (BYTES + 2 * PROCESS / each.max(1)))
}

fn files() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let is_exempt = u64::from_str_radix(capabilities.trim(), 16).is_ok_and(|bits| bits >> SYS_ADMIN & 1 == 1);
    let (open, most) = number("fs/file-nr", 0).zip(number("fs/file-nr", 2))?;
    (!is_exempt).then(|| half(most.saturating_sub(open)))
}

/// A firewall that tracks nothing yet has no rule that asks for it.
fn tracked() -> Option<u64> {
    let tracked = number("net/netfilter/nf_conntrack_count", 0).filter(|count| *count > 0)?;
    Some(number("net/netfilter/nf_conntrack_max", 0)?.saturating_sub(tracked))
}

/// What is sent takes a page at the other end until it is read: all that ask within a second may wait at once.
fn buffers(heartbeat: Duration) -> Option<u64> {
    let pages = number("net/ipv4/tcp_mem", 2)?;
    Some(pages.saturating_mul(heartbeat.as_secs()))
}

/// One of the numbers of a file of /proc/sys.
pub(crate) fn number(path: &str, place: usize) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()?.split_whitespace().nth(place)?.parse().ok()
}
