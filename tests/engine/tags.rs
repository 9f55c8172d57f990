//! Tags: a connection and a socket that asks carry their number from the dial to the end.

use std::io;

use fake::server::Server;
use nix::libc::{ECONNREFUSED, EMFILE};
use pingpong::service::{Dial, Input, Outbox, Peer, Service};
use pingpong::{Address, CloseReason};

/// Lines say what to dial or to ask: `dial 7`. The log has the tag of each event.
#[derive(Default)]
struct Dialler {
    log: Vec<String>,
    peers: Vec<(u64, Peer)>,
}

fn dial(tag: u64) -> Dial {
    Dial { tag, ..Dial::from(&Address::Ip(([192, 0, 2, 1], 9).into())) }
}

impl Dialler {
    fn note(&mut self, what: &str, out: &Outbox<'_>) {
        self.log.push(format!("{what} {}", out.tag()));
    }

    fn peer(&self, tag: u64) -> Peer {
        self.peers.iter().find(|(number, _)| *number == tag).expect("it was opened").1
    }
}

impl Service for Dialler {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        self.note("opened", out);
        self.peers.push((out.tag(), peer));
    }

    fn failed(&mut self, peer: Option<Peer>, _: io::Error, out: &mut Outbox<'_>) {
        self.note(if peer.is_some() { "refused" } else { "failed" }, out);
        // No connection is at hand: this goes nowhere.
        out.reply(b"anyone?");
        out.close();
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.note(&format!("heard {}", input.take_rest().escape_ascii()), out);
        out.reply(b"yes");
    }

    fn closed(&mut self, _: Peer, _: CloseReason, out: &mut Outbox<'_>) {
        self.note("closed", out);
        out.reply(b"anyone?");
        out.pause();
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        let words: Vec<&str> = std::str::from_utf8(text).expect("tests write text").split(' ').collect();
        match words[..] {
            ["dial", tag] => out.connect(dial(tag.parse().expect("a number"))),
            ["ask", tag] => out.ask(dial(tag.parse().expect("a number"))),
            ["say", tag, what] => out.send(self.peer(tag.parse().expect("a number")), what.as_bytes()),
            _ => panic!("{words:?}"),
        }
    }
}

fn dialler(lines: &[&str]) -> Server<Dialler> {
    let mut server = Server::new(Dialler::default());
    server.lines(lines);
    server
}

fn take_log(server: &mut Server<Dialler>) -> Vec<String> {
    server.look(|dialler| std::mem::take(&mut dialler.log))
}

#[track_caller]
fn check(server: &mut Server<Dialler>, expected: &[&str]) {
    assert_eq!(take_log(server), expected);
}

#[test]
fn a_dial_is_known_by_its_number_whatever_becomes_of_it() {
    let mut server = dialler(&["dial 11", "dial 12", "dial 13"]);
    server.kernel.borrow_mut().answers_the_dial(2);
    server.kernel.borrow_mut().fails_the_dial(1, ECONNREFUSED);
    server.settle();
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    let mut log = take_log(&mut server);
    log.sort();
    assert_eq!(log, ["failed 12", "opened 11", "opened 13"]);

    server.says(2, "you?");
    server.settle();
    check(&mut server, &["heard you? 13"]);
    assert_eq!((server.hears(2), server.hears(0)), ("yes".to_owned(), String::new()));
    server.resets(0);
    server.settle();
    check(&mut server, &["closed 11"]);
}

#[test]
fn a_dial_that_fails_at_once_is_known_too() {
    let mut server = dialler(&[]);
    server.kernel.borrow_mut().dial_errors.push_back(Some(EMFILE));
    server.line("dial 5");
    check(&mut server, &["failed 5"]);
    server.kernel.borrow_mut().failing_registrations = 1;
    server.lines(["dial 6", "dial 7"]);
    check(&mut server, &["failed 6"]);
}

#[test]
fn sockets_that_ask_have_numbers_of_their_own() {
    let mut server = dialler(&["ask 21", "ask 22"]);
    check(&mut server, &["opened 21", "opened 22"]);
    let from = Address::Ip(([192, 0, 2, 1], 9).into());
    server.kernel.borrow_mut().datagram_arrives(1, from, None, b"x");
    server.settle();
    check(&mut server, &["heard x 22"]);
    assert_eq!(server.kernel.borrow().datagrams[1].sent.len(), 1, "a reply goes to where it asks");
}

#[test]
fn an_asker_is_told_when_a_reply_or_a_question_finds_nobody() {
    let mut server = dialler(&["ask 21", "ask 22"]);
    check(&mut server, &["opened 21", "opened 22"]);
    server.kernel.borrow_mut().datagrams[1].send_error = Some(ECONNREFUSED);
    let from = Address::Ip(([192, 0, 2, 1], 9).into());
    server.kernel.borrow_mut().datagram_arrives(1, from, None, b"x");
    server.settle();
    check(&mut server, &["heard x 22", "refused 22"]);
    server.lines(["say 22 y", "say 21 z"]);
    check(&mut server, &["refused 22"]);
    assert_eq!(server.stats().dropped, 0, "it was told, not dropped");
}

#[test]
fn ten_thousand_sockets_ask_and_each_hears_its_own_answer() {
    let lines: Vec<String> = (0..10_000).map(|tag| format!("ask {tag}")).collect();
    let mut server = dialler(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    take_log(&mut server);
    for number in [9_999, 0, 5_000] {
        let from = Address::Ip(([192, 0, 2, 1], 9).into());
        server.kernel.borrow_mut().datagram_arrives(number, from, None, b"x");
    }
    server.settle();
    let mut log = take_log(&mut server);
    log.sort();
    assert_eq!(log, ["heard x 0", "heard x 5000", "heard x 9999"]);
}
