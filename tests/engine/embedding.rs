//! Services of an embedder: what an outbox can do beyond answering.

use std::time::Duration;

use fake::server::Server;
use pingpong::CloseReason;
use pingpong::service::{ConnId, Input, Outbox, Peer, Service};

use crate::SECOND;

/// A chat room: a line goes to all other connections. A few words are commands.
#[derive(Default)]
struct Room {
    present: Vec<ConnId>,
    /// What has happened, for the test.
    log: Vec<String>,
}

impl Room {
    fn others(&self, own: ConnId) -> impl Iterator<Item = ConnId> {
        self.present.iter().copied().filter(move |other| *other != own)
    }
}

impl Service for Room {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let Peer::Stream(id) = peer else { return };
        out.reply(format!("{} here\n", self.present.len()).as_bytes());
        self.present.iter().for_each(|other| out.send(*other, b"one came\n"));
        self.present.push(id);
        out.set_tag(100);
    }

    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let Peer::Stream(id) = from else { return };
        while let Some(line) = input.line() {
            match &*line {
                b"kick\n" => self.others(id).for_each(|other| {
                    out.send(other, b"kicked\n");
                    out.close_other(other);
                }),
                b"bye\n" => {
                    out.reply(b"bye\n");
                    out.close();
                }
                b"later\n" => out.after(SECOND, 1),
                b"now\n" => out.after(Duration::ZERO, 2),
                b"wait\n" => {
                    out.after(SECOND, 3);
                    return out.pause();
                }
                b"twice\n" => out.after(SECOND, 5),
                b"room\n" => {
                    let deaf = self.others(id).filter(|other| !out.has_room_for(*other)).count();
                    out.reply(format!("{deaf} deaf\n").as_bytes());
                }
                b"wake\n" => out.after(3600 * SECOND, 4),
                b"sleep\n" => out.cancel(4),
                b"stopper\n" => out.after(3600 * SECOND, 7),
                b"tag\n" => {
                    out.set_tag(out.tag() + 1);
                    out.reply(format!("{}\n", out.tag()).as_bytes());
                }
                b"ghosts\n" => {
                    out.send(ConnId::from(u64::MAX), b"boo");
                    out.close_other(ConnId::from(u64::MAX));
                }
                said => self.others(id).for_each(|other| out.send(other, said)),
            }
        }
    }

    fn closed(&mut self, peer: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        let Peer::Stream(id) = peer else { return };
        self.present.retain(|other| *other != id);
        self.present.iter().for_each(|other| out.send(*other, format!("one left ({why})\n").as_bytes()));
        // No connection is at hand: the answer goes nowhere, and the timer belongs to none.
        out.reply(b"lost");
        out.after(SECOND, 10);
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        let at_hand = out.peer().is_some_and(|peer| self.present.iter().any(|id| peer == Peer::Stream(*id)));
        assert_eq!(at_hand, out.tag() != 0, "each member has a tag, and timers of nobody have none");
        self.log.push(format!("{key} with tag {}", out.tag()));
        out.reply(format!("timer {key}\n").as_bytes());
        match key {
            5 => out.after(Duration::ZERO, 6),
            7 => out.cancel(4),
            10 => self.present.iter().for_each(|other| out.send(*other, b"remembered\n")),
            _ => {}
        }
        out.resume();
    }
}

fn room() -> Server<Room> {
    Server::new(Room::default())
}

/// A room with two clients that have read all there was.
fn room_with_two() -> (Server<Room>, usize, usize) {
    let mut server = room();
    let (first, second) = (server.open(), server.open());
    assert_eq!(server.hears(first), "0 here\none came\n");
    assert_eq!(server.hears(second), "1 here\n");
    (server, first, second)
}

fn log(server: Server<Room>) -> Vec<String> {
    server.engine.into_services().flat_map(|room| room.log).collect()
}

#[test]
fn service_sends_to_other_connections() {
    let (mut server, first, second) = room_with_two();
    assert_eq!(server.asks(first, "hi\n"), "");
    assert_eq!(server.hears(second), "hi\n");
    assert_eq!(server.engine.deadline(), None);
}

#[test]
fn what_is_sent_to_a_slow_reader_waits_and_arrives_in_order() {
    let mut server = room();
    let (talker, slow) = (server.open(), server.open_unix(10));
    let said: String = (0..100).map(|number| format!("{number}\n")).collect();
    server.says(talker, &said);
    server.finishes(talker);
    server.settle();
    server.finishes(slow);
    assert_eq!(server.hears_out(slow), ["1 here\n", &said, "one left (peer)\n"].concat());
}

#[test]
fn service_closes_another_connection_once_it_has_got_everything() {
    let mut server = room();
    let (first, second) = (server.open(), server.open_with_room(3));
    server.says(first, "kick\n");
    assert_eq!(server.hears_out(second), "1 here\nkicked\n");
    server.finishes(second);
    server.settle();
    server.assert_closed(second, CloseReason::Service);
    server.assert_open(first);
    assert_eq!(server.hears(first), "0 here\none came\none left (service)\n");
}

#[test]
fn service_closes_the_connection_at_hand_once_it_has_got_everything() {
    let mut server = room();
    let client = server.open_with_room(3);
    server.says(client, "bye\n");
    assert_eq!(server.hears_out(client), "0 here\nbye\n");
}

#[test]
fn those_that_are_gone_cannot_be_sent_to() {
    let (mut server, first, second) = room_with_two();
    server.resets(second);
    server.settle();
    server.hears(first);
    assert_eq!(server.asks(first, "ghosts\nhi\ntag\n"), "101\n");
    server.assert_open(first);
}

#[test]
fn farewell_reaches_others_and_may_set_a_timer_of_nobodys() {
    let (mut server, first, second) = room_with_two();
    server.finishes(second);
    server.settle();
    assert_eq!(server.hears(first), "one left (peer)\n");
    server.pass(SECOND);
    assert_eq!(server.hears(first), "remembered\n");
    assert_eq!(log(server), ["10 with tag 0"]);
}

#[test]
fn timer_of_a_connection_has_it_at_hand() {
    let (mut server, first, _) = room_with_two();
    server.asks(first, "tag\nlater\n");
    server.pass(SECOND);
    assert_eq!(server.hears(first), "timer 1\n");
    assert_eq!(log(server), ["1 with tag 101"]);
}

#[test]
fn timer_without_delay_runs_out_without_an_event() {
    let (mut server, first, _) = room_with_two();
    assert_eq!(server.asks(first, "now\n"), "timer 2\n");
    server.asks(first, "twice\n");
    server.pass(SECOND);
    assert_eq!(server.hears(first), "timer 5\ntimer 6\n");
}

#[test]
fn timer_ends_with_its_connection() {
    let (mut server, _, second) = room_with_two();
    server.asks(second, "wake\n");
    server.resets(second);
    server.settle();
    assert_eq!(server.engine.usage().timers, 1, "that of the farewell");
    server.pass(7200 * SECOND);
    assert_eq!(log(server), ["10 with tag 0"]);

    // The same for one timer among many, for which the heap is not cleaned up.
    let (mut server, first, second) = room_with_two();
    server.asks(first, "later\nlater\nlater\n");
    server.asks(second, "wake\n");
    server.resets(second);
    server.pass(7200 * SECOND);
    assert_eq!(log(server), ["1 with tag 100", "1 with tag 100", "1 with tag 100", "10 with tag 0"]);
}

#[test]
fn cancelled_timer_does_not_run_out_and_wakes_nobody() {
    let (mut server, first, second) = room_with_two();
    server.asks(first, "wake\n");
    server.asks(second, "wake\n");
    server.asks(first, "sleep\n");
    assert_eq!(server.pass(3600 * SECOND), 1, "that of the other connection");
    assert_eq!(server.hears(first), "");
    assert_eq!(server.hears(second), "timer 4\n");
    assert_eq!(server.engine.usage().timers, 0);
}

#[test]
fn timer_may_be_cancelled_by_another_that_runs_out_at_the_same_moment() {
    let (mut server, first, _) = room_with_two();
    server.asks(first, "stopper\nwake\n");
    server.pass(7200 * SECOND);
    assert_eq!(server.hears(first), "timer 7\n");
}

#[test]
fn timer_set_after_cancelling_counts_from_then() {
    let (mut server, first, _) = room_with_two();
    for _ in 0..10 {
        server.asks(first, "sleep\nwake\n");
        server.pass(3000 * SECOND);
        assert_eq!(server.hears(first), "");
        assert!(server.engine.usage().timers <= 2, "{} timers", server.engine.usage().timers);
    }
    assert_eq!(server.pass(600 * SECOND), 1);
    assert_eq!(server.hears(first), "timer 4\n");
    server.asks(first, "sleep\nwake\nsleep\n");
    server.resets(first);
    server.settle();
    server.pass(3600 * SECOND);
    assert_eq!(server.engine.usage().timers, 0);
}

#[test]
fn timers_of_the_service_and_of_its_connections_are_cancelled_apart() {
    let (mut server, first, _) = room_with_two();
    let at = server.now() + 3600 * SECOND;
    server.with(|_, out| out.wake_at(at, 4));
    server.asks(first, "wake\nsleep\n");
    server.with(|_, out| out.cancel(4));
    server.pass(3600 * SECOND);
    assert_eq!(server.hears(first), "");
    let at = server.now() + 3600 * SECOND;
    server.with(|_, out| out.wake_at(at, 4));
    server.asks(first, "wake\n");
    server.with(|_, out| out.cancel_wake(4));
    server.pass(3600 * SECOND);
    assert_eq!(server.hears(first), "timer 4\n");
    assert_eq!(log(server), ["4 with tag 0", "4 with tag 100"]);
}

#[test]
fn timer_of_a_connection_that_lingers_sends_nothing_behind_the_end() {
    let (mut server, first, _) = room_with_two();
    server.says(first, "later\nbye\n");
    assert_eq!(server.hears_out(first), "bye\n");
    server.pass(SECOND);
    assert_eq!(server.hears(first), "");
    server.finishes(first);
    server.settle();
    server.assert_closed(first, CloseReason::Service);
}

#[test]
fn paused_connection_is_offered_its_rest_again_when_it_goes_on() {
    let (mut server, first, second) = room_with_two();
    server.asks(first, "wait\nhi\n");
    assert_eq!(server.hears(second), "");
    server.pass(SECOND);
    assert_eq!(server.hears(second), "hi\n");
    assert_eq!(server.hears(first), "timer 3\n");
}

#[test]
fn paused_connection_is_offered_nothing_by_a_shutdown_either() {
    let (mut server, first, second) = room_with_two();
    server.asks(first, "wait\ntag\n");
    server.kernel.borrow_mut().connections[second].is_slow = true;
    server.shut_down();
    server.settle();
    assert_eq!(server.hears(first), "");
    server.pass(SECOND);
    assert_eq!(server.hears(first), "timer 3\n101\n");
}

#[test]
fn those_that_are_closing_hear_no_more() {
    let (mut server, first, second) = room_with_two();
    server.asks(first, "kick\n");
    assert_eq!(server.hears_out(second), "kicked\n");
    server.assert_open(second);
    server.asks(first, "hi\n");
    assert_eq!(server.hears(second), "");
    server.finishes(second);
    server.settle();
    server.assert_closed(second, CloseReason::Service);
}

#[test]
fn each_connection_keeps_its_own_tag() {
    let (mut server, first, second) = room_with_two();
    assert_eq!(server.asks(first, "tag\ntag\n"), "101\n102\n");
    assert_eq!(server.asks(second, "tag\n"), "101\n");
    assert_eq!(server.asks(first, "tag\n"), "103\n");
}

/// Answers each byte with a thousand, while there is room.
struct Amplifier;

impl Service for Amplifier {
    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        while out.has_room() && !input.is_empty() {
            let byte = input.take(1)[0];
            out.reply(&[byte; 1000]);
        }
    }
}

#[test]
fn service_that_stops_for_want_of_room_is_called_again() {
    let mut server = Server::new(Amplifier);
    let client = server.open_with_room(5000);
    server.says(client, "abcdefghij".repeat(100));
    server.finishes(client);
    let mut heard = Vec::new();
    while !server.is_closed(client) || !server.kernel.borrow().client_sees_end(client) {
        server.settle();
        assert!(server.engine.usage().buffered <= 3 * (64 << 10));
        let bytes = server.hears_bytes(client, usize::MAX);
        assert!(!bytes.is_empty(), "nothing more comes after {} bytes", heard.len());
        heard.extend(bytes);
    }
    let expected: Vec<u8> = b"abcdefghij".repeat(100).into_iter().flat_map(|byte| [byte; 1000]).collect();
    assert!(heard == expected, "{} bytes came", heard.len());
}

/// Greets a connection and closes it.
struct Doorman;

impl Service for Doorman {
    fn opened(&mut self, _: Peer, out: &mut Outbox<'_>) {
        out.reply(b"we are closed\n");
        out.close();
    }

    fn received(&mut self, _: Peer, _: &mut Input<'_>, _: &mut Outbox<'_>) {
        unreachable!("a closing connection is not read");
    }
}

#[test]
fn service_may_close_a_connection_as_soon_as_it_opens() {
    let mut server = Server::new(Doorman);
    let client = server.connect();
    server.says(client, "hello?\n");
    assert_eq!(server.hears_out(client), "we are closed\n");
    server.finishes(client);
    server.settle();
    server.assert_closed(client, CloseReason::Service);
}

/// Retires with its first connection.
struct Recluse;

impl Service for Recluse {
    fn opened(&mut self, _: Peer, out: &mut Outbox<'_>) {
        out.retire();
    }

    fn received(&mut self, _: Peer, _: &mut Input<'_>, _: &mut Outbox<'_>) {}
}

#[test]
fn service_may_retire_while_a_shutdown_accepts_the_backlog() {
    let mut server = Server::new(Recluse);
    let second = server.engine.net_mut().listener();
    server.engine.listen(server.service, second).expect("the fake kernel registers all");
    server.connect();
    server.shut_down();
    server.settle();
    assert!(!server.kernel.borrow().is_listening());
}

#[test]
fn member_that_does_not_read_is_seen_and_in_the_end_closed() {
    let mut server = Server::limited(Room::default(), |limits| limits.max_unsent = 1 << 20);
    let deaf = server.open_with_room(100);
    let speaker = server.open();
    server.hears(speaker);
    assert_eq!(server.asks(speaker, "room\n"), "0 deaf\n");
    let line = format!("{}\n", "x".repeat(50_000));
    server.asks(speaker, &line);
    server.asks(speaker, &line);
    assert_eq!(server.asks(speaker, "room\n"), "1 deaf\n");
    server.assert_open(deaf);
    for _ in 0..20 {
        server.asks(speaker, &line);
    }
    server.assert_closed(deaf, CloseReason::Stall);
    assert!(server.asks(speaker, "room\n").ends_with("0 deaf\n"));
    assert_eq!(server.engine.usage().buffered, 0);
}
