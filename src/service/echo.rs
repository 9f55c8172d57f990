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
