//! `pingpong ping`: its arguments and its help.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

use super::arguments::{count, endpoint, flag, option, required, texts, timeout, too_long};
use super::units::{duration_of, size_of};
use crate::ping::PingOptions;
use crate::probe::Probe;

pub(super) fn command() -> Command {
    let command = Command::new("ping")
        .about("Asks: round trips, counted and timed")
        .arg(endpoint())
        .arg(count("count", "Ask so often and end [default: until interrupted]").short('c'))
        .arg(
            option("interval", "DUR", "From one question to the next, 1 ms at least")
                .short('i')
                .default_value("1s")
                .value_parser(interval_of),
        )
        .arg(
            option("size", "BYTES", "Padding in each question [default: 0]")
                .short('s')
                .value_parser(|text: &str| if text == "0" { Ok(0) } else { size_of(text) }),
        )
        .arg(
            timeout(
                "timeout",
                "An answer after this long is late, an address not reached given up [default: 1s, 5s to reach one]",
            )
            .short('W'),
        )
        .arg(flag("quiet", "No line for each answer").short('q'))
        .arg(flag("echo", "Expect the same bytes back"))
        .args(texts())
        .after_help(HELP);
    #[cfg(feature = "watch")]
    let command = command.arg(super::explain::argument());
    command
}

const HELP: &str = "\
Examples:
  pingpong ping localhost -c 5
  pingpong ping udp://localhost -i 10ms -q
  pingpong ping tcp://localhost:6379 --send 'PING\\r\\n' --expect '+PONG\\r\\n'

Exits with 0 when something was answered, 1 when nothing was or the server died, 3 when nobody was there, 4 when it was
not reached in time, 5 when an answer was wrong.";

/// The shortest interval: more often is a load, not a probe.
const SHORTEST: Duration = Duration::from_millis(1);

/// How long an answer may take, where that is not said.
const ANSWER: Duration = Duration::from_secs(1);

/// How long an address may take to be reached, where `--timeout` does not say: the kernel repeats a request that was
/// lost after one second, and again after two (tcp(7)).
const CONNECT: Duration = Duration::from_secs(5);

fn interval_of(text: &str) -> Result<Duration, String> {
    match duration_of(text)? {
        interval if interval < SHORTEST => {
            Err("1ms is the least; to load a server there is 'pingpong bench --rate'".to_owned())
        }
        interval => Ok(interval),
    }
}

impl PingOptions {
    /// Fails where a question is too long for its endpoint.
    pub(super) fn of(options: &ArgMatches) -> Result<Self, clap::Error> {
        let padding = options.get_one("size").copied().unwrap_or(0);
        let timeout = options.get_one::<Duration>("timeout").copied();
        let ping = Self {
            endpoint: required(options, "endpoint"),
            count: options.get_one::<u32>("count").copied().map(u64::from),
            interval: required(options, "interval"),
            timeout: timeout.unwrap_or(ANSWER),
            connect_timeout: timeout.unwrap_or(CONNECT),
            quiet: options.get_flag("quiet"),
            probe: Probe::of(options, padding),
            #[cfg(feature = "watch")]
            explain: super::explain::depth(options),
        };
        match too_long(&ping.endpoint, ping.probe.longest()) {
            None => Ok(ping),
            Some(mistake) => Err(clap::Error::raw(ErrorKind::ValueValidation, mistake)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{CommandLine, mistake, parse};

    use super::*;

    fn parsed(options: &str) -> Result<PingOptions, clap::Error> {
        let words = ["pingpong", "ping", "localhost"].into_iter().chain(options.split_whitespace());
        match parse(words.map(Into::into))?.command {
            CommandLine::Ping(options) => Ok(options),
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn a_timeout_bounds_answers_and_connecting() {
        let plain = parsed("").unwrap();
        assert_eq!((plain.timeout, plain.connect_timeout), (ANSWER, CONNECT));
        let given = parsed("-W 50ms").unwrap();
        assert_eq!((given.timeout, given.connect_timeout), (Duration::from_millis(50), Duration::from_millis(50)));
    }

    #[test]
    fn an_interval_of_less_than_a_millisecond_is_a_load() {
        assert_eq!(parsed("-i 1ms").unwrap().interval, SHORTEST);
        for interval in ["0s", "1us", "999us"] {
            let error = mistake(&parsed(&format!("-i {interval}")).unwrap_err()).unwrap();
            assert!(error.contains("bench --rate"), "{error}");
        }
    }
}
