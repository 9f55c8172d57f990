//! One more connection whose messages are stamped by the kernel (`--probe`): where a delay was made is where it is told.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::super::support::{Folder, Launch, Server, pass};
use super::peers::{self, pong_line};
use super::{Figures, bench, fails, load};

/// How long somebody is slow in these tests.
const DELAY: Duration = Duration::from_millis(100);

impl Figures {
    /// Milliseconds of all messages of the probe: lag, sending, network and server, reading, and those of unstamped ones
    /// from sent to read.
    fn parts(&self) -> [f64; 5] {
        let rows = self.whole["histograms"]["probe"]["rows"].as_array().expect("rows");
        std::array::from_fn(|part| rows.iter().filter_map(|row| row[2][part].as_f64()).sum::<f64>() / 1e6)
    }

    #[track_caller]
    fn assert_probed(&self, due: u64) {
        let outcomes = ["answered", "late", "wrong", "lost", "broken", "unfinished", "unsent"];
        let outcomes: Vec<u64> = outcomes.iter().map(|name| self.count(&format!("probe_{name}"))).collect();
        assert_eq!((self.count("probe_due"), outcomes.iter().sum()), (due, due), "{outcomes:?}");
        assert_eq!((self.code, outcomes[0]), (Some(0), due), "{outcomes:?} {}", self.whole["warnings"]);
    }
}

#[test]
fn a_delay_made_in_the_server_is_told_as_network_and_server() {
    // The second connection is the probe's.
    let address = peers::tcp(|connection| {
        move |_, line| {
            if connection == 2 {
                pass(DELAY);
            }
            Some(pong_line(line))
        }
    });
    let figures = bench(&format!("tcp://{address}"), "-c 1 -r 10 -d 1s --probe 5 --warmup 500ms");
    figures.assert_probed(5);
    let [lag, sending, away, reading, unstamped] = figures.parts();
    assert_eq!(unstamped, 0.0, "{}", figures.whole);
    assert!(away >= 5.0 * DELAY.as_millis() as f64, "{away}");
    assert!(away > 2.0 * (lag + sending + reading), "{lag} {sending} {away} {reading}");
    assert_eq!(figures.count("connections_held"), 2);
}

#[test]
fn a_stop_of_the_load_is_told_as_read_late_and_sent_late() {
    let (asks, asked) = channel();
    let (goes_on, may_go_on) = channel::<()>();
    let may_go_on = Arc::new(Mutex::new(may_go_on));
    let address = peers::tcp(move |connection| {
        let (asks, may_go_on) = (asks.clone(), may_go_on.clone());
        move |number, line| {
            if (connection, number) == (2, 3) {
                asks.send(()).expect("the test waits");
                may_go_on.lock().expect("only this").recv().expect("the test goes on");
            }
            Some(pong_line(line))
        }
    });
    let loading = load(&format!("tcp://{address}"), "-c 1 -r 10 -d 2s --probe 10 --warmup 500ms").spawn();
    asked.recv().expect("the probe asks");
    loading.freeze();
    goes_on.send(()).expect("the server waits");
    // The answer comes to a load that does not run.
    pass(5 * DELAY);
    loading.thaw();
    let mut loading = loading;
    let figures = Figures::of(&loading.ends());
    figures.assert_probed(20);
    let [lag, sending, away, reading, unstamped] = figures.parts();
    assert_eq!(unstamped, 0.0);
    // The one under way waited to be read, and those that were due meanwhile to be sent.
    let stopped = 5.0 * DELAY.as_millis() as f64;
    assert!(figures.figure("probe_reading_max_us") >= stopped * 0.99e3, "{reading}");
    assert!(figures.figure("probe_lag_max_us") >= stopped * 0.5e3, "{lag}");
    assert!(lag + reading > 2.0 * (sending + away), "{lag} {sending} {away} {reading}");
}

#[test]
fn datagrams_are_stamped_and_unix_sockets_say_that_they_are_not() {
    let folder = Folder::new();
    let path = folder.file("socket");
    let paths = (path.display(), folder.file("datagrams"));
    let server =
        Server::start(&format!("ping=127.0.0.1:0 ping=unix://{} ping=unixgram://{}", paths.0, paths.1.display()));
    let options = "-c 2 -r 100 -d 500ms --probe 20 --warmup 500ms";
    let figures = bench(server.endpoint("ping", "udp"), options);
    figures.assert_probed(10);
    assert_eq!((figures.count("probe_unstamped"), figures.parts()[4]), (0, 0.0));
    for scheme in ["unix", "unixgram"] {
        let figures = bench(server.endpoint("ping", scheme), options);
        figures.assert_probed(10);
        assert_eq!(figures.whole["histograms"]["probe"]["stamped"], false);
        assert_eq!(figures.count("probe_unstamped"), 10);
        assert!(figures.is_null("probe_away_p50_us") && figures.figure("probe_service_p50_us") > 0.0, "{scheme}");
    }
}

#[test]
fn the_probe_is_in_each_step_and_can_be_required() {
    let server = Server::start("ping=127.0.0.1:0");
    let at = server.endpoint("ping", "tcp");
    let ended = load(at, "-c 2 -r 100,200 -d 300ms --probe 100 --require probe_p50<1h --require probe_lost=0").run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let whole: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let due: Vec<_> =
        whole["steps"].as_array().expect("steps").iter().map(|step| &step["metrics"]["probe_due"]).collect();
    assert_eq!(due, [30, 30]);
    let ended = load(at, "-c 1 -n 100 --probe 100 --require probe_max<1us").run();
    assert!(matches!(ended.code, Some(7)), "{ended:?}");
    let unknown = Launch::new("bench localhost --require probe_p99<1ms").run();
    fails(&unknown, 2, &["--require probe_p99<1ms: there is such a figure only with --probe"]);
    fails(&Launch::new("bench localhost --probe 0").run(), 2, &["--probe", "50000, 50k or 0.5"]);
}

#[test]
fn a_probe_that_gets_no_answer_is_a_failure() {
    let address =
        peers::tcp(|connection| move |_, line| Some(if connection == 2 { String::new() } else { pong_line(line) }));
    let figures = bench(&format!("tcp://{address}"), "-c 1 -r 50 -d 200ms --timeout 100ms --probe 50");
    assert_eq!((figures.code, figures.count("probe_lost")), (Some(1), 10));
    assert_eq!(figures.count("connections_unserved"), 1);
    assert!(figures.warns("of the probe's 10 messages not all were answered in time: 10 lost"), "{}", figures.whole);
}
