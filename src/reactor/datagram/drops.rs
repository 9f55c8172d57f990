//! Datagrams that the kernel dropped because a receive buffer was full.
//!
//! /proc/net/udp counts them for each socket. SO_RXQ_OVFL (socket(7)) would tell with each datagram, but in a control
//! message, which a batch cannot have (see `calls`).

use std::fs;
use std::os::fd::{AsRawFd, RawFd};

use super::Datagram;

/// Datagrams dropped at these sockets so far; 0 where /proc does not tell. Unix sockets never drop: there the sender
/// waits.
pub(in crate::reactor) fn kernel_drops<'a>(sockets: impl Iterator<Item = &'a Datagram>) -> u64 {
    let mut inodes: Vec<u64> =
        sockets.filter(|socket| socket.is_udp()).filter_map(|socket| inode_of(socket.as_raw_fd())).collect();
    if inodes.is_empty() {
        return 0;
    }
    inodes.sort_unstable();
    let drops_in = |table: &str| -> u64 {
        let table = fs::read_to_string(table).unwrap_or_default();
        table
            .lines()
            .filter_map(row)
            .filter(|(inode, _)| inodes.binary_search(inode).is_ok())
            .map(|(_, drops)| drops)
            .sum()
    };
    ["/proc/net/udp", "/proc/net/udp6"].into_iter().map(drops_in).sum()
}

/// A socket's inode and its drops, from a row of /proc/net/udp (proc_net(5)): number, local and remote address, state,
/// queues, timer, retransmits, uid, timeout, inode, references, pointer, drops. `None` for the header.
fn row(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_whitespace().skip(9);
    let inode = fields.next()?.parse().ok()?;
    let drops = fields.nth(2)?.parse().ok()?;
    Some((inode, drops))
}

/// The number by which /proc/net/udp knows a socket.
fn inode_of(descriptor: RawFd) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_tells_inode_and_drops() {
        assert_eq!(
            row(
                "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref"
            ),
            None
        );
        assert_eq!(
            row(
                " 1234: 0100007F:22B8 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000 0 52311 2 c1a5ad06 17"
            ),
            Some((52311, 17))
        );
    }
}
