//! The machine that a load runs on: the facts that its figures depend on, and how much memory there is.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The facts about this machine, as they go into results.
pub(super) fn facts() -> Value {
    json!({
        "host": read("/proc/sys/kernel/hostname"),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": field("/proc/cpuinfo", "model name"),
        "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "cpus_allowed": field("/proc/self/status", "Cpus_allowed_list"),
        "memory_bytes": memory(Path::new("/proc"), "MemTotal"),
        "tcp_congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
    })
}

/// Bytes under this name in /proc/meminfo (proc_meminfo(5)): `MemTotal`, `MemAvailable`.
pub(super) fn memory(proc: &Path, name: &str) -> Option<u64> {
    let kib = field(proc.join("meminfo"), name)?;
    kib.strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value after `name:` in one of the kernel's lists.
fn field(path: impl AsRef<Path>, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}
