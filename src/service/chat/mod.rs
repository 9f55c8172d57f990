//! The chat service: an operator at the console answers the clients.
//!
//! It prints when a client connects, speaks or disconnects, and carries out the operator's lines: an answer, `@2 text`,
//! `@all text`, `/who`, `/close 2`, `/quit`. The console itself is the reactor's: lines come by `line`, and text leaves
//! by the outbox.

use std::collections::{BTreeMap, VecDeque};

use crate::error::CloseReason;
use crate::service::{Framing, Input, Outbox, Peer, Service, Terminator, escaped};

/// The conversations of one operator with many clients, which are numbered from 1.
///
/// The operator's lines arrive by [`Service::line`]. Output goes to the console, by [`Outbox::print`].
#[derive(Debug)]
pub struct Chat {
    framing: Framing,
    operator: Operator,
    /// By number. A connection's tag is its client's number.
    clients: BTreeMap<u64, Client>,
    /// The number given last.
    came: u64,
    /// Messages received so far. A message's number puts it in order with those of other clients.
    said: u64,
    /// Lines of a script that wait until a client has spoken.
    waiting: VecDeque<Vec<u8>>,
    /// The script has no more lines.
    is_over: bool,
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

#[derive(Debug)]
struct Client {
    peer: Peer,
    address: String,
    /// The number of its first message that is not answered.
    unanswered: Option<u64>,
    /// The number of its last message; `None` before it has spoken.
    spoke: Option<u64>,
    /// Ends each line sent to it: the terminator of its own last message.
    terminator: Terminator,
}

impl Chat {
    /// A chat that cuts streams into messages by `framing`, with an operator of this kind.
    pub const fn new(framing: Framing, operator: Operator) -> Self {
        Self { framing, operator, clients: BTreeMap::new(), came: 0, said: 0, waiting: VecDeque::new(), is_over: false }
    }

    /// Carries out a line of the operator's: a command, or an answer.
    fn obey(&mut self, line: &[u8], out: &mut Outbox<'_>) {
        let (word, rest) = match line.iter().position(|byte| *byte == b' ') {
            Some(space) => (&line[..space], &line[space + 1..]),
            None => (line, &b""[..]),
        };
        match word {
            b"/who" => self.list(out),
            b"/quit" => out.drain(),
            b"/close" => match self.numbered(rest) {
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
                for client in self.clients.values_mut() {
                    client.tell(rest, out);
                }
            }
            [b'@', number @ ..] => match self.numbered(number) {
                Some(client) => client.tell(rest, out),
                None => say_unknown(number, out),
            },
            _ => self.answer(line, out),
        }
    }

    /// Answers the client whose first unanswered message is the oldest, or else the one that spoke last.
    fn answer(&mut self, line: &[u8], out: &mut Outbox<'_>) {
        let oldest = self
            .clients
            .values_mut()
            .filter(|client| client.unanswered.is_some())
            .min_by_key(|client| client.unanswered);
        if let Some(client) = oldest {
            return client.tell(line, out);
        }
        match self.clients.values_mut().filter(|client| client.spoke.is_some()).max_by_key(|client| client.spoke) {
            Some(client) => client.tell(line, out),
            None => out.print(b"nobody here has spoken: this was sent to nobody (@N TEXT goes to client N)\n"),
        }
    }

    fn list(&self, out: &mut Outbox<'_>) {
        if self.clients.is_empty() {
            out.print(b"nobody is here\n");
        }
        for (number, client) in &self.clients {
            let state = match (client.spoke, client.unanswered) {
                (None, _) => "has not spoken",
                (_, Some(_)) => "waits for an answer",
                (_, None) => "is answered",
            };
            out.print(format!("[{number}] {} {state}\n", client.address).as_bytes());
        }
    }

    /// The client with this number, as the operator wrote it.
    fn numbered(&mut self, number: &[u8]) -> Option<&mut Client> {
        let number = std::str::from_utf8(number).ok()?.trim().parse().ok()?;
        self.clients.get_mut(&number)
    }

    /// Carries out the script's lines that wait, once a client has spoken.
    fn obey_waiting(&mut self, out: &mut Outbox<'_>) {
        while self.has_listener()
            && let Some(line) = self.waiting.pop_front()
        {
            self.obey(&line, out);
        }
        if self.is_over && self.waiting.is_empty() {
            out.retire();
        }
    }

    /// Whether a client is here that has spoken.
    fn has_listener(&self) -> bool {
        self.clients.values().any(|client| client.spoke.is_some())
    }
}

impl Service for Chat {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        self.came += 1;
        out.set_tag(self.came);
        let address = out.address().map(ToString::to_string).unwrap_or_default();
        out.print(format!("[{}] {address} connected\n", self.came).as_bytes());
        let terminator = if self.framing == Framing::Raw { Terminator::None } else { Terminator::Lf };
        self.clients.insert(self.came, Client { peer, address, unanswered: None, spoke: None, terminator });
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let number = out.tag();
        while let Some(message) = self.framing.next(input) {
            out.record(message.text, Vec::new);
            out.print(format!("[{number}] client: {}\n", escaped(message.text)).as_bytes());
            self.said += 1;
            if let Some(client) = self.clients.get_mut(&number) {
                client.unanswered.get_or_insert(self.said);
                client.spoke = Some(self.said);
                client.terminator = message.terminator;
            }
        }
        self.obey_waiting(out);
    }

    fn closed(&mut self, _: Peer, _: CloseReason, out: &mut Outbox<'_>) {
        let number = out.tag();
        self.clients.remove(&number);
        out.print(format!("[{number}] disconnected\n").as_bytes());
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        match self.operator {
            Operator::Script => {
                self.waiting.push_back(text.to_vec());
                self.obey_waiting(out);
            }
            Operator::Person | Operator::Nobody => self.obey(text, out),
        }
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        match self.operator {
            Operator::Person => out.drain(),
            Operator::Script => {
                self.is_over = true;
                self.obey_waiting(out);
            }
            Operator::Nobody => {}
        }
    }
}

impl Client {
    /// Sends it a line, which answers all its messages so far.
    fn tell(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        out.send(self.peer, &[text, self.terminator.as_bytes()].concat());
        self.unanswered = None;
    }
}

fn say_unknown(number: &[u8], out: &mut Outbox<'_>) {
    out.print(format!("there is no client {} (/who lists them)\n", escaped(number.trim_ascii())).as_bytes());
}
