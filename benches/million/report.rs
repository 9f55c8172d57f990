//! What is shown: the machine and its walls, a line for each step, what came of it, and where the bytes are.

use std::fs;
use std::time::Duration;

use crate::Step;
use crate::fleet::{Ends, Ours};
use crate::kernel::{Closed, Snapshot};
use crate::options::Options;
use crate::plan::Plan;
use crate::walls::Wall;

/// Caches that grew by fewer bytes a connection are shown as one.
const SHOWN: f64 = 10.0;

/// Seconds that it takes: each step's active clients, and ending it all.
const BESIDE: u64 = 50;

pub(crate) fn heading(options: &Options, plan: &Plan, walls: &[Wall]) {
    println!("machine: {}, {}", machine(), plan.cpus());
    println!("command: cargo bench --bench million -- {}", options.words());
    if let Some(wall) = walls.first().filter(|_| plan.connections < options.connections) {
        println!(
            "NOT {}: {} allow {}; {} lifts that",
            grouped(options.connections),
            wall.name,
            grouped(wall.connections),
            wall.lifted_by
        );
    }
    let rooms: Vec<String> =
        walls.iter().map(|wall| format!("{} for {}", wall.name, grouped(wall.connections))).collect();
    println!("room: {}", rooms.join(", "));
    println!(
        "plan: {} connections of {} loads to {} servers at {}, each asking every {} s; \
         about {} s if 15,000 are made a second",
        grouped(plan.connections),
        plan.loads,
        plan.servers,
        plan.endpoint(),
        plan.heartbeat,
        BESIDE + options.hold.as_secs() + plan.connections / 15_000,
    );
}

pub(crate) fn steps_heading() {
    println!("\n{:>11}  {:>10}  {:>11}  100 active clients", "connections", "made in, s", "by ss -s");
    println!("{:>11}  {:>10}  {:>11}  {:>9}  {:>8}  {:>8}  {:>6}", "", "", "", "req/s", "p50, µs", "p99, µs", "errors");
}

pub(crate) fn step(step: &Step) {
    let micros = |time: Option<f64>| time.map_or("-".to_owned(), |micros| format!("{micros:.0}"));
    println!(
        "{:>11}  {:>10.1}  {:>11}  {:>9}  {:>8}  {:>8}  {:>6}",
        grouped(step.connections),
        step.took.as_secs_f64(),
        step.counted.map_or("no ss".to_owned(), grouped),
        grouped(step.active.per_second as u64),
        micros(step.active.p50_us),
        micros(step.active.p99_us),
        step.active.errors,
    );
}

/// Says what came of it; false when not all went well.
pub(crate) fn outcome(plan: &Plan, ends: &Ends, made: Duration, closed: Closed) -> bool {
    let beats = &ends.heartbeats;
    println!(
        "\nconnections  {} of {} made in {:.1} s, {} failed, {} lost, {} held to the end; the servers accepted {}",
        grouped(ends.opened),
        grouped(plan.connections),
        made.as_secs_f64(),
        ends.failed,
        ends.lost,
        grouped(ends.held),
        grouped(ends.accepted),
    );
    println!(
        "heartbeats   {} asked, {} answered, {} under way at the end; {} late, {} wrong, {} lost, {} broken",
        grouped(beats.asked()),
        grouped(beats.answered),
        beats.unfinished,
        beats.late,
        beats.wrong,
        beats.lost,
        beats.broken,
    );
    if beats.unsent > 0 {
        println!("             {} more were due by then and not yet sent", grouped(beats.unsent));
    }
    println!(
        "cleaned up   {} processes have ended, {} sockets left after {:.1} s; {} in TIME_WAIT, for a minute",
        plan.loads + plan.servers,
        closed.left,
        closed.took.as_secs_f64(),
        grouped(closed.time_wait),
    );
    let is_complete = ends.opened == plan.connections && ends.failed + ends.lost == 0 && ends.held == plan.connections;
    is_complete && beats.failed() == 0 && closed.left == 0
}

/// Says where the bytes are.
pub(crate) fn memory(plan: &Plan, before: &Snapshot, full: &Snapshot, ours: Ours) {
    let each = |bytes: f64| bytes / plan.connections as f64;
    let line = |bytes: f64, what: &str| println!("{bytes:>8.0}  {what}");
    let growth = |names: &[&str]| each(full.growth(before, names));
    let slabs = full.slabs.as_ref().zip(before.slabs.as_ref());
    let (servers, loads) = (each(ours.servers), each(ours.loads));
    let all = -growth(&["MemFree", "Buffers", "Cached"]);
    let left = slabs.map_or(0.0, |(full, before)| each(full.left_by_others(before)));

    println!("\nbytes for each connection: both its ends, and its part of the processes");
    line(servers + loads, &format!("ours: servers {servers:.0}, loads {loads:.0} (proportional set size)"));
    line(growth(&["Slab"]) - left, "the kernel's slabs");
    line(growth(&["PageTables", "KernelStack"]), "page tables and stacks of the processes");
    line(all - left, "all: memory that is neither free nor a file's any more");
    line(-growth(&["MemAvailable"]), "MemAvailable says: it takes the inodes and dentries of sockets for reclaimable");
    if left >= SHOWN {
        line(left, "not counted: /proc's inodes, left by a program that lists descriptors, for the kernel to reclaim");
    }
    let Some((full, before)) = slabs else {
        println!("(only root may read where the slabs' bytes are)");
        return;
    };
    println!("\nin the slabs\n   bytes   objects of bytes");
    let (shown, rest): (Vec<_>, Vec<_>) = full.growth(before).into_iter().partition(|slab| each(slab.bytes) >= SHOWN);
    for slab in shown {
        println!("{:>8.0}  {:>8.3}  {:>7.1}  {}", each(slab.bytes), each(slab.objects), slab.each, slab.name);
    }
    line(each(rest.iter().map(|slab| slab.bytes).sum()), "all others");
}

pub(crate) fn footing(elapsed: Duration) {
    println!(
        "\ntook {:.0} s. What this does not show: a network, and clients that all wake up at once.",
        elapsed.as_secs_f64()
    );
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok());
    format!(
        "{}, {cores} cores, {:.0} GiB, Linux {}",
        model.trim_start_matches(['\t', ' ', ':']),
        memory.unwrap_or_default() / 1024.0 / 1024.0,
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// With a comma after each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let from_the_right = digits.len() - 1;
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        text.push(digit);
        if place < from_the_right && (from_the_right - place).is_multiple_of(3) {
            text.push(',');
        }
    }
    text
}
