//! A peer that floods and a peer that does not read: neither delays other peers, nor takes memory without bound.

use fake::server::{Server, Wake};
use pingpong::CloseReason;
use pingpong::engine::Readiness;
use pingpong::service::{Echo, Framing, Ping};

use crate::{congested_connection, echo, ping};
use pingpong::engine::Event;

/// The most bytes that one read returns; and the unsent bytes from which on the engine reads no more.
const READ: usize = 64 << 10;
const HIGH_MARK: usize = 64 << 10;

#[test]
fn endless_sender_lets_others_be_served_between_two_of_its_reads() {
    let mut server = echo();
    let (endless, other) = (server.open(), server.open());
    server.says(endless, vec![b'x'; 2 << 20]);
    let mut reads = server.kernel.borrow().connections[endless].reads;
    for _ in 0..10 {
        server.says(other, "short");
        server.turn();
        assert_eq!(server.hears(other), "short");
        let now = server.kernel.borrow().connections[endless].reads;
        assert!((1..=2).contains(&(now - reads)), "{} reads in one turn", now - reads);
        reads = now;
    }
    assert!(server.is_due(), "the rest needs no event");
    server.settle();
    assert_eq!(server.hears(endless).len(), 2 << 20);
}

#[test]
fn endless_sender_does_not_keep_newcomers_out() {
    let mut server = echo();
    let endless = server.open();
    server.says(endless, vec![b'x'; 2 << 20]);
    server.turn();
    let newcomer = server.connect();
    server.says(newcomer, "short");
    server.turn();
    server.turn();
    assert_eq!(server.hears(newcomer), "short");
    assert!(server.kernel.borrow().unread_bytes(endless) > 1 << 20);
}

#[test]
fn flooded_datagram_socket_is_left_for_the_next_turn_and_starves_nobody() {
    let mut server = ping();
    let client = server.open();
    let number = server.bind("127.0.0.1:8888");
    for _ in 0..1000 {
        server.arrives(number, "127.0.0.1:4000", "ping");
    }
    let mut before = 0;
    while before < 1000 {
        server.says(client, "ping\n");
        server.turn();
        assert_eq!(server.hears(client), "pong\n");
        let received = server.stats().datagrams_in;
        assert!((1..=128).contains(&(received - before)), "{} in one turn", received - before);
        before = received;
        assert_eq!(server.is_due(), before < 1000, "the rest needs no event");
    }
    assert_eq!(server.stats().datagrams_out, 1000);
}

#[test]
fn client_that_does_not_read_is_read_no_further() {
    let (mut server, client) = congested_connection();
    let held = server.engine.usage().buffered;
    assert!(held <= HIGH_MARK + READ + 1000, "{held} bytes are held");
    let unread = server.kernel.borrow().unread_bytes(client);
    assert!(unread >= (1 << 20) - 2 * READ - 1000, "{unread} bytes are left to the kernel");

    let reads = server.calls().recv;
    server.says(client, vec![b'x'; 1000]);
    server.settle();
    assert_eq!(server.calls().recv, reads);
    assert_eq!(server.turn(), Wake::No, "it does not spin");
}

#[test]
fn short_questions_with_long_answers_are_answered_as_far_as_there_is_room() {
    let mut server = ping();
    let client = server.open_with_room(1000);
    server.says(client, vec![b'\n'; 1 << 20]);
    server.settle();
    let held = server.engine.usage().buffered;
    assert!(held <= 2 * (HIGH_MARK + READ), "{held} bytes are held");

    let mut heard = Vec::new();
    while heard.len() < 5 << 20 {
        let bytes = server.hears_bytes(client, usize::MAX);
        assert!(!bytes.is_empty(), "nothing more comes after {} bytes", heard.len());
        heard.extend(bytes);
        server.settle();
    }
    assert!(heard == b"pong\n".repeat(1 << 20));
    assert_eq!(server.engine.usage().buffered, 0);
}

#[test]
fn all_bytes_arrive_once_a_slow_client_reads() {
    let mut server = echo();
    let client = server.open_with_room(1000);
    let said: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
    server.says(client, &said);
    server.finishes(client);
    let mut heard = Vec::new();
    while !server.is_closed(client) {
        server.settle();
        heard.extend(server.hears_bytes(client, 700));
    }
    heard.extend(server.hears_bytes(client, usize::MAX));
    assert!(heard == said, "{} of {} bytes came back, or others", heard.len(), said.len());
    server.assert_closed(client, CloseReason::Peer);
    assert_eq!(server.engine.usage().buffered, 0);
}

#[test]
fn reading_goes_on_under_the_low_mark_without_an_event_for_it() {
    let (mut server, client) = congested_connection();
    let id = server.kernel.borrow().id(client);
    let reads = server.calls().recv;
    let mut lowest = usize::MAX;
    while server.calls().recv == reads {
        let stats = server.stats();
        lowest = (stats.bytes_in - stats.bytes_out) as usize;
        assert!(lowest > 1000, "it is never read again");
        server.hears(client);
        // Only the part of the event that says: room to write.
        server.kernel.borrow_mut().poll(|| true);
        let writable = Readiness::WRITABLE;
        server.turn_with(vec![Event::Connection(id, writable)]);
        server.settle();
    }
    assert!(lowest <= HIGH_MARK / 4 + 1000, "read again at {lowest} bytes: above the low mark");
    assert!(lowest >= HIGH_MARK / 4 - 1000, "read again at {lowest} bytes only");
}

#[test]
fn congested_connection_does_not_hold_up_another() {
    let (mut server, _) = congested_connection();
    let other = server.open();
    assert_eq!(server.asks(other, "short"), "short");
}

#[test]
fn idle_connections_borrow_nothing() {
    let mut server = echo();
    let clients: Vec<usize> = (0..100).map(|_| server.open()).collect();
    assert_eq!(server.engine.usage().buffered, 0);
    for client in clients {
        assert_eq!(server.asks(client, vec![b'x'; 200_000]).len(), 200_000);
        assert_eq!(server.engine.usage().buffered, 0);
    }
}

#[test]
fn partial_line_borrows_what_it_takes_and_gives_it_back() {
    let mut server = ping();
    let client = server.open();
    server.asks(client, "pin");
    assert_eq!(server.engine.usage().buffered, 3);
    server.asks(client, "g\n");
    assert_eq!(server.engine.usage().buffered, 0);
}

#[test]
fn trickling_line_borrows_no_more_than_twice_its_length() {
    let mut server = ping();
    let client = server.open();
    for length in 1..2000 {
        server.asks(client, "x");
        assert!(server.engine.usage().buffered <= 2 * length.max(8));
    }
    server.resets(client);
    server.settle();
    assert_eq!(server.engine.usage().buffered, 0, "a reset gives it back too");
}

#[test]
fn all_buffers_together_are_bounded_and_a_connection_that_needs_more_is_closed() {
    let mut server = Server::limited(Echo, |limits| limits.max_buffered = 1_000_000);
    let greedy: Vec<usize> = (0..20).map(|_| server.open_with_room(1000)).collect();
    for client in &greedy {
        server.says(*client, vec![b'x'; 1 << 20]);
        server.settle();
        assert!(server.engine.usage().buffered <= 1_000_000);
    }
    let refused = greedy.iter().filter(|client| server.is_closed(**client)).count();
    assert!((5..20).contains(&refused), "{refused} are refused");
    assert_eq!(server.stats().closes(CloseReason::Limit), refused as u64);

    let modest = server.open();
    assert_eq!(server.asks(modest, "short"), "short");
}

#[test]
fn partial_lines_count_towards_the_bound_too() {
    let mut server = Server::limited(Ping::new(Framing::Line), |limits| limits.max_buffered = 100_000);
    let slow: Vec<usize> = (0..4).map(|_| server.open()).collect();
    for client in &slow {
        server.asks(*client, vec![b'x'; 30_000]);
    }
    server.assert_closed(slow[3], CloseReason::Limit);
    // A growing buffer doubles: the bound has room for that once another buffer has been given back.
    server.resets(slow[0]);
    assert_eq!(server.asks(slow[1], "\n"), "pong\n");
    assert_eq!(server.asks(slow[2], "\n"), "pong\n");
}

#[test]
fn at_the_bound_on_all_buffers_the_largest_holder_is_closed() {
    let mut server = Server::limited(Ping::new(Framing::Line), |limits| limits.max_buffered = 100_000);
    let small: Vec<usize> = (0..10).map(|_| server.open()).collect();
    let large = server.open();
    assert_eq!(server.asks(large, vec![b'x'; 60_000]), "");
    for client in &small {
        assert_eq!(server.asks(*client, vec![b'x'; 5_000]), "");
    }
    assert_eq!(server.stats().closes(CloseReason::Limit), 1);
    assert!(server.is_closed(large));
    for client in small {
        assert_eq!(server.asks(client, "\n"), "pong\n");
    }
}

#[test]
fn many_that_flood_leave_room_in_each_turn_for_a_newcomer() {
    let mut server = ping();
    let clients: Vec<usize> = (0..300).map(|_| server.open_with_room(2_000)).collect();
    for client in &clients {
        server.says(*client, "ping\n".repeat(13_000));
    }
    let newcomer = server.connect();
    server.says(newcomer, "ping\n");
    let before = server.stats();
    let mut turns = 0;
    while server.hears(newcomer).is_empty() {
        server.turn();
        turns += 1;
        let moved = server.stats().bytes_in - before.bytes_in;
        assert!(moved <= turns * (2 << 20), "{moved} bytes in {turns} turns");
    }
    // Its turn comes after those that were there before, and no later.
    assert!(turns <= 30, "{turns} turns");
    for client in clients {
        server.settle();
        assert!(!server.hears(client).is_empty());
    }
}
