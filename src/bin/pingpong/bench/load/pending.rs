//! The requests of one connection that have no answer yet, in the order in which they were sent.
//!
//! A request whose time is up is given up, and remembered among the [`Lapsed`]. On a stream it keeps its place among
//! those that the connection may have unanswered: its answer comes before those of later requests, or never. It loses
//! the place when a later one is answered. A datagram that was given up is taken for lost and makes room at once.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use pingpong::Moment;

use super::lapsed::Lapsed;
use crate::bench::record::{Answered, Request};

#[derive(Debug)]
pub(super) struct Pending {
    /// Requests whose time is not up, the oldest one in front, and whether each is answered: such a one stays only while
    /// an older one is awaited.
    queue: VecDeque<(Request, bool)>,
    /// How many of these are not answered.
    awaited: u32,
    lapsed: Lapsed,
    /// How many of the lapsed ones keep their place: the newest ones.
    keeping: usize,
    is_stream: bool,
    /// The highest number answered; 0 where none was, for numbers begin with 1.
    newest_answered: u64,
}

/// Requests of the warm-up that count from its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) awaited: u64,
    /// Given up before.
    pub(super) lapsed: u64,
}

impl Pending {
    pub(super) fn new(is_stream: bool) -> Self {
        Self {
            queue: VecDeque::new(),
            awaited: 0,
            lapsed: Lapsed::default(),
            keeping: 0,
            is_stream,
            newest_answered: 0,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, request: Request) {
        self.queue.push_back((request, false));
        self.awaited += 1;
    }

    /// How many requests have a place among those that may be unanswered.
    #[inline]
    pub(super) fn unanswered(&self) -> usize {
        self.awaited as usize + self.keeping
    }

    /// Whether a request waits for an answer whose time is not up.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited > 0
    }

    /// Whether requests that were given up keep their place.
    pub(super) fn waits_in_vain(&self) -> bool {
        self.keeping > 0
    }

    /// Whether any request has been answered, rightly or not, since it was made.
    pub(super) fn has_been_answered(&self) -> bool {
        self.newest_answered > 0
    }

    /// The number of the request that the next answer belongs to, as far as their order tells.
    #[inline]
    pub(super) fn next_in_order(&self) -> Option<u64> {
        let awaited = self.queue.front().map(|(request, _)| request.number);
        if self.is_stream {
            if self.keeping == 0 { awaited } else { self.lapsed.number_at(self.lapsed.len() - self.keeping) }
        } else {
            awaited.or_else(|| self.lapsed.number_at(0))
        }
    }

    /// Takes that request out: it is answered.
    #[inline(always)]
    pub(super) fn take_next(&mut self) -> Option<Answered> {
        if self.keeping == 0 && !self.queue.is_empty() {
            return self.take_front();
        }
        self.next_in_order().and_then(|number| self.take(number))
    }

    /// Takes the oldest request out that is awaited.
    #[inline(always)]
    fn take_front(&mut self) -> Option<Answered> {
        let (request, _) = self.queue.pop_front()?;
        self.drop_answered();
        self.awaited -= 1;
        self.keeping = 0;
        Some(self.answered(request, false))
    }

    /// Takes this request out: it is answered. `None` where it was answered before or was never sent.
    #[inline]
    pub(super) fn take(&mut self, number: u64) -> Option<Answered> {
        let place = match self.queue.front() {
            Some((request, _)) if request.number == number => return self.take_front(),
            Some((request, _)) if request.number < number => {
                self.queue.binary_search_by_key(&number, |(request, _)| request.number).ok()?
            }
            _ => return self.take_lapsed(number),
        };
        let (request, is_answered) = &mut self.queue[place];
        let request = *request;
        if mem::replace(is_answered, true) {
            return None;
        }
        self.awaited -= 1;
        self.keeping = 0;
        Some(self.answered(request, false))
    }

    fn take_lapsed(&mut self, number: u64) -> Option<Answered> {
        let (request, follow) = self.lapsed.take(number)?;
        self.keeping = self.keeping.min(follow);
        Some(self.answered(request, true))
    }

    #[inline]
    fn answered(&mut self, request: Request, was_overdue: bool) -> Answered {
        let is_overtaken = request.number < self.newest_answered;
        self.newest_answered = self.newest_answered.max(request.number);
        Answered { request, was_overdue, is_overtaken }
    }

    /// Gives up the requests that have waited for longer than `timeout`, and tells each of them. Returns how many.
    pub(super) fn give_up(&mut self, now: Moment, timeout: Duration, mut tell: impl FnMut(&Request)) -> u32 {
        let before = self.awaited;
        while let Some((request, _)) = self.queue.front()
            && now.since(request.sent) > timeout
        {
            tell(request);
            self.lapsed.push(request);
            self.keeping += usize::from(self.is_stream && request.number > self.newest_answered);
            self.queue.pop_front();
            self.awaited -= 1;
            self.drop_answered();
        }
        before - self.awaited
    }

    /// Has the requests that are unanswered, and were due from `began` on and before `from`, count as due then. Those given
    /// up are among them where they keep their place.
    pub(super) fn carry_over(&mut self, began: Moment, from: Moment) -> Carried {
        let lapsed = self.lapsed.carry_over(began, from, self.keeping);
        let mut awaited = 0;
        for (request, is_answered) in &mut self.queue {
            if !*is_answered && (began..from).contains(&request.due) {
                request.due = from;
                awaited += 1;
            }
        }
        Carried { awaited, lapsed }
    }

    /// Empties it: no answer will come. Tells each request whose time was not up.
    pub(super) fn abandon(&mut self, mut tell: impl FnMut(&Request)) {
        for (request, is_answered) in self.queue.drain(..) {
            if !is_answered {
                tell(&request);
            }
        }
        self.lapsed.clear();
        (self.awaited, self.keeping) = (0, 0);
    }

    #[inline]
    fn drop_answered(&mut self) {
        while let Some((_, true)) = self.queue.front() {
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Requests 1 to 4, sent a second apart.
    fn four(is_stream: bool) -> Pending {
        let mut pending = Pending::new(is_stream);
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
        let mut pending = four(true);
        for number in 1..=4 {
            let answered = pending.take_next().unwrap();
            assert_eq!((answered.request.number, answered.was_overdue, answered.is_overtaken), (number, false, false));
        }
        assert_eq!((pending.unanswered(), pending.awaited), (0, 0));
        assert!(pending.take_next().is_none());
    }

    #[test]
    fn an_overtaken_answer_is_told_and_a_second_one_is_none() {
        let mut pending = four(true);
        assert!(!pending.take(3).unwrap().is_overtaken);
        assert!(pending.take(3).is_none());
        assert!(pending.take(1).unwrap().is_overtaken);
        assert_eq!(pending.next_in_order(), Some(2));
        assert!(pending.take(2).unwrap().is_overtaken);
        assert_eq!((pending.next_in_order(), pending.awaited), (Some(4), 1));
        assert!(pending.take(9).is_none());
    }

    #[test]
    fn each_is_given_up_once_and_may_still_be_answered_however_late() {
        for is_stream in [true, false] {
            let mut pending = four(is_stream);
            assert!(given_up(&mut pending, 3).is_empty());
            assert_eq!(given_up(&mut pending, 5), [1, 2]);
            assert!(given_up(&mut pending, 5).is_empty());
            assert_eq!(given_up(&mut pending, 1_000), [3, 4]);
            for number in [2, 1, 4] {
                assert!(pending.take(number).unwrap().was_overdue);
                assert!(pending.take(number).is_none());
            }
            assert_eq!((pending.awaited, pending.next_in_order()), (0, if is_stream { None } else { Some(3) }));
        }
    }

    #[test]
    fn on_a_stream_what_is_given_up_keeps_its_place_until_a_later_one_is_answered() {
        let mut pending = four(true);
        given_up(&mut pending, 5);
        assert_eq!((pending.awaited, pending.unanswered(), pending.next_in_order()), (2, 4, Some(1)));
        pending.take(2);
        assert_eq!((pending.unanswered(), pending.next_in_order()), (2, Some(3)), "1 was left out");
        given_up(&mut pending, 6);
        assert_eq!((pending.unanswered(), pending.next_in_order()), (2, Some(3)));
        pending.take(4);
        assert_eq!((pending.unanswered(), pending.next_in_order()), (0, None));
        assert!(pending.take(1).unwrap().was_overdue, "it was not");
    }

    #[test]
    fn what_was_left_out_keeps_no_place() {
        let mut pending = four(true);
        pending.take(2);
        assert_eq!(given_up(&mut pending, 5), [1]);
        assert_eq!((pending.unanswered(), pending.next_in_order()), (2, Some(3)));
    }

    #[test]
    fn a_datagram_that_is_given_up_makes_room_and_is_not_the_next_in_order() {
        let mut pending = four(false);
        given_up(&mut pending, 5);
        assert_eq!((pending.unanswered(), pending.next_in_order()), (2, Some(3)));
        pending.take(3);
        pending.take(4);
        assert_eq!((pending.unanswered(), pending.next_in_order()), (0, Some(1)), "unless no other is waited for");
    }

    #[test]
    fn what_the_warm_up_left_unanswered_counts_from_its_end() {
        let from = Moment::from_nanos(4 * SECOND);
        for (is_stream, lapsed) in [(true, 1), (false, 0)] {
            let mut pending = four(is_stream);
            given_up(&mut pending, 4);
            assert_eq!(pending.carry_over(Moment::default(), from), Carried { awaited: 2, lapsed });
            assert_eq!(pending.take(3).unwrap().request.due, from);
        }
    }

    #[test]
    fn what_is_abandoned_was_still_waiting() {
        let mut pending = four(true);
        given_up(&mut pending, 4);
        pending.take(3);
        let mut numbers = Vec::new();
        pending.abandon(|request| numbers.push(request.number));
        assert_eq!((numbers, pending.unanswered(), pending.awaited), (vec![2, 4], 0, 0));
    }
}
