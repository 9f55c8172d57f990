//! How sure figures are: intervals from the blocks of a run, and those of a sum.

use std::fs;

use serde_json::{Value, json};

use super::super::support::{Folder, Launch, Server};
use super::{Figures, bench};

/// The ends of a figure's interval.
fn ends(figures: &Figures, name: &str) -> Option<(f64, f64)> {
    let end = |end: &str| figures.whole["metrics"][format!("{name}_{end}")].as_f64();
    end("low").zip(end("high"))
}

/// A column of the blocks.
fn column<'a>(figures: &'a Figures, name: &str) -> &'a Vec<Value> {
    figures.whole["blocks"][name].as_array().unwrap_or_else(|| panic!("{name}: {}", figures.whole["blocks"]))
}

fn sum(numbers: &[Value]) -> u64 {
    numbers.iter().map(|number| number.as_u64().unwrap()).sum()
}

#[test]
fn figures_have_intervals_where_there_are_answers_enough_and_a_reason_where_not() {
    let server = Server::start("ping=127.0.0.1:0");
    let figures = bench(server.endpoint("ping", "tcp"), "-c 2 -r 2000 -d 640ms");
    for name in ["requests_per_second", "service_p50_us", "response_p50_us", "lag_p90_us"] {
        let (low, high) = ends(&figures, name).unwrap_or_else(|| panic!("{name}: {:?}", figures.whole["intervals"]));
        assert!((low..=high).contains(&figures.figure(name)), "{name}: {low} {high}");
    }
    assert_eq!(ends(&figures, "service_p9999_us"), None);
    let why = figures.whole["intervals"]["none"]["service_p9999_us"].as_str().unwrap();
    assert_eq!(why, "fewer than 10 answers beyond it in most blocks of the run");
    assert!(figures.whole["intervals"]["none"].get("service_p50_us").is_none());

    assert_eq!((column(&figures, "requests").len(), figures.whole["blocks"]["seconds"].as_f64()), (32, Some(0.02)));
    assert_eq!(sum(column(&figures, "requests")), figures.count("requests") - figures.count("carried_over"));
    let of_block = |block: &Value| block.as_array().unwrap().iter().skip(1).step_by(2).cloned().collect::<Vec<_>>();
    let times: u64 = column(&figures, "response").iter().map(|block| sum(&of_block(block))).sum();
    assert_eq!(times, figures.count("requests"));
}

#[test]
fn a_closed_loop_has_no_intervals_of_response_times() {
    let server = Server::start("ping=127.0.0.1:0");
    let figures = bench(server.endpoint("ping", "tcp"), "-c 1 -n 20");
    assert!(figures.is_null("response_p50_us_low") && figures.is_null("service_p50_us_high"));
    assert!(figures.whole["blocks"]["response"].is_null());
    let why = figures.whole["intervals"]["none"]["service_p50_us"].as_str().unwrap();
    assert_eq!(why, "answers in fewer than 8 blocks of the run");
}

#[test]
fn people_see_them_below_the_percentiles() {
    let server = Server::start("ping=127.0.0.1:0");
    let endpoint = server.endpoint("ping", "tcp");
    let ended = Launch::new(&format!("bench {endpoint} -c 2 -r 2000 -d 640ms --warmup 0s")).run();
    let mut lines = ended.stdout.lines().skip_while(|line| !line.starts_with("response "));
    let below = lines.nth(1).unwrap();
    assert!(below.contains('±') && below.ends_with('–'), "{}", ended.stdout);
    assert!(ended.stdout.contains("\n±: 95 % intervals, from the blocks of the run\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\n–: fewer than 10 answers beyond it in most blocks"), "{}", ended.stdout);
}

#[test]
fn a_sum_has_the_blocks_of_its_parts_by_the_wall_clock() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let mut part = bench(server.endpoint("ping", "tcp"), "-c 2 -r 2000 -d 640ms").whole;
    let began = part["blocks"]["from_unix_seconds"].as_f64().unwrap();
    assert!((began - part["measured_from_unix_seconds"].as_f64().unwrap()).abs() < 1e-6);
    let files = ["a.json", "b.json"].map(|name| folder.file(name));
    fs::write(&files[0], part.to_string()).unwrap();
    // The same on another machine, and not quite half a block later.
    part["machine"]["host"] = "elsewhere".into();
    for name in ["measured_from_unix_seconds", "measured_until_unix_seconds"] {
        part[name] = json!(part[name].as_f64().unwrap() + 0.009);
    }
    part["blocks"]["from_unix_seconds"] = json!(began + 0.009);
    fs::write(&files[1], part.to_string()).unwrap();
    let merge = format!("bench merge {} {} --json", files[0].display(), files[1].display());
    let ended = Launch::new(&merge).run();
    let merged = Figures { code: ended.code, whole: serde_json::from_str(&ended.stdout).unwrap() };
    let (requests, alone) = (column(&merged, "requests"), part["blocks"]["requests"].as_array().unwrap());
    assert_eq!(requests.len(), 32, "they lie cell on cell");
    for (both, one) in requests.iter().zip(alone) {
        assert_eq!(both.as_u64(), one.as_u64().map(|one| 2 * one));
    }
    let (low, high) = ends(&merged, "service_p50_us").unwrap();
    assert!((low..=high).contains(&merged.figure("service_p50_us")));
}

#[test]
fn results_without_blocks_are_read_and_have_no_intervals() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let mut old = bench(server.endpoint("ping", "tcp"), "-c 1 -r 2000 -d 640ms").whole;
    old.as_object_mut().unwrap().remove("blocks").unwrap();
    let file = folder.file("old.json");
    fs::write(&file, old.to_string()).unwrap();
    let merged = Figures::of(&Launch::new(&format!("bench merge {} --json", file.display())).run());
    assert!(merged.is_null("service_p50_us_low"), "{:?}", merged.whole["intervals"]);
}

#[test]
fn what_rose_or_fell_during_the_run_is_warned_of() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let mut whole = bench(server.endpoint("ping", "tcp"), "-c 1 -n 20").whole;
    let file = folder.file("drifting.json");
    // As many as the blocks below have.
    (whole["metrics"]["sent"], whole["metrics"]["requests"]) = (json!(64_000), json!(64_000));
    whole["histograms"]["service"] = json!([[1_000_000, 64_000]]);
    let mut warnings = |times: fn(u64) -> Vec<u64>, requests: fn(u64) -> u64| {
        whole["blocks"] = json!({
            "unit": "ns",
            "from_unix_seconds": whole["measured_from_unix_seconds"],
            "seconds": 0.5,
            "requests": (0..32).map(requests).collect::<Vec<u64>>(),
            "errors": vec![0; 32],
            "service": (0..32).map(times).collect::<Vec<_>>(),
        });
        fs::write(&file, whole.to_string()).unwrap();
        Launch::new(&format!("bench merge {}", file.display())).run().stdout
    };
    let steady = warnings(|_| vec![1_000_000, 2_000], |_| 1_000);
    assert!(!steady.contains("during the run"), "{steady}");
    let slowing = warnings(|block| vec![1_000_000 + 100_000 * block, 2_000], |block| 1_000 - 10 * block);
    assert!(slowing.contains("\nwarning: p99 rose from 1.7"), "{slowing}");
    assert!(slowing.contains(" ms to 4.1"), "{slowing}");
    assert!(slowing.contains("\nwarning: the rate fell from 1930 to 1450 a second during the run\n"), "{slowing}");
    // The tail is as it was.
    let faster = warnings(|block| vec![1_000_000 - 10_000 * block, 1_000, 2_000_000, 100], |_| 1_000);
    assert!(faster.contains("\nwarning: p50 fell from 9"), "{faster}");
}
