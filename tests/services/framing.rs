//! Framing, as Ping shows it: where a message begins and ends in a stream.

use std::time::Duration;

use fake::server::Server;
use pingpong::service::{Framing, Ping};

use crate::bench::Bench;

/// How long `auto` waits for the line end of a long first chunk.
const AUTO_WAIT: Duration = Duration::from_millis(200);

#[track_caller]
fn answers(framing: Framing, chunks: &[&str]) -> String {
    let mut bench = Bench::new(Ping::new(framing));
    bench.open();
    for chunk in chunks {
        bench.arrive(chunk.as_bytes());
    }
    bench.sent_text()
}

#[test]
fn raw_answers_each_chunk_without_terminator() {
    assert_eq!(answers(Framing::Raw, &["hello pdudo", "ping\n"]), "pongpong\n");
}

#[test]
fn auto_takes_a_short_first_chunk_without_line_end_as_raw_for_life() {
    assert_eq!(answers(Framing::Auto, &["hello pdudo", "a\nb\n"]), "pongpong");
}

#[test]
fn auto_takes_a_line_end_in_the_first_chunk_as_lines_for_life() {
    assert_eq!(answers(Framing::Auto, &["ping\nx", "y\n"]), "pong\npong\n");
}

#[test]
fn auto_waits_for_the_end_of_a_long_first_line() {
    let long = "x".repeat(2000);
    assert_eq!(answers(Framing::Auto, &[&long, "yz\nping\n"]), "pong\npong\n");
}

#[test]
fn auto_takes_a_long_first_chunk_as_raw_when_its_wait_is_over() {
    let mut bench = Bench::new(Ping::new(Framing::Auto));
    bench.open();
    bench.arrive("x".repeat(2000).as_bytes());
    assert_eq!(bench.sent_text(), "");
    bench.pass(AUTO_WAIT);
    assert_eq!(bench.sent_text(), "pong");
}

#[test]
fn an_unterminated_rest_at_the_end_is_a_message() {
    let mut bench = Bench::new(Ping::new(Framing::Line));
    bench.open();
    bench.arrive(b"ping\npi");
    bench.arrive(b"ng");
    assert_eq!(bench.sent_text(), "pong\n");
    bench.end();
    assert_eq!(bench.sent_text(), "pong\npong");
}

#[test]
fn long_first_chunk_without_a_line_end_is_waited_for_200_ms() {
    let mut server = Server::new(Ping::new(Framing::Auto));
    let (lines, chunks) = (server.open(), server.open());
    for client in [lines, chunks] {
        assert_eq!(server.asks(client, vec![b'x'; 2000]), "");
    }
    server.pass(Duration::from_millis(199));
    assert_eq!(server.asks(lines, "x\nping\n"), "pong\npong\n");
    assert_eq!(server.hears(chunks), "");
    server.pass(Duration::from_millis(1));
    assert_eq!(server.hears(chunks), "pong");
    server.pass(Duration::from_secs(1));
    assert_eq!(server.asks(chunks, "a\nb\n"), "pong");
    assert_eq!(server.asks(lines, "a\nb\n"), "pong\npong\n");
}
