//! [`Scripted`]: says the messages of the command line, each after the answer to the last.

use std::io;
use std::time::Duration;

use pingpong::service::{Framing, Input, Outbox, Peer, Service};
use pingpong::{CloseReason, Moment};

use super::Client;
use super::conversation::Conversation;
use super::printer::Printer;

/// A greeting without a line end is over when nothing more has come for this long.
const QUIET: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Scripted {
    conversation: Conversation,
    printer: Printer,
    greeting: Greeting,
    /// Bytes of an answer came, but no line end.
    has_partial_answer: bool,
}

/// What the server says first, which is waited for where that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    Awaited,
    /// Some of it has come, and no line end. At this moment it is over, even if more still trickles in.
    Begun {
        until: Moment,
    },
    /// It is printed, or was not asked for.
    Over,
}

impl Scripted {
    pub(super) fn new(conversation: Conversation, awaits_greeting: bool) -> Self {
        let greeting = if awaits_greeting { Greeting::Awaited } else { Greeting::Over };
        Self { conversation, printer: Printer::of_stdout(""), greeting, has_partial_answer: false }
    }

    /// Prints what has come of the greeting. With line framing it ends at the first line end, with raw framing with the
    /// first chunk that ends with one.
    fn hear_greeting(&mut self, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let is_datagram = input.is_datagram();
        let text = match input.rest().iter().position(|byte| *byte == b'\n') {
            Some(end) if self.conversation.framing() == Framing::Line => input.take(end + 1),
            _ => input.take_rest(),
        };
        self.printer.print(text, out);
        if is_datagram || text.ends_with(b"\n") {
            self.printer.end_line(text, out);
            return self.end_greeting(out);
        }
        let quiet = out.now() + QUIET;
        let until = if let Greeting::Begun { until } = self.greeting {
            until
        } else {
            self.conversation.deadline().unwrap_or(quiet)
        };
        self.greeting = Greeting::Begun { until };
        self.conversation.wait_until(quiet.min(until), out);
    }

    fn end_greeting(&mut self, out: &mut Outbox<'_>) {
        self.greeting = Greeting::Over;
        self.say(1, out);
    }

    /// Prints the answers that are complete, and says as many further messages.
    fn hear_answers(&mut self, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let mut answers = 0;
        // One message has been said and awaits its answer. What comes after the last answer is of no interest.
        while answers <= self.conversation.unsaid()
            && let Some(answer) = next_answer(self.conversation.framing(), input)
        {
            self.printer.print_message(answer, out);
            answers += 1;
        }
        self.has_partial_answer = !input.is_empty();
        if answers > 0 {
            self.say(answers, out);
        }
    }

    /// Says `count` messages and waits for their answers. Ends if there are fewer.
    fn say(&mut self, count: usize, out: &mut Outbox<'_>) {
        if count > self.conversation.unsaid() {
            return self.conversation.end(Ok(None), out);
        }
        self.conversation.say(count, out);
        self.conversation.wait(out);
    }
}

impl Client for Scripted {
    fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }
}

impl Service for Scripted {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        if !self.conversation.reached(peer, out) {
            return;
        }
        if self.greeting == Greeting::Over {
            self.say(1, out);
        } else {
            self.conversation.wait(out);
        }
    }

    fn failed(&mut self, _: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        self.conversation.failed(error, out);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.conversation.heard();
        if self.greeting != Greeting::Over {
            self.hear_greeting(input, out);
        }
        if self.greeting == Greeting::Over && !self.conversation.is_over() {
            self.hear_answers(input, out);
        }
    }

    fn closed(&mut self, _: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        if !self.conversation.is_at_hand(out) {
            return;
        }
        if let Greeting::Begun { .. } = self.greeting {
            self.printer.end_line(b"", out);
        }
        // The last message may be one that has no answer, as `exit`. A server that has said nothing at all has failed.
        let may_close = self.conversation.unsaid() == 0 && self.conversation.has_heard();
        if why == CloseReason::Peer && may_close {
            self.conversation.end_closed(true, out);
        } else {
            self.conversation.break_off(why, out);
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        if !self.conversation.is_answer_overdue(key, out) {
            return;
        }
        if let Greeting::Begun { .. } = self.greeting {
            self.printer.end_line(b"", out);
            self.end_greeting(out);
        } else {
            self.conversation.end_unanswered(self.has_partial_answer, out);
        }
    }
}

/// The next answer that is complete: a line, or with raw framing a chunk.
fn next_answer<'i>(framing: Framing, input: &'i mut Input<'_>) -> Option<&'i [u8]> {
    if input.is_empty() {
        return None;
    }
    let answer = if framing == Framing::Line { input.line()? } else { input.take_rest() };
    Some(answer)
}
