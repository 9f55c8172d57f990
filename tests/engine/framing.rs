//! `auto` framing belongs to the connection and its wait to the engine: a service from outside may use its tag, its timers
//! and `expired` as it likes.

use std::time::Duration;

use fake::server::Server;
use pingpong::service::{Framing, Input, Outbox, Peer, Service};

const MILLI: Duration = Duration::from_millis(1);

/// More than a first chunk may be that is taken at once.
const LONG: usize = 2000;

/// Answers each message with its length, changes its tag with each, and does nothing when a timer runs out.
#[derive(Default)]
struct Outsider {
    expired: Vec<u64>,
    tags: Vec<u64>,
    /// Sets a timer with each offer, and resumes when it runs out.
    resumes: bool,
}

impl Service for Outsider {
    fn opened(&mut self, _: Peer, out: &mut Outbox<'_>) {
        out.set_tag(u64::MAX);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        if self.resumes {
            out.after(50 * MILLI, 0);
        }
        while let Some(message) = Framing::Auto.next(input) {
            out.reply(format!("{} ", message.text.len()).as_bytes());
            self.tags.push(out.tag());
            out.set_tag(out.tag().wrapping_sub(1));
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        self.expired.push(key);
        if self.resumes {
            out.resume();
        }
    }
}

#[test]
fn every_tag_is_left_alone_and_leaves_framing_alone() {
    let mut server = Server::new(Outsider::default());
    let lines = server.open();
    assert_eq!(server.asks(lines, "one\nthree\r\nrest"), "3 5 ");
    assert_eq!(server.asks(lines, " of it\n"), "10 ");
    let chunks = server.open();
    assert_eq!(server.asks(chunks, "one"), "3 ");
    assert_eq!(server.asks(chunks, "a\nb\n"), "4 ");
    let tags = server.look(|outsider| std::mem::take(&mut outsider.tags));
    assert_eq!(tags, [0, 1, 2, 0, 1].map(|messages| u64::MAX - messages));
}

#[test]
fn long_first_chunk_is_taken_in_time_whatever_the_service_does_with_timers() {
    let mut server = Server::new(Outsider::default());
    let client = server.open();
    assert_eq!(server.asks(client, vec![b'x'; LONG]), "");
    server.pass(199 * MILLI);
    assert_eq!(server.hears(client), "");
    server.pass(MILLI);
    assert_eq!(server.hears(client), format!("{LONG} "));
    assert_eq!(server.look(|outsider| outsider.expired.len()), 0, "the timer is the engine's");
    assert_eq!(server.asks(client, "a\nb\n"), "4 ", "chunks for life");
}

#[test]
fn line_end_within_the_wait_decides_for_lines() {
    let mut server = Server::new(Outsider::default());
    let client = server.open();
    assert_eq!(server.asks(client, vec![b'x'; LONG]), "");
    server.pass(100 * MILLI);
    assert_eq!(server.asks(client, "yz\nrest"), format!("{} ", LONG + 2));
    server.pass(300 * MILLI);
    assert_eq!(server.hears(client), "", "a rest of lines waits for its end");
    assert_eq!(server.engine.usage().timers, 0);
}

#[test]
fn being_resumed_decides_nothing() {
    let mut server = Server::new(Outsider { resumes: true, ..Outsider::default() });
    let client = server.open();
    assert_eq!(server.asks(client, vec![b'x'; LONG]), "");
    server.pass(199 * MILLI);
    assert!(server.look(|outsider| outsider.expired.len()) >= 3, "it was offered again and again");
    assert_eq!(server.hears(client), "");
    server.pass(MILLI);
    assert_eq!(server.hears(client), format!("{LONG} "));
}

#[test]
fn wait_for_a_line_end_goes_with_its_connection() {
    let mut server = Server::new(Outsider::default());
    let client = server.open();
    server.asks(client, vec![b'x'; LONG]);
    assert_eq!(server.engine.usage().timers, 1);
    server.resets(client);
    server.settle();
    assert_eq!(server.engine.usage().timers, 0);
}
