//! What a benchmark is asked for: how often, how long, and which rows.

use std::time::Duration;

use crate::Result;

pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
    /// Only rows that have this in their text, in lower case.
    only: String,
}

impl Options {
    /// So many rounds of so many milliseconds, unless the command line says otherwise.
    pub(crate) fn parse(words: &[String], rounds: usize, millis: u64) -> Result<Self> {
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

    pub(crate) fn wants(&self, row: &str) -> bool {
        row.to_lowercase().contains(&self.only)
    }

    /// The words that ask for just this.
    pub(crate) fn words(&self) -> String {
        let only = if self.only.is_empty() { String::new() } else { format!(" --only '{}'", self.only) };
        format!("--rounds {} --window {}{only}", self.rounds, self.window.as_millis())
    }
}
