//! The echo service (RFC 862): every byte back, in order.

use super::{Input, Outbox, Peer, Service};

/// Sends back every byte of a stream, in order, and every datagram, empty ones too.
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
