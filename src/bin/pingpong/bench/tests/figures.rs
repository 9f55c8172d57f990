//! The load over the fake kernel with a virtual clock: every figure is known to the nanosecond.

use std::time::Duration;

use nix::libc::{EACCES, ECONNREFUSED};
use pingpong::Address;

use super::{MILLI, Rig, asking, dialling, rates, times};
use crate::bench::load::Stage;
use crate::bench::record::{Fact, Latency};
use crate::bench::{BenchOptions, Extent};
use crate::probe::Probe;

/// How many of the times are longer than 5 ms.
fn slow(times: &[(u64, u64)]) -> u64 {
    times.iter().filter(|(millis, _)| *millis > 5).map(|(_, count)| count).sum()
}

#[test]
fn a_closed_loop_asks_again_when_it_has_its_answer() {
    let mut server = asking(|_| {});
    assert_eq!(server.asked(0), [1]);
    assert!(server.asked(0).is_empty());
    server.pass(5 * MILLI);
    server.answers(0, &[1]);
    assert_eq!(server.asked(0), [2]);
}

#[test]
fn all_that_was_sent_in_time_is_waited_for_and_nothing_else_counts() {
    let mut server = asking(|options| options.warmup = 100 * MILLI);
    server.echo_for(0, 10 * MILLI, Duration::from_secs(3));
    assert!(server.is_over());
    // The request that the end of the warm-up found unanswered counts, but not for the rate.
    let carried = (Fact::CarriedOver, 1);
    server.assert_counts(&[(Fact::Sent, 101), (Fact::Requests, 101), carried, (Fact::ConnectionsOpened, 1)]);
    let service = server.load(|load| times(&load.ledger.service.total));
    assert_eq!(service, [(10, 101)]);
    let now = server.now();
    let (measured, per_second) = server.load(|load| (load.ledger.measured(now), load.ledger.per_second(now)));
    assert_eq!((measured, per_second), (Duration::from_secs(1), 100.0));
}

#[test]
fn an_open_loop_asks_on_schedule_whether_or_not_answers_come() {
    let mut server = asking(|options| options.rates = rates(100.0));
    server.pass(95 * MILLI);
    assert_eq!(server.asked(0), (1..=10).collect::<Vec<u64>>());
    server.pass(10 * MILLI);
    assert_eq!(server.asked(0), [11]);
}

#[test]
fn a_stall_is_in_every_response_that_had_to_wait_for_it() {
    // The server stalls for 150 ms once, and answers at once before and after.
    let mut open = asking(|options| options.rates = rates(100.0));
    open.echo_for(0, MILLI, 500 * MILLI);
    open.echo_for(0, 150 * MILLI, MILLI);
    open.echo_for(0, MILLI, Duration::from_secs(2));
    assert!(open.is_over());
    assert_eq!(open.count(Fact::Requests), 100);
    let response = open.load(|load| times(&load.ledger.response.as_ref().unwrap().total));
    assert!((14..=16).contains(&slow(&response)), "{response:?}");

    // The closed loop sees the same stall once: that is what is wrong with a closed loop.
    let mut closed = asking(|_| {});
    closed.echo_for(0, MILLI, 500 * MILLI);
    closed.echo_for(0, 150 * MILLI, MILLI);
    closed.echo_for(0, MILLI, Duration::from_secs(2));
    let service = closed.load(|load| times(&load.ledger.service.total));
    assert_eq!(slow(&service), 1, "{service:?}");
}

#[test]
fn what_the_load_itself_delays_is_lag_and_in_the_response_but_not_in_the_service_time() {
    let mut server = asking(|options| options.rates = rates(100.0));
    server.echo_for(0, MILLI, 100 * MILLI);
    // The process is stopped for a while.
    server.leap(55 * MILLI);
    server.echo_for(0, MILLI, Duration::from_secs(2));
    assert_eq!(server.count(Fact::Requests), 100);
    let (lag, service, response) = server.load(|load| {
        let ledger = &load.ledger;
        let of = |latency: &Option<Latency>| times(&latency.as_ref().unwrap().total);
        (of(&ledger.lag), times(&ledger.service.total), of(&ledger.response))
    });
    // One request was under way.
    assert!(slow(&lag) >= 4 && slow(&response) > 4 && slow(&service) <= 1, "{lag:?} {service:?} {response:?}");
}

#[test]
fn an_answer_that_came_while_the_load_stood_still_is_not_lost_and_the_pause_is_told() {
    for (at, pause) in [(500 * MILLI, 400 * MILLI), (900 * MILLI, Duration::from_secs(2))] {
        let mut server = asking(|_| {});
        server.pass(10 * MILLI);
        server.answers(0, &[1]);
        server.echo_for(0, 10 * MILLI, at);
        let asked = server.asked(0);
        // The answer is there when the load goes on, and so is the time to give the request up, or to end.
        server.says(0, format!("pong {:012} abcdefghijk\n", asked[0]));
        server.leap(pause);
        // It stood still behind the poll: its timers run before it looks for events again.
        server.dispatch(Vec::new());
        assert_eq!(server.count(Fact::Lost), 0, "it may have come");
        server.settle();
        assert_eq!((server.count(Fact::Late), server.count(Fact::Lost)), (1, 0), "{pause:?}");
        let told = server.load(|load| load.ledger.longest_pause);
        assert!(told <= pause && told + 50 * MILLI > pause, "{told:?}");
    }
}

#[test]
fn an_answer_after_the_timeout_is_lost_until_it_comes_and_then_late() {
    let mut server = asking(|_| {});
    assert_eq!(server.asked(0), [1]);
    server.pass(250 * MILLI);
    assert_eq!(server.count(Fact::Lost), 1);
    assert!(server.asked(0).is_empty(), "on a stream its place is taken until its answer comes");
    server.answers(0, &[1]);
    assert_eq!(server.asked(0), [2]);
    server.assert_counts(&[(Fact::Sent, 2), (Fact::Late, 1), (Fact::ConnectionsOpened, 1)]);
    server.answers(0, &[2]);
    assert_eq!(server.count(Fact::Requests), 1);
    server.answers(0, &[2]);
    assert_eq!(server.count(Fact::Duplicate), 1);
}

#[test]
fn a_pipeline_is_kept_full() {
    let mut server = asking(|options| options.pipeline = 4);
    assert_eq!(server.asked(0), [1, 2, 3, 4]);
    server.answers(0, &[1, 2]);
    assert_eq!(server.asked(0), [5, 6]);
}

#[test]
fn wrong_bytes_are_an_error_of_their_own() {
    let mut server = asking(|_| {});
    assert_eq!(server.asked(0), [1]);
    server.says(0, "pong 000000000001 abcdefghijK\n");
    assert_eq!(server.asked(0), [2]);
    server.answers(0, &[2]);
    assert_eq!(server.asked(0), [3]);
    server.assert_counts(&[(Fact::Sent, 3), (Fact::Wrong, 1), (Fact::Requests, 1), (Fact::ConnectionsOpened, 1)]);
}

#[test]
fn what_arrived_before_a_request_was_sent_is_not_its_answer() {
    let mut server = asking(|options| options.probe = Probe::Pong(5));
    for _ in 0..3 {
        server.pass(MILLI);
        assert_eq!(server.hears(0), "ping\n");
        server.says(0, "pong\npong\n");
        server.settle();
    }
    assert_eq!((server.count(Fact::Requests), server.count(Fact::Duplicate)), (3, 3));
    assert_eq!(server.load(|load| times(&load.ledger.service.total)), [(1, 3)], "each took its millisecond");
}

#[test]
fn an_answer_without_an_end_is_wrong_and_those_behind_it_are_broken() {
    let mut server = asking(|options| options.pipeline = 3);
    server.says(0, "x".repeat(70_000));
    server.settle();
    assert!(server.is_over(), "nobody is left");
    server.assert_counts(&[
        (Fact::Sent, 3),
        (Fact::Wrong, 1),
        (Fact::Broken, 2),
        (Fact::ConnectionsLost, 1),
        (Fact::ConnectionsOpened, 1),
    ]);
    let told = server.load(|load| load.ledger.mistakes.wrong.clone());
    assert!(told.is_some_and(|wrong| wrong.got == "(a line without an end)" && wrong.expected.starts_with("pong 0")));
}

/// A load over datagrams whose scout has been answered.
fn asking_datagrams(set: impl FnOnce(&mut BenchOptions)) -> Rig {
    let mut server = dialling(|options| {
        options.endpoint = "udp://192.0.2.1:8888".parse().unwrap();
        set(options);
    });
    server.tells(0, 1);
    assert_eq!(server.load(|load| load.stage), Stage::Asking);
    server
}

#[test]
fn datagram_sockets_take_their_time_though_all_are_made_in_one_turn() {
    let mut server = dialling(|options| {
        options.endpoint = "udp://192.0.2.1:8888".parse().unwrap();
        options.connections = 1_000;
    });
    server.keep_exact_time(1_000);
    server.tells(0, 1);
    server.pass(2 * MILLI);
    assert_eq!((server.load(|load| load.stage), server.count(Fact::ConnectionsOpened)), (Stage::Asking, 1_000));
    let took = server.load(|load| load.ledger.connecting());
    assert!(took >= MILLI, "{took:?}");
}

#[test]
fn datagrams_of_a_pipeline_leave_in_runs_from_the_first_on() {
    let mut server = asking_datagrams(|options| options.pipeline = 4);
    let runs = |server: &Rig| server.kernel.borrow().datagrams[0].runs.clone();
    assert_eq!(runs(&server), [4]);
    for number in 2..=4 {
        server.arrives(0, "192.0.2.1:8888", format!("pong {number:012} abcdefghijkl"));
    }
    server.settle();
    assert_eq!(runs(&server), [4, 3], "three answers, three more questions");
    server.assert_counts(&[(Fact::Sent, 7), (Fact::Requests, 3), (Fact::ConnectionsOpened, 1)]);
}

#[test]
fn a_datagram_is_late_however_late_it_comes_and_never_lost_and_double() {
    let mut server = asking_datagrams(|options| options.extent = Extent::Duration(Duration::from_secs(3)));
    server.pass(1_500 * MILLI);
    let lost = server.count(Fact::Lost);
    assert!(lost >= 6, "{lost}");
    for number in 2..=lost + 1 {
        server.tells(0, number);
    }
    assert_eq!((server.count(Fact::Late), server.count(Fact::Lost), server.count(Fact::Duplicate)), (lost, 0, 0));
    server.tells(0, 3);
    assert_eq!(server.count(Fact::Duplicate), 1);
}

#[test]
fn without_a_number_a_lost_datagram_falsifies_no_other() {
    for rate in [None, Some(50.0)] {
        let mut server = asking_datagrams(|options| {
            (options.connections, options.rates) = (2, rates(rate));
            options.probe = Probe::Pong(8);
        });
        // What the scout asked.
        server.kernel.borrow_mut().datagrams[0].sent.remove(0);
        let mut asked = 0;
        while !server.is_over() {
            server.pass(MILLI);
            for socket in 0..2 {
                let sent = std::mem::take(&mut server.kernel.borrow_mut().datagrams[socket].sent);
                for (_, _, bytes) in sent {
                    asked += 1;
                    if asked != 5 {
                        server.tells_text(socket, &String::from_utf8(bytes).unwrap().replace("ping", "pong"));
                    }
                }
            }
        }
        assert_eq!((server.count(Fact::Lost), server.count(Fact::Late)), (1, 0), "{rate:?}");
        let service = server.load(|load| times(&load.ledger.service.total));
        assert!(slow(&service) == 0, "{rate:?} {service:?}");
    }
}

#[test]
fn without_a_number_an_answer_is_not_that_of_a_request_whose_time_is_up() {
    let mut server = asking_datagrams(|options| (options.pipeline, options.probe) = (2, Probe::Pong(8)));
    server.pass(10 * MILLI);
    server.tells_text(0, "pong abc");
    // The second one is lost. The third has 10 ms left when its answer comes, and the sweep has not been there since.
    server.pass(195 * MILLI);
    server.tells_text(0, "pong abc");
    assert_eq!((server.count(Fact::Requests), server.count(Fact::Lost), server.count(Fact::Late)), (2, 1, 0));
}

impl Rig {
    /// An answer arrives at a datagram socket.
    fn tells(&mut self, socket: usize, number: u64) {
        self.tells_text(socket, &format!("pong {number:012} abcdefghijkl"));
    }

    fn tells_text(&mut self, socket: usize, answer: &str) {
        let from = Address::Ip(([192, 0, 2, 1], 8888).into());
        self.kernel.borrow_mut().datagram_arrives(socket, from, None, answer.as_bytes());
        self.settle();
    }
}

#[test]
fn datagrams_may_be_lost_late_doubled_and_out_of_order() {
    let mut server = asking_datagrams(|options| options.rates = rates(100.0));
    server.pass(45 * MILLI);
    for number in [3, 2, 2, 4] {
        server.tells(0, number);
    }
    assert_eq!((server.count(Fact::Requests), server.count(Fact::Reordered), server.count(Fact::Duplicate)), (3, 1, 1));
    server.pass(220 * MILLI);
    server.tells(0, 6);
    assert_eq!(server.count(Fact::Late), 1);
    server.pass(Duration::from_secs(3));
    assert!(server.is_over());
    server.assert_counts(&[
        (Fact::Sent, 100),
        (Fact::Requests, 3),
        (Fact::Late, 1),
        (Fact::Lost, 96),
        (Fact::Duplicate, 1),
        (Fact::Reordered, 1),
        (Fact::ConnectionsOpened, 1),
    ]);
}

#[test]
fn a_socket_whose_datagrams_are_refused_asks_on_but_not_at_full_speed() {
    let mut server = asking_datagrams(|_| {});
    for _ in 0..20 {
        server.kernel.borrow_mut().datagrams[0].receive_errors.push_back(ECONNREFUSED);
        server.kernel.borrow_mut().datagrams[0].woken = true;
        server.settle();
    }
    assert_eq!(server.count(Fact::Refused), 1);
    server.pass(100 * MILLI);
    assert!((2..20).contains(&server.count(Fact::Sent)), "{}", server.count(Fact::Sent));
}

#[test]
fn one_refusal_is_that_of_all_requests_of_its_socket() {
    let mut server = asking_datagrams(|options| options.pipeline = 3);
    server.kernel.borrow_mut().datagrams[0].receive_errors.push_back(EACCES);
    server.kernel.borrow_mut().datagrams[0].woken = true;
    server.settle();
    assert_eq!(server.count(Fact::Refused), 3);
    let reasons = server.load(|load| load.ledger.refused_reasons.clone());
    assert_eq!(reasons, [("permission denied".to_owned(), 3)].into());
}

#[test]
fn refusals_of_the_warm_up_have_no_reason_in_the_books() {
    let mut server = asking_datagrams(|options| options.warmup = 100 * MILLI);
    server.kernel.borrow_mut().datagrams[0].receive_errors.push_back(EACCES);
    server.kernel.borrow_mut().datagrams[0].woken = true;
    server.settle();
    assert!(server.count(Fact::Refused) == 0 && server.load(|load| load.ledger.refused_reasons.is_empty()));
}
