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

impl SocketFile {
    /// A socket of this type, bound to `path` (unix(7)), and the file that came with it. The file of a stale socket
    /// there is replaced.
    pub(super) fn bind(path: &Path, kind: Type) -> Result<(Socket, Self), Refusal> {
        let address = SockAddr::unix(path)?;
        remove_stale(path, &address)?;
        let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
        socket.bind(&address)?;
        let metadata = fs::symlink_metadata(path)?;
        Ok((socket, Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() }))
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

/// Removes the file of a socket that nobody serves any more: a server that is killed leaves one behind.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), Refusal> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(Refusal::Occupied(Occupant::File));
    }
    // A stale socket refuses connect(2). We connect with a type of socket that is served nowhere here: so a live one
    // answers EPROTOTYPE, and its server never sees a connection.
    match Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        _ => Err(Refusal::Occupied(Occupant::Server)),
    }
}
