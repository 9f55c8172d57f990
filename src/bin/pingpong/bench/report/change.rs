//! What has changed from some runs to others (`bench compare`).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::alike::{self, Mismatch};
use super::files::Published;
use super::json::{SCHEMA, other_kind};
use super::page::Page;
use super::ratios::{self, Row, name_of};
use super::standstill;
use super::text::{self, grouped};
use super::warnings::BEYOND;
use super::{PERCENTILES, Report, Results, settings};
use crate::bench::record::Fact;
use crate::bench::requirement::Kind;
use crate::bench::trials::{Failures, are_more, percentile_ratio_of_blocks, rate_ratio_of_blocks, ratio_of_runs};

/// Runs of one side, each with its file.
#[derive(Debug, Default)]
pub(crate) struct Group {
    runs: Vec<(PathBuf, Report)>,
}

impl Group {
    /// Adds what is in a file. Fails where that is not one run.
    pub(crate) fn add(&mut self, file: &Path, results: Results) -> io::Result<()> {
        let [report] = <[Report; 1]>::try_from(results.into_reports())
            .map_err(|steps| other_kind(&format!("it has {} steps, and runs at one rate are compared", steps.len())))?;
        self.runs.push((file.to_owned(), report));
        Ok(())
    }

    /// The files of two runs, of these and others, that cannot be compared, and why.
    pub(crate) fn mismatch(&self, others: &Self) -> Option<(PathBuf, PathBuf, Mismatch)> {
        let all: Vec<&(PathBuf, Report)> = self.runs.iter().chain(&others.runs).collect();
        let pairs = all.iter().enumerate().flat_map(|(place, one)| all[place + 1..].iter().map(move |two| (one, two)));
        pairs.filter_map(|(one, two)| Some((one.0.clone(), two.0.clone(), differs(one, two)?))).next()
    }

    fn reports(&self) -> impl Iterator<Item = &Report> {
        self.runs.iter().map(|(_, report)| report)
    }

    /// The files of runs that have failed, or were not gone through to the end.
    fn failed(&self) -> impl Iterator<Item = &Path> {
        let runs = self.runs.iter().filter(|(_, report)| report.is_suspicious());
        runs.map(|(file, _)| file.as_path())
    }

    /// Requests that failed, of all that were due.
    fn failures(&self) -> Failures {
        let each = self.reports().map(Report::failures);
        each.fold(Failures::default(), |sum, one| Failures { failed: sum.failed + one.failed, all: sum.all + one.all })
    }

    /// The same of each run, or, where there is one only, of each block.
    fn parts(&self, are_blocks: bool) -> Vec<Failures> {
        match &*self.runs {
            [(_, run)] if are_blocks => run.failures_of_blocks(),
            _ => self.reports().map(Report::failures).collect(),
        }
    }

    /// The longest standstill in any of them, in words.
    fn standstill(&self, side: &str) -> Option<String> {
        Some(self.reports().filter_map(Report::standstill).max()?.told(side))
    }

    fn files(&self) -> Vec<String> {
        self.runs.iter().map(|(file, _)| file.display().to_string()).collect()
    }
}

/// Why these two cannot be compared.
fn differs((one_file, one): &(PathBuf, Report), (two_file, two): &(PathBuf, Report)) -> Option<Mismatch> {
    let [ones, twos] = [(one, one_file), (two, two_file)].map(|(run, file)| run.runs(&file.display().to_string()));
    if ones.len() != twos.len() {
        let (first, second) = (ones.len().to_string(), twos.len().to_string());
        return Some(Mismatch::Differs { what: "the number of runs in them", first, second });
    }
    ones.iter().zip(&twos).find_map(|(one, two)| alike::incomparable(one, two))
}

/// Two groups of runs beside each other.
#[derive(Debug)]
pub(crate) struct Change {
    old: Group,
    new: Group,
    tolerance: f64,
    /// Why they are no runs of the same load.
    forced: Vec<String>,
    /// Standstills of either side, of which percentiles and their intervals say little.
    standstills: Vec<String>,
    rows: Vec<Row>,
}

impl Change {
    pub(crate) fn new(old: Group, new: Group, tolerance: f64, forced: Vec<String>) -> Self {
        let is_open = old.reports().chain(new.reports()).all(Report::is_open);
        let figure = |name: String, percent: Option<f64>| row(&old, &new, is_open, name, percent);
        let mut rows = vec![figure("rate".to_owned(), None)];
        rows.extend(PERCENTILES.map(|(percent, _)| figure(name_of(percent), Some(percent))));
        let standstills: Vec<String> =
            [("old", &old), ("new", &new)].into_iter().filter_map(|(side, group)| group.standstill(side)).collect();
        rows.iter_mut().for_each(|row| row.has_standstill = !standstills.is_empty());
        Self { old, new, tolerance, forced, standstills, rows }
    }

    /// Whether the new ones are worse.
    pub(crate) fn is_worse(&self) -> bool {
        self.has_failed() || self.worse().next().is_some() || self.has_more_errors()
    }

    /// Whether new runs have failed, and old ones have not.
    fn has_failed(&self) -> bool {
        self.new.failed().next().is_some() && self.old.failed().next().is_none()
    }

    /// Whether more requests fail, by more than is tolerated and chance allows.
    fn has_more_errors(&self) -> bool {
        self.are_more(&self.old, &self.new)
    }

    fn has_fewer_errors(&self) -> bool {
        self.are_more(&self.new, &self.old)
    }

    fn are_more(&self, few: &Group, many: &Group) -> bool {
        let are_blocks = self.is_single();
        many.failures().share() > few.failures().share() * (1.0 + self.tolerance)
            && are_more(&few.parts(are_blocks), &many.parts(are_blocks))
    }

    /// The figures that are worse by more than is tolerated.
    fn worse(&self) -> impl Iterator<Item = &Row> {
        self.beyond(|ratio, tolerance, is_rate| match is_rate {
            true => ratio.is_less_by(tolerance),
            false => ratio.is_more_by(tolerance),
        })
    }

    fn better(&self) -> impl Iterator<Item = &Row> {
        self.beyond(|ratio, tolerance, is_rate| match is_rate {
            true => ratio.is_more_by(tolerance),
            false => ratio.is_less_by(tolerance),
        })
    }

    /// The figures that may be worse by more than is tolerated, for all that is known.
    fn doubtful(&self) -> Vec<String> {
        let reaches = |row: &&Row| {
            row.ratio.as_ref().is_ok_and(|ratio| {
                if row.is_rate() { ratio.low < 1.0 - self.tolerance } else { ratio.high > 1.0 + self.tolerance }
            })
        };
        let worse: Vec<&str> = self.worse().map(|row| row.figure.as_str()).collect();
        let rows = self.rows.iter().filter(reaches).map(|row| row.figure.clone());
        rows.filter(|figure| !worse.contains(&figure.as_str())).collect()
    }

    fn beyond(&self, is_beyond: fn(&super::ratios::Ratio, f64, bool) -> bool) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(move |row| row.ratio.as_ref().is_ok_and(|ratio| is_beyond(ratio, self.tolerance, row.is_rate())))
    }

    fn verdict(&self) -> String {
        let listed = |rows: Vec<&Row>, has_errors: bool| {
            let told = |row: &Row| {
                let change = row.ratio.as_ref().map_or(0.0, |ratio| (ratio.ratio - 1.0) * 100.0);
                format!("{} {change:+.0} %", row.figure)
            };
            let [old, new] = [&self.old, &self.new].map(|group| text::rate(group.failures().share() * 100.0));
            let errors = has_errors.then(|| format!("errors from {old} % to {new} %"));
            rows.into_iter().map(told).chain(errors).collect::<Vec<_>>().join(", ")
        };
        let tolerance = self.tolerance * 100.0;
        let (worse, better): (Vec<&Row>, Vec<&Row>) = (self.worse().collect(), self.better().collect());
        let (more, fewer) = (self.has_more_errors(), self.has_fewer_errors());
        let but = match self.standstills.join(", ") {
            none if none.is_empty() => none,
            standstills => format!(", but {standstills}"),
        };
        match () {
            () if more || !worse.is_empty() => format!("worse by more than {tolerance} %: {}", listed(worse, more)),
            () if self.has_failed() => "worse: a new run has failed".to_owned(),
            () if fewer || !better.is_empty() => {
                format!("better by more than {tolerance} %: {}{but}", listed(better, fewer))
            }
            () => format!("no difference of more than {tolerance} % seen{but}"),
        }
    }

    /// In a word, for scripts.
    fn outcome(&self) -> &'static str {
        match (self.is_worse(), self.better().next().is_some() || self.has_fewer_errors()) {
            (true, _) => "worse",
            (false, true) => "better",
            (false, false) => "no difference",
        }
    }

    fn is_single(&self) -> bool {
        self.old.runs.len() == 1 && self.new.runs.len() == 1
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.forced.iter().map(|why| format!("compared by --force, but not the same load: {why}")).collect();
        let failed = self.old.failed().chain(self.new.failed());
        warnings.extend(failed.map(|file| format!("{}: this run has failed or is partial", file.display())));
        let failures = [&self.old, &self.new].map(Group::failures);
        if failures.iter().any(|failures| failures.failed > 0) {
            let [old, new] = failures.map(|failures| {
                let share = text::rate(failures.share() * 100.0);
                format!("{} of {}, {share} %", grouped(failures.failed), grouped(failures.all))
            });
            warnings.push(format!(
                "requests failed (old {old}; new {new}): one without a right answer counts as slower than any other"
            ));
        }
        warnings.extend(standstill::warning(&self.standstills));
        if self.is_single() {
            warnings.push(
                "one run a side: intervals come from the blocks of each run, and what differs from run to run is not in \
                 them (give several files a side)"
                    .to_owned(),
            );
        }
        let doubtful = self.doubtful();
        if !doubtful.is_empty() {
            warnings.push(format!(
                "these may be worse by more than {} %, as far as these runs tell: {} (more or longer runs tell more)",
                self.tolerance * 100.0,
                doubtful.join(", ")
            ));
        }
        warnings
    }

    pub(in crate::bench) fn page(&self) -> Page<'_> {
        let runs = [("old", &self.old), ("new", &self.new)].into_iter().flat_map(|(side, group)| {
            group.runs.iter().map(move |(file, report)| (format!("{side}: {}", file.display()), report))
        });
        let page = Page::beside(self.title(), self.warnings(), runs);
        page.with_compared(["old", "new"], &self.rows, &self.verdict())
    }

    fn title(&self) -> String {
        let runs = |group: &Group| match group.runs.len() {
            1 => "1 run".to_owned(),
            many => format!("{many} runs"),
        };
        let first = self.old.reports().next().map(|report| settings::effective_of_first(&report.about));
        let load = first.map(settings::title).unwrap_or_default();
        format!("old: {}, new: {}; {load}", runs(&self.old), runs(&self.new))
    }
}

fn row(old: &Group, new: &Group, is_open: bool, name: String, percent: Option<f64>) -> Row {
    let figures = |side: &str, group: &Group| -> Result<Vec<f64>, String> {
        let figures = group.reports().map(|report| report.figure(is_open, percent));
        figures.collect::<Result<_, _>>().map_err(|why| format!("{side}: {why}"))
    };
    let figures = [figures("old", old), figures("new", new)];
    let mean = |figures: &Result<Vec<f64>, String>| {
        let figures = figures.as_ref().ok()?;
        let logs = figures.iter().map(|figure| figure.ln()).sum::<f64>();
        Some((logs / figures.len() as f64).exp())
    };
    let values = figures.each_ref().map(mean);
    let [firsts, seconds] = figures;
    let ratio = firsts.and_then(|firsts| ratio([old, new], [firsts, seconds?], is_open, percent));
    Row { figure: name, values, ratio, has_standstill: false }
}

/// How many times a figure of the old ones that of the new ones is, where all runs have it.
fn ratio(
    [old, new]: [&Group; 2],
    [firsts, seconds]: [Vec<f64>; 2],
    is_open: bool,
    percent: Option<f64>,
) -> Result<super::ratios::Ratio, String> {
    if let ([(_, one)], [(_, two)]) = (&*old.runs, &*new.runs) {
        let name = if is_open { "response" } else { "service" };
        return match percent {
            Some(percent) => {
                let percents = [one, two].map(|run| run.percent_of_answered(kind(is_open), percent).unwrap_or(percent));
                percentile_ratio_of_blocks(one.blocks.times(name), two.blocks.times(name), percents)
            }
            None => rate_ratio_of_blocks(&one.blocks.tallies(), &two.blocks.tallies()),
        }
        .map_err(|why| why.to_string());
    }
    let beyond = percent.map_or(1.0, |percent| (100.0 - percent) / 100.0);
    let has_enough = |report: &Report| report.asked(is_open) as f64 * beyond >= BEYOND;
    if percent.is_some() && !old.reports().chain(new.reports()).all(has_enough) {
        return Err(format!("fewer than {BEYOND} answers beyond it in a run"));
    }
    ratio_of_runs(&firsts, &seconds).ok_or_else(|| "a run has no such figure".to_owned())
}

fn kind(is_open: bool) -> Kind {
    if is_open { Kind::Response } else { Kind::Service }
}

impl Report {
    /// A percentile of all requests that were due in nanoseconds, or the rate; or why there is none.
    fn figure(&self, is_open: bool, percent: Option<f64>) -> Result<f64, String> {
        percent.map_or(Ok(self.per_second), |percent| self.time_over_all(kind(is_open), percent))
    }

    /// Requests that have a time, or would have one.
    fn asked(&self, is_open: bool) -> u64 {
        let times = self.response.as_ref().filter(|_| is_open).unwrap_or(&self.service);
        times.len() + self.missing(kind(is_open))
    }

    fn failures(&self) -> Failures {
        Failures { failed: self.counts.errors(), all: self.counts[Fact::Sent] + self.counts[Fact::Unsent] }
    }

    fn failures_of_blocks(&self) -> Vec<Failures> {
        let blocks = self.blocks.outcomes.iter();
        blocks.map(|block| Failures { failed: block.failed, all: block.answered + block.failed }).collect()
    }

    /// Whether a comparison has to tell of it.
    fn is_suspicious(&self) -> bool {
        self.is_partial || self.has_failed() || self.counts[Fact::Wrong] > 0
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title())?;
        ratios::table(f, &self.rows, ["old", "new"])?;
        writeln!(f, "in brackets: 95 % intervals; ~: blocks depended on each other")?;
        text::warn(f, &self.warnings())?;
        write!(f, "\n{}", self.last_lines())
    }
}

impl Published for Change {
    fn to_json(&self) -> String {
        let names = |rows: Vec<&Row>, has_errors: bool| {
            let errors = has_errors.then(|| "errors".to_owned());
            rows.into_iter().map(|row| row.figure.clone()).chain(errors).collect::<Vec<_>>()
        };
        let [old_share, new_share] = [&self.old, &self.new].map(|group| group.failures().share());
        let line = |(key, value): (&str, Value)| format!("\"{key}\": {value}");
        let figures: Vec<Value> = self.rows.iter().map(Row::to_json).collect();
        let lines = [
            ("schema", SCHEMA.into()),
            ("title", self.title().into()),
            ("old", json!(self.old.files())),
            ("new", json!(self.new.files())),
            ("tolerance", self.tolerance.into()),
            ("verdict", self.outcome().into()),
            ("worse", json!(names(self.worse().collect(), self.has_more_errors()))),
            ("better", json!(names(self.better().collect(), self.has_fewer_errors()))),
            ("errors", json!({ "old_share": old_share, "new_share": new_share })),
            ("doubtful", json!(self.doubtful())),
            ("between_runs", (!self.is_single()).into()),
            (
                "compared",
                json!([{ "first": "old", "second": "new", "figures": figures, "standstills": self.standstills }]),
            ),
            ("warnings", json!(self.warnings())),
        ];
        format!("{{\n{}\n}}\n", lines.map(line).join(",\n"))
    }

    fn last_lines(&self) -> String {
        format!("verdict: {}\n", self.verdict())
    }

    fn remarks(&self) -> Vec<String> {
        self.warnings()
    }
}
