//! `bench merge`: which runs are one load, and what their sum says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::support::{Ended, Folder, Launch, Server};
use super::{Figures, bench, fails};

/// The results of two runs of the same load with 40 requests each, as if they had measured in the same two seconds on
/// two machines.
struct Pair {
    folder: Folder,
    files: [PathBuf; 2],
    results: [Value; 2],
}

impl Pair {
    #[track_caller]
    fn of(options: &str) -> Self {
        let folder = Folder::new();
        let server = Server::start("ping=127.0.0.1:0");
        let results = ["one", "two"].map(|host| {
            let mut whole = bench(server.endpoint("ping", "tcp"), options).whole;
            whole["machine"]["host"] = host.into();
            whole["measured_from_unix_seconds"] = json!(1000.0);
            whole["measured_until_unix_seconds"] = json!(1002.0);
            whole["metrics"]["seconds"] = json!(2.0);
            whole["metrics"]["requests_per_second"] = json!(20.0);
            whole
        });
        let files = ["a.json", "b.json"].map(|name| folder.file(name));
        let pair = Self { folder, files, results };
        pair.save();
        pair
    }

    fn save(&self) {
        for (file, results) in self.files.iter().zip(&self.results) {
            fs::write(file, results.to_string()).unwrap();
        }
    }

    fn merge(&self, options: &str) -> Ended {
        merge(options, &[&self.files[0], &self.files[1]])
    }
}

#[track_caller]
fn merge(options: &str, files: &[&Path]) -> Ended {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Launch::new(&format!("bench merge {} {options}", files.join(" "))).run()
}

#[test]
fn results_say_when_they_measured() {
    let server = Server::start("ping=127.0.0.1:0");
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let before = now();
    let figures = bench(server.endpoint("ping", "tcp"), "-c 1 -d 200ms --warmup 100ms");
    let after = now();
    let second = |name: &str| Duration::from_secs_f64(figures.whole[name].as_f64().unwrap());
    let [from, until] = ["measured_from_unix_seconds", "measured_until_unix_seconds"].map(second);
    assert!(before + Duration::from_millis(100) <= from && from < until && until <= after, "{from:?} {until:?}");
    assert!(((until - from).as_secs_f64() - figures.figure("seconds")).abs() < 1e-5);
}

#[test]
fn a_sum_says_what_it_is_a_sum_of() {
    let mut pair = Pair::of("-c 2 -r 100 -n 40");
    pair.results[1]["settings"]["effective"]["endpoint"] = "tcp://10.0.0.1:7000".into();
    pair.results[1]["settings"]["effective"]["rate_per_second"] = json!(50.5);
    pair.results[1]["metrics"]["asked_per_second"] = json!(50.5);
    pair.save();
    let ended = pair.merge("");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let title = ended.stdout.lines().next().unwrap();
    for part in
        ["2 runs at the same time, tcp://10.0.0.1:7000 and tcp://127.0.0.1:", ": 4 connections, open loop at 150.5 a"]
    {
        assert!(title.contains(part), "{title}");
    }
    assert!(title.contains("; 80 requests without warm-up"), "{title}");
    assert!(ended.stdout.contains(" a second over 2.00 s in common"), "{ended:?}");

    let figures = Figures::of(&pair.merge("--json"));
    assert_eq!(figures.whole["metrics"]["asked_per_second"], 150.5);
    assert_eq!((figures.count("requests"), figures.figure("seconds")), (80, 2.0));
}

#[test]
fn what_is_not_one_load_is_refused() {
    let cases = [
        ("/settings/effective/rate_per_second", json!(20.0), "--rate"),
        ("/settings/effective/exchange", json!("echo"), "--echo"),
        ("/settings/effective/duration_seconds", json!(3.0), "--duration"),
        ("/program", json!("pingpong 0.0.9"), "version"),
        ("/measured_from_unix_seconds", json!(1001.0), "for 50 % of it"),
        ("/measured_from_unix_seconds", Value::Null, "does not say when"),
    ];
    let mut pair = Pair::of("-c 1 -n 40");
    let original = pair.results.clone();
    for (place, value, word) in cases {
        pair.results = original.clone();
        *pair.results[1].pointer_mut(place).expect(place) = value;
        pair.save();
        let [a, b] = pair.files.each_ref().map(|file| file.to_str().unwrap());
        fails(&pair.merge(""), 2, &[a, b, word, "--force"]);
        let ended = pair.merge("--force");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.starts_with("2 runs added up that are not one load"), "{ended:?}");
        let warning = ended.stdout.lines().find(|line| line.starts_with("warning: added up by --force"));
        assert!(warning.is_some_and(|line| line.contains(word)), "{ended:?}");
    }
    // The same file twice, a copy, and a part of a sum once more.
    pair.results = [original[0].clone(), original[0].clone()];
    pair.save();
    fails(&pair.merge(""), 2, &["the same run"]);
    pair.results = original;
    pair.save();
    fails(&merge("", &[&pair.files[0], &pair.files[0]]), 2, &["the same run"]);
    let sum = pair.folder.file("sum.json");
    assert_eq!(pair.merge(&format!("--json={}", sum.display())).code, Some(0));
    fails(&merge("", &[&sum, &pair.files[1]]), 2, &["the same run", sum.to_str().unwrap()]);
}

#[test]
fn runs_one_after_the_other_have_no_common_rate() {
    let mut pair = Pair::of("-c 1 -r 1000 -n 40");
    for (results, from) in pair.results.iter_mut().zip([1000.0, 1003.0]) {
        results["measured_from_unix_seconds"] = json!(from);
        results["measured_until_unix_seconds"] = json!(from + 2.0);
    }
    pair.save();
    let sum = Figures::of(&pair.merge("--json --force"));
    assert_eq!((sum.count("requests"), sum.figure("seconds")), (80, 4.0));
    assert_eq!((sum.figure("requests_per_second"), sum.figure("asked_per_second")), (20.0, 1000.0));
    // A sum that was forced stays so.
    let file = pair.folder.file("sum.json");
    fs::write(&file, sum.whole.to_string()).unwrap();
    assert!(Figures::of(&merge("--json", &[&file])).warns("--force"));
}
