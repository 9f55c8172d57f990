//! Every decision, no poll: connections, accepting, datagrams, buffers, timers, limits.
//!
//! The [`Engine`] is told what happened ([`Engine::ready`] and its siblings) and what time it is; it asks sockets only
//! through [`Net`], and meaning only from its services. `reactor` drives it with mio and a clock, the tests with
//! scripts. It names no concrete service, and it never waits.
//!
//! A turn of the loop: [`begin`](Engine::begin), an event for each source that is ready, [`finish`](Engine::finish).
//!
//! - `step`: one connection reads, is served and writes; `connection`: its state and what follows from it
//! - `accept`, `dial`, `datagram`, `drain`, `sweep`: the other things that happen in a turn
//! - `table`, `buffer`, `timers`, `budget`: what these keep

mod accept;
mod budget;
mod buffer;
mod connection;
mod datagram;
mod dial;
mod drain;
mod net;
mod step;
mod sweep;
mod table;
mod timers;

use std::collections::VecDeque;
use std::time::Duration;

use slab::Slab;

use crate::endpoint::Address;
use crate::error::CloseReason;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{ConnId, Effects, Outbox, Peer, Recipient, Service};
use crate::stats::Stats;

use accept::Door;
use budget::Budget;
use buffer::Pool;
use connection::Connection;
use datagram::DatagramSocket;
use drain::Phase;
pub(crate) use net::BATCH;
pub use net::{Arrival, Batch, Net, Readiness};
use sweep::Sweep;
use table::Table;
use timers::{Timer, Timers};

/// Room for one read. Less makes large messages slow (16 KiB: two thirds of the speed), more gains nothing.
const SCRATCH: usize = 64 << 10;

/// A warning that may come with every packet is written this often at the most.
const SELDOM: Duration = Duration::from_secs(10);

/// Serves connections and datagrams of any [`Net`] with services of one type, often `Box<dyn Service>`.
#[derive(Debug)]
pub struct Engine<S, N: Net> {
    net: N,
    limits: Limits,
    stats: Stats,
    now: Moment,
    services: Vec<Named<S>>,
    table: Table<N::Stream>,
    door: Door<N::Listener>,
    /// In slots that are not used again while the engine runs: closing them is the last thing it does.
    datagrams: Slab<DatagramSocket<N::Datagram>>,
    /// Datagram sockets that may have something to read.
    arrived: VecDeque<u32>,
    /// Connections whose step left something to do.
    runnable: VecDeque<ConnId>,
    timers: Timers,
    sweep: Sweep,
    phase: Phase,
    pool: Pool,
    /// What a read returns, before a service has taken its share.
    scratch: Box<[u8]>,
    /// What a service answers, before the kernel has taken its share.
    replies: Vec<u8>,
    batch: Batch,
    budget: Option<Budget>,
    budget_warned: Option<Moment>,
    effects: Effects,
}

#[derive(Debug)]
struct Named<S> {
    name: String,
    service: S,
}

/// Names a service of an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceId(u16);

impl<S: Service, N: Net> Engine<S, N> {
    /// An engine without services and sockets. `seed` is any number that a sender of datagrams cannot know.
    pub fn new(net: N, limits: Limits, seed: u64) -> Self {
        Self {
            net,
            stats: Stats::default(),
            now: Moment::default(),
            services: Vec::new(),
            table: Table::new(),
            door: Door::default(),
            datagrams: Slab::new(),
            arrived: VecDeque::new(),
            runnable: VecDeque::new(),
            timers: Timers::default(),
            sweep: Sweep::default(),
            phase: Phase::Running,
            pool: Pool::new(limits.max_buffered),
            scratch: vec![0; SCRATCH].into(),
            replies: Vec::new(),
            batch: Batch::new(),
            budget: limits.udp_budget.map(|rate| Budget::new(rate, seed)),
            budget_warned: None,
            effects: Effects::default(),
            limits,
        }
    }

    /// Adds a service, named so in logs.
    pub fn add(&mut self, name: impl Into<String>, service: S) -> ServiceId {
        let id = u16::try_from(self.services.len()).expect("services are added by hand, not by the thousand");
        self.services.push(Named { name: name.into(), service });
        ServiceId(id)
    }

    /// A turn begins: it is now this late.
    pub fn begin(&mut self, now: Moment) {
        self.now = now;
    }

    /// When the turn began.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// An event for a connection. For one that has gone it is stale and does nothing.
    pub fn ready(&mut self, id: ConnId, event: Readiness) {
        let Some(connection) = self.table.get_mut(id) else { return };
        connection.apply(event);
        if !connection.queued {
            self.step(id);
        }
    }

    /// The turn ends: whatever is left to do without a further event is done, or begun.
    pub fn finish(&mut self) {
        // Timers first: whom they let go on has its step in this turn.
        self.expire();
        for _ in 0..self.runnable.len() {
            if let Some(id) = self.runnable.pop_front() {
                self.step(id);
            }
        }
        self.accept_pending();
        self.receive_pending();
        self.sweep();
        self.watch_drain();
    }

    /// Until when the caller may wait for events; `None` is for ever. A moment that has passed: not at all.
    pub fn deadline(&self) -> Option<Moment> {
        let pending = !self.runnable.is_empty() || self.can_accept() || !self.arrived.is_empty();
        if pending || self.is_drained() {
            return Some(self.now);
        }
        let moments = [self.timers.next(), self.sweep.next(), self.door.retry_at(), self.phase.until()];
        moments.into_iter().flatten().min()
    }

    /// What happened so far.
    pub fn stats(&mut self) -> Stats {
        let mut stats = self.stats;
        stats.dropped += self.net.kernel_drops(self.datagrams.iter().map(|(_, socket)| &socket.socket));
        stats
    }

    /// The seam, for its owner.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// The seam, for its owner to change.
    pub fn net_mut(&mut self) -> &mut N {
        &mut self.net
    }

    /// The services, for who wants their results.
    pub fn into_services(self) -> impl Iterator<Item = S> {
        self.services.into_iter().map(|named| named.service)
    }

    /// What is held at the moment: connections, timers, bytes of buffers. All zero when all is over.
    pub fn load(&self) -> Load {
        Load { connections: self.table.len(), timers: self.timers.len(), buffered: self.pool.lent() }
    }

    /// Runs the timers that are due; whether there were any. [`finish`](Self::finish) does it too, for who does not
    /// care to tell what timers send from what is received afterwards. Where the loop keeps exact time, each has a time
    /// of its own.
    pub fn expire(&mut self) -> bool {
        let mut was_due = false;
        // A service may set a timer that is due at once; it has its turn in the next turn.
        for _ in 0..self.timers.len() {
            self.now = self.net.now(self.now);
            let Some(timer) = self.timers.pop_due(self.now) else { break };
            self.run_timer(timer);
            was_due = true;
        }
        was_due
    }

    fn run_timer(&mut self, timer: Timer) {
        match timer.owner() {
            None => {
                self.call_service(timer.service, None, |service, out| service.expired(timer.key, out));
                self.settle();
            }
            Some(owner) => match self.table.get_mut(owner) {
                None => self.timers.forget_stale(),
                Some(connection) => {
                    connection.timers -= 1;
                    self.call(owner, |service, _, out| service.expired(timer.key, out));
                }
            },
        }
    }

    /// Runs a callback with nobody to answer at hand. Its effects wait for `settle`.
    fn call_service<T>(
        &mut self,
        index: u16,
        gone: Option<Recipient<'_>>,
        callback: impl FnOnce(&mut S, &mut Outbox<'_>) -> T,
    ) -> T {
        let Named { name, service } = &mut self.services[usize::from(index)];
        let mut out = Outbox::new(gone, index, name, &mut self.replies, &mut self.effects, &mut self.stats, self.now);
        callback(service, &mut out)
    }

    /// Ends a connection and forgets it. The effects of the service's farewell wait for `settle`.
    fn close(&mut self, id: ConnId, why: CloseReason) {
        let Some(mut connection) = self.table.remove(id) else { return };
        self.pool.take_back(&mut connection.rx);
        self.pool.take_back(&mut connection.tx);
        self.stats.count_close(why);
        if connection.timers > 0 {
            self.timers.abandon(connection.timers, |id| self.table.contains(id));
        }
        self.door.left(&connection.peer);
        let Connection { service, peer, stream, mut tag, .. } = connection;
        drop(stream);
        self.trace_connection(service, &peer, format_args!("closed ({why})"));
        let gone = Recipient { peer: None, address: &peer, tag: &mut tag, waiting: 0 };
        self.call_service(service, Some(gone), |service, out| service.closed(Peer::Stream(id), why, out));
    }

    fn trace_connection(&self, service: u16, peer: &Address, what: std::fmt::Arguments<'_>) {
        log::debug!("{}: {peer} {what}", self.services[usize::from(service)].name);
    }
}

/// What an engine holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections, lingering ones included.
    pub connections: usize,
    /// Exact timers.
    pub timers: usize,
    /// Bytes of buffers that connections have borrowed.
    pub buffered: usize,
}
