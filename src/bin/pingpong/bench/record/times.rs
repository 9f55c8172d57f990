//! Histograms of durations: of a whole run, of its blocks, and of its parts.

use hdrhistogram::Histogram;
use pingpong::Moment;

use super::blocks::Rows;

/// Durations of one kind, of the whole run, of its blocks, and of its parts: those are by when answers came, for the log.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) total: Histogram<u64>,
    pub(crate) blocks: Rows,
    /// Durations since the last part ended; `None` where no parts are kept.
    part: Option<Histogram<u64>>,
    pub(crate) parts: Vec<Part>,
}

/// What one part of a run has measured.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) from: Moment,
    pub(crate) until: Moment,
    /// Each duration in nanoseconds and how often it was recorded.
    pub(crate) values: Vec<(u64, u64)>,
}

impl Latency {
    pub(crate) fn new(keeps_parts: bool) -> Self {
        Self { total: histogram(), blocks: Rows::new(), part: keeps_parts.then(histogram), parts: Vec::new() }
    }

    #[inline]
    pub(crate) fn record(&mut self, nanos: u64, block: usize) {
        self.total.record(nanos).expect("it grows");
        self.blocks.record(block, nanos);
        if let Some(part) = &mut self.part {
            part.record(nanos).expect("it grows");
        }
    }

    /// Ends a part, if parts are kept.
    pub(crate) fn end_part(&mut self, from: Moment, until: Moment) {
        if let Some(part) = &mut self.part {
            self.parts.push(Part { from, until, values: values_of(part) });
            part.clear();
        }
    }
}

/// A histogram of nanoseconds with three significant digits. It grows as needed: no value is clamped.
pub(crate) fn histogram() -> Histogram<u64> {
    histogram_up_to(u64::MAX)
}

/// The same, where no time is longer than this: as large as it has to be, if that is less.
pub(crate) fn histogram_up_to(longest: u64) -> Histogram<u64> {
    const MINUTE: u64 = 60_000_000_000;
    let mut histogram = Histogram::new_with_bounds(1, longest.clamp(2, MINUTE), 3).expect("these bounds are sound");
    histogram.auto(true);
    histogram
}

/// Each value in a histogram and how often it was recorded; recording them again makes the same histogram.
pub(crate) fn values_of(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let recorded = histogram.iter_recorded();
    recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

/// The time that this share of the answers, in per cent, did not exceed; 0 of none. The highest value of its bucket.
///
/// The answer whose time it is has the rank that C's and Python's HdrHistogram give it, the nearest whole number, so that
/// they read the same from our log. `Histogram::value_at_percentile` is one rank too high where the product comes out a
/// trifle above a whole number: 99.9 % of 9,000 is 8991.000000000001 to it, and it rounds up.
pub(crate) fn percentile(times: &Histogram<u64>, percent: f64) -> u64 {
    let rank = ((percent * times.len() as f64 / 100.0 + 0.5) as u64).max(1);
    let mut below = 0;
    let at_rank = times.iter_recorded().find(|step| {
        below += step.count_at_value();
        below >= rank
    });
    at_rank.map_or(0, |step| step.value_iterated_to())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_have_the_rank_that_other_tools_give_them() {
        for (answers, percent, rank) in [
            (1, 50.0, 1),
            (1, 99.99, 1),
            (2, 50.0, 1),
            (3, 50.0, 2),
            (10, 99.9, 10),
            (9_000, 50.0, 4_500),
            (9_000, 90.0, 8_100),
            (9_000, 99.0, 8_910),
            (9_000, 99.9, 8_991),
            (9_000, 99.99, 8_999),
            (1_240, 99.0, 1_228),
            (1_280, 99.0, 1_267),
            (10_000, 99.99, 9_999),
            (5_000, 99.99, 5_000),
        ] {
            // Each in a bucket of its own: the value is the rank.
            let mut times = Histogram::new_with_bounds(1, 60_000_000_000, 5).unwrap();
            (1..=answers).for_each(|value| times.record(value).unwrap());
            assert_eq!(percentile(&times, percent), rank, "{percent} % of {answers}");
        }
        assert_eq!(percentile(&histogram(), 50.0), 0);
    }

    #[test]
    fn a_percentile_is_the_highest_value_of_its_bucket() {
        let mut times = histogram();
        (0..1000).for_each(|_| times.record(123_456_789).unwrap());
        assert_eq!(percentile(&times, 50.0), times.highest_equivalent(123_456_789));
    }

    #[test]
    fn nothing_is_clamped() {
        let mut times = Latency::new(true);
        for nanos in [0, 1, 7_200_000_000_000] {
            times.record(nanos, 0);
        }
        let hours = times.total.max() as f64 / 3.6e12;
        assert!((hours - 2.0).abs() < 0.002, "{hours}");
        assert_eq!(values_of(&times.total)[..2], [(0, 1), (1, 1)]);
        assert_eq!(times.blocks.times(0).len(), 3);
        times.end_part(Moment::default(), Moment::from_nanos(1));
        assert_eq!(times.parts[0].values, values_of(&times.total));
    }
}
