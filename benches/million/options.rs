//! What is asked for: how many connections, for how long, how often each asks.

use std::time::Duration;

use common::Result;

pub(crate) struct Options {
    pub(crate) connections: u64,
    /// Each connection asks once in this time.
    pub(crate) heartbeat: Duration,
    /// How long all of them are held.
    pub(crate) hold: Duration,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let (mut connections, mut heartbeat, mut hold) = (1_000_000, 60, None);
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word {
                "--bench" => {}
                "--connections" => connections = count(value()?)?,
                "--heartbeat" => heartbeat = value()?.trim_end_matches('s').parse::<u64>()?.max(1),
                "--seconds" => hold = Some(value()?.parse::<u64>()?.clamp(1, 24 * 3600)),
                _ => {
                    let known = "--connections N, --heartbeat SECONDS and --seconds N";
                    return Err(format!("{word}: only {known} are known").into());
                }
            }
        }
        // Long enough that the last ones to come have asked, too.
        let hold = hold.unwrap_or(heartbeat + 5);
        Ok(Self { connections, heartbeat: Duration::from_secs(heartbeat), hold: Duration::from_secs(hold) })
    }

    /// The command line that gives these options.
    pub(crate) fn words(&self) -> String {
        let (heartbeat, hold) = (self.heartbeat.as_secs(), self.hold.as_secs());
        format!("--connections {} --heartbeat {heartbeat} --seconds {hold}", self.connections)
    }
}

/// `20000`, `250k` or `1m`; one for each step at least.
fn count(text: &str) -> Result<u64> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'm') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let count = digits.parse::<u64>().map_err(|_| format!("--connections {text}: write it like 20000, 250k or 1m"))?;
    Ok(count.saturating_mul(unit).max(1_000))
}
