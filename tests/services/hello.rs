//! Hello: the greeting, one message at a time, `exit`.

use std::time::Duration;

use fake::server::Server;
use pingpong::service::{Framing, Hello};

use crate::bench::{Bench, Outcome};

const SECOND: Duration = Duration::from_secs(1);

fn hello(framing: Framing) -> Bench {
    let mut bench = Bench::new(Hello::new(framing, SECOND));
    bench.open();
    bench
}

#[test]
fn greets_on_connect() {
    assert_eq!(hello(Framing::Auto).sent_text(), "Welcome!");
    assert_eq!(hello(Framing::Line).sent_text(), "Welcome!\n");
}

#[test]
fn answers_one_message_at_a_time_in_order() {
    let mut bench = hello(Framing::Auto);
    bench.arrive(b"Michael\nTracy\r\n");
    assert!(bench.is_paused());
    bench.pass(SECOND);
    assert_eq!(bench.sent_text(), "Welcome!Hello, Michael!\n");
    assert!(bench.is_paused());
    bench.pass(SECOND);
    assert_eq!(bench.sent_text(), "Welcome!Hello, Michael!\nHello, Tracy!\r\n");
    assert!(!bench.is_paused());
}

#[test]
fn a_timer_of_the_framing_does_not_cut_thinking_short() {
    let mut bench = hello(Framing::Auto);
    bench.arrive("x".repeat(2000).as_bytes());
    bench.arrive(b"\n");
    assert!(bench.is_paused());
    bench.pass(Duration::from_millis(200));
    assert!(bench.is_paused(), "the framing's 200 ms are over, the second is not");
    assert_eq!(bench.sent_text(), "Welcome!");
    bench.pass(SECOND);
    assert!(bench.sent_text().ends_with("x!\n"));
}

#[test]
fn exit_closes_when_its_turn_comes() {
    let mut bench = hello(Framing::Auto);
    bench.arrive(b"Sarah\nexit\nnobody\n");
    assert!(!bench.is_closed());
    bench.pass(SECOND);
    assert!(bench.is_closed());
    assert_eq!(bench.sent_text(), "Welcome!Hello, Sarah!\n");
}

#[test]
fn without_delay_it_answers_at_once() {
    let mut bench = Bench::new(Hello::new(Framing::Raw, Duration::ZERO));
    bench.open();
    bench.clear_sent();
    bench.arrive(b"X");
    assert_eq!(bench.sent_text(), "Hello, X!");
}

#[test]
fn a_rest_at_the_end_of_the_stream_is_thought_about_too() {
    let mut bench = hello(Framing::Line);
    bench.arrive(b"X");
    bench.end();
    assert!(bench.is_paused());
    bench.pass(SECOND);
    assert_eq!(bench.sent_text(), "Welcome!\nHello, X!");
}

#[test]
fn datagrams_are_answered_at_once_and_answers_never() {
    let mut bench = Bench::new(Hello::new(Framing::Auto, SECOND));
    assert_eq!(bench.datagram(b"Tracy\n"), Outcome::answer("Hello, Tracy!\n"));
    assert_eq!(bench.datagram(b""), Outcome::answer("Hello, !"));
    assert_eq!(bench.datagram(b"exit"), Outcome::answer("Hello, exit!"));
    assert_eq!(bench.datagram(b"hello, Tracy!"), Outcome::Silence);
    assert_eq!(bench.datagram(b"pong"), Outcome::Silence);
}

#[test]
fn waiting_for_a_line_end_does_not_shorten_thinking_about_it() {
    let mut server = Server::new(Hello::new(Framing::Auto, Duration::from_secs(1)));
    let client = server.open();
    assert_eq!(server.asks(client, vec![b'x'; 2000]), "Welcome!");
    server.asks(client, "\n");
    server.pass(Duration::from_millis(999));
    assert_eq!(server.hears(client), "");
    server.pass(Duration::from_millis(1));
    assert_eq!(server.hears(client).len(), "Hello, !\n".len() + 2000);
}
