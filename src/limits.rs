//! [`Limits`]: what a server allows, with defaults. Plain data, which the engine enforces.

use std::num::NonZeroU32;
use std::time::Duration;

/// The bounds that a reactor keeps, given to [`Reactor::new`](crate::Reactor::new).
///
/// ```
/// use pingpong::Limits;
///
/// let mut limits = Limits::default();
/// limits.max_connections = 1000;
/// limits.idle_timeout = Some(std::time::Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections at once, accepted, dialled and being closed. At the bound nothing is accepted: new
    /// connections wait in the kernel's backlog. Default: no bound.
    pub max_connections: usize,
    /// The most connections from one IPv4 address or IPv6 /64. One more is closed at once
    /// ([`CloseReason::Limit`](crate::CloseReason::Limit)). Default: `None`, no bound.
    pub max_per_ip: Option<u32>,
    /// The most bytes of a message in a stream, its terminator not counted. A longer one closes its connection
    /// ([`CloseReason::Overflow`](crate::CloseReason::Overflow)). Default: 64 KiB.
    pub max_message: usize,
    /// The most unsent bytes of one connection. A connection with more, because a service sends to it and its peer does
    /// not read, is closed ([`CloseReason::Stall`](crate::CloseReason::Stall)). Default: 4 MiB.
    pub max_unsent: usize,
    /// The most bytes in the buffers of all connections together. Beyond it the connections that hold the most are
    /// closed ([`CloseReason::Limit`](crate::CloseReason::Limit)). Default: 1 GiB.
    pub max_buffered: usize,
    /// How long a connection may go without a byte in either direction. One that is owed an answer is not closed for
    /// that. Default: `None`, for ever.
    pub idle_timeout: Option<Duration>,
    /// How long unsent output may wait without the peer taking any of it. Default: 60 s.
    pub stall_timeout: Duration,
    /// How long a connection that was closed from this side is still read, its input discarded: a close(2) with unread
    /// input makes the kernel drop output that is still under way. Zero closes at once. Default: 2 s.
    pub linger: Duration,
    /// How long a shutdown waits for answers that are owed. Default: 5 s.
    pub drain: Duration,
    /// Answers a second to one source of datagrams (an IPv4 address or IPv6 /64) that is not loopback, with a burst of
    /// one second's worth. `None` lifts the bound. Default: 100.
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
