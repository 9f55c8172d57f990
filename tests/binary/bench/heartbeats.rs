//! `--heartbeat`: idle connections that are there and not served are told from those that are held.

use std::fs;

use super::super::support::{Folder, Launch, Server};
use super::{Figures, bench, fails, load, peers};

/// The counts of heartbeats that are not 0.
fn heartbeats(figures: &Figures) -> String {
    const FACTS: [&str; 10] = [
        "heartbeats",
        "heartbeats_answered",
        "heartbeats_late",
        "heartbeats_wrong",
        "heartbeats_lost",
        "heartbeats_broken",
        "heartbeats_unfinished",
        "heartbeats_unsent",
        "idle_held",
        "idle_silent",
    ];
    figures.not_zero(&FACTS)
}

#[test]
fn idle_connections_of_every_kind_ask_and_are_answered() {
    let folder = Folder::new();
    let (stream, gram) = (folder.file("s").display().to_string(), folder.file("g").display().to_string());
    let mut server = Server::start(&format!("ping=127.0.0.1:0 ping=unix://{stream} ping=unixgram://{gram}"));
    for scheme in ["tcp", "udp", "unix", "unixgram"] {
        let figures = bench(server.endpoint("ping", scheme), "-c 1 -r 10 --idle 5 --heartbeat 100ms -d 300ms");
        assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=3 requests=3"), "{scheme}");
        assert_eq!(heartbeats(&figures), "heartbeats=15 heartbeats_answered=15 idle_held=5", "{scheme}");
        assert_eq!(figures.whole["settings"]["effective"]["heartbeat_seconds"], 0.1);
    }
    // Each datagram load looks first whether a server is there.
    assert_eq!(server.stop()["messages"], 4 * 18 + 2);
}

#[test]
fn connections_that_a_server_at_its_limit_does_not_serve_are_not_held() {
    let server = Server::start("ping=127.0.0.1:0 --max-connections 3");
    let endpoint = server.endpoint("ping", "tcp");
    let figures = bench(endpoint, "-c 1 -r 10 --idle 4 -d 200ms");
    assert_eq!((figures.code, figures.count("idle_held")), (Some(0), 4), "nobody has asked");
    assert!(figures.is_null("heartbeats") && figures.is_null("idle_silent"), "nobody was to");
    let figures = bench(endpoint, "-c 1 -r 10 --idle 4 --heartbeat 100ms -d 100ms --timeout 200ms");
    assert_eq!(figures.code, Some(1));
    let expected = "heartbeats=4 heartbeats_answered=2 heartbeats_lost=2 idle_held=2 idle_silent=2";
    assert_eq!(heartbeats(&figures), expected);
    assert!(figures.warns("2 idle connections stayed open, but did not answer"), "{:?}", figures.whole["warnings"]);
    let figures = bench(endpoint, "-c 1 -r 10 --idle 4 --heartbeat 100ms -d 100ms --timeout 200ms --allow-failures");
    assert_eq!(figures.code, Some(0));
}

#[test]
fn wrong_answer_to_a_heartbeat_is_5() {
    let address = peers::tcp(|connection| {
        move |_, line| Some(if connection == 1 { peers::pong_line(line) } else { format!("{line}\n") })
    });
    let figures = bench(&format!("tcp://{address}"), "-c 1 -r 10 --idle 2 --heartbeat 100ms -d 100ms");
    assert_eq!((figures.code, &*figures.facts()), (Some(5), "sent=1 requests=1"));
    assert_eq!(heartbeats(&figures), "heartbeats=2 heartbeats_wrong=2 idle_silent=2");
    assert!(figures.warns("the first wrong answer was \"ping "), "{:?}", figures.whole["warnings"]);
}

#[test]
fn run_shorter_than_the_interval_says_that_not_all_were_asked() {
    let server = Server::start("ping=127.0.0.1:0");
    let figures = bench(server.endpoint("ping", "tcp"), "-c 1 -r 10 --idle 4 --heartbeat 800ms -d 300ms");
    assert_eq!(heartbeats(&figures), "heartbeats=2 heartbeats_answered=2 idle_held=4");
    assert!(figures.code == Some(0) && figures.warns("not every idle connection was asked"));
}

#[test]
fn heartbeats_are_shown_and_added_up() {
    let server = Server::start("ping=127.0.0.1:0");
    let endpoint = server.endpoint("ping", "tcp");
    let options = "-c 1 -r 10 --idle 4 --heartbeat 100ms -d 200ms";
    let shown = Launch::new(&format!("bench {endpoint} --warmup 0s {options}")).run().stdout;
    for text in [
        "1 connection beside 4 idle with a heartbeat every 100ms",
        "heartbeats   8 due: 8 answered, 0 late, 0 wrong, 0 lost, 0 broken, 0 unfinished, 0 unsent; 0 idle ones silent",
        " heartbeats=8 heartbeats_answered=8 idle_held=4 idle_silent=0 ",
    ] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    let folder = Folder::new();
    let files = ["a.json", "b.json"].map(|name| folder.file(name));
    for file in &files {
        fs::write(file, load(endpoint, options).run().stdout).unwrap();
    }
    let merge = format!("bench merge {} {} --json --force", files[0].display(), files[1].display());
    let sum = Figures::of(&Launch::new(&merge).run());
    assert_eq!(heartbeats(&sum), "heartbeats=16 heartbeats_answered=16 idle_held=8");
    // Results of a time before there were heartbeats have no counts of them.
    let mut old: serde_json::Value = serde_json::from_str(&fs::read_to_string(&files[0]).unwrap()).unwrap();
    let metrics = old["metrics"].as_object_mut().unwrap();
    metrics.retain(|name, _| !name.starts_with("heartbeats") && name != "idle_silent");
    old.as_object_mut().unwrap().remove("heartbeats");
    fs::write(&files[0], old.to_string()).unwrap();
    let sum = Figures::of(&Launch::new(&format!("bench merge {} --json", files[0].display())).run());
    assert!(sum.is_null("heartbeats") && sum.count("requests") == 2);
}

#[test]
fn heartbeat_needs_idle_connections() {
    fails(&Launch::new("bench localhost --heartbeat 1s").run(), 2, &["--heartbeat", "--idle"]);
    fails(&Launch::new("bench localhost --idle 5 --heartbeat 0s").run(), 2, &["--heartbeat", "longer"]);
}
