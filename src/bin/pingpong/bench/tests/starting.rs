//! The load over the fake kernel with a virtual clock: it begins at a moment that is asked for, and a part of a load asks in
//! its turns.

use std::time::{Duration, SystemTime};

use pingpong::Moment;

use super::requirements::{report, requirement};
use super::{MILLI, Rig, dialling, options, rates};
use crate::bench::load::Stage;
use crate::bench::record::Fact;
use crate::bench::{BenchOptions, Extent, Part, Rate};
use crate::error::Error;

const SECOND: Duration = Duration::from_secs(1);

/// A load of two connections that begins after this time. Its first connection is under way.
fn beginning_after(wait: Duration, set: impl FnOnce(&mut BenchOptions)) -> (Rig, Moment) {
    let mut server = dialling(|options| {
        options.connections = 2;
        set(options);
    });
    let start = server.now() + wait;
    server.load(|load| load.start_at(start));
    (server, start)
}

/// What is asked of such a load, as a report tells it.
fn waiting() -> BenchOptions {
    options(|options| {
        options.start_at = Some(SystemTime::now());
        options.requirements = vec![requirement(("connections_failed", "=", 0.0))];
    })
}

impl Rig {
    fn answers_dials(&mut self, dials: std::ops::Range<usize>) {
        for dial in dials {
            self.kernel.borrow_mut().answers_the_dial(dial);
            self.settle();
        }
    }

    fn stage(&mut self) -> Stage {
        self.load(|load| load.stage)
    }

    /// Lets time pass up to this moment.
    fn comes_to(&mut self, moment: Moment) {
        let time = moment.since(self.now());
        self.pass(time);
        self.settle();
    }
}

#[test]
fn it_connects_and_waits_and_begins_at_the_moment() {
    let (mut server, start) = beginning_after(SECOND, |options| {
        (options.rates, options.warmup) = (rates(10.0), 300 * MILLI);
    });
    server.answers_dials(0..2);
    assert_eq!(server.stage(), Stage::Waiting);
    server.comes_to(Moment::from_nanos(start.as_nanos() - 1));
    assert_eq!((server.stage(), server.asked(0).len()), (Stage::Waiting, 0));
    let now = server.now();
    assert_eq!(server.load(|load| load.waits_for(now)), Duration::from_nanos(1));
    server.comes_to(start);
    assert_eq!((server.stage(), server.asked(0).len()), (Stage::Asking, 1));
    assert_eq!(server.load(|load| load.ledger.from()), start + 300 * MILLI);
    assert_eq!(server.load(|load| load.ledger.connecting()), Duration::ZERO, "waiting is not connecting");
}

#[test]
fn a_timer_that_is_late_does_not_put_off_the_schedule() {
    let (mut server, start) = beginning_after(SECOND, |options| options.rates = rates(10.0));
    server.answers_dials(0..2);
    server.leap(SECOND + 50 * MILLI);
    server.turn();
    server.settle();
    assert_eq!(server.load(|load| load.ledger.from()), start);
    server.pass(2 * SECOND);
    assert_eq!(server.count(Fact::Sent), 10);
    let lag = server.load(|load| load.ledger.lag.as_ref().map(|lag| lag.total.max()));
    assert!(lag.is_some_and(|lag| lag.abs_diff(50_000_000) < 100_000), "{lag:?}");
}

#[test]
fn the_closed_loop_begins_at_the_moment_too() {
    let (mut server, start) = beginning_after(SECOND, |_| {});
    server.answers_dials(0..2);
    server.comes_to(start);
    assert_eq!((server.asked(0).len(), server.asked(1).len()), (1, 1));
}

#[test]
fn too_late_is_told_by_how_much() {
    let (mut server, _) = beginning_after(SECOND, |options| options.connect_timeout = 10 * SECOND);
    server.answers_dials(0..1);
    server.pass(3 * SECOND / 2);
    assert_eq!(server.stage(), Stage::Connecting);
    server.answers_dials(1..2);
    assert!(server.is_over());
    let now = server.now();
    let error = server.load(|load| load.conclude(now, 0)).unwrap_err();
    assert!(matches!(error, Error::Late { by } if by == SECOND / 2), "{error}");
    assert_eq!(error.to_string(), "cannot begin in time: all was ready 0.500 s after --start-at (give a later time)");
}

#[test]
fn what_is_lost_while_it_waits_is_counted() {
    let (mut server, start) = beginning_after(SECOND, |options| (options.idle, options.rates) = (1, rates(10.0)));
    server.answers_dials(0..3);
    server.resets(1);
    server.resets(2);
    server.pass(SECOND / 2);
    assert_eq!((server.stage(), server.count(Fact::ConnectionsLost)), (Stage::Waiting, 2));
    server.comes_to(start);
    server.echo_for(0, MILLI, 2 * SECOND);
    assert!(server.is_over());
    assert_eq!((server.count(Fact::Requests), server.count(Fact::ConnectionsLost)), (10, 2));
}

#[test]
fn with_none_left_the_run_ends_when_it_was_to_begin() {
    let (mut server, start) = beginning_after(SECOND, |options| options.rates = rates(10.0));
    server.answers_dials(0..2);
    server.resets(0);
    server.resets(1);
    // Its timer may be late.
    let wait = start.since(server.now());
    server.leap(wait + 50 * MILLI);
    server.turn();
    server.settle();
    server.pass(100 * MILLI);
    assert!(server.is_over());
    let told = report(&mut server, &waiting());
    assert_eq!(told["requirements"][0]["reason"], "the server was gone before the measured time began");
    assert_eq!((server.count(Fact::ConnectionsLost), server.count(Fact::Unsent)), (2, 10));
    assert_eq!(told["metrics"]["gone_after_seconds"], 0.0);
    assert!(told["warnings"].to_string().contains("gone before the measured time began"), "{told:#}");
    assert!(!told["warnings"].to_string().contains("right kind of server"), "{told:#}");
}

#[test]
fn interrupted_while_it_waits_it_has_measured_nothing() {
    let (mut server, _) = beginning_after(SECOND, |options| options.rates = rates(10.0));
    server.answers_dials(0..2);
    server.pass(SECOND / 2);
    server.shut_down();
    assert!(server.is_over());
    let told = report(&mut server, &waiting());
    assert_eq!(server.stage(), Stage::Waiting);
    assert_eq!((server.count(Fact::Sent), server.count(Fact::ConnectionsHeld)), (0, 2));
    assert_eq!((&told["partial"], &told["open_loop"]), (&true.into(), &true.into()));
    assert_eq!(told["warnings"][0], "interrupted before it began to measure");
    assert_eq!(told["requirements"][0]["reason"], "interrupted before it began to measure");
    assert!(!told["warnings"].to_string().contains("asked for"), "{told:#}");
}

#[test]
fn only_the_first_phase_waits() {
    let (mut server, start) = beginning_after(SECOND, |options| options.rates = rates(10.0));
    server.answers_dials(0..2);
    server.comes_to(start);
    server.echo_for(0, MILLI, 3 * SECOND);
    while !server.is_over() {
        server.pass(50 * MILLI);
    }
    let (now, phase) = (server.now(), server.load(|load| load.phase));
    server.load(|load| load.conclude(now, 0)).unwrap();
    server.with(|load, out| load.go_on(phase, out));
    assert_eq!((server.stage(), server.load(|load| load.ledger.from())), (Stage::Asking, now));
}

/// When each message came, in milliseconds after the beginning, at one of the connections of part 3 of 4.
fn heard_by_third_of_four(set: impl Fn(&mut BenchOptions), connection: usize, every: Duration) -> Vec<u128> {
    let (mut server, start) = beginning_after(100 * MILLI, |options| {
        (options.connections, options.part) = (4, Part::new(3, 4));
        options.extent = Extent::Duration(SECOND);
        set(options);
        *options = options.clone().divided().unwrap();
    });
    let dials = server.load(|load| load.ledger.counts[Fact::ConnectionsRequested]) as usize;
    server.answers_dials(0..dials);
    server.comes_to(start);
    let mut heard = Vec::new();
    while server.now() < start + SECOND {
        let asked = server.asked(connection);
        let after = server.now().since(start).as_millis();
        heard.extend(asked.iter().map(|_| after));
        server.answers(connection, &asked);
        server.pass(every);
    }
    heard
}

#[test]
fn a_part_asks_in_its_turns() {
    let heard = heard_by_third_of_four(|options| options.rates = rates(20.0), 0, 10 * MILLI);
    assert_eq!(heard, [100, 300, 500, 700, 900]);
}

/// How many of these were due in the second that is measured, in all parts of a load together.
fn due_in_all(parts: u32, facts: [Fact; 2], set: impl Fn(&mut BenchOptions)) -> u64 {
    let due_in = |number: u32| {
        let (mut server, start) = beginning_after(SECOND, |options| {
            (options.connections, options.part) = (parts, Part::new(number, parts));
            options.extent = Extent::Duration(SECOND);
            set(options);
            *options = options.clone().divided().unwrap();
        });
        let dials = server.load(|load| load.ledger.counts[Fact::ConnectionsRequested]) as usize;
        server.answers_dials(0..dials);
        server.comes_to(start);
        while !server.is_over() {
            server.pass(50 * MILLI);
        }
        let now = server.now();
        server.load(|load| load.conclude(now, 0)).unwrap();
        server.load(|load| facts.map(|fact| load.ledger.counts[fact]).iter().sum::<u64>())
    };
    (1..=parts).map(due_in).sum()
}

#[test]
fn in_all_parts_together_as_much_is_due_as_in_one_process() {
    let requests = [Fact::Sent, Fact::Unsent];
    for (rate, parts, due) in [(333.0, 7, 333), (100.0, 3, 100), (200.0, 3, 200)] {
        assert_eq!(due_in_all(parts, requests, |options| options.rates = rates(rate)), due, "{rate} in {parts}");
    }
    let ramp = |options: &mut BenchOptions| options.rates = vec![Rate { first: 100.0, last: 401.0 }];
    assert_eq!(due_in_all(7, requests, ramp), due_in_all(1, requests, ramp));
    // Parts differ in how many idle connections they have; each of these has a heartbeat every 500 ms.
    let beats = |options: &mut BenchOptions| (options.idle, options.heartbeat) = (11, Some(SECOND / 2));
    assert_eq!(due_in_all(3, [Fact::Heartbeats, Fact::ProbesUnsent], beats), 22);
}

#[test]
fn heartbeats_of_a_part_have_their_turns_too() {
    let beats = |options: &mut BenchOptions| (options.idle, options.heartbeat) = (4, Some(SECOND));
    let heard = heard_by_third_of_four(beats, 1, 10 * MILLI);
    assert_eq!(heard, [500]);
}

#[test]
fn a_part_connects_in_its_turns() {
    let mut server = dialling(|options| {
        (options.connections, options.connect_rate, options.part) = (16, Some(40.0), Part::new(3, 4));
        *options = options.clone().divided().unwrap();
    });
    let dialled = |server: &Rig| server.kernel.borrow().dialled.len();
    server.answers_dials(0..1);
    // Its gap is 100 ms, and it is half of that late.
    for (pause, made) in [(49 * MILLI, 1), (MILLI, 2), (99 * MILLI, 2), (MILLI, 3)] {
        server.pass(pause);
        assert_eq!(dialled(&server), made, "after {pause:?}");
    }
}

#[test]
fn a_part_takes_the_ports_that_the_parts_before_it_leave_off_at() {
    let ports_of = |number: u32| {
        let mut server = dialling(|options| {
            options.endpoint = "tcp://192.0.2.1:7000-7002".parse().unwrap();
            (options.connections, options.idle, options.part) = (5, 2, Part::new(number, 2));
            *options = options.clone().divided().unwrap();
        });
        let connections = if number == 1 { 4 } else { 3 };
        server.answers_dials(0..connections);
        let dialled: Vec<String> = server.kernel.borrow().dialled.iter().map(ToString::to_string).collect();
        dialled.iter().map(|to| to.rsplit(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ports_of(1), ["7000", "7001", "7002", "7000"]);
    assert_eq!(ports_of(2), ["7001", "7002", "7000"]);
}
