//! What the campaign is asked for: how long each attack lasts, and which attacks.

use std::time::Duration;

use common::Result;

pub(crate) struct Options {
    pub(crate) length: Duration,
    /// Only attacks whose name contains this, in lower case.
    only: String,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self { length: Duration::from_secs(5), only: String::new() };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word {
                "--bench" => {}
                "--seconds" => options.length = Duration::from_secs(value()?.parse::<u64>()?.clamp(1, 3600)),
                "--only" => options.only = value()?.to_lowercase(),
                _ => return Err(format!("{word}: only --seconds N and --only NAME are known").into()),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, attack: &str) -> bool {
        attack.to_lowercase().contains(&self.only)
    }

    /// The command line that gives these options.
    pub(crate) fn words(&self) -> String {
        let only = if self.only.is_empty() { String::new() } else { format!(" --only '{}'", self.only) };
        format!("--seconds {}{only}", self.length.as_secs())
    }
}
