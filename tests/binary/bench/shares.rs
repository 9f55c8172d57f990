//! What the load generator says of its own time.

use std::process::{Child, Command};

use super::super::support::{Launch, Server, tool};
use super::{Figures, bench, words};

/// The three shares. The last is 0 where the kernel keeps no account.
#[track_caller]
fn shares(figures: &Figures) -> [f64; 3] {
    let taken_away = if figures.is_null("load_taken_away") { 0.0 } else { figures.figure("load_taken_away") };
    [figures.figure("load_working"), figures.figure("load_waiting"), taken_away]
}

#[test]
fn shares_of_the_time_add_up() {
    let server = Server::start("ping=127.0.0.1:0");
    for options in ["-c 2 -d 300ms", "-c 2 -d 300ms -r 500", "-c 2 -d 300ms -r 20k"] {
        let figures = bench(server.endpoint("ping", "tcp"), options);
        let shares = shares(&figures);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{options}: {shares:?}");
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{options}: {shares:?}");
        assert_eq!(figures.figure("load_busy"), shares[0], "its older name");
    }
}

/// A process that takes as much of a CPU as it gets. It is killed when dropped.
struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn time_in_which_the_cpu_was_somebody_elses_is_no_work() {
    if !tool("taskset") {
        return;
    }
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let cpu = allowed.split(['-', ',']).next_back().unwrap();
    let server = Server::start("ping=127.0.0.1:0");
    let spin = Command::new("taskset").args(["-c", cpu, "sh", "-c", "while :; do :; done"]).spawn().unwrap();
    let _neighbour = Neighbour(spin);
    // In the open loop at this rate it polls all the time, and so always wants the CPU.
    let arguments = words(server.endpoint("ping", "tcp"), "-c 2 -r 20k -d 1s");
    let ended = Launch::within(&["taskset", "-c", cpu], &arguments).run();
    let figures = Figures::of(&ended);
    if figures.is_null("load_taken_away") {
        return;
    }
    let [working, _, taken_away] = shares(&figures);
    assert!(taken_away > 0.1 && working < 0.9, "{working} {taken_away}");
    assert!(figures.warns("CPU was taken away") && !figures.warns("is the limit"), "{}", figures.whole["warnings"]);
}
