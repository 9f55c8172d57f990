//! `pingpong bench --against`: the flag, and what goes together with it.

use clap::{Arg, ArgAction};

use super::arguments::{another_endpoint, option};
use crate::bench::BenchOptions;

/// Servers have letters.
const MOST_SERVERS: usize = 26;

pub(super) fn argument() -> Arg {
    option("against", "ENDPOINT", "Load this server as well, by turns, and compare (repeats)")
        .action(ArgAction::Append)
        .value_parser(another_endpoint())
        .conflicts_with_all(["requests", "hdr", "heartbeat", "find", "html", "probe", "until"])
}

impl BenchOptions {
    /// What does not go together where there are several servers, and what to do about it.
    pub(super) fn mistake_of_turns(&self) -> Option<String> {
        if self.against.is_empty() {
            return None;
        }
        if self.rates.len() > 1 || self.rates.iter().any(|rate| rate.is_ramp()) {
            return Some("--against takes one --rate that stays the same: servers take turns at it".to_owned());
        }
        (self.against.len() >= MOST_SERVERS).then(|| format!("--against is for {MOST_SERVERS} servers at the most"))
    }
}
