//! The machine, in one line.

use std::fs;

use crate::child::Cpus;

pub fn line(cpus: Cpus) -> String {
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown CPU");
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "machine: {}, {cores} cores, Linux {}, {} over TCP, {}",
        model.trim_start_matches(['\t', ' ', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
        if cpus.server == cpus.load {
            format!("ONE CPU for server and load ({})", cpus.server)
        } else {
            format!("server on CPU {}, load on CPU {}", cpus.server, cpus.load)
        }
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "?".to_owned())
}
