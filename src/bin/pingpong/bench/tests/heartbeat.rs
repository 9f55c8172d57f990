//! The load over the fake kernel with heartbeats of idle connections: when they are due, and what becomes of each.
//!
//! Connection 0 asks and is answered; 1 to 4 are idle, and each has a heartbeat every 400 ms: one of the first is due in
//! the beginning, one of the second after 100 ms, and so on.

use std::time::Duration;

use nix::libc::ECONNREFUSED;
use pingpong::Address;

use super::{MILLI, Rig, asking, dialling, rates};
use crate::bench::load::Stage;
use crate::bench::record::{Counts, Fact};
use crate::bench::{BenchOptions, Extent};

const IDLE: usize = 4;
const TENTH: Duration = Duration::from_millis(100);

fn beating(set: impl FnOnce(&mut BenchOptions)) -> Rig {
    asking(|options| {
        options.idle = IDLE as u32;
        options.heartbeat = Some(4 * TENTH);
        options.timeout = 150 * MILLI;
        set(options);
    })
}

fn idle_ones() -> std::ops::RangeInclusive<usize> {
    1..=IDLE
}

impl Rig {
    /// What has been asked by heartbeats: which connection, with which number.
    fn heartbeats(&mut self) -> Vec<(usize, u64)> {
        idle_ones().flat_map(|idle| self.asked(idle).into_iter().map(move |number| (idle, number))).collect()
    }

    /// A tenth of a second passes, in which the connection that asks is answered, and the idle ones that `answers` names.
    fn tenth(&mut self, answers: impl Fn(usize) -> bool) -> Vec<(usize, u64)> {
        let asked = self.heartbeats();
        for (idle, number) in asked.iter().copied().filter(|(idle, _)| answers(*idle)) {
            self.answers(idle, &[number]);
        }
        self.echo_for(0, 10 * MILLI, TENTH);
        asked
    }

    /// Answers at once until the run is over.
    fn finish(&mut self, answers: impl Fn(usize) -> bool) -> Counts {
        for _ in 0..40 {
            if self.is_over() {
                break;
            }
            self.tenth(&answers);
        }
        assert_eq!(self.load(|load| load.stage), Stage::Resting);
        self.conclude()
    }

    fn conclude(&mut self) -> Counts {
        let now = self.now();
        self.load(|load| load.conclude(now, 0)).unwrap();
        let counts = self.counts();
        let outcomes: u64 = Fact::HEARTBEATS.iter().map(|fact| counts[*fact]).sum();
        assert_eq!(counts[Fact::Heartbeats], outcomes, "{counts:?}");
        counts
    }
}

#[track_caller]
fn assert_heartbeats(counts: &Counts, expected: &[(Fact, u64)]) {
    for (fact, name) in Fact::ALL.into_iter().filter(|(fact, _)| fact.is_of_heartbeats() || *fact == Fact::IdleHeld) {
        let expected = expected.iter().find(|(other, _)| *other == fact).map_or(0, |(_, count)| *count);
        assert_eq!(counts[fact], expected, "{name} in {counts:?}");
    }
}

#[test]
fn heartbeats_are_spread_evenly_and_checked_and_no_requests() {
    let mut server = beating(|_| {});
    let beaten: Vec<_> = (0..10).flat_map(|_| server.tenth(|_| true)).collect();
    let expected: Vec<(usize, u64)> = (0..10).map(|event| (1 + event % IDLE, 1 + event as u64)).collect();
    assert_eq!(beaten, expected);
    let counts = server.finish(|_| true);
    assert_heartbeats(&counts, &[(Fact::Heartbeats, 10), (Fact::HeartbeatsAnswered, 10), (Fact::IdleHeld, 4)]);
    assert_eq!(counts[Fact::Sent], counts[Fact::Requests]);
    assert!((95..=101).contains(&counts[Fact::Sent]), "one every ten milliseconds: {}", counts[Fact::Sent]);
}

#[test]
fn heartbeats_go_on_to_the_end_of_the_time_though_no_request_is_due_any_more() {
    let mut server = beating(|options| options.rates = rates(2.0));
    let counts = server.finish(|_| true);
    assert_heartbeats(&counts, &[(Fact::Heartbeats, 10), (Fact::HeartbeatsAnswered, 10), (Fact::IdleHeld, 4)]);
    assert_eq!((counts[Fact::Sent], counts[Fact::Unsent]), (2, 0));
}

#[test]
fn heartbeats_that_are_due_close_together_leave_together() {
    let mut server = beating(|options| {
        options.idle = 160;
        options.heartbeat = Some(160 * 10 * MILLI);
    });
    let mut asked = 0;
    let sent: Vec<usize> = (0..20)
        .map(|_| {
            server.echo_for(0, 10 * MILLI, 10 * MILLI);
            let before = asked;
            asked += (1..=160).map(|idle| server.asked(idle).len()).sum::<usize>();
            asked - before
        })
        .collect();
    // A tenth of a second is a 16th of the interval.
    assert_eq!(sent, [1, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
    let counts = server.finish(|_| false);
    assert_eq!(
        (counts[Fact::Heartbeats], counts[Fact::HeartbeatsUnsent]),
        (100, 0),
        "the last ones are sent before the end"
    );
}

#[test]
fn heartbeats_begin_with_the_measured_time() {
    let mut server = beating(|options| options.warmup = 2 * TENTH);
    assert_eq!((server.tenth(|_| true), server.tenth(|_| true)), (Vec::new(), Vec::new()));
    assert_eq!(server.tenth(|_| true), [(1, 1)]);
    assert_eq!(server.finish(|_| true)[Fact::HeartbeatsAnswered], 10);
}

#[test]
fn silent_connection_is_not_held_and_asked_no_more() {
    let mut server = beating(|_| {});
    let counts = server.finish(|idle| idle != 2);
    // Connection 2 is due at 100, 500 and 900 ms.
    let lost = [(Fact::HeartbeatsAnswered, 7), (Fact::HeartbeatsLost, 1), (Fact::HeartbeatsUnsent, 2)];
    assert_heartbeats(
        &counts,
        &[&lost[..], &[(Fact::Heartbeats, 10), (Fact::IdleHeld, 3), (Fact::IdleSilent, 1)]].concat(),
    );
    assert_eq!(server.heartbeats(), []);
}

#[test]
fn late_answer_is_late_however_late_and_the_connection_asks_on() {
    let mut server = beating(|_| {});
    for _ in 0..6 {
        server.tenth(|idle| idle != 2);
    }
    server.answers(2, &[2]);
    let counts = server.finish(|_| true);
    let late = [(Fact::HeartbeatsAnswered, 8), (Fact::HeartbeatsLate, 1), (Fact::HeartbeatsUnsent, 1)];
    assert_heartbeats(
        &counts,
        &[&late[..], &[(Fact::Heartbeats, 10), (Fact::IdleHeld, 3), (Fact::IdleSilent, 1)]].concat(),
    );
}

#[test]
fn wrong_answer_is_wrong_and_shown_and_the_next_one_may_be_right() {
    let mut server = beating(|_| {});
    assert_eq!(server.heartbeats(), [(1, 1)]);
    server.says(1, "pong 000000000001 abcdefghijK\n");
    server.settle();
    server.says(1, "and more of it\n");
    let counts = server.finish(|_| true);
    let wrong = [(Fact::HeartbeatsAnswered, 9), (Fact::HeartbeatsWrong, 1)];
    assert_heartbeats(
        &counts,
        &[&wrong[..], &[(Fact::Heartbeats, 10), (Fact::IdleHeld, 3), (Fact::IdleSilent, 1)]].concat(),
    );
    let shown = server.load(|load| load.ledger.mistakes.wrong.clone()).unwrap();
    assert_eq!(
        (&*shown.got, &*shown.expected),
        ("pong 000000000001 abcdefghijK\\n", "pong 000000000001 abcdefghijk\\n")
    );
}

#[test]
fn answer_may_come_in_pieces_and_behind_a_greeting() {
    let mut server = beating(|_| {});
    server.says(2, "Welcome!");
    server.settle();
    for byte in "pong 000000000001 abcdefghijk\n".bytes() {
        server.says(1, [byte]);
        server.settle();
    }
    assert_eq!(server.count(Fact::HeartbeatsAnswered), 1);
    server.heartbeats();
    let counts = server.finish(|_| true);
    assert_heartbeats(&counts, &[(Fact::Heartbeats, 10), (Fact::HeartbeatsAnswered, 10), (Fact::IdleHeld, 4)]);
}

#[test]
fn connection_that_ends_leaves_its_heartbeat_broken_and_later_ones_unsent() {
    let mut server = beating(|_| {});
    server.heartbeats();
    server.resets(1);
    let counts = server.finish(|_| true);
    // It would have been due again at 400 and 800 ms.
    let broken = [(Fact::HeartbeatsAnswered, 7), (Fact::HeartbeatsBroken, 1), (Fact::HeartbeatsUnsent, 2)];
    assert_heartbeats(&counts, &[&broken[..], &[(Fact::Heartbeats, 10), (Fact::IdleHeld, 3)]].concat());
    assert_eq!(counts[Fact::ConnectionsLost], 1);
}

#[test]
fn interrupted_heartbeats_are_unfinished() {
    let mut server = beating(|_| {});
    server.tenth(|_| true);
    server.pass(TENTH / 2);
    let counts = server.conclude();
    let unfinished = [(Fact::HeartbeatsAnswered, 1), (Fact::HeartbeatsUnfinished, 1)];
    assert_heartbeats(&counts, &[&unfinished[..], &[(Fact::Heartbeats, 2), (Fact::IdleHeld, 4)]].concat());
}

#[test]
fn time_that_an_interrupted_run_takes_to_close_is_none_of_it() {
    let mut server = beating(|_| {});
    server.tenth(|_| true);
    server.shut_down();
    // So long it takes to close many thousand connections: two more heartbeats are due by then.
    server.leap(2 * TENTH);
    let counts = server.conclude();
    assert_eq!((counts[Fact::Heartbeats], counts[Fact::HeartbeatsUnsent]), (2, 0));
}

#[test]
fn end_of_the_run_waits_for_heartbeats_as_for_answers() {
    let mut server = beating(|_| {});
    for _ in 0..9 {
        server.tenth(|_| true);
    }
    server.echo_for(0, 10 * MILLI, 130 * MILLI);
    assert_eq!(server.load(|load| load.stage), Stage::Awaiting, "the one of 900 ms has 150 ms");
    server.pass(50 * MILLI);
    assert_eq!(server.load(|load| load.stage), Stage::Resting);
    assert_eq!(server.conclude()[Fact::HeartbeatsLost], 1);
}

#[test]
fn number_of_requests_ends_heartbeats_too() {
    let mut server = beating(|options| options.extent = Extent::Requests(25));
    let counts = server.finish(|_| true);
    assert_heartbeats(&counts, &[(Fact::Heartbeats, 3), (Fact::HeartbeatsAnswered, 3), (Fact::IdleHeld, 4)]);
}

/// One is due each millisecond.
#[test]
fn what_is_due_at_the_end_is_sent_a_little_late_and_what_is_later_than_that_is_not() {
    for (late, unsent) in [(100, 0), (180, 60)] {
        let mut server = beating(|options| {
            options.idle = 1_000;
            options.heartbeat = Some(10 * TENTH);
        });
        server.echo_for(0, 10 * MILLI, 9 * TENTH);
        server.leap(late * MILLI);
        let counts = server.finish(|_| false);
        assert_eq!((counts[Fact::Heartbeats], counts[Fact::HeartbeatsUnsent]), (1_000, unsent), "{late} ms");
    }
}

/// The same over datagrams.
fn beating_datagrams() -> Rig {
    let mut server = dialling(|options| {
        options.endpoint = "udp://192.0.2.1:8888".parse().unwrap();
        (options.idle, options.heartbeat, options.timeout) = (IDLE as u32, Some(4 * TENTH), 150 * MILLI);
    });
    server.arrive(0, "pong 000000000001 abcdefghijkl");
    server
}

impl Rig {
    /// The answer to what an idle datagram socket has asked last.
    fn answer_of(&mut self, socket: usize) -> String {
        let sent = std::mem::take(&mut self.kernel.borrow_mut().datagrams[socket].sent);
        let (_, _, question) = sent.last().expect("it has asked");
        String::from_utf8(question.clone()).unwrap().replace("ping", "pong")
    }

    fn arrive(&mut self, socket: usize, answer: &str) {
        let from = Address::Ip(([192, 0, 2, 1], 8888).into());
        self.kernel.borrow_mut().datagram_arrives(socket, from, None, answer.as_bytes());
        self.settle();
    }
}

#[test]
fn datagram_whose_time_is_up_makes_room_and_its_answer_is_no_mistake() {
    let mut server = beating_datagrams();
    let first = server.answer_of(1);
    server.pass(4 * TENTH);
    let second = server.answer_of(1);
    assert_ne!(first, second);
    assert_eq!((server.count(Fact::HeartbeatsUnsent), server.count(Fact::HeartbeatsLost)), (0, 3));
    for answer in [&first, &second, &second] {
        server.arrive(1, answer);
    }
    let counts = server.counts();
    let found = [Fact::HeartbeatsAnswered, Fact::HeartbeatsWrong, Fact::HeartbeatsLate].map(|fact| counts[fact]);
    assert_eq!(found, [1, 0, 0], "{counts:?}");
    server.pass(2 * TENTH);
    server.arrive(3, "what?");
    assert_eq!(server.count(Fact::HeartbeatsWrong), 1);
}

#[test]
fn refused_datagram_is_a_broken_heartbeat_and_the_socket_asks_on() {
    let mut server = beating_datagrams();
    server.kernel.borrow_mut().datagrams[1].receive_errors.push_back(ECONNREFUSED);
    server.kernel.borrow_mut().datagrams[1].woken = true;
    server.settle();
    assert_eq!(server.count(Fact::HeartbeatsBroken), 1);
    server.pass(4 * TENTH);
    let answer = server.answer_of(1);
    server.arrive(1, &answer);
    assert_eq!(server.count(Fact::HeartbeatsAnswered), 1);
    server.pass(Duration::from_secs(2));
    let counts = server.conclude();
    assert_eq!((counts[Fact::IdleHeld], counts[Fact::IdleSilent]), (0, 4));
}
