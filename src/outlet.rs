//! Where text goes that nobody may have to wait for: standard output and standard error, opened anew.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::libc;

/// A terminal or a pipe opened a second time, to be written to without waiting: the O_NONBLOCK of this one is its own.
/// (A file would begin anew, a socket cannot be opened.)
pub fn open_without_waiting(place: impl AsRawFd + IsTerminal) -> Option<File> {
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let is_pipe = std::fs::metadata(&path).ok()?.file_type().is_fifo();
    if !place.is_terminal() && !is_pipe {
        return None;
    }
    File::options().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()
}
