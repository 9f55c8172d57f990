//! Echo: every byte back.

use pingpong::service::Echo;

use crate::bench::{Bench, Outcome};

#[test]
fn every_byte_comes_back_in_order() {
    let mut bench = Bench::new(Echo);
    bench.open();
    bench.arrive(b"one");
    bench.arrive(b"\0\n\xff");
    assert_eq!(bench.sent(), b"one\0\n\xff");
}

#[test]
fn datagrams_come_back_even_when_empty() {
    let mut bench = Bench::new(Echo);
    assert_eq!(bench.datagram(b"x\n"), Outcome::answer("x\n"));
    assert_eq!(bench.datagram(b""), Outcome::answer(""));
}
