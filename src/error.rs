//! What can go wrong for the program that runs a reactor ([`Error`]), and why a connection ended ([`CloseReason`]).
//!
//! A peer's trouble is never an `Error`: it is a `CloseReason` of that one connection. An `Error` tells the whole of it
//! in one line: what failed, why, and the way out.

use std::fmt;
use std::io;

use crate::endpoint::{Endpoint, EndpointError};

/// Why a reactor could not be set up, or its loop not go on.
///
/// Its `Display` is one line that names the thing, the cause and the way out. So there is nothing left for
/// [`source`](std::error::Error::source) to add, and a report that walks the chain says everything once. The
/// `io::Error` itself is the variant's field `source`.
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
    /// A text that is no endpoint.
    Endpoint(EndpointError),
    /// The host has no address (getaddrinfo(3)).
    Resolve {
        /// The endpoint whose host was looked up.
        endpoint: Endpoint,
        /// What the resolver said.
        source: io::Error,
    },
    /// The socket could not be made, bound or listened on (bind(2), listen(2)).
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
        /// By what.
        by: Occupant,
    },
    /// The loop's own machinery failed: epoll(7), eventfd(2) or signalfd(2).
    Loop {
        /// The part that failed.
        part: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What sits where a Unix socket should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// A socket with a server behind it.
    Server,
    /// A file that is no socket.
    File,
}

/// Why a connection ended. Each close has exactly one, and is counted under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer had finished and had got all that it was owed, or went away in good order.
    Peer,
    /// The service closed it.
    Service,
    /// No byte in or out for the idle timeout.
    Idle,
    /// The peer took none of its pending answers for the stall timeout.
    Stall,
    /// A message longer than the limit.
    Overflow,
    /// A limit of ours: connections per address, memory for buffers, epoll watches.
    Limit,
    /// The connection broke: reset or another error of the network.
    Reset,
    /// The server is shutting down.
    Shutdown,
}

impl CloseReason {
    /// All reasons, in the order in which the counters show them.
    pub const ALL: [Self; 8] =
        [Self::Peer, Self::Service, Self::Idle, Self::Stall, Self::Overflow, Self::Limit, Self::Reset, Self::Shutdown];

    /// Its name in counters and logs.
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

/// Without a `source`: the cause is part of the text.
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
            Self::Occupied { endpoint, by: Occupant::File } => write!(
                f,
                "cannot listen on {endpoint}: the path is a file, not a socket (remove it or try another path)"
            ),
            Self::Loop { part, source } => write!(f, "cannot go on: {part}: {}", describe(source)),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether an error says that descriptors or kernel memory ran out (EMFILE, ENFILE, ENOBUFS, ENOMEM: accept(2),
/// socket(2)). Then the remedy is a limit of this machine or process, not another endpoint.
pub fn is_exhaustion(error: &io::Error) -> bool {
    use nix::errno::Errno::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    error.raw_os_error().is_some_and(|code| [EMFILE, ENFILE, ENOBUFS, ENOMEM].iter().any(|errno| *errno as i32 == code))
}

/// An error of the operating system in plain words, as [`Error`] tells it: in lower case, and without the number that
/// `io::Error` appends.
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

/// Whether the first two letters are capitals, as in "RPC version wrong".
fn begins_with_acronym(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_uppercase)
}

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
