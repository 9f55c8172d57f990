//! Results as a page for a browser: one file that loads nothing and runs nothing, readable on a phone and on a wide screen,
//! by day and by night.
//!
//! - `pictures`: which charts there are, from the figures of the runs; `axis`: their scales
//! - `chart`: how one is drawn
//! - `tables`: figures, settings and machine
//!
//! Whatever comes from outside (endpoints, messages, paths, the machine's names) goes through [`escaped`].

mod axis;
mod chart;
mod pictures;
mod tables;

use std::fmt::Write;
use std::io;

use chart::Chart;

use super::judged::Judged;
use super::ratios::Row;
use super::{Report, Results};

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded and nothing runs, whatever might have slipped into the text.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Commands that are shown, where runs of a sum were not called alike.
const MOST_COMMANDS: usize = 20;

/// One run on a page.
#[derive(Clone, Debug)]
struct Exhibit<'a> {
    /// What tells it from the others.
    label: String,
    report: &'a Report,
    /// It is a part of another one.
    is_part: bool,
}

/// A page about one or several runs.
#[derive(Debug)]
pub(in crate::bench) struct Page<'a> {
    title: String,
    warnings: Vec<String>,
    /// What was required, found or compared, as HTML.
    verdicts: String,
    /// Pictures of more than these runs.
    charts: Vec<Chart>,
    exhibits: Vec<Exhibit<'a>>,
}

impl<'a> Page<'a> {
    /// About these results, and the runs that they are the sum of, each with its name: where there are several of them, and
    /// one step.
    pub(in crate::bench) fn of(results: &'a Results, parts: &'a [(String, Report)]) -> Self {
        let exhibit = |label: String, report: &'a Report| Exhibit { label, report, is_part: false };
        let exhibits = match (results.single(), parts) {
            (Some(report), [_, _, ..]) => {
                let parts = parts.iter().map(|(name, part)| Exhibit { is_part: true, ..exhibit(name.clone(), part) });
                [exhibit("all together".to_owned(), report)].into_iter().chain(parts).collect()
            }
            (Some(report), _) => vec![exhibit("all".to_owned(), report)],
            (None, _) => {
                let steps = results.reports().iter();
                steps.map(|report| exhibit(format!("{} a second", report.step()), report)).collect()
            }
        };
        let searched = results.searched();
        let trials = searched.map_or(String::new(), tables::trials);
        Self {
            title: results.title(),
            warnings: results.warnings(),
            verdicts: tables::requirements(results.judged()) + &trials,
            charts: searched.map(pictures::search).into_iter().collect(),
            exhibits,
        }
    }

    /// About runs beside each other, each with its name.
    pub(super) fn beside(
        title: String,
        warnings: Vec<String>,
        runs: impl IntoIterator<Item = (String, &'a Report)>,
    ) -> Self {
        let exhibits = runs.into_iter().map(|(label, report)| Exhibit { label, report, is_part: false }).collect();
        Self { title, warnings, verdicts: String::new(), charts: Vec::new(), exhibits }
    }

    /// With how the second of these two differs from the first, in a line and figure by figure.
    pub(super) fn with_compared(mut self, names: [&str; 2], rows: &[Row], verdict: &str) -> Self {
        self.verdicts.push_str(&tables::compared(names, rows, verdict));
        self
    }

    /// With what was required, each with whom it is about.
    pub(super) fn with_required<'b>(mut self, judged: impl Iterator<Item = (String, &'b Judged)>) -> Self {
        self.verdicts.push_str(&tables::requirements(judged));
        self
    }

    pub(super) fn to_html(&self) -> io::Result<String> {
        let title = escaped(&self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n{}",
            self.commands()
        );
        html.push_str(&self.warnings());
        html.push_str(&self.verdicts);
        html.push_str(&tables::figures(&self.exhibits));
        html.push_str("<h2>Pictures</h2>\n<div class=\"charts\">\n");
        for chart in self.charts.iter().chain(&pictures::charts(&self.exhibits)) {
            html.push_str(&chart.to_html()?);
        }
        html.push_str("</div>\n");
        html.push_str(&tables::counters(&self.exhibits));
        html.push_str(&tables::about(&self.exhibits));
        let _ = write!(html, "<footer>{}</footer>\n</body>\n</html>\n", escaped(&super::program()));
        Ok(html)
    }

    /// How the runs were called.
    fn commands(&self) -> String {
        let mut commands: Vec<String> = Vec::new();
        for run in self.exhibits.iter().flat_map(|exhibit| tables::runs(exhibit)) {
            let words = run.about["settings"]["requested"].as_array().into_iter().flatten();
            let words: Vec<String> = words.filter_map(|word| word.as_str()).map(quoted).collect();
            let command = escaped(&format!("pingpong {}", words.join(" ")));
            if !words.is_empty() && commands.len() < MOST_COMMANDS && !commands.contains(&command) {
                commands.push(command);
            }
        }
        if commands.is_empty() { String::new() } else { format!("<pre>{}</pre>\n", commands.join("\n")) }
    }

    fn warnings(&self) -> String {
        if self.warnings.is_empty() {
            return String::new();
        }
        let items: String = self.warnings.iter().map(|warning| format!("<li>{}</li>\n", escaped(warning))).collect();
        format!("<h2>Warnings</h2>\n<ul class=\"warnings\">\n{items}</ul>\n")
    }
}

/// A word of a command as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_=.,:/@%+[]".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// As text of HTML, also within quotes. What cannot be seen, or turns text around, is shown by its number.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in pingpong::service::escaped(text.as_bytes()).chars() {
        match letter {
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '&' => html.push_str("&amp;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            letter => html.push(letter),
        }
    }
    html
}
