//! Every decision, no poll: connections, accepting, datagrams, buffers, timers, limits.
//!
//! The [`Engine`] is told what happened and may ask what time it is ([`Engine::dispatch`]); it asks sockets only
//! through [`Net`], and meaning only from its services. `reactor` drives it with mio and a clock, the tests with
//! scripts. It names no concrete service, and it never waits.
//!
//! - `turn`: one connection reads, is served and writes; `connection`: its state and what follows from it
//! - `effects`: what services want beyond answering; `host`: what the engine's owner may ask of a service
//! - `accept`, `dial`, `datagram`, `drain`, `sweep`: the other things that happen in a turn
//! - `table`, `buffer`, `timers`, `budget`: what these keep

mod accept;
mod budget;
mod buffer;
mod connection;
mod datagram;
mod dial;
mod drain;
mod effects;
mod event;
mod host;
mod net;
mod sweep;
mod table;
mod timers;
mod turn;

use std::collections::VecDeque;
use std::time::Duration;

use crate::endpoint::Address;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{Caller, ConnId, Outbox, Output, Recipient, Service, Turn};
use crate::stats::Stats;

use accept::Acceptor;
use buffer::Pool;
use datagram::Datagrams;
use drain::Stage;
pub use event::{Event, Readiness};
pub(crate) use net::BATCH;
pub use net::{Arrival, Batch, LocalAddress, Net};
use sweep::Sweep;
use table::Table;
use timers::{Due, Timers};

pub use crate::service::ServiceId;

/// Room for one read. Less makes large messages slow (16 KiB: two thirds of the speed), more gains nothing.
const SCRATCH: usize = 64 << 10;

/// A warning that may come with every packet is written this often at the most.
const SELDOM: Duration = Duration::from_secs(10);

/// Where time is exact: sources seen to until the timers are looked at again.
const TIMERS_EVERY: usize = 4;

/// Where time is exact: overdue timers are run in so many rounds at the most before the next source is seen to, so that
/// reads are not starved.
const CATCH_UP: usize = 3;

/// Tells what time it is.
pub type Clock<'a> = &'a dyn Fn() -> Moment;

/// Serves connections and datagrams of any [`Net`] with services of one type, often `Box<dyn Service>`.
#[derive(Debug)]
pub struct Engine<S, N: Net> {
    net: N,
    limits: Limits,
    turn: Turn,
    /// When the turn began.
    began: Moment,
    /// Time is told for each thing received and each timer, not once a turn.
    exact: bool,
    services: Services<S>,
    table: Table<N::Stream>,
    acceptor: Acceptor<N::Listener>,
    datagrams: Datagrams<N::Datagram>,
    /// Connections whose step left something to do.
    runnable: VecDeque<ConnId>,
    timers: Timers,
    sweep: Sweep,
    stage: Stage,
    pool: Pool,
    /// What a read returns, before a service has taken its share.
    scratch: Box<[u8]>,
    output: Output,
}

#[derive(Debug)]
struct Services<S>(Vec<Named<S>>);

#[derive(Debug)]
struct Named<S> {
    name: String,
    service: S,
}

impl<S> Services<S> {
    fn caller(&mut self, id: ServiceId) -> (&mut S, Caller<'_>) {
        let Named { name, service } = &mut self.0[id.index()];
        (service, Caller { id, name })
    }
}

/// What an engine holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections, lingering ones included.
    pub connections: usize,
    /// Exact timers.
    pub timers: usize,
    /// Bytes of buffers that connections have borrowed.
    pub buffered: usize,
}

impl<S: Service, N: Net> Engine<S, N> {
    /// An engine without services and sockets. `seed` is any number that a sender of datagrams cannot know.
    pub fn new(net: N, limits: Limits, seed: u64) -> Self {
        Self {
            net,
            turn: Turn::default(),
            began: Moment::default(),
            exact: false,
            services: Services(Vec::new()),
            table: Table::new(),
            acceptor: Acceptor::default(),
            datagrams: Datagrams::new(limits.udp_budget, seed),
            runnable: VecDeque::new(),
            timers: Timers::default(),
            sweep: Sweep::default(),
            stage: Stage::Running,
            pool: Pool::new(limits.max_buffered),
            scratch: vec![0; SCRATCH].into(),
            output: Output::default(),
            limits,
        }
    }

    /// Adds a service, named so in logs.
    pub fn add(&mut self, name: impl Into<String>, service: S) -> ServiceId {
        let id = ServiceId::new(self.services.0.len());
        self.services.0.push(Named { name: name.into(), service });
        id
    }

    /// From now on each thing received and each timer has a time of its own, and timers are looked at between events.
    pub fn keep_exact_time(&mut self) {
        self.exact = true;
    }

    /// One turn: the events, then whatever is left to do without a further event. Returns whether there was anything
    /// to do.
    ///
    /// The clock is read when the turn begins, and again before and after timers where there are any: they are timed
    /// from when they run, and what is received after them came later. Where time is [exact](Self::keep_exact_time)
    /// it is read for each thing received, too.
    pub fn dispatch(&mut self, events: impl IntoIterator<Item = Event>, clock: Clock<'_>) -> bool {
        self.began = clock();
        self.turn.now = self.began;
        let mut count = 0;
        for event in events {
            self.take(event, clock);
            count += 1;
            self.run_overdue(count, clock);
        }
        // Timers first: connections that they let go on have their step in this turn.
        let was_due = self.expire(clock);
        for _ in 0..self.runnable.len() {
            if let Some(id) = self.runnable.pop_front() {
                self.step(id, clock);
            }
        }
        self.accept_pending();
        self.receive_pending(clock);
        self.sweep();
        self.watch_drain();
        was_due || count > 0
    }

    #[inline(always)]
    fn take(&mut self, event: Event, clock: Clock<'_>) {
        match event {
            Event::Connection(id, readiness) => {
                // One that has gone: the event is stale.
                let Some(connection) = self.table.get_mut(id) else { return };
                connection.apply(readiness);
                if !connection.is_queued() {
                    self.step(id, clock);
                }
            }
            Event::Listener(number) => self.acceptor.note_waiting(number),
            Event::Datagram { number, readable, writable } => self.datagram_ready(number, readable, writable),
            Event::Line(service, text) => self.with(service, self.turn.now, |service, out| service.line(&text, out)),
            Event::LinesEnded(service) => self.with(service, self.turn.now, |service, out| service.lines_ended(out)),
            Event::Drain => self.drain(),
        }
    }

    /// Where time is exact: runs overdue timers between sources, a bounded number of them.
    fn run_overdue(&mut self, count: usize, clock: Clock<'_>) {
        if !self.exact || !count.is_multiple_of(TIMERS_EVERY) {
            return;
        }
        for _ in 0..CATCH_UP {
            if !self.expire(clock) {
                break;
            }
        }
    }

    /// Runs the timers that are due; whether there were any.
    fn expire(&mut self, clock: Clock<'_>) -> bool {
        if self.timers.next().is_none() {
            return false;
        }
        self.turn.now = clock();
        let mut was_due = false;
        // A timer that a service sets now, and that is due at once, has its turn in the next round.
        for _ in 0..self.timers.len() {
            let Some(due) = self.timers.pop_due(self.turn.now) else { break };
            self.run_timer(due);
            was_due = true;
            if self.exact {
                self.turn.now = clock();
            }
        }
        if was_due && !self.exact {
            self.turn.now = clock();
        }
        was_due
    }

    fn run_timer(&mut self, due: Due) {
        match due {
            Due::Service { service, key, owner: None } => {
                self.call_service(service, None, |service, out| service.expired(key, out));
                self.settle();
            }
            Due::Service { key, owner: Some(owner), .. } => match self.table.get_mut(owner) {
                None => self.timers.forget_stale(),
                Some(connection) => {
                    connection.remove_timer();
                    self.call(owner, |service, _, out| service.expired(key, out));
                }
            },
            Due::FirstLine(id) => match self.table.get_mut(id) {
                None => self.timers.forget_stale(),
                Some(connection) => {
                    connection.remove_timer();
                    connection.decide();
                    connection.enqueue(id, &mut self.runnable);
                }
            },
            Due::Receive(number) => self.datagrams.retry(number),
        }
    }

    /// Until when the caller may wait for events; `None` is for ever. A moment that has passed: not at all.
    pub fn deadline(&self) -> Option<Moment> {
        if !self.runnable.is_empty() || self.can_accept() || self.datagrams.has_arrivals() || self.is_drained() {
            return Some(self.turn.now);
        }
        let moments = [self.timers.next(), self.sweep.next(), self.acceptor.retry_at(), self.stage.until()];
        moments.into_iter().flatten().min()
    }

    /// What happened so far.
    pub fn stats(&mut self) -> Stats {
        let mut stats = self.turn.stats;
        stats.dropped += self.net.kernel_drops(self.datagrams.sockets());
        stats
    }

    /// What is held at the moment. All zero when all is over.
    pub fn usage(&self) -> Usage {
        Usage { connections: self.table.len(), timers: self.timers.len(), buffered: self.pool.lent() }
    }

    /// The seam, for its owner.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// The seam, for its owner to change.
    pub fn net_mut(&mut self) -> &mut N {
        &mut self.net
    }

    /// Runs a callback outside of a connection's turn. Its effects wait for `settle`.
    fn call_service<T>(
        &mut self,
        id: ServiceId,
        recipient: Option<Recipient<'_>>,
        callback: impl FnOnce(&mut S, &mut Outbox<'_>) -> T,
    ) -> T {
        let (service, caller) = self.services.caller(id);
        callback(service, &mut Outbox::new(caller, recipient, &mut self.turn, &mut self.output))
    }

    fn log(&self, service: ServiceId, peer: &Address, what: std::fmt::Arguments<'_>) {
        log::debug!("{}: {peer} {what}", self.services.0[service.index()].name);
    }
}
