//! `pingpong bench --against`: the flag, and what goes together with it.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};
use pingpong::Endpoint;

use super::arguments::{self, another_endpoint, option};
use crate::bench::BenchOptions;
use crate::probe::Probe;

/// Servers have letters.
const MOST_SERVERS: usize = 26;

pub(super) fn argument() -> Arg {
    option("against", "ENDPOINT", "Load this server as well, by turns, and compare (repeats)")
        .action(ArgAction::Append)
        .value_parser(another_endpoint())
        .conflicts_with_all(["requests", "hdr", "heartbeat", "find", "probe", "until"])
}

/// `--send` and `--expect`: once, or once for each server.
pub(super) fn texts() -> [Arg; 2] {
    arguments::texts().map(|text| text.conflicts_with("size").action(ArgAction::Append))
}

/// The servers that take turns with the first one, and what each of them is asked: the same, or what its own `--send` and
/// `--expect` say.
pub(super) fn servers(options: &ArgMatches, first: &Probe) -> Result<Vec<(Endpoint, Probe)>, clap::Error> {
    let others: Vec<Endpoint> = options.get_many("against").into_iter().flatten().cloned().collect();
    let texts = |name| options.get_many::<Vec<u8>>(name).into_iter().flatten().cloned();
    let (sends, expects) = (texts("send").count(), texts("expect").count());
    if sends != expects || (sends > 1 && sends != 1 + others.len()) {
        let servers = 1 + others.len();
        let mistake = format!(
            "{sends} of --send and {expects} of --expect for {servers} server{}: give one of each, or one for each server",
            if servers == 1 { "" } else { "s" },
        );
        return Err(clap::Error::raw(ErrorKind::ValueValidation, mistake));
    }
    let own = texts("send").zip(texts("expect")).skip(1).map(|(send, expect)| Probe::Fixed { send, expect });
    Ok(others.into_iter().zip(own.chain(std::iter::repeat(first.clone()))).collect())
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{CommandLine, mistake, parse};
    use super::*;

    fn words(arguments: &str) -> impl Iterator<Item = OsString> {
        ["pingpong", "bench"].into_iter().chain(arguments.split_whitespace()).map(Into::into)
    }

    /// What each server is asked.
    fn asked(arguments: &str) -> Vec<String> {
        let CommandLine::Bench(options) = parse(words(arguments)).unwrap().command else { panic!("no bench") };
        let question = |one: BenchOptions| String::from_utf8(one.probe.question(1, "")).unwrap();
        options.each_server().map(question).collect()
    }

    #[test]
    fn servers_are_asked_the_same_or_each_its_own() {
        assert_eq!(asked("localhost:1 --against localhost:2 -s 6"), ["ping 1 xxxxxx"; 2]);
        assert_eq!(asked("localhost:1 --against localhost:2 --send a --expect b"), ["a", "a"]);
        let own = "localhost:1 --against localhost:2 --send a --expect b --send c --expect d";
        assert_eq!(asked(own), ["a", "c"]);
        for (arguments, said) in [
            ("localhost:1 --send a --expect b --send c --expect d", "2 of --send and 2 of --expect for 1 server:"),
            ("localhost:1 --against localhost:2 --send a --expect b --expect c", "1 of --send and 2 of --expect"),
            (&format!("{own} --send e --expect f"), "one for each server"),
        ] {
            let error = parse(words(arguments)).unwrap_err();
            let line = mistake(&error).unwrap();
            assert!(error.exit_code() == 2 && line.contains(said), "{arguments}: {line}");
        }
    }
}
