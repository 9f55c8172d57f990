//! The hello service: greets on connect, and answers each name with a greeting after a delay.
//!
//! A delayed answer pauses its connection; the message is put back and stays in the engine's buffer meanwhile. The tag
//! holds when the answer is due, so that the service keeps nothing for each connection.

use std::time::Duration;

use super::answers::is_answer;
use super::{Framing, Input, Message, Outbox, Peer, Service};
use crate::moment::Moment;

/// Sends `Welcome!` on connect and answers each message X with `Hello, X!` after a delay. It takes the messages of a
/// connection one by one, as a thread for each connection would; connections do not wait for each other. The message
/// `exit` closes its connection once those before it are answered.
///
/// A datagram is answered at once, unless it looks like an answer itself.
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    framing: Framing,
    delay: Duration,
}

impl Hello {
    /// A hello service that cuts streams into messages by `framing`, and answers each after `delay`.
    pub const fn new(framing: Framing, delay: Duration) -> Self {
        Self { framing, delay }
    }

    fn answer_datagram(&self, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        if is_answer(input.rest()) {
            return out.count_unanswered();
        }
        if let Some(message) = self.framing.next(input) {
            greet(&message, out);
        }
    }
}

impl Service for Hello {
    fn opened(&mut self, _: Peer, out: &mut Outbox<'_>) {
        out.reply(b"Welcome!");
        if self.framing == Framing::Line {
            out.reply(b"\n");
        }
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        if input.is_datagram() {
            return self.answer_datagram(input, out);
        }
        while out.has_room() {
            let due = due(out);
            if due.is_some_and(|due| out.now() < due) {
                return out.pause();
            }
            let Some(message) = self.framing.next(input) else { return };
            if message.text == b"exit" {
                out.record(message.text, Vec::new);
                return out.close();
            }
            if due.is_none() && !self.delay.is_zero() {
                // The message stays in the input until the answer is due.
                input.put_back();
                set_due(out, Some(out.now() + self.delay));
                out.after(self.delay, 0);
                return out.pause();
            }
            set_due(out, None);
            greet(&message, out);
        }
    }
}

fn greet(message: &Message<'_>, out: &mut Outbox<'_>) {
    let text = &*message.text;
    out.record(text, || [b"Hello, ", text, b"!"].concat());
    out.reply(b"Hello, ");
    out.reply(text);
    out.reply(b"!");
    out.reply(message.terminator.as_bytes());
}

/// When the delayed answer is due: the connection's tag, in nanoseconds. Tag 0 means that no answer is delayed; one that
/// is, by a delay longer than zero, cannot be due at moment 0.
fn due(out: &Outbox<'_>) -> Option<Moment> {
    Some(out.tag()).filter(|nanos| *nanos != 0).map(Moment::from_nanos)
}

fn set_due(out: &mut Outbox<'_>, due: Option<Moment>) {
    out.set_tag(due.map_or(0, Moment::as_nanos));
}
