//! The measured time in blocks of equal length: what the intervals in a report come from.
//!
//! A request belongs to the block in which it was due (in the closed loop: sent), whenever its answer comes: a server that
//! stands still makes the times of that block long, and not those of the block in which it goes on. So all blocks are open
//! until the end, each with its histogram, all of them allocated before the first request.
//!
//! Where the length of a run is known, a block is a 64th of it. Where it is not, blocks are short at first, and when 64 are
//! full they are joined in pairs and twice as long from then on; at the end there are 32 at least. A report has 32 at the
//! most (`report::blocks`): what is more is joined in pairs once more.

use std::time::Duration;

use pingpong::Moment;

use crate::bench::trials::{BINS, Times, bin_of};

/// The blocks that there are room for.
pub(crate) const MOST: usize = 64;

/// The length of the first blocks where that of the run is not known.
const SHORTEST: Duration = Duration::from_millis(10);

/// Which block a request belongs to, and how requests ended in each.
#[derive(Debug)]
pub(crate) struct Blocks {
    from: Moment,
    length: Duration,
    /// Blocks do not become longer: requests beyond the last one belong to it.
    is_fixed: bool,
    /// The block that was looked up last, and its time.
    latest: usize,
    begins: Moment,
    ends: Moment,
    outcomes: [Outcomes; MOST],
}

/// How the requests of a block ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    /// Answered right and in time, those carried over left out.
    pub(crate) answered: u64,
    /// Answered wrongly, late or not at all, or due and never sent.
    pub(crate) failed: u64,
}

impl Outcomes {
    pub(crate) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
    }
}

impl Blocks {
    /// From a moment on, for about so long, or exactly.
    pub(super) fn new(from: Moment, expected: Option<Duration>, is_fixed: bool) -> Self {
        let length = expected.map_or(SHORTEST, |expected| {
            Duration::from_nanos((expected.as_nanos() as u64).div_ceil(MOST as u64).max(1))
        });
        Self {
            from,
            length,
            is_fixed,
            latest: 0,
            begins: from,
            ends: from + length,
            outcomes: [Outcomes::default(); MOST],
        }
    }

    /// The block of what is due at this moment, if that is the block that was looked up last, as it is nearly always.
    #[inline]
    pub(super) fn latest(&self, due: Moment) -> Option<usize> {
        (due >= self.begins && due < self.ends).then_some(self.latest)
    }

    /// The block of what is due at this moment. Where there is none, they have to be doubled first.
    pub(super) fn find(&mut self, due: Moment) -> Option<usize> {
        let place = self.place(due);
        if place >= MOST && !self.is_fixed {
            return None;
        }
        self.latest = place.min(MOST - 1);
        self.begins = self.from + self.length * self.latest as u32;
        self.ends = self.begins + self.length;
        Some(self.latest)
    }

    fn place(&self, due: Moment) -> usize {
        (due.since(self.from).as_nanos() / self.length.as_nanos()) as usize
    }

    /// Requests that were due before this moment have failed: `passes` says how many of them were due before another one, and
    /// have not been told of.
    pub(super) fn fail_until(&mut self, until: Moment, mut passes: impl FnMut(Moment) -> u64) -> u64 {
        let ends = (1..MOST as u32).map(|place| (self.from + self.length * place).min(until)).chain([until]);
        let failed = ends.zip(&mut self.outcomes).map(|(end, outcomes)| {
            let failed = passes(end);
            outcomes.failed += failed;
            failed
        });
        failed.sum()
    }

    /// Joins blocks in pairs.
    pub(super) fn double(&mut self) {
        for place in 0..MOST / 2 {
            let [mut both, second] = [self.outcomes[2 * place], self.outcomes[2 * place + 1]];
            both.add(second);
            self.outcomes[place] = both;
        }
        self.outcomes[MOST / 2..].fill(Outcomes::default());
        self.length *= 2;
        (self.latest, self.begins, self.ends) = (0, self.from, self.from + self.length);
    }

    pub(super) fn outcomes(&mut self, block: usize) -> &mut Outcomes {
        &mut self.outcomes[block]
    }

    /// How long a block is.
    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// The blocks that are full when so much time has been measured.
    pub(crate) fn full(&self, measured: Duration) -> &[Outcomes] {
        // The last of the blocks of a known time ends up to 64 ns after it.
        let full = (measured + Duration::from_nanos(MOST as u64)).as_nanos() / self.length.as_nanos();
        &self.outcomes[..(full as usize).min(MOST)]
    }
}

/// Times of one kind, of each block.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The bins of the blocks, one block after the other.
    counts: Vec<u64>,
    /// The bins that may have something in them.
    lowest: usize,
    highest: usize,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; MOST * BINS], lowest: BINS - 1, highest: 0 }
    }

    #[inline]
    pub(super) fn record(&mut self, block: usize, nanos: u64) {
        let bin = bin_of(nanos);
        self.counts[block * BINS + bin] += 1;
        self.lowest = self.lowest.min(bin);
        self.highest = self.highest.max(bin);
    }

    /// Joins blocks in pairs.
    pub(super) fn double(&mut self) {
        for place in 0..MOST {
            let (done, rest) = self.counts.split_at_mut(place * BINS);
            let row = &mut rest[self.lowest..=self.highest.max(self.lowest)];
            if place > 0 {
                let sum = &mut done[place / 2 * BINS..][self.lowest..];
                sum.iter_mut().zip(row.iter()).for_each(|(sum, count)| *sum += count);
                row.fill(0);
            }
        }
    }

    /// What is in a block.
    pub(crate) fn times(&self, block: usize) -> Times {
        Times::of_bins(&self.counts[block * BINS..][..BINS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_known_time_is_cut_into_64() {
        let mut blocks = Blocks::new(at(100), Some(Duration::from_nanos(6_400_000_001)), true);
        let places = [100, 199, 201, 6_499, 6_500, 9_999].map(|millis| blocks.find(at(millis)));
        assert_eq!(places, [0, 0, 1, 63, 63, 63].map(Some));
        // A request of long ago fails.
        assert_eq!((blocks.latest(at(150)), blocks.find(at(150))), (None, Some(0)));
        assert_eq!([100, 199, 201].map(|millis| blocks.latest(at(millis))), [Some(0), Some(0), None]);
        assert_eq!(blocks.full(Duration::from_nanos(6_400_000_001)).len(), 64);
        assert_eq!(blocks.full(99 * MILLI).len(), 0);
        assert_eq!(blocks.full(1_250 * MILLI).len(), 12);
    }

    #[test]
    fn a_time_that_is_not_known_has_blocks_that_grow() {
        let (mut blocks, mut rows) = (Blocks::new(at(0), None, false), Rows::new());
        for millis in 0..=1_300 {
            while blocks.find(at(millis)).is_none() {
                blocks.double();
                rows.double();
            }
            let block = blocks.latest(at(millis)).unwrap();
            blocks.outcomes(block).answered += 1;
            blocks.outcomes(block).failed += 2;
            rows.record(block, millis);
        }
        assert_eq!(blocks.length(), 40 * MILLI);
        let full = blocks.full(1_300 * MILLI);
        assert_eq!(full, [Outcomes { answered: 40, failed: 80 }; 32]);
        for block in 0..32 {
            let times = (block as u64 * 40..).take(40).map(|nanos| (nanos, 1));
            assert_eq!(rows.times(block), Times::of_values(times), "{block}");
        }
        assert_eq!(rows.times(32).len(), 21);
        assert!((33..MOST).all(|block| rows.times(block).len() == 0));
    }

    #[test]
    fn a_short_or_empty_time_has_blocks_too() {
        assert_eq!(Blocks::new(at(0), Some(Duration::ZERO), true).find(at(7)), Some(63));
        assert!(Blocks::new(at(0), Some(Duration::from_nanos(7)), true).full(Duration::ZERO).len() <= MOST);
        let mut rows = Rows::new();
        rows.double();
        assert_eq!(rows.times(0), Times::default());
    }

    #[test]
    fn blocks_of_all_kinds_of_times_cost_less_than_8_mib() {
        let kinds = 3;
        let all = size_of::<Blocks>() + kinds * Rows::new().counts.capacity() * size_of::<u64>();
        assert!(all <= 8 << 20, "{all}");
    }
}
