//! Why a lesson does not come to its end, in one line with the way out. The exit codes are in [`exit`](crate::exit).

use std::fmt;
use std::io::{self, ErrorKind};

use pingpong::{describe, is_exhaustion};

/// Why a lesson did not come to its end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A call that a lesson needs has failed.
    Call { call: &'static str, source: io::Error },
    /// What the lesson says is not what happened.
    Otherwise { expected: String, found: String },
    /// Standard output cannot be written to.
    Output(io::Error),
}

impl Trouble {
    /// Whether this process, or this machine, has too little of something.
    pub(crate) fn is_exhaustion(&self) -> bool {
        match self {
            // bind(2) says so of an address that is not here, connect(2) of ports that are used up.
            Self::Call { call, source } if source.kind() == ErrorKind::AddrNotAvailable => *call == "connect",
            Self::Call { source, .. } => is_exhaustion(source),
            _ => false,
        }
    }

    /// Whether the loopback interface, or its address, is not there.
    pub(crate) fn lacks_loopback(&self) -> bool {
        let Self::Call { source, .. } = self else { return false };
        let lacks_family = source.raw_os_error() == Some(nix::libc::EAFNOSUPPORT);
        let lacks_way = matches!(source.kind(), ErrorKind::AddrNotAvailable | ErrorKind::NetworkUnreachable);
        (lacks_way || lacks_family) && !self.is_exhaustion()
    }

    fn way_out(&self) -> &'static str {
        match self {
            Self::Call { source, .. } if source.kind() == ErrorKind::AddrNotAvailable && self.is_exhaustion() => {
                "no local port is left: widen net.ipv4.ip_local_port_range"
            }
            Self::Call { .. } if self.is_exhaustion() => "too little of a local resource; raise it with 'ulimit -n'",
            Self::Call { .. } if self.lacks_loopback() => {
                "is the loopback interface up, and has it that address? see 'ip addr show lo'"
            }
            Self::Otherwise { expected, .. } if expected.contains("TIME-WAIT") => {
                "are there as many in TIME-WAIT as net.ipv4.tcp_max_tw_buckets allows, or was there more than a minute \
                 between two steps?"
            }
            Self::Otherwise { expected, .. } if expected.contains("LISTEN") => {
                "is the loopback interface up, does net.core.somaxconn cut the queue short, or was there more than a \
                 minute between two steps?"
            }
            Self::Otherwise { .. } => {
                "was there more than a minute between two steps, or does this kernel do it in another way?"
            }
            Self::Call { .. } | Self::Output(_) => "does a sandbox forbid it?",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way_out = self.way_out();
        match self {
            Self::Call { call, source } => write!(f, "{call} failed: {} ({way_out})", describe(source)),
            Self::Otherwise { expected, found } => {
                write!(f, "it expects {expected}, and the kernel says {found} ({way_out})")
            }
            Self::Output(source) => write!(f, "standard output: {}", describe(source)),
        }
    }
}
