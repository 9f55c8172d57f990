//! Timeouts are kept within a sixteenth of their length and delays exactly, without a needless wake-up.

use std::time::Duration;

use fake::server::Server;
use pingpong::engine::Event;
use pingpong::service::{Echo, Framing, Hello, Ping, Service};
use pingpong::{CloseReason, Limits, Moment};

use crate::{SECOND, congested_connection_limited, hello, hello_limited, ping, thinking_connection};

const LIMIT: Duration = Duration::from_secs(16);

/// Every timeout that a connection may have.
fn sixteen_seconds(limits: &mut Limits) {
    limits.idle_timeout = Some(LIMIT);
    limits.stall_timeout = LIMIT;
    limits.linger = LIMIT;
}

/// Asserts that the connection is closed when this timeout, which began `ago`, is over: not before, and at most a
/// sixteenth later.
#[track_caller]
fn assert_closed_in_time<S: Service>(server: &mut Server<S>, client: usize, ago: Duration) {
    let mut taken = ago;
    while !server.is_closed(client) {
        server.pass(SECOND / 100);
        taken += SECOND / 100;
        assert!(taken <= LIMIT + LIMIT / 16 + SECOND / 50, "it is still open");
    }
    assert!(taken >= LIMIT, "it is closed after {taken:?}");
}

#[test]
fn idle_connections_are_closed_in_time_whenever_they_came() {
    let mut server = Server::limited(Echo, sixteen_seconds);
    let mut came: Vec<(usize, Moment)> = Vec::new();
    for _ in 0..30 {
        came.push((server.open(), server.now()));
        server.pass(SECOND * 37 / 100);
    }
    for (client, at) in came {
        let ago = server.now().since(at);
        assert_closed_in_time(&mut server, client, ago);
    }
    assert_eq!(server.stats().closes(CloseReason::Idle), 30);
}

#[test]
fn byte_now_and_then_keeps_a_connection_from_being_idle() {
    let mut server = Server::limited(Echo, sixteen_seconds);
    let client = server.open();
    for _ in 0..20 {
        server.pass(LIMIT - SECOND);
        assert_eq!(server.asks(client, "x"), "x");
    }
    assert_closed_in_time(&mut server, client, Duration::ZERO);
}

#[test]
fn connection_that_is_owed_an_answer_is_not_idle() {
    let mut server = Server::limited(Hello::new(Framing::Line, 10 * LIMIT), sixteen_seconds);
    let client = server.open();
    server.asks(client, "Michael\n");
    server.pass(10 * LIMIT);
    assert_eq!(server.hears(client), "Hello, Michael!\n");
    assert_closed_in_time(&mut server, client, Duration::ZERO);
    server.assert_closed(client, CloseReason::Idle);
}

#[test]
fn partial_line_does_not_keep_a_silent_connection_open() {
    let mut server = hello_limited(sixteen_seconds);
    let client = server.open();
    server.asks(client, "Mich");
    assert_closed_in_time(&mut server, client, Duration::ZERO);
}

#[test]
fn client_that_takes_none_of_its_answers_is_closed_in_time() {
    let (mut server, client) = congested_connection_limited(sixteen_seconds);
    assert_closed_in_time(&mut server, client, Duration::ZERO);
    server.assert_closed(client, CloseReason::Stall);
}

#[test]
fn client_that_takes_a_little_now_and_then_is_not_stalled() {
    let (mut server, client) = congested_connection_limited(sixteen_seconds);
    for _ in 0..20 {
        server.pass(LIMIT - SECOND);
        assert_eq!(server.hears_bytes(client, 10).len(), 10);
        server.settle();
    }
    assert_closed_in_time(&mut server, client, Duration::ZERO);
    server.assert_closed(client, CloseReason::Stall);
}

#[test]
fn client_that_does_not_take_its_last_answers_after_exit_is_stalled_too() {
    let mut server = Server::limited(Hello::new(Framing::Line, Duration::ZERO), sixteen_seconds);
    let client = server.open_with_room(3);
    server.says(client, "Michael\nexit\n");
    server.settle();
    assert_closed_in_time(&mut server, client, Duration::ZERO);
}

#[test]
fn client_that_never_finishes_is_lingered_for_in_time() {
    let mut server = Server::limited(Hello::new(Framing::Line, Duration::ZERO), sixteen_seconds);
    let client = server.open();
    server.asks(client, "exit\n");
    assert_closed_in_time(&mut server, client, Duration::ZERO);
    server.assert_closed(client, CloseReason::Service);
}

#[test]
fn nobody_with_a_limit_means_nobody_is_woken() {
    let mut server = ping();
    let client = server.open();
    assert_eq!(server.asks(client, "ping\n"), "pong\n");
    assert_eq!(server.engine.deadline(), None);
}

#[test]
fn once_the_last_limit_is_gone_nobody_is_woken_any_more() {
    let mut server = ping();
    let client = server.open_with_room(3);
    server.says(client, "ping\n");
    server.settle();
    assert!(server.engine.deadline().is_some(), "output waits, and that has a limit");
    server.hears(client);
    server.pass(60 * SECOND);
    assert_eq!(server.hears(client), "g\n");
    server.pass(60 * SECOND);
    assert_eq!(server.engine.deadline(), None);
}

#[test]
fn answer_comes_when_its_delay_is_over_and_not_before() {
    let (mut server, client) = thinking_connection();
    assert_eq!(server.engine.deadline(), Some(server.now() + SECOND));
    server.pass(SECOND - Duration::from_nanos(1));
    assert_eq!(server.hears(client), "");
    let turns = server.pass(Duration::from_nanos(1));
    assert_eq!(server.hears(client), "Hello, Michael!\n");
    assert!(turns <= 2, "{turns} turns");
}

#[test]
fn connections_think_side_by_side() {
    let mut server = hello();
    let clients: Vec<usize> = (0..50).map(|_| server.open()).collect();
    for client in &clients {
        assert_eq!(server.asks(*client, "Michael\nTracy\n"), "Welcome!\n");
    }
    for answer in ["Hello, Michael!\n", "Hello, Tracy!\n"] {
        let turns = server.pass(SECOND);
        assert!(turns <= 2, "{turns} turns");
        for client in &clients {
            assert_eq!(server.hears(*client), answer);
        }
    }
}

#[test]
fn nothing_is_read_while_an_answer_is_owed() {
    let (mut server, client) = thinking_connection();
    let reads = server.calls().recv;
    server.says(client, "Tracy\n");
    server.settle();
    assert_eq!(server.calls().recv, reads);
    server.pass(SECOND);
    assert_eq!(server.hears(client), "Hello, Michael!\n");
    server.pass(SECOND);
    assert_eq!(server.hears(client), "Hello, Tracy!\n");
}

#[test]
fn overdue_answers_come_once_and_in_order_after_a_long_stop() {
    let mut server = hello();
    let client = server.open();
    assert_eq!(server.asks(client, "Michael\nTracy\n"), "Welcome!\n");
    server.leap(3600 * SECOND);
    server.settle();
    assert_eq!(server.hears(client), "Hello, Michael!\n");
    server.pass(SECOND);
    assert_eq!(server.hears(client), "Hello, Tracy!\n");
}

#[test]
fn churn_of_thinking_connections_leaves_no_timers_behind() {
    let mut server = Server::new(Hello::new(Framing::Line, 3600 * SECOND));
    let keeper = server.open();
    server.asks(keeper, "Michael\n");
    for _ in 0..500 {
        let client = server.open();
        server.asks(client, "Tracy\n");
        server.resets(client);
        server.settle();
        assert!(server.engine.usage().timers <= 3, "{} timers", server.engine.usage().timers);
    }
    assert_eq!(server.engine.usage().connections, 1);
    server.pass(3600 * SECOND);
    assert_eq!(server.hears(keeper), "Hello, Michael!\n");
    assert_eq!(server.engine.usage().timers, 0);
    assert_eq!(server.engine.deadline(), None);
}

#[test]
fn while_output_waits_for_a_slow_reader_the_loop_is_seldom_woken() {
    // The stall timeout of a minute sets the pace: no connection lingers, so that the two seconds for that do not.
    let (mut server, client) = congested_connection_limited(|_| {});
    assert!(server.pass(10 * SECOND) <= 11, "a sixteenth of a minute, in four parts");
    server.assert_open(client);
}

#[test]
fn short_limit_beside_a_long_one_is_kept_in_time() {
    let (mut server, slow) = congested_connection_limited(|limits| {
        limits.idle_timeout = Some(LIMIT);
        limits.stall_timeout = 100 * LIMIT;
    });
    server.pass(3 * LIMIT);
    let idle = server.open();
    assert_closed_in_time(&mut server, idle, Duration::ZERO);
    assert!(server.pass(20 * LIMIT) <= 16, "and then the long one alone counts");
    server.assert_open(slow);
}

#[test]
fn talkers_whose_bytes_wait_in_the_kernel_are_not_idle() {
    let mut server = Server::limited(Ping::new(Framing::Line), |limits| limits.idle_timeout = Some(2 * SECOND));
    let clients: Vec<usize> = (0..100).map(|_| server.open()).collect();
    for client in &clients {
        assert_eq!(server.asks(*client, "ping\n"), "pong\n");
    }
    // The process is stopped while they speak. Events come in batches, and the clock has leapt.
    for client in &clients {
        server.says(*client, "ping\n");
    }
    server.leap(3 * SECOND);
    let mut events = server.kernel.borrow_mut().poll(|| true);
    while !events.is_empty() {
        let batch: Vec<Event> = events.drain(..events.len().min(10)).collect();
        if !events.is_empty() {
            server.engine.expect_more_events();
        }
        server.dispatch(batch);
    }
    server.settle();
    for client in clients {
        assert_eq!(server.hears(client), "pong\n");
    }
    assert_eq!(server.stats().closes(CloseReason::Idle), 0);
}

#[test]
fn stop_of_the_process_within_a_turn_makes_nobody_idle() {
    let mut server = Server::limited(Ping::new(Framing::Line), |limits| limits.idle_timeout = Some(2 * SECOND));
    let client = server.open();
    assert_eq!(server.asks(client, "ping\n"), "pong\n");
    server.leap(3 * SECOND);
    // The clock has leapt after the poll, which found nothing.
    server.dispatch(Vec::new());
    assert_eq!(server.asks(client, "ping\n"), "pong\n");
    server.pass(3 * SECOND);
    server.assert_closed(client, CloseReason::Idle);
}
