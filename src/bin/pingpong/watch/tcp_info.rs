//! TCP_INFO (tcp(7)): what the kernel says of one TCP socket of ours, by its descriptor.

use std::mem::offset_of;
use std::os::fd::AsFd;

use nix::libc::{self, tcp_info};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;

use super::{Figures, KernelState};

/// The beginning of a `struct tcp_info`, as far as Linux 4.6 filled it. Asked for more, an older kernel would answer with
/// less, and nix takes that for a fault.
const LENGTH: usize = offset_of!(tcp_info, tcpi_min_rtt) + size_of::<u32>();

/// What was told.
#[derive(Clone, Debug)]
pub(crate) struct TcpInfo([u8; LENGTH]);

impl TcpInfo {
    /// `None` of a datagram or Unix socket.
    pub(crate) fn of(socket: &impl AsFd) -> Option<Self> {
        getsockopt(socket, Asked).ok().map(Self)
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures::of(&self.0)
    }

    pub(super) fn state(&self) -> KernelState {
        KernelState::of(self.0[offset_of!(tcp_info, tcpi_state)])
    }

    /// How often what was sent last has been sent again in vain, so far.
    pub(super) fn retrying(&self) -> u8 {
        self.0[offset_of!(tcp_info, tcpi_retransmits)]
    }

    /// Segments that the peer has not acknowledged, and bytes that have not been sent at all.
    pub(super) fn unsent(&self) -> (u32, u32) {
        (self.number(offset_of!(tcp_info, tcpi_unacked)), self.number(offset_of!(tcp_info, tcpi_notsent_bytes)))
    }

    fn number(&self, at: usize) -> u32 {
        field(&self.0, at).map_or(0, u32::from_ne_bytes)
    }
}

/// The bytes of a field, where the kernel has told it.
pub(super) fn field<const N: usize>(info: &[u8], at: usize) -> Option<[u8; N]> {
    info.get(at..at + N)?.try_into().ok()
}

/// The option, for which nix has no type of its own; its macro makes a safe one.
#[derive(Clone, Copy, Debug)]
struct Asked;

nix::getsockopt_impl!(Asked, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; LENGTH], GetStruct<[u8; LENGTH]>);
