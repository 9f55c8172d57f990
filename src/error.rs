//! [`Error`]: why a reactor cannot be set up or go on. [`CloseReason`]: why one connection ended.
//!
//! Trouble with a peer is never an `Error`: it is the `CloseReason` of that connection. An `Error` displays as one line
//! that says what failed, why, and the way out.

use std::fmt;
use std::io;

use crate::endpoint::{Endpoint, EndpointError};

/// Why a reactor cannot be set up, or its loop cannot go on.
///
/// Displays as one line that names the thing, the cause and the way out. Because the cause is part of that line,
/// [`source`](std::error::Error::source) returns `None`: a report that walks the chain says it once. The `io::Error`
/// itself is in the variant's field `source`.
///
/// ```
/// use pingpong::{Endpoint, Error, Limits, Reactor, service::Echo};
///
/// let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let endpoint = Endpoint::Tcp(taken.local_addr()?.into());
///
/// let mut reactor = Reactor::<Echo>::new(Limits::default())?;
/// let echo = reactor.add("echo", Echo);
/// let error = reactor.listen(echo, &endpoint).unwrap_err();
/// assert!(error.to_string().starts_with(&format!("cannot listen on {endpoint}: address in use")));
/// assert!(matches!(error, Error::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A text is no endpoint.
    Endpoint(EndpointError),
    /// A host's addresses could not be looked up (getaddrinfo(3)).
    Resolve {
        /// The endpoint whose host was looked up.
        endpoint: Endpoint,
        /// What the resolver said.
        source: io::Error,
    },
    /// A socket could not be opened, bound or listened on (socket(2), bind(2), listen(2)).
    Listen {
        /// Where it was to listen.
        endpoint: Endpoint,
        /// What the kernel said.
        source: io::Error,
    },
    /// A Unix socket's path is taken by something that must not be replaced.
    Occupied {
        /// Where it was to listen.
        endpoint: Endpoint,
        /// What has taken it.
        by: Occupant,
    },
    /// Standard output cannot be written to, for instance because the disk is full (write(2)).
    Output {
        /// What the kernel said.
        source: io::Error,
    },
    /// A descriptor of the loop itself failed: epoll(7), eventfd(2), signalfd(2), timerfd_create(2) or the console.
    Loop {
        /// Which one, as its `Display` names it.
        part: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What is in the place of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// A socket that a server listens on.
    Server,
    /// A directory.
    Directory,
    /// Another file that is not a socket.
    File,
}

/// Why a connection ended. Each close has exactly one reason and is counted under its name:
/// [`Stats::closes`](crate::Stats::closes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer ended its stream and was owed nothing, or closed the connection.
    Peer,
    /// The service closed it.
    Service,
    /// No byte went in or out for [`Limits::idle_timeout`](crate::Limits::idle_timeout).
    Idle,
    /// The peer did not read: unsent output made no progress for
    /// [`Limits::stall_timeout`](crate::Limits::stall_timeout), or exceeded
    /// [`Limits::max_unsent`](crate::Limits::max_unsent).
    Stall,
    /// A message was longer than [`Limits::max_message`](crate::Limits::max_message).
    Overflow,
    /// A local limit was reached: connections of one address, memory for buffers, or epoll watches.
    Limit,
    /// The connection failed: it was reset, or there was another error of the network.
    Reset,
    /// The server is shutting down.
    Shutdown,
}

impl CloseReason {
    /// All reasons, in the order in which the counters show them.
    pub const ALL: [Self; 8] =
        [Self::Peer, Self::Service, Self::Idle, Self::Stall, Self::Overflow, Self::Limit, Self::Reset, Self::Shutdown];

    /// The reason's name in counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Service => "service",
            Self::Idle => "idle",
            Self::Stall => "stall",
            Self::Overflow => "overflow",
            Self::Limit => "limit",
            Self::Reset => "reset",
            Self::Shutdown => "shutdown",
        }
    }
}

impl From<EndpointError> for Error {
    fn from(error: EndpointError) -> Self {
        Self::Endpoint(error)
    }
}

/// `source` returns `None`: the cause is part of the text.
impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(error) => error.fmt(f),
            Self::Resolve { endpoint, source } => {
                write!(f, "cannot resolve {endpoint}: {} (is the host's name right?)", describe(source))
            }
            Self::Listen { endpoint, source } => {
                write!(f, "cannot listen on {endpoint}: {}{}", describe(source), way_out(endpoint, source))
            }
            Self::Occupied { endpoint, by: Occupant::Server } => write!(
                f,
                "cannot listen on {endpoint}: address in use (a server answers there; stop it or try another path)"
            ),
            Self::Occupied { endpoint, by: Occupant::Directory } => {
                write!(f, "cannot listen on {endpoint}: the path is a directory (name a file in it)")
            }
            Self::Occupied { endpoint, by: Occupant::File } => write!(
                f,
                "cannot listen on {endpoint}: the path is a file, not a socket (remove it or try another path)"
            ),
            Self::Output { source } => write!(f, "cannot write to standard output: {}", describe(source)),
            Self::Loop { part, source } => write!(f, "cannot go on: {part}: {}", describe(source)),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether an error means that descriptors, epoll watches or kernel memory ran out: EMFILE, ENFILE, ENOSPC, ENOBUFS or
/// ENOMEM (accept(2), socket(2), epoll_ctl(2)). The remedy is a limit of this process or machine, not another endpoint.
pub fn is_exhaustion(error: &io::Error) -> bool {
    use nix::errno::Errno::{EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC};
    let limits = [EMFILE, ENFILE, ENOSPC, ENOBUFS, ENOMEM];
    error.raw_os_error().is_some_and(|code| limits.iter().any(|errno| *errno as i32 == code))
}

/// Describes an error of the operating system as [`Error`] displays it: beginning in lower case, without the number
/// that `io::Error` appends.
///
/// ```
/// let missing = std::fs::File::open("/no/such/file").unwrap_err();
/// assert_eq!(missing.to_string(), "No such file or directory (os error 2)");
/// assert_eq!(pingpong::describe(&missing), "no such file or directory");
/// ```
pub fn describe(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        return "address in use".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !begins_with_acronym(text) => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

/// Whether a text begins with two capitals, as "RPC version wrong" does.
fn begins_with_acronym(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_uppercase)
}

/// What a user can do about a socket that cannot listen, in brackets; empty where nothing general can be said.
fn way_out(endpoint: &Endpoint, error: &io::Error) -> &'static str {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, InvalidInput, NotFound, PermissionDenied};
    match (endpoint, error.kind()) {
        _ if is_exhaustion(error) => " (too little of a local resource; raise it with 'ulimit -n')",
        (Endpoint::Tcp(_) | Endpoint::Udp(_), AddrInUse) => {
            " (another server there? try another port, or share it: ListenOptions::reuse_port)"
        }
        (Endpoint::Tcp(_) | Endpoint::Udp(_), AddrNotAvailable) => {
            " (no interface here has that address; see 'ip addr')"
        }
        (Endpoint::Tcp(_) | Endpoint::Udp(_), PermissionDenied) => " (low ports need privileges; try one from 1024 on)",
        (Endpoint::Unix(_) | Endpoint::UnixGram(_), AddrInUse) => " (another server there? try another path)",
        (Endpoint::Unix(_) | Endpoint::UnixGram(_), PermissionDenied) => {
            " (may you write in that folder, and to the socket if there is one?)"
        }
        (Endpoint::Unix(_) | Endpoint::UnixGram(_), NotFound) => " (its folder must exist)",
        (Endpoint::Unix(_) | Endpoint::UnixGram(_), InvalidInput) => " (a path of at most 107 bytes, please)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_in_use() -> Error {
        Error::Listen {
            endpoint: "tcp://127.0.0.1:8888".parse().unwrap(),
            source: io::Error::from_raw_os_error(nix::libc::EADDRINUSE),
        }
    }

    #[test]
    fn an_address_in_use_names_the_endpoint_and_the_option() {
        let text = address_in_use().to_string();
        assert!(text.starts_with("cannot listen on tcp://127.0.0.1:8888: address in use ("), "{text}");
        assert!(text.contains("ListenOptions::reuse_port") && !text.contains("--"), "{text}");
    }

    #[test]
    fn a_chain_of_errors_says_everything_once() {
        let error = address_in_use();
        assert!(std::error::Error::source(&error).is_none(), "its cause is part of: {error}");
    }

    #[test]
    fn the_kernels_words_come_without_their_number() {
        let error = io::Error::from_raw_os_error(nix::libc::EACCES);
        assert_eq!(describe(&error), "permission denied");
    }
}
