//! Logs to standard error, never at the price of the service.
//!
//! `simple_logger` prints with `eprintln!`, which waits where a pipe is full and panics where it is dead. So each line
//! is written only when poll(2) says that standard error takes it now: a line of less than a page then fits whole.
//! What cannot be written is dropped and counted.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

use log::{LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use simple_logger::SimpleLogger;

use crate::stats::LOG_LINES_LOST;

/// A pipe that is writable at all has room for a page; the level and target come on top.
const LONGEST: usize = 4096 - 256;

struct Guard(SimpleLogger);

/// Logs from `level` on, from now on. A second call changes nothing.
pub fn start(level: LevelFilter) {
    log::set_max_level(level);
    // Fails only when a logger is there already.
    let _ = log::set_boxed_logger(Box::new(Guard(SimpleLogger::new().with_level(level))));
}

impl Log for Guard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !takes_a_line(&io::stderr()) || !self.write(record) {
            LOG_LINES_LOST.fetch_add(1, Relaxed);
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
        catch_unwind(AssertUnwindSafe(write)).is_ok()
    }
}

fn takes_a_line(stderr: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let ready = poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    ready && polled[0].revents() == Some(PollFlags::POLLOUT)
}
