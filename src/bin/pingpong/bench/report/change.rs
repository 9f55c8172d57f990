//! What has changed from some runs to others (`bench compare`).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::alike::{self, Mismatch};
use super::files::Published;
use super::json::{SCHEMA, foreign};
use super::page::Page;
use super::ratios::{self, Row, name_of};
use super::text::{self, grouped};
use super::warnings::BEYOND;
use super::{PERCENTILES, Report, Results, settings};
use crate::bench::record::{Fact, percentile};
use crate::bench::trials::{percentile_ratio_of_blocks, rate_ratio_of_blocks, ratio_of_runs};

/// Runs of one side, each with its file.
#[derive(Debug, Default)]
pub(crate) struct Group {
    runs: Vec<(PathBuf, Report)>,
}

impl Group {
    /// Adds what is in a file. Fails where that is not one run.
    pub(crate) fn add(&mut self, file: &Path, results: Results) -> io::Result<()> {
        let [report] = <[Report; 1]>::try_from(results.into_reports())
            .map_err(|steps| foreign(&format!("it has {} steps, and runs at one rate are compared", steps.len())))?;
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

    fn errors(&self) -> u64 {
        self.reports().map(|report| report.counts.errors()).sum()
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
    rows: Vec<Row>,
}

impl Change {
    pub(crate) fn new(old: Group, new: Group, tolerance: f64, forced: Vec<String>) -> Self {
        let is_open = old.reports().chain(new.reports()).all(Report::is_open);
        let figure = |name: String, percent: Option<f64>| row(&old, &new, is_open, name, percent);
        let mut rows = vec![figure("rate".to_owned(), None)];
        rows.extend(PERCENTILES.map(|(percent, _)| figure(name_of(percent), Some(percent))));
        Self { old, new, tolerance, forced, rows }
    }

    /// Whether the new ones are worse.
    pub(crate) fn is_worse(&self) -> bool {
        self.has_failed() || self.worse().next().is_some()
    }

    /// Whether new runs have failed, and old ones have not.
    fn has_failed(&self) -> bool {
        self.new.failed().next().is_some() && self.old.failed().next().is_none()
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
        let listed = |rows: Vec<&Row>| {
            let told = |row: &Row| {
                let change = row.ratio.as_ref().map_or(0.0, |ratio| (ratio.ratio - 1.0) * 100.0);
                format!("{} {change:+.0} %", row.figure)
            };
            rows.into_iter().map(told).collect::<Vec<_>>().join(", ")
        };
        let tolerance = self.tolerance * 100.0;
        let (worse, better): (Vec<&Row>, Vec<&Row>) = (self.worse().collect(), self.better().collect());
        match (worse.is_empty(), better.is_empty()) {
            (false, _) => format!("worse by more than {tolerance} %: {}", listed(worse)),
            (true, _) if self.has_failed() => "worse: a new run has failed".to_owned(),
            (true, false) => format!("better by more than {tolerance} %: {}", listed(better)),
            (true, true) => format!("no difference of more than {tolerance} % seen"),
        }
    }

    /// In a word, for scripts.
    fn outcome(&self) -> &'static str {
        match (self.is_worse(), self.better().next().is_some()) {
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
        let errors = [self.old.errors(), self.new.errors()];
        if errors != [0, 0] {
            let [old, new] = errors.map(grouped);
            warnings.push(format!(
                "requests failed (old {old}, new {new}): times are compared of those alone that did not"
            ));
        }
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
    let figures =
        |group: &Group| -> Option<Vec<f64>> { group.reports().map(|report| report.figure(is_open, percent)).collect() };
    let (firsts, seconds) = (figures(old), figures(new));
    let mean = |figures: &Option<Vec<f64>>| {
        let figures = figures.as_ref()?;
        let logs = figures.iter().map(|figure| figure.ln()).sum::<f64>();
        Some((logs / figures.len() as f64).exp())
    };
    let values = [mean(&firsts), mean(&seconds)];
    let ratio = match (&*old.runs, &*new.runs) {
        ([(_, one)], [(_, two)]) => {
            let kind = if is_open { "response" } else { "service" };
            match percent {
                Some(percent) => percentile_ratio_of_blocks(one.blocks.times(kind), two.blocks.times(kind), percent),
                None => rate_ratio_of_blocks(&one.blocks.tallies(), &two.blocks.tallies()),
            }
            .map_err(|why| why.to_string())
        }
        _ => {
            let beyond = percent.map_or(1.0, |percent| (100.0 - percent) / 100.0);
            let are_enough = percent.is_none()
                || old.reports().chain(new.reports()).all(|report| report.answers(is_open) as f64 * beyond >= BEYOND);
            match firsts.zip(seconds).and_then(|(firsts, seconds)| ratio_of_runs(&firsts, &seconds)) {
                _ if !are_enough => Err(format!("fewer than {BEYOND} answers beyond it in a run")),
                Some(ratio) => Ok(ratio),
                None => Err("a run has no such figure".to_owned()),
            }
        }
    };
    Row { figure: name, values, ratio }
}

impl Report {
    /// A percentile in nanoseconds, or the rate.
    fn figure(&self, is_open: bool, percent: Option<f64>) -> Option<f64> {
        let Some(percent) = percent else { return Some(self.per_second) };
        let times = self.response.as_ref().filter(|_| is_open).unwrap_or(&self.service);
        (!times.is_empty()).then(|| percentile(times, percent) as f64)
    }

    fn answers(&self, is_open: bool) -> u64 {
        self.response.as_ref().filter(|_| is_open).unwrap_or(&self.service).len()
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
        let names = |rows: Vec<&Row>| rows.into_iter().map(|row| row.figure.clone()).collect::<Vec<_>>();
        let line = |(key, value): (&str, Value)| format!("\"{key}\": {value}");
        let figures: Vec<Value> = self.rows.iter().map(Row::to_json).collect();
        let lines = [
            ("schema", SCHEMA.into()),
            ("title", self.title().into()),
            ("old", json!(self.old.files())),
            ("new", json!(self.new.files())),
            ("tolerance", self.tolerance.into()),
            ("verdict", self.outcome().into()),
            ("worse", json!(names(self.worse().collect()))),
            ("better", json!(names(self.better().collect()))),
            ("doubtful", json!(self.doubtful())),
            ("between_runs", (!self.is_single()).into()),
            ("compared", json!([{ "first": "old", "second": "new", "figures": figures }])),
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
