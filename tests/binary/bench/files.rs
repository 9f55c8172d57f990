//! HdrHistogram logs that standard tools read, and results of several runs added up.

use std::io::Write;
use std::path::Path;
use std::time::Duration;
use std::{fs, io, str};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::json;

use super::super::support::{Folder, Launch, Server, pass};
use super::super::talk::Talk;
use super::peers::{self, pong_line};
use super::{FACTS, Figures, bench, fails};

const SHARES: [(f64, &str); 5] = [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p999"), (99.99, "p9999")];

/// A Python program that uses Python's own HdrHistogram library: prints what it finds in a log, by tag.
const READER: &str = "\
import sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
for tag in ['service', 'response']:
    reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 3600 * 10**9, 3))
    total = HdrHistogram(1, 3600 * 10**9, 3)
    while True:
        part = reader.get_next_interval_histogram()
        if part is None: break
        if part.get_tag() == tag: total.add(part)
    shares = [total.get_value_at_percentile(share) for share in map(float, sys.argv[2:])]
    print(tag, total.get_total_count(), *shares, total.get_max_value())
";

fn empty() -> Histogram<u64> {
    let mut times = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    times.auto(true);
    times
}

/// Each value that was recorded, and how often.
fn buckets(times: &Histogram<u64>) -> Vec<(u64, u64)> {
    times.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

/// All histograms of this tag in a log, added up; and their number.
#[track_caller]
fn in_log(log: &[u8], tag: &str) -> (Histogram<u64>, usize) {
    let (mut sum, mut parts) = (empty(), 0);
    let mut before = None;
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(part) = entry.expect("a sound line") else { continue };
        if part.tag().map(|tag| tag.as_str()) != Some(tag) {
            continue;
        }
        assert!(before < Some(part.start_timestamp()) && !part.duration().is_zero(), "one after the other");
        before = Some(part.start_timestamp());
        let coded = from_base64(part.encoded_histogram());
        let times: Histogram<u64> = Deserializer::new().deserialize(&mut &coded[..]).expect("a histogram");
        // Shown in milliseconds, to the third digit.
        assert!((part.max() - times.max() as f64 / 1e6).abs() <= 0.001, "{} of {}", part.max(), times.max());
        sum.add(&times).unwrap();
        parts += 1;
    }
    (sum, parts)
}

fn from_base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = LETTERS.iter().position(|known| *known == letter).expect("base64");
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// The results, in a file, of a run against a server that takes `slow` milliseconds for every tenth answer.
#[track_caller]
fn results_in(file: &Path, slow: u16, options: &str) -> Figures {
    let address = peers::tcp(move |_| {
        move |number, line: &str| {
            if number % 10 == 0 {
                pass(Duration::from_millis(slow.into()));
            }
            Some(pong_line(line))
        }
    });
    let figures = bench(&format!("tcp://{address}"), options);
    assert_eq!(figures.mishaps(), "");
    fs::write(file, figures.whole.to_string()).unwrap();
    figures
}

/// The same of a run that measured in this second, whichever it was.
#[track_caller]
fn results_of_a_second(file: &Path, slow: u16, options: &str) -> Figures {
    let mut figures = results_in(file, slow, options);
    figures.whole["measured_from_unix_seconds"] = json!(1000.0);
    figures.whole["measured_until_unix_seconds"] = json!(1001.0);
    fs::write(file, figures.whole.to_string()).unwrap();
    figures
}

#[track_caller]
fn merge(arguments: &[&Path]) -> Figures {
    merge_with("", arguments)
}

#[track_caller]
fn merge_with(options: &str, arguments: &[&Path]) -> Figures {
    let files: Vec<String> = arguments.iter().map(|file| file.display().to_string()).collect();
    let ended = Launch::new(&format!("bench merge {} --json {options}", files.join(" "))).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    Figures { code: ended.code, whole: serde_json::from_str(&ended.stdout).unwrap() }
}

/// The time of the answer with the rank that C's and Python's HdrHistogram give this percentile.
fn at(times: &Histogram<u64>, percent: f64) -> u64 {
    let rank = ((percent * times.len() as f64 / 100.0 + 0.5) as u64).max(1);
    let answers = buckets(times).into_iter().flat_map(|(value, count)| (0..count).map(move |_| value));
    answers.take(rank as usize).last().expect("some")
}

/// Asserts that these figures are those of one histogram with the times of all `runs`.
#[track_caller]
fn are_as_one(sum: &Figures, runs: &[&Figures], kind: &str) {
    let mut one = empty();
    for (value, count) in runs.iter().flat_map(|run| run.times(kind)) {
        one.record_n(value, count).unwrap();
    }
    assert!(!one.is_empty());
    assert_eq!(sum.times(kind), buckets(&one), "{kind}");
    for (percent, name) in SHARES {
        let exact = at(&one, percent) as f64 / 1e3;
        assert_eq!(sum.figure(&format!("{kind}_{name}_us")), exact, "{kind} {name}");
    }
    assert_eq!(sum.figure(&format!("{kind}_max_us")), one.max() as f64 / 1e3);
}

#[test]
fn metrics_are_those_of_the_histograms() {
    let folder = Folder::new();
    let figures = results_in(&folder.file("a"), 3, "-c 2 -r 500 -n 100");
    ["service", "response", "lag"].iter().for_each(|kind| are_as_one(&figures, &[&figures], kind));
    assert_eq!(figures.whole["histograms"]["unit"], "ns");
    // Every tenth answer was slow.
    assert!(figures.figure("service_p99_us") >= 3_000.0 && figures.figure("service_max_us") >= 3_000.0);
}

#[test]
fn hdr_log_has_all_that_was_measured() {
    let folder = Folder::new();
    let log = folder.file("log.hlog");
    let server = Server::start("ping=127.0.0.1:0");
    // The log has a part per second; the warm-up is in none.
    let options = format!("-c 3 -r 500 -d 1100ms --warmup 50ms --hdr {}", log.display());
    let figures = bench(server.endpoint("ping", "tcp"), &options);
    assert_eq!(figures.mishaps(), "");
    let bytes = fs::read(&log).unwrap();
    let text = str::from_utf8(&bytes).unwrap();
    assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
    assert!(text.contains("\n\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\","), "{text}");
    for kind in ["service", "response"] {
        let (times, parts) = in_log(&bytes, kind);
        assert_eq!(times.len(), figures.count("requests"));
        assert_eq!(buckets(&times), figures.times(kind), "{kind}");
        assert_eq!(parts, 2, "{kind}");
    }
    let Some(StartTime(start)) = start_of(&bytes) else { panic!("no start: {text}") };
    let began = figures.whole["started_unix_seconds"].as_f64().unwrap();
    assert!((0.04..10.0).contains(&(start - began)), "after the warm-up: {start} {began}");

    reads_the_same_in_python(&log, &figures);
}

/// Asserts that Python's HdrHistogram reads the figures of the report from the log, to the bucket.
#[track_caller]
fn reads_the_same_in_python(log: &Path, figures: &Figures) {
    let shares = SHARES.map(|(percent, _)| percent.to_string());
    let arguments: Vec<&str> = [log.to_str().unwrap()].into_iter().chain(shares.iter().map(String::as_str)).collect();
    let Some(reader) = Talk::python(READER, &arguments) else { return };
    let read = reader.run();
    if read.stderr.contains("No module named 'hdrh'") {
        // Past the test harness, which hides what is printed.
        let _ = writeln!(io::stderr(), "skipped: this test needs Python's hdrhistogram");
        return;
    }
    assert_eq!(read.code, Some(0), "{read:?}");
    assert_eq!(read.stdout.lines().count(), 2, "{read:?}");
    for line in read.stdout.lines() {
        let (kind, values) = line.split_once(' ').unwrap();
        let mut values = values.split(' ').map(|word| word.parse::<u64>().unwrap());
        assert_eq!(values.next(), Some(figures.count("requests")), "{line}");
        for (name, value) in SHARES.map(|(_, name)| name).into_iter().chain(["max"]).zip(values) {
            assert_eq!(figures.figure(&format!("{kind}_{name}_us")), value as f64 / 1e3, "{name} of {line}");
        }
    }
}

struct StartTime(f64);

fn start_of(log: &[u8]) -> Option<StartTime> {
    IntervalLogIterator::new(log).find_map(|entry| match entry {
        Ok(LogEntry::StartTime(start)) => Some(StartTime(start.as_secs_f64())),
        _ => None,
    })
}

#[test]
fn hdr_log_of_a_closed_loop_has_no_response_times() {
    let folder = Folder::new();
    let log = folder.file("log.hlog");
    let server = Server::start("ping=127.0.0.1:0");
    let figures = bench(server.endpoint("ping", "tcp"), &format!("-c 3 -n 100 --hdr {}", log.display()));
    let bytes = fs::read(&log).unwrap();
    let (times, parts) = in_log(&bytes, "service");
    assert_eq!((buckets(&times), parts), (figures.times("service"), 1));
    assert_eq!(in_log(&bytes, "response").1, 0);
}

#[test]
fn merged_results_are_those_of_one_run() {
    let folder = Folder::new();
    let [a, b, c] = ["a.json", "b.json", "c.json"].map(|name| folder.file(name));
    for (options_a, options_b, kinds) in [
        ("-c 1 -n 40", "-c 3 -n 300", &["service"][..]),
        ("-c 1 -r 500 -n 40", "-c 3 -r 2000 -n 300", &["service", "response", "lag"]),
    ] {
        let first = results_of_a_second(&a, 20, options_a);
        let second = results_of_a_second(&b, 1, options_b);
        let sum = merge(&[&a, &b]);
        kinds.iter().for_each(|kind| are_as_one(&sum, &[&first, &second], kind));
        for fact in FACTS.iter().chain(&["errors", "connections_requested", "connections_opened", "idle_held"]) {
            assert_eq!(sum.count(fact), first.count(fact) + second.count(fact), "{fact}");
        }
        assert_eq!(sum.facts(), "sent=340 requests=340");
        let rates = first.figure("requests_per_second") + second.figure("requests_per_second");
        assert!((sum.figure("requests_per_second") - rates).abs() < 1e-3, "they ran side by side");
        assert_eq!((&sum.whole["partial"], &sum.whole["schema"]), (&json!(false), &json!(2)));
        assert_eq!(sum.whole["runs"].as_array().map(Vec::len), Some(2));

        // In any order, and one of them twice where that is wanted.
        assert_eq!(merge(&[&b, &a]).whole["metrics"], sum.whole["metrics"]);
        fs::write(&c, sum.whole.to_string()).unwrap();
        let threefold = merge_with("--force", &[&c, &a]);
        kinds.iter().for_each(|kind| are_as_one(&threefold, &[&first, &second, &first], kind));
        assert_eq!(threefold.facts(), "sent=380 requests=380");
    }
}

#[test]
fn a_sum_may_replace_one_of_its_parts() {
    let folder = Folder::new();
    let [a, b] = ["a.json", "b.json"].map(|name| folder.file(name));
    results_of_a_second(&a, 1, "-c 1 -n 40");
    results_of_a_second(&b, 1, "-c 1 -n 40");
    let ended = Launch::new(&format!("bench merge {0} {1} --json={0}", a.display(), b.display())).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let sum: serde_json::Value = serde_json::from_slice(&fs::read(&a).unwrap()).unwrap();
    assert_eq!(sum["metrics"]["requests"], 80);
}

#[test]
fn merged_errors_and_interrupted_runs_show() {
    let folder = Folder::new();
    let [good, bad] = ["good.json", "bad.json"].map(|name| folder.file(name));
    let mut partial = results_of_a_second(&good, 1, "-c 1 -n 20").whole;
    partial["partial"] = json!(true);
    fs::write(&good, partial.to_string()).unwrap();
    let address = peers::tcp(|_| |number, line: &str| Some(if number == 3 { "x\n".into() } else { pong_line(line) }));
    let mut wrong = bench(&format!("tcp://{address}"), "-c 1 -n 10").whole;
    for end in ["measured_from_unix_seconds", "measured_until_unix_seconds"] {
        wrong[end] = partial[end].clone();
    }
    fs::write(&bad, wrong.to_string()).unwrap();
    let ended = Launch::new(&format!("bench merge {} {}", good.display(), bad.display())).run();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let last = ended.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("result: requests=29 ") && last.contains(" wrong=1 ") && last.ends_with(" partial"),
        "{last}"
    );
}

#[test]
fn both_loops_merged_have_service_times_in_common() {
    let folder = Folder::new();
    let [open, closed, both] = ["open.json", "closed.json", "both.json"].map(|name| folder.file(name));
    let (first, second) = (results_in(&open, 20, "-c 1 -r 500 -n 40"), results_in(&closed, 1, "-c 3 -n 300"));
    for files in [[&*open, &*closed], [&*closed, &*open]] {
        let sum = merge_with("--force", &files);
        are_as_one(&sum, &[&first, &second], "service");
        assert!(sum.is_null("response_p99_us") && sum.is_null("lag_p99_us"), "of half of the requests");
        fs::write(&both, sum.whole.to_string()).unwrap();
        // What merge writes, merge reads.
        assert_eq!(merge_with("--force", &[&both, &closed]).facts(), "sent=640 requests=640");
        let ended = Launch::new(&format!("bench merge --force {} {}", files[0].display(), files[1].display())).run();
        let last = ended.stdout.lines().last().unwrap();
        assert!(
            last.contains(" service_p99_us=") && !last.contains("response"),
            "service times are no response times: {last}"
        );
    }
}

#[test]
fn file_that_is_no_result_is_told() {
    let folder = Folder::new();
    let [good, bad] = ["good.json", "bad.json"].map(|name| folder.file(name));
    let results = results_in(&good, 1, "-c 1 -n 20").whole;
    let without = |name: &str| {
        let mut results = results.clone();
        results["metrics"].as_object_mut().unwrap().remove(name).expect("it was there");
        results.to_string()
    };
    let other_schema = {
        let mut results = results.clone();
        results["schema"] = json!(99);
        results.to_string()
    };
    let cases: [(String, &str); 6] = [
        ("requests=3".into(), "not JSON"),
        ("{}".into(), "pingpong bench --json"),
        ("[1, 2]".into(), "pingpong bench --json"),
        (other_schema, "version"),
        (without("sent"), "metrics.sent"),
        (without("seconds"), "metrics.seconds"),
    ];
    for (text, word) in cases {
        fs::write(&bad, &text).unwrap();
        let ended = Launch::new(&format!("bench merge {} {}", good.display(), bad.display())).run();
        fails(&ended, 1, &[bad.to_str().unwrap(), word]);
    }
    fs::remove_file(&bad).unwrap();
    let ended = Launch::new(&format!("bench merge {} {}", good.display(), bad.display())).run();
    fails(&ended, 1, &[bad.to_str().unwrap(), "no such file"]);
}

#[test]
fn two_results_do_not_go_to_one_file_whatever_it_is_called() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let at = server.endpoint("ping", "tcp");
    let [a, b, old] = ["a.json", "b.json", "old"].map(|name| folder.file(name));
    results_of_a_second(&a, 1, "-c 1 -n 40");
    results_of_a_second(&b, 1, "-c 1 -n 40");
    fs::write(&old, "last week's").unwrap();
    let link = folder.file("link");
    std::os::unix::fs::symlink(&old, &link).unwrap();
    let (a, b, same, link) = (a.display(), b.display(), old.display(), link.display());
    let otherwise = format!("{}/./old", old.parent().unwrap().display());
    for words in [
        format!("{at} -n 3 --json={same} --html {same}"),
        format!("{at} -n 3 --json={same} --html {link}"),
        format!("{at} -n 3 --json={same} --hdr {otherwise}"),
        format!("{at} -d 99s --against {at} --json={otherwise} --html {same}"),
        format!("merge {a} {b} --json={same} --html {same}"),
        format!("compare {a} --to {b} --json={same} --html {link}"),
    ] {
        fails(&Launch::new(&format!("bench {words}")).run(), 2, &["to one file", "a file of its own"]);
        assert_eq!(fs::read_to_string(&old).unwrap(), "last week's", "{words}");
    }
    let into_itself = Launch::shell(&format!("exec \"$0\" \"$@\" > {same}"), &format!("bench {at} -n 3 --json={same}"));
    fails(&into_itself.run(), 2, &["standard output and"]);
    assert_eq!(Launch::new(&format!("bench {at} -n 3 --json=/dev/null --html /dev/null")).run().code, Some(0));
}

#[test]
fn a_run_that_comes_to_nothing_leaves_no_empty_file_and_takes_no_earlier_results() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let at = server.endpoint("ping", "tcp");
    let [old, new] = ["old.json", "new.html"].map(|name| folder.file(name));
    let earlier = "x".repeat(1 << 20);
    fs::write(&old, &earlier).unwrap();
    let files = format!("--json={} --html {}", old.display(), new.display());
    for words in ["tcp://127.0.0.1:1".to_owned(), format!("{at} --against tcp://127.0.0.1:1 -d 200ms")] {
        fails(&Launch::new(&format!("bench {words} -c 1 {files}")).run(), 3, &["tcp://127.0.0.1:1"]);
        assert!(fs::read_to_string(&old).unwrap() == earlier && !new.exists(), "{words}");
    }
    // Results are all that is in it then, be they shorter.
    assert_eq!(Launch::new(&format!("bench {at} -c 1 -n 3 {files}")).run().code, Some(0));
    assert!(serde_json::from_slice::<serde_json::Value>(&fs::read(&old).unwrap()).is_ok() && new.exists());
}
