//! [`Scripted`]: says the messages of the command line, each after the answer to the last.

use std::io;

use pingpong::CloseReason;
use pingpong::service::{Framing, Input, Outbox, Peer, Service};

use super::Client;
use super::conversation::Conversation;
use super::printer::Printer;

#[derive(Debug)]
pub(super) struct Scripted {
    conversation: Conversation,
    printer: Printer,
    /// The first line, or chunk, is the greeting.
    awaits_greeting: bool,
    /// Bytes of an answer came, but no line end.
    has_partial_answer: bool,
}

impl Scripted {
    pub(super) fn new(conversation: Conversation, awaits_greeting: bool) -> Self {
        Self { conversation, printer: Printer::of_stdout(""), awaits_greeting, has_partial_answer: false }
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
        if self.awaits_greeting {
            self.conversation.wait(out);
        } else {
            self.say(1, out);
        }
    }

    fn failed(&mut self, _: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        self.conversation.failed(error, out);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.conversation.heard();
        self.hear_answers(input, out);
    }

    fn closed(&mut self, _: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        if self.conversation.is_at_hand(out) {
            // The last message may be one that has no answer, as `exit`.
            self.conversation.closed(why, self.conversation.unsaid() == 0, out);
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        if self.conversation.is_answer_overdue(key, out) {
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
