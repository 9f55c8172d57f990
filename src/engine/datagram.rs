//! Datagrams: which are answered, and how the answers leave.
//!
//! A source address can be forged. So that no packet sets two responders talking for ever, and none gains more than a
//! few bytes, some are never answered ([`Loop`](Silence::Loop)), and the others only within their source's budget.
//! One bad datagram, or one destination that cannot be reached, is never more than a count.

use std::collections::VecDeque;
use std::io::{
    self,
    ErrorKind::{Interrupted, WouldBlock},
};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::budget::Source;
use super::net::Net;
use super::{Engine, Named, SELDOM, ServiceId};
use crate::endpoint::Address;
use crate::service::{Input, Outbox, Peer, Recipient, Service};
use crate::stats::Stats;

/// Receives per socket and turn; each takes a whole batch.
const RECEIVES: usize = 4;

/// Answers that wait for room in the send buffer, per socket: so many, and so many bytes.
const QUEUED: usize = 1024;
const QUEUED_BYTES: usize = 1 << 20;

/// Ports of services that answer whatever they get: echo, daytime, quotd, chargen, time, domain, tftp, ntp, snmp,
/// ldap, kpasswd, ssdp, mdns, memcached. (See CVE-2024-2169.)
const RESPONDERS: [u16; 14] = [7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 464, 1900, 5353, 11211];

#[derive(Debug)]
pub(super) struct DatagramSocket<D> {
    pub(super) socket: D,
    pub(super) number: u32,
    pub(super) service: u16,
    local: Address,
    /// Where it asks: then what arrives are answers.
    pub(super) asks: Option<Address>,
    pub(super) readable: bool,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
}

/// An answer that waits for room in the send buffer.
#[derive(Debug)]
struct Queued {
    to: Address,
    from: Option<IpAddr>,
    bytes: Box<[u8]>,
}

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// The answer could set off a loop.
    Loop,
    /// Its source has had its share.
    Budget,
    /// There is no address to answer to.
    Nowhere,
}

impl<D> DatagramSocket<D> {
    pub(super) fn is_idle(&self) -> bool {
        !self.readable && self.queue.is_empty()
    }

    fn port(&self) -> Option<u16> {
        match &self.local {
            Address::Ip(local) => Some(local.port()),
            Address::Unix(_) => None,
        }
    }

    fn path(&self) -> Option<&Path> {
        match &self.local {
            Address::Unix(path) => path.as_deref(),
            Address::Ip(_) => None,
        }
    }
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Adds a datagram socket, bound to `local`, whose messages this service gets.
    pub fn bind(&mut self, service: ServiceId, socket: N::Datagram, local: Address) -> io::Result<()> {
        self.add_datagram(service, socket, local, None).map(drop)
    }

    pub(super) fn add_datagram(
        &mut self,
        service: ServiceId,
        mut socket: N::Datagram,
        local: Address,
        asks: Option<Address>,
    ) -> io::Result<u32> {
        let number = self.datagrams.last().map_or(0, |last| last.number + 1);
        self.net.register_datagram(&mut socket, number)?;
        self.datagrams.push(DatagramSocket {
            socket,
            number,
            service: service.0,
            local,
            asks,
            readable: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
        });
        Ok(number)
    }

    /// An event for a datagram socket.
    pub fn datagram_ready(&mut self, number: u32, readable: bool, writable: bool) {
        let is_open = self.is_running();
        let Some(index) = self.datagrams.iter().position(|socket| socket.number == number) else { return };
        self.datagrams[index].readable |= readable && is_open;
        if writable {
            self.send_queued(index);
        }
    }

    /// Receives and answers what waits, a bounded number from each socket.
    pub(super) fn receive_pending(&mut self) {
        for index in 0..self.datagrams.len() {
            if self.datagrams[index].readable {
                self.receive(index);
            }
        }
    }

    fn receive(&mut self, index: usize) {
        for _ in 0..RECEIVES {
            let Self { net, datagrams, batch, .. } = self;
            batch.clear();
            let more = match net.receive(&mut datagrams[index].socket, batch) {
                Ok(more) => more,
                Err(error) if error.kind() == WouldBlock => return datagrams[index].readable = false,
                // An error that an earlier send left on the socket; reading it has cleared it.
                Err(error) => {
                    self.tell_asker(index, &error);
                    continue;
                }
            };
            for slot in 0..self.batch.len() {
                self.serve_datagram(index, slot);
                self.settle();
            }
            if !more {
                return self.datagrams[index].readable = false;
            }
        }
    }

    fn serve_datagram(&mut self, index: usize, slot: usize) {
        self.stats.datagrams_in += 1;
        match self.judge(index, slot) {
            Ok(charged) => {
                if self.answer_datagram(index, slot)
                    && let (Some(budget), Some(source)) = (&mut self.budget, charged)
                {
                    budget.charge(source, self.now);
                }
            }
            Err(Silence::Loop) => self.stats.loops += 1,
            Err(Silence::Budget) => self.stats.over_budget += 1,
            Err(Silence::Nowhere) => self.stats.dropped += 1,
        }
    }

    /// Whether a datagram may be answered, and whose budget the answer is taken from, if anyone's.
    fn judge(&mut self, index: usize, slot: usize) -> Result<Option<Source>, Silence> {
        let Self { datagrams, services, batch, budget, budget_warned, now, .. } = self;
        let (arrival, bytes) = batch.datagram(slot);
        if datagrams[index].asks.is_some() {
            return Ok(None);
        }
        let source = match &arrival.source {
            Address::Ip(source) => source,
            Address::Unix(None) => return Err(Silence::Nowhere),
            Address::Unix(path) if datagrams.iter().any(|socket| socket.path() == path.as_deref()) => {
                return Err(Silence::Loop);
            }
            Address::Unix(Some(_)) => return Ok(None),
        };
        let ip = source.ip().to_canonical();
        if is_suspect(source, ip) {
            return Err(Silence::Loop);
        }
        let socket = &datagrams[index];
        let is_harmless = services[usize::from(socket.service)].service.is_harmless(bytes);
        if datagrams.iter().any(|socket| socket.port() == Some(source.port())) {
            let own = arrival.local.or(socket.local.ip()).map(|local| local.to_canonical());
            let is_far = !ip.is_loopback() && Some(ip) != own;
            if !(is_harmless && is_far) {
                return Err(Silence::Loop);
            }
        }
        if is_harmless || ip.is_loopback() {
            return Ok(None);
        }
        if budget.as_mut().is_none_or(|budget| budget.allows(ip.into(), *now)) {
            return Ok(Some(ip.into()));
        }
        if budget_warned.is_none_or(|warned| *now >= warned + SELDOM) {
            *budget_warned = Some(*now);
            log::warn!("{ip} is over its datagram budget: no answer to it for now (see --udp-budget)");
        }
        Err(Silence::Budget)
    }

    /// Has a datagram answered; whether there was an answer.
    fn answer_datagram(&mut self, index: usize, slot: usize) -> bool {
        let Self { net, services, datagrams, batch, replies, effects, stats, now, .. } = self;
        let socket = &mut datagrams[index];
        let (arrival, bytes) = batch.datagram(slot);
        let Named { name, service } = &mut services[usize::from(socket.service)];
        let peer = Peer::Datagram(socket.number);
        let mut input = Input::datagram(bytes);
        let mut tag = 0;
        let mut out = Outbox::new(
            Some(Recipient { peer, address: &arrival.source, tag: &mut tag, waiting: 0 }),
            socket.service,
            name,
            replies,
            effects,
            stats,
            *now,
        );
        service.received(peer, &mut input, &mut out);
        let (answered, in_place) = (out.answered, out.in_place);
        if answered {
            let answer = super::step::join(&bytes[in_place], replies);
            if socket.dispatch(net, answer, &arrival.source, arrival.local, stats).is_err() {
                stats.dropped += 1;
            }
        }
        answered
    }

    /// Tells the service of a socket that asks of an error there; a socket that serves has nobody to tell.
    fn tell_asker(&mut self, index: usize, error: &io::Error) {
        let socket = &self.datagrams[index];
        if socket.asks.is_some() {
            let (service, number) = (socket.service, socket.number);
            self.tell_failed(service, Some(Peer::Datagram(number)), error);
            self.settle();
        }
    }

    /// There is room in the send buffer again, or a Unix receiver has made room. Answers to one receiver leave in order.
    fn send_queued(&mut self, index: usize) {
        let Self { net, datagrams, stats, .. } = self;
        let socket = &mut datagrams[index];
        let mut full: Vec<Address> = Vec::new();
        for _ in 0..socket.queue.len() {
            let Some(waiting) = socket.queue.pop_front() else { return };
            let sent = match full.contains(&waiting.to) {
                true => Ok(Sent::Later),
                false => send(net, &mut socket.socket, &waiting.bytes, &waiting.to, waiting.from),
            };
            match sent {
                Ok(Sent::Later) if matches!(waiting.to, Address::Unix(_)) => {
                    if !full.contains(&waiting.to) {
                        full.push(waiting.to.clone());
                    }
                    socket.queue.push_back(waiting);
                    continue;
                }
                Ok(Sent::Later) => return socket.queue.push_front(waiting),
                Ok(Sent::Now) => stats.datagrams_out += 1,
                Err(_) => stats.dropped += 1,
            }
            socket.queued_bytes -= waiting.bytes.len();
        }
        if socket.queue.is_empty() {
            // Failing to be told less often does no harm.
            let _ = net.arm_datagram(&mut socket.socket, socket.number, false);
        }
    }

    /// Counts what is lost when the datagram sockets close now, and closes them.
    pub(super) fn close_datagrams(&mut self, only_idle: bool) {
        let Self { net, datagrams, stats, .. } = self;
        datagrams.retain(|socket| {
            let stays = only_idle && !socket.is_idle();
            if !stays {
                stats.dropped += socket.queue.len() as u64 + net.kernel_drops(&socket.socket);
            }
            stays
        });
    }
}

impl<D> DatagramSocket<D> {
    /// Sends a datagram, or keeps it until there is room, or drops and counts it where there is no room to keep it.
    /// Fails where the kernel will not have it: too long, a forbidden or unreachable destination.
    pub(super) fn dispatch<N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        bytes: &[u8],
        to: &Address,
        from: Option<IpAddr>,
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

/// Whether a datagram from here must not be answered, whatever it says.
fn is_suspect(source: &SocketAddr, ip: IpAddr) -> bool {
    let unfit = match ip {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    unfit || source.port() == 0 || RESPONDERS.contains(&source.port())
}
