//! Logs to standard error, and never waits for it.
//!
//! `simple_logger` prints with `eprintln!`, which waits where a pipe is full and panics where its reader has gone. So a
//! line is written only when poll(2) says that standard error takes one now: in a pipe, a line of less than a page then
//! fits whole. A terminal may have some room and less than a line needs; so terminals and pipes are opened anew, with
//! O_NONBLOCK, and take the place of our standard error. What cannot be written is dropped and counted.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use log::{LevelFilter, Log, Metadata, Record};
use nix::unistd::dup2_stderr;
use simple_logger::SimpleLogger;

use pingpong::outlet::{Room, open_without_waiting, room};

/// Log lines that standard error could not take.
pub(crate) static LINES_LOST: AtomicU64 = AtomicU64::new(0);

/// Bytes of a line's text: with level and target before it, it stays below a page.
const LONGEST: usize = 4096 - 256;

thread_local! {
    /// Whether a line is being written: then a panic means that the write failed.
    static IN_WRITE: Cell<bool> = const { Cell::new(false) };
}

/// The target under which the library logs each change of a connection's state.
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
    // Where it cannot be opened anew (a socket, a file), or not put in place, poll(2) has to do.
    if let Some(own) = open_without_waiting(io::stderr()) {
        let _ = dup2_stderr(own);
    }
    silence_failing_writes();
    log::set_max_level(level);
    let states = if shows_states { level } else { LevelFilter::Off };
    let logger = SimpleLogger::new().with_level(level).with_module_level(STATES, states);
    // Fails only where a logger is installed already.
    let _ = log::set_boxed_logger(Box::new(Guard(logger)));
}

/// A logger that writes only where there is room.
struct Guard(SimpleLogger);

impl Guard {
    /// Writes a line; whether that succeeded. A failure, on a full disk say, comes out of `eprintln!` as a panic.
    fn write(&self, record: &Record<'_>) -> bool {
        let text = record.args().to_string();
        let text = &text[..text.floor_char_boundary(LONGEST)];
        let level = record.level();
        // The crate alone: users need not know our modules.
        let target = record.target().split("::").next().unwrap_or_default();
        let write = || self.0.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
        IN_WRITE.set(true);
        let written = catch_unwind(AssertUnwindSafe(write));
        IN_WRITE.set(false);
        written.is_ok()
    }
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

/// Keeps a failed write from being reported as a panic: the report would go to standard error, too.
fn silence_failing_writes() {
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        if !IN_WRITE.get() {
            report(panic);
        }
    }));
}
