//! What ends a command: one line on standard error that names the thing, the cause and the way out.
//!
//! The library says what it meets itself; here stands what only a command meets, and the command line's options where
//! they are the way out. The exit codes are in [`exit`](crate::exit).

use std::fmt;
use std::io;
#[cfg(feature = "bench")]
use std::net::IpAddr;
#[cfg(feature = "bench")]
use std::path::PathBuf;
use std::time::Duration;

use pingpong::{CloseReason, Endpoint, describe};

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Error {
    /// What the library met: an endpoint, a name, a socket, the loop.
    Library(pingpong::Error),
    /// No address of the endpoint could be reached (connect(2)).
    Connect {
        endpoint: Endpoint,
        /// What the kernel said of the last address.
        source: io::Error,
    },
    /// An answer did not come in time.
    NoAnswer {
        endpoint: Endpoint,
        waited: Duration,
        /// Bytes came, but no end of a line.
        unterminated: bool,
    },
    /// A message could not be sent (send(2)).
    Send { endpoint: Endpoint, source: io::Error },
    /// An answer that was to be a line has more bytes than this, and no line end.
    LongAnswer { endpoint: Endpoint, most: usize },
    /// The connection ended before the conversation was over.
    BrokenOff { endpoint: Endpoint, why: CloseReason },
    /// The connection ended after so many questions of a `ping`.
    CutShort {
        endpoint: Endpoint,
        why: CloseReason,
        asked: u64,
        /// How many there were to be, if not without end.
        count: Option<u64>,
    },
    /// A lesson did not come to its end.
    #[cfg(feature = "watch")]
    Lesson { name: &'static str, trouble: crate::lesson::Trouble },
    /// This machine, or this process, has too little of something for the load that was asked for.
    #[cfg(feature = "bench")]
    Shortage {
        /// What runs out first.
        of: Resource,
        needed: u64,
        available: u64,
    },
    /// No connection came about in time: nobody says yes or no.
    #[cfg(feature = "bench")]
    Unreached { endpoint: Endpoint, waited: Duration },
    /// The connections of a load, or the name of its server, were there only so long after the moment to begin at.
    #[cfg(feature = "bench")]
    Late { by: Duration },
    /// A local address that connections were to come from is not there (bind(2)).
    #[cfg(feature = "bench")]
    Source { address: IpAddr, source: io::Error },
    /// Results of runs that were not one load are not added up.
    #[cfg(feature = "bench")]
    NotOneLoad { first: String, second: String, why: crate::bench::Mismatch },
    /// Results have other steps than those that they are to be added to: not even by force are they added up.
    #[cfg(feature = "bench")]
    OtherSteps { first: String, second: String, counts: (usize, usize) },
    /// Results that are to be added up were interrupted after so many of their steps.
    #[cfg(feature = "bench")]
    FewerSteps { name: String, measured: usize, planned: usize },
    /// Parts of a load are not there.
    #[cfg(feature = "bench")]
    MissingParts { missing: String, all: u64, because: Option<String> },
    /// Files that were to be added up are empty; there may be others.
    #[cfg(feature = "bench")]
    EmptyFiles { why: String, has_others: bool },
    /// Results of runs that were not the same load are not compared.
    #[cfg(feature = "bench")]
    NotComparable { first: PathBuf, second: PathBuf, why: crate::bench::Mismatch },
    /// A file has results, but not those of one load that could be added up or compared.
    #[cfg(feature = "bench")]
    NotOneRun { path: PathBuf, source: io::Error },
    /// Two outputs go to one file.
    #[cfg(feature = "bench")]
    SameFile { path: PathBuf, other: PathBuf },
    /// A file of results could not be read or written, or holds no results.
    #[cfg(feature = "bench")]
    File {
        /// `read`, `write` or `compare`.
        to: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// What a load needs of the machine that it comes from.
#[cfg(feature = "bench")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Descriptors of this process (RLIMIT_NOFILE, getrlimit(2)).
    Descriptors,
    /// The same, where no process may have so many (fs.nr_open, proc_sys_fs(5)).
    DescriptorsOfAProcess,
    /// Open files of all processes together (fs.file-max, proc_sys_fs(5)).
    Files,
    /// Local ports for connections to one endpoint, of all source addresses together (ip_local_port_range, ip(7)).
    Ports,
    /// New connections per second: a port is free again some time after its connection was closed (TIME_WAIT).
    PortsPerSecond,
    /// Bytes of memory.
    Memory,
    /// Bytes of requests that may be unanswered at once.
    Unanswered,
    /// Connections that the firewall tracks (nf_conntrack_max).
    Tracked,
    /// Pages of memory for what is in TCP's buffers (tcp_mem, tcp(7)).
    TcpPages,
    /// Pages of memory for what is in UDP's buffers (udp_mem, udp(7)).
    UdpPages,
}

#[cfg(feature = "bench")]
impl Resource {
    fn way_out(self) -> &'static str {
        match self {
            Self::Descriptors => {
                " (raise it with 'ulimit -Hn', or load from several processes and add up with 'bench merge')"
            }
            Self::DescriptorsOfAProcess => {
                " (raise fs.nr_open and then 'ulimit -Hn', or load from several processes and add up with 'bench merge')"
            }
            Self::Files => " (raise fs.file-max)",
            Self::Tracked => " (raise net.netfilter.nf_conntrack_max)",
            Self::TcpPages => " (raise net.ipv4.tcp_mem, or lower --pipeline, --size or --connections)",
            Self::UdpPages => " (raise net.ipv4.udp_mem, or lower --pipeline, --size or --connections)",
            Self::Ports => {
                " (give more local addresses with --source, a range of ports as in tcp://HOST:7000-7019, or widen \
                 net.ipv4.ip_local_port_range)"
            }
            Self::PortsPerSecond => " (give more local addresses with --source, or lower --rate)",
            Self::Memory => " (load from several machines and add up with 'bench merge')",
            Self::Unanswered => " (lower --pipeline, --size or --connections)",
        }
    }
}

/// Why no connection can be dialled (connect(2), EADDRNOTAVAIL), and the way out.
pub(crate) const NO_PORT_LEFT: &str = "no local port left for that address: wait until those of closed connections are \
                                       free again, or widen net.ipv4.ip_local_port_range";

impl From<pingpong::Error> for Error {
    fn from(error: pingpong::Error) -> Self {
        Self::Library(error)
    }
}

/// Without a `source`: the cause is part of the text.
impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The library's way out is its own API.
            Self::Library(pingpong::Error::Listen {
                endpoint: endpoint @ (Endpoint::Tcp(_) | Endpoint::Udp(_)),
                source,
            }) if source.kind() == io::ErrorKind::AddrInUse => {
                let in_use = describe(source);
                write!(
                    f,
                    "cannot listen on {endpoint}: {in_use} (another server there? try --reuse-port or another port)"
                )
            }
            Self::Library(error) => error.fmt(f),
            Self::Connect { endpoint, source } => {
                let way_out = match source.kind() {
                    io::ErrorKind::ConnectionRefused => " (is a server running there?)",
                    io::ErrorKind::NotFound => " (is a server running there? the path does not exist)",
                    io::ErrorKind::TimedOut => " (is it reachable from here? try a longer --timeout)",
                    io::ErrorKind::AddrNotAvailable => &format!(" ({NO_PORT_LEFT})"),
                    _ => "",
                };
                write!(f, "cannot connect to {endpoint}: {}{way_out}", describe(source))
            }
            Self::NoAnswer { endpoint, waited, unterminated } => {
                let way_out = if *unterminated {
                    ": bytes came, but no line end (try --framing raw)"
                } else {
                    " (try a longer --timeout)"
                };
                write!(f, "no answer from {endpoint} within {waited:?}{way_out}")
            }
            Self::Send { endpoint, source } => write!(f, "cannot send to {endpoint}: {}", describe(source)),
            Self::BrokenOff { endpoint, why: CloseReason::Peer } => {
                write!(f, "{endpoint} closed the connection before it had answered all")
            }
            Self::LongAnswer { endpoint, most } => {
                write!(f, "an answer of {endpoint} is longer than {} MiB (try --framing raw)", most >> 20)
            }
            Self::CutShort { endpoint, why, asked, count } => {
                match why {
                    CloseReason::Peer => write!(f, "{endpoint} closed the connection")?,
                    CloseReason::Stall => write!(f, "{endpoint} does not read, and what waits for it is given up")?,
                    why => write!(f, "the connection to {endpoint} broke off ({why})")?,
                }
                match count {
                    Some(count) => write!(f, ", after {asked} of {count} questions"),
                    None => write!(f, ", after question {asked}"),
                }
            }
            Self::BrokenOff { endpoint, why } => write!(f, "the connection to {endpoint} broke off ({why})"),
            #[cfg(feature = "watch")]
            Self::Lesson { name, trouble } => write!(f, "lesson {name}: {trouble}"),
            #[cfg(feature = "bench")]
            Self::Shortage { of, needed, available } => {
                write!(f, "cannot open so many connections: they need {needed} {of}, and there are {available}")?;
                f.write_str(of.way_out())
            }
            #[cfg(feature = "bench")]
            Self::Source { address, source } => {
                let cause = describe(source);
                write!(f, "cannot connect from {address}: {cause} (see 'ip addr' for what this machine has)")
            }
            #[cfg(feature = "bench")]
            Self::Late { by } => write!(
                f,
                "cannot begin in time: all was ready {:.3} s after --start-at (give a later time)",
                by.as_secs_f64()
            ),
            #[cfg(feature = "bench")]
            Self::Unreached { endpoint, waited } => write!(
                f,
                "cannot connect to {endpoint}: timed out after {waited:?} (is it reachable from here? try a longer \
                 --connect-timeout)"
            ),
            #[cfg(feature = "bench")]
            Self::NotOneLoad { first, second, why } => {
                write!(f, "cannot add up {first} and {second}: {why} (--force does it all the same)")
            }
            #[cfg(feature = "bench")]
            Self::OtherSteps { first, second, counts: (one, other) } => write!(
                f,
                "cannot add up {first} and {second}: they have {one} and {other} steps (--rate), and steps stand side by side"
            ),
            #[cfg(feature = "bench")]
            Self::FewerSteps { name, measured, planned } => write!(
                f,
                "cannot add up: {name} was interrupted after {measured} of {planned} steps; steps are not added up \
                 without all of them"
            ),
            #[cfg(feature = "bench")]
            Self::MissingParts { missing, all, because } => {
                let (noun, verb) = if missing.parse::<u64>().is_ok() { ("part", "is") } else { ("parts", "are") };
                write!(f, "cannot add up: {noun} {missing} of {all} {verb} missing (--partial adds up the others)")?;
                because.iter().try_for_each(|why| write!(f, "; {why}"))
            }
            #[cfg(feature = "bench")]
            Self::EmptyFiles { why, has_others } => {
                let way_out = if *has_others { " (--partial adds up the others)" } else { "" };
                write!(f, "cannot add up: {why}{way_out}")
            }
            #[cfg(feature = "bench")]
            Self::NotComparable { first, second, why } => {
                let (first, second) = (first.display(), second.display());
                write!(f, "cannot compare {first} and {second}: {why} (--force does it all the same)")
            }
            #[cfg(feature = "bench")]
            Self::NotOneRun { path, source } => write!(f, "cannot use {}: {}", path.display(), describe(source)),
            #[cfg(feature = "bench")]
            Self::SameFile { path, other } => {
                let (path, other) = (path.display(), other.display());
                write!(f, "cannot write two results to one file: {other} and {path} (give each a file of its own)")
            }
            #[cfg(feature = "bench")]
            Self::File { to, path, source } => {
                let way_out = match source.kind() {
                    io::ErrorKind::NotFound if *to == "write" => " (its folder must exist)",
                    io::ErrorKind::NotFound => " (is its name right?)",
                    io::ErrorKind::PermissionDenied => " (may you do that there?)",
                    _ => "",
                };
                write!(f, "cannot {to} {}: {}{way_out}", path.display(), describe(source))
            }
        }
    }
}

#[cfg(feature = "bench")]
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "descriptors",
            Self::DescriptorsOfAProcess => "descriptors of one process",
            Self::Files => "open files on this machine",
            Self::Ports => "local ports",
            Self::PortsPerSecond => "local ports a second",
            Self::Memory => "bytes of memory",
            Self::Unanswered => "bytes for unanswered requests (connections × pipeline × size)",
            Self::Tracked => "entries of the firewall's connection tracker",
            Self::TcpPages => "pages of TCP memory (connections × pipeline × size)",
            Self::UdpPages => "pages of UDP memory (connections × pipeline × size)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_local_port_is_left_the_sysctl_is_named() {
        let error = Error::Connect {
            endpoint: "tcp://127.0.0.1:8888".parse().unwrap(),
            source: io::Error::from_raw_os_error(nix::libc::EADDRNOTAVAIL),
        };
        assert!(error.to_string().contains("net.ipv4.ip_local_port_range"), "{error}");
    }

    #[test]
    fn an_address_in_use_names_the_endpoint_and_the_way_out() {
        let error = Error::from(pingpong::Error::Listen {
            endpoint: "tcp://127.0.0.1:8888".parse().unwrap(),
            source: io::Error::from_raw_os_error(nix::libc::EADDRINUSE),
        });
        assert_eq!(
            error.to_string(),
            "cannot listen on tcp://127.0.0.1:8888: address in use (another server there? try --reuse-port or another port)"
        );
    }
}
