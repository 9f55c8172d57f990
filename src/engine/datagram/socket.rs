//! One datagram socket: how its answers leave, and how it hears that there is room for those that wait.
//!
//! An event tells when a UDP socket, or a connected Unix one, has room again. An unconnected Unix socket is writable at
//! all times, for its receivers' sakes, and reports that anew for every datagram that a full receiver has refused
//! (unix(7)): waiting for that event would spin. There a timer tries again, with back-off, and so does the next answer
//! to the same receiver.

use std::collections::VecDeque;
use std::io::{
    self,
    ErrorKind::{Interrupted, WouldBlock},
};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::ServiceId;
use super::super::net::Net;
use super::backlog::{Backlog, Flushed, Sent, Waiting};
use crate::endpoint::Address;
use crate::stats::Stats;

/// How soon a receiver that took nothing is tried again, at first and at the latest.
const FIRST_RETRY: Duration = Duration::from_millis(1);
const LAST_RETRY: Duration = Duration::from_millis(256);

#[derive(Debug)]
pub(in crate::engine) struct DatagramSocket<D> {
    pub(super) socket: D,
    number: u32,
    pub(in crate::engine) service: ServiceId,
    pub(super) local: Address,
    /// Set where the socket asks: what arrives are answers then.
    pub(in crate::engine) asks: Option<Asks>,
    /// There may be something to read, and the socket is in `Datagrams::arrived`.
    pub(super) readable: bool,
    /// Batches that are still received: without end, until the server drains.
    pub(super) receives_left: usize,
    backlog: Backlog,
    retry: Retry,
}

/// The timer that tries again, where no event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    Idle,
    /// To be set, to run out after this time.
    Due(Duration),
    /// Set, to run out after this time.
    Set(Duration),
}

/// What an asking socket has beyond a serving one.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Asks {
    /// The far side that it is connected to.
    pub(in crate::engine) to: Arc<Address>,
    /// A number that belongs to its service: `Outbox::tag`.
    pub(in crate::engine) tag: u64,
}

impl<D> DatagramSocket<D> {
    pub(super) fn new(socket: D, number: u32, service: ServiceId, local: Address, asks: Option<Asks>) -> Self {
        let backlog = Backlog::default();
        Self {
            socket,
            number,
            service,
            local,
            asks,
            readable: false,
            receives_left: usize::MAX,
            backlog,
            retry: Retry::Idle,
        }
    }

    /// Whether nothing is left to read or to send.
    pub(super) fn is_idle(&self) -> bool {
        !self.readable && self.backlog.is_empty()
    }

    /// The number of datagrams that wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.backlog.len()
    }

    /// Appends its number to `arrived`, if it is not there already.
    pub(super) fn note_arrival(&mut self, arrived: &mut VecDeque<u32>) {
        if !self.readable {
            self.readable = true;
            arrived.push_back(self.number);
        }
    }

    pub(super) fn port(&self) -> Option<u16> {
        match &self.local {
            Address::Ip(local) => Some(local.port()),
            Address::Unix(_) => None,
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match &self.local {
            Address::Unix(path) => path.as_deref(),
            Address::Ip(_) => None,
        }
    }

    /// Whether the lack of room is a receiver's and no event tells when it has passed.
    fn retries(&self) -> bool {
        self.asks.is_none() && matches!(self.local, Address::Unix(_))
    }

    /// Sends a datagram, or keeps it until there is room, or drops and counts it where there is no room to keep it.
    /// Fails where the kernel will not have it: too long, a forbidden or unreachable destination.
    pub(in crate::engine) fn send_or_queue<N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        bytes: &[u8],
        to: &Address,
        from: Option<IpAddr>,
        stats: &mut Stats,
    ) -> io::Result<()> {
        // What waits goes first. The kernel has no room for a UDP socket then; a Unix receiver that asks again may have.
        if self.retries() && self.backlog.has(to) {
            self.flush(net, Some(to), stats);
        }
        let is_next = if self.retries() { !self.backlog.has(to) } else { self.backlog.is_empty() };
        if is_next && send(net, &mut self.socket, bytes, to, from)? {
            stats.datagrams_out += 1;
        } else {
            let kept = self.keep(net, to, Waiting { bytes: bytes.into(), from });
            stats.dropped += u64::from(!kept);
        }
        Ok(())
    }

    /// Keeps a datagram until there is room, if the backlog has room itself.
    fn keep<N: Net<Datagram = D>>(&mut self, net: &mut N, to: &Address, answer: Waiting) -> bool {
        let retries = self.retries();
        if !retries && self.backlog.is_empty() && net.arm_datagram(&mut self.socket, self.number, true).is_err() {
            return false;
        }
        if retries && self.retry == Retry::Idle {
            self.retry = Retry::Due(FIRST_RETRY);
        }
        self.backlog.push(to, answer, retries)
    }

    /// There is room in the send buffer again: sends what waits.
    pub(super) fn send_queued<N: Net<Datagram = D>>(&mut self, net: &mut N, stats: &mut Stats) {
        self.flush(net, None, stats);
        if self.backlog.is_empty() && !self.retries() {
            // Failing to be told less often does no harm.
            let _ = net.arm_datagram(&mut self.socket, self.number, false);
        }
    }

    /// The timer has run out: tries again, and later again while anything waits.
    pub(super) fn retry<N: Net<Datagram = D>>(&mut self, net: &mut N, stats: &mut Stats) {
        let Retry::Set(after) = self.retry else { return };
        let has_sent = self.flush(net, None, stats);
        self.retry = if self.backlog.is_empty() {
            Retry::Idle
        } else if has_sent {
            Retry::Due(FIRST_RETRY)
        } else {
            Retry::Due((after * 2).min(LAST_RETRY))
        };
    }

    /// After what time to try again, if a timer is to be set for that; it is taken as set.
    pub(in crate::engine) fn take_retry(&mut self) -> Option<Duration> {
        let Retry::Due(after) = self.retry else { return None };
        self.retry = Retry::Set(after);
        Some(after)
    }

    /// Sends what waits, for anybody or for `only` one receiver, as far as there is room; whether any of it went.
    fn flush<N: Net<Datagram = D>>(&mut self, net: &mut N, only: Option<&Address>, stats: &mut Stats) -> bool {
        let no_room = if self.retries() { Sent::NoRoom } else { Sent::NoRoomAtAll };
        let Self { socket, backlog, .. } = self;
        let flushed = backlog.flush(only, |to, waiting| match send(net, socket, &waiting.bytes, to, waiting.from) {
            Ok(true) => Sent::Now,
            Ok(false) => no_room,
            Err(_) => Sent::Failed,
        });
        stats.datagrams_out += flushed.sent;
        stats.dropped += flushed.failed;
        flushed != Flushed::default()
    }
}

/// Sends a datagram; whether there was room for it.
fn send<N: Net>(
    net: &mut N,
    socket: &mut N::Datagram,
    bytes: &[u8],
    to: &Address,
    from: Option<IpAddr>,
) -> io::Result<bool> {
    loop {
        match net.send_to(socket, bytes, to, from) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == Interrupted => {}
            Err(error) if error.kind() == WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
