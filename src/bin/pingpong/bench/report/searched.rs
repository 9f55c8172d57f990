//! A search for a rate (`--find`) as it is shown: a row for each trial, a picture of all, and what was found.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::chart::{Mark, chart};
use super::judged::Judged;
use super::text::{grouped, per_second, shown};
use super::warnings::SATURATED;
use super::{Report, figures, micros};
use crate::bench::options::Find;
use crate::bench::record::{Fact, Hindrance, percentile};
use crate::bench::requirement::Quantity;
use crate::bench::search::{Bounds, Stage, Step, Verdict};
use crate::bench::trials::{Trend, percentile_trend};

/// The typical time grows by at least this part of the time that passes where answers fall behind the requests.
const BEHIND: f64 = 0.01;

/// What is told of each trial.
pub(super) const TRIAL_TITLES: [&str; 7] = ["asked", "reached", "50 %", "99 %", "max", "errors", ""];

/// A trial: what was asked, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    step: Step,
    lasted: Duration,
    /// Right answers a second, without those that only came because the asking had ended.
    reached: f64,
    /// Nanoseconds.
    pub(super) p50: Option<u64>,
    pub(super) p99: Option<u64>,
    pub(super) max: Option<u64>,
    errors: u64,
    has_lost: bool,
    verdict: Verdict,
    /// Why it is not met.
    reason: Option<String>,
    /// It is not met, and that is the load generator's doing.
    is_generators: bool,
}

/// How a search has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Searched(Stage),
    Interrupted,
    /// The server's connections were, or nobody was at its port any more.
    Gone,
}

/// A search that is going on or over.
#[derive(Clone, Debug)]
pub(crate) struct Searched {
    /// What is asked for.
    wanted: Vec<String>,
    /// In microseconds: the limit of the figure that the picture shows, where it has one.
    limit: Option<f64>,
    bounds: Bounds,
    announcement: String,
    trials: Vec<Trial>,
    end: Option<End>,
    /// The highest rate that was met, and the lowest that was not.
    bracket: (Option<f64>, Option<f64>),
}

impl Trial {
    /// From a report that has been held against what is asked for.
    pub(in crate::bench) fn of(step: Step, report: &Report) -> Self {
        let (_, times) = report.main_times();
        let [p50, _, p99, _, _, max] = figures(Some(times)).map(|(_, nanos)| nanos);
        let growth = report.growth();
        let lag = report.lag.as_ref().filter(|lag| !lag.is_empty()).map(|lag| percentile(lag, 99.0));
        let unsent_by_us = report.hindrances.get(Hindrance::TooSlow.text()).copied().unwrap_or_default();
        let unmet = report.requirements.iter().find(|judged| !judged.is_met());
        let unsent = report.counts[Fact::Unsent];
        let is_busy = report
            .cost
            .is_some_and(|cost| cost.shares.working + cost.shares.taken_away.unwrap_or_default() > SATURATED);
        let is_lagging = lag.zip(p99).is_some_and(|(lag, p99)| lag > p99 / 2);
        let is_slow = is_busy || is_lagging;
        let (reason, is_generators) = match unmet {
            _ if unsent_by_us > 0 && !report.tells_of_an_end() => {
                (Some(format!("the load generator was too slow: {} unsent", grouped(unsent_by_us))), true)
            }
            Some(unmet) => (unmet.short_complaint(), is_slow && unmet.is_measured_time()),
            None if unsent > 0 => (Some(format!("{} were not sent: too many unanswered", grouped(unsent))), false),
            None if growth > BEHIND => {
                let grown = shown((growth * report.seconds * 1e9) as u64);
                (Some(format!("answers fell behind, by {grown} in {:.1} s", report.seconds)), is_slow)
            }
            None => (None, false),
        };
        let verdict = match () {
            () if reason.is_some() => Verdict::Unmet,
            () if report.requirements.iter().all(Judged::has_room) => Verdict::Met,
            () => Verdict::Barely,
        };
        Self {
            step,
            lasted: Duration::from_secs_f64(report.seconds),
            reached: report.per_second / (1.0 + growth),
            p50,
            p99,
            max,
            errors: report.counts.errors(),
            has_lost: report.counts[Fact::Lost] > 0,
            verdict,
            is_generators,
            reason,
        }
    }

    pub(in crate::bench) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How long it measured.
    pub(in crate::bench) fn lasted(&self) -> Duration {
        self.lasted
    }

    pub(in crate::bench) fn has_lost(&self) -> bool {
        self.has_lost
    }

    pub(super) fn rate(&self) -> f64 {
        let (Step::Trial(rate) | Step::Full(rate)) = self.step;
        rate
    }

    fn is_full(&self) -> bool {
        matches!(self.step, Step::Full(_))
    }

    pub(super) fn is_met(&self) -> bool {
        self.verdict != Verdict::Unmet
    }

    /// In a line.
    pub(in crate::bench) fn row(&self) -> String {
        let [asked, reached, p50, p99, max, errors, verdict] = self.cells();
        format!("{asked:>10}{reached:>11}{p50:>10}{p99:>10}{max:>10}{errors:>9}  {verdict}\n")
    }

    /// What stands below [`TRIAL_TITLES`].
    fn cells(&self) -> [String; 7] {
        let time = |nanos: Option<u64>| nanos.map_or("-".to_owned(), shown);
        let verdict = match &self.reason {
            None => "met".to_owned(),
            Some(why) if self.is_generators => format!("not met: {why} (the load generator's doing)"),
            Some(why) => format!("not met: {why}"),
        };
        [
            per_second(self.rate()),
            per_second(self.reached),
            time(self.p50),
            time(self.p99),
            time(self.max),
            grouped(self.errors),
            format!("{}{verdict}", if self.is_full() { "full run: " } else { "" }),
        ]
    }

    fn to_json(&self) -> Value {
        let time = |nanos: Option<u64>| nanos.map(micros);
        json!({
            "rate_per_second": self.rate(),
            "full_run": self.is_full(),
            "seconds": self.lasted.as_secs_f64(),
            "reached_per_second": self.reached,
            "p50_us": time(self.p50),
            "p99_us": time(self.p99),
            "max_us": time(self.max),
            "errors": self.errors,
            "met": self.is_met(),
            "reason": self.reason,
            "load_generator_limit": self.is_generators,
        })
    }
}

impl Searched {
    pub(in crate::bench) fn new(find: &Find, bounds: Bounds, announcement: String) -> Self {
        let is_p99 = |quantity: Quantity| matches!(quantity, Quantity::Percentile { percent: 99.0, .. });
        Self {
            wanted: find.requirements.iter().map(|one| one.text.clone()).collect(),
            limit: find.requirements.iter().find(|one| is_p99(one.quantity)).map(|one| one.limit),
            bounds,
            announcement,
            trials: Vec::new(),
            end: None,
            bracket: (None, None),
        }
    }

    pub(in crate::bench) fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// What stands below [`TRIAL_TITLES`], trial by trial.
    pub(super) fn rows(&self) -> impl Iterator<Item = [String; 7]> {
        self.trials.iter().map(Trial::cells)
    }

    /// The trials by their rates, the last one where a rate had several.
    pub(super) fn curve(&self) -> Vec<&Trial> {
        let mut curve: Vec<&Trial> = Vec::new();
        for trial in &self.trials {
            match curve.binary_search_by(|other| other.rate().total_cmp(&trial.rate())) {
                Ok(place) => curve[place] = trial,
                Err(place) => curve.insert(place, trial),
            }
        }
        curve
    }

    /// In nanoseconds: the limit of p99, where there is one.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit.map(|micros| micros * 1e3)
    }

    pub(in crate::bench) fn add(&mut self, trial: Trial) {
        self.trials.push(trial);
    }

    pub(in crate::bench) fn end(&mut self, end: End, bracket: (Option<f64>, Option<f64>)) {
        (self.end, self.bracket) = (Some(end), bracket);
    }

    /// Whether a full run has confirmed a rate.
    pub(super) fn has_found(&self) -> bool {
        self.end == Some(End::Searched(Stage::Found))
    }

    /// Whether the server was gone, and with it the search.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.end == Some(End::Gone)
    }

    fn found(&self) -> Option<f64> {
        self.bracket.0.filter(|_| self.has_found())
    }

    /// What stands above the rows: how long it takes at the most, and what the columns are.
    pub(in crate::bench) fn head(&self) -> String {
        let [asked, reached, p50, p99, max, errors, _] = TRIAL_TITLES;
        let Bounds { from, first, to } = self.bounds;
        let begin = if first > from { format!(", {} first", per_second(first)) } else { String::new() };
        format!(
            "looking for the highest rate that meets {}, from {} to {} a second{begin}\n{}\n\n{asked:>10}{reached:>11}{p50:>10}{p99:>10}\
             {max:>10}{errors:>9}\n",
            self.wanted.join(" and "),
            per_second(from),
            per_second(to),
            self.announcement,
        )
    }

    /// What stands below them: a picture, and what was found.
    pub(in crate::bench) fn tail(&self) -> String {
        let marks = self
            .trials
            .iter()
            .filter_map(|trial| Some(Mark { x: trial.rate(), y: micros(trial.p99?), is_met: trial.is_met() }));
        let chart = chart(&marks.collect::<Vec<_>>(), self.limit);
        let tolerated = self.tolerated().map(|text| text + "\n").unwrap_or_default();
        format!("\n{chart}\n{}\n{tolerated}\n", self.sentence())
    }

    /// What has come of it, in a line.
    pub(super) fn sentence(&self) -> String {
        let wanted = self.wanted.join(" and ");
        let lowest = self.lowest();
        let meets = match self.bracket.0 {
            Some(met) => format!("{} a second meets {wanted}", per_second(met)),
            None => format!("no rate has met {wanted}"),
        };
        let why = lowest.as_ref().map(|(_, why)| why.as_str()).unwrap_or_default();
        let fails = lowest.as_ref().map_or(String::new(), |(rate, why)| format!(", {rate} does not{why}"));
        match self.end {
            None => format!("not over: {meets}{fails}"),
            Some(End::Interrupted) => format!("interrupted: so far {meets}{fails}"),
            Some(End::Gone) => format!(
                "broken off: the server was gone at {} a second; before, {meets}{fails}",
                self.trials.last().map_or_else(String::new, |trial| per_second(trial.rate()))
            ),
            Some(End::Searched(Stage::Found)) if lowest.is_none() => {
                format!("found: {meets}, and is the highest that was tried (a higher --to looks on)")
            }
            Some(End::Searched(Stage::Unconfirmed)) => format!(
                "not found: {} a second and less met {wanted} in short trials, but not in full runs{why} (try a longer -d)",
                self.trials
                    .iter()
                    .find(|trial| trial.is_full())
                    .map_or_else(String::new, |full| per_second(full.rate()))
            ),
            Some(End::Searched(Stage::Found)) => format!("found: {meets}{fails}"),
            Some(End::Searched(_)) => {
                let from = per_second(self.bounds.from);
                let way_out = if why.starts_with(';') { "" } else { " (try a lower --from)" };
                format!("not found: even {from} a second does not meet {wanted}{why}{way_out}")
            }
        }
    }

    /// The lowest rate that was not met, and why it was not.
    fn lowest(&self) -> Option<(String, String)> {
        let lowest = self.bracket.1?;
        let trial = self.trials.iter().rev().find(|trial| trial.rate() == lowest && !trial.is_met());
        let why = match trial {
            Some(trial) if trial.is_generators => {
                "; that is the load generator's limit and not the server's (give it a CPU of its own, or load from several \
                 processes, 'bench merge')"
                    .to_owned()
            }
            _ => trial.and_then(|trial| trial.reason.as_ref()).map_or_else(String::new, |reason| format!(" ({reason})")),
        };
        Some((per_second(lowest), why))
    }

    /// Trials that were not met though their rate counts as met, if there are any.
    fn tolerated(&self) -> Option<String> {
        let bad: Vec<String> = self.bad().map(|trial| per_second(trial.rate())).collect();
        (!bad.is_empty()).then(|| {
            format!(
                "tolerated: {} of {} trials not met, at rates that were met in two others: {}",
                bad.len(),
                self.trials.len(),
                bad.join(", ")
            )
        })
    }

    fn bad(&self) -> impl Iterator<Item = &Trial> {
        let (met, _) = self.bracket;
        self.trials.iter().filter(move |trial| !trial.is_met() && !trial.is_full() && Some(trial.rate()) <= met)
    }

    /// What is added to the report's last line.
    pub(super) fn last_words(&self) -> String {
        let mut words = " found_per_second=".to_owned();
        match self.found() {
            Some(found) => write!(words, "{found}").expect("a String takes all"),
            None => words.push('-'),
        }
        words
    }

    pub(super) fn to_json(&self) -> Value {
        let end = match self.end {
            None => "none",
            Some(End::Interrupted) => "interrupted",
            Some(End::Gone) => "server_gone",
            Some(End::Searched(Stage::Found)) => "found",
            Some(End::Searched(Stage::Unconfirmed)) => "not_confirmed",
            Some(End::Searched(_)) => "lowest_not_met",
        };
        json!({
            "requirements": self.wanted,
            "from_per_second": self.bounds.from,
            "first_per_second": self.bounds.first,
            "to_per_second": self.bounds.to,
            "most_trials": self.bounds.most_trials().0,
            "end": end,
            "found_per_second": self.found(),
            "met_per_second": self.bracket.0,
            "not_met_per_second": self.bracket.1,
            "told": self.sentence(),
            "tolerated_trials": self.bad().count(),
            "trials": self.trials.iter().map(Trial::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Report {
    /// By how much the typical time grew, compared with the time that passed; 0 where it did not. Requests that come so
    /// much faster than answers make it grow: each waits for those before it.
    fn growth(&self) -> f64 {
        let (kind, _) = self.main_times();
        let rise = percentile_trend(self.blocks.times(kind), 50.0).filter(Trend::is_rise);
        let nanos = rise.map_or(0.0, |rise| rise.to - rise.from);
        // From the middle of the first quarter to that of the last.
        nanos / 1e9 / (0.75 * self.seconds).max(f64::MIN_POSITIVE)
    }

    /// Keeps the search that it is the end of.
    pub(in crate::bench) fn tell_of_search(&mut self, searched: &Searched) {
        self.about["search"] = searched.to_json();
    }
}
