//! What TCP did beneath a load, as the kernel tells it of its connections.

use std::fs;

use super::super::support::{Folder, Launch, Server, eventually};
use super::{bench, words};

#[test]
fn segments_sent_again_and_round_trips_are_told_of_tcp_alone() {
    let folder = Folder::new();
    let stream = folder.file("s").display().to_string();
    let server = Server::start(&format!("ping=127.0.0.1:0 ping=unix://{stream}"));
    let figures = bench(server.endpoint("ping", "tcp"), "-c 3 --idle 2 -n 60");
    assert_eq!((figures.code, figures.figure("tcp_retransmits")), (Some(0), 0.0));
    let [shortest, median] = ["tcp_rtt_min_us", "tcp_rtt_p50_us"].map(|name| figures.figure(name));
    assert!(shortest > 0.0 && median >= shortest, "{shortest} {median}");
    let connections: u64 =
        figures.whole["histograms"]["tcp_rtt"].as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap()).sum();
    assert_eq!(connections, 3, "idle ones have no round trips worth telling");
    for scheme in ["udp", "unix"] {
        let figures = bench(server.endpoint("ping", scheme), "-c 3 -n 60");
        assert!(figures.is_null("tcp_retransmits") && figures.is_null("tcp_rtt_min_us"), "{scheme}");
    }
    let ended =
        Launch::new(&format!("bench {} -c 3 -n 60 --require tcp_retransmits=0", server.endpoint("ping", "tcp"))).run();
    assert!(ended.code == Some(0) && ended.stdout.contains("0 segments sent again; round trip"), "{ended:?}");
}

/// Whether a socket waits for the answer to its SYN, from this port's server (`/proc/net/tcp`, proc(5)).
fn has_syn_sent_to(port: u16) -> Option<()> {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_one = |line: &str| {
        let mut fields = line.split_whitespace().skip(2);
        let peer = fields.next().unwrap_or_default();
        peer.ends_with(&format!(":{port:04X}")) && fields.next() == Some("02")
    };
    sockets.lines().any(is_one).then_some(())
}

#[test]
fn connections_that_a_full_backlog_kept_waiting_have_sent_their_syn_again() {
    let server = Server::start("ping=127.0.0.1:0 --backlog 1");
    server.freeze();
    let loading = Launch::new(&words(server.endpoint("ping", "tcp"), "-c 6 -n 60")).spawn();
    eventually("a SYN without an answer", || has_syn_sent_to(server.tcp("ping").port()));
    server.thaw();
    let mut loading = loading;
    let figures = super::Figures::of(&loading.ends());
    assert_eq!((figures.code, figures.count("connections_opened")), (Some(0), 6));
    assert!(figures.figure("tcp_retransmits") >= 1.0, "{}", figures.whole["metrics"]);
    let warnings = figures.whole["warnings"].to_string();
    assert!(warnings.contains("acknowledged in time: as many of the slowest answers (from "), "{warnings}");
}
