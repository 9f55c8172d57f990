//! Adds up the reports of loads that ran at the same time, on several machines or in several processes, as if they had
//! been one load; and tells what is no such load (`alike`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::alike::{self, Span};
use super::blocks::Blocks;
use super::{Mismatch, Report, Results, program, settings};
use crate::bench::record::{Cost, Transport};
use crate::bench::requirement::Requirement;
use crate::error::Error;

/// The results added up so far, step by step.
#[derive(Debug)]
pub(crate) struct Sums {
    force: bool,
    steps: Vec<Sum>,
    /// The first file, and how many steps it was to have.
    first: Option<(PathBuf, usize)>,
}

impl Sums {
    pub(crate) fn new(force: bool) -> Self {
        Self { force, steps: Vec::new(), first: None }
    }

    /// Adds results. Fails where they cannot be a part of the same load as those before.
    pub(crate) fn add(&mut self, file: &Path, results: Results) -> Result<(), Error> {
        let (planned, reports) = (results.planned(), results.into_reports());
        let (first, steps) = self.first.get_or_insert_with(|| (file.to_owned(), planned));
        if self.steps.is_empty() {
            self.steps = reports.iter().map(|_| Sum::new(self.force)).collect();
        }
        // Steps stand side by side: not even by force can some be added up and others not.
        if (planned, reports.len()) != (*steps, self.steps.len()) {
            let why = Mismatch::Differs {
                what: "the number of steps (--rate)",
                first: self.steps.len().to_string(),
                second: reports.len().to_string(),
            };
            return Err(Error::NotOneLoad { first: first.clone(), second: file.to_owned(), why });
        }
        self.steps.iter_mut().zip(reports).try_for_each(|(sum, report)| sum.add(file, report))
    }

    /// The sums, held against these requirements; `None` of no results.
    pub(crate) fn into_results(self, requirements: &[Requirement]) -> Option<Results> {
        let (_, planned) = self.first?;
        let mut reports = self.steps.into_iter().map(Sum::into_report).collect::<Option<Vec<_>>>()?;
        reports.iter_mut().for_each(|report| report.judge(requirements));
        Some(Results::new(reports, planned))
    }
}

/// The reports added up so far.
#[derive(Debug)]
struct Sum {
    /// What is no one load is added up all the same, and the report says so.
    force: bool,
    reports: Vec<Report>,
    parts: Vec<Part>,
    /// What was found to be no one load.
    forced: Vec<Value>,
}

/// One load in the sum.
#[derive(Debug)]
struct Part {
    /// The file that it came with.
    file: PathBuf,
    /// As it stands in the JSON of a sum.
    run: Value,
}

impl Sum {
    fn new(force: bool) -> Self {
        Self { force, reports: Vec::new(), parts: Vec::new(), forced: Vec::new() }
    }

    /// Adds a report. Fails where it cannot be a part of the same load as those before.
    fn add(&mut self, file: &Path, report: Report) -> Result<(), Error> {
        let runs = report.runs(file);
        // What is in one file has been compared when it was written.
        let before = self.parts.iter().map(|part| &part.run);
        for (place, why) in runs.iter().filter_map(|run| alike::mismatch(before.clone(), run)) {
            let (first, second) = (self.parts[place].file.clone(), file.to_owned());
            if !self.force {
                return Err(Error::NotOneLoad { first, second, why });
            }
            self.forced.push(format!("{} and {}: {why}", first.display(), second.display()).into());
        }
        self.parts.extend(runs.into_iter().map(|run| Part { file: file.to_owned(), run }));
        self.forced.extend(report.about["forced"].as_array().into_iter().flatten().cloned());
        self.reports.push(report);
        Ok(())
    }

    /// The sum; `None` of no reports.
    fn into_report(self) -> Option<Report> {
        let Self { reports, parts, forced, .. } = self;
        let time = (reports.len() > 1).then(|| Time::of(&reports));
        let mut reports = reports.into_iter();
        let mut sum = reports.next()?;
        reports.for_each(|report| sum.add(report));
        let runs: Vec<Value> = parts.into_iter().map(|part| part.run).collect();
        if let Some(time) = time {
            sum.title = settings::title_of_sum(&runs, forced.is_empty());
            (sum.measured, sum.seconds, sum.blocks) = (time.span, time.seconds, time.blocks);
            (sum.per_second, sum.asked_per_second) = (time.per_second, time.asked_per_second);
        }
        let about = if forced.is_empty() {
            json!({ "program": program(), "runs": runs })
        } else {
            json!({ "program": program(), "runs": runs, "forced": forced })
        };
        Some(Report { about, ..sum })
    }
}

/// The time of a sum, and the rates in it.
struct Time {
    span: Option<Span>,
    /// None where they ran at other times.
    blocks: Blocks,
    seconds: f64,
    per_second: f64,
    asked_per_second: Option<f64>,
}

impl Time {
    /// Of loads at the same time, rates add up, over the time that they have in common. Otherwise what they have done
    /// spreads over all the time in which any of them measured.
    fn of(reports: &[Report]) -> Self {
        let seconds = |report: &Report| report.seconds;
        let spans: Option<Vec<Span>> = reports.iter().map(|report| report.measured).collect();
        let apart = spans.as_ref().filter(|spans| !alike::are_together(spans));
        let (span, seconds) = match (apart, &spans) {
            (Some(spans), _) => (Span::around(spans), alike::covered(spans)),
            (None, Some(spans)) => (Span::common(spans), Span::common(spans).map_or(0.0, |span| span.seconds())),
            (None, None) => (None, reports.iter().map(seconds).reduce(f64::min).unwrap_or_default()),
        };
        let weight =
            |report: &Report| if apart.is_some() { report.seconds / seconds.max(f64::MIN_POSITIVE) } else { 1.0 };
        let runs: Vec<Blocks> = reports.iter().map(|report| report.blocks.clone()).collect();
        Self {
            span,
            blocks: span.filter(|_| apart.is_none()).map(|common| Blocks::sum(&runs, common)).unwrap_or_default(),
            seconds,
            per_second: reports.iter().map(|report| report.per_second * weight(report)).sum(),
            // Of some of the loads it would be taken for that of all.
            asked_per_second: reports.iter().map(|report| Some(report.asked_per_second? * weight(report))).sum(),
        }
    }
}

impl Report {
    /// The loads in it, as they stand in the JSON of a sum: itself, or those that it is the sum of.
    pub(super) fn runs(&self, file: &Path) -> Vec<Value> {
        if let Some(runs) = self.about["runs"].as_array() {
            return runs.clone();
        }
        vec![json!({
            "file": file.display().to_string(),
            "title": self.title,
            "measured": self.measured.map(|span| [span.from, span.until]),
            "metrics": self.metrics(),
            "run": self.about,
        })]
    }

    fn add(&mut self, other: Self) {
        self.is_partial |= other.is_partial;
        self.is_budgeted |= other.is_budgeted;
        self.longest_pause_seconds = self.longest_pause_seconds.max(other.longest_pause_seconds);
        self.connect_seconds = self.connect_seconds.max(other.connect_seconds);
        self.counts.add(&other.counts);
        self.is_crowded |= other.is_crowded;
        self.churn_ports = both(self.churn_ports, other.churn_ports, |a, b| a + b);
        add_reasons(&mut self.refusals, other.refusals);
        add_reasons(&mut self.hindrances, other.hindrances);
        self.mistakes.wrong = self.mistakes.wrong.take().or(other.mistakes.wrong);
        self.mistakes.unasked = self.mistakes.unasked.take().or(other.mistakes.unasked);
        self.is_by_order |= other.is_by_order;
        self.allows_failures &= other.allows_failures;
        self.has_heartbeats |= other.has_heartbeats;
        // The server is gone from the sum when it is gone from any part.
        self.gone_after_seconds =
            [self.gone_after_seconds, other.gone_after_seconds].into_iter().flatten().reduce(f64::min);
        add(&mut self.service, &other.service);
        // The response times of one load would be taken for those of both.
        self.response = both(self.response.take(), other.response, added);
        self.lag = both(self.lag.take(), other.lag, added);
        // A probe beside several loads belongs to all of them.
        self.probe = match (self.probe.take(), other.probe) {
            (Some(mut probe), Some(other)) => {
                probe.add(&other);
                Some(probe)
            }
            (one, other) => one.or(other),
        };
        self.transport = both(self.transport.take(), other.transport, Transport::plus);
        self.cost = both(self.cost, other.cost, Cost::plus);
    }
}

pub(super) fn add_reasons(sum: &mut BTreeMap<String, u64>, other: BTreeMap<String, u64>) {
    for (why, count) in other {
        *sum.entry(why).or_default() += count;
    }
}

pub(super) fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).expect("it grows");
}

pub(super) fn added(mut sum: Histogram<u64>, other: Histogram<u64>) -> Histogram<u64> {
    add(&mut sum, &other);
    sum
}

/// The sum of two figures; none where one of the loads has none.
pub(super) fn both<T>(a: Option<T>, b: Option<T>, plus: impl FnOnce(T, T) -> T) -> Option<T> {
    a.zip(b).map(|(a, b)| plus(a, b))
}
