//! Makes every decision and never waits: connections, accepting, datagrams, buffers, timers, limits.
//!
//! [`Engine::dispatch`] is given events and a clock. The engine reaches sockets only through the trait [`Net`], and
//! leaves to its services what bytes mean. `reactor` drives it with mio and CLOCK_MONOTONIC; tests drive it with
//! scripted sockets and a virtual clock. It knows no poll and no concrete service.
//!
//! - `step`: one step of a connection: read, serve, write; `connection`: its state, and what follows from the state
//! - `effects`: carries out what services ask for beyond an answer; `host`: calls for the engine's owner between turns
//! - `accept`, `dial`, `datagram`, `drain`, `sweep`: the other work of a turn
//! - `table`, `buffer`, `timers`, `budget`, `seldom`: the data that this work is done on
//! - `status`: what each socket is about, when asked
//! - `net`: the seam to the sockets; `event`: what the seam reports
//!
//! What the kernel demands of this code is listed in the crate's documentation under "Kernel rules".

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
mod seldom;
mod status;
mod step;
mod store;
mod sweep;
mod table;
mod timers;

use std::collections::VecDeque;
use std::fmt::Display;

use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{Caller, ConnId, Outbox, Output, Recipient, Service, ServiceId, Turn};
use crate::stats::Stats;

use accept::Acceptor;
use buffer::Pool;
use datagram::Datagrams;
use drain::Stage;
pub use event::{Event, Readiness};
pub(crate) use net::BATCH;
pub use net::{Arrival, Batch, LocalAddress, Net};
pub use status::Activity;
pub(crate) use status::Socket;
use sweep::Sweep;
use table::Table;
use timers::{Due, Timers};

/// Bytes that one read can return. With 16 KiB, messages of 64 KiB run at two thirds of the speed; 256 KiB gains
/// nothing.
const SCRATCH: usize = 64 << 10;

/// Bytes that the steps of one turn move at most, in and out together, so that listeners, datagrams and the poll do not
/// wait for long. Connections left over come first in the next turn.
const TURN_BYTES: u64 = 1 << 20;

/// With exact time: events, or datagram sockets, between two runs of overdue timers.
const TIMERS_EVERY: usize = 4;

/// With exact time: rounds of overdue timers run between two events, bounded so that reads are not starved.
const CATCH_UP_ROUNDS: usize = 3;

/// Returns the current time. Its moments never go backwards.
pub type Clock<'a> = &'a dyn Fn() -> Moment;

/// Serves connections and datagrams of any [`Net`] with services of one type, often `Box<dyn Service>`.
///
/// Its owner polls until [`deadline`](Self::deadline) and gives the events to [`dispatch`](Self::dispatch), until
/// [`is_stopped`](Self::is_stopped). [`Reactor`](crate::Reactor) is such an owner, with mio's sockets.
#[derive(Debug)]
pub struct Engine<S, N: Net> {
    net: N,
    limits: Limits,
    turn: Turn,
    /// When the turn began.
    began: Moment,
    /// The clock is read for each thing received and each timer, not once a turn.
    exact: bool,
    services: Services<S>,
    table: Table<N::Stream>,
    acceptor: Acceptor<N::Listener>,
    datagrams: Datagrams<N::Datagram>,
    /// The run queue: connections whose step left something that no further event will tell of.
    runnable: VecDeque<ConnId>,
    /// Once steps have moved more bytes than this, in and out together, the turn's other connections have to wait.
    moves_until: u64,
    timers: Timers,
    sweep: Sweep,
    stage: Stage,
    pool: Pool,
    /// Every read of a stream goes here first; only what the service leaves is copied into a buffer.
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

/// What an engine holds now: [`Engine::usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections in the table: being dialled, open, or being closed.
    pub connections: usize,
    /// Timers that have been set and have not run out; cancelled ones, and those of closed connections, may be among
    /// them.
    pub timers: usize,
    /// Bytes of memory in the buffers that connections have borrowed.
    pub buffered: usize,
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Creates an engine without services and sockets. `seed` spreads datagram sources over the budget's table: a
    /// number that senders cannot guess.
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
            moves_until: 0,
            timers: Timers::default(),
            sweep: Sweep::default(),
            stage: Stage::Running,
            pool: Pool::new(limits.max_buffered),
            scratch: vec![0; SCRATCH].into(),
            output: Output::default(),
            limits,
        }
    }

    /// Adds a service; log lines show it under `name`.
    pub fn add(&mut self, name: impl Into<String>, service: S) -> ServiceId {
        let id = ServiceId::new(self.services.0.len());
        self.services.0.push(Named { name: name.into(), service });
        id
    }

    /// Reads the clock for each thing received and each timer from now on, so that services see the exact time of each
    /// ([`Outbox::now`]). Overdue timers run between events too.
    pub fn keep_exact_time(&mut self) {
        self.exact = true;
    }

    /// The poll returned as many events as it had room for: there may be further ones than the next turn is told of. That
    /// turn finds no connection idle.
    pub fn expect_more_events(&mut self) {
        self.sweep.has_all_events = false;
    }

    /// Runs one turn: the events, then everything that is to be done without a further event: timers, the run queue,
    /// accepting, datagrams, the sweep, the drain. Returns whether there was an event or a due timer.
    ///
    /// The clock is read when the turn begins. While timers are set it is read again before they run, and after them if
    /// any was due. With [exact time](Self::keep_exact_time) it is also read for each thing received.
    pub fn dispatch(&mut self, events: impl IntoIterator<Item = Event>, clock: Clock<'_>) -> bool {
        self.began = clock();
        self.turn.now = self.began;
        self.moves_until = self.turn.stats.bytes_in + self.turn.stats.bytes_out + TURN_BYTES;
        // Connections left over from the last turn come first.
        let is_behind = !self.runnable.is_empty();
        let mut count = 0;
        for event in events {
            self.deliver(event, is_behind, clock);
            count += 1;
            self.run_overdue(count, clock);
        }
        // Timers come before the run queue: a connection that a timer resumes has its step in this turn.
        let was_due = self.expire(clock);
        for _ in 0..self.runnable.len() {
            if self.has_moved_enough() {
                break;
            }
            if let Some(id) = self.runnable.pop_front()
                && let Some(connection) = self.table.get_mut(id)
            {
                connection.dequeue();
                self.step(id, Readiness::default(), clock);
            }
        }
        self.accept_pending();
        self.receive_pending(clock);
        self.sweep();
        self.close_left();
        self.check_drain();
        self.sweep.has_all_events = true;
        was_due || count > 0
    }

    #[inline(always)]
    fn deliver(&mut self, event: Event, is_behind: bool, clock: Clock<'_>) {
        match event {
            Event::Connection(id, readiness) if is_behind || self.has_moved_enough() => {
                if let Some(connection) = self.table.get_mut(id) {
                    connection.apply(readiness);
                    connection.enqueue(id, &mut self.runnable);
                }
            }
            Event::Connection(id, readiness) => self.step(id, readiness, clock),
            Event::Listener(number) => self.acceptor.note_waiting(number),
            Event::Datagram { number, readable, writable } => self.datagram_ready(number, readable, writable),
            Event::Line(service, text) => self.with(service, self.turn.now, |service, out| service.line(&text, out)),
            Event::LinesEnded(service) => self.with(service, self.turn.now, |service, out| service.lines_ended(out)),
            Event::Ready(service) => {
                let now = if self.exact { clock() } else { self.turn.now };
                self.with(service, now, |service, out| service.ready(out));
            }
            Event::Drain => self.drain(),
        }
    }

    /// Whether the steps of this turn have moved [`TURN_BYTES`].
    fn has_moved_enough(&self) -> bool {
        self.turn.stats.bytes_in + self.turn.stats.bytes_out > self.moves_until
    }

    /// With exact time: runs overdue timers now, bounded, so that reads are not starved. `count` is the number of
    /// events or sockets worked on so far.
    fn run_overdue(&mut self, count: usize, clock: Clock<'_>) {
        if !self.exact || !count.is_multiple_of(TIMERS_EVERY) {
            return;
        }
        for _ in 0..CATCH_UP_ROUNDS {
            if !self.expire(clock) {
                break;
            }
        }
    }

    /// Runs the timers that are due. Returns whether there were any.
    fn expire(&mut self, clock: Clock<'_>) -> bool {
        let Some(next) = self.timers.next() else { return false };
        // Exact time is that of the last event: it is not worth another look at the clock.
        if self.exact && next > self.turn.now {
            return false;
        }
        self.turn.now = clock();
        let mut was_due = false;
        // The count is taken before: a timer set by one of these and due at once runs in the next round.
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
                    connection.remove_timers(1);
                    self.call(owner, |service, _, out| service.expired(key, out));
                }
            },
            Due::FirstLine(id) => match self.table.get_mut(id) {
                None => self.timers.forget_stale(),
                Some(connection) => {
                    connection.remove_timers(1);
                    connection.decide_raw();
                    connection.enqueue(id, &mut self.runnable);
                }
            },
            Due::Resend(number) => self.resend(number),
            Due::Receive(number) => self.datagrams.retry(number),
        }
    }

    /// The latest moment for the next turn: until then the caller may wait for events; `None` is for ever.
    ///
    /// Budgets end a step, an accept or a receive early, and no new edge will tell of what they left. While anything is
    /// left, the deadline is therefore the present: poll with timeout 0.
    pub fn deadline(&self) -> Option<Moment> {
        if !self.runnable.is_empty() || self.can_accept() || self.datagrams.has_arrivals() || self.is_drained() {
            return Some(self.turn.now);
        }
        let moments = [self.timers.next(), self.sweep.next(), self.acceptor.retry_at(), self.stage.next()];
        moments.into_iter().flatten().min()
    }

    /// The counters as of now, with the datagrams that the kernel has dropped.
    pub fn stats(&mut self) -> Stats {
        let mut stats = self.turn.stats;
        stats.waiting = self.waiting() as u64;
        stats.dropped += self.net.kernel_drops(self.datagrams.sockets());
        stats
    }

    /// What the engine holds now; all zero once every connection has ended.
    pub fn usage(&self) -> Usage {
        Usage { connections: self.table.len(), timers: self.timers.len(), buffered: self.pool.lent() }
    }

    /// The [`Net`] that it was created with.
    pub(crate) fn net(&self) -> &N {
        &self.net
    }

    /// The [`Net`] that it was created with, for its owner to poll or to make sockets from.
    pub fn net_mut(&mut self) -> &mut N {
        &mut self.net
    }

    /// Runs a callback outside of a connection's step. Its effects wait for `settle`.
    fn call_service<T>(
        &mut self,
        id: ServiceId,
        recipient: Option<Recipient<'_>>,
        callback: impl FnOnce(&mut S, &mut Outbox<'_>) -> T,
    ) -> T {
        let (service, caller) = self.services.caller(id);
        callback(service, &mut Outbox::new(caller, recipient, &mut self.turn, &mut self.output))
    }

    fn log(&self, service: ServiceId, peer: &dyn Display, what: std::fmt::Arguments<'_>) {
        log::debug!("{}: {peer} {what}", self.services.0[service.index()].name);
    }
}
