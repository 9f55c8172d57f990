//! What `pingpong serve` is to serve, and how.

use std::time::Duration;

use pingpong::service::Framing;
use pingpong::{Endpoint, HostPort, Limits, ListenOptions};

/// The options of `pingpong serve`.
#[derive(Debug)]
pub(crate) struct ServeOptions {
    /// What answers where; several services may be of one kind.
    pub(crate) services: Vec<(Kind, Vec<Endpoint>)>,
    /// How streams are cut into messages.
    pub(crate) framing: Framing,
    /// How long `hello` thinks about a message.
    pub(crate) delay: Duration,
    /// Connections open at once; as many as descriptors allow, if not given.
    pub(crate) max_connections: Option<usize>,
    /// All other limits.
    pub(crate) limits: Limits,
    /// How sockets listen.
    pub(crate) listen: ListenOptions,
    /// How often to log the counters.
    pub(crate) stats: Option<Duration>,
    /// Whether to end with the first connection.
    pub(crate) once: bool,
    /// How long to keep polling after the last event.
    pub(crate) spin: Duration,
    /// Whether datagram answers may leave several in a call.
    pub(crate) segments: bool,
    /// Whether each system call is told of.
    #[cfg(feature = "watch")]
    pub(crate) explain: Option<crate::watch::Depth>,
}

/// The kinds of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `ping`
    Ping,
    /// `hello`
    Hello,
    /// `echo`
    Echo,
    /// `chat`
    Chat,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Ping, Self::Hello, Self::Echo, Self::Chat];
    /// What is served where no service is named.
    pub(crate) const USUAL: [Self; 3] = [Self::Ping, Self::Hello, Self::Echo];

    /// Its name on the command line and in logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Hello => "hello",
            Self::Echo => "echo",
            Self::Chat => "chat",
        }
    }

    /// Where it answers when no port is named.
    pub(crate) const fn default_port(self) -> u16 {
        match self {
            Self::Ping => 8888,
            Self::Hello => 9999,
            Self::Echo => 50007,
            Self::Chat => 12345,
        }
    }

    /// Its endpoints at a host and port: TCP and UDP, but for `chat`, which needs connections.
    pub(crate) fn endpoints_at(self, place: HostPort) -> Vec<Endpoint> {
        match self {
            Self::Chat => vec![Endpoint::Tcp(place)],
            Self::Ping | Self::Hello | Self::Echo => vec![Endpoint::Tcp(place.clone()), Endpoint::Udp(place)],
        }
    }
}
