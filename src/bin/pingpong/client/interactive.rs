//! [`Interactive`]: says what is typed, prints what arrives.
//!
//! What is typed before the server is reached waits for it, and datagrams wait while as many as may be are under way;
//! meanwhile no more input is read. `exit` or the end of the input closes our sending side; what the server still has to
//! say is printed.

use std::io;
use std::time::Duration;

use pingpong::service::{Input, Outbox, Peer, Service};
use pingpong::{CloseReason, ConsoleKind};

use super::Client;
use super::conversation::Conversation;
use super::printer::Printer;

/// The key of the timer that runs out once all lines of one read are there, so that they leave in one call.
const SPEAK: u64 = 1;

#[derive(Debug)]
pub(super) struct Interactive {
    conversation: Conversation,
    printer: Printer,
    /// Where lines come from.
    console: ConsoleKind,
    /// `exit` was typed, or the input has ended: nothing more will be said.
    has_finished: bool,
}

impl Interactive {
    pub(super) fn new(conversation: Conversation, console: ConsoleKind) -> Self {
        Self { conversation, printer: Printer::of_stdout("server: "), console, has_finished: false }
    }

    /// Says what has been typed, as far as it may be said now. More input is read once all of it is said. After the last
    /// line ends our side; the server may still answer.
    fn speak(&mut self, out: &mut Outbox<'_>) {
        self.conversation.say(usize::MAX, out);
        let is_all_said = self.conversation.unsaid() == 0;
        if is_all_said {
            out.resume_lines();
        } else {
            out.pause_lines();
        }
        let is_done = self.has_finished && is_all_said;
        match self.conversation.peer() {
            Some(peer @ Peer::Stream(_)) if is_done => out.finish_sending(peer),
            // A datagram socket has no end to send: the last answer, or one that takes too long, ends the conversation.
            Some(Peer::Datagram(_)) if is_done && self.conversation.awaits_nothing() => {
                self.conversation.end_asking(out);
            }
            Some(Peer::Datagram(_)) if is_done || !is_all_said => self.conversation.wait(out),
            Some(Peer::Datagram(_)) => self.conversation.stop_waiting(out),
            Some(Peer::Stream(_)) | None => {}
        }
    }

    /// Says nothing more after what has been typed so far.
    fn finish(&mut self, out: &mut Outbox<'_>) {
        self.has_finished = true;
        self.speak(out);
        out.ignore_lines();
    }
}

impl Client for Interactive {
    fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }
}

impl Service for Interactive {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        if self.conversation.reached(peer, out) {
            self.speak(out);
        }
    }

    fn failed(&mut self, _: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        self.conversation.failed(error, out);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.conversation.heard();
        if input.is_datagram() {
            self.printer.print_message(input.take_rest(), out);
            self.speak(out);
        } else {
            self.printer.print(input.take_rest(), out);
        }
    }

    fn closed(&mut self, _: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        if !self.conversation.is_at_hand(out) {
            return;
        }
        // A person may leave unanswered; a script that has got no answer at all has failed.
        let may_close = if self.has_finished {
            self.console == ConsoleKind::Terminal || self.conversation.has_heard() || !self.conversation.has_spoken()
        } else {
            self.conversation.is_answered()
        };
        if why == CloseReason::Peer && may_close {
            self.conversation.end_closed(self.has_finished, out);
        } else {
            self.conversation.break_off(why, out);
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        if key == SPEAK {
            self.speak(out);
        } else if self.conversation.is_answer_overdue(key, out) {
            self.conversation.give_up();
            self.speak(out);
        }
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        if self.has_finished {
            return;
        }
        if text == b"exit" {
            return self.finish(out);
        }
        if self.conversation.unsaid() == 0 {
            out.after(Duration::ZERO, SPEAK);
        }
        self.conversation.say_later(text);
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        if !self.has_finished {
            self.finish(out);
        }
    }
}
