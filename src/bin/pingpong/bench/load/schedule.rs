//! A schedule of events: the open loop's requests, heartbeats, and dials where a connect rate is asked for.
//!
//! When event k is due depends on the rate alone, never on what came of the events before it.

use pingpong::Moment;

use super::deal::Deal;
use super::dice::Dice;
use crate::bench::rate::{Arrivals, Rate};

/// Events at a rate, evenly spaced or at random.
#[derive(Debug)]
pub(super) struct Schedule {
    course: Course,
    spacing: Spacing,
    /// Which event is the next, where they are evenly spaced.
    deal: Deal,
    /// When it is due.
    due: Moment,
}

/// Where on the [`Course`] events stand.
#[derive(Debug)]
enum Spacing {
    /// Event k where k events are due. Gaps are not added up, so rounding does not make it drift.
    Even,
    /// Gaps are random, with the mean 1. A course with a changing rate squeezes or stretches them: what comes out is the
    /// Poisson process of that rate.
    Poisson { dice: Dice, next: f64 },
}

/// When how many events are due: the integral of the rate, and its inverse.
#[derive(Debug)]
struct Course {
    start: Moment,
    rate: Rate,
    ramp: Option<Ramp>,
}

/// A rate that changes evenly.
#[derive(Debug)]
struct Ramp {
    from: Moment,
    seconds: f64,
    /// How many events are due before.
    before: f64,
}

impl Schedule {
    /// Evenly spaced events, the first one at `start`.
    pub(super) fn new(start: Moment, per_second: f64) -> Self {
        Self::along(Course { start, rate: Rate::even(per_second), ramp: None }, Arrivals::Even)
    }

    /// Events at this rate. It begins to change, if it does, at `from`, and has changed `seconds` later.
    pub(super) fn of(rate: Rate, arrivals: Arrivals, start: Moment, from: Moment, seconds: f64) -> Self {
        let mut course = Course { start, rate, ramp: None };
        if rate.is_ramp() {
            let before = match arrivals {
                // The ramp's first event is due when it begins, as that of any schedule.
                Arrivals::Even => course.first_from(from) as f64,
                Arrivals::Poisson { .. } => course.passed(from),
            };
            course.ramp = Some(Ramp { from, seconds, before });
        }
        Self::along(course, arrivals)
    }

    /// Only those of its events that are dealt to one part of a load, where they are evenly spaced.
    pub(super) fn dealt(mut self, deal: Deal) -> Self {
        self.deal = deal;
        self.due = self.moment_of_next();
        self
    }

    fn along(course: Course, arrivals: Arrivals) -> Self {
        let spacing = match arrivals {
            Arrivals::Even => Spacing::Even,
            Arrivals::Poisson { seed } => {
                let mut dice = Dice::new(seed);
                let next = dice.exponential();
                Spacing::Poisson { dice, next }
            }
        };
        let mut schedule = Self { course, spacing, deal: Deal::to(None), due: Moment::default() };
        schedule.due = schedule.moment_of_next();
        schedule
    }

    /// When the next event is due.
    #[inline]
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// The next event has taken place.
    #[inline]
    pub(super) fn advance(&mut self) {
        match &mut self.spacing {
            Spacing::Even => self.deal.advance(),
            Spacing::Poisson { dice, next } => *next += dice.exponential(),
        }
        self.due = self.moment_of_next();
    }

    /// Passes over the events due before `until`. Returns how many of them were due at `from` or later.
    pub(super) fn skip(&mut self, from: Moment, until: Moment) -> u64 {
        if let Spacing::Poisson { .. } = self.spacing {
            let mut count = 0;
            while self.due < until {
                count += u64::from(self.due >= from);
                self.advance();
            }
            return count;
        }
        let first = self.deal.next().max(self.course.first_from(from));
        self.deal.go_on_from(self.course.first_from(until));
        self.due = self.moment_of_next();
        self.deal.below(self.deal.next()).saturating_sub(self.deal.below(first))
    }

    fn moment_of_next(&self) -> Moment {
        match self.spacing {
            Spacing::Even => self.course.moment_of(self.deal.next() as f64),
            Spacing::Poisson { next, .. } => self.course.moment_of(next),
        }
    }
}

impl Course {
    /// When this many events are due.
    fn moment_of(&self, events: f64) -> Moment {
        let (start, nanos) = match &self.ramp {
            Some(ramp) if events >= ramp.before => (ramp.from, ramp.seconds_to(events - ramp.before, self.rate) * 1e9),
            // Exact to the nanosecond for more than a month.
            _ => (self.start, events * 1e9 / self.rate.first),
        };
        Moment::from_nanos(start.as_nanos() + nanos as u64)
    }

    /// How many events are due at this moment.
    fn passed(&self, moment: Moment) -> f64 {
        match &self.ramp {
            Some(ramp) if moment > ramp.from => ramp.before + ramp.passed(moment, self.rate),
            _ => moment.since(self.start).as_secs_f64() * self.rate.first,
        }
    }

    /// The first whole event that is due at `moment` or later.
    fn first_from(&self, moment: Moment) -> u64 {
        // Rounding may have it a little off.
        let mut index = self.passed(moment) as u64;
        while index > 0 && self.moment_of((index - 1) as f64) >= moment {
            index -= 1;
        }
        while self.moment_of(index as f64) < moment {
            index += 1;
        }
        index
    }
}

impl Ramp {
    /// How many events are due on it.
    fn whole(&self, rate: Rate) -> f64 {
        rate.mean() * self.seconds
    }

    /// After how many seconds so many events are due: the rate is a + (b - a) t / d, its integral a t + (b - a) t² / 2d.
    /// Behind the ramp the rate stays.
    fn seconds_to(&self, events: f64, rate: Rate) -> f64 {
        let Rate { first, last } = rate;
        let whole = self.whole(rate);
        if events >= whole {
            return self.seconds + (events - whole) / last;
        }
        let square = first * first + 2.0 * (last - first) * events / self.seconds;
        2.0 * events / (first + square.max(0.0).sqrt())
    }

    /// How many events are due at this moment, which is not before it.
    fn passed(&self, moment: Moment, rate: Rate) -> f64 {
        let Rate { first, last } = rate;
        let seconds = moment.since(self.from).as_secs_f64();
        if seconds >= self.seconds {
            return self.whole(rate) + (seconds - self.seconds) * last;
        }
        first * seconds + (last - first) * seconds * seconds / (2.0 * self.seconds)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::Part;

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

    /// Every kind of schedule, from `start` on, with a ramp that begins a millisecond later.
    fn kinds(start: Moment) -> Vec<Box<dyn Fn() -> Schedule>> {
        let even = [0.3, 3.0, 7.7, 1e3, 33_333.3, 1e9].map(Rate::even);
        let ramps = [(1.0, 5e4), (1e3, 1e6), (1e6, 10.0), (333.3, 1e7)].map(|(first, last)| Rate { first, last });
        let from = start + Duration::from_millis(1);
        let rates = even.into_iter().chain(ramps).flat_map(|rate| {
            let poisson = (rate.peak() < 1e9).then_some((rate, Arrivals::Poisson { seed: 7 }));
            [Some((rate, Arrivals::Even)), poisson].into_iter().flatten()
        });
        rates
            .map(|(rate, arrivals)| Box::new(move || Schedule::of(rate, arrivals, start, from, 0.005)) as Box<_>)
            .collect()
    }

    #[test]
    fn passing_over_agrees_with_counting_one_by_one() {
        let start = Moment::from_nanos(77);
        for kind in kinds(start) {
            for (from, until) in [(0, 1), (1, 999), (5, 1_000_000), (123_456, 10_000_000), (4_000_000, 3_000_000)] {
                let [from, until] = [from, until].map(|nanos| Moment::from_nanos(77 + nanos));
                let (mut schedule, mut counted) = (kind(), kind());
                let mut count = 0;
                while counted.due() < until {
                    count += u64::from(counted.due() >= from);
                    counted.advance();
                }
                assert_eq!(schedule.skip(from, until), count, "{schedule:?} from {from:?} until {until:?}");
                assert_eq!(schedule.due(), counted.due());
            }
        }
    }

    /// Seconds after the clock's start.
    pub(in crate::bench::load) fn at(seconds: f64) -> Moment {
        Moment::from_nanos((seconds * 1e9) as u64)
    }

    #[test]
    fn on_a_ramp_as_many_are_due_as_the_integral_of_the_rate() {
        for (first, last, warmup, seconds) in
            [(1.0, 50e3, 1.0, 10.0), (50e3, 1.0, 1.0, 10.0), (100.0, 300.0, 0.35, 2.0), (7.7, 1e3, 1.1, 3.0)]
        {
            let rate = Rate { first, last };
            let due = |from: f64, until: f64| {
                let mut schedule = Schedule::of(rate, Arrivals::Even, at(0.0), at(warmup), seconds);
                schedule.skip(at(warmup + from), at(warmup + until))
            };
            let integral = |t: f64| first * t + (last - first) * t * t / (2.0 * seconds);
            assert_eq!(due(0.0, seconds), integral(seconds).ceil() as u64, "{rate}");
            for tenth in 1..=10 {
                let until = f64::from(tenth) * seconds / 10.0;
                assert!((due(0.0, until) as f64 - integral(until)).abs() <= 1.0, "{rate} until {until}");
            }
        }
    }

    #[test]
    fn a_ramp_begins_with_the_measured_time_and_before_that_its_first_rate_holds() {
        let rate = Rate { first: 10.0, last: 30.0 };
        let mut schedule = Schedule::of(rate, Arrivals::Even, at(0.0), at(0.25), 1.0);
        let due: Vec<u64> = (0..5)
            .map(|_| {
                let due = schedule.due().as_nanos() / 1_000_000;
                schedule.advance();
                due
            })
            .collect();
        // 10 t + 10 t² = 1 at 0.0916 s.
        assert_eq!(due, [0, 100, 200, 250, 250 + 91]);
    }

    #[test]
    fn a_seed_repeats_its_times_and_another_has_others() {
        let due = |seed| {
            let mut schedule = Schedule::of(Rate::even(1e3), Arrivals::Poisson { seed }, at(0.0), at(0.0), 1.0);
            std::iter::repeat_with(move || (schedule.due(), schedule.advance()).0).take(1_000).collect::<Vec<_>>()
        };
        assert_eq!(due(1), due(1));
        assert_ne!(due(1), due(2));
    }

    /// The Anderson-Darling statistic of gaps against the exponential distribution with the mean 1 (Stephens, "EDF
    /// statistics for goodness of fit", JASA 69, 1974, case 0). Over 2.492 for one true sample in 20, over 3.857 for one
    /// in 100.
    fn anderson_darling(mut gaps: Vec<f64>) -> f64 {
        gaps.sort_by(f64::total_cmp);
        let count = gaps.len();
        let below = |gap: f64| (-(-gap).exp_m1()).ln();
        let sum: f64 = (0..count).map(|i| (2 * i + 1) as f64 * (below(gaps[i]) - gaps[count - 1 - i])).sum();
        -(count as f64) - sum / count as f64
    }

    /// The gaps between events of a schedule, in units of the mean that the rate has there.
    fn gaps(rate: Rate, seed: u64) -> Vec<f64> {
        let mut schedule = Schedule::of(rate, Arrivals::Poisson { seed }, at(0.0), at(1.0), 10.0);
        let mut before = 0.0;
        std::iter::repeat_with(|| {
            let passed = schedule.course.passed(schedule.due());
            schedule.advance();
            passed - std::mem::replace(&mut before, passed)
        })
        .take(2_000)
        .collect()
    }

    #[test]
    fn gaps_are_exponential_at_any_rate() {
        for rate in [Rate::even(1e3), Rate { first: 100.0, last: 900.0 }] {
            let statistics: Vec<f64> = (1..=200).map(|seed| anderson_darling(gaps(rate, seed))).collect();
            let over = |bound: f64| statistics.iter().filter(|statistic| **statistic > bound).count();
            // 10 and 2 are expected.
            assert!((3..=19).contains(&over(2.492)) && over(3.857) <= 6, "{rate}: {} {}", over(2.492), over(3.857));
        }
        // The statistic is one that finds what is not exponential.
        let even = vec![1.0; 2_000];
        let uniform = (0..2_000).map(|k| f64::from(k) / 1_000.0).collect();
        assert!(anderson_darling(even) > 100.0 && anderson_darling(uniform) > 100.0);
    }

    #[test]
    fn at_random_as_many_are_due_as_chance_allows() {
        let count = |seed| {
            let arrivals = Arrivals::Poisson { seed };
            let mut schedule = Schedule::of(Rate::even(1e3), arrivals, at(0.0), at(0.0), 10.0);
            schedule.skip(at(0.0), at(10.0)) as f64
        };
        let counts: Vec<f64> = (0..100).map(count).collect();
        let mean = counts.iter().sum::<f64>() / 100.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 99.0;
        // Of a Poisson process both are 10,000; these bounds are four standard errors off.
        assert!((mean - 1e4).abs() < 40.0 && (variance / 1e4 - 1.0).abs() < 0.57, "{mean} {variance}");
    }

    /// When the events of a schedule are due that are due before `until`, in nanoseconds.
    pub(in crate::bench::load) fn due_before(mut schedule: Schedule, until: Moment) -> Vec<u64> {
        let mut next = || (schedule.due(), schedule.advance()).0;
        std::iter::from_fn(|| Some(next()).filter(|due| *due < until)).map(Moment::as_nanos).collect()
    }

    #[test]
    fn the_parts_of_a_poisson_process_are_one_together() {
        let gaps = |of: u32, seed: u64, is_mixed: bool| {
            let mut due: Vec<u64> = (1..=of)
                .flat_map(|number| {
                    let part = Part::new(number, of).filter(|_| is_mixed);
                    let arrivals = Arrivals::Poisson { seed }.of_part(part);
                    let share = Rate::even(1e3 / f64::from(of));
                    due_before(Schedule::of(share, arrivals, at(0.0), at(0.0), 2.0), at(2.0))
                })
                .collect();
            due.sort_unstable();
            due.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect::<Vec<f64>>()
        };
        for of in [2, 4, 16] {
            let statistics: Vec<f64> = (1..=200).map(|seed| anderson_darling(gaps(of, seed, true))).collect();
            let over = |bound: f64| statistics.iter().filter(|statistic| **statistic > bound).count();
            assert!((3..=19).contains(&over(2.492)) && over(3.857) <= 6, "{of}: {} {}", over(2.492), over(3.857));
        }
        // With one seed for all they would ask at the same moments.
        assert!(anderson_darling(gaps(2, 1, false).iter().map(|gap| gap + 1e-9).collect()) > 100.0);
    }
}
