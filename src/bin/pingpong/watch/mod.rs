//! Watching sockets work, with the kernel's own word for each: the feature `watch`.
//!
//! - `sock_diag`: asks the kernel which sockets there are, and how each stands; `socket`: what it answers
//! - `tcp_info`: the same of one socket of ours, by its descriptor
//! - `explain`: each call of a command's reactor, why, and the state after it (`--explain`)
//! - `table`: all sockets of a reactor (SIGUSR2); `text`: its numbers and times
//!
//! Whoever wants to know a state asks here and does not guess. It knows no command and no reactor.

mod explain;
mod sock_diag;
mod socket;
mod table;
mod tcp_info;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use explain::{Depth, Explain};
pub(crate) use sock_diag::SockDiag;
pub(crate) use socket::{Figures, InetSocket, KernelState, Protocol};
pub(crate) use table::sockets;
pub(crate) use tcp_info::TcpInfo;
pub(crate) use text::has_colours;
