//! Shutting down: what had arrived is answered, nothing new is, and the server stops.

use fake::server::{Server, Wake};
use pingpong::CloseReason;
use pingpong::engine::Usage;
use pingpong::service::{Echo, Framing, Hello, Ping, Service};

use std::time::Duration;

use crate::{SECOND, congested_connection_limited, echo, hello, hello_limited, ping, thinking_connection};

const MILLI: Duration = Duration::from_millis(1);

#[track_caller]
fn assert_stopped<S: Service>(server: &mut Server<S>) {
    assert!(server.engine.is_stopped(), "{:?}, {}", server.engine.usage(), server.stats());
    assert_eq!(server.engine.usage(), Usage::default());
    assert_eq!(server.stats().open(), 0);
}

#[test]
fn backlog_is_accepted_and_answered_before_the_listener_closes() {
    let mut server = ping();
    let waiting: Vec<usize> = (0..100).map(|_| server.connect()).collect();
    for client in &waiting {
        server.says(*client, "ping\n");
        server.finishes(*client);
    }
    server.shut_down();
    assert!(!server.kernel.borrow().is_listening());
    server.settle();
    for client in waiting {
        assert_eq!(server.hears(client), "pong\n");
        assert!(!server.kernel.borrow().connections[client].client_was_reset);
    }
    assert_eq!(server.stats().closes(CloseReason::Peer), 100);
    assert_stopped(&mut server);
}

#[test]
fn pipelined_and_delayed_answers_are_given_first() {
    let mut server = hello();
    let client = server.open();
    server.says(client, "Michael\nTracy\nBob\n");
    server.kernel.borrow_mut().connections[client].is_slow = true;
    server.shut_down();
    server.settle();
    server.pass(3 * SECOND);
    assert_eq!(server.hears_out(client), "Welcome!\nHello, Michael!\nHello, Tracy!\nHello, Bob!\n");
    assert!(!server.engine.is_stopped(), "the client has not finished");
    server.finishes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Shutdown);
    assert_stopped(&mut server);
}

#[test]
fn chunk_that_is_thought_about_stays_a_message_of_its_own() {
    let mut server = Server::new(Hello::new(Framing::Raw, SECOND));
    let client = server.open();
    assert_eq!(server.asks(client, "Michael"), "Welcome!");
    server.says(client, "Tracy");
    server.shut_down();
    server.pass(2 * SECOND);
    assert_eq!(server.hears_out(client), "Hello, Michael!Hello, Tracy!");
}

#[test]
fn what_had_arrived_is_answered_though_its_event_was_not_told() {
    let mut server = ping();
    let client = server.open();
    server.says(client, "ping\n".repeat(100_000));
    server.shut_down();
    assert_eq!(server.hears_out(client), "pong\n".repeat(100_000));
}

#[test]
fn endless_sender_is_answered_what_had_arrived_and_no_more() {
    let mut server = echo();
    let client = server.open();
    server.says(client, vec![b'x'; 10 << 20]);
    server.shut_down();
    server.says(client, vec![b'y'; 1 << 20]);
    let heard = server.hears_out(client);
    assert_eq!((heard.len(), heard.contains('y')), (10 << 20, false));
}

#[test]
fn what_a_full_receive_window_held_back_is_answered() {
    let mut server = ping();
    let client = server.open();
    server.says(client, "ping\n".repeat(20_000));
    server.kernel.borrow_mut().client_holds_back(client, "ping\n".repeat(400).as_bytes());
    server.shut_down();
    assert_eq!(server.hears_out(client), "pong\n".repeat(20_400));
}

#[test]
fn what_had_arrived_is_read_at_the_pace_of_its_answers() {
    // More than all buffers together may hold, of clients that are owed answers.
    let mut server = Server::limited(Echo, |limits| limits.max_buffered = 2 << 20);
    let clients: Vec<usize> = (0..10).map(|_| server.open_with_room(100_000)).collect();
    for client in &clients {
        server.says(*client, vec![b'x'; 1 << 20]);
    }
    server.shut_down();
    server.settle();
    assert!(server.engine.usage().buffered <= 2 << 20, "{:?}", server.engine.usage());
    for client in clients {
        assert_eq!(server.hears_out(client).len(), 1 << 20);
    }
    server.pass(3 * SECOND);
    assert_eq!((server.stats().closes(CloseReason::Limit), server.stats().closes(CloseReason::Shutdown)), (0, 10));
}

#[test]
fn end_of_the_stream_behind_what_had_arrived_is_seen() {
    let mut server = ping();
    let client = server.open();
    server.says(client, "ping\nping");
    server.finishes(client);
    server.shut_down();
    assert_eq!(server.hears_out(client), "pong\npong");
    assert_eq!(server.stats().closes(CloseReason::Peer), 1);
}

#[test]
fn what_arrives_afterwards_is_not_read() {
    let mut server = ping();
    let client = server.open_with_room(2);
    server.says(client, "ping\n");
    server.shut_down();
    server.settle();
    let reads = server.calls().recv;
    server.says(client, "ping\n");
    server.settle();
    assert_eq!(server.calls().recv, reads);
    assert_eq!(server.hears_out(client), "pong\n");
}

#[test]
fn what_arrives_while_an_answer_is_thought_about_is_not_read_either() {
    let (mut server, client) = thinking_connection();
    server.shut_down();
    server.settle();
    server.says(client, "Tracy\n");
    server.pass(3 * SECOND);
    assert_eq!(server.hears_out(client), "Hello, Michael!\n");
}

#[test]
fn idle_connection_is_told_the_end() {
    let mut server = echo();
    let client = server.open();
    server.shut_down();
    assert_eq!(server.hears_out(client), "");
    server.finishes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Shutdown);
    assert_stopped(&mut server);
}

#[test]
fn partial_line_is_not_waited_for() {
    let mut server = ping();
    let client = server.open();
    server.asks(client, "pin");
    server.shut_down();
    assert_eq!(server.hears_out(client), "");
}

#[test]
fn client_that_had_finished_is_closed_as_ever() {
    let (mut server, client) = thinking_connection();
    server.says(client, "Tracy");
    server.finishes(client);
    server.shut_down();
    server.settle();
    server.pass(2 * SECOND);
    assert_eq!(server.hears(client), "Hello, Michael!\nHello, Tracy!");
    server.assert_closed(client, CloseReason::Peer);
    assert_stopped(&mut server);
}

#[test]
fn congested_client_gets_everything_if_it_reads() {
    let (mut server, client) = congested_connection_limited(|_| {});
    server.shut_down();
    assert_eq!(server.hears_out(client).len(), 1 << 20);
    server.finishes(client);
    server.settle();
    assert_stopped(&mut server);
}

#[test]
fn deadline_closes_connections_that_still_wait() {
    let mut server = Server::limited(Hello::new(Framing::Line, 60 * SECOND), |limits| limits.drain = 5 * SECOND);
    let client = server.open();
    server.asks(client, "Michael\n");
    server.shut_down();
    server.pass(5 * SECOND - SECOND / 1000);
    server.assert_open(client);
    server.pass(SECOND / 1000);
    server.assert_closed(client, CloseReason::Shutdown);
    assert_stopped(&mut server);
}

#[test]
fn client_that_sends_for_ever_is_cut_off_too() {
    let mut server = Server::limited(Ping::new(Framing::Line), |limits| limits.drain = 5 * SECOND);
    let client = server.open();
    server.shut_down();
    for _ in 0..50 {
        server.says(client, "ping\n");
        server.pass(SECOND / 10);
    }
    server.settle();
    assert_stopped(&mut server);
}

#[test]
fn asking_twice_changes_nothing() {
    let mut server = hello_limited(|limits| limits.drain = SECOND / 2);
    let client = server.open();
    server.asks(client, "Michael\n");
    server.shut_down();
    server.pass(SECOND / 4);
    server.shut_down();
    server.pass(SECOND / 4);
    server.assert_closed(client, CloseReason::Shutdown);
    assert_stopped(&mut server);
}

#[test]
fn server_with_nothing_to_do_stops_at_once() {
    let mut server = echo();
    assert!(!server.engine.is_stopped());
    server.shut_down();
    assert_stopped(&mut server);
}

#[test]
fn server_with_nothing_to_do_stops_at_once_when_told_between_two_turns() {
    let mut server = echo();
    server.shut_down_between_turns();
    server.settle();
    assert!(server.engine.is_stopped(), "it sleeps until {:?}", server.engine.deadline());
}

#[test]
fn once_stopped_it_stays_so() {
    let mut server = echo();
    server.shut_down();
    let late = server.connect();
    assert!(server.kernel.borrow().connections[late].client_was_reset, "nobody listens");
    assert_eq!(server.turn(), Wake::No);
    assert_stopped(&mut server);
}

#[test]
fn datagrams_that_have_arrived_are_answered_and_later_ones_are_not() {
    let mut server = ping();
    let number = server.bind("127.0.0.1:8888");
    for _ in 0..500 {
        server.arrives(number, "127.0.0.1:4000", "ping");
    }
    server.shut_down();
    assert!(server.kernel.borrow().datagrams[number].open);
    server.settle();
    assert_eq!(server.kernel.borrow().datagrams[number].sent.len(), 500);
    assert!(!server.kernel.borrow().datagrams[number].open, "the socket is gone");
    server.arrives(number, "127.0.0.1:4000", "ping");
    server.settle();
    assert_eq!(server.kernel.borrow().datagrams[number].sent.len(), 500);
    assert_stopped(&mut server);
}

#[test]
fn datagrams_are_not_received_while_connections_are_waited_for() {
    let (mut server, client) = thinking_connection();
    let number = server.bind("127.0.0.1:9999");
    server.shut_down();
    server.settle();
    assert_eq!(server.datagram(number, "127.0.0.1:4000", "Tracy"), None);
    server.pass(SECOND);
    assert_eq!(server.hears(client), "Hello, Michael!\n");
}

#[test]
fn answers_that_wait_for_the_send_buffer_are_still_sent() {
    let mut server = ping();
    let number = server.bind("127.0.0.1:8888");
    server.kernel.borrow_mut().datagrams[number].room = 0;
    server.arrives(number, "127.0.0.1:4000", "ping");
    server.shut_down();
    server.settle();
    server.arrives(number, "127.0.0.1:4000", "ping");
    server.settle();
    assert!(!server.engine.is_stopped());
    assert_eq!(server.stats().datagrams_in, 1, "what arrives meanwhile is left to the kernel");
    server.kernel.borrow_mut().datagram_room(number, 10);
    server.settle();
    assert_eq!(server.kernel.borrow().datagrams[number].sent.len(), 1);
    assert_stopped(&mut server);
}

#[test]
fn answers_that_could_not_be_sent_in_time_are_counted_as_lost() {
    let mut server = Server::limited(Ping::new(Framing::Line), |limits| limits.drain = SECOND);
    let number = server.bind("127.0.0.1:8888");
    server.kernel.borrow_mut().datagrams[number].room = 0;
    server.arrives(number, "127.0.0.1:4000", "ping");
    server.arrives(number, "127.0.0.1:4000", "ping");
    server.shut_down();
    server.settle();
    server.pass(SECOND);
    assert_eq!(server.stats().dropped, 2);
    assert_stopped(&mut server);
}

#[test]
fn clients_that_are_owed_nothing_are_left_at_once() {
    let mut server = echo();
    let (quiet, recent, slow) = (server.open(), server.open(), server.open());
    assert_eq!(server.asks(recent, "x"), "x");
    assert_eq!(server.asks(slow, "x"), "x");
    server.kernel.borrow_mut().connections[slow].is_slow = true;
    server.shut_down();
    assert!(server.is_closed(quiet) && server.is_closed(recent));
    // The last bytes are under way: closing could destroy them.
    server.pass(30 * MILLI);
    server.assert_open(slow);
    server.kernel.borrow_mut().connections[slow].is_slow = false;
    server.pass(50 * MILLI);
    assert!(server.is_closed(slow));
    assert_stopped(&mut server);
}

#[test]
fn client_that_speaks_after_the_shutdown_is_not_reset() {
    let mut server = echo();
    let client = server.open();
    server.kernel.borrow_mut().connections[client].is_slow = true;
    server.shut_down();
    server.says(client, "too late");
    server.kernel.borrow_mut().connections[client].is_slow = false;
    server.pass(SECOND);
    assert!(server.is_closed(client));
    assert!(!server.kernel.borrow().connections[client].client_was_reset);
}

#[test]
fn backlog_beyond_the_limit_is_accepted_as_places_become_free() {
    let mut server = Server::limited(Hello::new(Framing::Line, SECOND), |limits| limits.max_connections = 2);
    let clients: Vec<usize> = (0..6).map(|_| server.connect()).collect();
    for client in &clients {
        server.says(*client, "X\n");
    }
    server.settle();
    assert_eq!(server.stats().waiting, 4);
    server.shut_down();
    for pair in clients.chunks(2) {
        server.pass(SECOND);
        for client in pair {
            assert_eq!(server.hears_out(*client), "Welcome!\nHello, X!\n");
        }
    }
    assert_stopped(&mut server);
    assert_eq!(server.stats().accepted, 6);
}

#[test]
fn flood_of_datagrams_does_not_keep_a_draining_server() {
    let mut server = echo();
    server.bind("127.0.0.1:50007");
    server.shut_down();
    let mut turns = 0;
    while !server.engine.is_stopped() {
        for _ in 0..200 {
            server.arrives(0, "127.0.0.1:4000", "x");
        }
        server.turn();
        turns += 1;
        assert!(turns < 1000, "it receives for ever");
    }
}
