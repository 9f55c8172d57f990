//! Logs to standard error, never at the price of the service.
//!
//! `simple_logger` prints with `eprintln!`, which waits where a pipe is full and panics where it is dead. So each line
//! is written only when poll(2) says that standard error takes it now: in a pipe a line of less than a page then fits
//! whole. A terminal may have some room and not enough; so terminals and pipes are opened anew as our standard error, with
//! an O_NONBLOCK that is ours alone, and a line that does not fit fails. What cannot be written is dropped and counted.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use log::{LevelFilter, Log, Metadata, Record};
use nix::unistd::dup2_stderr;
use simple_logger::SimpleLogger;

use pingpong::outlet::{Room, open_without_waiting, room};

/// A pipe that is writable at all has room for a page; the level and target come on top.
const LONGEST: usize = 4096 - 256;

/// Log lines that standard error could not take.
pub(crate) static LINES_LOST: AtomicU64 = AtomicU64::new(0);

struct Guard(SimpleLogger);

/// The library's log of each change of a connection's state: too much beside the messages.
const STATES: &str = "pingpong::state";

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verbosity {
    pub(crate) level: LevelFilter,
    /// Whether each change of a connection's state is shown, too.
    pub(crate) shows_states: bool,
}

impl From<LevelFilter> for Verbosity {
    fn from(level: LevelFilter) -> Self {
        Self { level, shows_states: false }
    }
}

/// Logs so much from now on. A second call changes nothing.
pub(crate) fn start(verbosity: Verbosity) {
    let Verbosity { level, shows_states } = verbosity;
    // Without it a stopped terminal could still make us wait; with a socket or a file there is nothing to be done.
    if let Some(own) = open_without_waiting(io::stderr()) {
        let _ = dup2_stderr(own);
    }
    silence_failing_writes();
    log::set_max_level(level);
    // Fails only when a logger is there already.
    let states = if shows_states { level } else { LevelFilter::Off };
    let logger = SimpleLogger::new().with_level(level).with_module_level(STATES, states);
    let _ = log::set_boxed_logger(Box::new(Guard(logger)));
}

impl Log for Guard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if room(io::stderr()) != Room::Ready || !self.write(record) {
            LINES_LOST.fetch_add(1, Relaxed);
        }
    }

    fn flush(&self) {}
}

impl Guard {
    /// Has the line written; whether that went well. (A full disk shows itself only then, as a panic.)
    fn write(&self, record: &Record<'_>) -> bool {
        let text = record.args().to_string();
        let text = &text[..text.floor_char_boundary(LONGEST)];
        let level = record.level();
        // Whose line it is, not from which corner of ours.
        let target = record.target().split("::").next().unwrap_or_default();
        let write = || self.0.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
        IN_WRITE.set(true);
        let written = catch_unwind(AssertUnwindSafe(write));
        IN_WRITE.set(false);
        written.is_ok()
    }
}

thread_local! {
    /// A line is being written: a panic is just a write that failed.
    static IN_WRITE: Cell<bool> = const { Cell::new(false) };
}

/// Keeps failing writes from being reported as panics, on the very place that could not be written to.
fn silence_failing_writes() {
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        if !IN_WRITE.get() {
            report(panic);
        }
    }));
}
