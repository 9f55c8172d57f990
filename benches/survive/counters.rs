//! The counters that SIGUSR1 has a server log.

use std::fmt;

/// One line of `key=value`.
#[derive(Clone)]
pub(crate) struct Counters(Vec<(String, u64)>);

/// Why connections and datagrams had no good end: what is shown of a server's counters when it is not zero.
const SHOWN: [&str; 14] = [
    "peer",
    "service",
    "idle",
    "stall",
    "overflow",
    "limit",
    "reset",
    "shutdown",
    "loop",
    "budget",
    "dropped",
    "waiting",
    "log_lost",
    "console_lost",
];

impl Counters {
    /// The last ones in a log.
    pub(crate) fn last_in(log: &str) -> Option<Self> {
        let line = log.lines().rfind(|line| line.contains(" open="))?;
        let pair = |word: &str| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.parse().ok()?))
        };
        Some(Self(line.split_whitespace().filter_map(pair).collect()))
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.iter().find(|(key, _)| key == name).map_or(0, |&(_, value)| value)
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accepted={}", self.count("accepted"))?;
        for name in SHOWN {
            if self.count(name) > 0 {
                write!(f, " {name}={}", self.count(name))?;
            }
        }
        Ok(())
    }
}
