//! Listening sockets, made so that the kernel's queue is as long as asked and the accepted sockets need no setting up.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, SockAddr, Socket, Type};

use super::ListenOptions;
use crate::error::Occupant;

/// A listening socket. (A Unix one removes its file when dropped.)
#[derive(Debug)]
pub enum Listener {
    /// tcp(7)
    Tcp(TcpListener),
    /// unix(7)
    Unix(UnixListener, SocketFile),
}

/// A TCP listener: mio's own would have a backlog of 128 (`--backlog`), and cannot share its port.
pub(super) fn tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<(Listener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    // A restart need not wait for connections in TIME_WAIT; two live listeners still exclude each other.
    socket.set_reuse_address(true)?;
    share_port(&socket, options)?;
    // Accepted sockets inherit it, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    dual_stack(&socket, address)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    let listener = TcpListener::from_std(socket.into());
    let local = listener.local_addr()?;
    Ok((Listener::Tcp(listener), local))
}

/// A Unix stream listener.
pub(super) fn unix(path: &Path, options: &ListenOptions) -> Result<Listener, Refusal> {
    let (socket, file) = bind_unix(path, Type::STREAM)?;
    socket.listen(options.backlog)?;
    Ok(Listener::Unix(UnixListener::from_std(socket.into()), file))
}

/// Only where it is asked for: it would hide that a server is there already.
pub(super) fn share_port(socket: &Socket, options: &ListenOptions) -> io::Result<()> {
    if options.reuse_port { socket.set_reuse_port(true) } else { Ok(()) }
}

/// `[::]` takes IPv4 too, whatever the machine's default is.
pub(super) fn dual_stack(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() && address.ip().is_unspecified() { socket.set_only_v6(false) } else { Ok(()) }
}

/// Why a Unix socket could not be had.
#[derive(Debug)]
pub(super) enum Refusal {
    Occupied(Occupant),
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// A socket bound to `path`. A stale file there, which nobody serves, is replaced.
pub(super) fn bind_unix(path: &Path, kind: Type) -> Result<(Socket, SocketFile), Refusal> {
    let address = SockAddr::unix(path)?;
    make_way(path, &address)?;
    let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
    socket.bind(&address)?;
    let file = SocketFile::of(path)?;
    Ok((socket, file))
}

fn make_way(path: &Path, address: &SockAddr) -> Result<(), Refusal> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(Refusal::Occupied(Occupant::File));
    }
    // Asked with a type of socket that nobody serves here, a live one says so (EPROTOTYPE) without being connected to,
    // and a stale one refuses.
    match Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        _ => Err(Refusal::Occupied(Occupant::Server)),
    }
}

/// The file of a Unix socket: removed when dropped, unless somebody has put another in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = |metadata: fs::Metadata| metadata.dev() == self.device && metadata.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // Left behind it would be replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
