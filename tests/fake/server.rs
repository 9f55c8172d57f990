//! A server on the fake kernel: one engine, its clock, and the loop that a reactor turns around it.
//!
//! The loop sleeps where a real one would: only an event or a deadline that has passed wakes it. So a wake-up that the
//! engine forgets to ask for shows as a client that waits for ever, and a needless one as a turn too many.

use std::time::Duration;

use pingpong::engine::{Engine, Event};
use pingpong::service::{Outbox, Service, ServiceId};
use pingpong::{Address, CloseReason, Limits, Moment, Stats};

use super::{Calls, FakeNet, Kernel};

/// More turns than any test needs: a loop that takes this many spins.
const MANY: usize = 100_000;

pub struct Server<S> {
    pub kernel: Kernel,
    pub engine: Engine<S, FakeNet>,
    pub service: ServiceId,
    now: Moment,
}

/// Whether there was anything to wake the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// There was not: the loop would have slept on.
    No,
    /// There was, and it has had a turn.
    Yes,
}

impl<S: Service> Server<S> {
    /// Serves connections with the default limits.
    pub fn new(service: S) -> Self {
        Self::limited(service, |_| {})
    }

    /// Serves connections within limits.
    pub fn limited(service: S, set: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        set(&mut limits);
        let kernel = super::kernel();
        let net = FakeNet(kernel.clone());
        let listener = net.listener();
        let mut engine = Engine::new(net, limits, 7);
        let service = engine.add("fake", service);
        engine.listen(service, listener).expect("the fake kernel registers all");
        // Not 0: the process has been up for a while.
        Self { kernel, engine, service, now: Moment::from_nanos(0) + Duration::from_secs(3600) }
    }

    /// Adds a datagram socket of the service, bound to `local`: `10.0.0.1:8888` or a path. Returns its number.
    pub fn bind(&mut self, local: &str) -> usize {
        self.bind_for(self.service, local)
    }

    pub fn bind_for(&mut self, service: ServiceId, local: &str) -> usize {
        let socket = self.engine.net_mut().datagram();
        self.engine.bind(service, socket, address(local)).expect("the fake kernel registers all");
        self.kernel.borrow().datagrams.len() - 1
    }

    pub fn now(&self) -> Moment {
        self.now
    }

    /// The exact time, where that is kept.
    pub fn exact_now(&self) -> Option<Moment> {
        self.kernel.borrow().exact.map(|(now, _)| now)
    }

    /// Time is exact from now on: each look at the clock moves it on by so many nanoseconds.
    pub fn keep_exact_time(&mut self, look: u64) {
        self.kernel.borrow_mut().exact = Some((self.now, look));
        self.engine.keep_exact_time();
    }

    /// A TCP client has connected and been accepted.
    pub fn open(&mut self) -> usize {
        self.open_with_room(1 << 30)
    }

    /// A TCP client that takes `room` bytes before it has to read.
    pub fn open_with_room(&mut self, room: usize) -> usize {
        let client = self.kernel.borrow_mut().connect(false, room);
        self.settle();
        client
    }

    pub fn open_unix(&mut self, room: usize) -> usize {
        let client = self.kernel.borrow_mut().connect(true, room);
        self.settle();
        client
    }

    /// A TCP client connects; it waits in the backlog until the next turn.
    pub fn connect(&self) -> usize {
        self.kernel.borrow_mut().connect(false, 1 << 30)
    }

    pub fn says(&self, client: usize, bytes: impl AsRef<[u8]>) {
        self.kernel.borrow_mut().client_sends(client, bytes.as_ref());
    }

    pub fn finishes(&self, client: usize) {
        self.kernel.borrow_mut().client_finishes(client);
    }

    pub fn resets(&self, client: usize) {
        self.kernel.borrow_mut().client_resets(client);
    }

    /// The client reads all that has arrived.
    pub fn hears(&self, client: usize) -> String {
        String::from_utf8_lossy(&self.hears_bytes(client, usize::MAX)).into_owned()
    }

    pub fn hears_bytes(&self, client: usize, most: usize) -> Vec<u8> {
        self.kernel.borrow_mut().client_reads(client, most)
    }

    /// The client reads up to the end of the stream, which has to come without time passing.
    #[track_caller]
    pub fn hears_out(&mut self, client: usize) -> String {
        let mut heard = Vec::new();
        for _ in 0..MANY {
            self.settle();
            let bytes = self.hears_bytes(client, usize::MAX);
            if bytes.is_empty() {
                assert!(self.kernel.borrow().client_sees_end(client), "no end after {}", heard.escape_ascii());
                assert!(!self.kernel.borrow().connections[client].client_was_reset, "reset instead of an end");
                return String::from_utf8_lossy(&heard).into_owned();
            }
            heard.extend(bytes);
        }
        panic!("it sends for ever");
    }

    /// The client sends, and reads what comes back without time passing.
    pub fn asks(&mut self, client: usize, bytes: impl AsRef<[u8]>) -> String {
        self.says(client, bytes);
        self.settle();
        self.hears(client)
    }

    pub fn is_closed(&self, client: usize) -> bool {
        self.kernel.borrow().connections[client].server_closed
    }

    pub fn calls(&self) -> Calls {
        self.kernel.borrow().calls
    }

    pub fn stats(&mut self) -> Stats {
        self.engine.stats()
    }

    /// Runs something on the service between two turns, as an embedder does.
    pub fn with<T>(&mut self, run: impl FnOnce(&mut S, &mut Outbox<'_>) -> T) -> T {
        self.engine.with(self.service, self.now, run)
    }

    /// Looks at the service.
    pub fn look<T>(&mut self, look: impl FnOnce(&mut S) -> T) -> T {
        self.with(|service, _| look(service))
    }

    /// A line for the service, from its console or its embedder.
    pub fn line(&mut self, text: impl AsRef<[u8]>) {
        self.lines([text]);
    }

    /// Lines that the service is given in one turn.
    pub fn lines(&mut self, lines: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        let service = self.service;
        let events = lines.into_iter().map(|line| Event::Line(service, line.as_ref().to_vec())).collect();
        self.dispatch(events);
        self.settle();
    }

    /// The service is told that there are no more lines.
    pub fn lines_ended(&mut self) {
        self.dispatch(vec![Event::LinesEnded(self.service)]);
        self.settle();
    }

    /// What services have printed since the last call.
    pub fn printed(&mut self) -> Vec<u8> {
        let mut printed = Vec::new();
        self.engine.take_printed(&mut printed);
        printed
    }

    /// One turn of the loop, if anything wakes it.
    pub fn turn(&mut self) -> Wake {
        let events = self.kernel.borrow_mut().poll(|| true);
        self.turn_with(events)
    }

    pub fn turn_with(&mut self, events: Vec<Event>) -> Wake {
        if events.is_empty() && !self.is_due() {
            return Wake::No;
        }
        self.dispatch(events);
        Wake::Yes
    }

    /// One turn of the loop with these events, whether or not anything has happened.
    pub fn dispatch(&mut self, events: Vec<Event>) {
        dispatch(&mut self.engine, &self.kernel, self.now, events);
    }

    /// Turns until the loop would sleep. No time passes.
    #[track_caller]
    pub fn settle(&mut self) {
        assert!((0..MANY).any(|_| self.turn() == Wake::No), "it never comes to rest");
    }

    /// Lets time pass as it does in a loop, which each deadline on the way wakes. Returns how often the loop woke.
    #[track_caller]
    pub fn pass(&mut self, time: Duration) -> usize {
        let until = self.now + time;
        let mut turns = 0;
        while turns < MANY {
            if self.turn() == Wake::Yes {
                turns += 1;
                continue;
            }
            match self.engine.deadline() {
                Some(at) if at <= until => self.now = at,
                _ => {
                    self.now = until;
                    return turns;
                }
            }
        }
        panic!("it spins");
    }

    /// Time passes without a turn, as for a process that was stopped.
    pub fn leap(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Shuts down as a signal does: within a turn.
    pub fn shut_down(&mut self) {
        self.dispatch(vec![Event::Drain]);
    }

    /// Shuts down as an embedder may: the next turn is whenever the engine asks for one.
    pub fn shut_down_between_turns(&mut self) {
        self.with(|_, out| out.drain());
    }

    /// Whether the engine asks for a turn right now.
    pub fn is_due(&self) -> bool {
        self.engine.deadline().is_some_and(|at| at <= self.now)
    }

    /// A datagram arrives and the loop comes to rest. Returns the answer.
    pub fn datagram(&mut self, number: usize, from: &str, bytes: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.arrives(number, from, bytes);
        self.settle();
        let mut sent = std::mem::take(&mut self.kernel.borrow_mut().datagrams[number].sent);
        assert!(sent.len() <= 1, "one question, several answers");
        sent.pop().map(|(to, _, bytes)| {
            assert_eq!(to, address(from), "the answer goes to who asked");
            bytes
        })
    }

    pub fn arrives(&self, number: usize, from: &str, bytes: impl AsRef<[u8]>) {
        self.kernel.borrow_mut().datagram_arrives(number, address(from), None, bytes.as_ref());
    }

    /// Asserts that the connection has been closed, for this reason, and no other connection for the same one.
    #[track_caller]
    pub fn assert_closed(&mut self, client: usize, why: CloseReason) {
        assert!(self.is_closed(client), "it is still open: {}", self.stats());
        assert_eq!(self.stats().closes(why), 1, "{}", self.stats());
    }

    #[track_caller]
    pub fn assert_open(&mut self, client: usize) {
        assert!(!self.is_closed(client), "it has been closed: {}", self.stats());
    }
}

/// One turn of the loop. It is `now`, or what the kernel says where time is exact.
pub fn dispatch<S: Service>(engine: &mut Engine<S, FakeNet>, kernel: &Kernel, now: Moment, events: Vec<Event>) {
    engine.dispatch(events, &|| kernel.borrow_mut().tell_time().unwrap_or(now));
}

/// Reads `ip:port` as such, anything else as the path of a Unix socket, and the empty text as one without a name.
pub fn address(text: &str) -> Address {
    match text.parse() {
        Ok(ip) => Address::Ip(ip),
        Err(_) if text.is_empty() => Address::Unix(None),
        Err(_) => Address::Unix(Some(std::path::Path::new(text).into())),
    }
}
