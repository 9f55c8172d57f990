//! The ping service: `ping` is answered with `pong`, and so is everything else.

use super::{Framing, Input, Outbox, Peer, Service, is_answer};

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
            return out.refuse();
        }
        while out.has_room()
            && let Some(message) = self.framing.next(input, out)
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Event};
    use super::*;

    #[track_caller]
    fn answers(framing: Framing, chunks: &[&str]) -> String {
        let mut bench = Bench::new(Ping::new(framing));
        chunks.iter().for_each(|chunk| bench.arrive(chunk.as_bytes()));
        bench.sent_text()
    }

    #[test]
    fn ping_keeps_its_case_and_its_tail() {
        assert_eq!(answers(Framing::Line, &["ping\nPiNg 7 abc\r\nPING\t\n"]), "pong\nPoNg 7 abc\r\nPONG\t\n");
    }

    #[test]
    fn anything_else_gets_pong_and_its_terminator() {
        assert_eq!(answers(Framing::Line, &["hello pdudo\n\npingu\r\npin\n"]), "pong\npong\npong\r\npong\n");
    }

    #[test]
    fn pipelined_answers_keep_their_order_when_some_are_answered_in_place() {
        assert_eq!(answers(Framing::Line, &["ping 1\nx\nping 2\nping 3\n"]), "pong 1\npong\npong 2\npong 3\n");
    }

    #[test]
    fn raw_answers_each_chunk_without_terminator() {
        assert_eq!(answers(Framing::Raw, &["hello pdudo", "ping\n"]), "pongpong\n");
    }

    #[test]
    fn auto_takes_a_short_first_chunk_without_line_end_as_raw_for_life() {
        assert_eq!(answers(Framing::Auto, &["hello pdudo", "a\nb\n"]), "pongpong");
    }

    #[test]
    fn auto_takes_a_line_end_in_the_first_chunk_as_lines_for_life() {
        assert_eq!(answers(Framing::Auto, &["ping\nx", "y\n"]), "pong\npong\n");
    }

    #[test]
    fn auto_waits_for_the_end_of_a_long_first_line() {
        let long = "x".repeat(2000);
        assert_eq!(answers(Framing::Auto, &[&long, "yz\nping\n"]), "pong\npong\n");
    }

    #[test]
    fn auto_takes_a_long_first_chunk_as_raw_when_its_wait_is_over() {
        let mut bench = Bench::new(Ping::new(Framing::Auto));
        bench.arrive("x".repeat(2000).as_bytes());
        assert_eq!(bench.sent_text(), "");
        bench.expire_timers();
        assert_eq!(bench.sent_text(), "pong");
    }

    #[test]
    fn an_unterminated_rest_at_the_end_is_a_message() {
        let mut bench = Bench::new(Ping::new(Framing::Line));
        bench.arrive(b"ping\npi");
        bench.arrive(b"ng");
        assert_eq!(bench.sent_text(), "pong\n");
        bench.end();
        assert_eq!(bench.sent_text(), "pong\npong");
    }

    #[test]
    fn datagrams_mirror_their_terminator() {
        let mut ping = Bench::new(Ping::default());
        for (question, answer) in [("ping 3\r\n", "pong 3\r\n"), ("x\n", "pong\n"), ("ping", "pong"), ("\n", "pong\n")]
        {
            assert_eq!(ping.datagram(question.as_bytes()), Event::answer(answer), "{question:?}");
        }
    }

    #[test]
    fn an_empty_datagram_and_an_answer_stay_unanswered() {
        let mut ping = Bench::new(Ping::default());
        for question in ["", "pong", "PONG 3\n", "Hello, x!", "Welcome!"] {
            assert_eq!(ping.datagram(question.as_bytes()), Event::Silence, "{question:?}");
        }
        assert_eq!(ping.stats().loops, 5);
    }
}
