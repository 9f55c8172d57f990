//! The command line: what may be written, and the commands' options that it means. No input or output.
//!
//! - `serve`, `client`, `ping`, `bench`, `lesson`: each command's arguments and help, parsed into its options
//! - `arguments`: those that several commands have; `units`: durations, sizes, counts, texts
//!
//! It names the commands' options; no command names it. Only `main` calls it.

#[cfg(feature = "bench")]
mod against;
mod arguments;
#[cfg(feature = "bench")]
mod bench;
mod client;
#[cfg(feature = "bench")]
mod compare;
#[cfg(feature = "watch")]
mod explain;
#[cfg(feature = "watch")]
mod lesson;
#[cfg(feature = "bench")]
mod part;
mod ping;
#[cfg(feature = "bench")]
mod rate;
#[cfg(feature = "bench")]
mod requirement;
mod serve;
#[cfg(feature = "bench")]
mod start;
mod units;
#[cfg(feature = "bench")]
mod wanted;

use std::ffi::OsString;

use clap::Command;
use log::LevelFilter;

use crate::client::ClientOptions;
use crate::logger::Verbosity;
use crate::ping::PingOptions;
use crate::serve::ServeOptions;

#[cfg(feature = "bench")]
use crate::bench::{BenchOptions, CompareOptions, MergeOptions};

/// What the user wants.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// How much to log.
    pub(crate) verbosity: Verbosity,
    /// The command, with its options.
    pub(crate) command: CommandLine,
}

/// A command with its options.
#[derive(Debug)]
pub(crate) enum CommandLine {
    /// `pingpong serve`
    Serve(ServeOptions),
    /// `pingpong client`
    Client(ClientOptions),
    /// `pingpong ping`
    Ping(PingOptions),
    /// `pingpong lesson`: its name, if one is given, and how it is played.
    #[cfg(feature = "watch")]
    Lesson(Option<String>, crate::lesson::Options),
    /// `pingpong bench`
    #[cfg(feature = "bench")]
    Bench(Box<BenchOptions>),
    /// `pingpong bench merge`
    #[cfg(feature = "bench")]
    Merge(MergeOptions),
    /// `pingpong bench compare`
    #[cfg(feature = "bench")]
    Compare(CompareOptions),
}

/// Reads the arguments. On `--help`, `--version` or a mistake: what to print, and where.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    #[cfg(feature = "bench")]
    if let Some(mistake) = bench::mistake_of_json(&arguments) {
        return Err(mistake);
    }
    let matches = command().try_get_matches_from(arguments)?;
    let (name, options) = matches.subcommand().expect("clap asks for one");
    let command = match name {
        "serve" => CommandLine::Serve(ServeOptions::of(options)?),
        "client" => CommandLine::Client(ClientOptions::of(options)),
        "ping" => CommandLine::Ping(PingOptions::of(options)?),
        #[cfg(feature = "watch")]
        "lesson" => {
            let (name, options) = lesson::options(options);
            CommandLine::Lesson(name, options)
        }
        #[cfg(feature = "bench")]
        "bench" => match options.subcommand() {
            Some(("compare", options)) => CommandLine::Compare(CompareOptions::of(options)),
            Some((_, options)) => CommandLine::Merge(MergeOptions::of(options)),
            None => CommandLine::Bench(Box::new(BenchOptions::of(options)?)),
        },
        _ => unreachable!("clap knows the commands"),
    };
    let verbosity = if name == "serve" { serve::verbosity(options) } else { LevelFilter::Warn.into() };
    Ok(Invocation { verbosity, command })
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
        .subcommand(client::command())
        .subcommand(ping::command())
        .after_help("'pingpong serve' starts ping, hello and echo on their usual ports of 127.0.0.1.");
    #[cfg(feature = "bench")]
    let command = command.subcommand(bench::command());
    #[cfg(feature = "watch")]
    let command = command.subcommand(lesson::command());
    command
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
    fn what_is_not_utf8_is_a_usage_error_except_in_a_path_or_a_message() {
        use std::os::unix::ffi::OsStringExt;
        let parse = |arguments: &[u8]| {
            let words = arguments.split(|byte| *byte == b' ').map(|word| OsString::from_vec(word.to_vec()));
            parse(["pingpong".into()].into_iter().chain(words))
        };
        for mistake in [
            &b"\xff"[..],
            b"serve \xff",
            b"serve ping=\xff:1",
            b"serve ping=tcp://\xff:1",
            b"serve --host \xff",
            b"serve --delay \xff",
            b"client \xff",
            b"client localhost --framing \xff",
            b"ping udp://\xff:1",
            b"ping localhost -c \xff",
        ] {
            let error = parse(mistake).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{}", mistake.escape_ascii());
            assert!(super::mistake(&error).is_some_and(|line| !line.contains('\n')));
        }
        for fine in [
            &b"serve ping=unix:///\xff"[..],
            b"client unixgram:///\xff \xff",
            b"ping unix:///\xff --send \xff --expect \xff\\n",
        ] {
            assert!(parse(fine).is_ok(), "{}", fine.escape_ascii());
        }
    }

    #[test]
    fn help_shows_explain_where_it_is_built() {
        for name in ["serve", "client", "ping"] {
            let help = parse(["pingpong", name, "--help"].map(Into::into)).unwrap_err().to_string();
            assert_eq!(help.contains("--explain[=<WHAT>]"), cfg!(feature = "watch"), "{help}");
        }
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        command().debug_assert();
    }
}
