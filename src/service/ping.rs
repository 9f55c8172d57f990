//! The ping service: `ping` is answered with `pong`, and so is everything else.

use super::answers::is_answer;
use super::{Framing, Input, Outbox, Peer, Service};

/// From `i` to `o`, in either case.
const I_TO_O: u8 = b'o' - b'i';

/// Answers every message. One that is `ping` (in any case), alone or followed by white space and anything, gets its
/// own bytes back with the `i` turned to `o`: `PING 7 abc` gets `PONG 7 abc`. Anything else gets `pong`.
///
/// A datagram that is empty or itself an answer stays unanswered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ping {
    framing: Framing,
}

impl Ping {
    /// A ping service that cuts its streams so.
    pub const fn new(framing: Framing) -> Self {
        Self { framing }
    }
}

impl Service for Ping {
    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        if input.is_datagram() && (input.rest().is_empty() || is_answer(input.rest())) {
            return out.count_unanswered();
        }
        while out.has_room()
            && let Some(message) = self.framing.next(input)
        {
            if is_ping(message.text) {
                out.record(message.text, || pong_to(message.text));
                // As long as the question, so that it goes out from where it lies.
                message.text[1] += I_TO_O;
                out.answer_in_place(input);
            } else {
                out.record(message.text, || b"pong".to_vec());
                let terminator = message.terminator;
                out.reply(b"pong");
                out.reply(terminator.as_bytes());
            }
        }
    }

    /// A proper `ping` gets an answer of its own length, and no service answers that.
    fn is_harmless(&self, datagram: &[u8]) -> bool {
        is_ping(datagram)
    }
}

fn is_ping(text: &[u8]) -> bool {
    match text {
        [p, i, n, g, rest @ ..] => {
            [*p, *i, *n, *g].eq_ignore_ascii_case(b"ping") && rest.first().is_none_or(u8::is_ascii_whitespace)
        }
        _ => false,
    }
}

fn pong_to(ping: &[u8]) -> Vec<u8> {
    let mut pong = ping.to_vec();
    pong[1] += I_TO_O;
    pong
}
