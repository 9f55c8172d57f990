//! What a server allows, with its defaults. Plain data; the engine enforces it.

use std::num::NonZeroU32;
use std::time::Duration;

/// The bounds a server keeps. `Limits::default()` is what `pingpong serve` starts from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections open at once, lingering ones included; beyond it the kernel's backlog holds the rest.
    /// Default: no bound (the binary sets what its descriptor limit allows).
    pub max_connections: usize,
    /// Connections from one IPv4 address or IPv6 /64; a further one is closed at once. Default: none.
    pub max_per_ip: Option<u32>,
    /// The longest message in bytes, its terminator not counted. Default: 64 KiB.
    pub max_message: usize,
    /// Unsent bytes of one connection; a peer for which more wait, because a service sends to it and it does not read, is
    /// closed ([`CloseReason::Stall`](crate::CloseReason::Stall)). Default: 4 MiB.
    pub max_unsent: usize,
    /// Bytes in all connections' buffers together; who would need more is closed
    /// ([`CloseReason::Limit`](crate::CloseReason::Limit)). Default: 1 GiB.
    pub max_buffered: usize,
    /// Closes a connection with no byte in or out for that long, unless it is owed an answer. Default: none.
    pub idle_timeout: Option<Duration>,
    /// Closes a connection whose pending answers made no progress for that long. Default: 60 s.
    pub stall_timeout: Duration,
    /// How long after its last byte a connection that we closed is read on and thrown away, so that closing
    /// does not destroy what is still under way to the peer. Default: 2 s.
    pub linger: Duration,
    /// How long a shutdown waits for answers that are owed. Default: 5 s.
    pub drain: Duration,
    /// Answers per second to one source of datagrams that is not loopback (an IPv4 address or IPv6 /64), with a
    /// burst of one second's worth; `None` lifts it. Default: 100.
    pub udp_budget: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: usize::MAX,
            max_per_ip: None,
            max_message: 64 << 10,
            max_unsent: 4 << 20,
            max_buffered: 1 << 30,
            idle_timeout: None,
            stall_timeout: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            drain: Duration::from_secs(5),
            udp_budget: NonZeroU32::new(100),
        }
    }
}
