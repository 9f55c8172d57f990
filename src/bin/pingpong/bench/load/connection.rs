//! One connection of the load: which of its requests are unanswered, and what arriving bytes are to them.
//!
//! Bytes are compared with the answer to the oldest request as they come, so that a long answer need not be stored. Only
//! its beginning, up to the number, has to be there as a whole: where it is another request's number, the line is read
//! as a whole, for it may be the right answer to that one.

use pingpong::service::{Input, Outbox, Peer};

use super::Lifetime;
use super::message::Messages;
use super::pending::Pending;
use super::wake::Visit;
use crate::bench::record::{Answered, Mistakes};

/// A stream or a datagram socket that asks. Where connections live for one request, this stands for one of them after
/// another.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Option<Peer>,
    /// The latest dial.
    pub(super) visit: Visit,
    pub(super) pending: Pending,
    /// How many bytes of the oldest answer have come and were right.
    matched: usize,
    /// The rest of a wrong line is to be passed over.
    is_skipping: bool,
    /// Open loop: it waits for its turn to send.
    pub(super) is_queued: bool,
    /// It has asked in the measured time, or the warm-up left it waiting for an answer.
    pub(super) has_asked: bool,
    /// It got an answer in the measured time.
    pub(super) is_served: bool,
}

/// What an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right(Answered),
    Wrong(Answered),
    /// No request waits for it.
    Surplus,
}

impl Connection {
    /// A connection that has not been made yet.
    pub(super) fn new(index: u32, is_stream: bool) -> Self {
        Self {
            peer: None,
            visit: Visit { index, number: 0 },
            pending: Pending::new(is_stream),
            matched: 0,
            is_skipping: false,
            is_queued: false,
            has_asked: false,
            is_served: false,
        }
    }

    /// The warm-up is over: whether it has left anything unanswered is of interest, and what it had answered is not.
    pub(super) fn begin_measuring(&mut self) {
        (self.has_asked, self.is_served) = (self.pending.unanswered() > 0, false);
    }

    /// Whether it is there, has asked in the measured time, and got no answer since it was made.
    pub(super) fn is_unserved(&self) -> bool {
        self.peer.is_some() && self.has_asked && !self.pending.has_been_answered()
    }

    /// Whether it is there and has been answered, be it before the measured time, but now waits for an answer whose time is
    /// up, or as a datagram socket got none in that time.
    pub(super) fn is_stalled(&self) -> bool {
        let is_silent = self.has_asked && !self.is_served && !self.pending.is_awaited();
        self.peer.is_some() && !self.is_unserved() && (self.pending.waits_in_vain() || is_silent)
    }

    /// Whether a request can be sent: the connection is made for it, or is there. A datagram socket has room, too: what it
    /// could not send at once would wait in a queue that can overflow.
    pub(super) fn can_ask(&self, lifetime: Lifetime, out: &Outbox<'_>) -> bool {
        match (lifetime, self.peer) {
            (Lifetime::OneRequest, _) => true,
            (Lifetime::WholeRun, Some(socket @ Peer::Datagram(_))) => out.has_room_for(socket),
            (Lifetime::WholeRun, peer) => peer.is_some(),
        }
    }

    /// Forgets its peer and what has arrived from there.
    pub(super) fn hang_up(&mut self) {
        self.peer = None;
        self.matched = 0;
        self.is_skipping = false;
    }

    /// Takes the next answer from a stream, once it is there as a whole.
    pub(super) fn next_answer(
        &mut self,
        input: &mut Input<'_>,
        messages: &mut Messages,
        mistakes: &mut Mistakes,
    ) -> Option<Verdict> {
        if self.is_skipping {
            self.skip(input);
        }
        let rest = input.rest();
        if rest.is_empty() {
            return None;
        }
        let oldest = self.pending.next_in_order().filter(|number| messages.had_asked(*number));
        let Some(oldest) = oldest else { return self.read_line(input, messages, mistakes) };
        let expected = &messages.answer(oldest)[self.matched..];
        let count = rest.len().min(expected.len());
        if rest[..count] != expected[..count] {
            if messages.is_line() && self.matched == 0 {
                return self.read_line(input, messages, mistakes);
            }
            mistakes.note_wrong(self.matched, input.rest(), messages.answer(oldest));
            return Some(self.reject(input, messages));
        }
        if count == expected.len() {
            input.take(count);
            self.matched = 0;
            return Some(Verdict::of(self.pending.take_next(), true));
        }
        if self.matched + count >= messages.identified_at() {
            input.take(count);
            self.matched += count;
        }
        None
    }

    /// Takes an answer that has arrived as a whole, in a datagram or as a line.
    pub(super) fn take_answer(&mut self, bytes: &[u8], messages: &mut Messages, mistakes: &mut Mistakes) -> Verdict {
        let claimed = messages.number_of(bytes).or(self.pending.next_in_order());
        let claimed = claimed.filter(|number| messages.had_asked(*number));
        let is_right = claimed.is_some_and(|number| bytes == messages.answer(number));
        let verdict = Verdict::of(claimed.and_then(|number| self.pending.take(number)), is_right);
        match (verdict, claimed) {
            (Verdict::Wrong(_), Some(number)) => mistakes.note_wrong(0, bytes, messages.answer(number)),
            (Verdict::Surplus, _) => mistakes.note_unasked(bytes),
            _ => {}
        }
        verdict
    }

    /// Takes a line that is not the answer to the oldest request: another request's, or a wrong one.
    fn read_line(
        &mut self,
        input: &mut Input<'_>,
        messages: &mut Messages,
        mistakes: &mut Mistakes,
    ) -> Option<Verdict> {
        let line: &[u8] = if messages.is_line() { input.line()? } else { input.take_rest() };
        Some(self.take_answer(line, messages, mistakes))
    }

    /// Counts the oldest request's answer as wrong, and passes over the rest of it as far as its end can be told.
    fn reject(&mut self, input: &mut Input<'_>, messages: &Messages) -> Verdict {
        if messages.is_line() {
            self.is_skipping = true;
        } else {
            input.take(messages.answer_len() - self.matched);
        }
        self.matched = 0;
        Verdict::of(self.pending.take_next(), false)
    }

    /// Passes over bytes up to a line end.
    #[cold]
    fn skip(&mut self, input: &mut Input<'_>) {
        let end = memchr::memchr(b'\n', input.rest());
        self.is_skipping = end.is_none();
        input.take(end.map_or(usize::MAX, |end| end + 1));
    }
}

impl Verdict {
    fn of(answered: Option<Answered>, is_right: bool) -> Self {
        match answered {
            Some(answered) if is_right => Self::Right(answered),
            Some(answered) => Self::Wrong(answered),
            None => Self::Surplus,
        }
    }
}

#[cfg(test)]
mod tests {
    use pingpong::Moment;
    use pingpong::service::Framing;

    use super::*;
    use crate::bench::record::{Request, Wrong};
    use crate::probe::Probe;

    /// A connection with requests 1 to `count` under way, 30 bytes each.
    fn connection(count: u64) -> (Connection, Messages) {
        let mut connection = Connection::new(0, true);
        for number in 1..=count {
            connection.pending.push(Request { number, due: Moment::default(), sent: Moment::default() });
        }
        (connection, messages(&Probe::Pong(30), Framing::Line))
    }

    /// Messages of which a thousand have been sent.
    fn messages(probe: &Probe, framing: Framing) -> Messages {
        let mut messages = Messages::new(probe, framing, false);
        for _ in 0..1_000 {
            messages.next_number();
        }
        messages.arrive();
        messages
    }

    fn pong(number: u64) -> String {
        format!("pong {number:012} abcdefghijk\n")
    }

    /// What a stream's bytes come to when they arrive in chunks of this size: `3` is right, `!3` wrong, `+` surplus.
    fn heard(connection: &mut Connection, messages: &mut Messages, text: &str, chunk: usize) -> Vec<String> {
        let (mut verdicts, mut kept) = (Vec::new(), Vec::new());
        for chunk in text.as_bytes().chunks(chunk) {
            kept.extend_from_slice(chunk);
            let mut input = Input::from(&mut kept[..]);
            while let Some(verdict) = connection.next_answer(&mut input, messages, &mut Mistakes::default()) {
                verdicts.push(match verdict {
                    Verdict::Right(answered) => answered.request.number.to_string(),
                    Verdict::Wrong(answered) => format!("!{}", answered.request.number),
                    Verdict::Surplus => "+".to_owned(),
                });
            }
            kept = input.rest().to_vec();
        }
        verdicts
    }

    #[track_caller]
    fn check(count: u64, text: &str, expected: &[&str]) {
        for chunk in [1, 2, 7, 29, 30, 31, 1000] {
            let (mut connection, mut messages) = connection(count);
            assert_eq!(heard(&mut connection, &mut messages, text, chunk), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn right_answers_in_any_chunks() {
        check(3, &[pong(1), pong(2), pong(3)].concat(), &["1", "2", "3"]);
    }

    #[test]
    fn one_wrong_byte_makes_one_wrong_answer() {
        check(3, &[pong(1), pong(2).replace('d', "D"), pong(3)].concat(), &["1", "!2", "3"]);
        check(2, &["Welcome!\n".to_owned(), pong(2)].concat(), &["!1", "2"]);
    }

    #[test]
    fn an_answer_left_out_harms_no_other() {
        check(3, &[pong(1), pong(3)].concat(), &["1", "3"]);
    }

    #[test]
    fn answers_in_the_wrong_order_find_their_requests() {
        check(3, &[pong(2), pong(1), pong(3)].concat(), &["2", "1", "3"]);
    }

    #[test]
    fn what_nobody_asked_is_surplus() {
        check(1, &[pong(1), pong(1), "x\n".to_owned()].concat(), &["1", "+", "+"]);
        check(2, &[pong(9), pong(1)].concat(), &["+", "1"]);
    }

    #[test]
    fn without_line_ends_the_length_tells() {
        let fixed = Probe::Fixed { send: b"a".to_vec(), expect: b"right".to_vec() };
        let (mut connection, _) = connection(3);
        let mut messages = messages(&fixed, Framing::Raw);
        assert_eq!(heard(&mut connection, &mut messages, "rightwrongright", 100), ["1", "!2", "3"]);
    }

    #[test]
    fn datagrams_are_matched_by_number() {
        let (mut connection, mut messages) = connection(3);
        let told = |verdict| match verdict {
            Verdict::Right(Answered { request, is_overtaken, .. }) => (request.number, is_overtaken),
            other => panic!("{other:?}"),
        };
        let mut mistakes = Mistakes::default();
        let mut take = |text: &[u8]| connection.take_answer(text, &mut messages, &mut mistakes);
        assert_eq!(told(take(pong(2).as_bytes())), (2, false));
        assert_eq!(told(take(pong(1).as_bytes())), (1, true));
        assert_eq!(take(pong(2).as_bytes()), Verdict::Surplus);
        assert!(matches!(take(b"what?"), Verdict::Wrong(_)));
        assert_eq!(take(b""), Verdict::Surplus);
        let expected = "pong 000000000003 abcdefghijk\\n".to_owned();
        assert_eq!(mistakes.wrong, Some(Wrong { got: "what?".to_owned(), expected }));
        assert_eq!(mistakes.unasked, Some("pong 000000000002 abcdefghijk\\n".to_owned()));
    }
}
