//! `pingpong client`: the other side of a conversation, scripted or interactive.
//!
//! One service on one dialled connection, or on one datagram socket that asks. With messages: say one, wait for its
//! answer, print it, say the next. Without: what is typed is said, what arrives is printed as it arrives.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::time::Duration;

use crate::cli::ClientOptions;
use crate::error::Error;
use crate::target::Target;
use pingpong::CloseReason;
use pingpong::Limits;
use pingpong::service::{Framing, Input, Outbox, Peer, Service, escaped};
use pingpong::{ConsoleKind, Reactor, WhenFull};

/// Holds the conversation, and tells how it went.
pub(crate) fn run(options: ClientOptions) -> Result<(), Error> {
    let is_interactive = options.messages.is_empty() && !options.greeting;
    let mut reactor = Reactor::<Box<dyn Service>>::new(Limits::default())?;
    let conversation = Rc::new(RefCell::new(Conversation::new(options)?));
    let id = reactor.add("client", Box::new(conversation.clone()));
    let kind = if is_interactive { ConsoleKind::of_stdin() } else { ConsoleKind::Nobody };
    reactor.open_console(id, kind, "input:", WhenFull::Wait)?;
    reactor.with(id, |_, out| {
        let mut conversation = conversation.borrow_mut();
        conversation.begin(out);
        if is_interactive && kind == ConsoleKind::Nobody {
            conversation.lines_ended(out);
        }
    });
    reactor.run()?;
    let outcome = conversation.borrow_mut().outcome.take();
    outcome.unwrap_or(Ok(()))
}

struct Conversation {
    target: Target,
    framing: Framing,
    timeout: Duration,
    peer: Option<Peer>,
    /// What is still to be said: messages, or lines typed before there was a connection.
    script: VecDeque<Vec<u8>>,
    /// Datagrams that have been sent while it is not known whether anyone is there.
    said: Vec<Vec<u8>>,
    is_interactive: bool,
    awaits_greeting: bool,
    /// Numbers what is waited for: an older timer means nothing.
    turn: u64,
    waits: bool,
    /// Bytes came, but no end of a line.
    unterminated: bool,
    /// We have said all that we will say.
    is_over: bool,
    /// Datagrams sent, and those that came.
    asked: u64,
    answered: u64,
    is_terminal: bool,
    outcome: Option<Result<(), Error>>,
}

impl Conversation {
    fn new(options: ClientOptions) -> Result<Self, Error> {
        Ok(Self {
            target: Target::resolve(options.endpoint)?,
            framing: options.framing,
            timeout: options.timeout,
            peer: None,
            is_interactive: options.messages.is_empty() && !options.greeting,
            script: options.messages.into(),
            said: Vec::new(),
            awaits_greeting: options.greeting,
            turn: 0,
            waits: false,
            unterminated: false,
            is_over: false,
            asked: 0,
            answered: 0,
            is_terminal: io::stdout().is_terminal(),
            outcome: None,
        })
    }

    /// Tries the next address.
    fn begin(&mut self, out: &mut Outbox<'_>) {
        self.wait(out);
        self.target.dial(out);
    }

    /// Waits for something, for as long as an answer may take.
    fn wait(&mut self, out: &mut Outbox<'_>) {
        self.turn += 1;
        self.waits = true;
        self.unterminated = false;
        out.after(self.timeout, self.turn);
    }

    fn say(&mut self, message: &[u8], out: &mut Outbox<'_>) {
        let Some(peer) = self.peer else { return };
        let end = if self.framing == Framing::Line && !self.target.endpoint.is_datagram() { "\n" } else { "" };
        self.asked += 1;
        if self.answered == 0 && self.target.endpoint.is_datagram() {
            self.said.push(message.to_vec());
        }
        out.send(peer, &[message, end.as_bytes()].concat());
    }

    /// Scripted: what was waited for is here, the next message is due.
    fn next(&mut self, out: &mut Outbox<'_>) {
        match self.script.pop_front() {
            Some(message) => {
                self.say(&message, out);
                self.wait(out);
            }
            None => self.end(Ok(()), out),
        }
    }

    fn end(&mut self, outcome: Result<(), Error>, out: &mut Outbox<'_>) {
        self.waits = false;
        self.outcome.get_or_insert(outcome);
        out.stop();
    }

    /// Interactive: nothing more will be said.
    fn finish(&mut self, out: &mut Outbox<'_>) {
        self.is_over = true;
        out.ignore_lines();
        match self.peer {
            // Datagrams have no end: it is over when all are answered, or when that takes too long.
            Some(Peer::Datagram(_)) if self.answered >= self.asked => self.end(Ok(()), out),
            Some(Peer::Datagram(_)) => self.wait(out),
            Some(peer) => out.finish_sending(peer),
            None => {}
        }
    }

    fn print_answer(&self, answer: &[u8], out: &mut Outbox<'_>) {
        match self.is_terminal {
            true => {
                for line in answer.split_inclusive(|byte| *byte == b'\n') {
                    let line = line.strip_suffix(b"\n").unwrap_or(line);
                    let line = escaped(line.strip_suffix(b"\r").unwrap_or(line));
                    out.print(
                        if self.is_interactive { format!("server: {line}\n") } else { format!("{line}\n") }.as_bytes(),
                    );
                }
            }
            false => out.print(answer),
        }
    }

    /// Scripted: takes the answers that are complete.
    fn take_answers(&mut self, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        while self.waits && !input.is_empty() {
            let answer = match self.framing {
                Framing::Line => input.line(),
                Framing::Raw | Framing::Auto => Some(input.take_rest()),
            };
            let Some(answer) = answer else { break };
            let needs_end = !answer.ends_with(b"\n");
            let answer = [&*answer, if needs_end { b"\n" } else { b"" }].concat();
            self.print_answer(&answer, out);
            self.next(out);
        }
        self.unterminated = !input.is_empty();
    }
}

impl Service for Conversation {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        self.peer = Some(peer);
        self.waits = false;
        if self.is_interactive {
            for line in std::mem::take(&mut self.script) {
                self.say(&line, out);
            }
            if self.is_over {
                self.finish(out);
            }
        } else if self.awaits_greeting {
            self.wait(out);
        } else {
            self.next(out);
        }
    }

    fn failed(&mut self, peer: Option<Peer>, error: &io::Error, out: &mut Outbox<'_>) {
        if peer != self.peer {
            return;
        }
        // A datagram learns only now that nobody is there: it is said again at the next address.
        if self.answered == 0 && self.target.has_more() {
            self.peer = None;
            self.asked = 0;
            self.script = self.said.drain(..).chain(self.script.drain(..)).collect();
            return self.begin(out);
        }
        self.end(Err(self.target.unreachable(error)), out);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.answered += 1;
        if !self.is_interactive {
            return self.take_answers(input, out);
        }
        let is_datagram = input.is_datagram();
        let chunk = &*input.take_rest();
        self.print_answer(chunk, out);
        if is_datagram && !chunk.ends_with(b"\n") && !self.is_terminal {
            out.print(b"\n");
        }
        if is_datagram && self.is_over {
            self.finish(out);
        }
    }

    fn closed(&mut self, _: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        // The last message may be one that has no answer, as `exit`.
        let is_fine = why == CloseReason::Peer && (self.is_interactive || self.script.is_empty());
        let broken = || Error::BrokenOff { endpoint: self.target.endpoint.clone(), why };
        let outcome = if is_fine { Ok(()) } else { Err(broken()) };
        self.end(outcome, out);
    }

    fn expired(&mut self, turn: u64, out: &mut Outbox<'_>) {
        if !self.waits || turn != self.turn {
            return;
        }
        let (endpoint, waited) = (self.target.endpoint.clone(), self.timeout);
        let outcome = match self.peer {
            None => {
                self.waits = false;
                return self.failed(None, &io::ErrorKind::TimedOut.into(), out);
            }
            Some(_) if self.is_interactive && self.answered > 0 => Ok(()),
            Some(_) => Err(Error::NoAnswer { endpoint, waited, unterminated: self.unterminated }),
        };
        self.end(outcome, out);
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        if self.is_over {
            return;
        }
        if text == b"exit" {
            return self.finish(out);
        }
        match self.peer {
            Some(_) => self.say(text, out),
            None => self.script.push_back(text.to_vec()),
        }
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        if !self.is_over {
            self.finish(out);
        }
    }
}
