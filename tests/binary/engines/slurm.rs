//! Slurm: daemons of our own, started by `tests/engines/slurm`.

use std::collections::VecDeque;
use std::path::Path;

use serde_json::Value;

use super::super::support::{Launch, Server, tool};
use super::super::talk::Talk;
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
fn labelled(results: &[&str]) -> Vec<String> {
    let pieces = results.iter().enumerate().map(|(task, line)| {
        assert!(line.is_ascii(), "else a cut would be elsewhere");
        line.as_bytes().chunks(1024).map(|piece| format!("{task}: {}\n", String::from_utf8_lossy(piece))).collect()
    });
    let mut queues: Vec<VecDeque<String>> = pieces.collect();
    let mut lines = vec![];
    while queues.iter().any(|queue| !queue.is_empty()) {
        lines.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
    }
    lines
}

#[test]
fn results_are_put_together_again_from_the_pieces_into_which_srun_cuts_them() {
    let server = Server::start("ping=127.0.0.1:0");
    let ended = Launch::new(&format!("bench {} -c 2 -n 100 --part 1/2 --json", server.endpoint("ping", "tcp"))).run();
    let first = ended.stdout.trim_end();
    let second =
        with(first, &[("\"part\":1", "\"part\":2"), ("\"started_unix_seconds\": 1", "\"started_unix_seconds\": 2")]);
    let lines = labelled(&[first, &second]);
    assert!(lines.len() > 8, "they are longer than a piece: {lines:?}");

    let merge = |lines: &[String]| {
        let mut merging = Talk::ours(&["bench", "merge", "-", "--json"]).start();
        merging.types(lines.concat());
        merging.ends_input();
        merging.ends()
    };
    let whole = merge(&lines);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let sum: Value = serde_json::from_str(&whole.stdout).expect("JSON");
    assert_eq!((runs(&sum).len(), &sum["metrics"]["requests"]), (2, &100.into()));
    // Any piece may be missing, but for the first, which alone says that there is a result.
    for place in 2..lines.len() {
        let mut lines = lines.clone();
        lines.remove(place);
        let ended = merge(&lines);
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{place}: {ended:?}");
        assert!(ended.stderr.contains("standard input: line "), "{place}: {ended:?}");
    }
    // Without labels nobody can.
    let bare: Vec<String> = lines.iter().map(|line| line[3..].to_owned()).collect();
    let ended = merge(&bare);
    assert!(ended.code == Some(1) && ended.stderr.contains("line 1 begins a result that is cut"), "{ended:?}");
}
