//! The `pingpong` command: parse, dispatch, exit code.

#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "bench")]
mod budget;
mod cli;
mod client;
mod descriptors;
mod logger;
mod ping;
mod serve;
mod target;

use std::io::Write;
use std::process::ExitCode;

use pingpong::{Ending, Error};

use cli::CommandLine;
use ping::Tally;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(usage) => {
            // Whoever does not read it will not miss it.
            let _ = match cli::mistake(&usage) {
                Some(line) => writeln!(std::io::stderr(), "pingpong: {line}"),
                None => usage.print(),
            };
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    logger::start(invocation.level);
    let code = match invocation.command {
        CommandLine::Serve(options) => serve::run(options).map(code_of_ending),
        CommandLine::Client(options) => client::run(options).map(|()| ExitCode::SUCCESS),
        CommandLine::Ping(options) => ping::run(options).map(|tally| code_of_tally(&tally)),
        #[cfg(feature = "bench")]
        CommandLine::Bench(options) => bench::run(*options).map(|outcome| match outcome {
            bench::Outcome::Reported(report) => code_of_report(&report),
            bench::Outcome::Stopped(number) => code_of_ending(Ending::Signal(number)),
        }),
        #[cfg(feature = "bench")]
        CommandLine::Merge(options) => bench::merge(options).map(|report| code_of_report(&report)),
    };
    code.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "pingpong: {error}");
        code_of_error(&error)
    })
}

fn code_of_ending(ending: Ending) -> ExitCode {
    match ending {
        Ending::Drained => ExitCode::SUCCESS,
        // As a shell shows a command that a signal has ended.
        Ending::Signal(number) => ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX)),
    }
}

fn code_of_tally(tally: &Tally) -> ExitCode {
    ExitCode::from(match tally {
        Tally { wrong: 1.., .. } => 5,
        Tally { received: 1.., .. } | Tally { late: 1.., .. } => 0,
        Tally { refused: 1.., .. } => 3,
        _ => 1,
    })
}

#[cfg(feature = "bench")]
fn code_of_report(report: &bench::Report) -> ExitCode {
    use bench::Fact;
    let count = |fact| report.counts[fact];
    ExitCode::from(match () {
        () if count(Fact::Wrong) > 0 => 5,
        () if count(Fact::Requests) + count(Fact::Late) > 0 => 0,
        () if count(Fact::Refused) > 0 => 3,
        () => 1,
    })
}

fn code_of_error(error: &Error) -> ExitCode {
    ExitCode::from(match error {
        _ if error.is_local_limit() => 6,
        Error::Endpoint { .. } => 2,
        Error::Connect { source, .. } if source.kind() == std::io::ErrorKind::TimedOut => 4,
        Error::NoAnswer { .. } => 4,
        Error::Source { .. } => 3,
        Error::Resolve { .. } | Error::Listen { .. } | Error::Occupied { .. } | Error::Connect { .. } => 3,
        _ => 1,
    })
}
