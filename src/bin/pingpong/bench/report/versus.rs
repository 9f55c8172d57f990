//! Several servers that were loaded by turns: what each has come to, and how they differ (`--against`).

use std::fmt;

use serde_json::{Map, Value, json};

use super::files::Published;
use super::json::SCHEMA;
use super::judged::{self, Judged};
use super::page::Page;
use super::ratios::{self, Row};
use super::standstill;
use super::text::{self, grouped, per_second, shown};
use super::turns::Side;
use super::{Report, figures, settings};
use crate::bench::against::Turns;

/// The results of servers by turns.
#[derive(Clone, Debug)]
pub(crate) struct Versus {
    sides: Vec<Side>,
    /// How the time was cut into turns, and whether these were long enough; `None` where it did not come to that.
    turns: Option<(Turns, bool)>,
    is_interrupted: bool,
    /// The first one beside each of the others, or why that would say nothing.
    rows: Result<Vec<Vec<Row>>, String>,
}

impl Versus {
    pub(crate) fn new(mut sides: Vec<Side>, turns: Option<(Turns, bool)>, is_interrupted: bool) -> Self {
        if is_interrupted {
            sides.iter_mut().for_each(Side::interrupt);
        }
        sides.iter_mut().for_each(Side::judge);
        let rows = match sides.iter().find_map(Side::fault) {
            Some(fault) => Err(fault),
            None if sides.iter().any(|side| side.turns == 0) => Err("not every server had its turn".to_owned()),
            None => {
                let reports: Vec<&Report> = sides.iter().filter_map(|side| side.report.as_ref()).collect();
                Ok(reports.iter().skip(1).map(|second| ratios::of_turns(reports[0], second)).collect())
            }
        };
        let mut versus = Self { sides, turns, is_interrupted, rows };
        versus.note_standstills();
        versus
    }

    fn note_standstills(&mut self) {
        let have: Vec<bool> =
            self.sides[1..].iter().map(|second| !self.standstills([&self.sides[0], second]).is_empty()).collect();
        for (rows, has_standstill) in self.rows.iter_mut().flatten().zip(have) {
            rows.iter_mut().for_each(|row| row.has_standstill = has_standstill);
        }
    }

    /// Those of these sides, in words.
    fn standstills<'a>(&self, sides: impl IntoIterator<Item = &'a Side>) -> Vec<String> {
        let Some((turns, _)) = self.turns else { return Vec::new() };
        let told = |side: &'a Side| Some(side.standstill(turns.length)?.told(side.name()));
        sides.into_iter().filter_map(told).collect()
    }

    pub(crate) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.sides.iter().filter_map(|side| side.report.as_ref())
    }

    /// Whether each comes to what is required, in all of its turns.
    pub(crate) fn meets_requirements(&self) -> bool {
        let has_some = self.reports().any(|report| !report.requirements.is_empty());
        let has_all = self.reports().count() == self.sides.len();
        self.reports().all(Report::meets_requirements) && (has_all || !has_some)
    }

    fn each(&self) -> impl Iterator<Item = (&str, &Report)> {
        self.sides.iter().filter_map(|side| Some((side.name(), side.report.as_ref()?)))
    }

    pub(in crate::bench) fn page(&self) -> Page<'_> {
        let runs = self.each().map(|(name, report)| (name.to_owned(), report));
        let page = Page::beside(self.title(), self.warnings(), runs).with_required(self.judged());
        let pairs = self.sides.iter().skip(1).zip(self.rows.iter().flatten());
        pairs.fold(page, |page, (second, rows)| {
            let [one, two] = [&self.sides[0], second];
            let who = format!("{} is {}, {} is {}", one.name(), one.endpoint, two.name(), two.endpoint);
            page.with_compared([one.name(), two.name()], rows, &who)
        })
    }

    /// What is required of each.
    fn judged(&self) -> impl Iterator<Item = (String, &Judged)> {
        self.each().flat_map(|(name, report)| report.requirements.iter().map(move |one| (name.to_owned(), one)))
    }

    /// What was done, in a line.
    fn title(&self) -> String {
        let endpoints: Vec<String> =
            self.sides.iter().map(|side| format!("{} {}", side.name(), side.endpoint)).collect();
        let endpoints = endpoints.join(" against ");
        let Some(effective) = self.sides.iter().find_map(Side::settings) else { return endpoints };
        let mut effective = effective.clone();
        effective["endpoint"] = endpoints.into();
        let mut asked: Vec<&str> =
            self.sides.iter().filter_map(Side::settings).filter_map(|own| own["send"].as_str()).collect();
        asked.dedup();
        if asked.len() > 1 {
            effective["send"] = asked.join("\" and \"").into();
        }
        settings::title(&effective)
    }

    /// How the time was shared.
    fn shares(&self) -> String {
        let Some((Turns { count, length, settling }, _)) = self.turns else { return "no turn of it".to_owned() };
        let [length, settling] = [length, settling].map(|time| shown(time.as_nanos() as u64));
        format!("each in {count} turns of {length}, after {settling} of settling")
    }

    fn turns_taken(&self) -> usize {
        self.sides.iter().map(|side| side.turns).sum()
    }

    fn warnings(&self) -> Vec<String> {
        let of_each = self
            .each()
            .flat_map(|(name, report)| report.warnings().into_iter().map(move |warning| format!("{name}: {warning}")));
        let mut warnings: Vec<String> = of_each.collect();
        if let Some((turns, is_long_enough)) = self.turns {
            warnings.extend(self.sides.iter().filter_map(|side| side.leaves_out(turns.length)));
            let planned = turns.count as usize * self.sides.len();
            if self.is_interrupted {
                warnings.push(format!(
                    "interrupted: {} of {planned} turns were not gone through",
                    planned - self.turns_taken()
                ));
            }
            if !is_long_enough {
                warnings.push(
                    "answers take long beside a turn, whose ends count too much then: give a longer -d".to_owned(),
                );
            }
        } else if self.is_interrupted {
            warnings.push("interrupted before the first turn".to_owned());
        }
        if let Err(why) = &self.rows {
            warnings.push(format!("not compared: {why}"));
        }
        if self.rows.is_ok() {
            warnings.extend(standstill::warning(&self.standstills(&self.sides)));
            let failing = self.each().filter(|(_, report)| report.counts.errors() > 0);
            let failing: Vec<String> =
                failing.map(|(name, report)| format!("{} of {name}", grouped(report.counts.errors()))).collect();
            if !failing.is_empty() {
                warnings.push(format!(
                    "requests failed ({}): times are compared of those alone that did not",
                    failing.join(", ")
                ));
            }
        }
        warnings
    }

    fn servers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["answered", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max", "errors"];
        writeln!(f, "  {}", titles.map(|title| format!("{title:>11}")).concat())?;
        let mut kind = "service";
        for (name, report) in self.each() {
            let (own, times) = report.main_times();
            kind = own;
            let times = figures(Some(times)).map(|(_, nanos)| nanos.map_or("-".to_owned(), shown));
            let cells: Vec<String> = [per_second(report.per_second)]
                .into_iter()
                .chain(times)
                .chain([grouped(report.counts.errors())])
                .map(|cell| format!("{cell:>11}"))
                .collect();
            writeln!(f, "{name:<2}{}", cells.concat())?;
        }
        writeln!(f, "answered: right and in time, a second; percentiles: {kind} time")
    }
}

impl fmt::Display for Versus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.title(), self.shares())?;
        self.servers(f)?;
        for (second, rows) in self.sides.iter().skip(1).zip(self.rows.iter().flatten()) {
            writeln!(f)?;
            ratios::table(f, rows, [self.sides[0].name(), second.name()])?;
        }
        if self.rows.is_ok() {
            writeln!(
                f,
                "ratios: in the middle of all turns side by side, with 95 % intervals; ~: turns depended on each other"
            )?;
        }
        text::warn(f, &self.warnings())?;
        judged::table(f, self.judged())?;
        write!(f, "\n{}", self.last_lines())
    }
}

impl Published for Versus {
    fn to_json(&self) -> String {
        let line = |key: &str, value: Value| format!("\"{key}\": {value}");
        let (turns, settling) = match self.turns {
            Some((turns, _)) => (Some(turns), Some(turns.settling.as_secs_f64())),
            None => (None, None),
        };
        let compared = |(second, rows): (&Side, &Vec<Row>)| {
            let figures: Vec<Value> = rows.iter().map(Row::to_json).collect();
            let standstills = self.standstills([&self.sides[0], second]);
            json!({
                "first": self.sides[0].name(), "second": second.name(), "figures": figures, "standstills": standstills,
            })
        };
        let compared: Vec<Value> = self.sides.iter().skip(1).zip(self.rows.iter().flatten()).map(compared).collect();
        let reports: Vec<String> =
            self.each().map(|(name, report)| format!("\"{name}\": {}", report.to_json().trim_end())).collect();
        let waits: Map<String, Value> =
            self.sides.iter().map(|side| (side.name().to_owned(), side.waits_to_json())).collect();
        let lines = [
            line("schema", SCHEMA.into()),
            line("title", self.title().into()),
            line("interrupted", self.is_interrupted.into()),
            line("planned_turns", turns.map(|turns| turns.count as usize * self.sides.len()).into()),
            line("turns", self.turns_taken().into()),
            line("turn_seconds", turns.map(|turns| turns.length.as_secs_f64()).into()),
            line("settling_seconds", settling.into()),
            line("waits_after_turns", waits.into()),
            line("not_compared_because", self.rows.as_ref().err().cloned().into()),
            line("compared", compared.into()),
            line("warnings", self.warnings().into()),
            format!("\"servers\": {{\n{}\n}}", reports.join(",\n")),
        ];
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    fn last_lines(&self) -> String {
        let line = |(name, report): (&str, &Report)| {
            report.last_line().replacen("result:", &format!("result: server={name}"), 1) + "\n"
        };
        self.each().map(line).collect()
    }

    fn remarks(&self) -> Vec<String> {
        let complaints = self.each().flat_map(|(name, report)| {
            let complaints = report.requirements.iter().filter_map(Judged::complaint);
            complaints.map(move |complaint| format!("{name}: {complaint}")).collect::<Vec<_>>()
        });
        self.warnings().into_iter().chain(complaints).collect()
    }
}
