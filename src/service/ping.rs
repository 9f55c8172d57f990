//! The ping service: answers everything with `pong`, and a `ping` with its own bytes turned into one.

use super::answers::is_answer;
use super::{Framing, Input, Outbox, Peer, Service};

/// The distance from `i` to `o`, in both cases.
const I_TO_O: u8 = b'o' - b'i';

/// Answers every message. A message that is `ping`, in upper or lower case, alone or followed by white space and
/// anything, gets its own bytes back with the `i` turned to `o`: `PING 7 abc` gets `PONG 7 abc`. Anything else gets
/// `pong`.
///
/// A datagram that is empty or looks like an answer itself is not answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ping {
    framing: Framing,
}

impl Ping {
    /// A ping service that cuts streams into messages by `framing`.
    pub const fn new(framing: Framing) -> Self {
        Self { framing }
    }
}

impl Service for Ping {
    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        if input.is_datagram() && (input.rest().is_empty() || is_answer(input.rest())) {
            return out.count_unanswered();
        }
        let answers_runs = self.framing.takes_lines(input) && !out.shows_messages();
        while !input.is_empty() && out.has_room() {
            if answers_runs && answer_run(input, out) {
                continue;
            }
            let Some(message) = self.framing.next(input) else { return };
            if is_ping(message.text) {
                out.record(message.text, || pong_to(message.text));
                // The answer is as long as the question: it is sent from where it lies.
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

    /// True of a proper `ping`: its answer has its own length, and no service here answers that.
    fn is_harmless(&self, datagram: &[u8]) -> bool {
        is_ping(datagram)
    }
}

/// Answers a run of lines that are proper pings where they lie, as one message: pipelined pings are the hot path.
/// Returns false where the next line is none, or not complete.
fn answer_run(input: &mut Input<'_>, out: &mut Outbox<'_>) -> bool {
    let count = input.take_run(out.room(), |line| {
        let is_ping = is_ping(line);
        if is_ping {
            line[1] += I_TO_O;
        }
        is_ping
    });
    if count > 0 {
        out.answer_in_place(input);
        out.count_messages(count);
    }
    count > 0
}

fn is_ping(text: &[u8]) -> bool {
    // Of ASCII letters, this bit is the case. No other byte becomes one of these four with it.
    const LOWER: u32 = 0x2020_2020;
    match text.split_first_chunk::<4>() {
        Some((word, rest)) => {
            let is_word = u32::from_ne_bytes(*word) | LOWER == u32::from_ne_bytes(*b"ping");
            is_word && rest.first().is_none_or(u8::is_ascii_whitespace)
        }
        None => false,
    }
}

fn pong_to(ping: &[u8]) -> Vec<u8> {
    let mut pong = ping.to_vec();
    pong[1] += I_TO_O;
    pong
}
