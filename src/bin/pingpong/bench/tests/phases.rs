//! The load over the fake kernel with a virtual clock: phases one after another on the same connections, rates that
//! change, requests that come at random.

use std::time::Duration;

use super::{MILLI, Rig, asking, rates, times};
use crate::bench::load::Stage;
use crate::bench::options::Phase;
use crate::bench::record::Fact;
use crate::bench::{Arrivals, BenchOptions, Extent, Rate};

const SECOND: Duration = Duration::from_secs(1);

/// A phase of a second without a warm-up.
fn phase(rate: Option<f64>) -> Phase {
    Phase {
        rate: rate.map(Rate::even),
        whole: None,
        arrivals: Arrivals::Even,
        warmup: Duration::ZERO,
        extent: Extent::Duration(SECOND),
    }
}

impl Rig {
    /// Ends the books of a phase that is over, and goes through another one.
    fn goes_on(&mut self, phase: Phase) {
        let now = self.now();
        self.load(|load| load.conclude(now, 0)).unwrap();
        self.with(|load, out| load.go_on(phase, out));
        self.settle();
    }

    /// What has become of the connections that were asked for.
    fn ends(&mut self) -> [u64; 4] {
        let now = self.now();
        self.load(|load| load.conclude(now, 0)).unwrap();
        let facts = [Fact::ConnectionsLost, Fact::ConnectionsUnserved, Fact::ConnectionsStalled, Fact::ConnectionsHeld];
        let counts = self.counts();
        let ends = facts.map(|fact| counts[fact]);
        assert_eq!(counts[Fact::ConnectionsRequested], ends.iter().sum::<u64>());
        ends
    }
}

#[test]
fn phases_follow_each_other_on_the_same_connections_with_fresh_counters() {
    let mut server = asking(|options| (options.connections, options.rates) = (1, rates(100.0)));
    server.echo_for(0, MILLI, 2 * SECOND);
    assert!(server.is_over());
    server.assert_counts(&[(Fact::Sent, 100), (Fact::Requests, 100), (Fact::ConnectionsOpened, 1)]);

    server.goes_on(phase(Some(50.0)));
    assert!(!server.is_over());
    server.echo_for(0, MILLI, 2 * SECOND);
    server.assert_counts(&[(Fact::Sent, 50), (Fact::Requests, 50), (Fact::ConnectionsOpened, 1)]);
    let now = server.now();
    let (measured, per_second) = server.load(|load| (load.ledger.measured(now), load.ledger.per_second(now)));
    assert_eq!((measured, per_second), (SECOND, 50.0));

    server.goes_on(Phase { warmup: 100 * MILLI, ..phase(None) });
    server.echo_for(0, 10 * MILLI, 3 * SECOND);
    assert!(server.is_over());
    // As in a run of its own, the request that the warm-up leaves unanswered counts.
    assert_eq!((server.count(Fact::Sent), server.count(Fact::CarriedOver)), (101, 1));
    assert!(server.load(|load| load.ledger.response.is_none()), "that was the open loop's");
    assert_eq!(server.kernel.borrow().dialled.len(), 1);
}

#[test]
fn what_one_phase_has_lost_is_nothing_to_the_next_one_however_late_it_comes() {
    let mut server = asking(|options| options.rates = rates(100.0));
    server.pass(2 * SECOND);
    assert!(server.is_over());
    assert_eq!((server.count(Fact::Lost), server.asked(0).len()), (100, 100));

    server.goes_on(Phase { warmup: 100 * MILLI, ..phase(Some(10.0)) });
    server.pass(50 * MILLI);
    server.answers(0, &(1..=50).collect::<Vec<u64>>());
    server.pass(80 * MILLI);
    server.answers(0, &(51..=100).collect::<Vec<u64>>());
    server.echo_for(0, MILLI, 3 * SECOND);
    assert!(server.is_over());
    // What its own warm-up leaves unanswered does count.
    let carried = (Fact::CarriedOver, 1);
    server.assert_counts(&[(Fact::Sent, 11), (Fact::Requests, 11), carried, (Fact::ConnectionsOpened, 1)]);
    assert_eq!(server.ends(), [0, 0, 0, 1]);
}

#[test]
fn a_connection_that_an_earlier_phase_has_left_stuck_is_unserved_in_the_next_one() {
    let mut server = asking(|options| options.connections = 2);
    server.echo_for(0, 10 * MILLI, 3 * SECOND);
    assert!(server.is_over());
    assert_eq!(server.count(Fact::Lost), 1);
    server.goes_on(phase(None));
    server.echo_for(0, 10 * MILLI, 3 * SECOND);
    assert!(server.is_over());
    assert_eq!((server.count(Fact::Lost), server.count(Fact::Requests)), (0, 100), "it asks no second time");
    assert_eq!(server.ends(), [0, 1, 0, 1]);
}

#[test]
fn a_connection_that_is_lost_is_missing_from_then_on() {
    let mut server = asking(|options| options.connections = 2);
    server.resets(1);
    server.echo_for(0, 10 * MILLI, 3 * SECOND);
    assert!(server.is_over());
    assert_eq!(server.ends(), [1, 0, 0, 1]);
    server.goes_on(phase(None));
    server.echo_for(0, 10 * MILLI, 3 * SECOND);
    assert_eq!(server.ends(), [1, 0, 0, 1]);
    // It is lost while nothing is asked.
    server.finishes(0);
    server.settle();
    server.goes_on(phase(Some(10.0)));
    server.pass(100 * MILLI);
    assert!(server.is_over());
    assert_eq!(server.ends(), [2, 0, 0, 0]);
    assert_eq!((server.count(Fact::Sent), server.count(Fact::Unsent)), (0, 10));
    assert_eq!(server.hindrances(), [("no connection was left".to_owned(), 10)]);
    assert_eq!(server.load(|load| load.gone_after()), Some(Duration::ZERO));
}

#[test]
fn timers_of_a_phase_end_with_it() {
    let counted = |options: &mut BenchOptions| {
        (options.idle, options.heartbeat) = (1, Some(5 * SECOND));
        (options.rates, options.extent) = (rates(100.0), Extent::Requests(2));
    };
    let mut server = asking(counted);
    server.echo_for(0, MILLI, SECOND);
    // Each phase leaves a timer behind for a heartbeat that would have been due later.
    for _ in 0..10 {
        assert!(server.is_over());
        server.goes_on(Phase { extent: Extent::Requests(1), ..phase(Some(100.0)) });
        server.echo_for(0, MILLI, 300 * MILLI);
    }
    server.goes_on(Phase { extent: Extent::Duration(20 * SECOND), ..phase(Some(10.0)) });
    server.echo_for(0, MILLI, 12 * SECOND);
    // The next request, the next heartbeat, the next sweep and the end.
    assert_eq!(server.engine.usage().timers, 4);
}

#[test]
fn heartbeats_of_an_earlier_phase_are_not_counted_in_the_next_one() {
    let mut server = asking(|options| (options.idle, options.heartbeat) = (1, Some(500 * MILLI)));
    server.echo_for(0, 10 * MILLI, 3 * SECOND);
    assert!(server.is_over());
    let counts = |server: &mut Rig| {
        let counts = server.counts();
        (counts[Fact::Heartbeats], Fact::HEARTBEATS.map(|fact| counts[fact]))
    };
    // The second one was not sent, for the first one was unanswered.
    assert_eq!(counts(&mut server), (2, [0, 0, 0, 1, 0, 0, 1]));
    server.goes_on(phase(None));
    server.echo_for(0, 10 * MILLI, 300 * MILLI);
    server.answers(1, &[1]);
    server.echo_for(0, 10 * MILLI, 300 * MILLI);
    server.answers(1, &[4]);
    server.echo_for(0, 10 * MILLI, 3 * SECOND);
    assert!(server.is_over());
    assert_eq!(counts(&mut server), (2, [1, 0, 0, 0, 0, 0, 1]));
}

#[test]
fn on_a_ramp_as_many_requests_are_sent_as_its_integral() {
    let mut server = asking(|options| {
        options.rates = vec![Rate { first: 100.0, last: 900.0 }];
        options.warmup = 250 * MILLI;
    });
    server.echo_for(0, MILLI, 250 * MILLI);
    let mut sent = Vec::new();
    for _ in 0..4 {
        let before = server.count(Fact::Sent);
        server.echo_for(0, MILLI, 250 * MILLI);
        sent.push(server.count(Fact::Sent) - before);
    }
    // 100 t + 400 t² at each quarter: 50, 150, 300, 500; one is due at a quarter's very end.
    assert!(sent.iter().zip([50, 100, 150, 200]).all(|(sent, due)| sent.abs_diff(due) <= 1), "{sent:?}");
    server.echo_for(0, MILLI, SECOND);
    assert!(server.is_over());
    assert_eq!((server.count(Fact::Sent), server.count(Fact::Requests)), (500, 500));
}

/// The milliseconds at which a second's requests arrive at a server that answers after `delay`.
fn arrivals(set: impl FnOnce(&mut BenchOptions), delay: Option<Duration>) -> Vec<u64> {
    let mut server = asking(|options| {
        (options.connections, options.rates) = (1, rates(500.0));
        set(options);
    });
    let (began, mut arrived) = (server.now(), Vec::new());
    while server.load(|load| load.stage) == Stage::Asking {
        let asked = server.asked(0);
        arrived.extend(asked.iter().map(|_| server.now().since(began).as_millis() as u64));
        if let Some(delay) = delay {
            server.pass(delay);
            server.answers(0, &asked);
        } else {
            server.pass(MILLI);
        }
    }
    arrived
}

#[test]
fn at_random_requests_are_due_at_the_same_times_whatever_the_server_does() {
    let poisson = |seed| move |options: &mut BenchOptions| options.arrivals = Arrivals::Poisson { seed };
    let quick = arrivals(poisson(7), Some(MILLI));
    assert_eq!(quick, arrivals(poisson(7), None));
    assert_ne!(quick, arrivals(poisson(8), None));
    assert_ne!(quick, arrivals(|_| {}, None));
    // Five standard deviations off.
    assert!((388..=612).contains(&quick.len()), "{}", quick.len());
    // A server that is slow has the same requests, though this one looks seldom.
    let slow = arrivals(poisson(7), Some(100 * MILLI));
    assert!(slow.len() <= quick.len() && slow.iter().zip(&quick).all(|(slow, quick)| slow >= quick));
}

#[test]
fn a_late_timer_sends_nothing_of_the_warm_up_when_that_is_over() {
    let mut server = asking(|options| (options.rates, options.warmup) = (rates(1000.0), 100 * MILLI));
    server.echo_for(0, MILLI, 95 * MILLI);
    let asked = server.asked(0);
    server.answers(0, &asked);
    server.leap(8 * MILLI);
    // What was due before the warm-up's end has been passed over; what is due since has been sent, and counts.
    server.echo_for(0, MILLI, 2 * SECOND);
    assert_eq!((server.count(Fact::Sent), server.count(Fact::Requests)), (1000, 1000));
    assert_eq!(server.count(Fact::CarriedOver), 0);
    let response = server.load(|load| times(&load.ledger.response.as_ref().unwrap().total));
    assert!(response.iter().all(|(millis, _)| *millis <= 5), "{response:?}");
}
