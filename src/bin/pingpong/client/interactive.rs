//! [`Interactive`]: says what is typed, prints what arrives.
//!
//! Lines typed before the server is reached wait for it. `exit` or the end of the input closes our sending side; what
//! the server still has to say is printed.

use std::io;

use pingpong::CloseReason;
use pingpong::service::{Input, Outbox, Peer, Service};

use super::Client;
use super::conversation::Conversation;
use super::printer::Printer;

#[derive(Debug)]
pub(super) struct Interactive {
    conversation: Conversation,
    printer: Printer,
    /// `exit` was typed, or the input has ended: nothing more will be said.
    has_finished: bool,
}

impl Interactive {
    pub(super) fn new(conversation: Conversation) -> Self {
        Self { conversation, printer: Printer::of_stdout("server: "), has_finished: false }
    }

    /// Says nothing more. The server may still answer.
    fn finish_sending(&mut self, out: &mut Outbox<'_>) {
        self.has_finished = true;
        out.ignore_lines();
        match self.conversation.peer() {
            // A datagram socket has no end to send: the last answer, or one that takes too long, ends the conversation.
            Some(Peer::Datagram(_)) if self.conversation.is_all_answered() => self.conversation.end(Ok(()), out),
            Some(Peer::Datagram(_)) => self.conversation.wait(out),
            Some(connection) => out.finish_sending(connection),
            None => {}
        }
    }
}

impl Client for Interactive {
    fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }
}

impl Service for Interactive {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        if !self.conversation.reached(peer, out) {
            return;
        }
        while self.conversation.say_next(out) {}
        if self.has_finished {
            self.finish_sending(out);
        }
    }

    fn failed(&mut self, _: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        self.conversation.failed(error, out);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.conversation.heard();
        let is_datagram = input.is_datagram();
        let chunk = input.take_rest();
        self.printer.print(chunk, out);
        if is_datagram {
            self.printer.end_line(chunk, out);
            if self.has_finished {
                self.finish_sending(out);
            }
        }
    }

    fn closed(&mut self, _: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        if self.conversation.is_at_hand(out) {
            self.conversation.closed(why, true, out);
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        if !self.conversation.is_answer_overdue(key, out) {
            return;
        }
        if self.conversation.has_heard() {
            self.conversation.end(Ok(()), out);
        } else {
            self.conversation.end_unanswered(false, out);
        }
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        if self.has_finished {
            return;
        }
        if text == b"exit" {
            return self.finish_sending(out);
        }
        match self.conversation.peer() {
            Some(_) => self.conversation.say(text, out),
            None => self.conversation.say_later(text),
        }
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        if !self.has_finished {
            self.finish_sending(out);
        }
    }
}
