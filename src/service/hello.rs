//! The hello service: greets, thinks, and greets by name.

use std::time::Duration;

use super::framing::TAG_BITS;
use super::{Framing, Input, Message, Outbox, Peer, Service, is_answer};
use crate::moment::Moment;

/// Sends `Welcome!` on connect and answers each message X with `Hello, X!` after a delay: one message of a connection
/// at a time, in order, as a thread of its own would. `exit` closes the connection when its turn comes.
///
/// A datagram is answered at once, unless it is itself an answer.
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    framing: Framing,
    delay: Duration,
}

impl Hello {
    /// A hello service that cuts its streams so, and thinks for `delay` about each of their messages.
    pub const fn new(framing: Framing, delay: Duration) -> Self {
        Self { framing, delay }
    }

    fn answer_datagram(&self, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        if is_answer(input.rest()) {
            return out.refuse();
        }
        if let Some(message) = self.framing.next(input, out) {
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
            let Some(message) = self.framing.next(input, out) else { return };
            if message.text == b"exit" {
                out.record(message.text, Vec::new);
                return out.close();
            }
            if due.is_none() && !self.delay.is_zero() {
                // The message stays where it is while we think; the tag says until when.
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

/// When the answer to the first message is due, if it is being thought about: what the framing leaves of the tag,
/// 0 for none. (In nanoseconds that lasts for 146 years.)
fn due(out: &Outbox<'_>) -> Option<Moment> {
    match out.tag() >> TAG_BITS {
        0 => None,
        nanos => Some(Moment::from_nanos(nanos)),
    }
}

fn set_due(out: &mut Outbox<'_>, due: Option<Moment>) {
    let framing = out.tag() & ((1 << TAG_BITS) - 1);
    out.set_tag(due.map_or(0, Moment::as_nanos) << TAG_BITS | framing);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Event};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn hello(framing: Framing) -> Bench<Hello> {
        let mut bench = Bench::new(Hello::new(framing, SECOND));
        bench.open();
        bench
    }

    #[test]
    fn greets_on_connect() {
        assert_eq!(hello(Framing::Auto).sent_text(), "Welcome!");
        assert_eq!(hello(Framing::Line).sent_text(), "Welcome!\n");
    }

    #[test]
    fn answers_one_message_at_a_time_in_order() {
        let mut bench = hello(Framing::Auto);
        bench.arrive(b"Michael\nTracy\r\n");
        assert!(bench.is_paused());
        bench.expire_timers();
        assert_eq!(bench.sent_text(), "Welcome!Hello, Michael!\n");
        assert!(bench.is_paused());
        bench.expire_timers();
        assert_eq!(bench.sent_text(), "Welcome!Hello, Michael!\nHello, Tracy!\r\n");
        assert!(!bench.is_paused());
    }

    #[test]
    fn a_timer_of_the_framing_does_not_cut_thinking_short() {
        let mut bench = hello(Framing::Auto);
        bench.arrive("x".repeat(2000).as_bytes());
        bench.arrive(b"\n");
        assert!(bench.is_paused());
        bench.expire_next_timer();
        assert!(bench.is_paused(), "the framing's 200 ms are over, the second is not");
        assert_eq!(bench.sent_text(), "Welcome!");
        bench.expire_timers();
        assert!(bench.sent_text().ends_with("x!\n"));
    }

    #[test]
    fn exit_closes_when_its_turn_comes() {
        let mut bench = hello(Framing::Auto);
        bench.arrive(b"Sarah\nexit\nnobody\n");
        assert!(!bench.is_closed());
        bench.expire_timers();
        assert!(bench.is_closed());
        assert_eq!(bench.sent_text(), "Welcome!Hello, Sarah!\n");
    }

    #[test]
    fn without_delay_it_answers_at_once() {
        let mut bench = Bench::new(Hello::new(Framing::Raw, Duration::ZERO));
        bench.arrive(b"X");
        assert_eq!(bench.sent_text(), "Hello, X!");
    }

    #[test]
    fn a_rest_at_the_end_of_the_stream_is_thought_about_too() {
        let mut bench = hello(Framing::Line);
        bench.arrive(b"X");
        bench.end();
        assert!(bench.is_paused());
        bench.expire_timers();
        assert_eq!(bench.sent_text(), "Welcome!\nHello, X!");
    }

    #[test]
    fn datagrams_are_answered_at_once_and_answers_never() {
        let mut bench = Bench::new(Hello::new(Framing::Auto, SECOND));
        assert_eq!(bench.datagram(b"Tracy\n"), Event::answer("Hello, Tracy!\n"));
        assert_eq!(bench.datagram(b""), Event::answer("Hello, !"));
        assert_eq!(bench.datagram(b"exit"), Event::answer("Hello, exit!"));
        assert_eq!(bench.datagram(b"hello, Tracy!"), Event::Silence);
        assert_eq!(bench.datagram(b"pong"), Event::Silence);
    }
}
