//! Histograms of durations: of a whole run, and of its parts.

use std::time::Duration;

use hdrhistogram::Histogram;
use pingpong::Moment;

/// Durations of one kind, of the whole run and of its parts.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) total: Histogram<u64>,
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
        Self { total: histogram(), part: keeps_parts.then(histogram), parts: Vec::new() }
    }

    #[inline]
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = duration.as_nanos() as u64;
        self.total.record(nanos).expect("it grows");
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
    const MINUTE: u64 = 60_000_000_000;
    let mut histogram = Histogram::new_with_bounds(1, MINUTE, 3).expect("these bounds are sound");
    histogram.auto(true);
    histogram
}

/// Each value in a histogram and how often it was recorded; recording them again makes the same histogram.
pub(crate) fn values_of(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let recorded = histogram.iter_recorded();
    recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_clamped() {
        let mut times = Latency::new(true);
        for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(7_200)] {
            times.record(duration);
        }
        let hours = times.total.max() as f64 / 3.6e12;
        assert!((hours - 2.0).abs() < 0.002, "{hours}");
        assert_eq!(values_of(&times.total)[..2], [(0, 1), (1, 1)]);
        times.end_part(Moment::default(), Moment::from_nanos(1));
        assert_eq!(times.parts[0].values, values_of(&times.total));
    }
}
