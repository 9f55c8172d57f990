//! Which events of an even schedule one part of a load has: they are dealt round, one by one, like cards.
//!
//! The schedule is that of the whole load, in each part. So the events of all parts are those of one process, to the
//! nanosecond, and in any stretch of time as many.

use crate::bench::Part;

/// The events of one part, by their numbers in the whole's schedule, which are counted from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deal {
    index: u64,
    parts: u64,
    /// After so many events dealing begins with the first part again.
    round: u64,
    /// The next event of this part.
    next: u64,
    /// The round that it belongs to ends before this one.
    round_end: u64,
}

impl Deal {
    /// To this part; all events where there are no parts.
    pub(super) fn to(part: Option<Part>) -> Self {
        let [index, parts] = part.map_or([0, 1], |part| [part.index(), part.of()]).map(u64::from);
        Self { index, parts, round: u64::MAX, next: index, round_end: u64::MAX }
    }

    /// The same where dealing begins anew after so many events, of which this part has one at the least.
    pub(super) fn in_rounds(self, of: u64) -> Self {
        debug_assert!(self.index < of, "a part without events has no schedule");
        Self { round: of, round_end: of, ..self }
    }

    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        self.next += self.parts;
        if self.next >= self.round_end {
            self.next = self.round_end + self.index;
            self.round_end += self.round;
        }
    }

    /// Passes over its events before this one.
    pub(super) fn go_on_from(&mut self, event: u64) {
        if event <= self.next {
            return;
        }
        let begin = event - event % self.round;
        let dealt = self.dealt_of(event % self.round);
        (self.next, self.round_end) = (begin + self.index + dealt * self.parts, begin.saturating_add(self.round));
        if self.next >= self.round_end {
            self.next = self.round_end + self.index;
            self.round_end += self.round;
        }
    }

    /// How many of its events come before this one.
    pub(super) fn below(&self, event: u64) -> u64 {
        event / self.round * self.dealt_of(self.round) + self.dealt_of(event % self.round)
    }

    /// How many of the first events of a round it has.
    fn dealt_of(&self, events: u64) -> u64 {
        events.saturating_sub(self.index).div_ceil(self.parts)
    }
}

#[cfg(test)]
mod tests {
    use pingpong::Moment;
    use proptest::prelude::*;

    use super::super::schedule::Schedule;
    use super::super::schedule::tests::{at, due_before};
    use super::*;
    use crate::bench::rate::{Arrivals, Rate};

    /// What each part of so many has; in rounds of so many events.
    fn deals(parts: u32, round: Option<u64>) -> impl Iterator<Item = Deal> {
        let indexes = (0..parts).filter(move |index| round.is_none_or(|round| u64::from(*index) < round));
        indexes.map(move |index| {
            let deal = Deal::to(Part::new(index + 1, parts));
            round.map_or(deal, |round| deal.in_rounds(round))
        })
    }

    /// Of a load that begins after half a second, its ramp a second later, in which it changes for two.
    fn schedule(rate: Rate) -> Schedule {
        Schedule::of(rate, Arrivals::Even, at(0.5), at(1.5), 2.0)
    }

    fn rates() -> impl Strategy<Value = Rate> {
        let even = (0.2..5e3_f64).prop_map(Rate::even);
        let whole = (1_u32..5_000).prop_map(|rate| Rate::even(rate.into()));
        let ramp = (0.2..5e3_f64, 0.2..5e3_f64).prop_map(|(first, last)| Rate { first, last });
        prop_oneof![even, whole, ramp]
    }

    proptest! {
        #[test]
        fn the_parts_of_a_load_have_the_events_of_the_whole(
            rate in rates(),
            parts in 1_u32..120,
            round in proptest::option::of(1_u64..300),
        ) {
            let whole = due_before(schedule(rate), at(4.0));
            let mut union: Vec<u64> =
                deals(parts, round).flat_map(|deal| due_before(schedule(rate).dealt(deal), at(4.0))).collect();
            union.sort_unstable();
            prop_assert_eq!(whole, union);
        }

        #[test]
        fn in_any_stretch_they_have_as_many_as_the_whole(
            rate in rates(),
            parts in 1_u32..120,
            round in proptest::option::of(1_u64..300),
            [from, until] in [0_u64..4_000_000_000, 0_u64..4_000_000_000],
        ) {
            let [from, until] = [from.min(until), from.max(until)].map(Moment::from_nanos);
            let all = schedule(rate).skip(from, until);
            let sum: u64 = deals(parts, round).map(|deal| schedule(rate).dealt(deal).skip(from, until)).sum();
            prop_assert_eq!(sum, all, "from {:?} until {:?}", from, until);
        }

        #[test]
        fn passing_over_leaves_off_where_counting_does(
            parts in 1_u32..12,
            round in proptest::option::of(1_u64..40),
            steps in 0_u64..30,
            event in 0_u64..500,
        ) {
            for begun in deals(parts, round) {
                let (mut passed, mut counted) = (begun, begun);
                (0..steps).for_each(|_| [&mut passed, &mut counted].into_iter().for_each(Deal::advance));
                prop_assert_eq!(passed.below(passed.next()), steps);
                passed.go_on_from(event);
                while counted.next() < event {
                    counted.advance();
                }
                prop_assert_eq!((passed.next(), passed.round_end), (counted.next(), counted.round_end));
                prop_assert!(counted.next() % u64::from(parts) == counted.index || round.is_some());
            }
        }
    }

    /// Event k of rounds of so many is of connection k modulo that, and each connection is always the same part's.
    #[test]
    fn in_rounds_each_part_has_the_same_places_again() {
        let mut deals: Vec<Deal> = deals(3, Some(5)).collect();
        let places = |deal: &mut Deal| [(); 5].map(|()| (deal.next(), deal.advance()).0);
        let places: Vec<_> = deals.iter_mut().map(places).collect();
        assert_eq!(places, [[0, 3, 5, 8, 10], [1, 4, 6, 9, 11], [2, 7, 12, 17, 22]]);
    }

    /// Loads of which the parts had one event more or less together, when each went by a rate of its own.
    #[test]
    fn what_is_due_does_not_depend_on_rounding() {
        for (rate, parts, from, until, due) in
            [(333.0, 7, 0.0, 1.0, 333), (100.0, 3, 0.0, 1.0, 100), (300.0, 7, 0.2, 0.7, 150)]
        {
            let sum: u64 =
                deals(parts, None).map(|deal| Schedule::new(at(0.0), rate).dealt(deal).skip(at(from), at(until))).sum();
            assert_eq!(sum, due, "{rate} in {parts}");
        }
    }
}
