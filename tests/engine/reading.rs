//! Edges, short reads and stale events: what is read, and with how many calls.

use pingpong::CloseReason;
use pingpong::engine::Event;
use pingpong::engine::Readiness;

use crate::{echo, hello, ping};

/// An event with every bit set.
fn everything() -> Readiness {
    let data = Readiness::READABLE | Readiness::WRITABLE | Readiness::PRIORITY;
    data | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED | Readiness::ERROR
}

#[test]
fn tcp_stream_is_registered_once_and_never_again() {
    let mut server = ping();
    let client = server.open();
    for _ in 0..10 {
        assert_eq!(server.asks(client, "ping\n"), "pong\n");
    }
    server.finishes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Peer);
    assert_eq!((server.calls().register, server.calls().arm), (1, 0));
}

#[test]
fn unix_stream_is_armed_while_output_waits_and_no_longer() {
    let mut server = ping();
    let client = server.open_unix(3);
    assert_eq!(server.calls().arm, 0);
    server.says(client, "ping\nping\n");
    server.settle();
    assert!(server.kernel.borrow().is_armed(client));
    assert_eq!(server.calls().arm, 1);
    let mut heard = String::new();
    for _ in 0..4 {
        heard += &server.hears(client);
        server.settle();
    }
    assert_eq!(heard, "pong\npong\n");
    assert!(!server.kernel.borrow().is_armed(client));
    assert_eq!(server.calls().arm, 2);
}

#[test]
fn request_costs_one_read_and_one_write() {
    let mut server = ping();
    let client = server.open();
    let before = server.calls();
    for _ in 0..10 {
        assert_eq!(server.asks(client, "ping\nx\n"), "pong\npong\n");
    }
    assert_eq!(server.calls().recv - before.recv, 10);
    assert_eq!(server.calls().send - before.send, 10);
}

#[test]
fn write_that_was_cut_short_is_not_tried_again_before_there_is_room() {
    let mut server = ping();
    let client = server.open_with_room(3);
    let before = server.calls();
    server.says(client, "ping\n");
    server.settle();
    assert_eq!(server.calls().send - before.send, 1);
}

#[test]
fn full_read_is_followed_by_another() {
    let mut server = echo();
    let client = server.open();
    let bytes = "0123456789".repeat(20_000);
    assert_eq!(server.asks(client, &bytes), bytes);
}

#[test]
fn data_and_fin_in_one_edge_close() {
    let mut server = ping();
    let client = server.open();
    server.says(client, "ping\n");
    server.finishes(client);
    server.settle();
    assert_eq!(server.hears(client), "pong\n");
    server.assert_closed(client, CloseReason::Peer);
}

#[test]
fn data_and_fin_that_wait_before_the_accept_close() {
    let mut server = ping();
    let client = server.connect();
    server.says(client, "ping\nping");
    server.finishes(client);
    server.settle();
    assert_eq!(server.hears(client), "pong\npong");
    server.assert_closed(client, CloseReason::Peer);
}

#[test]
fn nothing_stays_behind_an_urgent_mark() {
    let mut server = echo();
    let client = server.open();
    server.kernel.borrow_mut().client_sends_urgent(client, b"before!");
    server.settle();
    assert_eq!(server.hears(client), "before!");
    assert!(!server.kernel.borrow().unread(client));
}

#[test]
fn unix_stream_is_read_until_nothing_is_left() {
    let mut server = echo();
    let client = server.open_unix(1000);
    server.kernel.borrow_mut().connections[client].boundary = 3;
    let before = server.calls();
    assert_eq!(server.asks(client, "nine byte"), "nine byte");
    assert_eq!(server.calls().recv - before.recv, 4);
}

#[test]
fn partial_line_waits_for_the_rest_without_spinning() {
    let mut server = ping();
    let client = server.open_unix(1000);
    assert_eq!(server.asks(client, "pi"), "");
    assert_eq!(server.asks(client, "ng"), "");
    assert!(!server.is_due());
    assert_eq!(server.asks(client, "\n"), "pong\n");
}

#[test]
fn interrupted_read_is_made_again() {
    let mut server = ping();
    let client = server.open();
    server.kernel.borrow_mut().interruptions = 4;
    assert_eq!(server.asks(client, "ping\n"), "pong\n");
    assert_eq!(server.kernel.borrow().interruptions, 0);
}

#[test]
fn interrupted_write_is_made_again() {
    let mut server = hello();
    let client = server.connect();
    server.kernel.borrow_mut().interruptions = 3;
    server.turn();
    assert_eq!(server.kernel.borrow().interruptions, 0);
    assert_eq!(server.hears(client), "Welcome!\n");
}

#[test]
fn event_of_a_closed_connection_does_nothing() {
    let mut server = ping();
    let client = server.open();
    let id = server.kernel.borrow().id(client);
    server.finishes(client);
    server.settle();
    let before = (server.calls(), server.stats());
    server.turn_with(vec![Event::Connection(id, everything())]);
    server.settle();
    assert_eq!((server.calls(), server.stats()), before);
}

#[test]
fn event_of_a_closed_connection_does_not_reach_the_next_in_its_slot() {
    let mut server = hello();
    let first = server.open();
    let stale = server.kernel.borrow().id(first);
    server.resets(first);
    server.settle();
    let second = server.open();
    let fresh = server.kernel.borrow().id(second);
    assert_eq!(u64::from(stale) as u32, u64::from(fresh) as u32, "the slot is used again");
    assert_ne!(stale, fresh, "the name is not");

    let before = server.calls();
    server.turn_with(vec![Event::Connection(stale, everything())]);
    server.settle();
    assert_eq!(server.calls(), before);
    server.assert_open(second);
}

#[test]
fn event_that_says_nothing_does_nothing() {
    let mut server = ping();
    let client = server.open();
    let before = server.calls();
    let id = server.kernel.borrow().id(client);
    server.turn_with(vec![Event::Connection(id, Readiness::default())]);
    server.settle();
    assert_eq!(server.calls(), before);
    server.assert_open(client);
}
