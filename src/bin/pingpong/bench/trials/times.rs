//! What a block has measured: times as a histogram, and events in a time.
//!
//! A histogram of a block is coarser than that of a whole run, 128 bins to a doubling: many blocks are kept at once. What
//! that takes from a percentile, less than a hundredth, is given back by interpolation within the bin.

/// Bins between a time and its double.
const BINS_PER_DOUBLING: usize = 128;

/// Times from 2^42 ns (73 minutes) on share the last bin.
const LONGEST: u64 = (1 << 42) - 1;

/// The number of bins.
pub(crate) const BINS: usize = 4_608;

/// The bin of a time.
#[inline]
pub(crate) fn bin_of(nanos: u64) -> usize {
    let nanos = nanos.min(LONGEST);
    let shift = 56 - (nanos | 255).leading_zeros();
    shift as usize * BINS_PER_DOUBLING + (nanos >> shift) as usize
}

/// The shortest time in a bin, and the shortest beyond it.
fn bounds(bin: usize) -> (u64, u64) {
    let shift = (bin / BINS_PER_DOUBLING).saturating_sub(1);
    let lowest = ((bin - shift * BINS_PER_DOUBLING) as u64) << shift;
    (lowest, lowest + (1 << shift))
}

/// What can be joined with what came after it.
pub(crate) trait Join: Clone {
    fn join(&mut self, later: &Self);
}

/// Times, each in its bin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// The bins that are not empty, and how many times are in each.
    bins: Vec<(u16, u64)>,
    count: u64,
}

impl Times {
    /// Of the counts of all bins, in order.
    pub(crate) fn of_bins(counts: &[u64]) -> Self {
        let filled = counts.iter().filter(|count| **count > 0).count();
        let mut times = Self { bins: Vec::with_capacity(filled), count: 0 };
        for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            times.bins.push((bin as u16, *count));
            times.count += count;
        }
        times
    }

    /// Of times and how often each was measured.
    pub(crate) fn of_values(values: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let values = values.into_iter();
        let mut times = Self { bins: Vec::with_capacity(values.size_hint().0), count: 0 };
        for (nanos, count) in values.filter(|(_, count)| *count > 0) {
            let bin = bin_of(nanos) as u16;
            match times.bins.last_mut() {
                Some((last, sum)) if *last == bin => *sum += count,
                _ => times.bins.push((bin, count)),
            }
            times.count += count;
        }
        // They nearly always are.
        if !times.bins.is_sorted_by_key(|(bin, _)| *bin) {
            times.bins.sort_by_key(|(bin, _)| *bin);
            times.bins.dedup_by(|(bin, count), (last, sum)| {
                let is_same = bin == last;
                *sum += if is_same { *count } else { 0 };
                is_same
            });
        }
        times
    }

    /// The shortest time of each bin that is not empty, and how many times are in it: [`Times::of_values`] of them is
    /// the same again.
    pub(crate) fn values(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bins.iter().map(|(bin, count)| (bounds((*bin).into()).0, *count))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// The time that this share, in per cent, did not exceed; `None` of none.
    pub(crate) fn percentile(&self, percent: f64) -> Option<f64> {
        let rank = percent / 100.0 * self.count as f64;
        let mut below = 0;
        let (bin, count) = self.bins.iter().find(|(_, count)| {
            below += count;
            below as f64 >= rank
        })?;
        let (lowest, beyond) = bounds((*bin).into());
        let share = (rank - (below - count) as f64) / *count as f64;
        Some(lowest as f64 + share * (beyond - lowest) as f64)
    }

    /// The share that took longer than this; `None` of none.
    pub(super) fn share_beyond(&self, nanos: f64) -> Option<f64> {
        let beyond = self.bins.iter().map(|(bin, count)| {
            let (lowest, end) = bounds((*bin).into());
            *count as f64 * ((end as f64 - nanos) / (end - lowest) as f64).clamp(0.0, 1.0)
        });
        (self.count > 0).then(|| beyond.sum::<f64>() / self.count as f64)
    }
}

impl Join for Times {
    fn join(&mut self, later: &Self) {
        // Those that are added to a sum of many are in nearly no bin that it has not. Such bins go behind the others first.
        let (mut place, sorted) = (0, self.bins.len());
        for (bin, count) in &later.bins {
            while self.bins[place..sorted].first().is_some_and(|(own, _)| own < bin) {
                place += 1;
            }
            match self.bins[place..sorted].first_mut() {
                Some((own, sum)) if own == bin => *sum += count,
                _ => self.bins.push((*bin, *count)),
            }
        }
        if self.bins.len() > sorted {
            self.bins.sort_by_key(|(bin, _)| *bin);
        }
        self.count += later.count;
    }
}

/// How often something came about in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
}

impl Tally {
    /// Events per second; `None` of no time.
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.events as f64 / self.seconds)
    }
}

impl Join for Tally {
    fn join(&mut self, later: &Self) {
        self.events += later.events;
        self.seconds += later.seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_follow_each_other_without_a_gap() {
        for bin in 0..BINS {
            let (lowest, beyond) = bounds(bin);
            assert_eq!((bin_of(lowest), bin_of(beyond - 1)), (bin, bin));
            assert!(beyond - lowest == 1 || ((beyond - lowest) as f64) < 0.008 * lowest as f64);
            assert_eq!(bin_of(beyond), (bin + 1).min(BINS - 1));
        }
        assert_eq!(bin_of(u64::MAX), BINS - 1);
    }

    #[test]
    fn percentiles_are_interpolated_within_a_bin() {
        // One bin holds 1024 to 1031.
        let times = Times::of_values([(1_024, 1), (1_027, 1), (1_031, 2)]);
        assert_eq!(times.values().collect::<Vec<_>>(), [(1_024, 4)]);
        assert_eq!(times.percentile(50.0), Some(1_028.0));
        assert_eq!(times.percentile(100.0), Some(1_032.0));
        assert_eq!(Times::default().percentile(50.0), None);
        let apart = Times::of_values([(10, 90), (200, 10)]);
        assert_eq!(apart.percentile(90.0), Some(11.0));
        assert_eq!(apart.percentile(95.0), Some(200.5));
        assert_eq!([10.0, 10.5, 11.0, 200.5].map(|nanos| apart.share_beyond(nanos)), [1.0, 0.55, 0.1, 0.05].map(Some));
        assert_eq!(Times::default().share_beyond(0.0), None);
    }

    #[test]
    fn joined_times_are_those_of_both() {
        let mut times = Times::of_values([(5, 1), (70, 2)]);
        times.join(&Times::of_values([(5, 3), (6, 1), (90, 1)]));
        assert_eq!(times, Times::of_values([(5, 4), (6, 1), (70, 2), (90, 1)]));
        assert_eq!(times.len(), 8);
        assert_eq!(Times::of_values(times.values()), times);
        assert_eq!(Times::of_values([(90, 1), (5, 1), (70, 2), (0, 0), (6, 1), (5, 3)]), times);
    }
}
