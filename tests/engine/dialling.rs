//! The client's side: dialled connections, datagram sockets that ask, lines, and how such a service ends.

use std::io;

use fake::server::{Server, address};
use nix::libc::{ECONNREFUSED, EINTR, EMSGSIZE, ENETUNREACH};
use pingpong::service::{Input, Outbox, Peer, Service};
use pingpong::{Address, CloseReason};

/// Logs every callback; lines tell it what to do.
#[derive(Default)]
struct Caller {
    log: Vec<String>,
    peer: Option<Peer>,
}

fn far() -> Address {
    Address::Ip(([192, 0, 2, 1], 9).into())
}

impl Service for Caller {
    fn opened(&mut self, peer: Peer, _: &mut Outbox<'_>) {
        self.log.push("opened".to_owned());
        self.peer = Some(peer);
    }

    fn failed(&mut self, peer: Option<Peer>, error: io::Error, _: &mut Outbox<'_>) {
        let whose = if peer.is_some() { "asking" } else { "dialling" };
        self.log.push(format!("{whose} failed: {:?}", error.kind()));
    }

    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let text = input.take_rest();
        self.log.push(format!("received {}", text.escape_ascii()));
        if text == b"bye" {
            out.close_other(from);
        }
    }

    fn closed(&mut self, _: Peer, why: CloseReason, _: &mut Outbox<'_>) {
        self.log.push(format!("closed ({why})"));
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        match (text, self.peer) {
            (b"dial", _) => out.connect(&far()),
            (b"ask", _) => out.ask(&far()),
            (b"leave", Some(peer)) => out.close_other(peer),
            (b"retire", _) => out.retire(),
            (b"stop", _) => out.stop(),
            (b"finish", Some(peer)) => out.finish_sending(peer),
            (said, Some(peer)) => out.send(peer, said),
            (said, None) => self.log.push(format!("nobody to hear {}", said.escape_ascii())),
        }
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        out.print(b"no more\n");
        out.drain();
    }
}

fn caller() -> Server<Caller> {
    Server::new(Caller::default())
}

/// A caller whose dial was answered, and the number of the connection.
fn connected() -> (Server<Caller>, usize) {
    let mut server = caller();
    server.line("dial");
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    assert_eq!(server.log(), ["opened"]);
    (server, 0)
}

/// What the caller has logged since the last call.
trait Log {
    fn log(&mut self) -> Vec<String>;
}

impl Log for Server<Caller> {
    fn log(&mut self) -> Vec<String> {
        self.look(|caller| std::mem::take(&mut caller.log))
    }
}

#[test]
fn dialled_connection_is_opened_when_it_is_there_and_not_before() {
    let mut server = caller();
    server.line("dial");
    assert_eq!(server.log(), [""; 0]);
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    assert_eq!(server.log(), ["opened"]);
    server.line("hi");
    assert_eq!(server.hears(0), "hi");
    server.says(0, "ho");
    server.settle();
    assert_eq!(server.log(), ["received ho"]);
}

#[test]
fn dial_that_fails_is_told_and_leaves_nothing() {
    let mut server = caller();
    server.line("dial");
    server.kernel.borrow_mut().fails_the_dial(0, ECONNREFUSED);
    server.settle();
    assert_eq!(server.log(), ["dialling failed: ConnectionRefused"]);
    assert_eq!(server.engine.usage().connections, 0);
    assert_eq!(server.stats().open(), 0);
}

#[test]
fn dial_that_fails_at_once_is_told_too() {
    let mut server = caller();
    server.kernel.borrow_mut().dial_errors.push_back(Some(ENETUNREACH));
    server.line("dial");
    assert_eq!(server.log(), ["dialling failed: NetworkUnreachable"]);
    server.kernel.borrow_mut().failing_registrations = 1;
    server.line("dial");
    assert_eq!(server.log(), ["dialling failed: StorageFull"]);
    assert_eq!(server.engine.usage().connections, 0);
}

#[test]
fn finished_sender_still_receives() {
    let (mut server, far) = connected();
    server.line("last");
    server.line("finish");
    server.line("too late");
    assert_eq!(server.hears(far), "last");
    assert!(server.kernel.borrow().client_sees_end(far));
    server.says(far, "answer");
    server.settle();
    server.finishes(far);
    server.settle();
    assert_eq!(server.log(), ["received answer", "closed (peer)"]);
}

#[test]
fn end_waits_until_what_was_said_is_out() {
    let (mut server, far) = connected();
    server.kernel.borrow_mut().leaves_room(far, 3);
    server.line("a long story");
    server.line("finish");
    assert!(!server.kernel.borrow().client_sees_end(far));
    assert_eq!(server.hears_out(far), "a long story");
    assert!(!server.is_closed(far), "it still listens");
}

/// Takes whole lines only, however many bytes wait to be sent.
#[derive(Default)]
struct Lines {
    peer: Option<Peer>,
    taken: usize,
}

impl Service for Lines {
    fn opened(&mut self, peer: Peer, _: &mut Outbox<'_>) {
        self.peer = Some(peer);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, _: &mut Outbox<'_>) {
        while let Some(line) = input.line() {
            self.taken += line.len();
        }
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        match self.peer {
            Some(peer) => out.send(peer, text),
            None => out.connect(&far()),
        }
    }
}

#[test]
fn part_of_an_answer_is_read_on_while_much_waits_to_be_sent() {
    let mut asker = Server::limited(Lines::default(), |limits| limits.max_message = 1 << 20);
    asker.line("dial");
    asker.kernel.borrow_mut().leaves_room(0, 1000);
    asker.kernel.borrow_mut().answers_the_dial(0);
    asker.settle();
    asker.line(vec![b'x'; 1 << 20]);
    // The far side says half a line, and reads nothing before it has said all of it.
    asker.says(0, vec![b'y'; 100_000]);
    asker.settle();
    assert!(!asker.is_due(), "it does not spin");
    assert_eq!(asker.kernel.borrow().unread_bytes(0), 0);
    asker.says(0, vec![b'y'; 100_000]);
    asker.says(0, "\n");
    asker.settle();
    assert_eq!(asker.look(|lines| lines.taken), 200_001);
    asker.assert_open(0);
}

#[test]
fn answers_to_what_was_asked_are_not_judged_as_questions() {
    let mut server = caller();
    server.line("ask");
    assert_eq!(server.log(), ["opened"]);
    server.line("ping");
    assert_eq!(server.kernel.borrow().datagrams[0].sent, [(far(), None, b"ping".to_vec())]);
    // A source port that no server would answer.
    server.kernel.borrow_mut().datagram_arrives(0, Address::Ip(([192, 0, 2, 1], 7).into()), None, b"pong");
    server.settle();
    assert_eq!(server.log(), ["received pong"]);
    assert_eq!(server.stats().loops, 0);
}

#[test]
fn asker_is_told_that_nobody_is_there() {
    let mut server = caller();
    server.line("ask");
    server.log();
    server.kernel.borrow_mut().datagrams[0].receive_errors.push_back(ECONNREFUSED);
    server.kernel.borrow_mut().datagrams[0].woken = true;
    server.settle();
    assert_eq!(server.log(), ["asking failed: ConnectionRefused"]);
    server.kernel.borrow_mut().datagrams[0].send_error = Some(ECONNREFUSED);
    server.line("ping");
    assert_eq!(server.log(), ["asking failed: ConnectionRefused"]);
}

#[test]
fn question_is_sent_although_an_earlier_one_was_refused() {
    let mut server = caller();
    server.line("ask");
    server.log();
    server.kernel.borrow_mut().datagrams[0].pending_error = Some(ECONNREFUSED);
    server.line("ping");
    assert_eq!(server.log(), ["asking failed: ConnectionRefused"]);
    assert_eq!(server.kernel.borrow().datagrams[0].sent.len(), 1);

    server.kernel.borrow_mut().datagrams[0].pending_error = Some(ECONNREFUSED);
    server.kernel.borrow_mut().datagrams[0].send_error = Some(EMSGSIZE);
    server.line("a long ping");
    assert_eq!(server.log().len(), 2, "each error is another question's");
}

#[test]
fn asking_socket_that_was_closed_hears_and_says_nothing() {
    let mut server = caller();
    server.line("ask");
    for text in ["bye", "too late"] {
        server.kernel.borrow_mut().datagram_arrives(0, far(), None, text.as_bytes());
    }
    server.settle();
    assert_eq!(server.log(), ["opened", "received bye"]);
    assert!(!server.kernel.borrow().datagrams[0].open);
    server.line("anybody?");
    server.line("leave");
    assert_eq!(server.kernel.borrow().datagrams[0].sent, []);

    // The next one may have its number, and what comes late for the first does it no harm.
    server.line("ask");
    server.kernel.borrow_mut().datagrams[0].woken = true;
    server.settle();
    server.kernel.borrow_mut().datagram_arrives(1, far(), None, b"pong");
    server.settle();
    assert_eq!(server.log(), ["opened", "received pong"]);
    server.line("leave");
    server.kernel.borrow_mut().datagram_arrives(1, far(), None, b"too late");
    server.settle();
    assert_eq!(server.log(), [""; 0]);
    assert!(!server.kernel.borrow().datagrams[1].open);
}

#[test]
fn asker_is_not_told_of_a_receive_that_was_interrupted() {
    let mut server = caller();
    server.line("ask");
    server.log();
    server.kernel.borrow_mut().datagrams[0].receive_errors.extend([EINTR; 5]);
    server.kernel.borrow_mut().datagram_arrives(0, far(), None, b"pong");
    server.settle();
    assert_eq!(server.log(), ["received pong"]);
}

#[test]
fn retired_service_lets_nobody_in_and_ends_with_the_last_of_its_guests() {
    let mut server = caller();
    let guest = server.open();
    server.line("said to the guest");
    server.line("retire");
    assert_eq!(server.hears(guest), "said to the guest");
    let late = server.connect();
    server.settle();
    assert!(server.kernel.borrow().connections[late].client_was_reset);
    server.finishes(guest);
    server.settle();
    assert!(server.engine.is_stopped());
}

#[test]
fn end_of_lines_drains_and_what_was_printed_is_there() {
    let mut server = caller();
    server.lines_ended();
    assert_eq!(server.printed(), b"no more\n");
    assert!(server.engine.is_stopped());
}

#[test]
fn dial_that_ends_gives_no_share_to_clients_from_there() {
    let mut server = Server::limited(Caller::default(), |limits| limits.max_per_ip = Some(1));
    let guest = server.kernel.borrow_mut().connect_from(address("192.0.2.1:1000"), 100);
    server.settle();
    server.line("dial");
    let dialled = 1;
    server.kernel.borrow_mut().answers_the_dial(dialled);
    server.settle();
    server.finishes(dialled);
    server.settle();
    assert!(server.is_closed(dialled));

    let second = server.kernel.borrow_mut().connect_from(address("192.0.2.1:1001"), 100);
    server.settle();
    server.assert_closed(second, CloseReason::Limit);
    server.assert_open(guest);
}

#[test]
fn stop_ends_at_once() {
    let (mut server, _) = connected();
    server.line("stop");
    assert!(server.engine.is_stopped());
}
