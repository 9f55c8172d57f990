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
use std::sync::Arc;

use super::budget::Source;
use super::net::Net;
use super::{Engine, Named, SELDOM, ServiceId};
use crate::endpoint::Address;
use crate::service::{Input, Outbox, Peer, Recipient, Service};
use crate::stats::Stats;

/// Receives per socket and turn; each takes a whole batch.
const RECEIVES: usize = 4;

/// Sockets received from until the timers are looked at again.
const TIMERS_EVERY: usize = 4;

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
    /// Where it asks, if it does: then what arrives are answers.
    pub(super) asks: Option<Asks>,
    /// There may be something to read; then it is in the queue for that.
    readable: bool,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
}

/// What makes a socket one that asks.
#[derive(Clone, Debug)]
pub(super) struct Asks {
    pub(super) to: Arc<Address>,
    /// What it carries for its service.
    pub(super) tag: u64,
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

    /// Puts it into the queue of those to read from, if it is not there already.
    pub(super) fn note_arrival(&mut self, arrived: &mut VecDeque<u32>) {
        if !self.readable {
            self.readable = true;
            arrived.push_back(self.number);
        }
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
        asks: Option<Asks>,
    ) -> io::Result<u32> {
        let slot = self.datagrams.vacant_entry();
        let number = u32::try_from(slot.key()).expect("descriptors are fewer than 2^32");
        self.net.register_datagram(&mut socket, number)?;
        slot.insert(DatagramSocket {
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
        let Some(socket) = self.datagrams.get_mut(number as usize) else { return };
        if readable && is_open {
            socket.note_arrival(&mut self.arrived);
        }
        if writable {
            self.send_queued(number);
        }
    }

    /// Receives and answers what waits, a bounded number from each socket.
    pub(super) fn receive_pending(&mut self) {
        for turn in 0..self.arrived.len() {
            let Some(number) = self.arrived.pop_front() else { return };
            let more = self.receive(number);
            if let Some(socket) = self.datagrams.get_mut(number as usize) {
                socket.readable = false;
                if more {
                    socket.note_arrival(&mut self.arrived);
                }
            }
            if turn % TIMERS_EVERY == TIMERS_EVERY - 1 {
                self.expire();
            }
        }
    }

    /// Receives from one socket, a bounded number of times; whether more may wait.
    fn receive(&mut self, number: u32) -> bool {
        for _ in 0..RECEIVES {
            let Self { net, datagrams, batch, now, .. } = self;
            let Some(socket) = datagrams.get_mut(number as usize) else { return false };
            batch.clear();
            let more = match net.receive(&mut socket.socket, batch) {
                Ok(more) => more,
                Err(error) if error.kind() == WouldBlock => return false,
                // An error that an earlier send left on the socket; reading it has cleared it.
                Err(error) => {
                    self.tell_asker(number, &error);
                    self.settle();
                    continue;
                }
            };
            *now = net.now(*now);
            for slot in 0..self.batch.len() {
                self.serve_datagram(number, slot);
                self.settle();
            }
            if !more {
                return false;
            }
        }
        true
    }

    fn serve_datagram(&mut self, number: u32, slot: usize) {
        self.stats.datagrams_in += 1;
        match self.judge(number, slot) {
            Ok(charged) => {
                if self.answer_datagram(number, slot)
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
    fn judge(&mut self, number: u32, slot: usize) -> Result<Option<Source>, Silence> {
        let Self { datagrams, services, batch, budget, budget_warned, now, .. } = self;
        let (arrival, bytes) = batch.datagram(slot);
        let socket = &datagrams[number as usize];
        if socket.asks.is_some() {
            return Ok(None);
        }
        let source = match &arrival.source {
            Address::Ip(source) => source,
            Address::Unix(None) => return Err(Silence::Nowhere),
            Address::Unix(path) if datagrams.iter().any(|(_, socket)| socket.path() == path.as_deref()) => {
                return Err(Silence::Loop);
            }
            Address::Unix(Some(_)) => return Ok(None),
        };
        let ip = source.ip().to_canonical();
        if is_suspect(source, ip) {
            return Err(Silence::Loop);
        }
        let is_harmless = services[usize::from(socket.service)].service.is_harmless(bytes);
        if datagrams.iter().any(|(_, socket)| socket.port() == Some(source.port())) {
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
    fn answer_datagram(&mut self, number: u32, slot: usize) -> bool {
        let Self { net, services, datagrams, batch, replies, effects, stats, now, .. } = self;
        let socket = &mut datagrams[number as usize];
        let (arrival, bytes) = batch.datagram(slot);
        let Named { name, service } = &mut services[usize::from(socket.service)];
        let peer = Peer::Datagram(number);
        let mut input = Input::datagram(bytes);
        let (asked, mut none) = (socket.asks.as_ref().map(|asks| asks.to.clone()), 0);
        let address = asked.as_deref().unwrap_or(&arrival.source);
        let tag = socket.asks.as_mut().map_or(&mut none, |asks| &mut asks.tag);
        let mut out = Outbox::new(
            Some(Recipient { peer: Some(peer), address, tag, waiting: 0 }),
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
            if let Err(error) = socket.dispatch(net, answer, address, arrival.local, stats) {
                stats.dropped += u64::from(asked.is_none());
                self.tell_asker(number, &error);
            }
        }
        answered
    }

    /// There is room in the send buffer again, or a Unix receiver has made room. Answers to one receiver leave in order.
    fn send_queued(&mut self, number: u32) {
        let Self { net, datagrams, stats, .. } = self;
        let Some(socket) = datagrams.get_mut(number as usize) else { return };
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
        let closes = |socket: &DatagramSocket<N::Datagram>| !only_idle || socket.is_idle();
        let closing = || datagrams.iter().map(|(_, socket)| socket).filter(|socket| closes(socket));
        stats.dropped += closing().map(|socket| socket.queue.len() as u64).sum::<u64>();
        stats.dropped += net.kernel_drops(closing().map(|socket| &socket.socket));
        datagrams.retain(|_, socket| !closes(socket));
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
