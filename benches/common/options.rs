//! What a benchmark is asked for: how often, how long, and which rows.

use std::ops::Range;
use std::time::Duration;

use crate::Result;

/// How often a row's servers are started afresh: where a process happens to lie in memory is worth one per cent.
pub const GENERATIONS: usize = 3;

pub struct Options {
    pub rounds: usize,
    pub window: Duration,
    /// Only rows whose text contains this, in lower case.
    only: String,
}

impl Options {
    /// Reads the command line. By default there are `rounds` rounds of `millis` milliseconds.
    pub fn parse(words: &[String], rounds: usize, millis: u64) -> Result<Self> {
        let mut options = Self { rounds, window: Duration::from_millis(millis), only: String::new() };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word {
                "--bench" => {}
                "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
                "--window" => options.window = Duration::from_millis(value()?.parse::<u64>()?.max(1)),
                "--only" => options.only = value()?.to_lowercase(),
                _ => return Err(format!("{word}: only --rounds N, --window MS and --only TEXT are known").into()),
            }
        }
        Ok(options)
    }

    /// The rounds that each generation of servers lasts.
    pub fn generations(&self) -> impl Iterator<Item = Range<usize>> {
        let (rounds, each) = (self.rounds, self.rounds.div_ceil(GENERATIONS));
        (0..rounds).step_by(each).map(move |first| first..rounds.min(first + each))
    }

    pub fn wants(&self, row: &str) -> bool {
        row.to_lowercase().contains(&self.only)
    }

    /// The command line that gives these options.
    pub fn words(&self) -> String {
        let only = if self.only.is_empty() { String::new() } else { format!(" --only '{}'", self.only) };
        format!("--rounds {} --window {}{only}", self.rounds, self.window.as_millis())
    }
}
