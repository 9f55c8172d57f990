//! The requests of one connection that have no answer yet, in the order in which they were sent.
//!
//! A request whose time is up stays in the queue for a while, so that its answer, should it come after all, is told from
//! an answer to nothing. On a stream it stays until its connection ends: its answer comes before those of later
//! requests, or never.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use pingpong::Moment;

use crate::bench::record::{Answered, Request};

/// What is known of a request's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Awaited,
    /// Its time is up.
    Overdue,
    /// The request stays in the queue only because an older one is awaited.
    Received,
}

/// The queue, with the oldest request in front.
#[derive(Debug, Default)]
pub(super) struct Pending {
    queue: VecDeque<(Request, Answer)>,
    awaited: u32,
    /// The highest number answered.
    newest_answered: u64,
}

impl Pending {
    pub(super) fn push(&mut self, request: Request) {
        self.queue.push_back((request, Answer::Awaited));
        self.awaited += 1;
    }

    /// How many requests wait for an answer whose time is not up.
    pub(super) fn awaited(&self) -> u32 {
        self.awaited
    }

    /// How many requests are remembered.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The number of the oldest request without an answer.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.queue.front().map(|(request, _)| request.number)
    }

    /// Takes the oldest request out: it is answered.
    pub(super) fn take_oldest(&mut self) -> Option<Answered> {
        self.oldest().and_then(|number| self.take(number))
    }

    /// Takes this request out: it is answered. `None` where it was answered before, was forgotten or was never sent.
    pub(super) fn take(&mut self, number: u64) -> Option<Answered> {
        let place = match self.queue.front() {
            Some((request, _)) if request.number == number => 0,
            _ => self.queue.binary_search_by_key(&number, |(request, _)| request.number).ok()?,
        };
        let (request, answer) = &mut self.queue[place];
        let (request, before) = (*request, mem::replace(answer, Answer::Received));
        if before == Answer::Received {
            return None;
        }
        self.awaited -= u32::from(before == Answer::Awaited);
        let is_overtaken = number < self.newest_answered;
        self.newest_answered = self.newest_answered.max(number);
        self.drop_received();
        Some(Answered { request, was_overdue: before == Answer::Overdue, is_overtaken })
    }

    /// Gives up the requests that have waited for longer than `timeout`, and tells each of them. Returns how many.
    pub(super) fn give_up(&mut self, now: Moment, timeout: Duration, mut tell: impl FnMut(&Request)) -> u32 {
        let before = self.awaited;
        if before == 0 {
            return 0;
        }
        for (request, answer) in &mut self.queue {
            if now.since(request.sent) <= timeout {
                break;
            }
            if *answer == Answer::Awaited {
                *answer = Answer::Overdue;
                self.awaited -= 1;
                tell(request);
            }
        }
        before - self.awaited
    }

    /// Forgets the requests that were sent longer ago than `age`: no answer to them is expected any more.
    pub(super) fn forget(&mut self, now: Moment, age: Duration) {
        while let Some((request, Answer::Overdue | Answer::Received)) = self.queue.front()
            && now.since(request.sent) > age
        {
            self.queue.pop_front();
        }
    }

    /// Empties the queue: no answer will come. Tells each request whose time was not up.
    pub(super) fn abandon(&mut self, mut tell: impl FnMut(&Request)) {
        for (request, answer) in self.queue.drain(..) {
            if answer == Answer::Awaited {
                tell(&request);
            }
        }
        self.awaited = 0;
    }

    fn drop_received(&mut self) {
        while let Some((_, Answer::Received)) = self.queue.front() {
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Requests 1 to 4, sent a second apart.
    fn four() -> Pending {
        let mut pending = Pending::default();
        for number in 1..=4 {
            let sent = Moment::from_nanos(number * SECOND);
            pending.push(Request { number, due: sent, sent });
        }
        pending
    }

    fn given_up(pending: &mut Pending, at: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        let now = Moment::from_nanos(at * SECOND);
        pending.give_up(now, Duration::from_secs(2), |request| numbers.push(request.number));
        numbers
    }

    #[test]
    fn answers_in_order_empty_it() {
        let mut pending = four();
        for number in 1..=4 {
            let answered = pending.take_oldest().unwrap();
            assert_eq!((answered.request.number, answered.was_overdue, answered.is_overtaken), (number, false, false));
        }
        assert_eq!((pending.len(), pending.awaited()), (0, 0));
        assert!(pending.take_oldest().is_none());
    }

    #[test]
    fn an_overtaken_answer_is_told_and_a_second_one_is_none() {
        let mut pending = four();
        assert!(!pending.take(3).unwrap().is_overtaken);
        assert!(pending.take(3).is_none());
        assert!(pending.take(1).unwrap().is_overtaken);
        assert_eq!(pending.oldest(), Some(2));
        assert!(pending.take(2).unwrap().is_overtaken);
        assert_eq!((pending.oldest(), pending.awaited()), (Some(4), 1));
        assert!(pending.take(9).is_none());
    }

    #[test]
    fn each_is_given_up_once_and_may_still_be_answered() {
        let mut pending = four();
        assert!(given_up(&mut pending, 3).is_empty());
        assert_eq!(given_up(&mut pending, 5), [1, 2]);
        assert!(given_up(&mut pending, 5).is_empty());
        assert_eq!((pending.awaited(), pending.oldest()), (2, Some(1)));
        assert!(pending.take(1).unwrap().was_overdue);
        pending.forget(Moment::from_nanos(9 * SECOND), Duration::from_secs(4));
        assert!(pending.take(2).is_none(), "forgotten");
        assert!(!pending.take(3).unwrap().was_overdue);
    }

    #[test]
    fn what_is_abandoned_was_still_waiting() {
        let mut pending = four();
        given_up(&mut pending, 4);
        pending.take(3);
        let mut numbers = Vec::new();
        pending.abandon(|request| numbers.push(request.number));
        assert_eq!((numbers, pending.len(), pending.awaited()), (vec![2, 4], 0, 0));
    }
}
