//! A load that several processes share, and the moment at which it begins (`--part`, `--start-at`).

use std::fs;
use std::io::Read;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::support::{Folder, Launch, PATIENCE, Server};
use super::{Figures, load, peers, words};

/// All variables by which engines tell a process which part it is.
const VARIABLES: [&str; 6] = [
    "JOB_COMPLETION_INDEX",
    "JOB_COMPLETIONS",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
];

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_secs_f64()
}

fn effective(figures: &Figures) -> &Value {
    &figures.whole["settings"]["effective"]
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[test]
fn parts_divide_a_load_without_remainder() {
    let server = Server::start("ping=127.0.0.1:0");
    let options = "-c 5 --idle 4 -n 103 -r 1k --connect-rate 1k --probe 30";
    let parts: Vec<Figures> = (1..=3)
        .map(|part| Figures::of(&load(server.endpoint("ping", "tcp"), &format!("{options} --part {part}/3")).run()))
        .collect();
    let of_each = |name: &str| parts.iter().map(|part| effective(part)[name].as_f64().unwrap()).collect::<Vec<_>>();
    assert_eq!((of_each("part"), of_each("parts")), (vec![1.0, 2.0, 3.0], vec![3.0; 3]));
    assert_eq!((of_each("connections"), of_each("idle")), (vec![2.0, 2.0, 1.0], vec![2.0, 1.0, 1.0]));
    assert_eq!(of_each("requests"), [35.0, 34.0, 34.0]);
    assert_eq!((of_each("rate_per_second"), of_each("probe_per_second")), (vec![1e3 / 3.0; 3], vec![10.0; 3]));
    assert_eq!(of_each("connect_rate_per_second"), [1e3 / 3.0; 3]);
    let whole = json!({
        "connections": 5, "idle": 4, "requests": 103, "rates_per_second": [1e3], "connect_rate_per_second": 1e3,
        "probe_per_second": 30.0, "seed": null,
    });
    assert!(parts.iter().all(|part| effective(part)["whole"] == whole), "{}", effective(&parts[0])["whole"]);
    let sum = |name: &str| parts.iter().map(|part| part.count(name)).sum::<u64>();
    // Each has a probe of its own.
    assert_eq!((sum("requests"), sum("connections_requested")), (103, 5 + 4 + 3));
    assert!(parts[1].whole["title"].as_str().unwrap().starts_with("part 2 of 3, tcp://"));
}

#[test]
fn all_but_parts_and_late_starts_are_without_them() {
    let server = Server::start("ping=127.0.0.1:0");
    let figures = Figures::of(&load(server.endpoint("ping", "tcp"), "-c 1 -n 5").run());
    let effective = effective(&figures);
    for name in ["part", "parts", "whole", "start_at_unix_seconds"] {
        assert!(effective.as_object().unwrap()[name].is_null(), "{name}");
    }
    let clock = figures.whole["clock"].as_object().unwrap();
    assert!(clock["clock_error_seconds"].is_null(), "{clock:?}");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(clock["boot_id"], boot.trim());
    assert!(clock["unix_minus_boot_seconds"].as_f64().is_some_and(|offset| offset > 1e9 && offset < now()));
}

#[test]
fn parts_of_different_loads_are_not_added_up() {
    let server = Server::start("ping=127.0.0.1:0");
    let folder = Folder::new();
    let part = |name: &str, options: &str| {
        let file = folder.file(name);
        let options = format!("-d 100ms --warmup 0s --allow-failures --arrivals poisson {options}");
        let ended = load(server.endpoint("ping", "tcp"), &options).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        fs::write(&file, ended.stdout).unwrap();
        file.display().to_string()
    };
    let first = part("1.json", "-c 4 -r 200 --seed 1 --part 1/2");
    for (options, what) in [
        ("-c 100 -r 200 --seed 1", "--connections of all parts together: 4 and 100"),
        ("-c 4 -r 2000 --seed 1", "--rate of all parts together: [200.0] and [2000.0]"),
        ("-c 4 -r 200 --seed 1 --idle 2", "--idle of all parts together: 0 and 2"),
        ("-c 4 -r 200 --seed 1 --probe 50", "--probe of all parts together: null and 50.0"),
        ("-c 4 -r 200 --seed 2", "--seed: 1 and 2"),
        ("-c 4 -r 200", "--seed: 1 and null"),
    ] {
        let second = part("2.json", &format!("{options} --part 2/2"));
        let ended = Launch::new(&format!("bench merge {first} {second}")).run();
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.contains(&format!("they differ in {what} (--force")), "{ended:?}");
    }
}

/// The requests of all parts, as a server sees them come: together they are as even as those of one process.
#[test]
fn parts_ask_in_turn_from_the_moment_on() {
    const PARTS: usize = 4;
    const GAP: f64 = 0.01;
    let (sender, arrivals) = channel();
    // Parts have messages of different lengths here, to be told apart.
    let server = peers::udp(move |_, text| {
        let _ = sender.send((now(), text.trim_end().len() % PARTS));
        Some(vec![peers::pong(text)])
    });
    let start = now().ceil() + 3.0;
    let mut parts: Vec<Server> = (0..PARTS)
        .map(|index| {
            let (number, size) = (index + 1, 64 + index);
            let options = format!("-c 8 -r {} -d 2s --part {number}/{PARTS} -s {size} --start-at {start}", 1.0 / GAP);
            load(&format!("udp://{server}"), &options).spawn()
        })
        .collect();
    let parts: Vec<Figures> = parts.iter_mut().map(|part| Figures::of(&part.ends())).collect();
    for part in &parts {
        assert_eq!(effective(part)["start_at_unix_seconds"], start);
        let from = part.whole["measured_from_unix_seconds"].as_f64().unwrap();
        // Ten seconds of a clock that is set meanwhile are let pass.
        assert!((start - 1e-6..start + 10.0).contains(&from), "{from} and {start}");
        assert_eq!((part.code, part.count("requests")), (Some(0), 50), "{}", part.facts());
    }
    let mut arrivals: Vec<(f64, usize)> = arrivals.try_iter().filter(|(at, _)| *at > start - 0.5).collect();
    arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(arrivals[0].0 >= start - 1e-3, "the first one is not early");
    let gaps = arrivals.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let gap = median(gaps);
    assert!((gap / GAP - 1.0).abs() < 0.1, "{gap}");
    for index in 0..PARTS {
        let own = arrivals.iter().filter(|(_, other)| *other == index);
        let phase = median(own.map(|(at, _)| (at - start).rem_euclid(PARTS as f64 * GAP) / GAP).collect());
        assert!((index as f64 - 0.1..index as f64 + 0.4).contains(&phase), "part {index} of the gap: {phase}");
    }
}

#[test]
fn engines_say_which_part_it_is() {
    let server = Server::start("ping=127.0.0.1:0");
    let endpoint = server.endpoint("ping", "tcp");
    let within = |set: &[&str]| {
        let unset = VARIABLES.iter().flat_map(|name| ["-u", name]);
        let wrapper: Vec<&str> = ["env"].into_iter().chain(unset).chain(set.iter().copied()).collect();
        Launch::within(&wrapper, &words(endpoint, "-c 4 -n 40 --part auto")).run()
    };
    for (set, part) in [
        (["JOB_COMPLETION_INDEX=3", "JOB_COMPLETIONS=4"], 4),
        (["SLURM_PROCID=0", "SLURM_NTASKS=4"], 1),
        (["OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=4"], 2),
    ] {
        let figures = Figures::of(&within(&set));
        assert_eq!((effective(&figures)["part"].as_u64(), figures.count("requests")), (Some(part), 10), "{set:?}");
    }
    for (set, words) in [
        (&[][..], &["JOB_COMPLETION_INDEX", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"][..]),
        (&["JOB_COMPLETION_INDEX=0"], &["JOB_COMPLETIONS is not", "env"]),
        (&["SLURM_PROCID=4", "SLURM_NTASKS=4"], &["SLURM_PROCID=4", "SLURM_NTASKS=4"]),
    ] {
        let ended = within(set);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{set:?}");
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{set:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1);
    }
}

#[test]
fn what_does_not_go_with_parts_or_a_start_is_refused_before_anything_is_dialled() {
    let server = Server::start("ping=127.0.0.1:0");
    let endpoint = server.endpoint("ping", "tcp");
    for (options, word) in [
        ("--part 3/2", "from 1/2 to 2/2"),
        ("--part 1/9 -c 8", "8 parts at the most"),
        ("--part 1/9 -c 9 -n 8", "--requests 8"),
        ("--part 1/2 --find p99<5ms", "each part would decide alone"),
        ("--part 1/2 -r 5 --until p99±5%", "each part would decide alone"),
        ("--part 1/2 --against localhost:1", "each part would decide alone"),
        ("--start-at 1e3", "'next 30s'"),
        ("--start-at 1000", "days ago"),
        ("--start-at 2026-01-01T00:00:00+01:00", "days ago"),
        ("--start-at 9999-01-01T00:00:00Z", "a day is the most"),
        ("--start-at 1 --against localhost:1", "ago"),
    ] {
        let ended = load(endpoint, options).run();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{options}: {}", ended.stderr);
        assert!(ended.stderr.contains(word) && ended.stderr.lines().count() == 1, "{options}: {}", ended.stderr);
    }
    assert_eq!(server.stats()["accepted"], 0);
}

#[test]
fn a_load_that_connects_too_late_says_so() {
    let server = Server::start("ping=127.0.0.1:0");
    let words = words(server.endpoint("ping", "tcp"), "-c 40 --connect-rate 20 -d 1s");
    let ended = Launch::shell("exec \"$0\" \"$@\" --start-at 'next 1s'", &words).run();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(4), ""), "{}", ended.stderr);
    let told = "pingpong: cannot begin in time: all was ready ";
    assert!(ended.stderr.starts_with(told) && ended.stderr.contains(" s after --start-at (give"), "{}", ended.stderr);
    assert_eq!((ended.stderr.lines().count(), server.stats()["messages"]), (1, 0));
}

#[test]
fn interrupted_while_it_waits_it_reports_that_nothing_was_measured() {
    let server = Server::start("ping=tcp://127.0.0.1:0 --stats 10ms");
    let start = (now() + 600.0).floor();
    let options = format!("-c 3 --idle 2 --heartbeat 50ms -d 1s -r 100 --start-at {start}");
    let mut waiting = load(server.endpoint("ping", "tcp"), &options).spawn();
    server.stats_once("it is connected", |stats| stats["open"] == 5);
    waiting.signal(Signal::SIGINT);
    let figures = Figures::of(&waiting.ends());
    assert_eq!((figures.code, figures.count("sent")), (Some(1), 0));
    assert!(figures.whole["partial"] == true && figures.whole["measured_from_unix_seconds"].is_null());
    assert!(figures.warns("interrupted before it began to measure") && figures.whole["open_loop"] == true);
    assert_eq!((figures.count("connections_held"), figures.count("idle_held")), (3, 2));
    assert!(!figures.warns("not every idle connection"), "{:?}", figures.whole["warnings"]);
    assert!(PATIENCE < Duration::from_secs(600), "or the test proves nothing");
}

#[test]
fn steps_follow_the_first_one_without_waiting() {
    let server = Server::start("ping=127.0.0.1:0");
    let words = words(server.endpoint("ping", "tcp"), "-c 2 -r 100,200 -d 200ms --warmup 0s --part 2/2");
    let ended = Launch::shell("exec \"$0\" \"$@\" --start-at 'next 2s'", &words).run();
    assert_eq!(ended.stdout.lines().count(), 1);
    let whole: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(ended.stdout.starts_with("{\"schema\": 2,") && ended.stdout.trim_end().ends_with('}'));
    let steps = whole["steps"].as_array().unwrap();
    let from = |step: usize| steps[step]["measured_from_unix_seconds"].as_f64().unwrap();
    let start = steps[0]["settings"]["effective"]["start_at_unix_seconds"].as_f64().unwrap();
    assert_eq!((start % 2.0, &steps[1]["settings"]["effective"]["start_at_unix_seconds"]), (0.0, &start.into()));
    assert!(from(0) >= start - 1e-6 && from(1) >= from(0) + 0.2 && from(1) < start + 10.0);
    // What a busy machine does not send was due as well.
    let due = |step: &Value| ["sent", "unsent"].map(|name| step["metrics"][name].as_u64().unwrap()).iter().sum::<u64>();
    assert_eq!(steps.iter().map(due).collect::<Vec<_>>(), [10, 20]);
}

#[test]
fn parts_that_share_a_pipe_write_whole_lines_there() {
    let server = Server::start("ping=tcp://127.0.0.1:0 --stats 10ms");
    let words = words(server.endpoint("ping", "tcp"), "-c 8 -r 8k --probe 200 -d 1s");
    let script = "for part in 1 2 3 4; do \"$0\" \"$@\" --part $part/4 & done; wait";
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut parts = Launch::shell(script, &words).stdout(writer).spawn();
    // None of them can write all it has before the others want to.
    server.stats_once("all have asked", |stats| stats["accepted"] == 8 + 4 && stats["open"] == 0);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(parts.exit_code(), Some(0));
    let results = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}")));
    let mut numbers: Vec<Option<u64>> =
        results.map(|whole: Value| whole["settings"]["effective"]["part"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4].map(Some));
    let shortest = text.lines().map(str::len).min();
    assert!(shortest > Some(1 << 16), "{shortest:?} bytes fit into a pipe: the test proves nothing");
}
