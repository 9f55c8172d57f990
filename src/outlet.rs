//! Writes to standard output and standard error that never wait for their reader.
//!
//! A terminal stopped by Ctrl-S, and a full pipe that is not read, block a plain write, and with it the whole loop.
//! There are two remedies. [`open_without_waiting`] opens a terminal or a pipe anew, so that a write fails instead of
//! waiting. [`room`] asks before each write, which is all that can be done for a socket. A regular file never blocks.
//!
//! The reactor's console prints in this way; a logger beside a reactor should too. Nothing here knows what is printed,
//! or counts what is lost.
//!
//! ```
//! use std::io::{self, Write};
//! use pingpong::outlet::{Room, open_without_waiting, room};
//!
//! let mut own = open_without_waiting(io::stderr());
//! let mut lost = 0;
//! for line in ["one\n", "two\n"] {
//!     let written = match &mut own {
//!         Some(own) => own.write(line.as_bytes()).is_ok(),
//!         None => room(io::stderr()) == Room::Ready && io::stderr().write(line.as_bytes()).is_ok(),
//!     };
//!     lost += u32::from(!written);
//! }
//! # assert!(lost <= 2);
//! ```

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a write would find now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Room for some bytes. A pipe takes 4,096 bytes at once (PIPE_BUF, pipe(7)). A terminal or a socket may take fewer
    /// than a write has; a blocking write then waits for the rest.
    Ready,
    /// No room: a blocking write would wait.
    Full,
    /// No reader any more: the pipe is closed, the terminal has hung up, or the descriptor is invalid.
    Broken,
}

/// Asks poll(2), without waiting, what a write to `place` would find. If poll(2) itself fails, the answer is
/// [`Room::Full`].
pub fn room(place: impl AsFd) -> Room {
    let events = poll_now(place, PollFlags::POLLOUT);
    if events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
        Room::Broken
    } else if events.contains(PollFlags::POLLOUT) {
        Room::Ready
    } else {
        Room::Full
    }
}

/// Opens a terminal or a pipe a second time (open(2) of its entry in /proc/self/fd), so that writes to it never wait. A
/// write that finds no room fails with [`WouldBlock`](std::io::ErrorKind::WouldBlock) or takes only a part.
///
/// Setting O_NONBLOCK on `place` itself would change it for every process that shares the open file description: the
/// shell would find its terminal changed.
///
/// Returns `None` where that does not help (a regular file would be written from its beginning, a socket cannot be
/// opened) or fails (another user's terminal, no /proc). Then write to `place` after asking for [`room`].
pub fn open_without_waiting(place: impl AsFd) -> Option<File> {
    let place = place.as_fd();
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let is_pipe = std::fs::metadata(&path).ok()?.file_type().is_fifo();
    if !place.is_terminal() && !is_pipe {
        return None;
    }
    // O_NOCTTY: otherwise a session leader without a controlling terminal would get this one (open(2)).
    File::options().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()
}

/// Asks poll(2) for the `wanted` events, without waiting. Errors and hang-ups are reported in any case; if poll(2)
/// itself fails, nothing is.
pub(crate) fn poll_now(place: impl AsFd, wanted: PollFlags) -> PollFlags {
    let mut polled = [PollFd::new(place.as_fd(), wanted)];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(1..) => polled[0].revents().unwrap_or(PollFlags::empty()),
        _ => PollFlags::empty(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, PipeReader, PipeWriter, Write, pipe};
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;

    const PAGE: usize = 4096;

    /// A pipe with room for one page.
    fn narrow_pipe() -> (PipeReader, PipeWriter) {
        let (reader, writer) = pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PAGE as i32)).unwrap();
        (reader, writer)
    }

    #[test]
    fn pipe_is_ready_then_full_then_broken() {
        let (reader, mut writer) = narrow_pipe();
        assert_eq!(room(&writer), Room::Ready);
        writer.write_all(&[b'x'; PAGE]).unwrap();
        assert_eq!(room(&writer), Room::Full);
        drop(reader);
        assert_eq!(room(&writer), Room::Broken);
    }

    #[test]
    fn empty_pipe_without_reader_is_broken() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(room(&writer), Room::Broken);
    }

    #[test]
    fn pipe_opened_anew_fails_where_the_first_one_would_wait() {
        let (_reader, writer) = narrow_pipe();
        let mut own = open_without_waiting(&writer).unwrap();
        assert_eq!(own.write(&[b'x'; PAGE]).unwrap(), PAGE);
        assert_eq!(own.write(b"y").unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn file_and_socket_are_not_opened_anew() {
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert!(open_without_waiting(file).is_none());
        let (socket, _peer) = UnixStream::pair().unwrap();
        assert!(open_without_waiting(socket).is_none());
    }
}
