//! Standard output, which may be slow, stopped or dead.
//!
//! What cannot be written now waits in a bounded queue; what finds no room there is dropped and counted. So a stopped
//! terminal holds up nothing else. On a terminal a prompt stands below what is printed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use memchr::memchr_iter;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::errno::Errno;
use nix::unistd::write;

use crate::outlet::{Room, open_without_waiting, room};
use crate::reactor::token::Token;

/// The most bytes that wait for standard output.
const QUEUED: usize = 256 << 10;

/// The most that one write to standard output itself has: a pipe that has any room takes a page whole (pipe(7)).
const PAGE: usize = 4096;

/// What happens to output that cannot be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in a bounded queue; what finds no room there is dropped and counted. For a server, whose other clients
    /// must not wait.
    Drop,
    /// The loop waits until it is written, as any program at a pipe does. For a client, which has nothing else to do.
    Wait,
}

/// Prints on standard output, above a prompt if there is one.
#[derive(Debug)]
pub(super) struct Printer {
    place: Place,
    when_full: WhenFull,
    queue: VecDeque<u8>,
    /// A write failed: standard output takes nothing any more.
    is_dead: bool,
    prompt: Option<&'static str>,
    /// The cursor stands behind the prompt.
    is_prompt_shown: bool,
    lines_lost: u64,
}

/// Where output goes.
#[derive(Debug)]
enum Place {
    /// Standard output by plain writes: the caller agreed to wait, or it is a file, which makes nobody wait.
    Plain,
    /// Standard output. poll(2) is asked before each write, and an event tells when there is room again.
    Polled,
    /// The same terminal or pipe, opened anew: a write to it never waits. (poll(2) alone would not do: it may find some
    /// room in a terminal, and less than a write needs.)
    Own(File),
}

impl Printer {
    pub(super) fn open(registry: &Registry, when_full: WhenFull, prompt: Option<&'static str>) -> io::Result<Self> {
        let place = match when_full {
            WhenFull::Drop => Place::watched(registry)?,
            WhenFull::Wait => Place::Plain,
        };
        Ok(Self {
            place,
            when_full,
            queue: VecDeque::new(),
            is_dead: false,
            prompt,
            is_prompt_shown: false,
            lines_lost: 0,
        })
    }

    /// Prints text, in place of the prompt if that is shown.
    pub(super) fn print(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if self.is_prompt_shown {
            // To the beginning of the line, and erase it (ECMA-48: EL).
            self.write(b"\r\x1b[K");
            self.is_prompt_shown = false;
        }
        self.write(text);
    }

    /// Shows the prompt, unless it is shown already.
    pub(super) fn show_prompt(&mut self) {
        if let Some(prompt) = self.prompt
            && !self.is_prompt_shown
        {
            self.write(prompt.as_bytes());
            self.is_prompt_shown = true;
        }
    }

    /// The user has ended a line, which has moved the cursor away from the prompt.
    pub(super) fn leave_prompt(&mut self) {
        self.is_prompt_shown = false;
    }

    /// Writes what waits, as far as there is room.
    pub(super) fn flush(&mut self) {
        while !self.queue.is_empty() && !self.is_dead {
            match self.place.write(self.queue.make_contiguous()) {
                Ok(count) => drop(self.queue.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.is_dead = true,
            }
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead
    }

    pub(super) fn when_full(&self) -> WhenFull {
        self.when_full
    }

    /// Lines dropped so far.
    pub(super) fn lines_lost(&self) -> u64 {
        self.lines_lost
    }

    fn write(&mut self, text: &[u8]) {
        let is_full = self.when_full == WhenFull::Drop && self.queue.len() + text.len() > QUEUED;
        if self.is_dead || is_full {
            self.lines_lost += memchr_iter(b'\n', text).count().max(1) as u64;
            return;
        }
        self.queue.extend(text);
        self.flush();
    }
}

impl Drop for Printer {
    /// Leaves the cursor at the beginning of a line.
    fn drop(&mut self) {
        if self.is_prompt_shown {
            self.write(b"\n");
        }
    }
}

impl Place {
    /// Has an event tell when there is room in standard output.
    fn watched(registry: &Registry) -> io::Result<Self> {
        let own = open_without_waiting(io::stdout());
        let descriptor = own.as_ref().map_or(1, |own| own.as_raw_fd());
        match registry.register(&mut SourceFd(&descriptor), Token::ConsoleOutput.into(), Interest::WRITABLE) {
            Ok(()) => Ok(own.map_or(Self::Polled, Self::Own)),
            // A file cannot be watched (epoll_ctl(2): EPERM).
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Self::Plain),
            Err(error) => Err(error),
        }
    }

    /// Writes what there is room for; EAGAIN where there is none.
    fn write(&self, text: &[u8]) -> nix::Result<usize> {
        match self {
            Self::Own(own) => write(own, text),
            Self::Plain => write_page(text),
            Self::Polled => match room(io::stdout()) {
                Room::Ready => write_page(text),
                Room::Full => Err(Errno::EAGAIN),
                Room::Broken => Err(Errno::EPIPE),
            },
        }
    }
}

/// Writes to standard output itself, past the standard library's buffer.
fn write_page(text: &[u8]) -> nix::Result<usize> {
    write(io::stdout(), &text[..text.len().min(PAGE)])
}
