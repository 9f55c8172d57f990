//! How connections end: everything owed is delivered first, and no other connection is touched.

use std::time::Duration;

use fake::server::Server;
use pingpong::CloseReason;
use pingpong::service::{Framing, Hello, Ping};

use crate::{SECOND, congested_connection, echo, hello, ping, thinking_connection};

/// A client that has sent `exit` to a hello without delay, and has not finished sending.
fn lingering_connection() -> (Server<Hello>, usize) {
    let mut server = Server::new(Hello::new(Framing::Line, Duration::ZERO));
    let client = server.open();
    assert_eq!(server.asks(client, "exit\n"), "Welcome!\n");
    server.assert_open(client);
    assert!(server.kernel.borrow().client_sees_end(client));
    (server, client)
}

/// Takes lines of ten bytes.
fn short_lines() -> Server<Ping> {
    Server::limited(Ping::new(Framing::Line), |limits| limits.max_message = 10)
}

#[test]
fn exit_with_unread_input_behind_it_loses_nothing_that_was_answered() {
    let mut server = Server::new(Hello::new(Framing::Line, Duration::ZERO));
    let client = server.open_with_room(7);
    server.says(client, ["Sarah\nexit\n", &"more\n".repeat(30_000)].concat());
    assert_eq!(server.hears_out(client), "Welcome!\nHello, Sarah!\n");
    server.says(client, "and more\n");
    server.finishes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Service);
    assert!(!server.kernel.borrow().connections[client].client_was_reset);
}

#[test]
fn lingering_ends_when_the_client_finishes() {
    let (mut server, client) = lingering_connection();
    server.finishes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Service);
}

#[test]
fn lingering_is_bounded_in_time_however_much_the_client_sends() {
    let (mut server, client) = lingering_connection();
    for _ in 0..19 {
        server.pass(SECOND / 10);
        server.says(client, "more");
        server.assert_open(client);
    }
    server.pass(SECOND / 10 + SECOND / 8);
    server.assert_closed(client, CloseReason::Service);
}

#[test]
fn lingering_is_bounded_in_bytes() {
    let (mut server, client) = lingering_connection();
    server.says(client, vec![b'x'; 4_000_000]);
    server.settle();
    server.assert_open(client);
    server.says(client, vec![b'x'; 1_000_000]);
    server.settle();
    server.assert_closed(client, CloseReason::Service);
}

#[test]
fn lingering_client_that_breaks_off_was_still_closed_by_the_service() {
    let (mut server, client) = lingering_connection();
    server.resets(client);
    server.settle();
    server.assert_closed(client, CloseReason::Service);
}

#[test]
fn client_that_had_finished_is_not_lingered_for() {
    let mut server = Server::new(Hello::new(Framing::Line, Duration::ZERO));
    for last in ["exit\nmore\n", "exit"] {
        let client = server.open();
        server.says(client, ["Sarah\n", last].concat());
        server.finishes(client);
        server.settle();
        assert_eq!(server.hears(client), "Welcome!\nHello, Sarah!\n");
        assert!(server.is_closed(client));
    }
}

#[test]
fn over_long_line_closes_after_the_lines_before_it_are_answered() {
    let mut server = short_lines();
    let (client, other) = (server.open_with_room(3), server.open());
    server.says(client, "ping 1\nx\nping 67890x\nping 2\n");
    assert_eq!(server.hears_out(client), "pong 1\npong\n");
    server.finishes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Overflow);
    assert_eq!(server.asks(other, "ping\n"), "pong\n");
}

#[test]
fn over_long_line_is_not_waited_for() {
    let mut server = short_lines();
    let client = server.open();
    for _ in 0..11 {
        server.asks(client, "x");
    }
    assert!(server.kernel.borrow().client_sees_end(client));
    assert_eq!(server.engine.usage().buffered, 0);
}

#[test]
fn over_long_rest_at_the_end_of_the_stream_is_no_message_either() {
    let mut server = short_lines();
    let client = server.open();
    server.says(client, "ping\n12345678901");
    server.finishes(client);
    server.settle();
    assert_eq!(server.hears(client), "pong\n");
    server.assert_closed(client, CloseReason::Overflow);
}

#[test]
fn line_of_just_the_limit_is_answered_whatever_ends_it() {
    for terminator in ["\n", "\r\n"] {
        for chunk in [1, 3, 100] {
            let mut server = short_lines();
            let client = server.open();
            let line = ["ping 67890", terminator].concat();
            let heard: String = line.as_bytes().chunks(chunk).map(|part| server.asks(client, part)).collect();
            assert_eq!(heard, ["pong 67890", terminator].concat(), "in parts of {chunk}");
        }
    }
    let mut server = short_lines();
    let client = server.open();
    server.says(client, "ping 67890");
    server.finishes(client);
    server.settle();
    assert_eq!(server.hears(client), "pong 67890");
}

#[test]
fn over_long_line_behind_one_that_is_thought_about_waits_for_its_answer() {
    let mut server = Server::limited(Hello::new(Framing::Line, SECOND), |limits| limits.max_message = 10);
    let client = server.open();
    server.asks(client, "Michael\nMichael and Tracy\n");
    assert!(!server.kernel.borrow().client_sees_end(client));
    server.pass(SECOND);
    assert_eq!(server.hears_out(client), "Hello, Michael!\n");
}

#[test]
fn over_long_line_on_a_unix_stream_still_delivers_what_waits() {
    let mut server = short_lines();
    let client = server.open_unix(3);
    server.says(client, "ping 1\nping 2\nping 67890x\n");
    assert_eq!(server.hears_out(client), "pong 1\npong 2\n");
}

#[test]
fn half_closed_client_gets_every_delayed_answer_and_then_the_end() {
    let mut server = hello();
    let client = server.open();
    server.says(client, "Michael\nTracy\nBob");
    server.finishes(client);
    server.settle();
    for (answer, open) in [("Welcome!\n", true), ("Hello, Michael!\n", true), ("Hello, Tracy!\n", true)] {
        assert_eq!(server.hears(client), answer);
        assert_eq!(server.is_closed(client), !open);
        server.pass(SECOND);
    }
    assert_eq!(server.hears(client), "Hello, Bob!");
    server.assert_closed(client, CloseReason::Peer);
}

#[test]
fn half_closed_client_that_reads_slowly_gets_everything() {
    let mut server = ping();
    let client = server.open_with_room(3);
    server.says(client, "ping\n".repeat(100));
    server.finishes(client);
    assert_eq!(server.hears_out(client), "pong\n".repeat(100));
    server.assert_closed(client, CloseReason::Peer);
}

#[test]
fn reset_ends_a_thinking_connection_at_once() {
    let (mut server, client) = thinking_connection();
    server.resets(client);
    server.settle();
    server.assert_closed(client, CloseReason::Reset);
    assert_eq!(server.engine.usage(), pingpong::engine::Usage::default());
}

#[test]
fn reset_right_behind_a_question_is_not_thought_about() {
    let mut server = hello();
    let client = server.open();
    server.says(client, "Michael\n");
    server.resets(client);
    server.settle();
    server.assert_closed(client, CloseReason::Reset);
}

#[test]
fn unix_client_that_is_gone_right_behind_a_question_is_not_thought_about() {
    let mut server = hello();
    let client = server.open_unix(1000);
    server.says(client, "Michael\n");
    server.kernel.borrow_mut().client_closes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Peer);
}

#[test]
fn reset_ends_a_congested_connection_at_once() {
    let (mut server, client) = congested_connection();
    server.resets(client);
    server.settle();
    server.assert_closed(client, CloseReason::Reset);
    assert_eq!(server.engine.usage(), pingpong::engine::Usage::default());
}

#[test]
fn unix_client_that_is_gone_ends_a_thinking_connection() {
    let mut server = hello();
    let client = server.open_unix(1000);
    server.asks(client, "Michael\n");
    server.kernel.borrow_mut().client_closes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Peer);
}

#[test]
fn unix_client_that_is_gone_ends_a_congested_connection() {
    let mut server = echo();
    let client = server.open_unix(1000);
    server.says(client, vec![b'x'; 1 << 20]);
    server.settle();
    server.kernel.borrow_mut().client_closes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Peer);
}

#[test]
fn reset_ends_an_idle_connection_and_no_other() {
    let mut server = echo();
    let (client, other) = (server.open(), server.open());
    server.resets(client);
    server.settle();
    server.assert_closed(client, CloseReason::Reset);
    assert_eq!(server.asks(other, "short"), "short");
    assert_eq!(server.stats().open(), 1);
}
