//! The engine over the fake kernel and a virtual clock: what it promises whatever sockets do, one promise a test.
//!
//! `fake` keeps those rules of the real kernel that servers trip over; `fake::server` is the loop around the engine,
//! which sleeps exactly where a real one would. Random schedules are in `tests/simulation.rs`, the built-in services
//! in `tests/services`.

mod accepting;
mod backpressure;
mod closing;
mod datagrams;
mod dialling;
mod draining;
mod embedding;
mod exact;
mod framing;
mod loops;
mod reading;
mod runs;
mod tags;
mod timing;

use std::time::Duration;

use fake::server::Server;
use pingpong::Limits;
use pingpong::service::{Echo, Framing, Hello, Ping};

const SECOND: Duration = Duration::from_secs(1);

fn ping() -> Server<Ping> {
    Server::new(Ping::new(Framing::Line))
}

fn echo() -> Server<Echo> {
    Server::new(Echo)
}

/// A hello that thinks for a second about each line.
fn hello() -> Server<Hello> {
    hello_limited(|_| {})
}

fn hello_limited(set: impl FnOnce(&mut Limits)) -> Server<Hello> {
    Server::limited(Hello::new(Framing::Line, SECOND), set)
}

/// A connection whose service owes it an answer.
fn thinking_connection() -> (Server<Hello>, usize) {
    let mut server = hello();
    let client = server.open();
    assert_eq!(server.asks(client, "Michael\n"), "Welcome!\n");
    (server, client)
}

/// A connection whose client does not read, so that the server reads no more either.
fn congested_connection() -> (Server<Echo>, usize) {
    congested_connection_limited(|_| {})
}

fn congested_connection_limited(set: impl FnOnce(&mut Limits)) -> (Server<Echo>, usize) {
    let mut server = Server::limited(Echo, set);
    let client = server.open_with_room(1000);
    server.says(client, vec![b'x'; 1 << 20]);
    server.settle();
    assert!(server.kernel.borrow().unread_bytes(client) > 500_000);
    (server, client)
}
