//! Unix sockets' files: a stale one is replaced, one that is in use is left alone, our own is removed in the end.
//!
//! Of several servers that start at one path at the same time exactly one gets it. Finding a file stale and replacing it
//! takes several calls, during which the folder is locked (flock(2)); the next server then finds a bound socket. To bind
//! under a temporary name and rename(2) would need the lock just the same, because rename(2) replaces the file of a live
//! socket, too. And clients would see the temporary name (getpeername(2), the source of datagrams, ss(8)).

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

use super::calls::{Call, Calls, Held, told};
use super::options;
use crate::endpoint::Address;
use crate::error::Occupant;

/// How long to wait for the lock on a folder. Each start holds it for less than a millisecond.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The file of a bound Unix socket: removed when dropped, unless another has taken its place.
///
/// It has to be dropped before its socket. A client must not find the file of a socket that is closed; and as long as
/// the socket keeps the inode in use, no other file can have the same inode number.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Why there is no socket at a path.
#[derive(Debug)]
pub(super) enum Refusal {
    Occupied(Occupant),
    Failed(io::Error),
}

impl SocketFile {
    /// A socket of this type, bound to `path` (unix(7)), and the file that came with it. The file of a stale socket
    /// there is replaced. Its permissions are `mode`, or what the umask leaves.
    pub(super) fn bind<C: Calls>(
        path: &Path,
        kind: Type,
        mode: Option<u32>,
        calls: &C,
    ) -> Result<(Self, Held<Socket, C>), Refusal> {
        let address = SockAddr::unix(path)?;
        let socket = options::open(Domain::UNIX, kind, calls)?;
        if let Some(mode) = mode {
            // bind(2) gives the file the permissions of the socket itself, less the umask. So the file never has more
            // than these; what the umask takes away is given back below.
            fchmod(&*socket, Mode::from_bits_truncate(mode)).map_err(io::Error::from)?;
        }
        let _lock = lock_folder_of(path);
        remove_stale(path, &address, calls)?;
        let to = Address::Unix(Some(path.into()));
        told(calls, &Call::Bind { fd: socket.as_raw_fd(), to: &to }, socket.bind(&address))?;
        let metadata = fs::symlink_metadata(path)?;
        let file = Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        if let Some(mode) = mode {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        Ok((file, socket))
    }

    fn is(&self, metadata: &Metadata) -> bool {
        metadata.dev() == self.device && metadata.ino() == self.inode
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| self.is(&metadata)) {
            // A file that cannot be removed is stale at the next start, and replaced then.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Locks the folder that a path is in, until the file is dropped.
///
/// `None` where it cannot be locked: it may not be read, its file system has no locks, or another program keeps the lock
/// for long (`flock FOLDER pingpong serve …`). The server starts all the same: only starts at the same moment could then
/// still collide.
fn lock_folder_of(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder).ok()?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            Err(_) => return None,
        }
    }
}

/// Removes a stale file: that of a socket which is closed, as a server that is killed leaves it behind.
fn remove_stale(path: &Path, address: &SockAddr, calls: &impl Calls) -> Result<(), Refusal> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if metadata.is_dir() {
        return Err(Refusal::Occupied(Occupant::Directory));
    }
    if !metadata.file_type().is_socket() {
        return Err(Refusal::Occupied(Occupant::File));
    }
    // A stale socket refuses connect(2). A SEQPACKET socket is of another type than any that we bind: a live one
    // therefore answers EPROTOTYPE, and its server does not see a connection.
    let probe = options::open(Domain::UNIX, Type::SEQPACKET, calls)?;
    let call = Call::Connect { fd: probe.as_raw_fd(), to: &Address::Unix(Some(path.into())) };
    let Err(error) = told(calls, &call, probe.connect(address)) else {
        return Err(Refusal::Occupied(Occupant::Server));
    };
    match error.kind() {
        ErrorKind::ConnectionRefused => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        },
        // Its server has removed it in the meantime.
        ErrorKind::NotFound => Ok(()),
        ErrorKind::WouldBlock => Err(Refusal::Occupied(Occupant::Server)),
        _ if error.raw_os_error() == Some(libc::EPROTOTYPE) => Err(Refusal::Occupied(Occupant::Server)),
        _ => Err(error.into()),
    }
}
