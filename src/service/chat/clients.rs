//! The clients of a chat: their numbers, and which of them is to be answered next.
//!
//! Nothing here prints, sends or waits. Each question is one look into an ordered map, so that ten thousand silent
//! clients cost the others nothing.

use std::collections::BTreeMap;

use crate::service::{Peer, Terminator};

/// The clients that are here, by number.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// A connection's tag is its client's number.
    clients: BTreeMap<u64, Client>,
    /// The number given last. No number is given twice.
    came: u64,
    /// Messages received so far. A message's number puts it in order with those of other clients.
    said: u64,
    /// The clients that wait for an answer, by the number of their first unanswered message.
    unanswered: BTreeMap<u64, u64>,
    /// The clients that have spoken, by the number of their last message.
    spoken: BTreeMap<u64, u64>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Peer,
    pub(super) address: String,
    /// Ends each line sent to it: the terminator of its own last message.
    pub(super) terminator: Terminator,
    /// The number of its first message that is not answered.
    unanswered: Option<u64>,
    /// The number of its last message; `None` before it has spoken.
    spoke: Option<u64>,
}

impl Clients {
    /// Adds a client. Returns its number.
    pub(super) fn add(&mut self, peer: Peer, address: String, terminator: Terminator) -> u64 {
        self.came += 1;
        self.clients.insert(self.came, Client { peer, address, terminator, unanswered: None, spoke: None });
        self.came
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(client) = self.clients.remove(&number) else { return };
        if let Some(message) = client.unanswered {
            self.unanswered.remove(&message);
        }
        if let Some(message) = client.spoke {
            self.spoken.remove(&message);
        }
    }

    /// Notes a message of a client, and the terminator that it had.
    pub(super) fn note_message(&mut self, number: u64, terminator: Terminator) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        self.said += 1;
        client.terminator = terminator;
        if client.unanswered.is_none() {
            client.unanswered = Some(self.said);
            self.unanswered.insert(self.said, number);
        }
        if let Some(before) = client.spoke.replace(self.said) {
            self.spoken.remove(&before);
        }
        self.spoken.insert(self.said, number);
    }

    /// Notes that all messages of a client so far are answered.
    pub(super) fn note_answer(&mut self, number: u64) {
        if let Some(message) = self.clients.get_mut(&number).and_then(|client| client.unanswered.take()) {
            self.unanswered.remove(&message);
        }
    }

    /// The client whose first unanswered message is the oldest, or else the one that spoke last.
    pub(super) fn next_to_answer(&self) -> Option<u64> {
        let oldest = self.unanswered.first_key_value();
        oldest.or_else(|| self.spoken.last_key_value()).map(|(_, number)| *number)
    }

    /// Whether a client that is here has spoken.
    pub(super) fn has_spoken(&self) -> bool {
        !self.spoken.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Client> {
        self.clients.get(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Client)> {
        self.clients.iter().map(|(number, client)| (*number, client))
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.clients.keys().copied().collect()
    }
}

impl Client {
    pub(super) fn state(&self) -> &'static str {
        match (self.spoke, self.unanswered) {
            (None, _) => "has not spoken",
            (_, Some(_)) => "waits for an answer",
            (_, None) => "is answered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients 1 to `count`, none of which has spoken.
    fn clients(count: u32) -> Clients {
        let mut clients = Clients::default();
        for socket in 0..count {
            clients.add(Peer::Datagram(socket), String::new(), Terminator::Lf);
        }
        clients
    }

    #[test]
    fn oldest_unanswered_message_is_next_and_then_the_last_that_spoke() {
        let mut clients = clients(3);
        assert_eq!(clients.next_to_answer(), None);
        for number in [2, 1, 2] {
            clients.note_message(number, Terminator::Lf);
        }
        assert_eq!(clients.next_to_answer(), Some(2));
        clients.note_answer(2);
        assert_eq!(clients.next_to_answer(), Some(1));
        clients.note_answer(1);
        assert_eq!(clients.next_to_answer(), Some(2), "it spoke last");
        assert!(clients.get(3).is_some_and(|client| client.state() == "has not spoken"));
    }

    #[test]
    fn client_that_leaves_leaves_nothing_behind() {
        let mut clients = clients(2);
        clients.note_message(1, Terminator::Lf);
        clients.note_message(2, Terminator::Lf);
        clients.note_answer(2);
        clients.remove(1);
        assert_eq!(clients.next_to_answer(), Some(2));
        clients.remove(2);
        assert_eq!((clients.next_to_answer(), clients.has_spoken()), (None, false));
        assert_eq!(clients.add(Peer::Datagram(9), String::new(), Terminator::Lf), 3);
    }
}
