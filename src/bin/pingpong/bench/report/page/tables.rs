//! The tables of a page: requirements, figures, counters, settings, machine.

use std::fmt::Write;

use serde_json::Value;

use super::super::judged::{self, Judged};
use super::super::ratios::Row;
use super::super::searched::{Searched, TRIAL_TITLES};
use super::super::text::{grouped, per_second, shown};
use super::super::{PERCENTILES, Report, figures as figures_of};
use super::pictures::class_of;
use super::{Exhibit, escaped};
use crate::bench::record::Fact;

/// Runs with settings or machines of their own that a table has room for.
const WIDEST: usize = 20;

/// What was required, and whether it is so.
pub(super) fn requirements<'a>(judged: impl Iterator<Item = (String, &'a Judged)>) -> String {
    let rows: Vec<[String; 4]> = judged.map(|(step, judged)| judged::row(step, judged)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let has_steps = rows.iter().any(|row| !row[0].is_empty());
    let mut table = Table::new("requirements", "Requirements");
    let titles = ["required", "measured", "outcome"].map(str::to_owned);
    table.head(if has_steps { vec!["of".to_owned()] } else { Vec::new() }.into_iter().chain(titles), false);
    for [step, text, measured, outcome] in rows {
        let class = if outcome == "met" { "met" } else { "unmet" };
        let step = if has_steps { format!("<th>{}</th>", escaped(&step)) } else { String::new() };
        let [text, measured, outcome] = [text, measured, outcome].map(|cell| escaped(&cell));
        table.row(&format!("{step}<td>{text}</td><td>{measured}</td><td class=\"{class}\">{outcome}</td>"));
    }
    table.end()
}

/// How the second of two differs from the first.
pub(super) fn compared(names: [&str; 2], rows: &[Row], verdict: &str) -> String {
    let mut table = Table::new("compared", "Compared");
    let _ = writeln!(table.html, "<p>{}</p>", escaped(verdict));
    table.head(["", names[0], names[1], ""].map(str::to_owned), true);
    for row in rows {
        let [first, second] = row.shown().map(|value| number(&value));
        let (figure, told) = (escaped(&row.figure), escaped(&row.told(names)));
        table.row(&format!("<th>{figure}</th>{first}{second}<td>{told}</td>"));
    }
    table.end()
}

/// The trials of a search, in order.
pub(super) fn trials(searched: &Searched) -> String {
    let mut table = Table::new("trials", "Search");
    let _ = writeln!(table.html, "<p>{}</p>", escaped(&searched.sentence()));
    table.head(TRIAL_TITLES.map(str::to_owned), true);
    for cells in searched.rows() {
        let [asked, rest @ .., verdict] = cells;
        let cells: String = rest.iter().map(|cell| number(cell)).collect();
        table.row(&format!("<td class=\"number\">{asked}</td>{cells}<td>{}</td>", escaped(&verdict)));
    }
    table.end()
}

/// Rate and times. Of one run all kinds of times, of several those that users feel.
pub(super) fn figures(exhibits: &[Exhibit<'_>]) -> String {
    let mut table = Table::new("figures", "Figures");
    let titles = ["50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"];
    if let [only] = exhibits {
        let report = only.report;
        let rate_of = answered(report);
        let _ = writeln!(
            table.html,
            "<p>{} requests answered right and in time, {rate_of} a second over {:.2} s; {} errors</p>",
            grouped(report.counts[Fact::Requests]),
            report.seconds,
            grouped(report.counts.errors())
        );
        table.begin();
        table.head(["time"].into_iter().chain(titles).map(str::to_owned), true);
        for (kind, _) in report.times().into_iter().filter(|(_, times)| times.is_some()) {
            table.row(&format!("<th>{kind}</th>{}", times(report, kind)));
        }
    } else {
        table.begin();
        let titles =
            ["", "asked a second", "answered a second"].into_iter().chain(titles).chain(["lag 99 %", "errors"]);
        table.head(titles.map(str::to_owned), true);
        for (place, exhibit) in exhibits.iter().enumerate() {
            let (report, class) = (exhibit.report, class_of(exhibits, place));
            let asked = report.asked_per_second.map_or("–".to_owned(), per_second);
            let (kind, _) = report.main_times();
            let lag = figures_of(report.lag.as_ref())[2].1.map_or("–".to_owned(), shown);
            table.row(&format!(
                "<th><svg class=\"swatch {class}\" viewBox=\"0 0 28 10\" aria-hidden=\"true\"><polyline \
                 points=\"1,5 27,5\" stroke-width=\"2.5\"/></svg>{}</th>{}{}{}{}{}",
                escaped(&exhibit.label),
                number(&asked),
                number(&answered(report)),
                times(report, kind),
                number(&lag),
                number(&grouped(report.counts.errors()))
            ));
        }
    }
    table.end() + &notes(exhibits)
}

/// What the figures are.
fn notes(exhibits: &[Exhibit<'_>]) -> String {
    let is_open = exhibits.iter().any(|exhibit| exhibit.report.is_open());
    let what = match (exhibits, is_open) {
        ([_], true) => "service: from when a request was sent; response: from when it was due; lag: between the two.",
        (_, true) => "Times are response times, from when a request was due; lag: from then to when it was sent.",
        (_, false) => {
            "Closed loop: a connection waits for its answer before it asks again, so a slow server is asked less often and \
             its worst times are under-represented; --rate asks on schedule."
        }
    };
    format!(
        "<p class=\"soft\">{what} ±: 95 % intervals, from the blocks of the run; ~: blocks depended on each other; –: none, \
         for there were too few answers or too little time.</p>\n"
    )
}

fn answered(report: &Report) -> String {
    let margin =
        report.rate_interval().map_or(String::new(), |interval| format!(" {}", interval.told(report.per_second)));
    per_second(report.per_second) + &margin
}

/// The cells of the times of a kind, each with its interval.
fn times(report: &Report, kind: &str) -> String {
    let times = report.times().into_iter().find_map(|(name, times)| times.filter(|_| name == kind));
    let mut cells = String::new();
    for (place, (_, nanos)) in figures_of(times).into_iter().enumerate() {
        let interval = PERCENTILES.get(place).zip(nanos).map(|((percent, _), nanos)| {
            report.interval(kind, *percent).map_or("–".to_owned(), |interval| interval.told(nanos as f64))
        });
        let interval = interval.map_or(String::new(), |text| format!("<br><span class=\"soft\">{text}</span>"));
        let _ = write!(cells, "<td class=\"number\">{}{interval}</td>", nanos.map_or("–".to_owned(), shown));
    }
    cells
}

fn number(text: &str) -> String {
    format!("<td class=\"number\">{}</td>", escaped(text))
}

/// Everything counted that is not 0 in each of the runs.
pub(super) fn counters(exhibits: &[Exhibit<'_>]) -> String {
    let mut table = Table::new("counters", "Counters");
    table.begin();
    columns(&mut table, exhibits.iter().map(|exhibit| exhibit.label.clone()).collect(), true);
    for (fact, name) in Fact::ALL {
        let counts: Vec<u64> = exhibits.iter().map(|exhibit| exhibit.report.counts[fact]).collect();
        if counts.iter().any(|count| *count > 0) {
            let cells: String = counts.iter().map(|count| number(&grouped(*count))).collect();
            table.row(&format!("<th>{}</th>{cells}", name.replace('_', " ")));
        }
    }
    table.end()
}

/// A run that was measured by one process, and what it is called.
pub(super) struct Run<'a> {
    name: String,
    pub(super) about: &'a Value,
}

/// The runs in an exhibit: itself, or those that it is the sum of.
pub(super) fn runs<'a>(exhibit: &Exhibit<'a>) -> Vec<Run<'a>> {
    let about = &exhibit.report.about;
    let Some(runs) = about["runs"].as_array() else { return vec![Run { name: exhibit.label.clone(), about }] };
    let name = |run: &Value| run["file"].as_str().unwrap_or_default().to_owned();
    runs.iter().map(|run| Run { name: name(run), about: &run["run"] }).collect()
}

/// Settings and machine of each run. What all have in common is shown once.
pub(super) fn about(exhibits: &[Exhibit<'_>]) -> String {
    let runs: Vec<Run<'_>> = exhibits.iter().filter(|exhibit| !exhibit.is_part).flat_map(runs).collect();
    let settings = runs.iter().map(|run| (run.name.as_str(), &run.about["settings"]["effective"])).collect();
    let machines = runs.iter().map(|run| (run.name.as_str(), &run.about["machine"])).collect();
    facts("settings", "Settings", settings) + &facts("machine", "Machine", machines)
}

fn facts(id: &str, title: &str, runs: Vec<(&str, &Value)>) -> String {
    // Where one is like the other, they are told together.
    let mut known: Vec<(String, &Value)> = Vec::new();
    for (name, facts) in runs {
        match known.iter_mut().find(|(_, other)| *other == facts) {
            Some((names, _)) => *names = format!("{names}, {name}"),
            None => known.push((name.to_owned(), facts)),
        }
    }
    let left_out = known.len().saturating_sub(WIDEST);
    known.truncate(WIDEST);
    let mut table = Table::new(id, title);
    if left_out > 0 {
        let _ = writeln!(table.html, "<p class=\"soft\">{left_out} more are in the JSON (--json).</p>");
    }
    table.begin();
    columns(&mut table, known.iter().map(|(names, _)| names.clone()).collect(), false);
    let keys: Vec<&String> =
        known.iter().filter_map(|(_, facts)| facts.as_object()).flat_map(|facts| facts.keys()).collect();
    let mut told: Vec<&String> = Vec::new();
    for key in keys {
        let values: Vec<&Value> = known.iter().map(|(_, facts)| &facts[key.as_str()]).collect();
        if told.contains(&key) || values.iter().all(|value| value.is_null()) {
            continue;
        }
        told.push(key);
        let name = escaped(&key.replace('_', " "));
        let cells = match values.iter().all(|value| *value == values[0]) {
            true => format!("<td class=\"wide\" colspan=\"{}\">{}</td>", values.len(), text(values[0])),
            false => values.iter().map(|value| format!("<td>{}</td>", text(value))).collect(),
        };
        table.row(&format!("<th>{name}</th>{cells}"));
    }
    table.end()
}

/// Titles, where there are several columns.
fn columns(table: &mut Table, names: Vec<String>, are_numbers: bool) {
    if names.len() > 1 {
        table.head([String::new()].into_iter().chain(names), are_numbers);
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => match number.as_u64() {
            Some(number) => grouped(number),
            None => per_second(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => escaped(text),
        other => escaped(&other.to_string()),
    }
}

/// A table that is being written, with its title above it.
struct Table {
    id: String,
    html: String,
    has_begun: bool,
}

impl Table {
    fn new(id: &str, title: &str) -> Self {
        Self { id: id.to_owned(), html: format!("<h2>{title}</h2>\n"), has_begun: false }
    }

    fn begin(&mut self) {
        let _ = writeln!(self.html, "<div class=\"table\" tabindex=\"0\"><table id=\"{}\">", self.id);
        self.has_begun = true;
    }

    /// Titles of columns; those behind the first are above numbers, if these are.
    fn head(&mut self, titles: impl IntoIterator<Item = String>, are_numbers: bool) {
        if !self.has_begun {
            self.begin();
        }
        let cell = |(place, title): (usize, String)| {
            let class = if are_numbers && place > 0 { " class=\"number\"" } else { "" };
            format!("<th{class}>{}</th>", escaped(&title))
        };
        let cells: String = titles.into_iter().enumerate().map(cell).collect();
        let _ = writeln!(self.html, "<thead><tr>{cells}</tr></thead>");
    }

    fn row(&mut self, cells: &str) {
        let _ = writeln!(self.html, "<tr>{cells}</tr>");
    }

    fn end(self) -> String {
        self.html + "</table></div>\n"
    }
}
