//! Ping: what gets which answer.

use pingpong::service::{Framing, Ping};

use crate::bench::{Bench, Outcome};

#[track_caller]
fn answers(lines: &str) -> String {
    let mut bench = Bench::new(Ping::new(Framing::Line));
    bench.open();
    bench.arrive(lines.as_bytes());
    bench.sent_text()
}

#[test]
fn ping_keeps_its_case_and_its_tail() {
    assert_eq!(answers("ping\nPiNg 7 abc\r\nPING\t\n"), "pong\nPoNg 7 abc\r\nPONG\t\n");
}

#[test]
fn anything_else_gets_pong_and_its_terminator() {
    assert_eq!(answers("hello pdudo\n\npingu\r\npin\n"), "pong\npong\npong\r\npong\n");
}

#[test]
fn pipelined_answers_keep_their_order_when_some_are_answered_in_place() {
    assert_eq!(answers("ping 1\nx\nping 2\nping 3\n"), "pong 1\npong\npong 2\npong 3\n");
}

#[test]
fn datagrams_mirror_their_terminator() {
    let mut ping = Bench::new(Ping::default());
    for (question, answer) in [("ping 3\r\n", "pong 3\r\n"), ("x\n", "pong\n"), ("ping", "pong"), ("\n", "pong\n")] {
        assert_eq!(ping.datagram(question.as_bytes()), Outcome::answer(answer), "{question:?}");
    }
}

#[test]
fn an_empty_datagram_and_an_answer_stay_unanswered() {
    let mut ping = Bench::new(Ping::default());
    for question in ["", "pong", "PONG 3\n", "Hello, x!", "Welcome!"] {
        assert_eq!(ping.datagram(question.as_bytes()), Outcome::Silence, "{question:?}");
    }
    assert_eq!(ping.stats().loops, 5);
}
