//! The chat service: the operator at the console answers whoever speaks.
//!
//! It prints who comes, what is said and who leaves, and takes the operator's lines: an answer, `@2 text`, `@all text`,
//! `/who`, `/close 2`, `/quit`.

use std::collections::{BTreeMap, VecDeque};

use super::{Framing, Input, Outbox, Peer, Service, Terminator, escaped};
use crate::error::CloseReason;

/// Conversations of one operator with many clients, who are numbered from 1.
#[derive(Debug)]
pub struct Chat {
    framing: Framing,
    operator: Operator,
    clients: BTreeMap<u64, Client>,
    /// Clients that have come so far.
    came: u64,
    /// Messages that have been said so far: the order among clients.
    said: u64,
    /// Lines of a script that wait for somebody to speak.
    waiting: VecDeque<Vec<u8>>,
    /// The script has no more lines.
    is_over: bool,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Somebody who types and reads.
    Person,
    /// A pipe or a file: its lines wait until somebody has spoken, and when they are through, chat is over.
    Script,
    /// Nobody: clients are served and shown, not answered.
    Nobody,
}

#[derive(Debug)]
struct Client {
    peer: Peer,
    address: String,
    /// The first of its messages that is not answered.
    unanswered: Option<u64>,
    /// The last of its messages, if it has spoken.
    spoke: Option<u64>,
    /// What ends a line to it: as it ends its own.
    terminator: Terminator,
}

impl Chat {
    /// A chat whose operator is of this kind.
    pub const fn new(framing: Framing, operator: Operator) -> Self {
        Self { framing, operator, clients: BTreeMap::new(), came: 0, said: 0, waiting: VecDeque::new(), is_over: false }
    }

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

    /// Answers whose first unanswered message is oldest, or else who spoke last.
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

    fn numbered(&mut self, number: &[u8]) -> Option<&mut Client> {
        let number = std::str::from_utf8(number).ok()?.trim().parse().ok()?;
        self.clients.get_mut(&number)
    }

    /// Says the script's lines that wait, once a client has spoken.
    fn say_waiting(&mut self, out: &mut Outbox<'_>) {
        while self.has_listener()
            && let Some(line) = self.waiting.pop_front()
        {
            self.obey(&line, out);
        }
        if self.is_over && self.waiting.is_empty() {
            out.retire();
        }
    }

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
        self.say_waiting(out);
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
                self.say_waiting(out);
            }
            Operator::Person | Operator::Nobody => self.obey(text, out),
        }
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        match self.operator {
            Operator::Person => out.drain(),
            Operator::Script => {
                self.is_over = true;
                self.say_waiting(out);
            }
            Operator::Nobody => {}
        }
    }
}

impl Client {
    /// Sends it a line, which settles all that it has said so far.
    fn tell(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        out.send(self.peer, &[text, self.terminator.as_bytes()].concat());
        self.unanswered = None;
    }
}

fn say_unknown(number: &[u8], out: &mut Outbox<'_>) {
    out.print(format!("there is no client {} (/who lists them)\n", escaped(number.trim_ascii())).as_bytes());
}
