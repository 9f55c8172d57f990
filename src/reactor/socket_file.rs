//! Unix sockets' files: a stale one is replaced, one that is in use is left alone, our own is removed in the end.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::Occupant;

/// The file of a bound Unix socket: removed when dropped, unless another has taken its place.
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

/// A socket of this type bound to `path` (unix(7)). A stale socket's file there is replaced.
pub(super) fn bind(path: &Path, kind: Type) -> Result<(Socket, SocketFile), Refusal> {
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
    socket.bind(&address)?;
    let file = SocketFile::of(path)?;
    Ok((socket, file))
}

/// Removes the file of a socket that nobody serves any more: a server that was killed leaves one behind.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), Refusal> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(Refusal::Occupied(Occupant::File));
    }
    // connect(2) tells a live socket from a stale one, which refuses. By a type that is served nowhere here, so that a
    // live one is not connected to either: it answers EPROTOTYPE.
    match Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        _ => Err(Refusal::Occupied(Occupant::Server)),
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    fn is_at(&self, metadata: &Metadata) -> bool {
        metadata.dev() == self.device && metadata.ino() == self.inode
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| self.is_at(&metadata)) {
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
