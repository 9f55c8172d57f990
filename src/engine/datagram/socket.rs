//! One datagram socket, and the datagrams that wait for room in its send buffer.

use std::collections::VecDeque;
use std::io::{
    self,
    ErrorKind::{Interrupted, WouldBlock},
};
use std::path::Path;
use std::sync::Arc;

use super::super::ServiceId;
use super::super::net::{LocalAddress, Net};
use crate::endpoint::Address;
use crate::stats::Stats;

/// The most datagrams of one socket that wait for room in the send buffer, and the most bytes of them.
const QUEUED: usize = 1024;
const QUEUED_BYTES: usize = 1 << 20;

/// Receives that fail in a row until the socket is left alone for a while. ICMP leaves one error on a socket at a time,
/// and a receive takes it off; a call that fails again and again will do so the next time, too.
const FAILURES: u32 = 16;

#[derive(Debug)]
pub(in crate::engine) struct DatagramSocket<D> {
    pub(super) socket: D,
    number: u32,
    pub(in crate::engine) service: ServiceId,
    pub(super) local: Address,
    /// Where it asks, if it does: then what arrives are answers.
    pub(in crate::engine) asks: Option<Asks>,
    /// There may be something to read; then it is in the queue for that.
    pub(super) readable: bool,
    /// Receives that have failed since one had a result.
    pub(super) failures: u32,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
}

/// What makes a socket one that asks.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Asks {
    pub(in crate::engine) to: Arc<Address>,
    /// What it carries for its service.
    pub(in crate::engine) tag: u64,
}

/// An answer that waits for room in the send buffer.
#[derive(Debug)]
struct Queued {
    to: Address,
    from: Option<LocalAddress>,
    bytes: Box<[u8]>,
}

impl<D> DatagramSocket<D> {
    pub(super) fn new(socket: D, number: u32, service: ServiceId, local: Address, asks: Option<Asks>) -> Self {
        let queue = VecDeque::new();
        Self { socket, number, service, local, asks, readable: false, failures: 0, queue, queued_bytes: 0 }
    }

    /// Whether nothing is left to read or to send.
    pub(super) fn is_idle(&self) -> bool {
        !self.readable && self.queue.is_empty()
    }

    /// Datagrams that wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether it is left alone because its receives fail.
    pub(super) fn rests(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Puts it into the queue of those to read from, if it is not there already.
    pub(super) fn note_arrival(&mut self, arrived: &mut VecDeque<u32>) {
        if !self.readable && !self.rests() {
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

    /// Sends a datagram, or keeps it until there is room, or drops and counts it where there is no room to keep it.
    /// Fails where the kernel will not have it: too long, a forbidden or unreachable destination.
    pub(in crate::engine) fn dispatch<N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        bytes: &[u8],
        to: &Address,
        from: Option<LocalAddress>,
        stats: &mut Stats,
    ) -> io::Result<()> {
        // What waits goes first. (A Unix socket waits for one receiver, which is no reason to make others wait.)
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

    /// Keeps a datagram until there is room, if the queue has room itself.
    fn enqueue<N: Net<Datagram = D>>(&mut self, net: &mut N, answer: Queued) -> bool {
        if self.queue.len() >= QUEUED || self.queued_bytes + answer.bytes.len() > QUEUED_BYTES {
            return false;
        }
        if self.queue.is_empty() && net.arm_datagram(&mut self.socket, self.number, true).is_err() {
            return false;
        }
        self.queued_bytes += answer.bytes.len();
        self.queue.push_back(answer);
        true
    }

    /// There is room in the send buffer again, or a Unix receiver has made room: sends what waits. Answers to one
    /// receiver leave in order.
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
            // Failing to be told less often does no harm.
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
    from: Option<LocalAddress>,
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
