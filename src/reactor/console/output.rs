//! Standard output, which may be slow, stopped, full or dead.
//!
//! Text is taken from the [`PrintQueue`] only as far as standard output takes it. So a stopped terminal holds up nothing
//! else, and what it cannot show stays bounded where it waits.
//!
//! On a terminal a prompt stands below what is printed, and behind it what the user has typed of a line. The terminal
//! keeps and edits that line until it is ended (termios(3), canonical mode): nobody can read it, nor write it again after
//! its row was overwritten. So a line is printed in a new row that is opened above the prompt's.

use std::fs::File;
use std::io::{self, IsTerminal, Stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use memchr::memchr;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

use crate::outlet::{Room, open_without_waiting, room};
use crate::reactor::token::Token;
use crate::service::PrintQueue;

/// Bytes taken from the queue at once.
const CHUNK: usize = 64 << 10;

/// Opens a row above that of the cursor, and moves to its beginning. The cursor is saved.
///
/// There must be a row below, for the one that moves down: IND makes one, RI comes back. Then DECSC, CR and IL (ECMA-48,
/// and DEC's VT102 manual; every terminal emulator has them, and so has the console of Linux).
const OPEN_ROW: &[u8] = b"\x1bD\x1bM\x1b7\r\x1b[L";

/// Moves back to where the cursor was saved (DECRC), which is now one row below (IND).
const BACK_TO_PROMPT: &[u8] = b"\x1b8\x1bD";

/// Columns of a line that surely needs one row only. How wide a terminal is can be asked by ioctl(2) alone, for which
/// there is no safe call; hardly any is narrower than 80 columns.
const ONE_ROW: usize = 79;

/// The most that one write to standard output itself has: a pipe that has any room takes a page whole (pipe(7)).
const PAGE: usize = 4096;

/// What happens to output that cannot be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in a bounded queue; what finds no room there is left out and counted
    /// ([`Stats::console_lost`](crate::Stats::console_lost)). For a server, whose other clients must not wait.
    Drop,
    /// The loop waits until it is written, as any program at a pipe does, or until a signal comes that ends it. For a
    /// client, which has nothing else to do.
    Wait,
}

/// How long a print may wait for room, where [`WhenFull::Wait`] lets it.
#[derive(Clone, Copy, Debug)]
pub(in crate::reactor) enum Patience<'a> {
    /// Not at all: the program is to end.
    None,
    /// Until this descriptor is readable, if there is one.
    Until(Option<BorrowedFd<'a>>),
}

/// Prints on standard output, above a prompt if there is one.
#[derive(Debug)]
pub(super) struct Printer {
    place: Place,
    is_terminal: bool,
    when_full: WhenFull,
    state: State,
    /// What has been taken from the queue; the first `written` bytes are out.
    text: Vec<u8>,
    written: usize,
    prompt: Option<&'static str>,
    /// The cursor stands behind the prompt.
    is_prompt_shown: bool,
}

/// Where output goes.
#[derive(Debug)]
enum Place {
    /// Standard output by plain writes: a file makes nobody wait.
    Plain(Stdout),
    /// Standard output. poll(2) is asked before each write.
    Polled(Stdout),
    /// The same terminal or pipe, opened anew: a write to it never waits. (poll(2) alone would not do: it may find some
    /// room in a terminal, and less than a write needs.)
    Own(File),
}

/// What the last write met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// It waits until an event tells that there is room.
    Full,
    /// The reader has gone: nothing will be taken any more.
    Gone,
}

impl Printer {
    pub(super) fn open(registry: &Registry, when_full: WhenFull) -> io::Result<Self> {
        let place = Place::open();
        if when_full == WhenFull::Drop {
            place.watch(registry)?;
        }
        Ok(Self {
            place,
            is_terminal: io::stdout().is_terminal(),
            when_full,
            state: State::Ready,
            text: Vec::new(),
            written: 0,
            prompt: None,
            is_prompt_shown: false,
        })
    }

    pub(super) fn set_prompt(&mut self, prompt: &'static str) {
        self.prompt = Some(prompt);
    }

    /// An event: there may be room again.
    pub(super) fn ready(&mut self) {
        if self.state == State::Full {
            self.state = State::Ready;
        }
    }

    /// Prints what waits in the queue, `most` bytes or a little more where others must not wait, as far as there is
    /// room. Fails where standard output cannot be written to, as on a full disk; a reader that has gone is no failure.
    pub(super) fn print(&mut self, queue: &mut PrintQueue, most: usize, patience: Patience<'_>) -> io::Result<()> {
        let mut left = if self.when_full == WhenFull::Wait { usize::MAX } else { most };
        self.flush(patience)?;
        while self.state == State::Ready && left > 0 && !queue.is_empty() {
            let mut text = Vec::new();
            queue.take(&mut text, left.min(CHUNK));
            left = left.saturating_sub(text.len());
            self.put(&text);
            self.flush(patience)?;
        }
        if self.state == State::Gone {
            queue.lose_all();
        }
        Ok(())
    }

    /// Shows the prompt, unless it is shown already.
    pub(super) fn show_prompt(&mut self) -> io::Result<()> {
        match self.prompt {
            Some(prompt) if !self.is_prompt_shown => {
                self.text.extend_from_slice(prompt.as_bytes());
                self.is_prompt_shown = true;
                self.flush(Patience::None)
            }
            _ => Ok(()),
        }
    }

    /// The user has ended a line, which has moved the cursor away from the prompt.
    pub(super) fn leave_prompt(&mut self) {
        self.is_prompt_shown = false;
    }

    /// Whether a print would bring something out.
    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Whether the reader of standard output has gone, and with it the only one that the loop works for
    /// ([`WhenFull::Wait`]).
    pub(super) fn has_lost_reader(&self) -> bool {
        self.state == State::Gone && self.when_full == WhenFull::Wait
    }

    /// Has text written next, above the prompt if that is shown.
    fn put(&mut self, text: &[u8]) {
        let mut rest = text;
        while self.is_prompt_shown
            && let Some(length) = line_that_fits(rest)
        {
            let (line, others) = rest.split_at(length);
            for part in [OPEN_ROW, line, BACK_TO_PROMPT] {
                self.text.extend_from_slice(part);
            }
            rest = others;
        }
        if self.is_prompt_shown && !rest.is_empty() {
            // It stands below what has been typed. That stays readable, and is still said whole.
            self.text.push(b'\n');
            self.is_prompt_shown = false;
        }
        self.text.extend_from_slice(rest);
    }

    /// Writes what has been taken, as far as there is room.
    fn flush(&mut self, patience: Patience<'_>) -> io::Result<()> {
        if self.state == State::Full && self.when_full == WhenFull::Wait {
            // No event will come.
            self.state = State::Ready;
        }
        while self.state == State::Ready && self.written < self.text.len() {
            match self.place.write(&self.text[self.written..]) {
                Ok(count) => self.written += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if self.when_full == WhenFull::Wait && self.place.wait_for_room(patience) => {}
                Err(Errno::EAGAIN) => self.state = State::Full,
                Err(errno) if self.is_goodbye(errno) => self.state = State::Gone,
                Err(errno) => {
                    self.state = State::Gone;
                    return Err(errno.into());
                }
            }
        }
        if self.state != State::Full {
            (self.text, self.written) = (Vec::new(), 0);
        }
        Ok(())
    }

    /// Whether an error says that the reader has gone: of a pipe, a socket or a terminal.
    fn is_goodbye(&self, errno: Errno) -> bool {
        matches!(errno, Errno::EPIPE | Errno::ECONNRESET) || self.is_terminal && errno == Errno::EIO
    }
}

impl Drop for Printer {
    /// Leaves the cursor at the beginning of a line.
    fn drop(&mut self) {
        if self.is_prompt_shown {
            self.text.push(b'\n');
            // There is nobody left to tell.
            let _ = self.flush(Patience::None);
        }
    }
}

/// The length of the first line with its end, if it surely fits into one row of a terminal.
fn line_that_fits(text: &[u8]) -> Option<usize> {
    let end = memchr(b'\n', text)?;
    let line = std::str::from_utf8(&text[..end]).ok()?;
    let mut columns = 0;
    for letter in line.chars() {
        columns += match letter {
            ' '..='~' => 1,
            _ if letter.is_control() => return None,
            // East Asian letters take two columns.
            _ => 2,
        };
    }
    (columns <= ONE_ROW).then_some(end + 1)
}

impl Place {
    fn open() -> Self {
        let stdout = io::stdout();
        if let Some(own) = open_without_waiting(&stdout) {
            return Self::Own(own);
        }
        let kind = fstat(&stdout).map_or(SFlag::S_IFREG, |stat| SFlag::from_bits_truncate(stat.st_mode));
        match kind & SFlag::S_IFMT {
            SFlag::S_IFIFO | SFlag::S_IFSOCK => Self::Polled(stdout),
            _ if stdout.is_terminal() => Self::Polled(stdout),
            _ => Self::Plain(stdout),
        }
    }

    /// Has an event tell when there is room again.
    fn watch(&self, registry: &Registry) -> io::Result<()> {
        if let Self::Plain(_) = self {
            // It cannot be watched (epoll_ctl(2): EPERM), and need not.
            return Ok(());
        }
        let descriptor = self.descriptor().as_raw_fd();
        registry.register(&mut SourceFd(&descriptor), Token::ConsoleOutput.into(), Interest::WRITABLE)
    }

    /// Writes what there is room for; EAGAIN where there is none.
    fn write(&self, text: &[u8]) -> nix::Result<usize> {
        match self {
            Self::Own(own) => write(own, text),
            Self::Plain(stdout) => write(stdout, text),
            Self::Polled(stdout) => match room(stdout) {
                Room::Ready => write(stdout, &text[..text.len().min(PAGE)]),
                Room::Full => Err(Errno::EAGAIN),
                Room::Broken => Err(Errno::EPIPE),
            },
        }
    }

    /// Waits until there is room, or until patience ends; whether there is room.
    fn wait_for_room(&self, patience: Patience<'_>) -> bool {
        let Patience::Until(end) = patience else { return false };
        let mut polled = vec![PollFd::new(self.descriptor(), PollFlags::POLLOUT)];
        polled.extend(end.map(|end| PollFd::new(end, PollFlags::POLLIN)));
        loop {
            match poll(&mut polled, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(_) => return false,
                Ok(_) => return polled.get(1).is_none_or(|end| end.any() != Some(true)),
            }
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(own) => own.as_fd(),
            Self::Plain(stdout) | Self::Polled(stdout) => stdout.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_fits_into_a_row_where_its_columns_are_known_and_few() {
        for (text, fits) in [
            ("hi\nho\n", Some(3)),
            ("\n", Some(1)),
            ("no end", None),
            ("a\ttab\n", None),
            ("\x1b[2J\n", None),
            (&format!("{}\n", "x".repeat(79)), Some(80)),
            (&format!("{}\n", "x".repeat(80)), None),
            (&format!("{}\n", "日".repeat(39)), Some(118)),
            (&format!("{}\n", "日".repeat(40)), None),
        ] {
            assert_eq!(line_that_fits(text.as_bytes()), fits, "{text:?}");
        }
    }
}
