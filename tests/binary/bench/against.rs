//! `--against`: several servers by turns. How they differ is the subject of tests over virtual time; here it is told what
//! was measured, and what was not.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::support::{Ended, Folder, Launch, Server, pass};
use super::peers::{self, pong_line};
use super::{Figures, fails, load};

/// Results of several servers as JSON.
#[track_caller]
fn whole(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// What is told of one of them. Its books balance.
#[track_caller]
fn server(whole: &Value, name: &str) -> Figures {
    let figures = Figures { code: None, whole: whole["servers"][name].clone() };
    figures.add_up();
    figures
}

#[track_caller]
fn warns(whole: &Value, text: &str) {
    let warnings = whole["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains(text)), "{text:?} in {warnings:?}");
}

#[test]
fn servers_have_the_same_turns_and_each_pair_of_turns_is_compared() {
    let [one, two] = ["ping=tcp://127.0.0.1:0", "ping=tcp://127.0.0.1:0"].map(Server::start);
    let against = format!("--against {} -c 3 --idle 2 -r 400 -d 1s --allow-failures", two.endpoint("ping", "tcp"));
    let ended = load(one.endpoint("ping", "tcp"), &against).run();
    let whole = whole(&ended);
    assert_eq!((ended.code, &whole["not_compared_because"]), (Some(0), &Value::Null), "{ended:?}");
    assert_eq!((&whole["planned_turns"], &whole["turns"]), (&16.into(), &16.into()));
    for (name, own) in [("A", &one), ("B", &two)] {
        let figures = server(&whole, name);
        // A turn may begin with one or two of its settling, and a busy machine does not send all that is due.
        assert!((400..=416).contains(&(figures.count("sent") + figures.count("unsent"))), "{}", figures.facts());
        assert_eq!(figures.not_zero(&["wrong", "late", "lost", "refused", "broken", "duplicate"]), "");
        assert_eq!((figures.count("connections_held"), figures.count("idle_held")), (3, 2));
        assert!(figures.figure("seconds") > 0.999);
        let settings = &figures.whole["settings"]["effective"];
        assert_eq!(settings["endpoint"], own.endpoint("ping", "tcp"));
        assert_eq!(settings["duration_seconds"], 1.0);
        assert_eq!(figures.whole["blocks"]["requests"].as_array().unwrap().len(), 8);
    }
    let figures = whole["compared"][0]["figures"].as_array().unwrap();
    let names: Vec<&str> = figures.iter().map(|figure| figure["figure"].as_str().unwrap()).collect();
    assert_eq!(names, ["rate", "p50", "p90", "p99", "p99.9", "p99.99"]);
    assert!(figures[1]["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{figures:?}");
    let reason = "fewer than 10 answers beyond it in most blocks of the run";
    assert!(figures[5]["ratio"].is_null() && figures[5]["reason"] == reason, "{figures:?}");
    for (mut server, peers) in [(one, 5), (two, 5)] {
        assert_eq!(server.stop()["accepted"], peers, "no connection was made twice");
    }
}

#[test]
fn report_has_a_row_for_each_server_and_a_table_for_each_beside_the_first() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let own = server.endpoint("ping", "tcp");
    let ended = Launch::new(&format!("bench {own} --against {own} --against {own} -c 2 -d 800ms --warmup 0s")).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = &ended.stdout;
    assert!(
        text.starts_with(&format!("A {own} against B {own} against C {own}: 2 connections, closed loop")),
        "{text}"
    );
    assert!(text.contains("each in 8 turns of 100 ms, after 12.5 ms of settling"), "{text}");
    for begin in ["A  ", "B  ", "C  ", "result: server=A requests=", "result: server=C requests="] {
        assert_eq!(text.lines().filter(|line| line.starts_with(begin)).count(), 1, "{begin}: {text}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with("p50 ")).count(), 2, "{text}");
}

#[test]
fn servers_of_different_kinds_are_each_asked_what_they_know() {
    let [ping, echo] = ["ping=tcp://127.0.0.1:0", "echo=tcp://127.0.0.1:0"].map(Server::start);
    let against = format!("--against {} -c 1 -d 800ms", echo.endpoint("echo", "tcp"));
    let asked = r"--send ping\n --expect pong\n --send PING\r\n --expect PING\r\n";
    let ended = load(ping.endpoint("ping", "tcp"), &format!("{against} {asked}")).run();
    let whole = whole(&ended);
    assert_eq!((ended.code, &whole["not_compared_because"]), (Some(0), &Value::Null), "{ended:?}");
    assert_eq!(["A", "B"].map(|name| server(&whole, name).mishaps()), ["", ""]);
    let title = whole["title"].as_str().unwrap();
    assert!(title.contains(r#""ping\n" and "PING\r\n""#), "{title}");
}

#[test]
fn server_that_dies_is_told_and_nothing_is_compared() {
    let [one, two] = ["ping=tcp://127.0.0.1:0", "ping=tcp://127.0.0.1:0 --stats 10ms"].map(Server::start);
    let against = format!("--against {} -c 3 -d 60s", two.endpoint("ping", "tcp"));
    let mut loading = load(one.endpoint("ping", "tcp"), &against).spawn();
    two.stats_once("it is loaded", |stats| stats["messages"] > 50);
    two.signal(Signal::SIGKILL);
    let ended = loading.ends();
    let whole = whole(&ended);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let why = whole["not_compared_because"].as_str().unwrap();
    assert!(why.contains(&format!("B ({})", two.endpoint("ping", "tcp"))) && why.contains("was gone"), "{why}");
    assert!(whole["compared"].as_array().unwrap().is_empty());
    warns(&whole, "not compared: B");
    assert_eq!(server(&whole, "B").count("connections_lost"), 3);
}

#[test]
fn a_standstill_between_turns_is_told() {
    for timeout in ["200ms", "5s"] {
        let [one, two] = ["ping=tcp://127.0.0.1:0", "ping=tcp://127.0.0.1:0 --stats 10ms"].map(Server::start);
        let options = format!("--against {} -c 2 -r 500 -d 2s --timeout {timeout}", two.endpoint("ping", "tcp"));
        let mut loading = load(one.endpoint("ping", "tcp"), &options).spawn();
        two.stats_once("its turns are on", |stats| stats["messages"] > 100);
        two.freeze();
        pass(Duration::from_secs(1));
        two.thaw();
        let ended = loading.ends();
        let whole = whole(&ended);
        assert_eq!(whole["not_compared_because"], Value::Null, "{timeout}: {ended:?}");
        warns(&whole, "B kept a turn waiting for ");
        let standstills = whole["compared"][0]["standstills"].as_array().unwrap();
        assert!(standstills.iter().any(|one| one.as_str().unwrap().starts_with("B ")), "{standstills:?}");
        let waited = whole["waits_after_turns"]["B"]["longest_seconds"].as_f64().unwrap();
        assert!((0.1..60.0).contains(&waited), "{timeout}: {waited}");
        assert_eq!(server(&whole, "B").count("lost") > 0, timeout == "200ms", "{ended:?}");
    }
}

#[test]
fn signal_ends_all_of_it_and_gives_what_there_is() {
    let [one, two] = ["ping=tcp://127.0.0.1:0", "ping=tcp://127.0.0.1:0 --stats 10ms"].map(Server::start);
    let against = format!("--against {} -c 1 -r 500 -d 100s --json=/dev/null", two.endpoint("ping", "tcp"));
    let mut loading = Launch::new(&format!("bench {} --warmup 0s {against}", one.endpoint("ping", "tcp"))).spawn();
    // Its second turn, and so the first one's first, is over.
    two.stats_once("its turns are on", |stats| stats["messages"] > 800);
    loading.signal(Signal::SIGINT);
    let ended = loading.ends();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("warning: interrupted: ") && ended.stdout.contains("of 256 turns"), "{ended:?}");
    assert!(ended.stdout.contains("result: server=A requests=") && ended.stdout.contains("result: server=B"));
}

#[test]
fn a_signal_leaves_every_result_partial_and_no_requirement_met() {
    let [one, two] = ["ping=tcp://127.0.0.1:0", "ping=tcp://127.0.0.1:0 --stats 10ms"].map(Server::start);
    let options = format!("--against {} -c 1 -r 500 -d 100s --require errors=0", two.endpoint("ping", "tcp"));
    let mut loading = load(one.endpoint("ping", "tcp"), &options).spawn();
    two.stats_once("its turns are on", |stats| stats["messages"] > 800);
    loading.signal(Signal::SIGINT);
    let ended = loading.ends();
    assert_eq!(ended.code, Some(7), "{ended:?}");
    for name in ["A", "B"] {
        let server = &whole(&ended)["servers"][name];
        let errors = &server["requirements"][0];
        assert_eq!((&server["partial"], &errors["met"]), (&true.into(), &false.into()), "{name}: {server}");
        assert!(errors["reason"].as_str().unwrap().starts_with("interrupted after "), "{errors}");
    }
}

#[test]
fn server_of_another_kind_is_a_wrong_answer_and_ends_it_early() {
    let right = Server::start("ping=tcp://127.0.0.1:0");
    let wrong = format!("tcp://{}", peers::tcp(|_| |_, _: &str| Some("nonsense\n".to_owned())));
    let ended = load(right.endpoint("ping", "tcp"), &format!("--against {wrong} -c 1 -d 60s")).run();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(whole(&ended)["not_compared_because"], format!("B ({wrong}) answered nothing right"));
}

#[test]
fn server_that_is_not_there_ends_it_before_it_begins() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let gone = Server::start("ping=tcp://127.0.0.1:0").endpoint("ping", "tcp").to_owned();
    let ended = load(server.endpoint("ping", "tcp"), &format!("--against {gone} -d 60s")).run();
    fails(&ended, 3, &[&gone]);
}

#[test]
fn requirements_are_those_of_each_server() {
    let fine = Server::start("ping=tcp://127.0.0.1:0");
    // Every tenth answer is missing.
    let faulty =
        peers::tcp(|_| |number, line: &str| Some(if number % 10 == 0 { "x\n".into() } else { pong_line(line) }));
    let options = format!("--against tcp://{faulty} -c 1 -r 100 -d 1s --require sent>0 --require late=0");
    let ended = load(fine.endpoint("ping", "tcp"), &options).run();
    let whole = whole(&ended);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let met = |name: &str| -> Vec<bool> {
        let requirements = whole["servers"][name]["requirements"].as_array().unwrap();
        requirements.iter().map(|one| one["met"] == true).collect()
    };
    assert_eq!((met("A"), met("B")), (vec![true, true], vec![true, true]));
    warns(&whole, "requests failed");
    let ended = load(fine.endpoint("ping", "tcp"), &format!("{options} --require errors=0")).run();
    assert!(ended.stderr.contains("B: errors=0 is not met"), "{ended:?}");
}

#[test]
fn connections_of_all_servers_need_descriptors() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let own = server.endpoint("ping", "tcp");
    let limited = |options: &str| Launch::shell("ulimit -n 100; exec \"$0\" \"$@\"", options).run();
    fails(
        &limited(&format!("bench {own} -c 50 --against {own} -d 10ms")),
        6,
        &["need 116 descriptors", "there are 100"],
    );
}

#[test]
fn options_that_do_not_go_together_with_it_are_usage_errors() {
    for (options, word) in [
        ("-r 10,20", "one --rate"),
        ("-r 10..20", "one --rate"),
        ("-n 50", "--requests"),
        ("--hdr x", "--hdr"),
        ("--idle 3 --heartbeat 1s", "--heartbeat"),
        ("--find p99<5ms", "--find"),
        ("--against ::1:7", "brackets"),
    ] {
        let ended = Launch::new(&format!("bench localhost --against localhost {options}")).run();
        fails(&ended, 2, &[word]);
    }
}

#[test]
fn results_of_several_servers_are_neither_added_up_nor_compared() {
    let folder = Folder::new();
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let own = server.endpoint("ping", "tcp");
    let file = folder.file("a.json");
    let ended = load(own, &format!("--against {own} -c 1 -d 80ms")).run();
    fs::write(&file, &ended.stdout).unwrap();
    let names: HashSet<String> = whole(&ended)["servers"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, HashSet::from(["A".to_owned(), "B".to_owned()]));
    let file = file.display();
    for command in [format!("merge {file}"), format!("compare {file} --to {file}")] {
        fails(&Launch::new(&format!("bench {command}")).run(), 2, &["--against"]);
    }
}
