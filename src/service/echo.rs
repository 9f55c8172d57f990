//! The echo service: every byte back, in order (RFC 862).

use super::{Input, Outbox, Peer, Service};

/// Sends back what it gets: each byte of a stream, each datagram, empty ones too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        if !out.has_room() {
            return;
        }
        let chunk = &*input.take_rest();
        out.record(chunk, || chunk.to_vec());
        out.answer_in_place(input);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Event};
    use super::*;

    #[test]
    fn every_byte_comes_back_in_order() {
        let mut bench = Bench::new(Echo);
        bench.arrive(b"one");
        bench.arrive(b"\0\n\xff");
        assert_eq!(bench.sent(), b"one\0\n\xff");
    }

    #[test]
    fn datagrams_come_back_even_when_empty() {
        let mut bench = Bench::new(Echo);
        assert_eq!(bench.datagram(b"x\n"), Event::answer("x\n"));
        assert_eq!(bench.datagram(b""), Event::answer(""));
    }
}
