//! The figures of two beside each other, and how many times the one is the other.

use std::fmt;

use serde_json::{Value, json};

use super::{PERCENTILES, Report, micros};
pub(super) use crate::bench::trials::Ratio;
use crate::bench::trials::{Join, Tally, Unsure, Verdict, percentile_ratio_of_pairs, rate_ratio_of_pairs};

/// A figure of two loads.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// As people call it: `rate`, `p99.9`.
    pub(super) figure: String,
    /// Answers a second, or nanoseconds; `None` where nothing was measured.
    pub(super) values: [Option<f64>; 2],
    /// How many times the first one the second is, or why that cannot be told.
    pub(super) ratio: Result<Ratio, String>,
    /// One of the two stood still, of which that says little.
    pub(super) has_standstill: bool,
}

/// The name of a percentile for people.
pub(super) fn name_of(percent: f64) -> String {
    format!("p{percent}")
}

impl Row {
    pub(super) fn is_rate(&self) -> bool {
        self.figure == "rate"
    }

    /// Both values.
    pub(super) fn shown(&self) -> [String; 2] {
        self.values.map(|value| match value {
            None => "-".to_owned(),
            Some(value) if self.is_rate() => super::text::per_second(value),
            Some(nanos) => super::text::shown(nanos.round() as u64),
        })
    }

    /// In words, where these names are those of the two: `B's p99 is 1.31 [1.22 .. 1.40] of A's`.
    pub(super) fn told(&self, [first, second]: [&str; 2]) -> String {
        match &self.ratio {
            Ok(ratio) => {
                let told = ratio.told(&format!("{second}'s {}", self.figure), &format!("{first}'s"));
                let is_none_seen = matches!(ratio.verdict(), Verdict::NoDifference { .. });
                if self.has_standstill && is_none_seen { format!("{told}, standstills apart") } else { told }
            }
            Err(why) => format!("–: {why}"),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let unit = if self.is_rate() { "per_second" } else { "us" };
        let [first, second] = self
            .values
            .map(|value| value.map(|value| if self.is_rate() { value } else { micros(value.round() as u64) }));
        let ratio = self.ratio.as_ref().ok();
        let verdict = ratio.map(|ratio| match ratio.verdict() {
            Verdict::More => "more",
            Verdict::Less => "less",
            Verdict::NoDifference { .. } => "no difference",
        });
        json!({
            "figure": self.figure,
            "unit": unit,
            "first": first,
            "second": second,
            "ratio": ratio.map(|ratio| ratio.ratio),
            "low": ratio.map(|ratio| ratio.low),
            "high": ratio.map(|ratio| ratio.high),
            "rough": ratio.map(|ratio| ratio.is_rough),
            "verdict": verdict,
            "reason": self.ratio.as_ref().err(),
        })
    }
}

/// All figures of two loads that had their turns side by side, as many as both had.
pub(super) fn of_turns(first: &Report, second: &Report) -> Vec<Row> {
    let series = [first, second].map(|report| (report.blocks.tallies(), report.blocks.times(report.main_times().0)));
    let pairs = series.iter().map(|(tallies, _)| tallies.len()).min().unwrap_or_default();
    let [(first, first_times), (second, second_times)] =
        series.map(|(tallies, times)| (tallies[..pairs].to_vec(), times.get(..pairs).unwrap_or_default()));
    let rate = |tallies: &[Tally]| whole(tallies).rate();
    let ratio = rate_ratio_of_pairs(&first, &second);
    let mut rows = vec![row("rate".to_owned(), [rate(&first), rate(&second)], ratio)];
    let [first_whole, second_whole] = [whole(first_times), whole(second_times)];
    for (percent, _) in PERCENTILES {
        let values = [&first_whole, &second_whole].map(|times| times.percentile(percent));
        rows.push(row(name_of(percent), values, percentile_ratio_of_pairs(first_times, second_times, percent)));
    }
    rows
}

pub(super) fn row(figure: String, values: [Option<f64>; 2], ratio: Result<Ratio, Unsure>) -> Row {
    Row { figure, values, ratio: ratio.map_err(|why| why.to_string()), has_standstill: false }
}

fn whole<B: Join + Default>(blocks: &[B]) -> B {
    let mut whole = B::default();
    blocks.iter().for_each(|block| whole.join(block));
    whole
}

/// A line for each.
pub(super) fn table(f: &mut fmt::Formatter<'_>, rows: &[Row], names: [&str; 2]) -> fmt::Result {
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default().max(10) + 1;
    writeln!(f, "{:<7}{:>width$}{:>width$}", "", names[0], names[1])?;
    for row in rows {
        let [first, second] = row.shown();
        writeln!(f, "{:<7}{first:>width$}{second:>width$}   {}", row.figure, row.told(names))?;
    }
    Ok(())
}
