//! The command line, as data: what may be written, and what it means. No input or output.
//!
//! - `serve`, `asking`, `bench`: the commands, their options and their help
//! - `units`: durations, sizes, counts, texts

mod asking;
#[cfg(feature = "bench")]
mod bench;
mod serve;
mod units;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use log::LevelFilter;

pub(crate) use asking::{ClientOptions, PingOptions};
pub(crate) use serve::{Kind, Serve};
use units::{count_of, duration_of};

#[cfg(feature = "bench")]
use crate::bench::{BenchOptions, MergeOptions};

/// What the user wants.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// How much to log.
    pub(crate) level: LevelFilter,
    /// The command, with its options.
    pub(crate) command: CommandLine,
}

/// A command with its options.
#[derive(Debug)]
pub(crate) enum CommandLine {
    /// `pingpong serve`
    Serve(Serve),
    /// `pingpong client`
    Client(ClientOptions),
    /// `pingpong ping`
    Ping(PingOptions),
    /// `pingpong bench`
    #[cfg(feature = "bench")]
    Bench(Box<BenchOptions>),
    /// `pingpong bench merge`
    #[cfg(feature = "bench")]
    Merge(MergeOptions),
}

/// Reads the arguments. On `--help`, `--version` or a mistake: what to print, and where.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let (name, options) = matches.subcommand().expect("clap asks for one");
    let command = match name {
        "serve" => CommandLine::Serve(Serve::of(options)),
        "client" => CommandLine::Client(ClientOptions::of(options)),
        "ping" => CommandLine::Ping(PingOptions::of(options)),
        #[cfg(feature = "bench")]
        "bench" => match options.subcommand() {
            Some((_, options)) => CommandLine::Merge(MergeOptions::of(options)),
            None => CommandLine::Bench(Box::new(BenchOptions::of(options)?)),
        },
        _ => unreachable!("clap knows the commands"),
    };
    let level = if name == "serve" { serve::level(options) } else { LevelFilter::Warn };
    Ok(Invocation { level, command })
}

/// A usage mistake in one line, with the way out; `None` for help and version, which are no mistakes.
pub(crate) fn mistake(error: &clap::Error) -> Option<String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand) {
        return None;
    }
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let what = lines.join(" ");
    Some(format!("{} (see --help)", what.strip_prefix("error: ").unwrap_or(&what)))
}

fn command() -> Command {
    let command = Command::new("pingpong")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Answers, asks and measures over TCP, UDP and Unix sockets.")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(serve::command())
        .subcommand(asking::client())
        .subcommand(asking::ping())
        .after_help("'pingpong serve' starts ping, hello and echo on their usual ports of 127.0.0.1.");
    #[cfg(feature = "bench")]
    let command = command.subcommand(bench::bench());
    command
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn duration(name: &'static str, help: &'static str) -> Arg {
    option(name, "DUR", help).value_parser(duration_of)
}

/// A duration that cannot be zero.
fn timeout(name: &'static str, help: &'static str) -> Arg {
    option(name, "DUR", help).value_parser(|text: &str| match duration_of(text)? {
        Duration::ZERO => Err("it must be longer than that".to_owned()),
        duration => Ok(duration),
    })
}

fn count(name: &'static str, help: &'static str) -> Arg {
    option(name, "N", help).value_parser(count_of)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn required<T: Clone + Send + Sync + 'static>(options: &ArgMatches, name: &str) -> T {
    options.get_one::<T>(name).cloned().expect("it is required or has a default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_usage_errors_that_name_the_thing() {
        for (arguments, word) in [
            ("pong", "pong"),
            ("echo=tcp://nowhere", "port"),
            ("echo=::1:7", "brackets"),
            ("--delay never", "250ms"),
            ("--framing tight", "tight"),
            ("--idle-timeout 0s", "longer"),
            ("-q -v", "--verbose"),
        ] {
            let words = ["pingpong", "serve"].into_iter().chain(arguments.split_whitespace()).map(Into::into);
            let error = parse(words).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let line = mistake(&error).unwrap();
            assert!(line.contains(word) && !line.contains('\n'), "{arguments}: {line}");
        }
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        command().debug_assert();
    }
}
