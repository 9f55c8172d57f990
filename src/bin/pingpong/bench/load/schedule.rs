//! A schedule of events at a fixed rate: the open loop's requests, and dials where a connect rate is asked for.

use pingpong::Moment;

/// Event k is due k intervals after the start. Intervals are not added up, so rounding does not make it drift.
#[derive(Debug)]
pub(super) struct Schedule {
    start: Moment,
    per_second: f64,
    next: u64,
}

impl Schedule {
    pub(super) fn new(start: Moment, per_second: f64) -> Self {
        Self { start, per_second, next: 0 }
    }

    /// Starts anew.
    pub(super) fn start(&mut self, now: Moment) {
        (self.start, self.next) = (now, 0);
    }

    /// When the next event is due.
    pub(super) fn due(&self) -> Moment {
        self.moment_of(self.next)
    }

    /// The next event has taken place.
    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    /// Passes over the events due before `until`. Returns how many of them were due at `from` or later.
    pub(super) fn skip(&mut self, from: Moment, until: Moment) -> u64 {
        let mut skipped = 0;
        while self.due() < until {
            skipped += u64::from(self.due() >= from);
            self.advance();
        }
        skipped
    }

    fn moment_of(&self, index: u64) -> Moment {
        // Exact to the nanosecond for more than a month.
        Moment::from_nanos(self.start.as_nanos() + (index as f64 * 1e9 / self.per_second) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_drift() {
        let mut schedule = Schedule::new(Moment::from_nanos(5), 3.0);
        let due: Vec<u64> = (0..4)
            .map(|_| {
                let due = schedule.due().as_nanos();
                schedule.advance();
                due
            })
            .collect();
        assert_eq!(due, [5, 333_333_338, 666_666_671, 1_000_000_005]);
        for _ in 4..3_000_000 {
            schedule.advance();
        }
        assert_eq!(schedule.due().as_nanos(), 1_000_000 * 1_000_000_000 + 5);
    }

    #[test]
    fn what_is_passed_over_is_counted_from_where_it_counts() {
        let mut schedule = Schedule::new(Moment::default(), 10.0);
        let second = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        assert_eq!(schedule.skip(second(1), second(3)), 20);
        assert_eq!(schedule.due(), second(3));
    }
}
