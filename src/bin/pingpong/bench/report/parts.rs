//! The parts of a sum beside each other: one bad part hides in a sum.

use std::fmt;

use pingpong::service::escaped;
use serde_json::Value;

use super::alike::{effective, part_of};
use super::text::{grouped, per_second, shown};
use super::{Report, Results};
use crate::bench::record::percentile;

/// More parts than this are not shown one by one, but only the worst.
const MOST: usize = 20;

/// How many these are.
const WORST: usize = 10;

/// How much longer than that of the others the p99 of a part is that stands out.
const SLOWER: f64 = 1.5;

/// How much of the others' rate that of a part is at the least.
const AS_FAST: f64 = 0.9;

/// A load generator that works for so much of its time may have no time left.
const BUSY: f64 = 0.9;

/// Where so much of its time was taken away, it may be late.
const TAKEN_AWAY: f64 = 0.1;

/// Characters that what a part is called, and its host, may have.
const WIDEST: usize = 18;

/// One part.
#[derive(Clone, Debug, Default)]
struct Row {
    name: String,
    host: String,
    is_partial: bool,
    per_second: f64,
    /// The rate, as a share of what was asked for, or of each connection.
    pace: f64,
    /// In microseconds.
    p99: Option<f64>,
    errors: u64,
    working: Option<f64>,
    taken_away: Option<f64>,
}

impl Row {
    fn of(run: &Value, kind: &str) -> Self {
        let metric = |name: &str| run["metrics"][name].as_f64();
        let name = match part_of(run) {
            Some((part, _)) => part.to_string(),
            None => escaped(run["file"].as_str().unwrap_or("?").trim_end_matches(" of standard input").as_bytes()),
        };
        let per_second = metric("requests_per_second").unwrap_or_default();
        let asked = metric("asked_per_second").or_else(|| effective(run)["connections"].as_f64());
        Self {
            name,
            host: escaped(run["run"]["machine"]["host"].as_str().unwrap_or("?").as_bytes()),
            is_partial: run["partial"] == true,
            per_second,
            pace: per_second / asked.filter(|asked| *asked > 0.0).unwrap_or(1.0),
            p99: metric(&format!("{kind}_p99_us")),
            errors: run["metrics"]["errors"].as_u64().unwrap_or_default(),
            working: metric("load_working"),
            taken_away: metric("load_taken_away"),
        }
    }
}

/// What stands out in a part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Marks {
    partial: bool,
    rate: bool,
    p99: bool,
    errors: bool,
    busy: bool,
    away: bool,
    /// How much longer its p99 is than that of the others.
    slower: f64,
}

impl Marks {
    fn count(&self) -> usize {
        let Self { partial, rate, p99, errors, busy, away, .. } = *self;
        [partial, rate, p99, errors, busy, away].into_iter().filter(|mark| *mark).count()
    }
}

/// Of each part, beside the others.
fn marks(rows: &[Row]) -> Vec<Marks> {
    let sorted = |of: fn(&Row) -> Option<f64>| {
        let mut figures: Vec<f64> = rows.iter().filter_map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures
    };
    let (paces, times) = (sorted(|row| Some(row.pace)), sorted(|row| row.p99));
    let mark = |row: &Row| {
        let slower = row.p99.zip(row.p99.and_then(|own| middle_of_others(&times, own)));
        let slower = slower.map_or(1.0, |(own, others)| own / others.max(f64::MIN_POSITIVE));
        Marks {
            partial: row.is_partial,
            rate: middle_of_others(&paces, row.pace).is_some_and(|others| row.pace < AS_FAST * others),
            p99: slower > SLOWER,
            errors: row.errors > 0,
            busy: row.working.is_some_and(|share| share >= BUSY),
            away: row.taken_away.is_some_and(|share| share >= TAKEN_AWAY),
            slower,
        }
    };
    rows.iter().map(mark).collect()
}

/// The median of these, in order, without one that is this.
fn middle_of_others(sorted: &[f64], own: f64) -> Option<f64> {
    let place = sorted.partition_point(|other| *other < own);
    let other = |rank: usize| sorted.get(if rank < place { rank } else { rank + 1 }).copied();
    let others = sorted.len().checked_sub(1)?;
    Some((other(others.checked_sub(1)? / 2)? + other(others / 2)?) / 2.0)
}

/// The parts of a sum, each in a line, or the worst of them and the range of the others.
pub(super) fn table(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let runs = report.about["runs"].as_array().filter(|runs| runs.len() > 1);
    let Some(runs) = runs else { return Ok(()) };
    let (kind, _) = report.main_times();
    let rows: Vec<Row> = runs.iter().map(|run| Row::of(run, kind)).collect();
    let marks = marks(&rows);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    if rows.len() > MOST {
        let badness = |place: &usize| (marks[*place].count(), marks[*place].slower);
        order.sort_by(|a, b| {
            let ((many, slower), (few, faster)) = (badness(b), badness(a));
            many.cmp(&few).then(slower.total_cmp(&faster))
        });
    }
    let (told, others) = order.split_at(if rows.len() > MOST { WORST } else { rows.len() });
    let title = if part_of(&runs[0]).is_some() { "part" } else { "run" };
    let names: Vec<(String, String)> =
        told.iter().map(|place| (end_of(&rows[*place].name), beginning_of(&rows[*place].host))).collect();
    let width =
        |of: fn(&(String, String)) -> &str| names.iter().map(|names| of(names).chars().count()).max().unwrap_or(0);
    let (name_width, host_width) =
        (width(|names| &names.0).max(title.len()), width(|names| &names.1).max("host".len()));
    // What stands for many of them has the place of both.
    let label = format!("the other {}, least", grouped(others.len() as u64));
    let host_width =
        if others.is_empty() { host_width } else { host_width.max(label.len().saturating_sub(name_width + 3)) };
    let titles = [("rate", 9), ("p99", 9), ("errors", 8), ("busy", 6), ("away", 6)];
    let titles: String = titles.map(|(title, width)| format!("{title:>width$} ")).concat();
    writeln!(f, "{title:>name_width$}   {:<host_width$}{}", "host", titles.trim_end())?;
    for (place, (name, host)) in told.iter().zip(&names) {
        let mark = if marks[*place].partial { '!' } else { ' ' };
        let line = format!("{name:>name_width$}{mark}  {host:<host_width$}{}", cells(&rows[*place], &marks[*place]));
        writeln!(f, "{}", line.trim_end())?;
    }
    let width = name_width + 3 + host_width;
    for (end, pick) in [("least", f64::min as fn(f64, f64) -> f64), ("most", f64::max)] {
        if let Some(row) = range(others.iter().map(|place| &rows[*place]), pick) {
            let label = format!("the other {}, {end}", grouped(others.len() as u64));
            writeln!(f, "{label:<width$}{}", cells(&row, &Marks::default()).trim_end())?;
        }
    }
    if marks.iter().any(|marks| marks.count() > 0) {
        writeln!(
            f,
            "!: errors, cut short, p99 over {SLOWER} times the others',\n   \
             rate under {:.0} % of theirs, busy {:.0} % of the time, or {:.0} % without its CPU",
            AS_FAST * 100.0,
            BUSY * 100.0,
            TAKEN_AWAY * 100.0,
        )?;
    }
    Ok(())
}

fn cells(row: &Row, marks: &Marks) -> String {
    let cell =
        |text: String, width: usize, is_marked: bool| format!("{text:>width$}{}", if is_marked { '!' } else { ' ' });
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0));
    [
        cell(per_second(row.per_second), 9, marks.rate),
        cell(row.p99.map_or("-".to_owned(), |micros| shown((micros * 1e3) as u64)), 9, marks.p99),
        cell(grouped(row.errors), 8, marks.errors),
        cell(percent(row.working), 6, marks.busy),
        cell(percent(row.taken_away), 6, marks.away),
    ]
    .concat()
}

/// The least or the most of each figure.
fn range<'a>(rows: impl Iterator<Item = &'a Row>, pick: fn(f64, f64) -> f64) -> Option<Row> {
    let both = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| pick(a, b)).or(a).or(b);
    rows.cloned().reduce(|a, b| Row {
        per_second: pick(a.per_second, b.per_second),
        p99: both(a.p99, b.p99),
        errors: pick(a.errors as f64, b.errors as f64) as u64,
        working: both(a.working, b.working),
        taken_away: both(a.taken_away, b.taken_away),
        ..Row::default()
    })
}

/// As much as there is room for: of a path the end says most.
fn end_of(name: &str) -> String {
    let long = name.chars().count().checked_sub(WIDEST).filter(|long| *long > 0);
    long.map_or(name.to_owned(), |long| format!("…{}", name.chars().skip(long + 1).collect::<String>()))
}

fn beginning_of(host: &str) -> String {
    if host.chars().count() <= WIDEST {
        return host.to_owned();
    }
    format!("{}…", host.chars().take(WIDEST - 1).collect::<String>())
}

/// The parts that a page shows beside their sum: the slowest and those with errors, if there are too many.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    parts: Vec<(String, Report)>,
}

impl Shown {
    pub(crate) fn add(&mut self, name: &str, results: &Results) {
        for report in results.reports() {
            let name = part(report).map_or_else(|| name.to_owned(), |part| format!("part {part}"));
            self.parts.push((name, report.clone()));
        }
        if self.parts.len() > MOST {
            let badness = |report: &Report| (report.counts.errors() > 0, percentile(report.main_times().1, 99.0));
            self.parts.sort_by_key(|(_, report)| std::cmp::Reverse(badness(report)));
            self.parts.truncate(MOST);
        }
    }

    pub(crate) fn into_parts(self) -> Vec<(String, Report)> {
        let mut parts = self.parts;
        parts.sort_by_key(|(_, report)| part(report));
        parts
    }
}

/// Which part of a load it is, where it is one.
fn part(report: &Report) -> Option<u64> {
    report.about["settings"]["effective"]["part"].as_u64()
}
