//! Which datagrams are answered, and how the answers leave.

use std::num::NonZeroU32;

use fake::server::{Server, address};
use nix::libc::{EACCES, ECONNREFUSED, EINVAL, EMSGSIZE, ENOSYS, EPERM};
use pingpong::service::{Echo, Framing, Ping, Service};

use crate::{SECOND, echo, hello, ping};
use pingpong::engine::Event;

/// A ping at this address; far sources have a budget of `rate` a second.
fn ping_at(local: &str, rate: Option<u32>) -> Server<Ping> {
    bound(Ping::new(Framing::Line), local, rate)
}

fn echo_at(local: &str, rate: Option<u32>) -> Server<Echo> {
    bound(Echo, local, rate)
}

fn bound<S: Service>(service: S, local: &str, rate: Option<u32>) -> Server<S> {
    let mut server = Server::limited(service, |limits| limits.udp_budget = rate.and_then(NonZeroU32::new));
    server.bind(local);
    server
}

#[track_caller]
fn assert_loop<S: Service>(server: &mut Server<S>, from: &str, bytes: &str) {
    let before = server.stats().loops;
    assert_eq!(server.datagram(0, from, bytes), None, "{bytes:?} from {from} is answered");
    assert_eq!(server.stats().loops, before + 1, "{bytes:?} from {from} is not counted");
}

#[track_caller]
fn assert_answered<S: Service>(server: &mut Server<S>, from: &str, bytes: &str) {
    assert!(server.datagram(0, from, bytes).is_some(), "{bytes:?} from {from} is not answered");
}

/// How many of these questions from one source are answered without time passing.
fn answers<S: Service>(server: &mut Server<S>, from: &str, questions: usize) -> usize {
    (0..questions).filter(|_| server.datagram(0, from, "x").is_some()).count()
}

#[test]
fn source_port_zero_is_never_answered() {
    for host in ["127.0.0.1", "192.0.2.1", "[::1]"] {
        assert_loop(&mut ping_at("127.0.0.1:8888", None), &format!("{host}:0"), "ping");
        assert_loop(&mut echo_at("127.0.0.1:50007", None), &format!("{host}:0"), "x");
    }
}

#[test]
fn ports_of_known_responders_are_never_answered_and_their_neighbours_are() {
    let responders = [7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 464, 1900, 5353, 11211];
    let (mut ping, mut echo) = (ping_at("10.0.0.1:8888", None), echo_at("10.0.0.1:50007", None));
    for port in responders {
        for host in ["192.0.2.1", "127.0.0.1"] {
            assert_loop(&mut ping, &format!("{host}:{port}"), "ping");
            assert_loop(&mut echo, &format!("{host}:{port}"), "x");
        }
        if !responders.contains(&(port + 1)) {
            assert_answered(&mut ping, &format!("192.0.2.1:{}", port + 1), "ping");
            assert_answered(&mut echo, &format!("192.0.2.1:{}", port + 1), "x");
        }
    }
}

#[test]
fn multicast_broadcast_and_unspecified_sources_are_never_answered() {
    let mut server = ping_at("10.0.0.1:8888", None);
    for host in [
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "0.0.0.0",
        "[::]",
        "[ff02::1]",
        "[::ffff:224.0.0.1]",
        "[::ffff:255.255.255.255]",
        "[::ffff:0.0.0.0]",
    ] {
        assert_loop(&mut server, &format!("{host}:4000"), "ping");
    }
    for host in ["223.255.255.255", "240.0.0.1", "[fe80::1]", "[::ffff:192.0.2.1]"] {
        assert_answered(&mut server, &format!("{host}:4000"), "ping");
    }
}

#[test]
fn ports_that_this_process_serves_are_answered_a_proper_ping_from_afar_only() {
    let mut server = ping_at("10.0.0.1:8888", None);
    server.bind("10.0.0.1:7000");
    for port in [8888, 7000] {
        for host in ["127.0.0.1", "127.1.2.3", "[::1]", "10.0.0.1", "[::ffff:10.0.0.1]"] {
            assert_loop(&mut server, &format!("{host}:{port}"), "ping");
            assert_loop(&mut server, &format!("{host}:{port}"), "x");
        }
        assert_answered(&mut server, &format!("192.0.2.1:{port}"), "ping 1");
        assert_loop(&mut server, &format!("192.0.2.1:{port}"), "x");
        assert_loop(&mut server, &format!("192.0.2.1:{port}"), "pingx");
        assert_loop(&mut server, &format!("192.0.2.1:{port}"), "");
    }
}

#[test]
fn echo_answers_nothing_from_ports_that_this_process_serves() {
    let mut server = echo_at("10.0.0.1:50007", None);
    for host in ["127.0.0.1", "10.0.0.1", "192.0.2.1"] {
        assert_loop(&mut server, &format!("{host}:50007"), "ping");
    }
}

#[test]
fn own_address_on_a_wildcard_socket_is_the_one_that_was_asked() {
    let mut server = ping_at("0.0.0.0:8888", None);
    let ask = |server: &mut Server<Ping>, from: &str, local: &str| {
        let local = local.parse().ok();
        server.kernel.borrow_mut().datagram_arrives(0, address(from), local, b"ping");
        server.settle();
        server.kernel.borrow_mut().datagrams[0].sent.pop().is_some()
    };
    assert!(!ask(&mut server, "10.0.0.1:8888", "10.0.0.1"));
    assert!(ask(&mut server, "10.0.0.1:4000", "10.0.0.1"));
    assert!(ask(&mut server, "10.0.0.2:8888", "10.0.0.1"));
}

#[test]
fn own_unix_path_is_never_answered_nor_a_sender_without_a_name() {
    let mut server = echo();
    server.bind("/run/echo");
    server.bind("/run/other");
    assert_loop(&mut server, "/run/echo", "x");
    assert_loop(&mut server, "/run/other", "x");
    assert_answered(&mut server, "/run/client", "x");

    assert_eq!(server.datagram(0, "", "x"), None);
    assert_eq!(server.stats().dropped, 1);
}

#[test]
fn answers_are_not_answered() {
    let (mut ping, mut hello) = (ping_at("127.0.0.1:8888", None), hello());
    hello.bind("127.0.0.1:9999");
    for answer in ["pong", "PONG 7 abc", "pongping", "Hello, x!", "hELLO, ", "Welcome!", "WELCOME!\n"] {
        assert_loop(&mut ping, "127.0.0.1:4000", answer);
        assert_loop(&mut hello, "127.0.0.1:4000", answer);
    }
    for question in ["pon", "Hello", "Welcome", " pong"] {
        assert_answered(&mut ping, "127.0.0.1:4000", question);
        assert_answered(&mut hello, "127.0.0.1:4000", question);
    }
}

#[test]
fn empty_datagram_is_a_message_to_echo_and_hello_and_nothing_to_ping() {
    let mut echo = echo_at("127.0.0.1:50007", None);
    assert_eq!(echo.datagram(0, "127.0.0.1:4000", ""), Some(Vec::new()));
    let mut server = hello();
    server.bind("127.0.0.1:9999");
    assert_eq!(server.datagram(0, "127.0.0.1:4000", ""), Some(b"Hello, !".to_vec()));
    assert_loop(&mut ping_at("127.0.0.1:8888", None), "127.0.0.1:4000", "");
}

#[test]
fn largest_datagram_is_handled_whole() {
    let mut server = echo_at("127.0.0.1:50007", None);
    let bytes = vec![b'x'; 65_507];
    assert_eq!(server.datagram(0, "127.0.0.1:4000", &bytes), Some(bytes));
}

#[test]
fn far_source_gets_its_budget_and_more_of_it_as_time_passes() {
    let mut server = echo_at("10.0.0.1:50007", Some(10));
    assert_eq!(answers(&mut server, "192.0.2.1:4000", 15), 10);
    assert_eq!(server.stats().over_budget, 5);
    assert_eq!(answers(&mut server, "192.0.2.1:4001", 1), 0, "another port is the same source");
    assert_eq!(answers(&mut server, "192.0.2.2:4000", 15), 10, "another address is not");

    server.pass(SECOND / 10);
    assert_eq!(answers(&mut server, "192.0.2.1:4000", 5), 1);
    server.pass(SECOND / 2);
    assert_eq!(answers(&mut server, "192.0.2.1:4000", 15), 5);
    server.pass(100 * SECOND);
    assert_eq!(answers(&mut server, "192.0.2.1:4000", 100), 10);
}

#[test]
fn network_of_one_host_is_one_source() {
    let mut server = echo_at("[2001:db8:1::1]:50007", Some(10));
    assert_eq!(answers(&mut server, "[2001:db8::1]:4000", 15), 10);
    assert_eq!(answers(&mut server, "[2001:db8::ffff:2]:4000", 15), 0);
    assert_eq!(answers(&mut server, "[2001:db8:0:1::1]:4000", 15), 10);
    assert_eq!(answers(&mut server, "192.0.2.1:4000", 15), 10);
    assert_eq!(answers(&mut server, "[::ffff:192.0.2.1]:4000", 15), 0);
}

#[test]
fn proper_pings_are_exempt_from_the_budget_and_do_not_use_it_up() {
    let mut server = ping_at("10.0.0.1:8888", Some(10));
    for _ in 0..100 {
        assert_answered(&mut server, "192.0.2.1:4000", "ping 1");
    }
    assert_eq!(answers(&mut server, "192.0.2.1:4000", 15), 10);
    assert_answered(&mut server, "192.0.2.1:4000", "ping 1");
}

#[test]
fn proper_pings_to_a_broadcast_address_use_up_the_budget() {
    let mut server = ping_at("0.0.0.0:8888", Some(10));
    for _ in 0..15 {
        server.kernel.borrow_mut().broadcast_arrives(0, address("192.0.2.1:4000"), b"ping 1");
    }
    server.settle();
    assert_eq!((server.stats().datagrams_out, server.stats().over_budget), (10, 5));
}

#[test]
fn what_is_not_answered_costs_nothing() {
    let mut server = ping_at("10.0.0.1:8888", Some(10));
    for _ in 0..100 {
        assert_loop(&mut server, "192.0.2.1:4000", "pong");
    }
    assert_eq!(answers(&mut server, "192.0.2.1:4000", 15), 10);
}

#[test]
fn loopback_and_unix_senders_have_no_budget() {
    for host in ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"] {
        assert_eq!(answers(&mut echo_at("[::]:50007", Some(1)), &format!("{host}:4000"), 50), 50);
    }
    assert_eq!(answers(&mut echo_at("/run/echo", Some(1)), "/run/client", 50), 50);
}

#[test]
fn budget_can_be_lifted() {
    assert_eq!(answers(&mut echo_at("10.0.0.1:50007", None), "192.0.2.1:4000", 2000), 2000);
}

#[test]
fn default_budget_is_a_hundred() {
    let mut server = echo();
    server.bind("10.0.0.1:50007");
    assert_eq!(answers(&mut server, "192.0.2.1:4000", 150), 100);
}

#[test]
fn send_error_is_a_count_and_nothing_else() {
    for error in [EINVAL, EACCES, EMSGSIZE] {
        let mut server = ping();
        server.bind("127.0.0.1:8888");
        server.kernel.borrow_mut().datagrams[0].send_error = Some(error);
        assert_eq!(server.datagram(0, "127.0.0.1:4000", "ping"), None);
        assert_eq!((server.stats().dropped, server.stats().datagrams_out), (1, 0));
        server.kernel.borrow_mut().datagrams[0].send_error = None;
        assert_answered(&mut server, "127.0.0.1:4000", "ping");
    }
}

#[test]
fn error_that_an_earlier_send_left_does_not_stop_receiving() {
    let mut server = ping_at("127.0.0.1:8888", None);
    server.kernel.borrow_mut().datagrams[0].receive_errors.extend([ECONNREFUSED; 10]);
    assert_answered(&mut server, "127.0.0.1:4000", "ping");
}

#[test]
fn socket_whose_receives_always_fail_rests_and_is_tried_again() {
    let mut server = ping_at("127.0.0.1:8888", None);
    server.bind("127.0.0.1:8889");
    let failing = 1000;
    server.kernel.borrow_mut().datagrams[0].receive_errors.extend([EPERM; 1000]);
    let calls = |server: &Server<Ping>| failing - server.kernel.borrow().datagrams[0].receive_errors.len();
    server.arrives(0, "127.0.0.1:4000", "ping 1");
    server.settle();
    assert!(calls(&server) < 20, "{} calls before it rests", calls(&server));
    let before = calls(&server);
    server.pass(SECOND);
    assert!((8..=12).contains(&(calls(&server) - before)), "{} calls a second", calls(&server) - before);
    // New datagrams do not wake it, and other sockets are served.
    let before = calls(&server);
    for _ in 0..50 {
        assert!(server.datagram(1, "127.0.0.1:4000", "ping").is_some());
        server.arrives(0, "127.0.0.1:4000", "ping 2");
        server.settle();
    }
    assert_eq!(calls(&server), before);

    server.kernel.borrow_mut().datagrams[0].receive_errors.clear();
    server.pass(SECOND);
    assert_eq!(sent(&server).len(), 51);
    server.arrives(0, "127.0.0.1:4000", "ping 3");
    server.settle();
    assert_eq!(sent(&server).len(), 52);
}

#[test]
fn drain_does_not_wait_for_a_socket_whose_receives_fail() {
    let mut server = ping_at("127.0.0.1:8888", None);
    server.kernel.borrow_mut().datagrams[0].receive_errors.extend([ENOSYS; 1000]);
    server.arrives(0, "127.0.0.1:4000", "ping");
    server.shut_down();
    server.settle();
    assert!(server.engine.is_stopped());
}

#[test]
fn datagrams_lost_in_the_kernel_are_counted() {
    let mut server = ping_at("127.0.0.1:8888", None);
    server.kernel.borrow_mut().datagrams[0].lost = 17;
    assert_eq!(server.stats().dropped, 17);
    server.shut_down();
    server.settle();
    assert_eq!(server.stats().dropped, 17, "also when the socket is closed");
}

/// A socket whose send buffer is full, and that has received `questions` numbered datagrams.
fn full_socket(questions: usize) -> Server<Echo> {
    let server = echo_at("127.0.0.1:50007", None);
    server.kernel.borrow_mut().datagrams[0].room = 0;
    for number in 0..questions {
        server.arrives(0, "127.0.0.1:4000", number.to_string());
    }
    server
}

fn sent<S: Service>(server: &Server<S>) -> Vec<String> {
    let mailbox = &server.kernel.borrow().datagrams[0];
    mailbox.sent.iter().map(|(_, _, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
}

#[test]
fn answers_wait_for_the_send_buffer_and_leave_in_order() {
    let mut server = full_socket(100);
    server.settle();
    assert!(server.kernel.borrow().datagrams[0].armed);
    assert_eq!(server.engine.deadline(), None, "it waits for an event");
    for room in [1, 30, 1000] {
        server.kernel.borrow_mut().datagram_room(0, room);
        server.settle();
        server.arrives(0, "127.0.0.1:4000", "later");
        server.settle();
    }
    let in_order = (0..100).map(|number| number.to_string()).chain((0..3).map(|_| "later".to_owned()));
    assert_eq!(sent(&server), in_order.collect::<Vec<_>>());
    assert!(!server.kernel.borrow().datagrams[0].armed, "armed only while something waits");
    assert_eq!(server.stats().datagrams_out, 103);
}

/// Asks while there is room again of which the server has not been told, and then tells it.
fn ask_before_the_room_is_told<S: Service>(server: &mut Server<S>, from: &str, bytes: &str) {
    server.arrives(0, from, bytes);
    server.kernel.borrow_mut().poll(|| true);
    server.turn_with(vec![Event::Datagram { number: 0, readable: true, writable: false }]);
    server.turn_with(vec![Event::Datagram { number: 0, readable: false, writable: true }]);
}

#[test]
fn new_answer_does_not_overtake_those_that_wait() {
    let mut server = full_socket(2);
    server.settle();
    server.kernel.borrow_mut().datagrams[0].room = usize::MAX;
    ask_before_the_room_is_told(&mut server, "127.0.0.1:4000", "2");
    assert_eq!(sent(&server), ["0", "1", "2"]);
}

#[test]
fn new_answer_to_a_unix_peer_does_not_overtake_those_that_wait_for_it() {
    let mut server = echo();
    server.bind("/run/echo");
    server.kernel.borrow_mut().datagrams[0].full.push(address("/run/slow"));
    server.arrives(0, "/run/slow", "0");
    server.settle();
    server.kernel.borrow_mut().datagrams[0].full.clear();
    ask_before_the_room_is_told(&mut server, "/run/slow", "1");
    assert_eq!(sent(&server), ["0", "1"]);
}

#[test]
fn answers_beyond_the_bound_are_dropped_and_counted() {
    let mut server = full_socket(1100);
    server.settle();
    assert_eq!(server.stats().dropped, 1100 - 1024);
    server.kernel.borrow_mut().datagram_room(0, usize::MAX);
    server.settle();
    assert_eq!(sent(&server), (0..1024).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn waiting_answers_are_bounded_in_bytes_too() {
    let mut server = echo_at("127.0.0.1:50007", None);
    server.kernel.borrow_mut().datagrams[0].room = 0;
    for round in 1..=2 {
        for _ in 0..40 {
            server.arrives(0, "127.0.0.1:4000", vec![b'x'; 60_000]);
        }
        server.settle();
        server.kernel.borrow_mut().datagram_room(0, 40);
        server.settle();
        server.kernel.borrow_mut().datagram_room(0, 0);
        let sent = sent(&server).len();
        assert_eq!(sent, round * ((1 << 20) / 60_000), "the bound is the same in the next round");
    }
}

#[test]
fn full_unix_peer_does_not_hold_up_another() {
    let mut server = echo();
    server.bind("/run/echo");
    server.kernel.borrow_mut().datagrams[0].full.push(address("/run/slow"));
    for number in 0..3 {
        server.arrives(0, "/run/slow", format!("slow {number}"));
        server.arrives(0, "/run/fast", format!("fast {number}"));
    }
    server.settle();
    assert_eq!(sent(&server), ["fast 0", "fast 1", "fast 2"]);
    server.arrives(0, "/run/fast", "fast 3");
    server.settle();
    assert_eq!(sent(&server).len(), 4);

    server.kernel.borrow_mut().datagram_peer_reads(0, &address("/run/slow"));
    server.pass(SECOND);
    assert_eq!(sent(&server)[4..], ["slow 0", "slow 1", "slow 2"]);
    assert_eq!(server.stats().dropped, 0);
}

#[test]
fn unix_peer_that_never_reads_neither_spins_the_loop_nor_takes_the_room_of_others() {
    let mut server = echo();
    server.bind("/run/echo");
    server.kernel.borrow_mut().datagrams[0].full.push(address("/run/deaf"));
    for number in 0..2000 {
        server.arrives(0, "/run/deaf", number.to_string());
    }
    server.settle();
    assert!(!server.kernel.borrow().datagrams[0].armed, "an unconnected Unix socket is writable at all times");
    let turns = server.pass(60 * SECOND);
    assert!(turns < 300, "{turns} turns in a minute");

    // Another receiver that is slow has room to wait in.
    server.kernel.borrow_mut().datagrams[0].full.push(address("/run/slow"));
    server.arrives(0, "/run/slow", "slow");
    server.arrives(0, "/run/fast", "fast");
    server.settle();
    assert_eq!(sent(&server), ["fast"]);
    server.kernel.borrow_mut().datagram_peer_reads(0, &address("/run/slow"));
    server.pass(SECOND);
    assert_eq!(sent(&server), ["fast", "slow"]);
}

#[test]
fn two_full_unix_peers_each_get_theirs_when_they_read() {
    let mut server = echo();
    server.bind("/run/echo");
    for peer in ["/run/a", "/run/b"] {
        server.kernel.borrow_mut().datagrams[0].full.push(address(peer));
        server.arrives(0, peer, peer);
    }
    server.settle();
    for (peer, so_far) in [("/run/b", 1), ("/run/a", 2)] {
        server.kernel.borrow_mut().datagram_peer_reads(0, &address(peer));
        server.pass(SECOND);
        assert_eq!(sent(&server).len(), so_far);
        assert_eq!(sent(&server).last().map(String::as_str), Some(peer));
    }
}

#[test]
fn answer_leaves_from_the_address_that_was_asked_also_when_it_had_to_wait() {
    let mut server = echo_at("0.0.0.0:50007", None);
    let asked = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
    for room in [10, 0] {
        server.kernel.borrow_mut().datagrams[0].room = room;
        for local in asked {
            server.kernel.borrow_mut().datagram_arrives(0, address("192.0.2.1:4000"), Some(local), b"x");
        }
        server.settle();
    }
    server.kernel.borrow_mut().datagram_room(0, 10);
    server.settle();
    let kernel = server.kernel.borrow();
    let from: Vec<_> = kernel.datagrams[0].sent.iter().map(|(_, from, _)| from.map(|from| from.ip)).collect();
    assert_eq!(from, [Some(asked[0]), Some(asked[1]), Some(asked[0]), Some(asked[1])]);
}
