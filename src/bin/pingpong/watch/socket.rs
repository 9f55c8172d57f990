//! What the kernel says of a socket: plain data, in the words of ss(8).

use std::fmt;
use std::mem::offset_of;
use std::net::SocketAddr;
use std::time::Duration;

use nix::libc;
use nix::libc::tcp_info;

use super::tcp_info::field;

/// The kinds of internet sockets that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// The state that the kernel has a socket in (net/tcp_states.h, RFC 9293 3.3.2), by ss's names. UDP and Unix sockets use
/// the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum KernelState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    /// Not connected: a datagram socket that takes from anybody, or a stream that is connected no more or not yet.
    Unconnected,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    /// A number that was unknown when this was written.
    Unknown,
}

/// An internet socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InetSocket {
    pub(crate) protocol: Protocol,
    pub(crate) state: KernelState,
    pub(crate) local: SocketAddr,
    /// All zero where it is not connected.
    pub(crate) peer: SocketAddr,
    /// What fstat(2) says of its descriptor; 0 where no process has one any more (TIME-WAIT) or yet (a backlog).
    pub(crate) inode: u32,
    /// Bytes that wait to be read; of a listener: connections that wait to be accepted.
    pub(crate) received: u32,
    /// Bytes that the peer has not acknowledged; of a listener: how many connections may wait.
    pub(crate) sent: u32,
    /// How often what was sent last has been sent again in vain, so far.
    pub(crate) retrying: u8,
    /// What TCP has counted and timed, if asked for, and unless the socket is no more than a memory (TIME-WAIT).
    pub(crate) figures: Option<Figures>,
}

/// A part of what TCP counts and times for each connection (TCP_INFO, tcp(7)). What an older kernel does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// The round trip, smoothed; zero before the first.
    pub(crate) rtt: Duration,
    /// The shortest of the last minutes; zero before the first.
    pub(crate) min_rtt: Duration,
    /// Segments sent again, since the connection was made.
    pub(crate) retransmits: u32,
    /// Segments that may be under way at once (cwnd).
    pub(crate) window: u32,
    /// Bytes that the peer has room for, as it said last; `None` where the kernel (before 5.4) does not tell.
    pub(crate) peer_room: Option<u32>,
    /// Bytes that the peer has acknowledged.
    pub(crate) bytes_acked: u64,
    /// Bytes that have come, in order.
    pub(crate) bytes_received: u64,
}

/// A Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnixSocket {
    pub(crate) state: KernelState,
    /// What fstat(2) says of its descriptor.
    pub(crate) inode: u32,
    /// The inode of the socket that it is connected to.
    pub(crate) peer: Option<u32>,
    /// Bytes that wait to be read; of a listener: connections that wait to be accepted.
    pub(crate) received: u32,
    /// Bytes that the peer has not read; of a listener: how many connections may wait.
    pub(crate) sent: u32,
}

impl KernelState {
    /// By the number that the kernel gives it.
    pub(super) fn of(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            // 12 is a connection that is not a whole socket yet (TCP_NEW_SYN_RECV).
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            // 13 is bound, and neither listens nor is connected (TCP_BOUND_INACTIVE).
            7 | 13 => Self::Unconnected,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => Self::Unknown,
        }
    }

    /// As ss writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTAB",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECV",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::TimeWait => "TIME-WAIT",
            Self::Unconnected => "UNCONN",
            Self::CloseWait => "CLOSE-WAIT",
            Self::LastAck => "LAST-ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for KernelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Figures {
    /// From the bytes of a `struct tcp_info`. It has grown with the years, always at its end, so that an older kernel's
    /// is only shorter.
    pub(super) fn of(info: &[u8]) -> Self {
        let u32_at = |at: usize| field(info, at).map_or(0, u32::from_ne_bytes);
        let u64_at = |at: usize| field(info, at).map_or(0, u64::from_ne_bytes);
        let time = |at| {
            Duration::from_micros(match u32_at(at) {
                // So it says before the first sample of `min_rtt`.
                u32::MAX => 0,
                micros => micros.into(),
            })
        };
        Self {
            rtt: time(offset_of!(tcp_info, tcpi_rtt)),
            min_rtt: time(offset_of!(tcp_info, tcpi_min_rtt)),
            retransmits: u32_at(offset_of!(tcp_info, tcpi_total_retrans)),
            window: u32_at(offset_of!(tcp_info, tcpi_snd_cwnd)),
            peer_room: field(info, offset_of!(tcp_info, tcpi_snd_wnd)).map(u32::from_ne_bytes),
            bytes_acked: u64_at(offset_of!(tcp_info, tcpi_bytes_acked)),
            bytes_received: u64_at(offset_of!(tcp_info, tcpi_bytes_received)),
        }
    }
}

impl Protocol {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_an_older_kernel_lack_only_what_it_does_not_tell() {
        let mut info = [0; size_of::<tcp_info>()];
        let rtt = offset_of!(tcp_info, tcpi_rtt);
        info[rtt..rtt + 4].copy_from_slice(&1500u32.to_ne_bytes());
        let min_rtt = offset_of!(tcp_info, tcpi_min_rtt);
        info[min_rtt..min_rtt + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        let whole = Figures::of(&info);
        assert_eq!((whole.rtt, whole.min_rtt), (Duration::from_micros(1500), Duration::ZERO));
        assert_eq!(Figures::of(&info[..min_rtt]), Figures { peer_room: None, ..whole });
        assert_eq!(Figures::of(&[]), Figures::default());
    }
}
