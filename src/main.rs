//! The `pingpong` command: parse, dispatch, exit code.

use std::io::Write;
use std::process::ExitCode;

use pingpong::cli::{self, CommandLine};
use pingpong::{Ending, Error, logger, serve};

fn main() -> ExitCode {
    // Before there could be a second thread, which would have to block them too.
    if let Err(error) = pingpong::block_signals() {
        return fail(&error);
    }
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
    let ending = match invocation.command {
        CommandLine::Serve(options) => serve::run(options),
    };
    match ending {
        Ok(Ending::Drained) => ExitCode::SUCCESS,
        // As a shell shows a command that a signal has ended.
        Ok(Ending::Signal(number)) => ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX)),
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "pingpong: {error}");
    ExitCode::from(match error {
        _ if error.is_local_limit() => 6,
        Error::Endpoint { .. } => 2,
        Error::Resolve { .. } | Error::Listen { .. } | Error::Occupied { .. } => 3,
        _ => 1,
    })
}
