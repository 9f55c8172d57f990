//! Where standard output leads, and writing there without waiting.

use std::fs::File;
use std::io::{self, IsTerminal, Stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::Interest;
use mio::unix::SourceFd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

use crate::moment::Moment;
use crate::outlet::{Room, open_without_waiting, room};
use crate::reactor::calls::{Call, Calls, Epoll};
use crate::reactor::clock::Clock;
use crate::reactor::token::Token;

/// The most that one write to standard output itself has: a pipe that has any room takes a page whole (pipe(7)).
const PAGE: usize = 4096;

/// How many milliseconds to leave a terminal alone that has room, but not enough.
const TRY_AGAIN: u8 = 10;

/// Where output goes.
#[derive(Debug)]
pub(super) enum Place {
    /// Standard output by plain writes: a write to a file does not wait for a reader.
    Plain(Stdout),
    /// Standard output. poll(2) is asked before each write.
    Polled(Stdout),
    /// The same terminal or pipe, opened anew: a write to it never waits. (poll(2) alone would not do: it may find some
    /// room in a terminal, and less than a write needs.)
    Own(File),
}

/// How long a print may wait for room, where [`WhenFull::Wait`] lets it.
#[derive(Clone, Copy, Debug)]
pub(in crate::reactor) enum Patience<'a> {
    /// Not at all.
    None,
    Until {
        /// Until this descriptor is readable, if there is one.
        readable: Option<BorrowedFd<'a>>,
        /// Until this moment, if there is one: the program is to end.
        deadline: Option<(Clock, Moment)>,
    },
}

impl Patience<'_> {
    /// How long to wait at most; `None` where patience has ended.
    fn timeout(self) -> Option<PollTimeout> {
        let Self::Until { deadline, .. } = self else { return None };
        let Some((clock, deadline)) = deadline else { return Some(PollTimeout::NONE) };
        let left = deadline.since(clock.now());
        // Rounded down, a poll would end just before its deadline, again and again.
        let millis = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        (millis > 0).then(|| PollTimeout::from(millis))
    }
}

impl Place {
    pub(super) fn open() -> Self {
        let stdout = io::stdout();
        if let Some(own) = open_without_waiting(&stdout) {
            return Self::Own(own);
        }
        match kind_of(&stdout) {
            SFlag::S_IFIFO | SFlag::S_IFSOCK => Self::Polled(stdout),
            _ if stdout.is_terminal() => Self::Polled(stdout),
            _ => Self::Plain(stdout),
        }
    }

    /// Has an event tell when there is room again.
    pub(super) fn watch(&self, epoll: &Epoll<impl Calls>) -> io::Result<()> {
        if let Self::Plain(_) = self {
            // It cannot be watched (epoll_ctl(2): EPERM), and need not.
            return Ok(());
        }
        let descriptor = self.descriptor().as_raw_fd();
        epoll.add(&mut SourceFd(&descriptor), descriptor, Token::ConsoleOutput, Interest::WRITABLE)
    }

    /// Writes what there is room for; EAGAIN where there is none.
    pub(super) fn write(&self, text: &[u8], calls: &impl Calls) -> nix::Result<usize> {
        let mut text = text;
        if let Self::Polled(stdout) = self {
            let room = room(stdout);
            let call = Call::Poll { fd: stdout.as_raw_fd(), event: "POLLOUT" };
            calls.made(&call, Ok(usize::from(room != Room::Full)));
            match room {
                Room::Ready => text = &text[..text.len().min(PAGE)],
                Room::Full => return Err(Errno::EAGAIN),
                Room::Broken => return Err(Errno::EPIPE),
            }
        }
        let fd = self.descriptor();
        let result = write(fd, text);
        let call = Call::Write { fd: fd.as_raw_fd(), bytes: text };
        calls.made(&call, result.map_err(io::Error::from).as_ref().copied());
        result
    }

    /// Waits until there may be room; `false` when patience has ended before.
    ///
    /// A terminal may have room for a byte and not for a line end, which takes two there (termios(3), ONLCR): poll(2)
    /// reports room, and a write finds none. So a write that `was_in_vain` is tried again after a while.
    pub(super) fn wait_for_room(&self, patience: Patience<'_>, was_in_vain: bool, calls: &impl Calls) -> bool {
        let Patience::Until { readable: end, .. } = patience else { return false };
        let mut polled: Vec<PollFd<'_>> = end.map(|end| PollFd::new(end, PollFlags::POLLIN)).into_iter().collect();
        if !was_in_vain {
            polled.push(PollFd::new(self.descriptor(), PollFlags::POLLOUT));
        }
        loop {
            let Some(timeout) = patience.timeout() else { return false };
            let result = poll(&mut polled, if was_in_vain { PollTimeout::from(TRY_AGAIN) } else { timeout });
            let call = Call::Poll { fd: self.descriptor().as_raw_fd(), event: "POLLOUT" };
            calls.made(&call, result.map(|count| count as usize).map_err(io::Error::from).as_ref().copied());
            match result {
                Err(Errno::EINTR) => {}
                Err(_) => return false,
                // The deadline has come, as the clock will say.
                Ok(0) if !was_in_vain => {}
                Ok(_) => return end.is_none() || polled[0].any() != Some(true),
            }
        }
    }

    /// Whether a failed write says that the reader has gone: of a pipe, of a socket, or of a terminal that has hung up.
    pub(super) fn is_goodbye(&self, errno: Errno) -> bool {
        match errno {
            Errno::EPIPE | Errno::ECONNRESET => true,
            // Not so of a file: then it is the disk's error. (Such a terminal does not say any more that it is one.)
            Errno::EIO => kind_of(self.descriptor()) == SFlag::S_IFCHR,
            _ => false,
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(own) => own.as_fd(),
            Self::Plain(stdout) | Self::Polled(stdout) => stdout.as_fd(),
        }
    }
}

/// What kind of file this is (inode(7)); a regular one where that is unknown.
fn kind_of(file: impl AsFd) -> SFlag {
    fstat(file).map_or(SFlag::S_IFREG, |stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT)
}
