//! Chat: what the operator is shown, and which clients the operator's lines reach.

use fake::server::Server;
use pingpong::service::{Chat, Framing, Operator};

use crate::bench::Bench;

fn chat(operator: Operator) -> Bench {
    Bench::new(Chat::new(Framing::Auto, operator))
}

#[test]
fn shows_who_comes_what_is_said_and_who_leaves() {
    let mut bench = chat(Operator::Nobody);
    bench.open();
    bench.arrive(b"hi\n\x1b[2J\n");
    bench.close();
    assert_eq!(bench.printed(), "[1] unix connected\n[1] client: hi\n[1] client: \\u{1b}[2J\n[1] disconnected\n");
}

#[test]
fn answers_with_the_terminator_of_the_question() {
    let mut bench = chat(Operator::Person);
    bench.open();
    bench.arrive(b"hello\r\n");
    bench.line(b"hi");
    assert_eq!(bench.sent_text(), "hi\r\n");
}

#[test]
fn a_client_that_has_not_spoken_gets_lines() {
    let mut bench = chat(Operator::Person);
    bench.open();
    bench.line(b"anybody?");
    assert_eq!(bench.sent_text(), "");
    assert!(bench.printed().contains("nobody here has spoken"), "{}", bench.printed());
    bench.line(b"@1 you?");
    bench.line(b"@all all");
    assert_eq!(bench.sent_text(), "you?\nall\n");
}

#[test]
fn a_script_waits_until_somebody_has_spoken_and_then_ends_chat() {
    let mut bench = chat(Operator::Script);
    bench.line(b"hi");
    bench.line(b"bye");
    bench.lines_ended();
    bench.open();
    assert!(!bench.is_retired());
    bench.arrive(b"hello");
    assert_eq!(bench.sent_text(), "hibye");
    assert!(bench.is_retired());
}

#[test]
fn what_stands_behind_quit_is_not_said() {
    for operator in [Operator::Script, Operator::Person] {
        let mut bench = chat(operator);
        bench.open();
        bench.arrive(b"hello\n");
        bench.lines([&b"hi"[..], b"/quit", b"not said", b"@all nor this", b"/who"]);
        assert_eq!(bench.sent_text(), "hi\n");
        assert_eq!(bench.printed(), "[1] unix connected\n[1] client: hello\n[1] disconnected\n");
        assert!(bench.is_draining());
    }
    // The same for lines that have waited.
    let mut bench = chat(Operator::Script);
    bench.lines([&b"hi"[..], b"/quit", b"not said", b"@all nor this"]);
    bench.open();
    bench.arrive(b"hello\n");
    assert_eq!(bench.sent_text(), "hi\n");
    assert!(bench.is_draining());
}

#[test]
fn the_end_of_a_persons_input_ends_the_server_and_nobodys_does_not() {
    let mut bench = chat(Operator::Person);
    bench.lines_ended();
    assert!(bench.is_draining());
    let mut bench = chat(Operator::Nobody);
    bench.lines_ended();
    assert!(!bench.is_draining() && !bench.is_retired());
}

#[test]
fn mistakes_of_the_operator_are_named() {
    let mut bench = chat(Operator::Person);
    for (line, answer) in [
        ("/who", "nobody is here\n"),
        ("@7 x", "there is no client 7 (/who lists them)\n"),
        ("/close x", "there is no client x (/who lists them)\n"),
    ] {
        bench.clear_printed();
        bench.line(line.as_bytes());
        assert_eq!(bench.printed(), answer);
    }
    bench.line(b"/help");
    assert!(bench.printed().contains("there is no /help"));
}

#[test]
fn script_is_said_whole_however_slowly_its_client_reads() {
    let mut server = Server::new(Chat::new(Framing::Line, Operator::Script));
    let slow = server.open_with_room(10);
    server.says(slow, "hello\n");
    let lines: Vec<String> = ('a'..='d').map(|letter| letter.to_string().repeat(40_000)).collect();
    for line in &lines {
        server.line(line);
    }
    server.lines_ended();
    assert!(server.hears_out(slow) == lines.join("\n") + "\n", "some of it is missing");
}

#[test]
fn client_that_does_not_read_is_named_and_nothing_is_lost_silently() {
    let mut server = Server::new(Chat::new(Framing::Line, Operator::Person));
    let deaf = server.open_with_room(10);
    let line = format!("@1 {}", "x".repeat(40_000));
    server.lines([&line, &line]);
    server.printed();
    server.lines(["@1 more"]);
    assert_eq!(server.printed(), b"[1] does not read: this was not sent to it\n");
    server.assert_open(deaf);
}
