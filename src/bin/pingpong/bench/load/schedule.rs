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
        let first = self.next.max(self.first_from(from));
        self.next = self.next.max(self.first_from(until));
        self.next.saturating_sub(first)
    }

    /// The first event that is due at `moment` or later.
    fn first_from(&self, moment: Moment) -> u64 {
        let passed = moment.since(self.start).as_secs_f64();
        // Rounding may have it a little off.
        let mut index = (passed * self.per_second) as u64;
        while index > 0 && self.moment_of(index - 1) >= moment {
            index -= 1;
        }
        while self.moment_of(index) < moment {
            index += 1;
        }
        index
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
        assert_eq!(schedule.skip(second(1), second(2)), 0, "that is over");
        assert_eq!(schedule.due(), second(3));
    }

    #[test]
    fn passing_over_agrees_with_counting_one_by_one() {
        for per_second in [0.3, 3.0, 7.7, 1e3, 33_333.3, 1e9] {
            for (from, until) in [(0, 1), (1, 999), (5, 1_000_000), (123_456, 10_000_000), (4_000_000, 3_000_000)] {
                let start = Moment::from_nanos(77);
                let [from, until] = [from, until].map(|nanos| Moment::from_nanos(77 + nanos));
                let mut schedule = Schedule::new(start, per_second);
                let mut counted = Schedule::new(start, per_second);
                let mut count = 0;
                while counted.due() < until {
                    count += u64::from(counted.due() >= from);
                    counted.advance();
                }
                assert_eq!(schedule.skip(from, until), count, "{per_second} from {from:?} until {until:?}");
                assert_eq!(schedule.due(), counted.due());
            }
        }
    }
}
