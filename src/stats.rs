//! [`Stats`]: the counters, and their display in one line.
//!
//! Plain numbers. The engine counts as things happen; the reactor adds the counts of the console and of the process's
//! logger when it takes a snapshot.

use std::fmt;

use crate::error::CloseReason;

/// A snapshot of the counters since the start. Displays as one line of `key=value` pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted, including those that a limit closed at once.
    pub accepted: u64,
    /// Connections dialled, including those that failed.
    pub dialled: u64,
    /// Messages that services have recorded ([`Outbox::record`](crate::service::Outbox::record)), datagrams included. 0
    /// with services that record none: only they know what a message is.
    pub messages: u64,
    /// Bytes received over connections.
    pub bytes_in: u64,
    /// Bytes sent over connections.
    pub bytes_out: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams not answered because an answer could set off a loop.
    pub loops: u64,
    /// Datagrams not answered because their source was over its budget.
    pub over_budget: u64,
    /// Datagrams lost: dropped by the kernel from a full receive buffer, without an address to answer to, or answered
    /// by a send that failed or found no room.
    pub dropped: u64,
    /// Connections that wait in the queues of the TCP listeners at the time of the snapshot (TCP_INFO, tcp(7)).
    pub waiting: u64,
    /// Log lines that the process's logger lost; 0 unless
    /// [`Reactor::count_lost_log_lines`](crate::Reactor::count_lost_log_lines) was called.
    pub log_lost: u64,
    /// Lines dropped because standard output did not take them and the console's queue was full.
    pub console_lost: u64,
    /// By the reason's place in [`CloseReason::ALL`].
    closes: [u64; CloseReason::ALL.len()],
}

impl Stats {
    /// The number of connections that ended for this reason.
    pub fn closes(&self, why: CloseReason) -> u64 {
        self.closes[why as usize]
    }

    /// The number of connections, accepted and dialled, that have not ended.
    pub fn open(&self) -> u64 {
        self.accepted + self.dialled - self.closes.iter().sum::<u64>()
    }

    pub(crate) fn count_close(&mut self, why: CloseReason) {
        self.closes[why as usize] += 1;
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "open={} accepted={} messages={} bytes_in={} bytes_out={} datagrams_in={} datagrams_out={}",
            self.open(),
            self.accepted,
            self.messages,
            self.bytes_in,
            self.bytes_out,
            self.datagrams_in,
            self.datagrams_out
        )?;
        for why in CloseReason::ALL {
            write!(f, " {why}={}", self.closes(why))?;
        }
        write!(
            f,
            " loop={} budget={} dropped={} waiting={} log_lost={} console_lost={}",
            self.loops, self.over_budget, self.dropped, self.waiting, self.log_lost, self.console_lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_shows_every_reason() {
        let mut stats = Stats { accepted: 5, ..Stats::default() };
        stats.count_close(CloseReason::Peer);
        stats.count_close(CloseReason::Shutdown);
        let line = stats.to_string();
        assert!(line.starts_with("open=3 accepted=5 messages=0 "), "{line}");
        for why in CloseReason::ALL {
            assert!(line.contains(&format!(" {why}={}", stats.closes(why))), "{line}");
        }
        assert!(!line.contains('\n'));
    }
}
