//! `bench compare`: what it says of results whose figures are known.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::support::{Ended, Folder, Launch, Server};
use super::{Figures, bench, fails};

/// Files of results, made from those of one real run.
struct Files {
    folder: Folder,
    pattern: Value,
}

impl Files {
    #[track_caller]
    fn new() -> Self {
        Self::over("tcp")
    }

    #[track_caller]
    fn over(kind: &str) -> Self {
        let server = Server::start("ping=127.0.0.1:0");
        let Figures { whole, .. } = bench(server.endpoint("ping", kind), "-c 1 -r 1000 -d 400ms");
        Self { folder: Folder::new(), pattern: whole }
    }

    /// A run of 32 blocks of a second with a thousand answers each, that take so many microseconds, and in each block a
    /// little less or more.
    #[track_caller]
    fn run(&self, name: &str, micros: u64, change: impl FnOnce(&mut Value)) -> PathBuf {
        let nanos = |block: u64| 1_000 * micros + micros * (block * 7 % 5);
        let mut run = self.pattern.clone();
        let values: Vec<Value> = (0..32).map(|block| json!([nanos(block), 1_000])).collect();
        let blocks: Vec<Value> = (0..32).map(|block| json!([nanos(block), 1_000])).collect();
        for kind in ["service", "response", "lag"] {
            run["histograms"][kind] = values.clone().into();
            run["blocks"][kind] = blocks.clone().into();
        }
        run["blocks"]["requests"] = vec![1_000; 32].into();
        run["blocks"]["errors"] = vec![0; 32].into();
        run["blocks"]["seconds"] = json!(1.0);
        for (count, number) in [("sent", 32_000), ("requests", 32_000), ("carried_over", 0), ("late", 0)] {
            run["metrics"][count] = number.into();
        }
        run["metrics"]["requests_per_second"] = json!(1_000.0);
        run["metrics"]["load_longest_pause_seconds"] = json!(0.0);
        // No run is another one.
        run["started_unix_seconds"] = json!(name.bytes().fold(0.0, |sum, byte| 31.0 * sum + f64::from(byte)));
        change(&mut run);
        let file = self.folder.file(name);
        fs::write(&file, run.to_string()).unwrap();
        file
    }

    fn plain(&self, name: &str, micros: u64) -> PathBuf {
        self.run(name, micros, |_| {})
    }
}

#[track_caller]
fn compare(old: &[&PathBuf], new: &[&PathBuf], options: &str) -> Ended {
    let words = |files: &[&PathBuf]| files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ");
    Launch::new(&format!("bench compare {} --to {} {options}", words(old), words(new))).run()
}

#[track_caller]
fn whole(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn what_is_worse_by_more_than_is_tolerated_is_exit_7() {
    let files = Files::new();
    let [old, new] = [files.plain("old", 100), files.plain("new", 108)];
    let ended = compare(&[&old], &[&new], "");
    assert_eq!(ended.code, Some(7), "{ended:?}");
    let (text, sentence) = (&ended.stdout, "new's p99 is 1.08 ~[1.07 .. 1.08] of old's");
    assert!(text.contains(sentence), "{text}");
    assert!(text.ends_with("verdict: worse by more than 5 %: p50 +8 %, p90 +8 %, p99 +8 %"), "{text}");
    assert!(text.contains("what differs from run to run is not in them"), "{text}");
    assert!(text.contains("rate") && text.contains("no difference seen (within 0.0 %)"), "{text}");
    let ended = compare(&[&old], &[&new], "--tolerance 10% -q");
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "verdict: no difference of more than 10 % seen"), "{ended:?}");
    let ended = compare(&[&new], &[&old], "--json");
    let whole = whole(&ended);
    assert_eq!((ended.code, &whole["verdict"]), (Some(0), &"better".into()), "{ended:?}");
    assert_eq!((&whole["better"], &whole["worse"]), (&json!(["p50", "p90", "p99"]), &json!([])));
    let p99 = &whole["compared"][0]["figures"][3];
    assert!(p99["figure"] == "p99" && (p99["ratio"].as_f64().unwrap() * 1.08 - 1.0).abs() < 1e-2, "{p99}");
}

#[test]
fn rate_is_worse_when_it_falls() {
    let files = Files::new();
    let slow = |run: &mut Value| run["blocks"]["requests"] = vec![900; 32].into();
    let (old, new) = (files.plain("old", 100), files.run("new", 100, slow));
    let ended = compare(&[&old], &[&new], "-q");
    assert_eq!((ended.code, &*ended.stdout), (Some(7), "verdict: worse by more than 5 %: rate -10 %"), "{ended:?}");
}

#[test]
fn no_difference_seen_names_a_standstill() {
    let files = Files::new();
    // One answer of 32,000 took 1.8 s, in the eighth block.
    let stalling = |run: &mut Value| {
        for kind in ["service", "response", "lag"] {
            let values = run["histograms"][kind].as_array_mut().unwrap();
            values[7][1] = 999.into();
            values.push(json!([1_800_000_000, 1]));
            let block = run["blocks"][kind][7].as_array_mut().unwrap();
            block[1] = 999.into();
            block.extend([json!(1_800_000_000), json!(1)]);
        }
    };
    let (old, new) = (files.plain("old", 100), files.run("new", 100, stalling));
    let ended = compare(&[&old], &[&new], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (text, stood) = (&ended.stdout, "new took 1.80 s for an answer");
    assert!(text.ends_with(&format!("verdict: no difference of more than 5 % seen, but {stood}")), "{text}");
    assert!(text.contains(&format!("\nwarning: {stood}: what comes once in a run is in no interval")), "{text}");
    let p50 = text.lines().find(|line| line.starts_with("p50 ")).unwrap();
    assert!(p50.ends_with("no difference seen (within 0.2 %), standstills apart"), "{text}");
    let whole = whole(&compare(&[&old], &[&new], "--json"));
    assert_eq!((&whole["verdict"], &whole["compared"][0]["standstills"]), (&"no difference".into(), &json!([stood])));

    // And what is better in all of the rest.
    let slow = files.plain("slow", 120);
    let better = compare(&[&slow], &[&new], "-q").stdout;
    assert!(better.starts_with("verdict: better by more than 5 %: ") && better.ends_with(stood), "{better}");

    // That of the load generator, in any of the runs.
    let stopped = files.run("stopped", 100, |run| run["metrics"]["load_longest_pause_seconds"] = json!(1.25));
    let told = compare(&[&old, &stopped], &[&files.plain("newer", 100)], "-q").stdout;
    let expected = "verdict: no difference of more than 5 % seen, but old's load generator stood still for 1.25 s";
    assert_eq!(told, expected);
}

#[test]
fn of_several_runs_what_differs_between_them_counts() {
    let files = Files::new();
    let old: Vec<PathBuf> = [100, 118, 90, 109].map(|micros| files.plain(&format!("o{micros}"), micros)).into();
    let new: Vec<PathBuf> = [108, 127, 97, 117].map(|micros| files.plain(&format!("n{micros}"), micros)).into();
    let (old, new): (Vec<&PathBuf>, Vec<&PathBuf>) = (old.iter().collect(), new.iter().collect());
    let whole = whole(&compare(&old, &new, "--json"));
    assert_eq!((&whole["verdict"], &whole["between_runs"]), (&"no difference".into(), &true.into()), "{whole}");
    assert!(whole["doubtful"].as_array().unwrap().contains(&"p99".into()), "{whole}");
    // One of them alone would be taken for worse.
    assert_eq!(compare(&old[..1], &new[..1], "").code, Some(7));
    let far = [200, 202, 198, 201].map(|micros| files.plain(&format!("f{micros}"), micros));
    let ended = compare(&old, &far.iter().collect::<Vec<_>>(), "");
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(!ended.stdout.contains("one run a side"), "{ended:?}");
}

#[test]
fn what_was_not_the_same_load_is_not_compared_except_by_force() {
    let files = Files::new();
    let old = files.plain("old", 100);
    let settings =
        |name: &'static str, value: Value| files.run("new", 100, move |run| run["settings"]["effective"][name] = value);
    for (name, value, what) in [
        ("size_bytes", json!(65), "--size"),
        ("connections", json!(2), "--connections"),
        ("rate_per_second", json!(999.0), "--rate"),
        ("idle", json!(1), "--idle"),
        ("rate_per_second", Value::Null, "the loop (--rate)"),
    ] {
        let new = settings(name, value);
        fails(&compare(&[&old], &[&new], ""), 2, &["cannot compare", what, "--force"]);
        let forced = compare(&[&old], &[&new], "--force");
        assert_eq!(forced.code, Some(0), "{forced:?}");
        assert!(forced.stdout.contains("compared by --force, but not the same load: "), "{forced:?}");
    }
    fails(&compare(&[&old], &[&old], ""), 2, &["they are the same run"]);
    assert_eq!(compare(&[&old], &[&settings("endpoint", json!("tcp://elsewhere:1"))], "").code, Some(0));
}

#[test]
fn runs_that_failed_are_told_and_are_worse_than_those_that_did_not() {
    let files = Files::new();
    let fails_partly = |run: &mut Value| (run["metrics"]["connections_lost"], run["partial"]) = (3.into(), true.into());
    let (fine, failed) = (files.plain("fine", 100), files.run("failed", 100, fails_partly));
    let ended = compare(&[&fine], &[&failed], "");
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stdout.contains(&format!("warning: {}: this run has failed", failed.display())), "{ended:?}");
    assert!(ended.stdout.ends_with("verdict: worse: a new run has failed"), "{ended:?}");
    assert_eq!(compare(&[&failed], &[&fine], "").code, Some(0));
}

#[test]
fn answers_that_are_missing_are_worse_though_those_that_came_took_no_longer() {
    let files = Files::over("udp");
    // 1,333 of 33,333 datagrams: less than a tenth, which would be a failure.
    let lossy = |name: &str| {
        files.run(name, 100, |run| {
            (run["metrics"]["sent"], run["metrics"]["lost"]) = (33_333.into(), 1_333.into());
            run["histograms"]["lag"].as_array_mut().unwrap().push(json!([100_000, 1_333]));
            run["blocks"]["errors"] = (0..32).map(|block| 41 + block % 3).collect::<Vec<_>>().into();
        })
    };
    let whole_run = |name: &str| files.run(name, 100, |run| run["metrics"]["sent"] = 32_000.into());
    let (old, new) = (whole_run("old"), lossy("new"));
    let ended = compare(&[&old], &[&new], "");
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stdout.ends_with("verdict: worse by more than 5 %: errors from 0 % to 4 %"), "{ended:?}");
    assert!(ended.stdout.contains("–: new: 1,333 of 33,333 requests got no right answer"), "{ended:?}");
    let whole = whole(&compare(&[&new], &[&old], "--json"));
    assert_eq!((&whole["verdict"], &whole["better"]), (&"better".into(), &json!(["errors"])), "{whole}");
    assert_eq!(whole["errors"]["new_share"], 0.0);
    // Of several runs, too.
    let (old, new) = ([&old, &whole_run("older")], [&new, &lossy("newer")]);
    assert_eq!(compare(&old, &new, "-q").stdout, "verdict: worse by more than 5 %: errors from 0 % to 4 %");
    assert_eq!(compare(&new, &[&lossy("newest")], "").code, Some(0));
}

#[test]
fn results_without_blocks_or_of_another_kind_are_told() {
    let files = Files::new();
    let blockless = files.run("blockless", 100, |run| _ = run.as_object_mut().unwrap().remove("blocks"));
    let other = files.plain("other", 100);
    let ended = compare(&[&blockless], &[&other], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("–: answers in fewer than 8 blocks of the run"), "{ended:?}");
    let old = files.run("ancient", 100, |run| run["schema"] = 1.into());
    fails(&compare(&[&old], &[&other], ""), 1, &["cannot read", "another version"]);
    let steps = json!({ "schema": 2, "planned_steps": 2, "steps": [files.pattern, files.pattern] });
    let several = files.folder.file("steps");
    fs::write(&several, steps.to_string()).unwrap();
    fails(&compare(&[&several], &[&other], ""), 2, &["cannot use", "2 steps"]);
    // What a comparison has written is no run.
    let compared = files.folder.file("compared");
    compare(&[&files.plain("one", 100)], &[&other], &format!("--json={}", compared.display()));
    fails(&compare(&[&other], &[&compared], ""), 2, &["cannot use", "what 'bench compare' has found"]);
    let merging = Launch::new(&format!("bench merge {}", compared.display())).run();
    fails(&merging, 2, &["cannot use", "what 'bench compare' has found"]);
    fails(&compare(&[&other], &[&files.folder.file("missing")], ""), 1, &["cannot read"]);
}
