//! The console: standard input as a source of lines, standard output as a place that may be slow or dead.
//!
//! Input: a terminal or a pipe is polled like any socket; a file cannot be (epoll_ctl(2): EPERM) and is read as it is.
//! O_NONBLOCK stays off, because the flag is the terminal's and would leak to the shell: poll(2) is asked before each
//! read. A background job does not read its terminal, which would stop it (SIGTTIN).
//!
//! Output: what cannot be written now waits in a bounded queue, then is dropped and counted: a stopped terminal freezes
//! nothing. On a terminal a prompt stands below what is printed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::fd::AsRawFd;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::sync::atomic::Ordering::Relaxed;

use memchr::{memchr, memchr_iter};
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::{getpgrp, read, tcgetpgrp, write};

use crate::outlet::{Room, open_without_waiting, poll_now, room};
use crate::reactor::token::Token;
use crate::stats::CONSOLE_LINES_LOST;

/// Bytes that wait for standard output at the most.
const QUEUED: usize = 256 << 10;

/// Written at once: a pipe that is writable at all has room for a page.
const PAGE: usize = 4096;

/// Read at once.
const CHUNK: usize = 16 << 10;

/// A line of input longer than this is cut in two.
const LONGEST_LINE: usize = 1 << 20;

/// What standard input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleKind {
    /// A terminal: somebody types.
    Terminal,
    /// A pipe, a socket or a file: somebody has written down what to say.
    Script,
    /// Nobody: `/dev/null`, or closed.
    Nobody,
}

impl ConsoleKind {
    /// Looks at standard input.
    pub fn of_stdin() -> Self {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Self::Terminal;
        }
        // (A closed descriptor was opened as /dev/null before main.)
        let metadata = std::fs::metadata(format!("/proc/self/fd/{}", stdin.as_raw_fd()));
        let null = std::fs::metadata("/dev/null").map(|null| null.st_rdev()).ok();
        match metadata {
            Ok(metadata) if metadata.file_type().is_char_device() && Some(metadata.st_rdev()) == null => Self::Nobody,
            Ok(_) => Self::Script,
            Err(_) => Self::Nobody,
        }
    }
}

/// What happens to output that cannot be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in a bounded queue, then is dropped and counted: others must not wait. For a server.
    Drop,
    /// We wait for it, as any program at a pipe does. For a client, who has nothing else to do.
    Wait,
}

#[derive(Debug)]
pub(super) struct Console {
    input: Input,
    kind: ConsoleKind,
    /// There may be something to read.
    readable: bool,
    /// The terminal is somebody else's for now.
    is_in_background: bool,
    /// The beginning of a line.
    partial: Vec<u8>,
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Polled,
    /// Always readable.
    File,
    Ended,
}

#[derive(Debug)]
struct Output {
    when_full: WhenFull,
    queue: VecDeque<u8>,
    place: Place,
    is_dead: bool,
    prompt: Option<&'static str>,
    prompt_shown: bool,
}

/// Where output goes.
#[derive(Debug)]
enum Place {
    /// Standard output, and we wait for it. (A file never makes us wait.)
    Plain,
    /// Standard output, which poll(2) is asked about first; events tell when there is room again.
    Polled,
    /// The same terminal or pipe, opened anew, so that O_NONBLOCK is ours alone: poll(2) may find some room in a terminal,
    /// and not as much as a write needs.
    Own(File),
}

impl Place {
    fn open(registry: &Registry, when_full: WhenFull) -> io::Result<Self> {
        if when_full == WhenFull::Wait {
            return Ok(Self::Plain);
        }
        let own = open_without_waiting(io::stdout());
        let descriptor = own.as_ref().map_or(1, |own| own.as_raw_fd());
        match registry.register(&mut SourceFd(&descriptor), Token::ConsoleOutput.into(), Interest::WRITABLE) {
            Ok(()) => Ok(own.map_or(Self::Polled, Self::Own)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Self::Plain),
            Err(error) => Err(error),
        }
    }

    /// Writes what there is room for now.
    fn write(&self, text: &[u8]) -> nix::Result<usize> {
        match self {
            Self::Own(own) => write(own, text),
            Self::Polled => match room(io::stdout()) {
                Room::Ready => write_page(text),
                Room::Full => Err(Errno::EAGAIN),
                Room::Broken => Err(Errno::EPIPE),
            },
            Self::Plain => write_page(text),
        }
    }
}

/// What one read brought.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Vec<u8>>,
    /// There will be no more.
    pub(super) ended: bool,
}

impl Console {
    /// The console of a service that talks there, with a prompt for terminals.
    pub(super) fn open(
        registry: &Registry,
        kind: ConsoleKind,
        prompt: &'static str,
        when_full: WhenFull,
    ) -> io::Result<Self> {
        let input = match kind {
            ConsoleKind::Nobody => Input::Ended,
            ConsoleKind::Terminal | ConsoleKind::Script => {
                match registry.register(&mut SourceFd(&0), Token::ConsoleInput.into(), Interest::READABLE) {
                    Ok(()) => Input::Polled,
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => Input::File,
                    Err(error) => return Err(error),
                }
            }
        };
        let mut output = Output::open(registry, when_full)?;
        output.prompt = (kind == ConsoleKind::Terminal && io::stdout().is_terminal()).then_some(prompt);
        Ok(Self { input, kind, readable: true, is_in_background: false, partial: Vec::new(), output })
    }

    /// An event for standard input.
    pub(super) fn input_ready(&mut self) {
        self.readable = true;
    }

    /// Whether a read might bring something.
    pub(super) fn is_readable(&self) -> bool {
        self.readable && self.input != Input::Ended
    }

    /// Reads once, if there is something to read.
    pub(super) fn read(&mut self, registry: &Registry) -> Lines {
        self.is_in_background = self.kind == ConsoleKind::Terminal && !is_in_foreground();
        if self.is_in_background {
            return Lines::default();
        }
        if self.input == Input::Polled && !has_input() {
            self.readable = false;
            return Lines::default();
        }
        let mut chunk = [0; CHUNK];
        match read(io::stdin(), &mut chunk) {
            Ok(count @ 1..) => self.take(&chunk[..count]),
            Err(Errno::EINTR) => Lines::default(),
            Ok(0) | Err(_) => {
                if self.input == Input::Polled {
                    // It may be gone already, and then needs no more watching.
                    let _ = registry.deregister(&mut SourceFd(&0));
                }
                self.input = Input::Ended;
                let rest = std::mem::take(&mut self.partial);
                Lines { lines: if rest.is_empty() { vec![] } else { vec![rest] }, ended: true }
            }
        }
    }

    /// Cuts what came into lines.
    fn take(&mut self, mut bytes: &[u8]) -> Lines {
        // Whoever typed it has moved to a new line.
        self.output.prompt_shown = false;
        let mut lines = Vec::new();
        while let Some(end) = memchr(b'\n', bytes) {
            self.partial.extend_from_slice(&bytes[..end]);
            if self.partial.last() == Some(&b'\r') {
                self.partial.pop();
            }
            lines.push(std::mem::take(&mut self.partial));
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LONGEST_LINE {
            lines.push(std::mem::take(&mut self.partial));
        }
        Lines { lines, ended: false }
    }

    /// Prints text, and shows the prompt below it where lines are wanted.
    pub(super) fn print(&mut self, text: &[u8], lines_wanted: bool) {
        self.output.print(text);
        if lines_wanted && self.input != Input::Ended {
            self.output.show_prompt();
        }
    }

    /// Whether there is a terminal that cannot be read for now: no event tells when it can.
    pub(super) fn is_in_background(&self) -> bool {
        self.is_in_background
    }

    /// There may be room in standard output again.
    pub(super) fn output_ready(&mut self) {
        self.output.flush();
    }

    /// Nobody reads what we write, and there is nobody else that we work for.
    pub(super) fn is_pointless(&self) -> bool {
        self.output.is_dead && self.output.when_full == WhenFull::Wait
    }
}

impl Drop for Console {
    /// Leaves the cursor at the beginning of a line.
    fn drop(&mut self) {
        if self.output.prompt_shown {
            self.output.write(b"\n");
        }
    }
}

impl Output {
    fn open(registry: &Registry, when_full: WhenFull) -> io::Result<Self> {
        let place = Place::open(registry, when_full)?;
        Ok(Self { when_full, queue: VecDeque::new(), place, is_dead: false, prompt: None, prompt_shown: false })
    }

    fn print(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.prompt_shown) {
            // Back over the prompt (ECMA-48: erase in line).
            self.write(b"\r\x1b[K");
        }
        self.write(text);
    }

    fn show_prompt(&mut self) {
        if let Some(prompt) = self.prompt
            && !self.prompt_shown
        {
            self.write(prompt.as_bytes());
            self.prompt_shown = true;
        }
    }

    fn write(&mut self, text: &[u8]) {
        if self.is_dead || self.queue.len() + text.len() > QUEUED && self.when_full == WhenFull::Drop {
            let lines = memchr_iter(b'\n', text).count().max(1);
            CONSOLE_LINES_LOST.fetch_add(lines as u64, Relaxed);
            return;
        }
        self.queue.extend(text);
        self.flush();
    }

    fn flush(&mut self) {
        while !self.queue.is_empty() && !self.is_dead {
            match self.place.write(self.queue.make_contiguous()) {
                Ok(count) => drop(self.queue.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.is_dead = true,
            }
        }
    }
}

fn write_page(text: &[u8]) -> nix::Result<usize> {
    write(io::stdout(), &text[..text.len().min(PAGE)])
}

/// Whether a read, which may find the end, would not wait.
fn has_input() -> bool {
    poll_now(io::stdin(), PollFlags::POLLIN).intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
}

/// Whether standard input may be read: in the background our terminal stops who tries. (One that is not our controlling
/// terminal, or has gone, stops nobody: there tcgetpgrp(3) fails.)
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |foreground| foreground == getpgrp())
}
