//! Logs to standard error, one write(2) a line, and never waits for it.
//!
//! `simple_logger` decides what is logged. It does not print: with `eprintln!` a line would be two writes, so that lines
//! of several processes at one file mix, and it would wait where a pipe is full and panic where its reader has gone.
//!
//! A line is written only when poll(2) says that standard error takes one now: in a pipe, a line of less than a page then
//! fits whole. A terminal may have some room and less than a line needs; so terminals and pipes are opened anew, with
//! O_NONBLOCK, and take the place of our standard error. What cannot be written is dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use nix::unistd::dup2_stderr;
use simple_logger::SimpleLogger;

use pingpong::outlet::{Room, open_without_waiting, room};

use crate::timestamp::Timestamp;

/// Log lines that standard error could not take.
pub(crate) static LINES_LOST: AtomicU64 = AtomicU64::new(0);

/// The end of a line of which a terminal took only the beginning: it goes out before the next line.
static REST: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Bytes of a line's text: with time, level and target before it, it stays below a page.
const LONGEST: usize = 4096 - 256;

/// The target under which the library logs each change of a connection's state.
const STATES: &str = "pingpong::state";

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verbosity {
    pub(crate) level: LevelFilter,
    /// Whether each change of a connection's state is shown, too.
    pub(crate) shows_states: bool,
    /// Whether a line begins with the time.
    pub(crate) shows_time: bool,
}

impl From<LevelFilter> for Verbosity {
    fn from(level: LevelFilter) -> Self {
        Self { level, shows_states: false, shows_time: false }
    }
}

/// Logs so much from now on. A second call changes nothing.
pub(crate) fn start(verbosity: Verbosity) {
    let Verbosity { level, shows_states, shows_time } = verbosity;
    // Where it cannot be opened anew (a socket, a file), or not put in place, poll(2) has to do.
    if let Some(own) = open_without_waiting(io::stderr()) {
        let _ = dup2_stderr(own);
    }
    log::set_max_level(level);
    let states = if shows_states { level } else { LevelFilter::Off };
    let filter = SimpleLogger::new().with_level(level).with_module_level(STATES, states);
    // Fails only where a logger is installed already.
    let _ = log::set_boxed_logger(Box::new(Logger { filter, shows_time }));
}

/// Writes what its filter lets through.
struct Logger {
    filter: SimpleLogger,
    shows_time: bool,
}

impl Logger {
    fn line(&self, record: &Record<'_>) -> String {
        let text = record.args().to_string();
        let text = &text[..text.floor_char_boundary(LONGEST)];
        let level = record.level();
        // The crate alone: users need not know our modules.
        let target = record.target().split("::").next().unwrap_or_default();
        if self.shows_time {
            format!("{} {level:<5} [{target}] {text}\n", Timestamp::now())
        } else {
            format!("{level:<5} [{target}] {text}\n")
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            write(self.line(record).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Writes lines that were asked for, whatever is logged otherwise: as they are, by the logger's rules.
#[cfg(feature = "watch")]
pub(crate) fn show(lines: &str) {
    lines.split_inclusive('\n').for_each(|line| write(line.as_bytes()));
}

/// Writes a line, or its beginning; counts it as lost where standard error takes none of it.
fn write(line: &[u8]) {
    let mut rest = REST.lock().unwrap_or_else(PoisonError::into_inner);
    if !rest.is_empty() {
        let written = write_now(&rest);
        rest.drain(..written);
    }
    let written = if rest.is_empty() { write_now(line) } else { 0 };
    if written > 0 {
        rest.extend_from_slice(&line[written..]);
    } else {
        LINES_LOST.fetch_add(1, Relaxed);
    }
}

/// Writes what standard error takes now, by one write(2). Returns how many bytes that were.
fn write_now(text: &[u8]) -> usize {
    if room(io::stderr()) == Room::Ready { io::stderr().write(text).unwrap_or(0) } else { 0 }
}
