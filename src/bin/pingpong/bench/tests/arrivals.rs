//! The load over the fake kernel: which connections are made when, and what becomes of those that are not.

use std::time::Duration;

use nix::libc::{EAGAIN, ECONNREFUSED, EMFILE};

use super::{MILLI, Rig, asking, dialling, times};
use crate::bench::load::Stage;
use crate::bench::record::Fact;
use crate::bench::{BenchOptions, Extent};

#[test]
fn the_next_address_is_tried_and_after_the_last_one_it_is_over() {
    let mut server = dialling(|_| {});
    server.kernel.borrow_mut().fails_the_dial(0, ECONNREFUSED);
    server.settle();
    assert_eq!(server.kernel.borrow().dialled.len(), 2);
    server.kernel.borrow_mut().fails_the_dial(1, ECONNREFUSED);
    server.settle();
    assert!(server.is_over());
    let now = server.now();
    let error = server.load(|load| load.conclude(now, 0)).unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

/// A load of a range of three ports, where the scout's dial has failed at the first ones.
fn at_a_range(dead: usize, set: impl FnOnce(&mut BenchOptions)) -> Rig {
    let mut server = dialling(|options| {
        options.endpoint = "tcp://192.0.2.1:7000-7002".parse().unwrap();
        set(options);
    });
    for dial in 0..dead {
        server.kernel.borrow_mut().fails_the_dial(dial, ECONNREFUSED);
        server.settle();
    }
    server
}

fn dialled(server: &Rig) -> Vec<String> {
    server.kernel.borrow().dialled.iter().map(ToString::to_string).collect()
}

#[test]
fn ports_of_a_range_take_turns_and_a_host_that_refuses_at_each_is_left() {
    let mut server = at_a_range(3, |options| (options.connections, options.idle) = (4, 2));
    server.kernel.borrow_mut().answers_the_dial(3);
    server.settle();
    let first = [7000, 7001, 7002].map(|port| format!("192.0.2.1:{port}"));
    let second = [7000, 7001, 7002, 7000, 7001, 7002].map(|port| format!("192.0.2.2:{port}"));
    assert_eq!(dialled(&server), [&first[..], &second[..]].concat());
}

#[test]
fn a_range_none_of_whose_ports_answers_is_over() {
    let mut server = at_a_range(6, |options| options.connections = 4);
    assert!(server.is_over());
    let now = server.now();
    let error = server.load(|load| load.conclude(now, 0)).unwrap_err();
    assert!(error.to_string().contains("7000-7002: connection refused"), "{error}");
}

#[test]
fn connections_to_dead_ports_fail_the_first_one_too() {
    for dead in [1, 2] {
        let mut server = at_a_range(dead, |options| (options.connections, options.idle) = (4, 1));
        server.kernel.borrow_mut().answers_the_dial(dead);
        server.settle();
        assert!(server.is_closed(dead), "it was the scout's alone");
        // All are dialled from the first port on.
        for (dial, port) in (dead + 1..).zip([0, 1, 2, 0, 1]) {
            assert_eq!(dialled(&server)[dial], format!("192.0.2.1:700{port}"));
            if port < dead {
                server.kernel.borrow_mut().fails_the_dial(dial, ECONNREFUSED);
            } else {
                server.kernel.borrow_mut().answers_the_dial(dial);
            }
        }
        server.settle();
        assert_eq!(server.load(|load| load.stage), Stage::Asking);
        let failed = [2, 4][dead - 1];
        let counts = (server.count(Fact::ConnectionsOpened), server.count(Fact::ConnectionsFailed));
        assert_eq!(counts, (5 - failed, failed), "{dead}");
    }
}

#[test]
fn of_connections_that_are_all_dealt_to_dead_ports_each_has_failed() {
    let mut server = at_a_range(1, |_| {});
    server.kernel.borrow_mut().answers_the_dial(1);
    server.settle();
    server.kernel.borrow_mut().fails_the_dial(2, ECONNREFUSED);
    server.settle();
    assert!(server.is_over());
    let now = server.now();
    server.load(|load| load.conclude(now, 0)).unwrap();
    assert_eq!((server.count(Fact::ConnectionsRequested), server.count(Fact::ConnectionsFailed)), (1, 1));
}

#[test]
fn ports_are_not_tried_for_longer_than_a_connection_may_take() {
    let mut server = at_a_range(1, |_| {});
    server.pass(200 * MILLI);
    server.kernel.borrow_mut().fails_the_dial(1, ECONNREFUSED);
    server.settle();
    assert_eq!(dialled(&server), ["192.0.2.1:7000", "192.0.2.1:7001", "192.0.2.2:7000"]);
}

#[test]
fn connections_that_cannot_be_made_are_counted_and_the_others_ask() {
    let mut server = dialling(|options| options.connections = 4);
    server.kernel.borrow_mut().dial_errors.extend([Some(EMFILE), None, None]);
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    server.kernel.borrow_mut().answers_the_dial(1);
    server.settle();
    assert_eq!(server.load(|load| load.stage), Stage::Connecting, "one has no outcome yet");
    server.pass(300 * MILLI);
    assert_eq!(server.load(|load| load.stage), Stage::Asking);
    assert_eq!((server.count(Fact::ConnectionsOpened), server.count(Fact::ConnectionsFailed)), (2, 2));
    // The third one comes after all: too late to be counted, and not kept.
    server.kernel.borrow_mut().answers_the_dial(2);
    server.settle();
    assert!(server.is_closed(2));
    assert_eq!(server.count(Fact::ConnectionsOpened), 2);
}

#[test]
fn a_full_backlog_is_waited_for() {
    let mut server = dialling(|options| options.connections = 3);
    server.kernel.borrow_mut().dial_errors.extend([Some(EAGAIN), None, Some(EAGAIN)]);
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    server.kernel.borrow_mut().answers_the_dial(1);
    server.pass(MILLI);
    assert_eq!(server.load(|load| load.stage), Stage::Connecting);
    server.pass(MILLI);
    server.kernel.borrow_mut().answers_the_dial(2);
    server.settle();
    assert_eq!((server.count(Fact::ConnectionsOpened), server.count(Fact::ConnectionsFailed)), (3, 0));
    assert_eq!((server.asked(0).len(), server.asked(1).len(), server.asked(2).len()), (1, 1, 1));
}

#[test]
fn a_server_that_keeps_no_connection_is_not_loaded_for_long() {
    let mut server = dialling(|options| options.connections = 2);
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    server.resets(0);
    server.settle();
    server.kernel.borrow_mut().fails_the_dial(1, ECONNREFUSED);
    server.settle();
    assert!(server.is_over());
    assert_eq!((server.count(Fact::ConnectionsLost), server.count(Fact::ConnectionsFailed)), (1, 1));
}

#[test]
fn at_a_connect_rate_connections_are_made_one_by_one() {
    let mut server = dialling(|options| {
        options.connections = 5;
        options.connect_rate = Some(100.0);
    });
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    let mut dialled = Vec::new();
    for _ in 0..5 {
        dialled.push(server.kernel.borrow().dialled.len());
        server.pass(10 * MILLI);
    }
    assert_eq!(dialled, [2, 3, 4, 5, 5]);
}

#[test]
fn one_timer_paces_all_dials() {
    let mut server = dialling(|options| {
        options.connections = 200;
        options.connect_rate = Some(1000.0);
    });
    for number in 0..100 {
        server.kernel.borrow_mut().answers_the_dial(number);
        server.settle();
        assert!(server.engine.usage().timers <= 2, "{} timers", server.engine.usage().timers);
        server.pass(MILLI);
    }
}

#[test]
fn a_slow_connect_rate_is_no_reason_to_give_up() {
    let mut server = dialling(|options| {
        options.connections = 3;
        options.connect_rate = Some(1.0);
    });
    for number in 0..3 {
        server.kernel.borrow_mut().answers_the_dial(number);
        server.settle();
        if number > 0 {
            server.pass(Duration::from_secs(1));
        }
    }
    assert_eq!(server.count(Fact::ConnectionsOpened), 3);
}

#[test]
fn not_all_connections_are_dialled_at_once() {
    let mut server = dialling(|options| options.connections = 300);
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    assert_eq!(server.kernel.borrow().dialled.len(), 129);
    server.kernel.borrow_mut().answers_the_dial(7);
    server.settle();
    assert_eq!(server.kernel.borrow().dialled.len(), 130);
}

#[test]
fn idle_connections_are_made_and_missed() {
    let mut server = asking(|options| options.idle = 3);
    server.says(2, "Welcome!");
    server.finishes(3);
    server.settle();
    assert_eq!((server.count(Fact::ConnectionsOpened), server.count(Fact::ConnectionsLost)), (4, 1));
    server.echo_for(0, 10 * MILLI, Duration::from_secs(2));
    let now = server.now();
    server.load(|load| load.conclude(now, 0)).unwrap();
    assert_eq!(server.count(Fact::IdleHeld), 2);
    assert!(server.hears(1).is_empty() && server.hears(2).is_empty(), "they say nothing");
}

#[test]
fn each_request_has_its_own_connection_where_that_is_asked_for() {
    let mut server = asking(|options| {
        options.churn = true;
        options.extent = Extent::Requests(20);
    });
    let mut connection = 1;
    while !server.is_over() {
        assert_eq!(server.kernel.borrow().dialled.len(), connection + 1, "one at a time");
        server.pass(MILLI);
        server.kernel.borrow_mut().answers_the_dial(connection);
        let asked = server.asked(connection);
        assert_eq!(asked, [connection as u64]);
        server.pass(MILLI);
        server.answers(connection, &asked);
        assert!(server.is_closed(connection));
        connection += 1;
    }
    server.assert_counts(&[(Fact::Sent, 20), (Fact::Requests, 20)]);
    let service = server.load(|load| times(&load.ledger.service.total));
    assert_eq!(service, [(2, 20)], "connecting is part of it");
}

#[test]
fn a_visit_without_an_answer_is_given_up_and_another_begins() {
    let mut server = asking(|options| options.churn = true);
    server.pass(250 * MILLI);
    assert_eq!(server.count(Fact::Lost), 1);
    assert_eq!(server.kernel.borrow().dialled.len(), 3, "the scout, and two visits");
    server.kernel.borrow_mut().answers_the_dial(2);
    assert_eq!(server.asked(2), [2]);
    // What follows the answer is not the next request's.
    server.says(2, "pong 000000000002 abcdefghijk\nand more\n");
    server.settle();
    assert_eq!((server.count(Fact::Requests), server.count(Fact::Wrong)), (1, 0));
    // The first visit comes too late: it is closed, and nothing is asked there.
    server.kernel.borrow_mut().answers_the_dial(1);
    server.settle();
    assert!(server.is_closed(1) && server.hears(1).is_empty());
    server.kernel.borrow_mut().fails_the_dial(3, ECONNREFUSED);
    server.settle();
    assert_eq!(server.count(Fact::Refused), 1);
}
