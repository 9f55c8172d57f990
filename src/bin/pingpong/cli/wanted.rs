//! What is asked of the figures of a run: `--require`, `--find` and `--until`, and what goes together with them.

use clap::{Arg, ArgAction, ArgMatches};

use super::arguments::option;
use super::rate::per_second;
use super::requirement::{requirement_of, until_of, wanted_of};
use crate::bench::{BenchOptions, Find, Kind, Requirement, Until};

/// A higher rate than one load generator comes to.
const HIGHEST: f64 = 1e6;

pub(super) fn require() -> Arg {
    option("require", "EXPR", "What must be so: p99<5ms, errors=0, rate>=19900 … (repeats); else exit 7")
        .action(ArgAction::Append)
        .value_parser(requirement_of)
}

/// `--find` and its bounds.
pub(super) fn find_and_bounds() -> [Arg; 3] {
    [
        option("find", "EXPR", "Look for the highest rate that meets this, in short trials: p99<5ms (repeats)")
            .action(ArgAction::Append)
            .value_parser(wanted_of)
            .conflicts_with_all(["requests", "pipeline", "churn"]),
        option(
            "from",
            "R",
            "The first and lowest rate that --find tries [default: 100, or what leaves enough answers]",
        )
        .value_parser(per_second)
        .requires("find"),
        option("to", "R", "The highest one [default: 1m]").value_parser(per_second).requires("find"),
    ]
}

pub(super) fn until() -> Arg {
    option("until", "P±N%", "End when a percentile is known so well, after --duration at the latest: p99±5%")
        .value_parser(until_of)
        .conflicts_with_all(["requests", "find"])
}

pub(super) fn requirements(options: &ArgMatches) -> Vec<Requirement> {
    options.get_many("require").into_iter().flatten().cloned().collect()
}

pub(super) fn find(options: &ArgMatches) -> Option<Find> {
    let requirements: Vec<Requirement> = options.get_many("find")?.cloned().collect();
    let rate = |name: &str| options.get_one::<f64>(name).copied();
    Some(Find { requirements, from: rate("from"), to: rate("to").unwrap_or(HIGHEST) })
}

impl BenchOptions {
    /// What is asked of figures that there will not be, and what to do about it.
    pub(super) fn mistake_of_figures(&self) -> Option<String> {
        if self.until.is_some() && (self.rates.len() > 1 || self.rates.iter().any(|rate| rate.is_ramp())) {
            return Some("--until is for one --rate that stays, or none".to_owned());
        }
        if let Some(Until { text, kind: Kind::Response | Kind::Lag, .. }) = &self.until
            && self.rates.is_empty()
        {
            return Some(format!("--until {text}: there is such a figure only with --rate"));
        }
        if let Some(Find { from: Some(from), to, .. }) = self.find
            && from > to
        {
            return Some(format!("--from {from} is above --to {to}"));
        }
        let is_unknown = |requirement: &&Requirement| {
            self.rates.is_empty() && self.find.is_none() && requirement.quantity.is_of_the_open_loop()
                || self.heartbeat.is_none() && requirement.quantity.is_of_heartbeats()
                || self.probe_rate.is_none() && requirement.quantity.is_of_the_probe()
        };
        let wanted = self.find.iter().flat_map(|find| &find.requirements).map(|one| ("--find", one));
        let mut all = self.requirements.iter().map(|one| ("--require", one)).chain(wanted);
        let (by, Requirement { text, quantity, .. }) = all.find(|(_, one)| is_unknown(one))?;
        let option = match quantity {
            _ if quantity.is_of_heartbeats() => "--heartbeat",
            _ if quantity.is_of_the_probe() => "--probe",
            _ => "--rate",
        };
        Some(format!("{by} {text}: there is such a figure only with {option}"))
    }
}
