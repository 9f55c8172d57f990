//! Adds up the reports of loads that ran at the same time, on several machines or in several processes, as if they had
//! been one load; and tells what is no such load (`alike`, `together`).
//!
//! A report is added when it comes, and then forgotten: what is kept of each is how it stands in the JSON of the sum, and
//! there may be thousands.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::alike::{self, Register, Span};
use super::blocks::BlockSums;
use super::together::{self, Member};
use super::{Mismatch, Report, Results, program, settings};
use crate::bench::record::{Cost, Transport};
use crate::bench::requirement::Requirement;
use crate::error::Error;

/// Parts of a load, at the most.
const MOST_PARTS: u64 = 1_000_000;

/// What is added up all the same, and told of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// What is no one load.
    pub(crate) force: bool,
    /// A load of which parts are missing.
    pub(crate) partial: bool,
}

/// The results added up so far, step by step.
#[derive(Debug)]
pub(crate) struct Sums {
    allowed: Allowed,
    steps: Vec<Sum>,
    /// What the first results are called, and how many steps they were to have.
    first: Option<(String, usize)>,
    /// Files without a byte in them.
    empty: Vec<String>,
}

impl Sums {
    pub(crate) fn new(allowed: Allowed) -> Self {
        Self { allowed, steps: Vec::new(), first: None, empty: Vec::new() }
    }

    /// Adds results, which are called so. Fails where they cannot be a part of the same load as those before.
    pub(crate) fn add(&mut self, name: &str, results: Results) -> Result<(), Error> {
        let (planned, reports) = (results.planned(), results.into_reports());
        let (first, steps) = self.first.get_or_insert_with(|| (name.to_owned(), planned));
        if self.steps.is_empty() {
            self.steps = reports.iter().map(|_| Sum::new(self.allowed)).collect();
        }
        // Steps stand side by side: not even by force can some be added up and others not.
        if planned != *steps {
            let counts = (*steps, planned);
            return Err(Error::OtherSteps { first: first.clone(), second: name.to_owned(), counts });
        }
        if reports.len() != self.steps.len() {
            let (name, measured) = match reports.len() < self.steps.len() {
                true => (name, reports.len()),
                false => (&**first, self.steps.len()),
            };
            return Err(Error::FewerSteps { name: name.to_owned(), measured, planned });
        }
        self.steps.iter_mut().zip(reports).try_for_each(|(sum, report)| sum.add(name, report))
    }

    /// There is a file that was made for results, and has none.
    pub(crate) fn note_empty(&mut self, name: String) {
        self.empty.push(name);
    }

    /// The sums, held against these requirements; `None` of no results. Fails where they are not one load, and all of it.
    pub(crate) fn into_results(self, requirements: &[Requirement]) -> Result<Option<Results>, Error> {
        let Self { allowed, steps, first, empty } = self;
        let because = (!empty.is_empty()).then(|| told_of_empty(&empty));
        // Of parts it is known which are missing; of other runs an empty file is all that tells.
        let may_be_missing = allowed.partial || allowed.force || steps.iter().all(Sum::is_of_parts);
        if let Some(why) = because.clone().filter(|_| first.is_none() || !may_be_missing) {
            return Err(Error::EmptyFiles { why, has_others: first.is_some() });
        }
        let Some((_, planned)) = first else { return Ok(None) };
        let reports = steps.into_iter().filter_map(|sum| sum.into_report(because.as_deref()).transpose());
        let mut reports = reports.collect::<Result<Vec<_>, _>>()?;
        for report in &mut reports {
            if !empty.is_empty() {
                report.about["empty_files"] = json!(empty);
            }
            report.judge(requirements);
        }
        Ok(Some(Results::new(reports, planned)))
    }
}

/// The reports added up so far.
#[derive(Debug)]
struct Sum {
    allowed: Allowed,
    /// All but its time and what depends on that.
    sum: Option<Report>,
    times: Vec<Measured>,
    blocks: BlockSums,
    parts: Vec<Part>,
    register: Register,
    /// What was found to be no one load.
    forced: Vec<Value>,
}

/// One load in the sum.
#[derive(Debug)]
struct Part {
    /// What the results that it came with are called.
    name: String,
    /// As it stands in the JSON of a sum.
    run: Value,
}

impl Sum {
    fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            sum: None,
            times: Vec::new(),
            blocks: BlockSums::default(),
            parts: Vec::new(),
            register: Register::default(),
            forced: Vec::new(),
        }
    }

    /// Adds a report. Fails where it cannot be a part of the same load as those before.
    fn add(&mut self, name: &str, mut report: Report) -> Result<(), Error> {
        let runs = report.runs(name);
        // What is in one file has been compared when it was written.
        if let Some(first) = self.parts.first() {
            let found = runs.iter().filter_map(|run| self.register.mismatch(&first.run, run));
            for (place, why) in found.collect::<Vec<_>>() {
                self.refuse(self.parts[place].name.clone(), name.to_owned(), why)?;
            }
        }
        runs.iter().for_each(|run| self.register.add(run));
        self.parts.extend(runs.into_iter().map(|run| Part { name: name.to_owned(), run }));
        self.forced.extend(report.about["forced"].as_array().into_iter().flatten().cloned());
        self.times.push(Measured::of(&report));
        self.blocks.add(mem::take(&mut report.blocks));
        if report.about["blocks_left_out"] == true {
            self.blocks.leave_out();
        }
        match &mut self.sum {
            Some(sum) => sum.add(report),
            None => self.sum = Some(report),
        }
        Ok(())
    }

    /// Fails, unless what is no one load is added up all the same.
    fn refuse(&mut self, first: String, second: String, why: Mismatch) -> Result<(), Error> {
        if !self.allowed.force {
            return Err(Error::NotOneLoad { first, second, why });
        }
        self.forced.push(format!("{first} and {second}: {why}").into());
        Ok(())
    }

    /// Whether it is known how many parts there are.
    fn is_of_parts(&self) -> bool {
        self.parts.iter().any(|part| alike::part_of(&part.run).is_some())
    }

    /// The sum; `None` of no reports. Fails where parts are missing, for the reason that is known, or have not measured at
    /// the same time.
    fn into_report(mut self, because: Option<&str>) -> Result<Option<Report>, Error> {
        let (missing, all) = missing(&self.parts);
        if !missing.is_empty() && !self.allowed.partial && !self.allowed.force {
            return Err(Error::MissingParts { missing: listed(&missing), all, because: because.map(str::to_owned) });
        }
        if self.times.len() > 1 {
            let members: Vec<Member<'_>> =
                self.parts.iter().map(|part| Member { name: &part.name, run: &part.run }).collect();
            for (first, second, why) in together::troubles(&members) {
                self.refuse(first, second, why)?;
            }
        }
        let Self { allowed, sum, times, blocks, mut parts, forced, .. } = self;
        let Some(mut sum) = sum else { return Ok(None) };
        let are_many = blocks.are_many();
        // In whichever order they came.
        parts.sort_by_key(|part| alike::part_of(&part.run));
        let runs: Vec<Value> = parts.into_iter().map(|part| part.run).collect();
        match times.len() {
            1 => sum.blocks = blocks.only(),
            _ => {
                sum.title = settings::title_of_sum(&runs, forced.is_empty());
                sum.written = Value::Null;
                sum.take_time(&times, blocks);
            }
        }
        let mut about = json!({ "program": program(), "runs": runs });
        if are_many {
            about["blocks_left_out"] = true.into();
        }
        for (name, list) in [("forced", Value::from(forced)), ("missing_parts", Value::from(missing))] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                about[name] = list;
            }
        }
        if !about["missing_parts"].is_null() {
            about["missing_parts_by"] = if allowed.partial { "--partial" } else { "--force" }.into();
        }
        Ok(Some(Report { about, ..sum }))
    }
}

/// The parts of a load that are not there, and how many parts it has.
fn missing(parts: &[Part]) -> (Vec<u64>, u64) {
    let mut known = parts.iter().filter_map(|part| alike::part_of(&part.run)).peekable();
    let all = known.peek().map_or(0, |(_, all)| *all);
    let known: BTreeSet<u64> = known.map(|(part, _)| part).collect();
    ((1..=all.min(MOST_PARTS)).filter(|part| !known.contains(part)).collect(), all)
}

/// That these files have no byte in them.
pub(super) fn told_of_empty(files: &[impl AsRef<str>]) -> String {
    /// More of them are a number.
    const MOST: usize = 4;
    let names: Vec<&str> = files.iter().take(MOST).map(AsRef::as_ref).collect();
    match (files.len(), names.join(", ")) {
        (1, name) => format!("{name} is empty: its run was ended before it could write"),
        (all, names) => {
            let others = if all > MOST { format!(" and {} others", all - MOST) } else { String::new() };
            format!("{names}{others} are empty: their runs were ended before they could write")
        }
    }
}

/// Numbers of parts for people: `2 and 7–9`.
pub(super) fn listed(parts: &[u64]) -> String {
    /// More of them are a number.
    const MOST: usize = 8;
    let runs: Vec<&[u64]> = parts.chunk_by(|part, next| part + 1 == *next).collect();
    let told = |run: &&[u64]| match run {
        [first, .., last] => format!("{first}–{last}"),
        _ => run[0].to_string(),
    };
    let mut texts: Vec<String> = runs.iter().take(MOST).map(told).collect();
    let others: usize = runs.iter().skip(MOST).map(|run| run.len()).sum();
    if others > 0 {
        texts.push(format!("{others} others"));
    }
    match texts.split_last() {
        Some((last, [_, ..])) => format!("{} and {last}", texts[..texts.len() - 1].join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// The time of a report, and its rates.
#[derive(Clone, Copy, Debug)]
struct Measured {
    span: Option<Span>,
    seconds: f64,
    per_second: f64,
    asked_per_second: Option<f64>,
}

impl Measured {
    fn of(report: &Report) -> Self {
        let Report { measured: span, seconds, per_second, asked_per_second, .. } = *report;
        Self { span, seconds, per_second, asked_per_second }
    }
}

impl Report {
    /// Of loads at the same time, rates add up, over the time that they have in common. Otherwise what they have done
    /// spreads over all the time in which any of them measured, and there are no blocks.
    fn take_time(&mut self, times: &[Measured], blocks: BlockSums) {
        let spans: Option<Vec<Span>> = times.iter().map(|time| time.span).collect();
        let apart = spans.as_ref().filter(|spans| !alike::are_together(spans));
        (self.measured, self.seconds) = match (apart, &spans) {
            (Some(spans), _) => (Span::around(spans), alike::covered(spans)),
            (None, Some(spans)) => (Span::common(spans), Span::common(spans).map_or(0.0, |span| span.seconds())),
            (None, None) => (None, times.iter().map(|time| time.seconds).reduce(f64::min).unwrap_or_default()),
        };
        let all = self.seconds.max(f64::MIN_POSITIVE);
        let weight = |time: &Measured| if apart.is_some() { time.seconds / all } else { 1.0 };
        self.blocks = self.measured.filter(|_| apart.is_none()).map(|common| blocks.sum(common)).unwrap_or_default();
        self.per_second = times.iter().map(|time| time.per_second * weight(time)).sum();
        // Of some of the loads it would be taken for that of all.
        self.asked_per_second = times.iter().map(|time| Some(time.asked_per_second? * weight(time))).sum();
    }

    /// The loads in it, as they stand in the JSON of a sum: itself, or those that it is the sum of.
    pub(super) fn runs(&self, name: &str) -> Vec<Value> {
        if let Some(runs) = self.about["runs"].as_array() {
            return runs.clone();
        }
        let mut run = json!({
            "file": name,
            "title": self.title,
            "partial": self.is_partial,
            "measured": self.measured.map(|span| [span.from, span.until]),
        });
        // Within `json!` they would be copied piece by piece.
        run["metrics"] = if self.written.is_null() { self.metrics() } else { self.written.clone() };
        run["run"] = self.about.clone();
        vec![run]
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
        add_reasons(&mut self.refused_reasons, other.refused_reasons);
        add_reasons(&mut self.hindrances, other.hindrances);
        self.mistakes.wrong = self.mistakes.wrong.take().or(other.mistakes.wrong);
        self.mistakes.unasked = self.mistakes.unasked.take().or(other.mistakes.unasked);
        self.was_answered |= other.was_answered;
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
