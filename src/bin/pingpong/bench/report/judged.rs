//! Whether a report comes to what is required of it, and how that is told.

use std::fmt;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::intervals::Interval;
use super::text::{grouped, per_second, rate as rate_told, shown};
use super::warnings::BEYOND;
use super::{Cut, Report, micros};
use crate::bench::record::{Fact, ProbePart, values_of};
use crate::bench::requirement::{Comparison, Kind, Quantity, Requirement, Unit};

/// A requirement, and what a run has come to.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    requirement: Requirement,
    /// In the unit of its quantity; `None` where it is not known, or without a bound.
    measured: Option<f64>,
    /// The ends of its interval, where it has one.
    interval: Option<Interval>,
    /// Why it is not met.
    unmet: Option<Unmet>,
}

/// Why a requirement is not met.
#[derive(Clone, Debug)]
enum Unmet {
    /// The figure does not keep to the limit.
    Measured,
    /// It is not known well enough, or is no figure of a whole run.
    Because(String),
}

/// A figure as far as it is known.
enum Known {
    Value(f64),
    /// So large that there is no number: requests without a right answer are among those that it would be the time of.
    Endless(String),
    Not(String),
}

/// The part of a limit that a figure comes to at most where it keeps to it clearly.
const ROOM: f64 = 0.8;

impl Judged {
    pub(super) fn is_met(&self) -> bool {
        self.unmet.is_none()
    }

    /// In a line: what was required, and why it is not so.
    pub(super) fn complaint(&self) -> Option<String> {
        self.reason().map(|why| format!("{} is not met: {why}", self.requirement))
    }

    /// The same in few words.
    pub(super) fn short_complaint(&self) -> Option<String> {
        self.reason().map(|why| format!("{}: {why}", self.requirement))
    }

    /// Whether it is met by so much that it would be so another time, too.
    pub(super) fn has_room(&self) -> bool {
        let limit = self.requirement.limit;
        let is_clear = |measured: f64| match self.requirement.comparison {
            Comparison::Below | Comparison::AtMost => measured <= ROOM * limit,
            Comparison::Above | Comparison::AtLeast => measured * ROOM >= limit,
            Comparison::Equal => true,
        };
        self.is_met() && self.measured.is_none_or(is_clear)
    }

    /// Why it is not met.
    fn reason(&self) -> Option<String> {
        Some(match self.unmet.as_ref()? {
            Unmet::Measured => {
                let measured = self.measured.map(|value| told(value, self.requirement.quantity.unit()));
                format!("it is {}", measured.unwrap_or_default())
            }
            Unmet::Because(why) => why.clone(),
        })
    }

    /// Whether it is not met because of a time that was measured: a load generator that is too slow makes times longer, but
    /// loses no answers and ends no server.
    pub(super) fn is_measured_time(&self) -> bool {
        let is_time = matches!(self.requirement.quantity, Quantity::Percentile { .. } | Quantity::End { .. });
        is_time && matches!(self.unmet, Some(Unmet::Measured))
    }

    pub(super) fn text(&self) -> &str {
        &self.requirement.text
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "expr": self.requirement.text,
            "measured": self.measured,
            "low": self.interval.map(|interval| interval.low),
            "high": self.interval.map(|interval| interval.high),
            "unit": self.requirement.quantity.unit().name(),
            "met": self.is_met(),
            "reason": self.reason(),
        })
    }
}

impl Report {
    /// Holds the figures against these requirements.
    pub(in crate::bench) fn judge(&mut self, requirements: &[Requirement]) {
        self.requirements = requirements.iter().map(|requirement| self.judged(requirement)).collect();
    }

    /// Whether it comes to all that is required of it.
    pub(crate) fn meets_requirements(&self) -> bool {
        self.requirements.iter().all(Judged::is_met)
    }

    fn judged(&self, requirement: &Requirement) -> Judged {
        let Requirement { quantity, comparison, limit, .. } = *requirement;
        let known = self.known(quantity);
        let is_kept = |value: f64| comparison.holds(value, limit);
        let (measured, unmet) = match known {
            Known::Value(value) if is_kept(value) => (Some(value), self.is_too_few(quantity).map(Unmet::Because)),
            Known::Value(value) => (Some(value), Some(Unmet::Measured)),
            Known::Endless(_) if is_kept(f64::INFINITY) => (None, None),
            Known::Endless(why) | Known::Not(why) => (None, Some(Unmet::Because(why))),
        };
        Judged {
            requirement: requirement.clone(),
            measured,
            interval: measured.and_then(|_| self.interval_of(quantity)),
            unmet: self.is_no_whole().map(Unmet::Because).or(unmet),
        }
    }

    /// Why no figure of this run can be relied on.
    fn is_no_whole(&self) -> Option<String> {
        if let Some(gone_after) = self.gone_after_seconds {
            let is_silent = self.cut() == Some(Cut::Silent);
            return Some(match gone_after {
                0.0 if is_silent => "the server answered nothing in the measured time".to_owned(),
                0.0 => self.never_there().to_owned(),
                _ if is_silent => format!("the server answered nothing after {gone_after:.1} s"),
                _ => format!("the server was gone after {gone_after:.1} s"),
            });
        }
        if self.is_partial {
            return Some(match self.measured {
                None => "interrupted before it began to measure".to_owned(),
                Some(_) => format!("interrupted after {:.1} s", self.seconds),
            });
        }
        (self.counts[Fact::Requests] + self.counts[Fact::Late] == 0).then(|| "nothing was answered".to_owned())
    }

    fn known(&self, quantity: Quantity) -> Known {
        let count = |fact: Fact| self.counts[fact] as f64;
        let share = |part: f64, fact: Fact| match self.base(fact) {
            0.0 => Known::Not("there was none of them".to_owned()),
            base => Known::Value(part / base),
        };
        match quantity {
            Quantity::Count(fact) if fact.is_of_heartbeats() && !self.has_heartbeats => not_known(),
            Quantity::Count(fact) if fact.is_of_the_probe() && self.probe.is_none() => not_known(),
            Quantity::Count(fact) => Known::Value(count(fact)),
            Quantity::Errors => Known::Value(self.counts.errors() as f64),
            Quantity::ShareOf(fact) => share(count(fact), fact),
            Quantity::ShareOfErrors => share(self.counts.errors() as f64, Fact::Requests),
            Quantity::Percentile { kind, percent } => self.known_time(kind, percent),
            Quantity::End { kind, percent, is_high } => match self.interval_of_time(kind, percent) {
                Some(interval) => Known::Value(if is_high { interval.high } else { interval.low }),
                None => Known::Not("not enough answers to tell: there is no interval".to_owned()),
            },
            Quantity::Figure(name, _) => self.metrics()[name].as_f64().map_or_else(not_known, Known::Value),
        }
    }

    /// What a count is a share of: of all connections asked for, heartbeats due, requests due.
    fn base(&self, fact: Fact) -> f64 {
        let count = |fact: Fact| self.counts[fact] as f64;
        match fact {
            Fact::IdleHeld | Fact::IdleSilent => count(Fact::ConnectionsRequested),
            _ if fact.name().starts_with("connections_") => count(Fact::ConnectionsRequested),
            _ if fact.is_of_heartbeats() => count(Fact::Heartbeats),
            _ if fact.is_of_the_probe() => count(Fact::Probes),
            _ => count(Fact::Sent) + count(Fact::Unsent),
        }
    }

    /// A percentile over all requests that were due: one without a right answer took longer than any that has one.
    fn known_time(&self, kind: Kind, percent: f64) -> Known {
        let Some(times) = self.times_of(kind) else { return not_known() };
        let missing = self.missing(kind);
        let (answered, all) = (times.len(), times.len() + missing);
        if answered == 0 {
            return Known::Not("nothing was answered".to_owned());
        }
        let rank = rank(percent, all);
        if rank > answered {
            let what = if kind == Kind::Lag { "were never sent" } else { "got no right answer" };
            return Known::Endless(format!("{} of {} requests {what}", grouped(missing), grouped(all)));
        }
        Known::Value(micros(at_rank(times, rank)))
    }

    /// The same in nanoseconds, or why there is none.
    pub(super) fn time_over_all(&self, kind: Kind, percent: f64) -> Result<f64, String> {
        match self.known_time(kind, percent) {
            Known::Value(micros) => Ok(micros * 1e3),
            Known::Endless(why) | Known::Not(why) => Err(why),
        }
    }

    /// Which percentile of the requests that were answered is this one of all that were due: a higher one.
    pub(super) fn percent_of_answered(&self, kind: Kind, percent: f64) -> Option<f64> {
        let answered = self.times_of(kind)?.len();
        Some(match self.missing(kind) {
            0 => percent,
            missing => rank(percent, answered + missing) as f64 / answered as f64 * 100.0,
        })
    }

    /// That too few answers lie beyond a percentile for it to mean something.
    fn is_too_few(&self, quantity: Quantity) -> Option<String> {
        let Quantity::Percentile { kind, percent } = quantity else { return None };
        // The longest of them is what it is.
        let beyond = (100.0 - percent) / 100.0;
        let answers = self.times_of(kind)?.len() + self.missing(kind);
        let is_too_few = percent < 100.0 && answers as f64 * beyond < BEYOND;
        is_too_few.then(|| {
            let least = (BEYOND / beyond).round() as u64;
            format!("not enough answers to tell: {}, and {} are the least", grouped(answers), grouped(least))
        })
    }

    fn times_of(&self, kind: Kind) -> Option<&Histogram<u64>> {
        match kind {
            Kind::Main => Some(self.main_times().1),
            Kind::Service => Some(&self.service),
            Kind::Response => self.response.as_ref(),
            Kind::Lag => self.lag.as_ref(),
            Kind::Probe(part) => self.probe.as_ref().map(|probe| probe.of(part)),
        }
    }

    /// Requests that have no such time. The lag of those that a warm-up left over is not counted, either.
    pub(super) fn missing(&self, kind: Kind) -> u64 {
        let sum = |facts: &[Fact]| facts.iter().map(|fact| self.counts[*fact]).sum::<u64>();
        let unanswered = [Fact::Wrong, Fact::Lost, Fact::Refused, Fact::Broken, Fact::Unfinished];
        let of_the_probe = [Fact::ProbesWrong, Fact::ProbesLost, Fact::ProbesBroken, Fact::ProbesUnfinished];
        match kind {
            Kind::Lag => sum(&[Fact::Unsent]),
            // What was never sent took no time to serve.
            Kind::Service => sum(&unanswered),
            Kind::Main if !self.is_open() => sum(&unanswered),
            Kind::Main | Kind::Response => sum(&unanswered) + sum(&[Fact::Unsent]),
            Kind::Probe(ProbePart::Lag) => sum(&[Fact::ProbesUnsent]),
            Kind::Probe(ProbePart::Whole) => sum(&of_the_probe) + sum(&[Fact::ProbesUnsent]),
            Kind::Probe(ProbePart::Service | ProbePart::Away) => sum(&of_the_probe),
            // Only the way of an answer tells of them.
            Kind::Probe(ProbePart::Sending | ProbePart::Reading) => 0,
        }
    }

    /// A figure's interval.
    fn interval_of(&self, quantity: Quantity) -> Option<Interval> {
        match quantity {
            Quantity::Percentile { kind, percent } if percent < 100.0 => self.interval_of_time(kind, percent),
            Quantity::Figure("requests_per_second", _) => self.rate_interval().ok(),
            _ => None,
        }
    }

    /// In microseconds, of a percentile over all requests that were due: a higher one of those that were answered.
    fn interval_of_time(&self, kind: Kind, percent: f64) -> Option<Interval> {
        let percent = self.percent_of_answered(kind, percent)?;
        let name = Kind::ALL.into_iter().find(|(_, other)| *other == kind).map(|(name, _)| name);
        let name = name.unwrap_or(self.main_times().0);
        let interval = (percent < 100.0).then(|| self.interval(name, percent).ok()).flatten()?;
        Some(Interval { low: interval.low / 1e3, high: interval.high / 1e3, ..interval })
    }
}

/// Which of so many times is the percentile, from the shortest one on.
fn rank(percent: f64, count: u64) -> u64 {
    ((percent * count as f64 / 100.0 + 0.5) as u64).clamp(1, count.max(1))
}

fn not_known() -> Known {
    Known::Not("it is not known".to_owned())
}

/// The time of the answer that so many were not slower than, itself included.
fn at_rank(times: &Histogram<u64>, rank: u64) -> u64 {
    let mut below = 0;
    let values = values_of(times).into_iter();
    let mut from = values.skip_while(|(_, count)| {
        below += count;
        below < rank
    });
    from.next().map_or_else(|| times.max(), |(value, _)| value)
}

/// A figure for people.
fn told(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Times => grouped(value as u64),
        Unit::PerSecond => format!("{} a second", per_second(value)),
        Unit::Micros => shown((value * 1e3).round() as u64),
        Unit::Seconds => shown((value * 1e9).round() as u64),
        Unit::Share => format!("{} %", rate_told(value * 100.0)),
    }
}

/// What a row of the table has: step, requirement, what was measured with its interval, outcome.
pub(super) fn row(step: String, judged: &Judged) -> [String; 4] {
    let unit = judged.requirement.quantity.unit();
    let interval = judged.interval.map(|Interval { low, high, is_rough }| {
        let mark = if is_rough { "~" } else { "" };
        let [low, high] = [low, high].map(|end| told(end, unit).replace(" a second", ""));
        format!(" {mark}[{low} .. {high}]")
    });
    let measured = judged.measured.map_or("-".to_owned(), |value| told(value, unit));
    let outcome = match &judged.unmet {
        None => "met".to_owned(),
        Some(Unmet::Measured) => "not met".to_owned(),
        Some(Unmet::Because(why)) => format!("not met: {why}"),
    };
    [step, judged.text().to_owned(), measured + &interval.unwrap_or_default(), outcome]
}

/// The table of requirements, each with the step that it is about, if there are several.
pub(super) fn table<'a>(f: &mut fmt::Formatter<'_>, rows: impl Iterator<Item = (String, &'a Judged)>) -> fmt::Result {
    let rows: Vec<[String; 4]> = rows.map(|(step, judged)| row(step, judged)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let width = |column: usize, title: &str| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default().max(title.len())
    };
    let steps = if rows.iter().all(|row| row[0].is_empty()) { 0 } else { width(0, "step") + 2 };
    let (texts, figures) = (width(1, "required") + 2, width(2, "measured") + 2);
    let titles = ["step", "required", "measured", ""].map(str::to_owned);
    writeln!(f)?;
    for [step, text, measured, outcome] in [titles].iter().chain(&rows) {
        let step = if steps == 0 { "" } else { step };
        let row = format!("{step:<steps$}{text:<texts$}{measured:<figures$}{outcome}");
        writeln!(f, "{}", row.trim_end())?;
    }
    Ok(())
}
