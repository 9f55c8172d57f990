//! The outcome of a load: figures, and which of them cannot be trusted.
//!
//! Made from a load that has run, or read back from JSON; several add up to one as if it had been one run.

pub(crate) mod files;
pub(crate) mod hdr;
mod json;
pub(crate) mod progress;
mod text;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::bench::record::counts::{Counts, Fact};

/// Shares of the answers that reports tell the time of, and their names.
pub(crate) const PERCENTILES: [(f64, &str); 5] =
    [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p999"), (99.99, "p9999")];

/// A percentile is worth something from so many answers beyond it on.
const BEYOND: f64 = 10.0;

/// A schedule that is kept worse than this has a say in the response times.
const LAG: u64 = 100_000;

/// The share of the time from which on the load generator has none to spare.
const SATURATED: f64 = 0.95;

/// What a load has come to.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// What was done, in a line.
    pub(crate) title: String,
    /// Whether requests were sent on schedule.
    pub(crate) is_open: bool,
    /// The run was interrupted.
    pub(crate) is_partial: bool,
    /// How long it measured, in seconds.
    pub(crate) seconds: f64,
    /// Right answers per second.
    pub(crate) per_second: f64,
    /// How many per second were asked for, in the open loop.
    pub(crate) asked_per_second: Option<f64>,
    /// How long it took to connect all, in seconds.
    pub(crate) connect_seconds: f64,
    /// Everything counted.
    pub(crate) counts: Counts,
    /// Why connections could not be made, and how many.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Where each request had a connection of its own: the local ports that there were for them.
    pub(crate) churn_ports: Option<u64>,
    /// Datagrams to another host that a pingpong server answers within a budget only.
    pub(crate) is_budgeted: bool,
    /// From sending to answer, in nanoseconds.
    pub(crate) service: Histogram<u64>,
    /// From when it was to be sent to answer, in nanoseconds; open loop only.
    pub(crate) response: Option<Histogram<u64>>,
    /// How much later than intended it was sent, in nanoseconds; open loop only.
    pub(crate) lag: Option<Histogram<u64>>,
    /// What the load generator itself needed; unknown for a very short run.
    pub(crate) cost: Option<Cost>,
    /// Settings, machine and start, as they stand in the JSON.
    pub(crate) about: Value,
}

/// What a load generator needed while it measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Processor time, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The share of the time in which it was not waiting; polling for what is to come is waiting.
    pub(crate) busy: f64,
}

impl Report {
    /// The times that count for a user: from when a request was to be sent, if there was a schedule.
    pub(crate) fn main_times(&self) -> &Histogram<u64> {
        self.response.as_ref().unwrap_or(&self.service)
    }

    /// What cannot be trusted, and why.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let count = |fact: Fact| self.counts[fact];
        let mut warnings = Vec::new();
        let mut warn = |holds: bool, text: String| {
            if holds {
                warnings.push(text);
            }
        };
        warn(self.is_partial, format!("interrupted: this is what came of {:.1} s", self.seconds));
        let wrong = count(Fact::Wrong);
        warn(
            wrong > 0,
            format!("{wrong} answers had wrong bytes: is it the right kind of server (--echo, --framing, --send)?"),
        );
        let unanswered = count(Fact::Lost) + count(Fact::Broken) + count(Fact::Refused);
        warn(
            unanswered > 0,
            format!("{unanswered} requests were never answered: percentiles know only of those that were"),
        );
        let is_over_budget = self.is_budgeted && count(Fact::Lost) * 2 > count(Fact::Sent);
        warn(
            is_over_budget,
            "most were lost: a pingpong server answers only so many such datagrams a second (see its --udp-budget)"
                .to_owned(),
        );
        let missing = count(Fact::ConnectionsFailed);
        let refusals: Vec<String> = self.refusals.iter().map(|(why, count)| format!("{why}: {count}")).collect();
        warn(missing > 0, format!("{missing} connections could not be made ({})", refusals.join(", ")));
        let lost = count(Fact::ConnectionsLost);
        warn(lost > 0, format!("{lost} connections were lost on the way"));
        let unsent = count(Fact::Unsent);
        warn(unsent > 0, format!("{unsent} requests were due but never sent: too many were unanswered"));
        let waits = count(Fact::PortWaits);
        warn(
            waits > 0,
            format!(
                "local ports ran out {waits} times: the rate is theirs, not the server's (give more addresses with --source)"
            ),
        );
        let is_searching = self.churn_ports.is_some_and(|ports| count(Fact::Sent) > ports);
        warn(is_searching, "more connections than local ports: the kernel had to look for used ones whose time was over, which takes time (give more addresses with --source)".to_owned());
        let drops = count(Fact::KernelDrops);
        warn(
            drops > 0,
            format!("{drops} answers were dropped by our own kernel: raise net.core.rmem_max, or use more sockets"),
        );
        self.warn_of_lag(&mut warn);
        let busy = self.cost.map_or(0.0, |cost| cost.busy);
        warn(
            busy > SATURATED,
            format!(
                "the load generator was busy {:.0} % of the time: the server may be faster than this (load from several processes, 'bench merge')",
                busy * 100.0
            ),
        );
        let answers = self.service.len() as f64;
        let vague = PERCENTILES.into_iter().find(|(percent, _)| answers * (100.0 - percent) / 100.0 < BEYOND);
        if let Some((percent, _)) = vague {
            warn(true, format!("too few answers for p{percent} and beyond: {answers}"));
        }
        warnings
    }

    fn warn_of_lag(&self, warn: &mut impl FnMut(bool, String)) {
        let Some(lag) = &self.lag else { return };
        let p99 = lag.value_at_percentile(99.0);
        warn(
            p99 > LAG,
            format!(
                "the schedule was not kept: p99 of the lag is {:.0} µs; it is in the response times",
                p99 as f64 / 1e3
            ),
        );
        let asked = self.asked_per_second.unwrap_or_default();
        let sent = (self.counts[Fact::Sent] as f64) / self.seconds.max(f64::MIN_POSITIVE);
        let is_short = sent < asked * 0.99 - 1.0;
        warn(is_short, format!("asked for {asked:.0} requests a second, sent {sent:.0}"));
    }

    /// Adds another run that went on at the same time, on another machine or in another process.
    pub(crate) fn add(&mut self, other: &Self) {
        self.is_partial |= other.is_partial;
        self.is_budgeted |= other.is_budgeted;
        // Response times of some only would pass for those of all.
        self.is_open &= other.is_open;
        self.seconds = self.seconds.max(other.seconds);
        self.per_second += other.per_second;
        self.asked_per_second = self.asked_per_second.zip(other.asked_per_second).map(|(a, b)| a + b);
        self.connect_seconds = self.connect_seconds.max(other.connect_seconds);
        self.counts.add(&other.counts);
        self.churn_ports = self.churn_ports.zip(other.churn_ports).map(|(a, b)| a + b);
        for (why, count) in &other.refusals {
            *self.refusals.entry(why.clone()).or_default() += count;
        }
        add(&mut self.service, &other.service);
        self.response = add_both(self.response.take(), other.response.as_ref());
        self.lag = add_both(self.lag.take(), other.lag.as_ref());
        self.cost = self
            .cost
            .zip(other.cost)
            .map(|(a, b)| Cost { cpu_seconds: a.cpu_seconds + b.cpu_seconds, busy: a.busy.max(b.busy) });
    }
}

fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).expect("it grows");
}

/// What only one of them has, the sum has not.
fn add_both(sum: Option<Histogram<u64>>, other: Option<&Histogram<u64>>) -> Option<Histogram<u64>> {
    sum.zip(other).map(|(mut sum, other)| {
        add(&mut sum, other);
        sum
    })
}
