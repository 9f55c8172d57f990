//! Turns of a server beside others.

use std::time::Duration;

use super::{End, Record, prompt, report};
use crate::bench::against::Turns;
use crate::bench::record::Fact;
use crate::bench::report::standstill::{Sign, Standstill};
use crate::bench::report::{Cut, Report, Side, Versus};
use crate::bench::tests::options;

/// A turn in which all was answered at once, ten requests of ten connections.
fn turn() -> Report {
    let records: Vec<Record> = (0..10).map(|place| prompt(Duration::from_millis(60 * place))).collect();
    report(&records, Some(16.0), 10)
}

/// What turns of one server come to.
fn sum(turns: impl IntoIterator<Item = Report>) -> Report {
    let mut side = Side::new(0, &options(|_| {}));
    turns.into_iter().for_each(|turn| side.add_turn(turn));
    side.report.unwrap()
}

#[test]
fn a_socket_that_lost_the_datagrams_of_one_turn_has_not_stalled() {
    let turn_with = |stalled, is_stream| {
        let mut turn = turn();
        turn.is_stream = is_stream;
        (turn.counts[Fact::ConnectionsStalled], turn.counts[Fact::ConnectionsHeld]) = (stalled, 10 - stalled);
        turn
    };
    for (stalled, is_stream, expected) in [([2, 0, 3], false, 0), ([3, 2, 3], false, 2), ([2, 0, 3], true, 3)] {
        let sum = sum(stalled.map(|stalled| turn_with(stalled, is_stream)));
        let counts = [Fact::ConnectionsStalled, Fact::ConnectionsHeld].map(|fact| sum.counts[fact]);
        assert_eq!(counts, [expected, 10 - expected], "{stalled:?}");
    }
}

#[test]
fn a_server_that_fell_silent_and_answers_in_a_later_turn_was_not_gone() {
    let silent = || {
        let mut turn = turn();
        (turn.is_partial, turn.cut, turn.gone_after_seconds) = (true, Some(Cut::Silent), Some(0.3));
        turn
    };
    let unanswered = || report(&[], None, 10);
    for (turns, gone_after) in [
        (vec![silent(), turn()], None),
        (vec![silent(), unanswered(), turn()], None),
        (vec![turn(), silent()], Some(0.94)),
        (vec![turn(), silent(), unanswered()], Some(0.94)),
        (vec![silent(), turn(), silent()], Some(1.58)),
    ] {
        let sum = sum(turns);
        let gone = sum.gone_after_seconds.map(|seconds| (seconds * 100.0).round() / 100.0);
        assert_eq!((gone, sum.is_partial), (gone_after, gone_after.is_some()));
    }
}

#[test]
fn a_server_that_goes_while_it_settles_was_gone_before_its_first_turn() {
    let told = |gone_after| {
        let mut rest = turn();
        (rest.is_partial, rest.cut, rest.gone_after_seconds) = (true, Some(Cut::Gone), Some(gone_after));
        let mut side = Side::new(1, &options(|_| {}));
        side.add_rest(rest);
        side.fault().unwrap()
    };
    assert_eq!(told(0.0), "B (tcp://192.0.2.1:8888) was gone before its first turn");
    assert_eq!(told(0.3), "B (tcp://192.0.2.1:8888) was gone after 0.3 s of its turns");
}

#[test]
fn a_turn_that_waits_long_for_its_answers_is_told_with_what_is_left_out() {
    let told = |waits: [u64; 3]| {
        let mut side = Side::new(1, &options(|_| {}));
        for wait in waits {
            let mut turn = turn();
            turn.waited = Duration::from_millis(wait);
            side.add_turn(turn);
        }
        (side.leaves_out(Duration::from_millis(125)), side.waits_to_json())
    };
    let (warning, json) = told([2, 1810, 3]);
    assert!(warning.is_some_and(|warning| warning.starts_with("B kept a turn waiting for 1.81 s: requests due then")));
    assert_eq!((json["seconds"].as_f64(), json["longest_seconds"].as_f64()), (Some(1.815), Some(1.81)));
    assert_eq!(told([30, 62, 30]).0, None);
}

#[test]
fn an_answer_out_of_all_proportion_is_a_standstill() {
    let slowest = |micros: u64| {
        let mut records: Vec<Record> = (0..10).map(|place| prompt(Duration::from_millis(60 * place))).collect();
        records[4].end = End::Answered(Duration::from_micros(micros), true);
        report(&records, None, 10)
    };
    let told = |report: Report| report.standstill().map(|standstill| standstill.told("B"));
    assert_eq!(told(slowest(99_000)), None);
    assert_eq!(told(slowest(180_000)).as_deref(), Some("B took 180 ms for an answer"));
    // All answers take long.
    let slow = End::Answered(Duration::from_millis(150), true);
    let records = (0..10).map(|place| Record { end: slow, ..prompt(Duration::from_millis(60 * place)) });
    assert_eq!(told(report(&records.collect::<Vec<_>>(), None, 10)), None);
    let mut stopped = slowest(180_000);
    stopped.longest_pause_seconds = 0.175;
    assert_eq!(stopped.standstill(), Some(Standstill { nanos: 175_000_000, sign: Sign::Timer }));
}

#[test]
fn no_difference_seen_is_said_of_a_standstill_apart() {
    let beside = |wait: u64| {
        let waiting = |wait: u64| {
            let mut turn = turn();
            turn.waited = Duration::from_millis(wait);
            turn
        };
        let mut sides = [0, 1].map(|place| Side::new(place, &options(|_| {})));
        for round in 0..16 {
            sides[0].add_turn(waiting(2));
            sides[1].add_turn(waiting(if round == 5 { wait } else { 2 }));
        }
        let [length, settling] = [640, 80].map(Duration::from_millis);
        Versus::new(sides.into(), Some((Turns { count: 16, length, settling }, true)), false).to_string()
    };
    let rate = |text: &str| text.lines().find(|line| line.starts_with("rate ")).unwrap().to_owned();
    let text = beside(30);
    assert!(rate(&text).ends_with("no difference seen (within 0.0 %)") && !text.contains("once in a run"), "{text}");
    let text = beside(1_810);
    assert!(rate(&text).ends_with("no difference seen (within 0.0 %), standstills apart"), "{text}");
    assert!(text.contains("\nwarning: B kept a turn waiting for 1.81 s: what comes once in a run is in no"), "{text}");
}
