//! Slurm: daemons of our own, started by `tests/engines/slurm`.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use super::super::support::{Ended, Folder, Launch, Server, tool};
use super::{Workshop, agrees, blocks, early_in, runs, with};

#[test]
fn tasks_of_srun_are_one_load() {
    if !["slurmctld", "slurmd", "munged", "srun", "timeout"].into_iter().all(tool) {
        return;
    }
    let mut server = Server::start("ping=127.0.0.1:0");
    let workshop = Workshop::new();
    let recipe = with(
        &blocks("With Slurm", "sh")[0],
        &[
            // One node here.
            (" -N 4 ", " "),
            ("10.0.0.1:8888", server.endpoint("ping", "tcp")),
            ("-c 400 -r 40k -d 10s", "-c 40 -r 2k -d 3s --warmup 0s --allow-failures"),
            ("'next 10s'", "'next 5s'"),
            ("merge -", "merge - --json=sum.json"),
        ],
    );
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/slurm");
    early_in(5.0);
    let ended = workshop.run(&[engine.to_str().expect("a plain path"), "4"], &recipe);
    agrees(&workshop.sum(&ended), 4, &mut server, 0);
}

/// The lines of two tasks as `srun --label` gives them on: cut, and mixed.
fn labelled(results: &[&str]) -> Vec<Vec<u8>> {
    let pieces = results.iter().enumerate().map(|(task, line)| {
        line.as_bytes().chunks(1024).map(|piece| [format!("{task}: ").as_bytes(), piece, b"\n"].concat()).collect()
    });
    let mut queues: Vec<VecDeque<Vec<u8>>> = pieces.collect();
    let mut lines = vec![];
    while queues.iter().any(|queue| !queue.is_empty()) {
        lines.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
    }
    lines
}

/// What `bench merge` makes of these lines of its standard input.
#[track_caller]
fn merge(lines: &[Vec<u8>]) -> Ended {
    let folder = Folder::new();
    let file = folder.file("log");
    fs::write(&file, lines.concat()).expect("room in the folder");
    Launch::shell(&format!("exec \"$0\" \"$@\" < {}", file.display()), "bench merge - --json").run()
}

#[test]
fn results_are_put_together_again_from_the_pieces_into_which_srun_cuts_them() {
    let server = Server::start("ping=127.0.0.1:0");
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    let start = since.as_secs().next_multiple_of(2) + 2;
    let options = format!("-c 4 -r 4k -d 1s --warmup 0s --start-at {start} --allow-failures -q --json");
    let launch = |part| format!("bench {} {options} --part {part}/2", server.endpoint("ping", "tcp"));
    let mut parts = [1, 2].map(|part| Launch::new(&launch(part)).spawn());
    let ended = parts.each_mut().map(Server::ends);
    let lines = labelled(&ended.each_ref().map(|ended| ended.stdout.trim_end()));

    let whole = merge(&lines);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let sum: Value = serde_json::from_str(&whole.stdout).expect("JSON");
    assert_eq!((runs(&sum).len(), sum["metrics"]["sent"].as_u64()), (2, Some(4_000)));
    // A collector may end lines in its own way.
    let others: Vec<Vec<u8>> = lines.iter().map(|line| [&line[..line.len() - 1], b"\r\n"].concat()).collect();
    assert_eq!(merge(&others).stdout.len(), whole.stdout.len());

    // Any piece of the first may be missing, or there twice, or change places with the next one.
    let places: Vec<usize> = (0..lines.len()).filter(|place| lines[*place].starts_with(b"0: ")).collect();
    assert!(places.len() > 20, "it is long: {} pieces", places.len());
    let (inner, last) = (&places[1..places.len() - 1], places[places.len() - 1]);
    let refused = |how: &str, place: usize, lines: &[Vec<u8>]| {
        let ended = merge(lines);
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{how} {place}: {}", ended.stderr);
        assert!(ended.stderr.contains("standard input: line "), "{how} {place}: {}", ended.stderr);
    };
    for place in inner.iter().copied().chain([last]) {
        let mut lines = lines.clone();
        lines.remove(place);
        refused("without", place, &lines);
    }
    for (at, place) in inner.iter().copied().enumerate() {
        let (mut doubled, mut swapped) = (lines.clone(), lines.clone());
        doubled.insert(place, lines[place].clone());
        refused("twice", place, &doubled);
        swapped.swap(place, places[at + 2]);
        refused("swapped", place, &swapped);
    }
    // Without labels nobody can.
    let bare: Vec<Vec<u8>> = lines.iter().map(|line| line[3..].to_owned()).collect();
    let ended = merge(&bare);
    assert!(ended.code == Some(1) && ended.stderr.contains("line 1 begins a result that is cut"), "{ended:?}");
}
