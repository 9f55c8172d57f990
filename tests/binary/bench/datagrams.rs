//! UDP servers that misbehave, and datagrams that the load's own kernel drops.

use std::net::UdpSocket;

use nix::sys::signal::Signal;
use serde_json::json;

use super::super::support::{Folder, Namespace, PATIENCE, Server};
use super::peers::{self, pong};
use super::{Figures, bench, load, words};

/// Loads a server that answers each datagram with `reply(number, text)`. The first one does not count.
#[track_caller]
fn facts(options: &str, reply: impl FnMut(u64, &str) -> Vec<String> + Send + 'static) -> (Option<i32>, String) {
    let mut reply = reply;
    let address = peers::udp(move |number, text| Some(reply(number, text)));
    let figures = bench(&format!("udp://{address}"), options);
    (figures.code, figures.facts())
}

fn told(code: i32, facts: &str) -> (Option<i32>, String) {
    (Some(code), facts.to_owned())
}

#[test]
fn dropped_ones_are_lost() {
    let reply = |number, text: &str| if number % 9 == 0 { vec![] } else { vec![pong(text)] };
    assert_eq!(facts("-c 1 -n 20 --timeout 150ms", reply), told(0, "sent=20 requests=18 lost=2"));
    assert_eq!(facts("-c 1 -p 4 -n 20 --timeout 150ms", reply), told(0, "sent=20 requests=18 lost=2"));
    assert_eq!(facts("-c 1 -r 500 -n 20 --timeout 150ms", reply), told(0, "sent=20 requests=18 lost=2"));
}

#[test]
fn duplicates_are_told() {
    let found = facts("-c 1 -n 20", |number, text| vec![pong(text); if number % 5 == 0 { 3 } else { 1 }]);
    assert_eq!(found, told(0, "sent=20 requests=20 duplicate=8"));
}

#[test]
fn overtaken_ones_are_told() {
    let mut held = String::new();
    // From the second on they are swapped in pairs.
    let found = facts("-c 1 -p 2 -n 20", move |number, text| match number {
        1 => vec![pong(text)],
        _ if number % 2 == 0 => {
            held = pong(text);
            vec![]
        }
        _ => vec![pong(text), held.clone()],
    });
    assert_eq!(found, told(0, "sent=20 requests=20 reordered=10"));
}

#[test]
fn late_ones_are_told_from_lost_ones() {
    let mut held = None;
    let found = facts("-c 1 -n 12 --timeout 150ms", move |number, text| match number {
        4 => {
            held = Some(pong(text));
            vec![]
        }
        7 => vec![],
        // Answers in the other order than their questions: the late one is overtaken as well.
        _ => [Some(pong(text)), held.take()].into_iter().flatten().collect(),
    });
    assert_eq!(found, told(0, "sent=12 requests=10 late=1 lost=1 reordered=1"));
}

#[test]
fn wrong_bytes_are_told_and_exit_with_5() {
    let found = facts("-c 1 -n 20", |number, text| match number {
        5 => vec![pong(text).replace('c', "C")],
        8 => vec![text.to_owned()],
        11 => vec![pong(text) + "x"],
        14 => vec![pong(text)[..40].to_owned()],
        _ => vec![pong(text)],
    });
    assert_eq!(found, told(5, "sent=20 requests=16 wrong=4"));
}

#[test]
fn what_nobody_asked_is_no_answer() {
    let found = facts("-c 1 -n 20 --timeout 150ms", |number, text| match number {
        // An earlier answer a second time, and none to this question.
        5 => vec![pong(text).replace("000005", "000003")],
        _ => vec![pong(text)],
    });
    assert_eq!(found, told(0, "sent=20 requests=19 lost=1 duplicate=1"));
}

#[test]
fn server_that_leaves_refuses() {
    for (answers, code) in [(6, 1), (1, 3)] {
        let address = peers::udp(move |number, text| (number <= answers).then(|| vec![pong(text)]));
        let figures = bench(&format!("udp://{address}"), "-c 1 -d 400ms --timeout 150ms");
        assert_eq!((figures.code, figures.count("requests")), (Some(code), answers - 1), "{}", figures.facts());
        // The question that the server received before it left is lost.
        let refused = figures.count("refused");
        // One answer is the scout's, which is asked before the measured time: in that such a socket gets none.
        let stalled = if answers == 1 { " connections_stalled=1" } else { "" };
        assert_eq!(figures.mishaps(), format!("lost=1 refused={refused}{stalled}"));
        assert!((1..400).contains(&refused), "nobody is there: that is not asked at full speed: {refused}");
    }
}

#[test]
fn what_the_kernel_refuses_has_its_reason() {
    let Some((here, there)) = Namespace::pair() else { return };
    let server = here.serve("ping=udp://10.77.0.1:0");
    let endpoint = format!("udp://{}", server.udp("ping"));
    let mut loading = there.launch(&words(&endpoint, "-c 2 -r 100 -n 200 --timeout 100ms")).spawn();
    server.stats_once("it is loaded", |stats| stats["datagrams_in"] > 20);
    there.ip("route add prohibit 10.77.0.1/32");
    let figures = Figures::of(&loading.ends());
    let refused = figures.count("refused");
    assert!(refused > 0, "{}", figures.facts());
    assert_eq!(figures.whole["refused_reasons"], json!({ "permission denied": refused }));
    assert!(figures.warns(&format!("{refused} requests were refused: permission denied: {refused}")));
}

#[test]
fn server_that_leaves_its_path_refuses_and_cuts_its_clients_off() {
    let folder = Folder::new();
    let endpoint = format!("unixgram://{}", folder.file("ping.sock").display());
    let server = Server::start(&format!("ping={endpoint}"));
    let mut loading = load(&endpoint, "-c 2 -r 100 -n 200 --timeout 100ms").spawn();
    server.stats_once("it is loaded", |stats| stats["datagrams_in"] > 20);
    server.signal(Signal::SIGKILL);
    let figures = Figures::of(&loading.ends());
    // The first refusal cuts a socket off; nothing connects it again.
    let reasons = figures.whole["refused_reasons"].as_object().expect("reasons");
    assert_eq!(reasons.keys().collect::<Vec<_>>(), ["connection refused", "transport endpoint is not connected"]);
    assert!(figures.warns(&format!("{} requests were refused: connection refused: ", figures.count("refused"))));
}

#[test]
fn silence_is_loss() {
    let reply = |_, _: &str| vec![];
    assert_eq!(facts("-c 3 -n 6 --timeout 150ms", reply), told(1, "sent=6 lost=6 connections_unserved=3"));
    assert_eq!(facts("-c 3 -r 200 -n 20 --timeout 150ms", reply), told(1, "sent=20 lost=20 connections_unserved=3"));
}

#[test]
fn loss_of_the_first_one_of_all_stops_nobody() {
    // The first datagram of all only looks whether a server is there; its connection asks like the others.
    let reply = |number, text: &str| if number == 1 { vec![] } else { vec![pong(text)] };
    for options in ["-c 1 -n 10 --timeout 1m", "-c 2 -n 10 --timeout 1m", "-c 1 -r 100 -n 10 --timeout 1m"] {
        assert_eq!(facts(options, reply), told(0, "sent=10 requests=10"), "{options}");
    }
}

#[test]
fn our_kernels_drops_are_told() {
    const FLOOD: u64 = 1_000;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let endpoint = format!("udp://{}", socket.local_addr().unwrap());
    let mut loading = load(&endpoint, "-c 1 -n 20").spawn();
    let mut buffer = [0; 2048];
    // 20 that count, and the one that looks whether a server is there.
    for number in 1..=21 {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let answer = pong(&String::from_utf8_lossy(&buffer[..length]));
        socket.send_to(answer.as_bytes(), from).unwrap();
        if number == 10 {
            // The same answer again and again, far more than a buffer holds.
            loading.freeze();
            let again = format!("{answer}{}", "x".repeat(50_000));
            (0..FLOOD).for_each(|_| assert!(socket.send_to(again.as_bytes(), from).is_ok()));
            loading.thaw();
        }
    }
    let figures = Figures::of(&loading.ends());
    assert_eq!((figures.code, figures.count("requests")), (Some(0), 20), "{}", figures.facts());
    // Each superfluous answer was dropped by the kernel or counted as a duplicate.
    let [drops, duplicates] = ["kernel_drops", "duplicate"].map(|name| figures.count(name));
    assert!(drops > 0 && drops + duplicates == FLOOD, "{}", figures.facts());
    assert!(figures.warns("rmem_max"));
}

#[test]
fn loss_to_a_far_servers_budget_is_explained() {
    let Some((here, there)) = Namespace::pair() else { return };
    let server = here.serve("ping=udp://10.77.0.1:0 echo=udp://10.77.0.1:0 --udp-budget 5/s");
    let far = |service: &str, options: &str| {
        let words =
            words(&format!("udp://{}", server.udp(service)), &format!("-c 4 -r 1k -d 200ms --timeout 100ms {options}"));
        Figures::of(&there.launch(&words).run())
    };
    let echoes = far("echo", "--echo");
    assert!(echoes.count("lost") > 150 && echoes.warns("--udp-budget"), "{}", echoes.facts());
    let pings = far("ping", "");
    assert_eq!((&*pings.mishaps(), pings.warns("--udp-budget")), ("", false));
}
