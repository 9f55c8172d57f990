//! `--find`: the highest rate that meets what is asked for. It turns what [`Search`] wants next into phases, and their
//! reports into verdicts.
//!
//! What measures a phase is a [`Stand`]: the runner, or in tests the load over the fake kernel.

use std::time::Duration;

use super::options::{BenchOptions, Extent, Find, Phase};
use super::rate::Rate;
use super::report::{Cut, End, Report, Searched, Trial};
use super::requirement::Quantity;
use super::search::{Bounds, Search, Step};
use crate::error::Error;

/// A trial takes this part of the time of a full run.
const TRIAL: u32 = 5;

/// Its warm-up takes at most this part of its own.
const SETTLING: u32 = 4;

/// Where nobody says where to begin.
const LEAST_FROM: f64 = 100.0;

/// The answers that have to lie beyond a percentile for it to mean something, and a tenth more, for arrivals are random.
const BEYOND: f64 = 11.0;

/// What can measure.
pub(super) trait Stand {
    fn measure(&mut self, phase: Phase) -> Result<Report, Error>;

    /// Tells how the search goes, line by line.
    fn tell(&mut self, text: &str);
}

/// Looks for the rate. Returns the report of the full run at it, or where there is none, of the last trial.
pub(super) fn find(options: &BenchOptions, find: &Find, stand: &mut impl Stand) -> Result<(Report, Searched), Error> {
    let plan = Plan::of(options, find);
    let mut search = Search::new(plan.bounds);
    let mut searched = Searched::new(find, plan.bounds, plan.announcement());
    stand.tell(&searched.head());
    loop {
        let Some(step) = search.next() else { unreachable!("the search ends below") };
        let phase = plan.phase(step, searched.trials());
        let mut report = stand.measure(phase)?;
        report.judge(&find.requirements);
        let trial = Trial::of(step, &report);
        stand.tell(&trial.row());
        let end = match report.cut() {
            Some(Cut::Gone) => Some(End::Gone),
            Some(Cut::Interrupted) => Some(End::Interrupted),
            // A server that has fallen silent has not met anything, and may come back.
            Some(Cut::Silent) | None => {
                search.tell(trial.verdict());
                search.next().is_none().then(|| End::Searched(search.stage()))
            }
        };
        searched.add(trial);
        if let Some(end) = end {
            searched.end(end, search.bracket());
            stand.tell(&searched.tail());
            let all = find.requirements.iter().chain(&options.requirements).cloned();
            report.judge(&all.collect::<Vec<_>>());
            report.tell_of_search(&searched);
            return Ok((report, searched));
        }
    }
}

/// How long what takes.
struct Plan<'a> {
    options: &'a BenchOptions,
    bounds: Bounds,
    /// A full run.
    full: Duration,
    /// The answers that all percentiles asked for need.
    answers: f64,
}

impl<'a> Plan<'a> {
    fn of(options: &'a BenchOptions, find: &Find) -> Self {
        let Extent::Duration(full) = options.extent else { unreachable!("--find goes by time, says the command line") };
        let answers = |quantity: Quantity| match quantity {
            Quantity::Percentile { percent, .. } if percent < 100.0 => BEYOND * 100.0 / (100.0 - percent),
            _ => 1.0,
        };
        let answers = find.requirements.iter().map(|one| answers(one.quantity)).fold(1.0, f64::max);
        let enough = |time: Duration| (answers / time.as_secs_f64()).min(find.to);
        let first = find.from.unwrap_or_else(|| round_above(enough(full / TRIAL)).max(LEAST_FROM).min(find.to));
        // A trial lasts longer at a lower rate; by itself the search goes down to where it lasts as long as a full run.
        let from = find.from.unwrap_or_else(|| enough(full).ceil().min(first));
        let bounds = Bounds { from, first, to: find.to };
        Self { options, bounds, full, answers }
    }

    /// How long a step measures: at a low rate as long as enough answers take.
    fn extent(&self, step: Step) -> Duration {
        let (least, rate) = match step {
            Step::Trial(rate) => (self.full / TRIAL, rate),
            Step::Full(rate) => (self.full, rate),
        };
        least.max(Duration::from_secs_f64(self.answers / rate))
    }

    /// How long it asks before.
    fn warmup(&self, step: Step) -> Duration {
        match step {
            Step::Trial(_) => self.options.warmup.min(self.extent(step) / SETTLING),
            Step::Full(_) => self.options.warmup,
        }
    }

    fn phase(&self, step: Step, before: &[Trial]) -> Phase {
        let (Step::Trial(rate) | Step::Full(rate)) = step;
        // A server goes on with what it owes, though nobody waits for it any more.
        let owed = before.last().filter(|trial| trial.has_lost()).map_or(Duration::ZERO, Trial::lasted);
        Phase {
            rate: Some(Rate::even(rate)),
            whole: None,
            arrivals: self.options.arrivals.after(before.len() as u64),
            warmup: self.warmup(step) + owed,
            extent: Extent::Duration(self.extent(step)),
        }
    }

    /// What is to come, and how long it takes at the most.
    fn announcement(&self) -> String {
        let (trials, full_runs) = self.bounds.most_trials();
        let seconds = |step: Step| (self.extent(step) + self.warmup(step)).as_secs_f64();
        let in_all = self.bounds.most_seconds(|rate| seconds(Step::Trial(rate)), |rate| seconds(Step::Full(rate)));
        let [lowest, highest] = [self.bounds.from, self.bounds.to].map(|rate| self.extent(Step::Trial(rate)));
        let each = if lowest == highest { short(highest) } else { format!("{} to {}", short(highest), short(lowest)) };
        let more = short(self.options.timeout + lowest);
        format!(
            "at most {trials} trials of {each} and {full_runs} runs of {}, {} in all (up to {more} more after one that \
             loses answers)",
            short(self.extent(Step::Full(self.bounds.from))),
            told(in_all),
        )
    }
}

/// The first of 1, 2, 5, 10, 20 … that is not below.
fn round_above(number: f64) -> f64 {
    let power = 10f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= number * (1.0 - 1e-9)).unwrap_or(number)
}

/// A time to the millisecond.
fn short(time: Duration) -> String {
    format!("{:?}", Duration::from_millis(time.as_millis() as u64))
}

/// A long time for people.
fn told(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    let minutes = seconds.div_ceil(60);
    match (seconds, minutes) {
        (..60, _) => format!("{seconds} s"),
        (..3600, _) => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_a_round_rate() {
        for (number, round) in
            [(0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (550.0, 1000.0), (2000.0, 2000.0), (5001.0, 10_000.0)]
        {
            assert_eq!(round_above(number), round, "{number}");
        }
    }

    #[test]
    fn long_times_have_minutes_and_hours() {
        for (seconds, text) in
            [(0.2, "1 s"), (59.1, "1 min 0 s"), (168.0, "2 min 48 s"), (7199.0, "2 h 0 min"), (3601.0, "1 h 1 min")]
        {
            assert_eq!(told(seconds), text);
        }
    }
}
