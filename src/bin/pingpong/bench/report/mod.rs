//! The report of a load: its figures, computed here once, and shown as text or JSON.
//!
//! A report is made from a load that has run, or read back from JSON.
//!
//! - `text`, `json`: show a report; `hdr`: the histograms as a log for other tools
//! - `results`: several reports of one run, step by step
//! - `searched`: a search for a rate, trial by trial; `chart`: its picture
//! - `judged`: whether a report comes to what is required of it
//! - `warnings`: which figures cannot be trusted, and why; `settings`: what was asked for
//! - `blocks`: the run in blocks; `intervals`: how sure figures are, by these
//! - `versus`: several servers by turns; `turns`: those of each, added up
//! - `change`: earlier runs and later ones; `ratios`: the figures of two beside each other; `standstill`: what these hardly
//!   tell of
//! - `merge`: adds up several reports; `alike`: those that are parts of one load; `together`: those that measured at the
//!   same time; `parts`: each of them beside the others
//! - `scan`: finds results in other text; `sheet`: reads their JSON; `proof`: whether they are as they were written
//! - `probe`: the probe's block, and its part of the JSON
//! - `page`: a page for a browser, with pictures
//! - `files`: where results go; `result_file`: one of their files
//! - `progress`: what a terminal shows while a load runs

mod alike;
mod blocks;
mod change;
mod chart;
pub(super) mod files;
pub(super) mod hdr;
mod intervals;
mod json;
mod judged;
mod merge;
mod page;
mod parts;
mod pieces;
mod probe;
pub(super) mod progress;
mod proof;
mod ratios;
mod result_file;
mod results;
mod scan;
mod searched;
mod settings;
mod sheet;
mod standstill;
mod text;
mod together;
mod turns;
mod versus;
mod warnings;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use pingpong::Moment;
use serde_json::{Value, json};

use super::load::{Load, Stage};
use super::machine;
use super::options::BenchOptions;
use super::preflight::Ground;
use super::rate::Rate;
use super::record::{Cost, Counts, Fact, Latency, Mistakes, Passages, Transport, histogram, percentile};
use super::until::{Looks, Until};
use crate::budget::may_be_budgeted;
pub(crate) use alike::Mismatch;
use alike::Span;
use blocks::Blocks;
pub(crate) use change::{Change, Group};
use judged::Judged;
pub(crate) use merge::Allowed;
pub(super) use merge::Sums;
pub(super) use page::Page;
pub(super) use parts::Shown;
pub(crate) use results::Results;
pub(super) use searched::{End, Searched, Trial};
pub(crate) use turns::Side;
pub(crate) use versus::Versus;

/// Shares of the answers whose time reports show, and the names of these figures.
const PERCENTILES: [(f64, &str); 5] = [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p999"), (99.99, "p9999")];

/// A figure's name and its nanoseconds; `None` where nothing was measured.
type Figure = (&'static str, Option<u64>);

/// What a load has come to.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// What was done, in a line.
    title: String,
    /// The run was interrupted, or the server was gone before its end.
    is_partial: bool,
    /// Why that was; `None` also where it is not known.
    cut: Option<Cut>,
    /// When the server was gone, in seconds from the beginning of the measured time.
    gone_after_seconds: Option<f64>,
    /// For how long at most the load generator stood still, in seconds.
    longest_pause_seconds: f64,
    /// The measured time, in seconds.
    seconds: f64,
    /// For how long answers were waited for after it; zero where that is not known.
    waited: Duration,
    /// When that was, by the wall clock; `None` where nothing was measured.
    measured: Option<Span>,
    /// Right answers per second.
    per_second: f64,
    /// Open loop: requests per second that were asked for.
    asked_per_second: Option<f64>,
    /// The time it took to make all connections, in seconds.
    connect_seconds: f64,
    /// Everything counted.
    pub(crate) counts: Counts,
    /// Why connections could not be made, and how many.
    refusals: BTreeMap<String, u64>,
    /// Why requests were refused, and how many.
    refused_reasons: BTreeMap<String, u64>,
    /// Why requests were not sent, and how many.
    hindrances: BTreeMap<String, u64>,
    mistakes: Mistakes,
    /// There was a right answer, be it before the measured time.
    was_answered: bool,
    /// Only their order tells which request an answer belongs to.
    is_by_order: bool,
    /// Over a stream nothing is lost on the way.
    is_stream: bool,
    /// Failures are no failure of the run.
    allows_failures: bool,
    /// Idle connections have heartbeats.
    has_heartbeats: bool,
    /// Where each request had a connection of its own: the local ports that there were for them.
    churn_ports: Option<u64>,
    /// Connections had more than half of the local ports between two addresses.
    is_crowded: bool,
    /// The answers would come out of a pingpong server's datagram budget.
    is_budgeted: bool,
    /// From when a request was sent to its answer, in nanoseconds.
    service: Histogram<u64>,
    /// Open loop: from when a request was due to its answer, in nanoseconds.
    response: Option<Histogram<u64>>,
    /// Open loop: from when a request was due to when it was sent, in nanoseconds.
    lag: Option<Histogram<u64>>,
    /// What the probe has measured.
    probe: Option<Passages>,
    /// The measured time in blocks.
    blocks: Blocks,
    /// What TCP did beneath it, where that is known.
    transport: Option<Transport>,
    /// What the load generator itself used; unknown for a very short run.
    cost: Option<Cost>,
    /// What is required of it.
    requirements: Vec<Judged>,
    /// The figures as they stood in the JSON that it was read from.
    written: Value,
    /// Settings, machine and start, as they stand in the JSON.
    about: Value,
}

/// Why a load did not come to what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A signal ended it.
    Interrupted,
    /// Its connections were lost, or requests were refused.
    Gone,
    /// No answer came any more, on connections that stayed: the server may come back.
    Silent,
}

impl Cut {
    fn of(load: &Load, is_silent: bool) -> Option<Self> {
        let is_refused = is_silent && load.ledger.counts[Fact::Refused] > 0;
        match () {
            () if load.gone_after().is_some() || is_refused => Some(Self::Gone),
            () if load.stage != Stage::Resting => Some(Self::Interrupted),
            () => is_silent.then_some(Self::Silent),
        }
    }
}

/// A load that has run, and what is known beside it.
pub(super) struct Run<'a> {
    pub(super) options: &'a BenchOptions,
    pub(super) load: &'a Load,
    /// When it began, by the wall clock.
    pub(super) started: SystemTime,
    pub(super) ended: Moment,
    pub(super) ground: Ground,
    pub(super) cost: Option<Cost>,
    pub(super) transport: Option<Transport>,
}

impl Report {
    pub(super) fn of(run: Run<'_>) -> Self {
        let Run { options, load, started, ended, ground, cost, transport } = run;
        let ledger = &load.ledger;
        let seconds = ledger.measured(ended).as_secs_f64();
        let silent_after = ledger.silent_after(ended);
        let gone_after = load.gone_after().or(silent_after);
        let cut = Cut::of(load, silent_after.is_some());
        let started = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let effective = settings::effective(options, &load.phase, load.address());
        let from = (started + ledger.elapsed(ledger.from())).as_secs_f64();
        // Also where it ended before there was anything to measure.
        let on_schedule = |times: &Option<Latency>| {
            load.phase.rate.map(|_| times.as_ref().map_or_else(histogram, |times| times.total.clone()))
        };
        let mut report = Self {
            title: settings::title(&effective),
            is_partial: cut.is_some(),
            cut,
            gone_after_seconds: gone_after.map(|gone_after| gone_after.as_secs_f64()),
            longest_pause_seconds: ledger.longest_pause.as_secs_f64(),
            seconds,
            waited: ledger.waited(ended),
            measured: (seconds > 0.0).then_some(Span { from, until: from + seconds }),
            per_second: ledger.per_second(ended),
            asked_per_second: load.phase.rate.map(Rate::mean),
            connect_seconds: ledger.connecting().as_secs_f64(),
            counts: ledger.counts.clone(),
            refusals: ledger.refusals.clone(),
            refused_reasons: ledger.refused_reasons.clone(),
            hindrances: ledger.hindrances.clone(),
            mistakes: ledger.mistakes.clone(),
            was_answered: load.was_answered,
            is_by_order: !load.is_numbered(),
            is_stream: !options.endpoint.is_datagram(),
            allows_failures: options.allow_failures,
            has_heartbeats: options.heartbeat.is_some(),
            churn_ports: ground.ports.filter(|_| options.churn),
            is_crowded: ground.is_crowded,
            is_budgeted: may_be_budgeted(&options.endpoint, load.address(), &options.probe),
            service: ledger.service.total.clone(),
            response: on_schedule(&ledger.response),
            lag: on_schedule(&ledger.lag),
            probe: load.probing.as_ref().map(|probing| probing.passages.clone()),
            blocks: Blocks::of(ledger, from, ended),
            transport,
            cost,
            requirements: Vec::new(),
            written: Value::Null,
            about: json!({
                "program": program(),
                "started_unix_seconds": started.as_secs_f64(),
                "settings": {
                    "requested": requested(),
                    "effective": effective,
                },
                "machine": machine::facts(),
            }),
        };
        report.judge(&options.requirements);
        report
    }

    /// Whether a user would call this a failure, though something was answered: see the README's exit codes.
    pub(crate) fn has_failed(&self) -> bool {
        let failures = [
            Fact::ConnectionsFailed,
            Fact::ConnectionsLost,
            Fact::ConnectionsUnserved,
            Fact::ConnectionsStalled,
            Fact::Refused,
            Fact::Broken,
            Fact::Unsent,
            Fact::ProbesBroken,
            Fact::ProbesUnsent,
        ];
        let has_failed = self.tells_of_an_end()
            || self.counts[Fact::Requests] == 0
            || failures.iter().any(|fact| self.counts[*fact] > 0)
            || self.counts[Fact::Lost] > self.tolerated_loss(Fact::Sent)
            || self.counts[Fact::ProbesLost] > self.tolerated_loss(Fact::Probes)
            || self.is_stream && self.counts[Fact::IdleSilent] + self.counts[Fact::HeartbeatsUnsent] > 0;
        has_failed && !self.allows_failures
    }

    /// How many of these may be lost that are no failure: none over a stream, a tenth of them as datagrams.
    fn tolerated_loss(&self, of: Fact) -> u64 {
        if self.is_stream { 0 } else { self.counts[of] / 10 }
    }

    /// Keeps what the wall clock of its machine is worth.
    pub(super) fn tell_of_clock(&mut self, clock: &Value) {
        self.about["clock"] = clock.clone();
    }

    /// Keeps whether a percentile came to be known so well as was asked for.
    pub(super) fn tell_of_looks(&mut self, until: &Until, looks: &Looks) {
        self.about["until"] = json!({
            "expr": until.text,
            "reached": looks.is_reached,
            "half_interval_share": looks.share,
            "rough": looks.is_rough,
            "confidence": 0.99,
        });
    }

    /// What came of that, in a line.
    fn told_of_looks(&self) -> Option<String> {
        let until = &self.about["until"];
        let reached = if until["reached"].as_bool()? { "reached" } else { "not reached" };
        let share = until["half_interval_share"].as_f64();
        let rough = if until["rough"] == true { "~" } else { "" };
        let share = share
            .map_or_else(|| "too few answers to tell".to_owned(), |share| format!("{rough}±{:.1} %", share * 100.0));
        let expr = until["expr"].as_str().unwrap_or_default();
        Some(format!("{expr} {reached} in {:.1} s: {share} with 99 % certainty", self.seconds))
    }

    /// Why it did not come to what was asked for, if that is so and known.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Whether the server is there, or may come back, and no signal has come: more of it can be measured.
    pub(super) fn can_go_on(&self) -> bool {
        !matches!(self.cut, Some(Cut::Gone | Cut::Interrupted))
    }

    /// Why nobody was there to ask when the measured time began.
    fn never_there(&self) -> &'static str {
        if self.counts[Fact::ConnectionsLost] == 0 && self.counts[Fact::ConnectionsFailed] > 0 {
            "none of the connections that ask could be made"
        } else {
            "the server was gone before the measured time began"
        }
    }

    /// Whether the server was there, and was gone before the end.
    pub(crate) fn tells_of_an_end(&self) -> bool {
        self.gone_after_seconds.is_some()
    }

    /// Whether requests were sent on schedule.
    fn is_open(&self) -> bool {
        self.response.is_some()
    }

    /// Whether several runs are added up in it.
    fn is_sum(&self) -> bool {
        self.about["runs"].as_array().is_some_and(|runs| runs.len() > 1)
    }

    /// Why runs that were added up are not one load.
    fn forced(&self) -> impl Iterator<Item = &str> {
        self.about["forced"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// The kinds of times, by name.
    fn times(&self) -> [(&'static str, Option<&Histogram<u64>>); 3] {
        [("service", Some(&self.service)), ("response", self.response.as_ref()), ("lag", self.lag.as_ref())]
    }

    /// The kind of times that a user feels: from when a request was due, if there was a schedule.
    fn main_times(&self) -> (&'static str, &Histogram<u64>) {
        match &self.response {
            Some(response) => ("response", response),
            None => ("service", &self.service),
        }
    }

    /// Processor time of the load generator for each request, in seconds.
    fn cpu_per_request(&self) -> Option<f64> {
        self.cost.map(|cost| cost.cpu_seconds / self.counts[Fact::Sent].max(1) as f64)
    }
}

/// The percentiles and the maximum of some times.
fn figures(times: Option<&Histogram<u64>>) -> [Figure; PERCENTILES.len() + 1] {
    let times = times.filter(|times| !times.is_empty());
    let mut figures = [("max", times.map(Histogram::max)); PERCENTILES.len() + 1];
    for (figure, (percent, name)) in figures.iter_mut().zip(PERCENTILES) {
        *figure = (name, times.map(|times| percentile(times, percent)));
    }
    figures
}

/// Nanoseconds in microseconds.
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// The arguments, as far as JSON can show them: a path need not be UTF-8.
fn requested() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn program() -> String {
    format!("pingpong {}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
