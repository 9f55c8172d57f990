//! The requests of one connection whose time is up, remembered to the end: however late an answer comes, it is told from
//! one that nobody asked for.
//!
//! A server that answers nothing makes them many: each takes 16 bytes.

use std::collections::VecDeque;

use pingpong::Moment;

use crate::bench::record::Request;

/// Requests in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Lapsed {
    queue: VecDeque<Entry>,
    /// The number of the one in front. Those 2^32 numbers older than the newest are forgotten.
    first: u64,
}

/// One request.
#[derive(Clone, Copy, Debug)]
struct Entry {
    due: Moment,
    /// The lowest bits of its number: the distance to the one in front tells the others.
    number: u32,
    /// Microseconds from when it was due to when it was sent; negative where it counts from later on. [`ANSWERED`] once
    /// its answer has come.
    lag: i32,
}

/// The lag that no request has.
const ANSWERED: i32 = i32::MIN;

impl Entry {
    fn new(request: &Request) -> Self {
        let nanos = |moment: Moment| moment.as_nanos() as i64;
        let lag = (nanos(request.sent) - nanos(request.due)) / 1_000;
        let lag = lag.clamp(i64::from(ANSWERED) + 1, i64::from(i32::MAX)) as i32;
        Self { due: request.due, number: request.number as u32, lag }
    }

    fn sent(self) -> Moment {
        Moment::from_nanos(self.due.as_nanos().saturating_add_signed(i64::from(self.lag) * 1_000))
    }
}

impl Lapsed {
    /// Adds a request with a higher number than all others.
    pub(super) fn push(&mut self, request: &Request) {
        while !self.queue.is_empty() && request.number - self.first > u64::from(u32::MAX) {
            self.drop_first();
        }
        if self.queue.is_empty() {
            self.first = request.number;
        }
        self.queue.push_back(Entry::new(request));
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The number of the one at this place.
    pub(super) fn number_at(&self, place: usize) -> Option<u64> {
        self.queue.get(place).map(|entry| self.first + self.distance(*entry))
    }

    /// Takes this request out: its answer has come. `None` where it is not here, or was answered before. Returns how many
    /// follow it, too.
    pub(super) fn take(&mut self, number: u64) -> Option<(Request, usize)> {
        let distance = number.checked_sub(self.first)?;
        let place = self.queue.binary_search_by_key(&distance, |entry| self.distance(*entry)).ok()?;
        let entry = self.queue[place];
        if entry.lag == ANSWERED {
            return None;
        }
        let follow = self.queue.len() - place - 1;
        self.queue[place].lag = ANSWERED;
        while self.queue.front().is_some_and(|entry| entry.lag == ANSWERED) {
            self.drop_first();
        }
        Some((Request { number, due: entry.due, sent: entry.sent() }, follow))
    }

    /// Has those of the `newest` ones, of which none is answered, that were due from `began` on and before `from` count as
    /// due then. Returns how many these are.
    pub(super) fn carry_over(&mut self, began: Moment, from: Moment, newest: usize) -> u64 {
        let older = self.queue.len() - newest;
        let mut count = 0;
        for entry in self.queue.range_mut(older..).filter(|entry| (began..from).contains(&entry.due)) {
            *entry = Entry::new(&Request { number: u64::from(entry.number), due: from, sent: entry.sent() });
            count += 1;
        }
        count
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// How far its number is from the first one's.
    fn distance(&self, entry: Entry) -> u64 {
        u64::from(entry.number.wrapping_sub(self.first as u32))
    }

    fn drop_first(&mut self) {
        self.queue.pop_front();
        if let Some(first) = self.number_at(0) {
            self.first = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u64) -> Request {
        let due = Moment::from_nanos(number * 1_000_000);
        Request { number, due, sent: Moment::from_nanos(due.as_nanos() + 7_000) }
    }

    fn lapsed(numbers: &[u64]) -> Lapsed {
        let mut lapsed = Lapsed::default();
        numbers.iter().for_each(|number| lapsed.push(&request(*number)));
        lapsed
    }

    #[test]
    fn each_is_found_once_with_its_times() {
        let mut lapsed = lapsed(&[3, 5, 9]);
        for (number, follow) in [(5, 1), (9, 0), (3, 2)] {
            assert_eq!(lapsed.take(number), Some((request(number), follow)));
            assert_eq!(lapsed.take(number), None);
        }
        assert_eq!((lapsed.take(4), lapsed.take(1), lapsed.len()), (None, None, 0));
    }

    #[test]
    fn the_first_one_left_is_told() {
        let mut lapsed = lapsed(&[3, 5, 9]);
        lapsed.take(5);
        assert_eq!((lapsed.number_at(0), lapsed.len()), (Some(3), 3));
        lapsed.take(3);
        assert_eq!((lapsed.number_at(0), lapsed.len()), (Some(9), 1));
    }

    #[test]
    fn numbers_have_more_bits_than_are_kept() {
        const FAR: u64 = (1 << 32) - 2;
        let mut lapsed = lapsed(&[7, FAR, FAR + 5]);
        assert!(lapsed.take(FAR + 5).is_some() && lapsed.take(7).is_some());
        assert_eq!(lapsed.number_at(0), Some(FAR));
        lapsed.push(&request(2 * FAR));
        lapsed.push(&request(3 * FAR));
        assert_eq!((lapsed.len(), lapsed.take(FAR)), (2, None), "the oldest is forgotten");
        assert!(lapsed.take(3 * FAR).is_some() && lapsed.take(2 * FAR).is_some());
    }

    #[test]
    fn those_of_the_warm_up_count_from_its_end() {
        let mut lapsed = lapsed(&[1, 2, 3, 9]);
        let from = Moment::from_nanos(5_000_000);
        // That of number 2 belongs to an earlier phase.
        assert_eq!(lapsed.carry_over(request(3).due, from, 3), 1);
        for (number, due) in [(1, request(1).due), (2, request(2).due), (3, from), (9, request(9).due)] {
            let (taken, _) = lapsed.take(number).unwrap();
            assert_eq!(taken, Request { due, ..request(number) });
        }
    }

    #[test]
    fn they_are_small() {
        assert_eq!(size_of::<Entry>(), 16);
    }
}
