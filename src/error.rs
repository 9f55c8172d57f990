//! What can go wrong for the one who starts us ([`Error`]), and why a connection ended ([`CloseReason`]).
//!
//! A peer's trouble is never an `Error`: it is a `CloseReason` of that one connection.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::endpoint::{Endpoint, EndpointError};

/// Why a server could not be set up or its loop not go on. Each names the thing and the way out.
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
    /// Nobody could be reached (connect(2)).
    Connect {
        /// Who was to be reached.
        endpoint: Endpoint,
        /// What the kernel said.
        source: io::Error,
    },
    /// An answer did not come in time.
    NoAnswer {
        /// Who was to answer.
        endpoint: Endpoint,
        /// How long it was waited for.
        waited: Duration,
        /// Bytes came, but no end of a line.
        unterminated: bool,
    },
    /// The other side ended the conversation before it was over.
    BrokenOff {
        /// Who ended it.
        endpoint: Endpoint,
        /// How.
        why: CloseReason,
    },
    /// This machine, or this process, has too little of something for what was asked.
    Shortage {
        /// What runs out first.
        of: Resource,
        /// How much is needed.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// A local address that connections were to come from is not there (bind(2)).
    Source {
        /// The address.
        address: IpAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of results could not be read or written, or is none.
    File {
        /// What was to be done with it.
        to: &'static str,
        /// Which one.
        path: PathBuf,
        /// What went wrong.
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

/// What a load needs of the machine that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Descriptors of this process (RLIMIT_NOFILE, getrlimit(2)).
    Descriptors,
    /// Local ports for connections to one endpoint, of all source addresses together (ip_local_port_range, ip(7)).
    Ports,
    /// New connections per second: a port is free again some time after its connection was closed (TIME_WAIT).
    PortsPerSecond,
    /// Bytes of memory.
    Memory,
}

/// What sits where a Unix socket should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// A socket that somebody serves.
    Server,
    /// A file that is no socket.
    File,
}

impl Error {
    /// Whether a limit of this machine or process is the cause: descriptors or memory.
    pub fn is_local_limit(&self) -> bool {
        match self {
            Self::Resolve { source, .. }
            | Self::Listen { source, .. }
            | Self::Connect { source, .. }
            | Self::Loop { source, .. } => {
                is_exhaustion(source)
                    || source.kind() == io::ErrorKind::AddrNotAvailable && matches!(self, Self::Connect { .. })
            }
            Self::Shortage { .. } => true,
            _ => false,
        }
    }
}

impl From<EndpointError> for Error {
    fn from(error: EndpointError) -> Self {
        Self::Endpoint(error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { source, .. }
            | Self::Listen { source, .. }
            | Self::Connect { source, .. }
            | Self::Source { source, .. }
            | Self::File { source, .. }
            | Self::Loop { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(error) => error.fmt(f),
            Self::Resolve { endpoint, source } => {
                write!(f, "cannot resolve {endpoint}: {} (is the host's name right?)", plain(source))
            }
            Self::Listen { endpoint, source } => {
                write!(f, "cannot listen on {endpoint}: {}{}", plain(source), way_out(endpoint, source))
            }
            Self::Occupied { endpoint, by: Occupant::Server } => {
                write!(
                    f,
                    "cannot listen on {endpoint}: address in use (a server answers there; stop it or try another path)"
                )
            }
            Self::Occupied { endpoint, by: Occupant::File } => {
                write!(
                    f,
                    "cannot listen on {endpoint}: the path is a file, not a socket (remove it or try another path)"
                )
            }
            Self::Connect { endpoint, source } => {
                let way_out = match source.kind() {
                    io::ErrorKind::ConnectionRefused => " (is a server running there?)",
                    io::ErrorKind::NotFound => " (is a server running there? the path does not exist)",
                    io::ErrorKind::TimedOut => " (is it reachable from here? try a longer --timeout)",
                    io::ErrorKind::AddrNotAvailable => " (no local port left for that address)",
                    _ => "",
                };
                write!(f, "cannot connect to {endpoint}: {}{way_out}", plain(source))
            }
            Self::NoAnswer { endpoint, waited, unterminated } => {
                write!(f, "no answer from {endpoint} within {waited:?}")?;
                match unterminated {
                    true => write!(f, ": bytes came, but no line end (try --framing raw)"),
                    false => write!(f, " (try a longer --timeout)"),
                }
            }
            Self::BrokenOff { endpoint, why: CloseReason::Peer } => {
                write!(f, "{endpoint} closed the connection before it had answered all")
            }
            Self::BrokenOff { endpoint, why } => write!(f, "the connection to {endpoint} broke off ({why})"),
            Self::Shortage { of, needed, available } => {
                write!(f, "cannot open so many connections: they need {needed} {of}, and there are {available}")?;
                f.write_str(of.way_out())
            }
            Self::Source { address, source } => {
                write!(f, "cannot connect from {address}: {} (see 'ip addr' for what this machine has)", plain(source))
            }
            Self::File { to, path, source } => {
                let way_out = match source.kind() {
                    io::ErrorKind::NotFound if *to == "write" => " (its folder must exist)",
                    io::ErrorKind::NotFound => " (is its name right?)",
                    io::ErrorKind::PermissionDenied => " (may you do that there?)",
                    _ => "",
                };
                write!(f, "cannot {to} {}: {}{way_out}", path.display(), plain(source))
            }
            Self::Loop { part, source } => write!(f, "cannot go on: {part}: {}", plain(source)),
        }
    }
}

impl Resource {
    fn way_out(self) -> &'static str {
        match self {
            Self::Descriptors => {
                " (raise it with 'ulimit -Hn', or load from several processes and add up with 'bench merge')"
            }
            Self::Ports => " (give more local addresses with --source, or widen net.ipv4.ip_local_port_range)",
            Self::PortsPerSecond => " (give more local addresses with --source, or lower --rate)",
            Self::Memory => " (load from several machines and add up with 'bench merge')",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "descriptors",
            Self::Ports => "local ports",
            Self::PortsPerSecond => "local ports a second",
            Self::Memory => "bytes of memory",
        })
    }
}

/// Whether an error says that descriptors or kernel memory ran out (accept(2), socket(2)).
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    use nix::errno::Errno::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    error.raw_os_error().is_some_and(|code| [EMFILE, ENFILE, ENOBUFS, ENOMEM].iter().any(|errno| *errno as i32 == code))
}

/// An error cannot be cloned, but its number says all, or else its text.
pub fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The error in plain words, without the number that std appends.
pub fn plain(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        return "address in use".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.starts_with(|c: char| c.is_uppercase() && text[1..].starts_with(char::is_uppercase)) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

fn way_out(endpoint: &Endpoint, error: &io::Error) -> &'static str {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, InvalidInput, NotFound, PermissionDenied};
    match (endpoint, error.kind()) {
        _ if is_exhaustion(error) => " (too little of a local resource; raise it with 'ulimit -n')",
        (Endpoint::Tcp(_) | Endpoint::Udp(_), AddrInUse) => " (another server there? try --reuse-port or another port)",
        (Endpoint::Tcp(_) | Endpoint::Udp(_), AddrNotAvailable) => {
            " (no interface here has that address; see 'ip addr')"
        }
        (Endpoint::Tcp(_) | Endpoint::Udp(_), PermissionDenied) => " (low ports need privileges; try one from 1024 on)",
        (Endpoint::Unix(_) | Endpoint::UnixGram(_), PermissionDenied) => " (may you write in that folder?)",
        (Endpoint::Unix(_) | Endpoint::UnixGram(_), NotFound) => " (its folder must exist)",
        (Endpoint::Unix(_) | Endpoint::UnixGram(_), InvalidInput) => " (a path of at most 107 bytes, please)",
        _ => "",
    }
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

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_names_the_endpoint_and_the_way_out() {
        let error = Error::Listen {
            endpoint: "tcp://127.0.0.1:8888".parse().unwrap(),
            source: io::Error::from_raw_os_error(nix::libc::EADDRINUSE),
        };
        assert_eq!(
            error.to_string(),
            "cannot listen on tcp://127.0.0.1:8888: address in use (another server there? try --reuse-port or another port)"
        );
    }

    #[test]
    fn the_kernels_words_come_without_their_number() {
        let error = io::Error::from_raw_os_error(nix::libc::EACCES);
        assert_eq!(plain(&error), "permission denied");
    }
}
