//! Where a load ran: what figures depend on and readers want to know.

use std::fs;

use serde_json::{Value, json};

/// The facts about this machine, as they go into results.
pub(super) fn facts() -> Value {
    json!({
        "host": read("/proc/sys/kernel/hostname"),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": field("/proc/cpuinfo", "model name"),
        "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "cpus_allowed": field("/proc/self/status", "Cpus_allowed_list"),
        "memory_bytes": field("/proc/meminfo", "MemTotal").and_then(bytes_of),
        "tcp_congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
    })
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value behind `name:` in one of the kernel's lists.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn bytes_of(kib: String) -> Option<u64> {
    kib.strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
