//! Standard input as a source of lines, read without waiting for it.
//!
//! A terminal or a pipe is watched like any socket. A file cannot be (epoll_ctl(2): EPERM), and is always readable.
//! O_NONBLOCK stays off: it would be set for every process that shares the open file description, and the shell would
//! find its terminal changed. So poll(2) is asked before each read.

use std::io::{self, ErrorKind, IsTerminal};
use std::os::fd::AsRawFd;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;

use memchr::memchr;
use mio::Interest;
use mio::unix::SourceFd;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::{getpgrp, read, tcgetpgrp};

use crate::outlet::poll_now;
use crate::reactor::calls::{Call, Calls, Epoll};
use crate::reactor::token::Token;

/// The most that one read takes. Each line is a call of the service and often a send, so a chunk of short lines makes a
/// long turn; and it is what a service gets after it has paused lines.
const CHUNK: usize = 4 << 10;

/// A line of input longer than this is cut in two.
const LONGEST_LINE: usize = 1 << 20;

/// What standard input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleKind {
    /// A terminal: lines are typed.
    Terminal,
    /// A pipe, a socket or a file: lines are written down.
    Script,
    /// `/dev/null`, or closed: there are no lines.
    Nobody,
}

/// Cuts standard input into lines.
#[derive(Debug)]
pub(super) struct LineReader {
    stdin: Stdin,
    is_terminal: bool,
    /// An event has come since a read last found nothing.
    has_event: bool,
    /// The terminal belongs to another job for now.
    is_in_background: bool,
    /// The beginning of a line.
    partial: Vec<u8>,
}

/// How standard input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stdin {
    /// An event says when, and poll(2) whether.
    Polled,
    /// It is a file, which is always readable.
    File,
    /// It is not read any more.
    Ended,
}

/// The lines that one read brought.
#[derive(Debug)]
pub(in crate::reactor) struct ReadLines {
    /// Complete lines, without their ends.
    pub(in crate::reactor) lines: Vec<Vec<u8>>,
    /// Standard input has ended: there will be no more.
    pub(in crate::reactor) ended: bool,
}

impl ConsoleKind {
    /// What kind standard input is.
    pub fn of_stdin() -> Self {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Self::Terminal;
        }
        // A closed descriptor is /dev/null by now: the standard library opens it before main.
        let metadata = std::fs::metadata(format!("/proc/self/fd/{}", stdin.as_raw_fd()));
        let null = std::fs::metadata("/dev/null").map(|null| null.st_rdev()).ok();
        match metadata {
            Ok(metadata) if metadata.file_type().is_char_device() && Some(metadata.st_rdev()) == null => Self::Nobody,
            Ok(_) => Self::Script,
            Err(_) => Self::Nobody,
        }
    }
}

impl LineReader {
    pub(super) fn open(epoll: &Epoll<impl Calls>, kind: ConsoleKind) -> io::Result<Self> {
        let stdin = match kind {
            ConsoleKind::Nobody => Stdin::Ended,
            ConsoleKind::Terminal | ConsoleKind::Script => {
                match epoll.add(&mut stdin_source(), 0, Token::ConsoleInput, Interest::READABLE) {
                    Ok(()) => Stdin::Polled,
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => Stdin::File,
                    Err(error) => return Err(error),
                }
            }
        };
        let is_terminal = kind == ConsoleKind::Terminal;
        Ok(Self { stdin, is_terminal, has_event: true, is_in_background: false, partial: Vec::new() })
    }

    pub(super) fn ready(&mut self) {
        self.has_event = true;
    }

    /// Whether a read may find something: an event has come, and standard input has not ended.
    pub(super) fn is_readable(&self) -> bool {
        self.has_event && !self.has_ended()
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    pub(super) fn is_in_background(&self) -> bool {
        self.is_in_background
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stdin == Stdin::Ended
    }

    /// Reads once; `None` where there is nothing to read for now.
    pub(super) fn read(&mut self, epoll: &Epoll<impl Calls>) -> Option<ReadLines> {
        // The kernel stops a background job that reads its terminal (SIGTTIN).
        self.is_in_background = self.is_terminal && !is_in_foreground();
        if self.is_in_background {
            return None;
        }
        if self.stdin == Stdin::Polled && !has_input(epoll.calls()) {
            self.has_event = false;
            return None;
        }
        let mut chunk = [0; CHUNK];
        let result = read(io::stdin(), &mut chunk);
        let bytes = result.ok().and_then(|count| chunk.get(..count)).unwrap_or_default();
        let call = Call::Read { fd: 0, bytes, room: CHUNK };
        epoll.calls().made(&call, result.map_err(io::Error::from).as_ref().copied());
        match result {
            Ok(count @ 1..) => Some(ReadLines { lines: self.cut(&chunk[..count]), ended: false }),
            Err(Errno::EINTR) => None,
            Ok(0) | Err(_) => Some(ReadLines { lines: self.end(epoll), ended: true }),
        }
    }

    /// Cuts bytes into lines; keeps the beginning of a line for the next call.
    fn cut(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
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
        lines
    }

    /// Standard input has ended: the beginning of a line is one, too.
    fn end(&mut self, epoll: &Epoll<impl Calls>) -> Vec<Vec<u8>> {
        if self.stdin == Stdin::Polled {
            // Fails where the descriptor has been closed meanwhile, and then is not watched any more either.
            let _ = epoll.remove(&mut stdin_source(), 0, Token::ConsoleInput);
        }
        self.stdin = Stdin::Ended;
        let rest = std::mem::take(&mut self.partial);
        if rest.is_empty() { Vec::new() } else { vec![rest] }
    }
}

fn stdin_source() -> SourceFd<'static> {
    SourceFd(&0)
}

/// Whether a read would not wait. One that finds the end or an error does not wait either.
fn has_input(calls: &impl Calls) -> bool {
    let events = poll_now(io::stdin(), PollFlags::POLLIN);
    calls.made(&Call::Poll { fd: 0, event: "POLLIN" }, Ok(usize::from(!events.is_empty())));
    events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
}

/// Whether this process belongs to the terminal's foreground job. Where tcgetpgrp(3) fails, standard input is not our
/// controlling terminal, or has gone, and a read does not stop us.
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |foreground| foreground == getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> LineReader {
        let (stdin, partial) = (Stdin::File, Vec::new());
        LineReader { stdin, is_terminal: false, has_event: true, is_in_background: false, partial }
    }

    #[test]
    fn lines_are_cut_wherever_reads_end() {
        let mut reader = reader();
        assert_eq!(reader.cut(b"one\ntw"), [b"one"]);
        assert_eq!(reader.cut(b"o\r"), [b""; 0]);
        assert_eq!(reader.cut(b"\n\nthree"), [b"two".to_vec(), b"".to_vec()]);
        assert_eq!(reader.partial, b"three");
    }

    #[test]
    fn line_that_is_too_long_is_cut_in_two() {
        let mut reader = reader();
        assert!(reader.cut(&vec![b'x'; LONGEST_LINE]).is_empty());
        assert_eq!(reader.cut(b"y")[0].len(), LONGEST_LINE + 1);
        assert_eq!(reader.cut(b"z\n"), [b"z"]);
    }
}
