//! What a run has come to: one report, or one for each step of its rate.

use std::fmt;
use std::io;

use serde_json::Value;

use super::json::{SCHEMA, STRANGE, foreign, other_kind, value_of};
use super::judged::{self, Judged};
use super::proof;
use super::sheet::{Sheet, objects};
use super::text::{self, grouped, per_second, shown};
use super::{Report, Searched, figures, parts, settings};
use crate::bench::record::percentile;

/// The reports of a run.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    reports: Vec<Report>,
    /// How many there would have been without an interruption.
    planned: usize,
    /// What the run was the end of.
    searched: Option<Searched>,
}

impl Results {
    /// Of this many steps, as far as they were measured.
    pub(crate) fn new(reports: Vec<Report>, planned: usize) -> Self {
        Self { reports, planned, searched: None }
    }

    /// Of the last run of a search.
    pub(crate) fn of_search(report: Report, searched: Searched) -> Self {
        Self { reports: vec![report], planned: 1, searched: Some(searched) }
    }

    /// Whether a search ended because the server was gone.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.searched.as_ref().is_some_and(Searched::is_broken_off)
    }

    pub(crate) fn reports(&self) -> &[Report] {
        &self.reports
    }

    pub(super) fn into_reports(self) -> Vec<Report> {
        self.reports
    }

    pub(super) fn searched(&self) -> Option<&Searched> {
        self.searched.as_ref()
    }

    pub(super) fn planned(&self) -> usize {
        self.planned
    }

    /// Whether all that is required is so, of every step that was to be measured.
    pub(crate) fn meets_requirements(&self) -> bool {
        match &self.searched {
            // There was no server that could have met anything.
            Some(searched) if searched.is_broken_off() => return true,
            Some(searched) if !searched.has_found() => return false,
            _ => {}
        }
        let has_some = self.reports.iter().any(|report| !report.requirements.is_empty());
        self.reports.iter().all(Report::meets_requirements) && !(has_some && self.reports.len() < self.planned)
    }

    /// The report, where there is one step only.
    pub(super) fn single(&self) -> Option<&Report> {
        self.reports.first().filter(|_| self.planned == 1)
    }

    pub(super) fn to_json(&self) -> String {
        if let Some(report) = self.single() {
            return report.to_json();
        }
        let steps: Vec<String> = self.reports.iter().map(|report| report.to_json().trim_end().to_owned()).collect();
        let (title, planned) = (Value::from(self.title()), self.planned);
        format!(
            "{{\n\"schema\": {SCHEMA},\n\"title\": {title},\n\"planned_steps\": {planned},\n\"steps\": [\n{}\n]\n}}\n",
            steps.join(",\n")
        )
    }

    /// Reads results back.
    pub(crate) fn from_json(text: &str) -> io::Result<Self> {
        match Sheet::of(text) {
            Ok(sheet) => proof::check(text.trim().as_bytes()).and_then(|()| Self::of_sheet(sheet)),
            Err(_) => Err(value_of(text).err().unwrap_or_else(|| foreign(STRANGE))),
        }
    }

    /// The same, of an object that was looked into.
    pub(super) fn of_sheet(sheet: Sheet<'_>) -> io::Result<Self> {
        let broken = |_| foreign("not JSON");
        if sheet.get("servers").is_some_and(|servers| servers.starts_with('{')) {
            return Err(other_kind("results of several servers (--against), not of one"));
        }
        if sheet.get("compared").is_some() && sheet.get("verdict").is_some() {
            return Err(other_kind("what 'bench compare' has found, and no results of a run"));
        }
        let Some(steps) = sheet.get("steps").filter(|steps| steps.starts_with('[')) else {
            return Ok(Self::new(vec![Report::from_json(sheet)?], 1));
        };
        let steps = objects(steps).map_err(broken)?;
        let report = |step| Report::from_json(Sheet::of(step).map_err(broken)?);
        let reports: Vec<Report> = steps.into_iter().map(report).collect::<io::Result<_>>()?;
        if reports.is_empty() {
            return Err(foreign("no step in it"));
        }
        let planned = sheet.get("planned_steps").and_then(|number| number.parse().ok()).unwrap_or_default();
        let planned = reports.len().max(planned);
        Ok(Self::new(reports, planned))
    }

    /// What was done, in a line.
    pub(super) fn title(&self) -> String {
        if let Some(report) = self.single() {
            return report.title.clone();
        }
        let Some(first) = self.reports.first() else { return String::new() };
        settings::title_of_steps(&first.about, self.planned)
    }

    /// Which figures cannot be trusted, and why.
    pub(super) fn warnings(&self) -> Vec<String> {
        if let Some(report) = self.single() {
            return report.warnings();
        }
        let of_steps = self.reports.iter().flat_map(|report| {
            let step = report.step();
            report.warnings().into_iter().map(move |warning| format!("at {step}: {warning}"))
        });
        let left = self.planned - self.reports.len();
        let cut = (left > 0).then(|| format!("interrupted: {left} of {} steps were not measured", self.planned));
        of_steps.chain(cut).collect()
    }

    /// All that is required, each with the step that it is about, if there are several.
    pub(super) fn judged(&self) -> impl Iterator<Item = (String, &Judged)> {
        let of_step = |report: &'_ Report| if self.planned > 1 { report.step() } else { String::new() };
        self.reports.iter().flat_map(move |report| {
            let step = of_step(report);
            report.requirements.iter().map(move |judged| (step.clone(), judged))
        })
    }

    /// What is required and not so.
    pub(super) fn complaints(&self) -> Vec<String> {
        let complaints = |report: &Report| {
            let step = if self.planned > 1 { format!("at {}: ", report.step()) } else { String::new() };
            let complaints = report.requirements.iter().filter_map(Judged::complaint);
            complaints.map(|complaint| format!("{step}{complaint}")).collect::<Vec<_>>()
        };
        let search = self.searched.as_ref().filter(|searched| !searched.has_found()).map(Searched::sentence);
        search.into_iter().chain(self.reports.iter().flat_map(complaints)).collect()
    }

    /// A line for each step, to be found by grep.
    pub(super) fn last_lines(&self) -> String {
        if let (Some(searched), [report]) = (&self.searched, &*self.reports) {
            return report.last_line() + &searched.last_words() + "\n";
        }
        self.reports.iter().map(|report| report.last_line() + "\n").collect()
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(report) = self.single() {
            report.without_last_line(f)?;
            return write!(f, "\n{}", self.last_lines());
        }
        writeln!(f, "{}\n", self.title())?;
        let titles = ["answered", "50 %", "99 %", "99.9 %", "max", "lag 99 %", "errors"];
        let steps: Vec<String> = self.reports.iter().map(Report::step).collect();
        let width = steps.iter().map(|step| step.chars().count()).max().unwrap_or_default().max("asked".len());
        writeln!(f, "{:>width$}{}", "asked", titles.map(|title| format!("{title:>11}")).concat())?;
        for (step, report) in steps.iter().zip(&self.reports) {
            writeln!(f, "{step:>width$}{}", report.row())?;
        }
        writeln!(
            f,
            "asked and answered right and in time: a second; percentiles: response time, from when a request was due"
        )?;
        for (step, report) in steps.iter().zip(&self.reports).filter(|(_, report)| report.is_sum()) {
            writeln!(f, "\nat {step}:")?;
            parts::table(f, report)?;
        }
        text::warn(f, &self.warnings())?;
        judged::table(f, self.judged())?;
        write!(f, "\n{}", self.last_lines())
    }
}

impl Report {
    /// The rate of a step, as its row shows it.
    pub(super) fn step(&self) -> String {
        let ramp = &settings::effective_of_first(&self.about)["ramp_per_second"];
        match ramp["first"].as_f64().zip(ramp["last"].as_f64()) {
            Some((first, last)) => format!("{}..{}", per_second(first), per_second(last)),
            None => per_second(self.asked_per_second.unwrap_or_default()),
        }
    }

    /// What a step has come to.
    fn row(&self) -> String {
        let (_, times) = self.main_times();
        let [p50, _, p99, p999, _, max] = figures(Some(times)).map(|(_, nanos)| nanos.map_or("-".to_owned(), shown));
        let lag = self.lag.as_ref().filter(|lag| !lag.is_empty());
        let lag = lag.map_or("-".to_owned(), |lag| shown(percentile(lag, 99.0)));
        let cells = [per_second(self.per_second), p50, p99, p999, max, lag, grouped(self.counts.errors())];
        let unmet: Vec<&str> = self.requirements.iter().filter(|judged| !judged.is_met()).map(Judged::text).collect();
        let verdict = match (self.requirements.is_empty(), unmet.is_empty()) {
            (true, _) => String::new(),
            (false, true) => "  met".to_owned(),
            (false, false) => format!("  not met: {}", unmet.join(", ")),
        };
        cells.map(|cell| format!("{cell:>11}")).concat() + &verdict
    }
}
