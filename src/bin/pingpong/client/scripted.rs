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
    awaits_greeting: bool,
    /// Bytes of an answer came, but no line end.
    has_partial_answer: bool,
}

impl Scripted {
    pub(super) fn new(conversation: Conversation, awaits_greeting: bool) -> Self {
        Self { conversation, printer: Printer::of_stdout(""), awaits_greeting, has_partial_answer: false }
    }

    /// Says the next message and waits for its answer, or ends after the last one.
    fn say_next(&mut self, out: &mut Outbox<'_>) {
        if self.conversation.say_next(out) {
            self.conversation.wait(out);
        } else {
            self.conversation.end(Ok(()), out);
        }
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
            self.say_next(out);
        }
    }

    fn failed(&mut self, _: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        self.conversation.failed(error, out);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.conversation.heard();
        while !self.conversation.is_over()
            && let Some(mut answer) = take_answer(self.conversation.framing(), input)
        {
            if !answer.ends_with(b"\n") {
                answer.push(b'\n');
            }
            self.printer.print(&answer, out);
            self.say_next(out);
        }
        self.has_partial_answer = !input.is_empty();
    }

    fn closed(&mut self, _: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        if self.conversation.is_at_hand(out) {
            // The last message may be one that has no answer, as `exit`.
            self.conversation.closed(why, self.conversation.is_all_said(), out);
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        if self.conversation.is_answer_overdue(key, out) {
            self.conversation.end_unanswered(self.has_partial_answer, out);
        }
    }
}

/// The next answer that is complete: a line, or with raw framing a chunk.
fn take_answer(framing: Framing, input: &mut Input<'_>) -> Option<Vec<u8>> {
    if input.is_empty() {
        return None;
    }
    let answer = if framing == Framing::Line { input.line()? } else { input.take_rest() };
    Some(answer.to_vec())
}
