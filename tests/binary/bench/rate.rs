//! The open loop: it keeps its schedule whatever the server does, and reports what a request's user would have waited.
//!
//! The touchstone is a stall: a server that answers nothing for a third of a second, once. A load that asks only after
//! the last answer has come hardly sees it; the users of a server do.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::support::{PATIENCE, Server, pass};
use super::peers::{self, pong_line};
use super::{Figures, bench, load};

const STALL: Duration = Duration::from_millis(300);

/// In microseconds: times above `LONG` show the stall, times below `SHORT` do not.
const LONG: f64 = 200e3;
const SHORT: f64 = 100e3;

/// A server that answers nothing for [`STALL`] when it has received request number `at`.
fn stalling_server(at: u64) -> SocketAddr {
    let served = Arc::new(Mutex::new(0));
    peers::tcp(move |_| {
        let served = served.clone();
        move |_, line| {
            let mut served = served.lock().expect("nobody panics with it");
            *served += 1;
            if *served == at {
                pass(STALL);
            }
            Some(pong_line(line))
        }
    })
}

#[test]
fn schedule_is_kept() {
    let server = Server::start("ping=127.0.0.1:0");
    for scheme in ["tcp", "udp"] {
        let figures = bench(server.endpoint("ping", scheme), "-c 5 -r 1k -d 300ms --warmup 50ms");
        assert_eq!((figures.code, &*figures.mishaps()), (Some(0), ""), "{scheme}");
        assert!((299..=301).contains(&figures.count("sent")), "{}", figures.facts());
        assert!(figures.whole["open_loop"] == true && figures.figure("asked_per_second") == 1000.0);
        for share in ["p50", "p90", "p99", "p999", "p9999", "max"] {
            let [service, response, lag] =
                ["service", "response", "lag"].map(|kind| figures.figure(&format!("{kind}_{share}_us")));
            assert!(service > 0.0 && lag > 0.0, "{scheme} {share}");
            assert!(response >= service * 0.999, "{response} counts from no later than {service}");
        }
    }
    let figures = bench(server.endpoint("ping", "tcp"), "-c 5 -r 1k -n 50");
    assert_eq!(figures.facts(), "sent=50 requests=50");
    // Also with fewer requests than connections.
    let figures = bench(server.endpoint("ping", "tcp"), "-c 5 -r 10 -d 250ms");
    assert_eq!(figures.facts(), "sent=3 requests=3");
}

#[test]
fn each_connection_is_asked_in_turn() {
    let (counted, counts) = channel();
    let address = peers::tcp(move |connection| {
        let counted = counted.clone();
        move |_, line| {
            counted.send(connection).expect("it is read");
            Some(pong_line(line))
        }
    });
    assert_eq!(bench(&format!("tcp://{address}"), "-c 5 -r 1k -n 50").facts(), "sent=50 requests=50");
    let mut asked = [0; 5];
    counts.try_iter().for_each(|connection| asked[connection as usize - 1] += 1);
    assert_eq!(asked, [10; 5]);
}

#[test]
fn what_waited_for_a_stall_is_in_the_response_times() {
    let address = stalling_server(100);
    let figures = bench(&format!("tcp://{address}"), "-c 4 -r 1000 -d 600ms");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=600 requests=600"));
    // Half of all requests were due during the stall; the slowest tenth waited for most of it.
    assert!(figures.figure("response_p90_us") >= LONG, "{:?}", figures.whole["metrics"]);
    assert!(figures.figure("response_max_us") >= 299e3, "{:?}", figures.whole["metrics"]);

    // The closed loop, which does not ask during the stall, must not be read like that: hence its label.
    let address = stalling_server(100);
    let figures = bench(&format!("tcp://{address}"), "-c 4 -d 600ms");
    assert_eq!(figures.mishaps(), "");
    assert!(figures.figure("service_p90_us") < SHORT, "{:?}", figures.whole["metrics"]);
    assert!(figures.figure("service_max_us") >= 299e3, "nothing is clamped: {:?}", figures.whole["metrics"]);
}

#[test]
fn what_could_not_be_sent_during_a_stall_counts_from_when_it_was_due() {
    // The only connection waits for the stalled answer; the requests due meanwhile are sent afterwards.
    let address = stalling_server(20);
    let figures = bench(&format!("tcp://{address}"), "--churn -c 1 -r 200 -d 600ms");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=120 requests=120"));
    assert!(figures.figure("response_p90_us") >= LONG, "{:?}", figures.whole["metrics"]);
    assert!(figures.figure("lag_p90_us") >= LONG, "{:?}", figures.whole["metrics"]);
    assert!(figures.figure("service_p90_us") < SHORT, "{:?}", figures.whole["metrics"]);
    assert!(figures.warns("the schedule was not kept"));
}

#[test]
fn what_a_stopped_load_generator_sent_late_counts_from_when_it_was_due() {
    let (tell, told) = channel();
    let address = peers::tcp(move |_| {
        let tell = tell.clone();
        move |number, line| {
            if number == 50 {
                tell.send(()).expect("it is waited for");
            }
            Some(pong_line(line))
        }
    });
    let mut loading = load(&format!("tcp://{address}"), "-c 1 -r 1000 -d 600ms").spawn();
    told.recv_timeout(PATIENCE).expect("it has begun");
    loading.freeze();
    pass(STALL);
    loading.thaw();
    let figures = Figures::of(&loading.ends());
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=600 requests=600"));
    assert!(figures.figure("response_p90_us") >= LONG, "{:?}", figures.whole["metrics"]);
    assert!(figures.figure("lag_p90_us") >= LONG, "{:?}", figures.whole["metrics"]);
    assert!(figures.figure("lag_max_us") >= 299e3, "{:?}", figures.whole["metrics"]);
    assert!(figures.figure("service_p50_us") < SHORT, "{:?}", figures.whole["metrics"]);
    assert!(figures.warns("the schedule was not kept"));
}

#[test]
fn what_could_never_be_sent_is_told() {
    // A server that reads nothing. 4 MiB may be under way to it: 64 messages.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let figures = bench(&endpoint, "-c 1 -r 1000 -d 300ms -s 64KiB --timeout 200ms");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=64 lost=64 unsent=236 connections_unserved=1"));
    assert!(figures.warns("never sent") && figures.warns("asked for 1000 requests a second, sent"));
    assert!(figures.warns("never answered"));
}
