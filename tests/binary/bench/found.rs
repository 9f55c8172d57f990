//! `--find`, the highest rate that meets what is asked for, and `--until`, of the real binary.
//!
//! The server takes a fixed time for each request, one after the other, so how many it can do does not depend on how fast
//! this machine is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::support::{Launch, Server, pass};
use super::peers::{self, pong_line};
use super::{Figures, fails, load};

/// A server that does one thing at a time, each in this time.
fn queue(service: Duration) -> SocketAddr {
    let server = Arc::new(Mutex::new(()));
    peers::tcp(move |_| {
        let server = server.clone();
        move |_, line| {
            let busy = server.lock().expect("nobody panics with it");
            pass(service);
            drop(busy);
            Some(pong_line(line))
        }
    })
}

fn search(figures: &Figures) -> &Value {
    &figures.whole["search"]
}

#[test]
fn the_rate_found_is_below_the_capacity_and_not_far() {
    // 4 ms each: less than 250 a second, and on a busy machine fewer.
    let address = queue(Duration::from_millis(4));
    let options = "-c 4 -d 2s --from 50 --to 1k --find p50<12ms --find errors=0";
    let figures = Figures::of(&load(&format!("tcp://{address}"), options).run());
    assert_eq!(figures.code, Some(0), "{}", search(&figures));
    let found = search(&figures)["found_per_second"].as_f64().expect("a rate");
    assert!((50.0..=260.0).contains(&found), "{found}");
    let trials = search(&figures)["trials"].as_array().expect("a list");
    let most = search(&figures)["most_trials"].as_u64().expect("a number") + 4;
    assert!(trials.len() as u64 <= most && trials.last().expect("one")["full_run"] == true, "{trials:#?}");
    let too_fast = |trial: &&Value| trial["rate_per_second"].as_f64() > Some(300.0);
    assert!(trials.iter().filter(too_fast).all(|trial| trial["met"] == false), "{trials:#?}");
    assert!(trials.iter().any(|trial| trial["met"] == false && trial["reason"].is_string()), "{trials:#?}");
    // The report is that of the full run at that rate.
    let settings = &figures.whole["settings"]["effective"];
    assert_eq!((settings["rate_per_second"].as_f64(), settings["duration_seconds"].as_f64()), (Some(found), Some(2.0)));
    assert_eq!(figures.whole["requirements"].as_array().expect("a list").len(), 2);
}

#[test]
fn rows_come_while_it_goes_and_then_a_picture_and_the_report() {
    let server = Server::start("ping=127.0.0.1:0");
    let at = server.endpoint("ping", "tcp");
    let ended = Launch::new(&format!("bench {at} -c 2 -d 500ms --from 100 --to 200 --find errors<50%")).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let place = |text: &str| ended.stdout.find(text).unwrap_or_else(|| panic!("no {text:?} in {}", ended.stdout));
    let places = [
        "looking for the highest rate that meets errors<50%, from 100 to 200 a second\nat most 50 trials of 100ms and 5 runs ",
        "\n       100 ",
        "\n       200 ",
        "  full run: met",
        "p99 over the rate",
        "\nfound: 200 a second meets errors<50%, and is the highest that was tried",
        "open loop at 200 a second",
        " found_per_second=200\n",
    ]
    .map(|text| if text.ends_with('\n') { place(text.trim_end()) } else { place(text) });
    assert!(places.is_sorted(), "{places:?} in {}", ended.stdout);
    assert!(ended.stdout.ends_with(" requirements_met=1/1 found_per_second=200"), "{}", ended.stdout);
}

#[test]
fn where_even_the_lowest_rate_is_too_high_it_is_exit_7() {
    let server = Server::start("ping=127.0.0.1:0");
    let words = format!("bench {} -c 2 -d 500ms --from 1k --find p50<1us -q", server.endpoint("ping", "tcp"));
    let ended = Launch::new(&words).run();
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(7), 1), "{ended:?}");
    assert!(ended.stderr.contains("not found: even 1,000 a second does not meet p50<1us"), "{ended:?}");
    assert!(ended.stdout.ends_with(" found_per_second=-"), "{ended:?}");
}

#[test]
fn a_server_that_dies_on_the_way_is_exit_1() {
    let dying = peers::tcp(|_| {
        let mut left = 60;
        move |_, line| {
            left -= 1;
            (left > 0).then(|| pong_line(line))
        }
    });
    let ended = load(&format!("tcp://{dying}"), "-c 1 -d 1s --from 100 --find errors<90% --timeout 200ms").run();
    let figures = Figures::of(&ended);
    assert_eq!((figures.code, search(&figures)["end"].as_str()), (Some(1), Some("server_gone")), "{ended:?}");
    assert!(ended.stderr.contains("broken off: the server was gone at "), "{ended:?}");
}

#[test]
fn an_interruption_gives_the_bracket_so_far() {
    let server = Server::start("ping=127.0.0.1:0 --stats 10ms");
    let at = server.endpoint("ping", "tcp");
    let mut finding =
        Launch::new(&format!("bench {at} -c 2 -d 60s --warmup 0s --from 1k --to 1k --find errors<90%")).spawn();
    server.stats_once("it is loaded", |stats| stats["messages"] > 50);
    finding.signal(Signal::SIGINT);
    let ended = finding.ends();
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stdout.contains("\ninterrupted: so far no rate has met errors<90%\n"), "{ended:?}");
}

#[test]
fn what_does_not_go_with_a_search_is_a_usage_error() {
    for (options, words) in [
        ("--find p99<5ms -r 5", "--rate"),
        ("--find p99<5ms -n 5", "--requests"),
        ("--find p99<5ms --churn", "--churn"),
        ("--find p99<5ms -p 2", "--pipeline"),
        ("--from 5", "--find"),
        ("--to 5", "--find"),
        ("--find p99<5ms --from 5 --to 2", "--from 5 is above --to 2"),
        ("--find rate>5", "--from and --to"),
        ("--find eror=0", "is it errors?"),
        ("--find idle_silent=0", "only with --heartbeat"),
    ] {
        fails(&Launch::new(&format!("bench tcp://127.0.0.1:1 {options}")).run(), 2, &[words]);
    }
    let nobody = Launch::new("bench tcp://127.0.0.1:1 --find errors=0").run();
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
}

#[test]
fn a_run_ends_when_a_percentile_is_known_well_enough_and_says_so() {
    let server = Server::start("ping=127.0.0.1:0");
    let at = server.endpoint("ping", "tcp");
    // Twenty answers in a 64th of the time are enough for the median.
    let figures = Figures::of(&load(at, "-c 2 -r 2k -d 4s --until p50+-100%").run());
    let (until, seconds) = (&figures.whole["until"], figures.figure("seconds"));
    assert_eq!((figures.code, until["expr"].as_str()), (Some(0), Some("p50±100%")));
    assert!(until["reached"] == false || seconds >= 1.0, "{until} in {seconds} s");
    let is_narrow = until["half_interval_share"].as_f64().is_some_and(|share| share <= 1.0);
    assert_eq!(until["reached"] == true, is_narrow && until["rough"] == false, "{until}");
    figures.add_up();

    let ended = Launch::new(&format!("bench {at} -c 2 -r 200 -d 500ms --warmup 0s --until p999±5%")).run();
    assert!(ended.stdout.contains("\nuntil        p999±5% not reached in 0.5 s: too few answers to tell"), "{ended:?}");
    for (options, words) in [
        ("--until p99", "p99±5%"),
        ("--until p99±5% -n 5", "--requests"),
        ("--until p99±5% --find errors=0", "--find"),
        ("--until p99±5% -r 5,9", "--until is for one --rate"),
        ("--until response_p99±5%", "only with --rate"),
    ] {
        fails(&Launch::new(&format!("bench tcp://127.0.0.1:1 {options}")).run(), 2, &[words]);
    }
}
