//! `pingpong ping`: its arguments and its help.

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

use super::arguments::{count, endpoint, flag, option, required, texts, timeout, too_long};
use super::units::size_of;
use crate::ping::PingOptions;
use crate::probe::Probe;

pub(super) fn command() -> Command {
    Command::new("ping")
        .about("Asks: round trips, counted and timed")
        .arg(endpoint())
        .arg(count("count", "Ask so often and end [default: until interrupted]").short('c'))
        .arg(timeout("interval", "From one question to the next").short('i').default_value("1s"))
        .arg(
            option("size", "BYTES", "Padding in each question [default: 0]")
                .short('s')
                .value_parser(|text: &str| if text == "0" { Ok(0) } else { size_of(text) }),
        )
        .arg(timeout("timeout", "An answer after this long is late").short('W').default_value("1s"))
        .arg(flag("quiet", "No line for each answer").short('q'))
        .arg(flag("echo", "Expect the same bytes back"))
        .args(texts())
        .after_help(HELP)
}

const HELP: &str = "\
Examples:
  pingpong ping localhost -c 5
  pingpong ping udp://localhost -i 10ms -q
  pingpong ping tcp://localhost:6379 --send 'PING\\r\\n' --expect '+PONG\\r\\n'

Exits with 0 when something was answered, 1 when nothing was, 3 when nobody was there, 5 when an answer was wrong.";

impl PingOptions {
    /// Fails where a question is too long for its endpoint.
    pub(super) fn of(options: &ArgMatches) -> Result<Self, clap::Error> {
        let padding = options.get_one("size").copied().unwrap_or(0);
        let ping = Self {
            endpoint: required(options, "endpoint"),
            count: options.get_one::<u32>("count").copied().map(u64::from),
            interval: required(options, "interval"),
            timeout: required(options, "timeout"),
            quiet: options.get_flag("quiet"),
            probe: Probe::of(options, padding),
        };
        match too_long(&ping.endpoint, ping.probe.longest()) {
            None => Ok(ping),
            Some(mistake) => Err(clap::Error::raw(ErrorKind::ValueValidation, mistake)),
        }
    }
}
