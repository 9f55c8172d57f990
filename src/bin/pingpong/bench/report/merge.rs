//! Adds up the reports of loads that ran at the same time, on several machines or in several processes, as if they had
//! been one load.

use std::collections::BTreeMap;
use std::path::Path;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{Report, program};
use crate::bench::record::Cost;

/// The reports added up so far.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    report: Option<Report>,
    /// Each report's file, title and settings.
    runs: Vec<Value>,
}

impl Sum {
    pub(crate) fn add(&mut self, file: &Path, report: Report) {
        self.runs.push(json!({ "file": file.display().to_string(), "title": report.title, "run": report.about }));
        match &mut self.report {
            Some(sum) => sum.add(report),
            None => self.report = Some(report),
        }
    }

    /// The sum; `None` of no reports.
    pub(crate) fn into_report(self) -> Option<Report> {
        let Self { report, runs } = self;
        report.map(|report| Report {
            title: format!("{}; {} runs added up", report.title, runs.len()),
            about: json!({ "program": program(), "runs": runs }),
            ..report
        })
    }
}

impl Report {
    fn add(&mut self, other: Self) {
        self.is_partial |= other.is_partial;
        self.is_budgeted |= other.is_budgeted;
        self.seconds = self.seconds.max(other.seconds);
        self.per_second += other.per_second;
        self.asked_per_second = both(self.asked_per_second, other.asked_per_second, |a, b| a + b);
        self.connect_seconds = self.connect_seconds.max(other.connect_seconds);
        self.counts.add(&other.counts);
        self.churn_ports = both(self.churn_ports, other.churn_ports, |a, b| a + b);
        add_reasons(&mut self.refusals, other.refusals);
        add_reasons(&mut self.hindrances, other.hindrances);
        self.mistakes.wrong = self.mistakes.wrong.take().or(other.mistakes.wrong);
        self.mistakes.unasked = self.mistakes.unasked.take().or(other.mistakes.unasked);
        self.is_by_order |= other.is_by_order;
        // The server is gone from the sum when it is gone from any part.
        self.gone_after_seconds =
            [self.gone_after_seconds, other.gone_after_seconds].into_iter().flatten().reduce(f64::min);
        add(&mut self.service, &other.service);
        // The response times of one load would be taken for those of both.
        self.response = both(self.response.take(), other.response, added);
        self.lag = both(self.lag.take(), other.lag, added);
        self.cost = both(self.cost, other.cost, Cost::plus);
    }
}

fn add_reasons(sum: &mut BTreeMap<String, u64>, other: BTreeMap<String, u64>) {
    for (why, count) in other {
        *sum.entry(why).or_default() += count;
    }
}

fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).expect("it grows");
}

fn added(mut sum: Histogram<u64>, other: Histogram<u64>) -> Histogram<u64> {
    add(&mut sum, &other);
    sum
}

/// The sum of two figures; none where one of the loads has none.
fn both<T>(a: Option<T>, b: Option<T>, plus: impl FnOnce(T, T) -> T) -> Option<T> {
    a.zip(b).map(|(a, b)| plus(a, b))
}
