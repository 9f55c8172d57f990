//! `--explain`: each system call of a command's reactor, why it was made, and the kernel's state where it has changed.
//!
//! - `written`: a call as strace(1) writes it, shortened; `why`: its reason, in plain words
//! - `quiet`: turns of the loop in which nothing happens, told of in one line
//! - `sockets`: what each descriptor is, and the state that the kernel has it in, asked through sock_diag(7)
//!
//! [`Explain`] is told of every call by the reactor ([`Calls`]), right after it was made. What it writes goes through the
//! logger's guard: a standard error that nobody reads loses lines, and holds up nobody. That lines are missing is said
//! where they are.

mod quiet;
mod sockets;
#[cfg(test)]
mod tests;
mod why;
mod written;

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pingpong::{Call, Calls};

use super::text::{broken, has_colours, wrapped};
use crate::logger;
use quiet::Quiet;
use sockets::{Change, Sockets};

/// How much is told: the value of `--explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The calls alone.
    Calls,
    /// Reasons and states, too.
    All,
}

/// Columns of a terminal, at least.
const COLUMNS: usize = 80;

/// What belongs to the call above it stands in from the left.
const INDENT: &str = "    ";

/// How long, and how often, to look for the last states of connections when the command ends.
const LAST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOKS: u32 = 20;

const BOLD: &str = "1";
const CYAN: &str = "36";

/// Tells of calls on standard error.
#[derive(Clone, Debug)]
pub(crate) struct Explain(Rc<RefCell<Teller>>);

/// Tells that a descriptor has been closed, when it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    fd: RawFd,
    explain: Explain,
}

#[derive(Debug)]
struct Teller {
    depth: Depth,
    has_colours: bool,
    sockets: Sockets,
    quiet: Quiet,
    /// Lines lost before the last one that was written.
    lost: u64,
}

impl Explain {
    pub(crate) fn new(depth: Depth) -> Self {
        let has_colours = has_colours(io::stderr().is_terminal());
        let sockets = Sockets::new(depth == Depth::All);
        let lost = logger::LINES_LOST.load(Relaxed);
        Self(Rc::new(RefCell::new(Teller { depth, has_colours, sockets, quiet: Quiet::default(), lost })))
    }
}

impl Calls for Explain {
    type Open = Open;

    fn opened(&self, fd: RawFd) -> Open {
        Open { fd, explain: self.clone() }
    }

    fn made(&self, call: &Call<'_>, result: Result<usize, &io::Error>) {
        self.0.borrow_mut().tell(call, result);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.explain.0.borrow_mut().tell_closed(self.fd);
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell_of_quiet_turns(false);
        self.tell_endings();
    }
}

impl Teller {
    fn tell(&mut self, call: &Call<'_>, result: Result<usize, &io::Error>) {
        self.sockets.note(call, result);
        let line = written::call(call, result, &self.sockets);
        if self.depth == Depth::Calls {
            return self.show(&line, "", &[]);
        }
        let changes = self.sockets.changes_after(call, result);
        let is_turn = matches!(call, Call::EpollWait { .. });
        if let (Call::EpollWait { timeout, .. }, Ok(0), []) = (call, result, &changes[..]) {
            return self.quiet.add(line, *timeout == Some(Duration::ZERO));
        }
        self.tell_of_quiet_turns(!is_turn);
        let why = why::made(call, result, &self.sockets);
        self.show(&line, &why, &changes);
    }

    /// Tells of the turns without news before what is told next: a call in the last one of them, or something else.
    fn tell_of_quiet_turns(&mut self, does_something: bool) {
        for (call, why) in self.quiet.take(does_something) {
            self.show(&call, why, &[]);
        }
    }

    fn tell_closed(&mut self, fd: RawFd) {
        self.tell_of_quiet_turns(true);
        let line = format!("close({fd}) = 0");
        let why = why::closed(self.sockets.kind(fd), self.sockets.link(fd));
        let changes = self.sockets.closed(fd);
        match self.depth {
            Depth::Calls => self.show(&line, "", &[]),
            Depth::All => self.show(&line, why, &changes),
        }
    }

    /// Writes a call, its reason behind it, and the new states below.
    fn show(&mut self, call: &str, why: &str, changes: &[Change]) {
        self.tell_of_lost_lines();
        let mut text = String::new();
        if self.depth == Depth::All && call.starts_with("epoll_wait") {
            // A turn of the loop begins.
            text.push('\n');
        }
        // A line for each of the calls alone.
        let call = if self.depth == Depth::All { broken(call, COLUMNS - 1, INDENT) } else { call.to_owned() };
        let head = if why.is_empty() { call.clone() } else { format!("{call}:") };
        let lines = wrapped(&head, why, COLUMNS, INDENT);
        text += &lines.replacen(&call, &self.styled(BOLD, &call), 1);
        text += &self.states(changes);
        logger::show(&text);
    }

    /// Says how many lines standard error did not take, once it takes one again.
    fn tell_of_lost_lines(&mut self) {
        let lost = logger::LINES_LOST.load(Relaxed);
        if lost > self.lost {
            logger::show(&format!("({} lines are missing here: nobody read them in time)\n", lost - self.lost));
            if logger::LINES_LOST.load(Relaxed) == lost {
                self.lost = lost;
            }
        }
    }

    fn states(&self, changes: &[Change]) -> String {
        changes.iter().map(|change| format!("{INDENT}{}\n", self.styled(CYAN, &change.to_string()))).collect()
    }

    /// The end of a command may come before that of its connections: waits for what becomes of them, a little.
    fn tell_endings(&mut self) {
        for _ in 0..LAST_LOOKS {
            if !self.sockets.is_ending() {
                break;
            }
            std::thread::sleep(LAST_LOOK);
            let changes = self.sockets.ask_of_closed();
            logger::show(&self.states(&changes));
        }
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
