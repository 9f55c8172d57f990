//! The load over the fake kernel with a virtual clock.
//!
//! - `figures`: every figure is known to the nanosecond
//! - `blocks`: which block of the measured time a request belongs to
//! - `endings`: how a run ends
//! - `arrivals`: connections, made or not
//! - `heartbeat`: idle connections that ask now and then
//! - `characters`: servers that die, stall, drop, refuse; the books balance
//! - `probing`: one more connection, whose messages are stamped
//! - `phases`: one after another; rates that change, requests at random
//! - `finding`: the search for a rate
//! - `requirements`: what meets them, and what does not
//! - `until`: ends when a percentile is known well enough
//! - `starting`: at a moment that is asked for; parts of a load
//! - `storm`: far sides that do what they like

mod arrivals;
mod blocks;
mod characters;
mod endings;
mod figures;
mod finding;
mod heartbeat;
mod phases;
mod probing;
mod requirements;
mod starting;
mod storm;
mod until;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use fake::server::Server;
use hdrhistogram::Histogram;
use pingpong::Address;
use pingpong::service::Framing;

use crate::bench::load::{Load, Stage};
use crate::bench::record::{Counts, Fact};
use crate::bench::{Arrivals, BenchOptions, Extent, Rate};
use crate::probe::Probe;

const MILLI: Duration = Duration::from_millis(1);

/// One connection, closed loop, 30-byte pings, one second, no warm-up, answers given up after 200 ms.
pub(super) fn options(set: impl FnOnce(&mut BenchOptions)) -> BenchOptions {
    let mut options = BenchOptions {
        endpoint: "tcp://192.0.2.1:8888".parse().unwrap(),
        against: Vec::new(),
        connections: 1,
        idle: 0,
        heartbeat: None,
        probe_rate: None,
        extent: Extent::Duration(Duration::from_secs(1)),
        rates: Vec::new(),
        arrivals: Arrivals::Even,
        chosen_seed: None,
        pipeline: 1,
        segments: true,
        probe: Probe::Pong(30),
        churn: false,
        connect_rate: None,
        sources: None,
        spread: None,
        part: None,
        dealt_before: 0,
        undivided: None,
        start_at: None,
        clock_error: None,
        warmup: Duration::ZERO,
        framing: Framing::Line,
        timeout: 200 * MILLI,
        connect_timeout: 200 * MILLI,
        allow_failures: false,
        requirements: Vec::new(),
        find: None,
        until: None,
        json: None,
        html: None,
        hdr: None,
        quiet: false,
        progress: false,
    };
    set(&mut options);
    options
}

/// One rate, or the closed loop.
pub(super) fn rates(rate: impl Into<Option<f64>>) -> Vec<Rate> {
    rate.into().map(Rate::even).into_iter().collect()
}

/// A load that has dialled its first connection.
fn dialling(set: impl FnOnce(&mut BenchOptions)) -> Rig {
    begin(options(set))
}

fn begin(options: BenchOptions) -> Rig {
    let phase = options.phases()[0];
    let ports = options.endpoint.ports().expect("it is no Unix socket");
    let addresses = [1, 2].into_iter().flat_map(|last| ports.iter().map(move |port| ([192, 0, 2, last], port)));
    let addresses = addresses.map(|address| Address::Ip(address.into())).collect();
    let mut server = Server::limited(Load::new(options, phase, addresses, false), |limits| {
        limits.linger = Duration::ZERO;
    });
    server.with(|load, out| load.begin(out));
    server.settle();
    Rig(server)
}

/// A load whose connections are all made, and that asks.
fn asking(set: impl FnOnce(&mut BenchOptions)) -> Rig {
    let mut server = dialling(set);
    let mut dialled = 0;
    while server.load(|load| load.stage) != Stage::Asking {
        assert!(dialled < server.kernel.borrow().dialled.len(), "it does not dial");
        server.kernel.borrow_mut().answers_the_dial(dialled);
        dialled += 1;
        server.settle();
    }
    server
}

/// A load on the fake kernel.
struct Rig(Server<Load>);

impl Deref for Rig {
    type Target = Server<Load>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Rig {
    /// Whether the phase is over, or nobody was there to be loaded.
    fn is_over(&mut self) -> bool {
        self.engine.is_stopped() || self.load(|load| load.stage == Stage::Resting)
    }

    fn load<T>(&mut self, look: impl FnOnce(&mut Load) -> T) -> T {
        self.look(look)
    }

    fn counts(&mut self) -> Counts {
        self.load(|load| load.ledger.counts.clone())
    }

    fn count(&mut self, fact: Fact) -> u64 {
        self.counts()[fact]
    }

    /// Why requests were not sent, and how many.
    fn hindrances(&mut self) -> Vec<(String, u64)> {
        self.load(|load| load.ledger.hindrances.clone().into_iter().collect())
    }

    /// The numbers of the requests that have arrived on a connection.
    fn asked(&mut self, connection: usize) -> Vec<u64> {
        self.settle();
        let text = self.hears(connection);
        text.lines().map(|line| line.split(' ').nth(1).expect("ping NUMBER").parse().expect("a number")).collect()
    }

    fn answers(&mut self, connection: usize, numbers: &[u64]) {
        for number in numbers {
            self.says(connection, format!("pong {number:012} abcdefghijk\n"));
        }
        self.settle();
    }

    /// Answers all requests of a connection, each after `delay`, until the load is over or `time` has passed.
    fn echo_for(&mut self, connection: usize, delay: Duration, time: Duration) {
        let until = self.now() + time;
        while self.now() < until && !self.is_over() {
            let asked = self.asked(connection);
            self.pass(delay);
            self.answers(connection, &asked);
        }
    }

    #[track_caller]
    fn assert_counts(&mut self, expected: &[(Fact, u64)]) {
        let counts = self.counts();
        for (fact, name) in Fact::ALL {
            let expected = expected.iter().find(|(other, _)| *other == fact).map_or(0, |(_, count)| *count);
            let is_of_connections = name.starts_with("connections_") && expected == 0;
            assert!(is_of_connections || counts[fact] == expected, "{name}: {} and not {expected}", counts[fact]);
        }
    }
}

fn times(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let rounded = |nanos: u64| (nanos as f64 / 1e6).round() as u64;
    histogram.iter_recorded().map(|step| (rounded(step.value_iterated_to()), step.count_at_value())).collect()
}
