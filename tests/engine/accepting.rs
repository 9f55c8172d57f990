//! Accepting: how many at a time, within which limits, and what happens while accepting is impossible.

use std::time::Duration;

use fake::server::{Server, Wake, address};
use nix::libc::{ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM};
use pingpong::CloseReason;
use pingpong::service::{Framing, Ping};

use crate::{SECOND, ping};

fn ping_limited(set: impl FnOnce(&mut pingpong::Limits)) -> Server<Ping> {
    Server::limited(Ping::new(Framing::Line), set)
}

fn connect_from(server: &mut Server<Ping>, from: &str) -> usize {
    let client = server.kernel.borrow_mut().connect_from(address(from), 1 << 20);
    server.settle();
    client
}

#[test]
fn storm_of_connects_is_let_in_by_sixteen_while_others_are_served() {
    let mut server = ping();
    let guest = server.open();
    let storm: Vec<usize> = (0..40).map(|_| server.connect()).collect();
    for accepted in [16, 32, 40] {
        server.says(guest, "ping\n");
        server.turn();
        assert_eq!(server.hears(guest), "pong\n");
        assert_eq!(server.stats().accepted, 1 + accepted);
        assert_eq!(server.is_due(), accepted < 40, "the rest needs no event");
    }
    for client in storm {
        assert_eq!(server.asks(client, "ping\n"), "pong\n");
    }
}

#[test]
fn accept_that_is_interrupted_or_aborted_goes_on_with_the_next_at_once() {
    for error in [EINTR, ECONNABORTED] {
        let mut server = ping();
        server.kernel.borrow_mut().accept_errors.extend([error, error]);
        let client = server.connect();
        server.turn();
        assert_eq!(server.stats().accepted, 1);
        assert_eq!(server.asks(client, "ping\n"), "pong\n");
    }
}

#[test]
fn exhaustion_pauses_accepting_and_is_retried_in_time_without_an_event() {
    for error in [EMFILE, ENFILE, ENOBUFS, ENOMEM] {
        let mut server = ping();
        server.kernel.borrow_mut().accept_errors.extend([error; 3]);
        let client = server.connect();
        server.says(client, "ping\n");
        server.settle();
        assert_eq!(server.calls().accept, 1);
        assert!(server.engine.deadline().is_some_and(|at| at > server.now()), "it sleeps, but not for ever");

        let turns = server.pass(SECOND);
        assert_eq!(server.hears(client), "pong\n");
        assert_eq!(server.calls().accept, 3 + 1 + 1, "three refusals, one connection, no more");
        assert!(turns <= 6, "{turns} turns");
        assert_eq!(server.pass(SECOND), 0, "all is quiet afterwards");
    }
}

#[test]
fn exhaustion_ends_with_the_next_close() {
    let mut server = ping();
    let guest = server.open();
    server.kernel.borrow_mut().accept_errors.push_back(EMFILE);
    let waiting = server.connect();
    server.settle();
    assert_eq!(server.stats().accepted, 1);

    server.finishes(guest);
    server.settle();
    assert_eq!(server.asks(waiting, "ping\n"), "pong\n");
}

#[test]
fn exhaustion_leaves_those_inside_alone() {
    let mut server = ping();
    let guest = server.open();
    server.kernel.borrow_mut().accept_errors.extend([EMFILE; 100]);
    server.connect();
    server.settle();
    let accepts = server.calls().accept;
    for _ in 0..50 {
        assert_eq!(server.asks(guest, "ping\n"), "pong\n");
    }
    assert_eq!(server.calls().accept, accepts, "the pause is not broken by other work");
    assert_eq!(server.stats().accepted, 1);
}

#[test]
fn full_house_waits_in_the_backlog_and_goes_on_after_a_close_without_an_event() {
    let mut server = ping_limited(|limits| limits.max_connections = 2);
    let (first, second) = (server.open(), server.open());
    let waiting = server.connect();
    server.says(waiting, "ping\n");
    server.settle();
    assert_eq!(server.stats().accepted, 2);
    let accepts = server.calls().accept;
    assert_eq!(server.pass(SECOND), 0, "it does not spin");
    assert_eq!(server.asks(second, "ping\n"), "pong\n");
    assert_eq!(server.calls().accept, accepts);

    server.finishes(first);
    server.settle();
    assert_eq!(server.hears(waiting), "pong\n");
    assert_eq!(server.engine.usage().connections, 2);
}

#[test]
fn one_address_gets_its_share_and_others_theirs() {
    let mut server = ping_limited(|limits| limits.max_per_ip = Some(2));
    let first = connect_from(&mut server, "10.0.0.1:1000");
    let second = connect_from(&mut server, "10.0.0.1:1001");
    let third = connect_from(&mut server, "10.0.0.1:1002");
    server.assert_closed(third, CloseReason::Limit);
    let other = connect_from(&mut server, "10.0.0.2:1000");
    for client in [first, second, other] {
        assert_eq!(server.asks(client, "ping\n"), "pong\n");
    }
    assert_eq!((server.stats().accepted, server.stats().open()), (4, 3));
}

#[test]
fn one_address_is_known_in_both_its_forms_and_a_network_by_its_prefix() {
    let mut server = ping_limited(|limits| limits.max_per_ip = Some(1));
    for (inside, outside) in
        [("10.0.0.1:1000", "[::ffff:10.0.0.1]:1000"), ("[2001:db8::1]:1000", "[2001:db8::ffff:2]:1000")]
    {
        let inside = connect_from(&mut server, inside);
        let outside = connect_from(&mut server, outside);
        assert!(server.is_closed(outside));
        server.assert_open(inside);
    }
    let elsewhere = connect_from(&mut server, "[2001:db8:0:1::1]:1000");
    server.assert_open(elsewhere);
}

#[test]
fn address_gets_its_share_back_when_its_connections_end() {
    let mut server = ping_limited(|limits| limits.max_per_ip = Some(2));
    for _ in 0..3 {
        let pair = [connect_from(&mut server, "10.0.0.1:1000"), connect_from(&mut server, "10.0.0.1:1001")];
        for client in pair {
            assert_eq!(server.asks(client, "ping\n"), "pong\n");
            server.finishes(client);
        }
        server.settle();
    }
    assert_eq!(server.stats().closes(CloseReason::Limit), 0);
}

#[test]
fn failed_registration_drops_that_connection_only() {
    let mut server = ping();
    server.kernel.borrow_mut().failing_registrations = 1;
    let (unlucky, lucky) = (server.connect(), server.connect());
    server.settle();
    server.assert_closed(unlucky, CloseReason::Limit);
    assert_eq!(server.asks(lucky, "ping\n"), "pong\n");
    assert_eq!(server.engine.usage().connections, 1);
}

#[test]
fn failed_registration_gives_its_address_its_share_back() {
    let mut server = ping_limited(|limits| limits.max_per_ip = Some(1));
    server.kernel.borrow_mut().failing_registrations = 1;
    let unlucky = connect_from(&mut server, "10.0.0.1:1000");
    assert!(server.is_closed(unlucky));
    let lucky = connect_from(&mut server, "10.0.0.1:1001");
    server.assert_open(lucky);
}

#[test]
fn once_drains_when_the_first_connection_has_ended() {
    let mut server = ping();
    server.engine.drain_after_first();
    let (first, second) = (server.open(), server.open());
    server.finishes(second);
    server.settle();
    assert!(server.kernel.borrow().is_listening(), "the second does not count");
    let third = server.open();

    server.says(third, "ping\n");
    server.finishes(first);
    server.settle();
    assert!(!server.kernel.borrow().is_listening());
    assert_eq!(server.hears_out(third), "pong\n");
    server.finishes(third);
    server.settle();
    assert!(server.engine.is_stopped());
}

#[test]
fn once_ends_at_once_when_the_first_connection_was_the_only_one() {
    let mut server = ping();
    server.engine.drain_after_first();
    let client = server.open();
    server.finishes(client);
    server.settle();
    assert!(server.engine.is_stopped(), "it waits until {:?}", server.engine.deadline());
}

#[test]
fn unix_clients_have_no_address_to_be_counted_by() {
    let mut server = ping_limited(|limits| limits.max_per_ip = Some(1));
    for client in [server.open_unix(100), server.open_unix(100)] {
        assert_eq!(server.asks(client, "ping\n"), "pong\n");
    }
}

#[test]
fn idle_listener_asks_for_nothing() {
    let mut server = ping();
    assert_eq!(server.turn(), Wake::No);
    assert_eq!(server.pass(Duration::from_secs(3600)), 0);
    assert_eq!(server.calls().accept, 0);
}
