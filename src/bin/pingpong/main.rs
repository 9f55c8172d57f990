//! The `pingpong` command: the arguments say which command runs with which options, its outcome is the exit code.
//!
//! - `cli`: the command line, parsed into the commands' own options
//! - `serve`, `client`, `ping`, `bench`: the commands; options become services and sockets, then the reactor turns
//! - `lesson`: sockets explained by playing both ends; `watch`: what the kernel says of sockets
//! - `target`: the far side of `client` and `ping`; `probe`: what `ping` and `bench` ask; `budget`: their hint
//!   at a server's datagram budget; `descriptors`: how many there may be; `logger`: standard error; `timestamp`: the time
//!   on its lines
//! - `error`, `exit`: what is said and which code is returned when a command cannot do its work

#[cfg(feature = "bench")]
mod bench;
mod budget;
mod cli;
mod client;
mod descriptors;
mod error;
mod exit;
#[cfg(feature = "watch")]
mod lesson;
mod logger;
mod ping;
mod probe;
mod serve;
mod target;
mod timestamp;
#[cfg(feature = "watch")]
mod watch;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use pingpong::Reactor;
use pingpong::service::Service;

use cli::CommandLine;
use error::Error;
use exit::Exit;

/// The reactor of `serve`, `client` and `ping`. They share one compiled engine: one more for each type of service costs
/// 40 KiB, and the low-dependency binary is to stay under 1 MiB. That is why `client` and `ping` reach their service's
/// outcome through an `Rc<RefCell<_>>`; `bench`, which that binary lacks, has it by value.
///
/// `C` is told of each system call: with `--explain`.
type DynReactor<C> = Reactor<Box<dyn Service>, C>;

fn main() -> ExitCode {
    let exit = match cli::parse(std::env::args_os()) {
        Ok(invocation) => {
            logger::start(invocation.verbosity);
            run(invocation.command).unwrap_or_else(|error| {
                complain(&error);
                Exit::from(&error)
            })
        }
        Err(usage) => match cli::mistake(&usage) {
            Some(mistake) => {
                complain(&mistake);
                Exit::from(&usage)
            }
            None => show(&usage),
        },
    };
    exit.into()
}

/// Prints help or the version. A closed output is no reason to fail; one that cannot be written to is.
fn show(help: &clap::Error) -> Exit {
    match help.print().and_then(|()| io::stdout().flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe && !help.use_stderr() => {
            complain(&pingpong::Error::Output { source });
            Exit::Failed
        }
        _ => Exit::from(help),
    }
}

fn run(command: CommandLine) -> Result<Exit, Error> {
    match command {
        CommandLine::Serve(options) => serve::run(options).map(Exit::from),
        CommandLine::Client(options) => client::run(options).map(|()| Exit::Fine),
        CommandLine::Ping(options) => ping::run(options).map(|outcome| match outcome {
            ping::Outcome::Counted(tally) => Exit::from(&tally),
            ping::Outcome::Stopped(number) => Exit::Signal(number),
        }),
        #[cfg(feature = "watch")]
        CommandLine::Lesson(name, options) => lesson::run(name.as_deref(), options).map(|()| Exit::Fine),
        #[cfg(feature = "bench")]
        CommandLine::Bench(options) => bench::run(*options).map(|outcome| match outcome {
            bench::Outcome::Reported(results) => Exit::from(&results),
            bench::Outcome::Compared(versus) => Exit::from(&versus),
            bench::Outcome::Stopped(number) => Exit::Signal(number),
        }),
        #[cfg(feature = "bench")]
        CommandLine::Compare(options) => bench::compare(&options).map(|change| Exit::from(&change)),
        #[cfg(feature = "bench")]
        CommandLine::Merge(options) => bench::merge(options).map(|results| Exit::from(&results)),
    }
}

/// One line on standard error, by one write(2). A standard error that is closed or full changes nothing else.
fn complain(what: &dyn Display) {
    let _ = io::stderr().write_all(format!("pingpong: {what}\n").as_bytes());
}
