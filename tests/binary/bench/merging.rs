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

/// Four parts of a load, as if on one machine, each on one line.
fn four_parts() -> Vec<String> {
    let server = Server::start("ping=127.0.0.1:0");
    let parts = (1..=4).map(|part| {
        let mut whole = bench(server.endpoint("ping", "tcp"), "-c 1 -r 400 -n 128").whole;
        let settings = &mut whole["settings"]["effective"];
        (settings["part"], settings["parts"]) = (part.into(), 4.into());
        whole["measured_from_unix_seconds"] = json!(1000.0);
        whole["measured_until_unix_seconds"] = json!(1000.32);
        whole["blocks"]["from_unix_seconds"] = json!(1000.0);
        (whole["metrics"]["seconds"], whole["metrics"]["requests_per_second"]) = (json!(0.32), json!(400.0));
        whole["clock"] = json!({ "clock_error_seconds": null, "boot_id": "one", "unix_minus_boot_seconds": 7.0 });
        let schema = whole.as_object_mut().unwrap().remove("schema").unwrap();
        format!("{{\"schema\":{schema},{}", &whole.to_string()[1..])
    });
    parts.collect()
}

/// Runs `pingpong` behind a pipe that brings this.
#[track_caller]
fn piped_into(arguments: &str, text: &[u8]) -> Ended {
    let folder = Folder::new();
    let file = folder.file("text");
    fs::write(&file, text).unwrap();
    Launch::shell(&format!("cat {} | \"$0\" \"$@\"", file.display()), arguments).run()
}

#[test]
fn a_file_without_a_byte_is_a_run_that_was_ended_before_it_wrote() {
    let folder = Folder::new();
    let files = ["1.json", "2.json", "3.json", "4.json"].map(|name| folder.file(name));
    let [one, two, three, four] = files.each_ref().map(PathBuf::as_path);
    let parts = four_parts();
    files.iter().zip(&parts).for_each(|(file, part)| fs::write(file, part).unwrap());
    fs::write(two, "").unwrap();
    let is_empty = format!("{} is empty: its run was ended before it could write", two.display());
    let told = format!("part 2 of 4 is missing (--partial adds up the others); {is_empty}");
    fails(&merge("", &[one, two, three, four]), 2, &["cannot add up: ", &told]);
    let ended = merge("--partial", &[two, one, three, four]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("3 of 4 parts at the same time, "), "{ended:?}");
    assert!(ended.stdout.contains(&format!("\nwarning: {is_empty}\n")), "{ended:?}");
    assert_eq!(Figures::of(&merge("--partial --json", &[two, one, three, four])).whole["empty_files"], json!([two]));

    // Beside all parts it is one that was run again.
    let again = folder.file("again.json");
    fs::write(&again, "").unwrap();
    fs::write(two, &parts[1]).unwrap();
    let ended = merge("", &[one, two, three, four, &again]);
    assert!(ended.code == Some(0) && ended.stdout.contains("again.json is empty: "), "{ended:?}");

    fs::write(one, "").unwrap();
    let ended = merge("--partial", &[one, &again]);
    fails(&ended, 2, &["cannot add up: ", "again.json are empty: their runs were ended before they could write"]);
    assert!(!ended.stderr.contains("--partial"), "there are no others");

    // Of runs that are no parts nothing else tells that one is missing.
    let pair = Pair::of("-c 2 -n 40");
    fs::write(&pair.files[0], "").unwrap();
    fails(
        &pair.merge(""),
        2,
        &["a.json is empty: its run was ended before it could write (--partial adds up the other"],
    );
    assert_eq!(pair.merge("--partial").code, Some(0));
}

#[test]
fn a_sum_is_made_of_what_a_pipe_brings() {
    let folder = Folder::new();
    let parts = four_parts();
    let noise = b"\xff\xfe no text\nWARN  [pingpong] something\n{\n\n".as_slice();
    let lines = [
        format!("0: {}\n", parts[1]),
        format!("[pod/bench-2-x/bench] {}\n", parts[2]),
        format!("host\t{}\r\n", parts[0]),
    ];
    let piped = [noise, lines.concat().as_bytes(), noise].concat();
    let last = folder.file("last.json");
    fs::write(&last, &parts[3]).unwrap();
    let all = format!("bench merge - {}", last.display());
    let ended = piped_into(&format!("{all} --json"), &piped);
    let sum = Figures::of(&ended);
    assert_eq!((sum.code, sum.count("requests")), (Some(0), 512));
    let files: Vec<&str> =
        sum.whole["runs"].as_array().unwrap().iter().map(|run| run["file"].as_str().unwrap()).collect();
    let named = ["line 7", "line 5", "line 6"].map(|line| format!("{line} of standard input"));
    assert_eq!(files[..3], named.each_ref().map(String::as_str));
    assert_eq!(files[3], last.to_str().unwrap());
    let text = piped_into(&all, &piped);
    assert!(text.stdout.starts_with("4 parts at the same time, "), "{text:?}");
    assert!(text.stdout.contains("\npart   host"), "{text:?}");
    // What they come from says so, too.
    let file = folder.file("all.log");
    fs::write(&file, &piped).unwrap();
    let again = Figures::of(&merge("--json", &[&file, &last]));
    assert_eq!(again.whole["metrics"], sum.whole["metrics"]);

    let piped = lines[..2].concat();
    let ended = piped_into("bench merge -", piped.as_bytes());
    fails(&ended, 2, &["parts 1 and 4 of 4 are missing (--partial adds up the others)"]);
    let ended = piped_into("bench merge - --partial", piped.as_bytes());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("2 of 4 parts at the same time, "), "{ended:?}");
    assert!(ended.stdout.contains("\nwarning: 2 parts are missing (--partial): 1 and 4\n"), "{ended:?}");
    let ended = piped_into("bench merge -", &piped.as_bytes()[..400]);
    fails(&ended, 1, &["cannot read standard input: line 1 begins a result that is cut after 397 bytes"]);
    let ended = piped_into("bench merge -", noise);
    fails(&ended, 1, &["cannot read standard input: no results of 'pingpong bench --json' in its 3 lines"]);
}
