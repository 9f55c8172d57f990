//! One datagram socket, and the datagrams that wait for room in its send buffer.
//!
//! The queue is bounded; what finds no room there is dropped and counted. While it holds anything, the socket is armed
//! for writability. Nothing here knows why a datagram is sent.

use std::collections::VecDeque;
use std::io::{
    self,
    ErrorKind::{Interrupted, WouldBlock},
};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::super::ServiceId;
use super::super::net::Net;
use crate::endpoint::Address;
use crate::stats::Stats;

/// Datagrams in a socket's queue at most.
const MAX_QUEUED: usize = 1024;

/// Bytes in a socket's queue at most.
const MAX_QUEUED_BYTES: usize = 1 << 20;

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
    queue: VecDeque<Queued>,
    queued_bytes: usize,
}

/// What an asking socket has beyond a serving one.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Asks {
    /// The far side that it is connected to.
    pub(in crate::engine) to: Arc<Address>,
    /// A number that belongs to its service: `Outbox::tag`.
    pub(in crate::engine) tag: u64,
}

/// A datagram that waits for room in the send buffer.
#[derive(Debug)]
struct Queued {
    to: Address,
    from: Option<IpAddr>,
    bytes: Box<[u8]>,
}

impl<D> DatagramSocket<D> {
    pub(super) fn new(socket: D, number: u32, service: ServiceId, local: Address, asks: Option<Asks>) -> Self {
        Self { socket, number, service, local, asks, readable: false, queue: VecDeque::new(), queued_bytes: 0 }
    }

    /// Whether nothing is left to read or to send.
    pub(super) fn is_idle(&self) -> bool {
        !self.readable && self.queue.is_empty()
    }

    /// The number of datagrams that wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
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

    /// Sends a datagram, or queues it while the send buffer is full, or drops and counts it while the queue is full
    /// too. Fails where the kernel refuses it: too long (EMSGSIZE), a forbidden or unreachable destination.
    pub(in crate::engine) fn send_or_queue<N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        bytes: &[u8],
        to: &Address,
        from: Option<IpAddr>,
        stats: &mut Stats,
    ) -> io::Result<()> {
        // Queued datagrams go first. On a Unix socket only those to the same receiver: there it is the receiver that
        // has no room, which must not hold up the others.
        let is_next = match to {
            Address::Ip(_) => self.queue.is_empty(),
            Address::Unix(_) => self.queue.iter().all(|waiting| waiting.to != *to),
        };
        let sent = if is_next { send(net, &mut self.socket, bytes, to, from)? } else { Sent::Later };
        match sent {
            Sent::Now => stats.datagrams_out += 1,
            Sent::Later => {
                let kept = self.enqueue(net, Queued { to: to.clone(), from, bytes: bytes.into() });
                stats.dropped += u64::from(!kept);
            }
        }
        Ok(())
    }

    /// Appends a datagram to the queue. Returns false where the queue is full or the socket cannot be armed.
    fn enqueue<N: Net<Datagram = D>>(&mut self, net: &mut N, answer: Queued) -> bool {
        if self.queue.len() >= MAX_QUEUED || self.queued_bytes + answer.bytes.len() > MAX_QUEUED_BYTES {
            return false;
        }
        if self.queue.is_empty() && net.arm_datagram(&mut self.socket, self.number, true).is_err() {
            return false;
        }
        self.queued_bytes += answer.bytes.len();
        self.queue.push_back(answer);
        true
    }

    /// Sends queued datagrams, now that there is room. Those to one receiver leave in order.
    ///
    /// The event of an unconnected Unix socket does not say which receiver has made room, so each is tried. Danger: a
    /// send that a full receiver refuses makes such a socket writable anew (unix(7), epoll(7)). While a receiver stays
    /// full, the loop does not sleep.
    pub(super) fn send_queued<N: Net<Datagram = D>>(&mut self, net: &mut N, stats: &mut Stats) {
        let mut full: Vec<Address> = Vec::new();
        for _ in 0..self.queue.len() {
            let Some(waiting) = self.queue.pop_front() else { return };
            let sent = if full.contains(&waiting.to) {
                Ok(Sent::Later)
            } else {
                send(net, &mut self.socket, &waiting.bytes, &waiting.to, waiting.from)
            };
            match sent {
                Ok(Sent::Later) if matches!(waiting.to, Address::Unix(_)) => {
                    if !full.contains(&waiting.to) {
                        full.push(waiting.to.clone());
                    }
                    self.queue.push_back(waiting);
                    continue;
                }
                Ok(Sent::Later) => return self.queue.push_front(waiting),
                Ok(Sent::Now) => stats.datagrams_out += 1,
                Err(_) => stats.dropped += 1,
            }
            self.queued_bytes -= waiting.bytes.len();
        }
        if self.queue.is_empty() {
            // A failure does no harm: there are more events than needed.
            let _ = net.arm_datagram(&mut self.socket, self.number, false);
        }
    }
}

/// What became of a datagram.
enum Sent {
    Now,
    /// There is no room in the send buffer.
    Later,
}

fn send<N: Net>(
    net: &mut N,
    socket: &mut N::Datagram,
    bytes: &[u8],
    to: &Address,
    from: Option<IpAddr>,
) -> io::Result<Sent> {
    loop {
        match net.send_to(socket, bytes, to, from) {
            Ok(()) => return Ok(Sent::Now),
            Err(error) if error.kind() == Interrupted => {}
            Err(error) if error.kind() == WouldBlock => return Ok(Sent::Later),
            Err(error) => return Err(error),
        }
    }
}
