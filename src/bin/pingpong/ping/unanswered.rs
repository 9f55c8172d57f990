//! [`Unanswered`]: the questions whose answer may still come.

use std::collections::{BTreeMap, btree_map::OccupiedEntry};

use pingpong::Moment;
use pingpong::service::Peer;

/// A question, as long as its answer may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Its sequence number.
    pub(super) number: u64,
    pub(super) asked: Moment,
    /// The connection or the socket that it was asked on.
    pub(super) on: Peer,
}

/// The questions that are neither answered nor refused nor given up, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Unanswered(BTreeMap<u64, (Moment, Peer)>);

impl Unanswered {
    pub(super) fn add(&mut self, question: Question) {
        self.0.insert(question.number, (question.asked, question.on));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the question with this number.
    pub(super) fn take(&mut self, number: u64) -> Option<Question> {
        let (asked, on) = self.0.remove(&number)?;
        Some(Question { number, asked, on })
    }

    /// Takes the question that was asked first here.
    pub(super) fn take_oldest_on(&mut self, peer: Peer) -> Option<Question> {
        let (number, _) = self.0.iter().find(|(_, (_, on))| *on == peer)?;
        self.take(*number)
    }

    /// Takes the question that was asked last here.
    pub(super) fn take_newest_on(&mut self, peer: Peer) -> Option<Question> {
        let (number, _) = self.0.iter().rfind(|(_, (_, on))| *on == peer)?;
        self.take(*number)
    }

    /// Takes the oldest question of all, if there are `most` or if it was asked before `since`.
    pub(super) fn take_too_old(&mut self, most: usize, since: Moment) -> Option<Question> {
        let is_full = self.0.len() >= most;
        let oldest = self.0.first_entry()?;
        (is_full || oldest.get().0 < since).then(|| question(oldest))
    }

    /// How many were asked after this moment.
    pub(super) fn asked_after(&self, since: Moment) -> u64 {
        self.0.values().filter(|(asked, _)| *asked > since).count() as u64
    }

    /// The sockets and connections that questions were asked on; each as often.
    pub(super) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.0.values().map(|(_, on)| *on)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn question(entry: OccupiedEntry<'_, u64, (Moment, Peer)>) -> Question {
    let (number, (asked, on)) = entry.remove_entry();
    Question { number, asked, on }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unanswered() -> Unanswered {
        let mut unanswered = Unanswered::default();
        for number in 1..=4 {
            let asked = Moment::from_nanos(10 * number);
            unanswered.add(Question { number, asked, on: Peer::Datagram(number as u32 % 2) });
        }
        unanswered
    }

    fn number(question: Option<Question>) -> Option<u64> {
        question.map(|question| question.number)
    }

    #[test]
    fn questions_are_taken_by_number_or_by_where_they_were_asked() {
        let mut unanswered = unanswered();
        assert_eq!(number(unanswered.take(3)), Some(3));
        assert_eq!(number(unanswered.take(3)), None, "once");
        assert_eq!(number(unanswered.take_oldest_on(Peer::Datagram(0))), Some(2));
        assert_eq!(number(unanswered.take_newest_on(Peer::Datagram(0))), Some(4));
        assert_eq!(number(unanswered.take_newest_on(Peer::Datagram(0))), None);
        assert_eq!(number(unanswered.take_oldest_on(Peer::Datagram(1))), Some(1));
        assert!(unanswered.is_empty());
    }

    #[test]
    fn the_oldest_is_too_old_where_there_are_many_or_after_its_time() {
        let mut unanswered = unanswered();
        assert_eq!(unanswered.asked_after(Moment::from_nanos(20)), 2);
        assert_eq!(number(unanswered.take_too_old(4, Moment::default())), Some(1));
        assert_eq!(number(unanswered.take_too_old(4, Moment::from_nanos(20))), None);
        assert_eq!(number(unanswered.take_too_old(4, Moment::from_nanos(21))), Some(2));
        assert_eq!(number(unanswered.take_too_old(4, Moment::from_nanos(21))), None);
    }
}
