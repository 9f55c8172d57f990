//! The chat service: an operator at the console answers the clients.
//!
//! It prints when a client connects, speaks or disconnects, and carries out the operator's lines: an answer, `@2 text`,
//! `@all text`, `/who`, `/close 2`, `/quit`. The console itself is the reactor's: lines come by `line`, and text leaves
//! by the outbox.
//!
//! - `clients`: their numbers, and which of them is to be answered next
//! - `script`: lines of a pipe or a file that wait until a client has spoken

mod clients;
mod script;

use crate::error::CloseReason;
use crate::service::{Framing, Input, Outbox, Peer, Service, Terminator, escaped};

use clients::Clients;
use script::Script;

/// The conversations of one operator with many clients, which are numbered from 1.
///
/// The operator's lines arrive by [`Service::line`]. Output goes to the console, by [`Outbox::print`].
#[derive(Debug)]
pub struct Chat {
    framing: Framing,
    operator: Operator,
    clients: Clients,
    script: Script,
    /// The operator has said `/quit`: what stands behind it is not said.
    has_quit: bool,
}

/// What kind of operator answers in a [`Chat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// A person at a terminal. The end of the lines drains the server.
    Person,
    /// A pipe or a file. Its lines wait until a client has spoken; once the last is delivered, the service retires.
    Script,
    /// None. Clients are served and their messages printed, but not answered.
    Nobody,
}

impl Chat {
    /// A chat that cuts streams into messages by `framing`, with an operator of this kind.
    pub fn new(framing: Framing, operator: Operator) -> Self {
        Self { framing, operator, clients: Clients::default(), script: Script::default(), has_quit: false }
    }

    /// Carries out a line of the operator's: a command, or an answer.
    fn obey(&mut self, line: &[u8], out: &mut Outbox<'_>) {
        let (word, rest) = match line.iter().position(|byte| *byte == b' ') {
            Some(space) => (&line[..space], &line[space + 1..]),
            None => (line, &b""[..]),
        };
        match word {
            b"/who" => self.list(out),
            b"/quit" => self.quit(out),
            b"/close" => match self.numbered(rest).and_then(|number| self.clients.get(number)) {
                Some(client) => out.close_other(client.peer),
                None => say_unknown(rest, out),
            },
            [b'/', ..] => {
                let word = escaped(word);
                out.print(
                    format!("there is no {word} (there are /who, /close N and /quit; @N TEXT and @all TEXT)\n")
                        .as_bytes(),
                );
            }
            b"@all" => {
                for number in self.clients.numbers() {
                    self.tell(number, rest, out);
                }
            }
            [b'@', number @ ..] => match self.numbered(number) {
                Some(number) => self.tell(number, rest, out),
                None => say_unknown(number, out),
            },
            _ => match self.clients.next_to_answer() {
                Some(number) => self.tell(number, line, out),
                None => out.print(b"nobody here has spoken: this was sent to nobody (@N TEXT goes to client N)\n"),
            },
        }
    }

    /// Sends a client a line, which answers all its messages so far. A person is told when the client does not read; a
    /// script is read at the client's pace.
    fn tell(&mut self, number: u64, text: &[u8], out: &mut Outbox<'_>) {
        let Some(client) = self.clients.get(number) else { return };
        if self.operator != Operator::Script && !out.has_room_for(client.peer) {
            return out.print(format!("[{number}] does not read: this was not sent to it\n").as_bytes());
        }
        out.send(client.peer, &[text, client.terminator.as_bytes()].concat());
        self.clients.note_answer(number);
    }

    fn list(&self, out: &mut Outbox<'_>) {
        if self.clients.is_empty() {
            out.print(b"nobody is here\n");
        }
        for (number, client) in self.clients.iter() {
            out.print(format!("[{number}] {} {}\n", client.address, client.state()).as_bytes());
        }
    }

    fn quit(&mut self, out: &mut Outbox<'_>) {
        self.has_quit = true;
        out.drain();
    }

    /// The client with this number, as the operator wrote it.
    fn numbered(&self, number: &[u8]) -> Option<u64> {
        let number = std::str::from_utf8(number).ok()?.trim().parse().ok()?;
        self.clients.get(number).map(|_| number)
    }

    /// Carries out the script's lines that wait, once a client has spoken. Too many that wait pause the console.
    fn obey_script(&mut self, out: &mut Outbox<'_>) {
        while !self.has_quit
            && self.clients.has_spoken()
            && let Some(line) = self.script.pop()
        {
            self.obey(&line, out);
        }
        if self.script.is_over() {
            out.retire();
        }
        if self.script.is_full() {
            out.pause_lines();
        } else {
            out.resume_lines();
        }
    }
}

impl Service for Chat {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let address = out.address().map(|address| address.to_string()).unwrap_or_default();
        let terminator = if self.framing == Framing::Raw { Terminator::None } else { Terminator::Lf };
        let came = format!("{address} connected\n");
        let number = self.clients.add(peer, address, terminator);
        out.set_tag(number);
        out.print_attendance(&format!("[{number}] {came}"));
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let number = out.tag();
        while let Some(message) = self.framing.next(input) {
            out.record(message.text, Vec::new);
            out.print_said(number, &format!("[{number}] client: "), message.text);
            self.clients.note_message(number, message.terminator);
        }
        self.obey_script(out);
    }

    fn closed(&mut self, _: Peer, _: CloseReason, out: &mut Outbox<'_>) {
        let number = out.tag();
        self.clients.remove(number);
        out.print_attendance(&format!("[{number}] disconnected\n"));
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        match self.operator {
            _ if self.has_quit => {}
            Operator::Script => {
                self.script.push(text);
                self.obey_script(out);
            }
            Operator::Person | Operator::Nobody => self.obey(text, out),
        }
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        match self.operator {
            Operator::Person => out.drain(),
            Operator::Script => {
                self.script.end();
                self.obey_script(out);
            }
            Operator::Nobody => {}
        }
    }
}

fn say_unknown(number: &[u8], out: &mut Outbox<'_>) {
    out.print(format!("there is no client {} (/who lists them)\n", escaped(number.trim_ascii())).as_bytes());
}
