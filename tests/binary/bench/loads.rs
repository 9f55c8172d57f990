//! Every kind of load against servers that behave: the counts are those of the server.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::foreign::redis;
use super::super::support::{Folder, Server};
use super::{Figures, bench, load, peers};

const PING: &str = "ping=127.0.0.1:0";

#[test]
fn every_kind_of_endpoint_is_loaded() {
    let folder = Folder::new();
    let (stream, gram) = (folder.file("s").display().to_string(), folder.file("g").display().to_string());
    let server = Server::start(&format!("{PING} ping=unix://{stream} ping=unixgram://{gram}"));
    for scheme in ["tcp", "udp", "unix", "unixgram"] {
        let figures = bench(server.endpoint("ping", scheme), "-c 3 -n 60");
        assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=60 requests=60"), "{scheme}");
        assert_eq!(figures.not_zero(&["connections_requested", "connections_opened", "idle_held"]), OPENED, "{scheme}");
        assert_eq!(figures.whole["settings"]["effective"]["connections"], 3);
    }
    const OPENED: &str = "connections_requested=3 connections_opened=3";
    let stats = server.stats();
    assert_eq!((stats["accepted"], stats["datagrams_in"]), (6, 2 * 61), "datagrams first look whether anyone is there");
}

#[test]
fn closed_loop_is_labelled_and_has_no_response_times() {
    let server = Server::start(PING);
    let figures = bench(server.endpoint("ping", "tcp"), "-c 2 -d 200ms --warmup 50ms");
    assert_eq!((figures.code, &*figures.mishaps()), (Some(0), ""));
    assert!(figures.count("requests") > 0 && figures.whole["open_loop"] == false);
    assert!((figures.figure("seconds") - 0.2).abs() < 1e-6, "{}", figures.figure("seconds"));
    for share in ["p50", "p90", "p99", "p999", "p9999", "max"] {
        assert!(figures.figure(&format!("service_{share}_us")) > 0.0);
        assert!(figures.is_null(&format!("response_{share}_us")) && figures.is_null(&format!("lag_{share}_us")));
    }
    assert!(figures.whole["histograms"]["response"].is_null());
    assert!(figures.whole["title"].as_str().unwrap().contains("closed loop"));
    assert_eq!(figures.whole["schema"], 2);
    assert_eq!(figures.whole["settings"]["requested"][1], server.endpoint("ping", "tcp"));
    assert!(figures.whole["machine"].is_object());
}

#[test]
fn warmup_is_not_counted_and_the_number_of_requests_is_exact() {
    let server = Server::start(PING);
    let figures = bench(server.endpoint("ping", "tcp"), "-c 3 -n 100 --warmup 100ms");
    assert_eq!(figures.facts(), "sent=100 requests=100");
    assert!(server.stats()["messages"] > 100);
    // Without a warm-up the server sees exactly `-n` requests, also where connections cannot share them evenly.
    let before = server.stats()["messages"];
    assert_eq!(bench(server.endpoint("ping", "tcp"), "-c 7 -p 4 -n 101").facts(), "sent=101 requests=101");
    assert_eq!(bench(server.endpoint("ping", "tcp"), "-c 7 -n 3").facts(), "sent=3 requests=3");
    assert_eq!(server.stats()["messages"] - before, 104);
}

#[test]
fn datagrams_of_a_pipeline_leave_in_runs_unless_told_otherwise_and_the_result_says_which() {
    let server = Server::start(PING);
    for (scheme, options, segmented) in [
        ("udp", "-c 3 -p 8 -n 1k", Value::Bool(true)),
        ("udp", "-c 3 -p 8 -n 1k --no-segment", Value::Bool(false)),
        ("udp", "-c 3 -n 100", Value::Null),
        ("tcp", "-c 3 -p 8 -n 1k", Value::Null),
    ] {
        let figures = bench(server.endpoint("ping", scheme), options);
        assert_eq!((figures.code, figures.count("requests")), (Some(0), figures.count("sent")), "{options}");
        assert_eq!(figures.whole["settings"]["effective"]["udp_segment"], segmented, "{scheme} {options}");
        let title = figures.whole["title"].as_str().unwrap();
        assert_eq!(title.contains("in runs (UDP_SEGMENT)"), segmented == true, "{title}");
    }
}

#[test]
fn a_pipeline_is_kept_full() {
    // The server answers 16 questions at once, never fewer.
    let address = peers::tcp(|_| {
        let mut waiting = String::new();
        move |number, line| {
            waiting += &peers::pong_line(line);
            Some(if number % 16 == 0 { std::mem::take(&mut waiting) } else { String::new() })
        }
    });
    let figures = bench(&format!("tcp://{address}"), "-c 2 -p 16 -n 320 --timeout 2s");
    assert_eq!(figures.facts(), "sent=320 requests=320");
}

#[test]
fn echoes_are_the_same_bytes() {
    let folder = Folder::new();
    let gram = folder.file("g").display().to_string();
    let server = Server::start(&format!("{PING} echo=127.0.0.1:0 echo=unixgram://{gram}"));
    for (scheme, sizes) in [("tcp", [1, 1_000, 1 << 20]), ("udp", [1, 1_000, 65_507]), ("unixgram", [1, 1_000, 60_000])]
    {
        for size in sizes {
            let figures = bench(server.endpoint("echo", scheme), &format!("--echo -s {size} -c 2 -n 10"));
            assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=10 requests=10"), "{scheme} {size}");
        }
    }
    // Pongs are wrong for --echo, and echoes are wrong without it.
    for (service, options) in [("echo", ""), ("ping", "--echo")] {
        for scheme in ["tcp", "udp"] {
            let figures = bench(server.endpoint(service, scheme), &format!("{options} -c 2 -n 10"));
            assert_eq!((figures.code, &*figures.facts()), (Some(5), "sent=10 wrong=10"), "{service} {scheme}");
            assert!(figures.warns("wrong bytes"));
            assert!(figures.is_null("service_p50_us"), "nothing was measured");
        }
    }
}

#[test]
fn messages_need_no_line_end() {
    let server = Server::start("ping=127.0.0.1:0 echo=127.0.0.1:0");
    let figures = bench(server.endpoint("ping", "tcp"), "--framing raw -c 2 -n 20");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=20 requests=20"));
    let figures = bench(server.endpoint("echo", "tcp"), "--framing raw --echo -s 100000 -p 3 -c 2 -n 20");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=20 requests=20"));
}

#[test]
fn fixed_texts_drive_other_servers() {
    let server = Server::start(PING);
    let endpoint = server.endpoint("ping", "tcp");
    let figures = bench(endpoint, r"--send anything\n --expect pong\n -c 2 -p 3 -n 20");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=20 requests=20"));
    let figures = bench(endpoint, r"--send anything\n --expect ping\n -c 2 -p 3 -n 20");
    assert_eq!((figures.code, &*figures.facts()), (Some(5), "sent=20 wrong=20"));
    // The answer has another length than was expected, so that its line end has to be found.
    let figures = bench(endpoint, r"--send anything\n --expect +PONG\r\n -c 2 -p 3 -n 20");
    assert_eq!((figures.code, &*figures.facts()), (Some(5), "sent=20 wrong=20"));
}

#[test]
fn redis_is_loaded() {
    let folder = Folder::new();
    let Some((_redis, endpoints)) = redis(&folder) else { return };
    for endpoint in &endpoints {
        let figures = bench(endpoint, r"--send PING\r\n --expect +PONG\r\n -c 5 -p 4 -n 1k");
        assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=1000 requests=1000"));
        let figures = bench(endpoint, r"--send PING\r\n --expect +PANG\r\n -c 5 -p 4 -n 100");
        assert_eq!((figures.code, &*figures.facts()), (Some(5), "sent=100 wrong=100"));
    }
}

#[test]
fn idle_connections_are_held_to_the_end() {
    let server = Server::start(PING);
    let mut loading = load(server.endpoint("ping", "tcp"), "-c 2 --idle 7 -d 1m").spawn();
    server.stats_once("all are there, and some ask", |stats| stats["open"] == 9 && stats["messages"] > 0);
    loading.signal(Signal::SIGINT);
    let figures = Figures::of(&loading.ends());
    assert_eq!(figures.not_zero(&["connections_opened", "idle_held"]), "connections_opened=9 idle_held=7");
    assert_eq!(figures.not_zero(&["connections_lost", "connections_failed"]), "");
    let figures = bench(server.endpoint("ping", "tcp"), "-c 2 --idle 7 -n 20");
    assert_eq!(figures.not_zero(&["connections_opened", "idle_held"]), "connections_opened=9 idle_held=7");
    assert_eq!(figures.facts(), "sent=20 requests=20");
    assert_eq!(server.stats()["accepted"], 18);
}

#[test]
fn churn_makes_a_connection_for_each_request() {
    for options in ["-c 4 -n 50", "-c 4 -n 50 -r 1000"] {
        let mut server = Server::start(PING);
        let figures = bench(server.endpoint("ping", "tcp"), &format!("--churn {options}"));
        assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=50 requests=50"), "{options}");
        let stats = server.stop();
        // One connection more looked whether a server is there.
        assert_eq!((stats["accepted"], stats["messages"]), (51, 50), "{options}");
    }
}

#[test]
fn churn_closes_what_it_has_used() {
    let server = Server::start(PING);
    let mut loading = load(server.endpoint("ping", "tcp"), "--churn -c 2 -d 1m").spawn();
    let stats = server.stats_once("it has visited often", |stats| stats["messages"] > 200);
    assert!(stats["open"] < 20, "{stats:?}");
    loading.signal(Signal::SIGINT);
    assert_eq!(loading.exit_code(), Some(0));
}

#[test]
fn churn_holds_idle_connections_beside() {
    let server = Server::start(PING);
    let figures = bench(server.endpoint("ping", "tcp"), "--churn -c 2 --idle 5 -n 20");
    assert_eq!(figures.facts(), "sent=20 requests=20");
    let connections = figures.not_zero(&["connections_requested", "connections_opened", "idle_held"]);
    assert_eq!(connections, "connections_requested=5 connections_opened=5 idle_held=5");
}

#[test]
fn sources_take_turns() {
    let mut server = Server::start(&format!("{PING} -v"));
    let figures = bench(server.endpoint("ping", "tcp"), "-c 5 --idle 4 --source 127.0.0.2-127.0.0.4 -n 9");
    assert_eq!(figures.facts(), "sent=9 requests=9");
    server.stop();
    let log = server.stderr_all();
    for (source, times) in [("127.0.0.2", 3), ("127.0.0.3", 3), ("127.0.0.4", 3), ("127.0.0.1", 0)] {
        let from = |line: &&String| line.contains(&format!(" {source}:")) && line.ends_with(" connected");
        assert_eq!(log.iter().filter(from).count(), times, "{source}: {log:#?}");
    }
}

#[test]
fn datagrams_come_from_sources_too() {
    let mut server = Server::start(&format!("{PING} -vv"));
    let figures = bench(server.endpoint("ping", "udp"), "-c 3 -p 2 -n 30 --source 127.0.0.2-127.0.0.4");
    assert_eq!(figures.facts(), "sent=30 requests=30");
    server.stop();
    let log = server.stderr_all();
    for (source, is_one) in [("127.0.0.2", true), ("127.0.0.3", true), ("127.0.0.4", true), ("127.0.0.1", false)] {
        let text = format!("ping: {source}:");
        assert_eq!(log.iter().any(|line| line.contains(&text)), is_one, "{source}: {log:#?}");
    }
}

#[test]
fn connections_are_made_no_faster_than_asked() {
    let server = Server::start(PING);
    let figures = bench(server.endpoint("ping", "tcp"), "-c 16 --connect-rate 100 -n 16");
    assert_eq!(figures.facts(), "sent=16 requests=16");
    assert!(figures.figure("connect_seconds") >= 0.13, "{}", figures.figure("connect_seconds"));
}
