//! What is required of a run (`--require`), rates in steps and on a ramp, requests at random.

use serde_json::Value;

use super::super::support::{Folder, Launch, Server};
use super::peers::{self, pong_line};
use super::{Figures, fails, load};

/// Runs `pingpong bench` with these options for people.
fn told(endpoint: &str, options: &str) -> (Option<i32>, String, String) {
    let ended = Launch::new(&format!("bench {endpoint} --warmup 0s {options}")).run();
    (ended.code, ended.stdout, ended.stderr)
}

#[test]
fn a_requirement_that_is_not_met_is_exit_7_and_stands_in_the_table() {
    let server = Server::start("ping=127.0.0.1:0");
    let at = server.endpoint("ping", "tcp");
    let (code, report, _) = told(at, "-n 2000 --require p99<1h --require errors=0");
    let table: Vec<&str> = report.lines().skip_while(|line| !line.starts_with("required")).take(3).collect();
    assert_eq!((code, table.len()), (Some(0), 3), "{report}");
    assert!(table[1].starts_with("p99<1h") && table[1].ends_with("  met"), "{report}");
    assert!(table[2].starts_with("errors=0") && table[2].ends_with("  met"), "{report}");
    assert!(report.lines().last().unwrap().ends_with(" requirements_met=2/2"), "{report}");

    let (code, report, _) = told(at, "-n 2000 --require p99<1us --require errors=0");
    assert_eq!(code, Some(7), "{report}");
    assert!(report.lines().any(|line| line.starts_with("p99<1us") && line.ends_with("  not met")), "{report}");

    let (code, line, warnings) = told(at, "-n 200 --require p999<1h -q");
    assert_eq!((code, line.lines().count()), (Some(7), 1), "{line}");
    assert!(
        warnings.contains("p999<1h is not met: not enough answers to tell: 200, and 10,000 are the least"),
        "{warnings}"
    );
}

#[test]
fn a_requirement_says_more_than_a_failure_and_less_than_a_wrong_answer() {
    // The server is gone after fifty answers.
    let dying = || {
        peers::tcp(|_| {
            let mut left = 50;
            move |_, line| {
                left -= 1;
                (left > 0).then(|| pong_line(line))
            }
        })
    };
    let wrong = peers::tcp(|_| |_, _| Some("what?\n".to_owned()));
    for (address, options, code) in [
        (wrong, "-n 20 --require errors=0", 5),
        (dying(), "-c 1 -r 100 -d 1s --timeout 200ms --require rate>1", 7),
        (dying(), "-c 1 -r 100 -d 1s --timeout 200ms --require rate>1 --allow-failures", 7),
        (dying(), "-c 1 -r 100 -d 1s --timeout 200ms", 1),
    ] {
        let ended = load(&format!("tcp://{address}"), options).run();
        assert_eq!(ended.code, Some(code), "{options}: {ended:?}");
    }
    // Where nobody is there, nothing is measured.
    let nobody = Launch::new("bench tcp://127.0.0.1:1 -n 5 --require errors=0").run();
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
}

#[test]
fn steps_have_a_row_each_and_an_element_each_and_all_must_meet_what_is_required() {
    let server = Server::start("ping=127.0.0.1:0");
    let at = server.endpoint("ping", "tcp");
    let steps = "-c 2 -r 100,200..400,300 -d 200ms --require requests>=50";
    let (code, report, _) = told(at, steps);
    assert_eq!(code, Some(7), "{report}");
    let rows: Vec<&str> = report.lines().skip_while(|line| !line.trim_start().starts_with("asked")).skip(1).collect();
    for (row, (step, verdict)) in
        rows.iter().zip([("100 ", "  not met: requests>=50"), ("200..400 ", "  met"), ("300 ", "  met")])
    {
        assert!(row.trim_start().starts_with(step) && row.ends_with(verdict), "{row:?} in {report}");
    }
    let results = report.lines().filter(|line| line.starts_with("result: requests=")).count();
    assert_eq!(results, 3, "{report}");

    let ended = load(at, steps).run();
    let whole: Value = serde_json::from_str(&ended.stdout).unwrap();
    let sent: Vec<u64> = (0..3).map(|step| whole["steps"][step]["metrics"]["sent"].as_u64().unwrap()).collect();
    assert!(sent.iter().zip([20, 60, 60]).all(|(sent, due)| sent.abs_diff(due) <= 1), "{sent:?}");
    assert_eq!((whole["schema"].as_u64(), whole["planned_steps"].as_u64()), (Some(2), Some(3)));
    let ramp = &whole["steps"][1]["settings"]["effective"]["ramp_per_second"];
    assert_eq!((ramp["first"].as_f64(), ramp["last"].as_f64()), (Some(200.0), Some(400.0)));
    let met = |step: usize| whole["steps"][step]["requirements"][0]["met"].as_bool();
    assert_eq!([met(0), met(1), met(2)], [Some(false), Some(true), Some(true)]);
    // Each step is a result as that of a run by itself.
    for step in whole["steps"].as_array().unwrap() {
        Figures { code: Some(0), whole: step.clone() }.add_up();
    }
}

#[test]
fn steps_are_added_up_one_by_one() {
    let server = Server::start("ping=127.0.0.1:0");
    let folder = Folder::new();
    let files = ["a.json", "b.json", "c.json"].map(|name| folder.file(name).display().to_string());
    for (file, rates) in files.iter().zip(["100,300", "100,300", "100"]) {
        let options = format!("-c 2 -r {rates} -d 200ms --json={file} -q");
        assert_eq!(told(server.endpoint("ping", "tcp"), &options).0, Some(0));
    }
    let [a, b, c] = &files;
    let merged = |options: &str| Launch::new(&format!("bench merge {options}")).run();
    let ended = merged(&format!("--force {a} {b} --json --require requests>=100"));
    let whole: Value = serde_json::from_str(&ended.stdout).unwrap();
    let sent = |step: usize| whole["steps"][step]["metrics"]["sent"].as_u64().unwrap();
    assert!(sent(0).abs_diff(40) <= 2 && sent(1).abs_diff(120) <= 2, "{} {}", sent(0), sent(1));
    assert_eq!(ended.code, Some(7), "{ended:?}");
    fails(&merged(&format!("{a} {c}")), 2, &["they have 2 and 1 steps (--rate), and steps stand side by side"]);
}

#[test]
fn a_seed_repeats_a_run_and_is_told_where_none_was_given() {
    let server = Server::start("ping=127.0.0.1:0");
    let sent = |options: &str| {
        let figures = Figures::of(&load(server.endpoint("ping", "tcp"), &format!("-r 1k -d 300ms {options}")).run());
        let settings = figures.whole["settings"]["effective"].clone();
        assert_eq!(settings["arrivals"], "poisson");
        let due = figures.count("sent") - figures.count("carried_over") + figures.count("unsent");
        (due, settings["seed"].as_u64().unwrap())
    };
    let (count, seed) = sent("--arrivals poisson");
    assert_eq!(sent(&format!("--arrivals poisson --seed {seed}")), (count, seed));
}

#[test]
fn what_cannot_be_required_is_a_usage_error_before_anything_is_dialled() {
    for (options, words) in [
        ("--require eror=0", "is it errors?"),
        ("--require p99<5", "200us, 5ms or 1s"),
        ("--require lag_p99<5ms", "only with --rate"),
        ("--require idle_silent=0", "only with --heartbeat"),
        ("--seed 5", "--arrivals"),
        ("-r 5 --arrivals even --seed 5", "--arrivals poisson"),
        ("--arrivals poisson", "--rate"),
        ("-r 5..9 -n 10", "--duration"),
        ("-r 5,", "10k,20k,40k"),
    ] {
        fails(&Launch::new(&format!("bench tcp://127.0.0.1:1 {options}")).run(), 2, &[words]);
    }
}
