//! The dialer: which connections are still to be made, where to, where from, and how fast.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use pingpong::service::{Dial, Outbox};
use pingpong::{Address, Moment, Ports};

use super::deal::Deal;
use super::schedule::Schedule;
use super::wake::{Tag, Visit, Wake};
use crate::bench::{BenchOptions, Sources};

/// Dials under way at once: as many as are answered quickly, without a flood of unanswered SYNs.
const AT_ONCE: u32 = 128;

/// How long a dial waits for a local port to become free, or for room in a Unix socket's backlog.
pub(super) const WAIT: Duration = Duration::from_millis(1);

/// Makes the connections of a load.
#[derive(Debug)]
pub(super) struct Dialer {
    route: Route,
    /// How many connections that ask are to be made before the start.
    asking: u32,
    /// How many are to be made in all: those that ask, then those that idle.
    wanted: u32,
    /// How many of these have been dialled.
    begun: u32,
    /// Connections to dial once more.
    again: Vec<Tag>,
    /// Dials without an outcome.
    under_way: u32,
    /// When the next dial is due, where a connect rate is asked for.
    schedule: Option<Schedule>,
    /// A timer for the next dial is set.
    timer_is_set: bool,
    /// When a dial last had an outcome, or when the first of those under way began.
    quiet_since: Moment,
}

/// Where connections go to, and where from.
#[derive(Debug)]
pub(super) struct Route {
    /// The addresses of the endpoint's name that have not failed, each with all ports of the endpoint. The first one is
    /// used.
    hosts: VecDeque<Vec<Address>>,
    /// How many ports of the first host have failed the scout.
    dead_ports: usize,
    is_datagram: bool,
    sources: Option<Sources>,
    /// For hosts on loopback, where no sources are named.
    spread: Option<Sources>,
    /// Dials so far, and those of the parts of the load before this one: so they do not all begin with the same port.
    dials: u64,
    /// The dials of those.
    dealt_before: u64,
}

impl Route {
    /// To the first of these addresses, from the sources that the options name.
    pub(super) fn new(options: &BenchOptions, addresses: &[Address]) -> Self {
        let ports = options.endpoint.ports().map_or(1, Ports::count);
        Self {
            hosts: addresses.chunks(ports).map(<[Address]>::to_vec).collect(),
            dead_ports: 0,
            is_datagram: options.endpoint.is_datagram(),
            sources: options.sources,
            spread: options.spread,
            dials: options.dealt_before,
            dealt_before: options.dealt_before,
        }
    }

    /// Where the next dial goes to, and where from. Ports take turns, and local addresses do each time that all ports have
    /// had theirs, so that every pair of them is used.
    fn next(&mut self) -> Option<(Address, Option<IpAddr>)> {
        let places = self.hosts.front()?;
        let (round, place) = (self.dials / places.len() as u64, self.dials % places.len() as u64);
        self.dials += 1;
        let to = places[place as usize].clone();
        let sources = self.sources.or(self.spread.filter(|_| is_spreadable(&to)));
        Some((to, sources.map(|sources| sources.nth(round))))
    }
}

impl Dialer {
    /// A dialer for `asking` connections that ask and `idle` ones that only stay open.
    pub(super) fn new(route: Route, asking: u32, idle: u32) -> Self {
        Self {
            route,
            asking,
            wanted: asking + idle,
            begun: 0,
            again: Vec::new(),
            under_way: 0,
            schedule: None,
            timer_is_set: false,
            quiet_since: Moment::default(),
        }
    }

    /// The address that is dialled; of a range of ports, the one with the first of them.
    pub(super) fn address(&self) -> Option<&Address> {
        self.route.hosts.front()?.first()
    }

    /// The address and port at which the scout looks for a server, or has found one.
    pub(super) fn scouted(&self) -> Option<&Address> {
        let places = self.route.hosts.front()?;
        let first = (self.route.dealt_before % places.len() as u64) as usize;
        places.get((first + self.route.dead_ports) % places.len())
    }

    /// Has the scout go to the next port of the address. False when it has been to all of them.
    pub(super) fn try_next_port(&mut self) -> bool {
        self.begin_after(0);
        self.route.dead_ports += 1;
        self.route.dials += self.route.dead_ports as u64;
        self.route.hosts.front().is_some_and(|places| self.route.dead_ports < places.len())
    }

    /// Goes over to the next address, and begins anew. False when there is none.
    pub(super) fn try_next_address(&mut self) -> bool {
        self.route.hosts.pop_front();
        self.route.dead_ports = 0;
        self.begin_after(0);
        !self.route.hosts.is_empty()
    }

    /// Whether the port of the first connection has failed the scout, which is at a later one.
    pub(super) fn is_first_port_dead(&self) -> bool {
        self.route.dead_ports > 0
    }

    /// Begins anew, as if so many connections had been dialled.
    pub(super) fn begin_after(&mut self, begun: u32) {
        self.route.dials = self.route.dealt_before + u64::from(begun);
        self.begun = begun;
        self.under_way = 0;
    }

    /// From now on so many connections a second are dialled, of which these are dealt to this part.
    pub(super) fn keep_rate(&mut self, from: Moment, per_second: f64, deal: Deal) {
        self.schedule = Some(Schedule::new(from, per_second).dealt(deal));
    }

    /// Dials the first of all connections, alone, to see whether a server is there.
    pub(super) fn send_scout(&mut self, out: &mut Outbox<'_>) {
        self.dial_next(out);
    }

    /// Dials as many connections as may be dialled now. Where the connect rate allows no more, a timer is set.
    pub(super) fn dial_more(&mut self, out: &mut Outbox<'_>) {
        while (self.begun < self.wanted || !self.again.is_empty()) && self.under_way < AT_ONCE {
            if let Some(schedule) = &mut self.schedule {
                let due = schedule.due();
                if due > out.now() {
                    return self.wake_at(due, out);
                }
                schedule.advance();
            }
            self.dial_next(out);
        }
    }

    /// Dials a connection that carries this tag.
    pub(super) fn dial(&mut self, tag: Tag, out: &mut Outbox<'_>) {
        let Some((to, from)) = self.route.next() else { return };
        let dial = Dial { to, from, tag: tag.into() };
        if self.route.is_datagram { out.ask(dial) } else { out.connect(dial) }
    }

    /// A dial has an outcome.
    pub(super) fn note_outcome(&mut self, now: Moment) {
        self.under_way = self.under_way.saturating_sub(1);
        self.quiet_since = now;
    }

    /// Dials a connection once more, a little later.
    pub(super) fn dial_again(&mut self, tag: Tag, out: &mut Outbox<'_>) {
        self.again.push(tag);
        self.wake_at(out.now() + WAIT, out);
    }

    /// The dialer's timer has run out.
    pub(super) fn woke(&mut self) {
        self.timer_is_set = false;
    }

    /// How many dials have no outcome.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way
    }

    /// Whether none of the dials under way has had an outcome for longer than `timeout`.
    pub(super) fn is_stuck(&self, now: Moment, timeout: Duration) -> bool {
        self.under_way > 0 && self.quiet_for(now) > timeout
    }

    /// For how long no dial has had an outcome.
    pub(super) fn quiet_for(&self, now: Moment) -> Duration {
        now.since(self.quiet_since)
    }

    /// Whether every connection has been dialled and every dial has an outcome.
    pub(super) fn is_complete(&self) -> bool {
        self.begun == self.wanted && self.under_way == 0 && self.again.is_empty()
    }

    fn dial_next(&mut self, out: &mut Outbox<'_>) {
        if self.under_way == 0 {
            self.quiet_since = out.now();
        }
        let tag = self.again.pop().unwrap_or_else(|| self.next_new());
        self.under_way += 1;
        self.dial(tag, out);
    }

    fn next_new(&mut self) -> Tag {
        let index = self.begun;
        self.begun += 1;
        if index < self.asking { Tag::Asking(Visit { index, number: 0 }) } else { Tag::Idle(index - self.asking) }
    }

    /// Sets the timer, unless it is set: one timer does for all dials.
    fn wake_at(&mut self, at: Moment, out: &mut Outbox<'_>) {
        if !mem::replace(&mut self.timer_is_set, true) {
            out.wake_at(at, Wake::Dial.into());
        }
    }
}

/// Whether any address of 127.0.0.0/8 can be dialled from.
pub(in crate::bench) fn is_spreadable(to: &Address) -> bool {
    matches!(to, Address::Ip(to) if to.is_ipv4() && to.ip().is_loopback())
}

/// Whether a dial failed only for now: a Unix socket's backlog is full (connect(2), EAGAIN).
pub(super) fn is_for_now(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
