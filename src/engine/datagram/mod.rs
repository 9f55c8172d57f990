//! Datagrams: received in batches, answered at once.
//!
//! A bad datagram, or a destination that cannot be reached, is counted and never ends anything.
//!
//! - `screen`: which datagrams may be answered
//! - `run`: answers that leave in one call
//! - `socket`: one socket, and how it learns that there is room again; `queue`: the datagrams that wait for that
//!
//! `Engine::dispatch` notes events of a socket here, and has `receive_pending` called once a turn; `dial` adds sockets
//! to ask from, `drain` closes them all.

mod queue;
mod run;
mod screen;
mod socket;

use std::collections::VecDeque;
use std::io::{
    self,
    ErrorKind::{Interrupted, WouldBlock},
};
use std::num::NonZeroU32;
use std::time::Duration;

use slab::Slab;

use super::budget::Budget;
use super::net::{BATCH, Batch, Net};
use super::seldom::Seldom;
use super::timers::Due;
use super::{Clock, Engine, ServiceId};
use crate::endpoint::Address;
use crate::service::{Input, Outbox, Peer, PeerAddress, Recipient, Service};

use run::Run;
pub(super) use run::Way;
use screen::Silence;
pub(super) use socket::{Asks, DatagramSocket};

/// Batches received from one socket in one turn. A socket with more stays ready for the next turn, so that it does not
/// hold up the other sources.
const RECEIVES_PER_TURN: usize = 4;

/// Batches received from one socket in a drain: what a full receive buffer of 8 MiB holds. A datagram takes at least
/// 768 bytes of it.
const RECEIVES_PER_DRAIN: usize = (8 << 20) / 768 / BATCH + 1;

/// How soon a socket whose receives fail is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The datagram sockets, and what they share.
#[derive(Debug)]
pub(super) struct Datagrams<D> {
    /// By number. The number of an asking socket that was closed is reused, in a later turn: what is left of the first,
    /// an event or a timer, then at most has the second read in vain.
    sockets: Slab<DatagramSocket<D>>,
    /// The ports of those that serve, sorted: each datagram is compared with them, and there may be thousands.
    served_ports: Vec<u16>,
    /// The numbers of the sockets that may have something to read.
    ready: VecDeque<u32>,
    /// The numbers of asking sockets that their services have closed in this turn.
    left: Vec<u32>,
    batch: Batch,
    /// Datagrams that have not been sent yet, because others follow: answers to the batch, or questions of one callback.
    run: Run,
    /// Answers leave one by one.
    singly: bool,
    budget: Option<Budget>,
    /// When the last warning about a source over its budget was logged.
    warned: Seldom,
    /// When it was last logged that receives fail.
    warned_of_failures: Seldom,
}

impl<D> Datagrams<D> {
    pub(super) fn new(budget: Option<NonZeroU32>, seed: u64) -> Self {
        Self {
            sockets: Slab::new(),
            served_ports: Vec::new(),
            ready: VecDeque::new(),
            left: Vec::new(),
            batch: Batch::new(),
            run: Run::new(),
            singly: false,
            budget: budget.map(|rate| Budget::new(rate, seed)),
            warned: Seldom::default(),
            warned_of_failures: Seldom::default(),
        }
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut DatagramSocket<D>> {
        self.sockets.get_mut(number as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &DatagramSocket<D>> {
        self.sockets.iter().map(|(_, socket)| socket)
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &D> {
        self.sockets.iter().map(|(_, socket)| &socket.socket)
    }

    /// Whether any socket serves, rather than asks.
    pub(super) fn has_serving_sockets(&self) -> bool {
        self.sockets.iter().any(|(_, socket)| socket.asks.is_none())
    }

    /// Whether nothing is left to read from, or to send on, any socket.
    pub(super) fn are_idle(&self) -> bool {
        self.sockets.iter().all(|(_, socket)| socket.is_idle())
    }

    /// Whether any socket may have something to read.
    pub(super) fn has_arrivals(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Has a socket that rests because its receives failed tried once more.
    pub(super) fn retry(&mut self, number: u32) {
        if let Some(socket) = self.sockets.get_mut(number as usize).filter(|socket| socket.rests()) {
            socket.failures -= 1;
            socket.note_arrival(&mut self.ready);
        }
    }

    /// Has an asking socket closed at the end of the turn. From now on it neither receives nor sends.
    pub(super) fn leave_asking(&mut self, number: u32) {
        if let Some(socket) = self.sockets.get_mut(number as usize).filter(|socket| socket.asks.is_some()) {
            socket.is_left = true;
            self.left.push(number);
        }
    }

    /// Keeps a question back, behind those that are kept back already. Returns false where it cannot follow them.
    pub(super) fn append_to_run(&mut self, number: u32, question: &[u8], to: &Address) -> bool {
        self.run.append(number, question, Way { to, from: None })
    }

    /// Keeps a question back, where none is. Returns false where its socket sends no runs.
    pub(super) fn begin_run(&mut self, number: u32, question: &[u8], to: &Address) -> bool {
        let begins = !self.singly
            && self.sockets.get(number as usize).is_some_and(|socket| socket.sends_in_runs(question.len()));
        if begins {
            self.run.begin(number, question, Way { to, from: None });
        }
        begins
    }

    /// Begins to drain: every socket is read once more, though no event said so, but no longer than a full receive
    /// buffer lasts.
    pub(super) fn drain(&mut self) {
        for (_, socket) in &mut self.sockets {
            socket.receives_left = RECEIVES_PER_DRAIN;
            socket.note_arrival(&mut self.ready);
        }
    }
}

impl<S: Service, N: Net> Engine<S, N> {
    /// Adds a serving datagram socket, bound to `local`, whose datagrams `service` gets. Fails where
    /// [`Net::register_datagram`] does.
    pub fn bind(&mut self, service: ServiceId, socket: N::Datagram, local: Address) -> io::Result<()> {
        let number = self.add_datagram(service, socket, local, None)?;
        let Datagrams { sockets, served_ports, .. } = &mut self.datagrams;
        if let Some(port) = sockets.get(number as usize).and_then(DatagramSocket::port)
            && let Err(place) = served_ports.binary_search(&port)
        {
            served_ports.insert(place, port);
        }
        Ok(())
    }

    pub(super) fn add_datagram(
        &mut self,
        service: ServiceId,
        mut socket: N::Datagram,
        local: Address,
        asks: Option<Asks>,
    ) -> io::Result<u32> {
        let slot = self.datagrams.sockets.vacant_entry();
        let number = u32::try_from(slot.key()).expect("descriptors are fewer than 2^32");
        self.net.register_datagram(&mut socket, number)?;
        slot.insert(DatagramSocket::new(socket, number, service, local, asks));
        Ok(number)
    }

    /// Sends each answer in a call of its own from now on. Otherwise consecutive ones to one peer leave in one call, where
    /// kernel and interface allow (UDP_SEGMENT, udp(7)).
    pub fn send_datagrams_singly(&mut self) {
        self.datagrams.singly = true;
    }

    /// Notes an event of a datagram socket: queues it for reading, sends what waits for room.
    pub(super) fn datagram_ready(&mut self, number: u32, readable: bool, writable: bool) {
        let is_open = self.is_running();
        let Self { net, datagrams: Datagrams { sockets, ready, .. }, turn, .. } = self;
        let Some(socket) = sockets.get_mut(number as usize) else { return };
        if readable && is_open {
            socket.note_arrival(ready);
        }
        if writable {
            socket.send_queued(net, &mut turn.stats);
            turn.unsent.note_datagrams(number, socket.queued() > 0);
        }
    }

    /// Has a socket send again what its receivers had no room for.
    pub(super) fn resend(&mut self, number: u32) {
        let Self { net, datagrams, turn, .. } = self;
        if let Some(socket) = datagrams.get_mut(number) {
            socket.retry(net, &mut turn.stats);
        }
        self.set_retry(number);
    }

    /// Sets the timer that a socket asks for, if it asks for one.
    fn set_retry(&mut self, number: u32) {
        if let Some(after) = self.datagrams.get_mut(number).and_then(DatagramSocket::take_retry) {
            self.timers.set(self.turn.now + after, Due::Resend(number));
        }
    }

    /// Receives and answers what waits, a bounded number from each socket.
    pub(super) fn receive_pending(&mut self, clock: Clock<'_>) {
        for count in 1..=self.datagrams.ready.len() {
            let Some(number) = self.datagrams.ready.pop_front() else { return };
            let more = self.receive(number, clock);
            let Datagrams { sockets, ready, .. } = &mut self.datagrams;
            if let Some(socket) = sockets.get_mut(number as usize) {
                socket.readable = false;
                if more {
                    socket.note_arrival(ready);
                }
            }
            self.run_overdue(count, clock);
        }
    }

    /// Receives from one socket, up to [`RECEIVES_PER_TURN`] batches. Returns whether more may wait.
    fn receive(&mut self, number: u32, clock: Clock<'_>) -> bool {
        for _ in 0..RECEIVES_PER_TURN {
            let Self { net, datagrams: Datagrams { sockets, batch, .. }, turn, exact, .. } = self;
            let Some(socket) =
                sockets.get_mut(number as usize).filter(|socket| socket.receives_left > 0 && socket.is_received_from())
            else {
                return false;
            };
            socket.receives_left -= 1;
            batch.clear();
            let more = match net.receive(&mut socket.socket, batch) {
                Ok(more) => more,
                Err(error) if error.kind() == WouldBlock => false,
                Err(error) => {
                    self.note_failure(number, error);
                    continue;
                }
            };
            socket.failures = 0;
            if *exact {
                turn.now = clock();
            }
            for slot in 0..self.datagrams.batch.len() {
                if self.datagrams.get_mut(number).is_some_and(|socket| socket.is_left) {
                    return false;
                }
                self.serve_datagram(number, slot);
                self.settle();
            }
            self.send_run();
            self.settle();
            self.set_retry(number);
            if !more {
                return false;
            }
        }
        true
    }

    /// A receive has failed: with an error that an earlier send left on the socket (udp(7): ICMP), which reporting it has
    /// cleared, or because something forbids the call (a seccomp filter, say). In that case the socket rests, or else it
    /// would keep the loop busy. EINTR is no failure that an asker should hear of.
    fn note_failure(&mut self, number: u32, error: io::Error) {
        let Self { services, datagrams, timers, turn, .. } = self;
        let Some(socket) = datagrams.sockets.get_mut(number as usize) else { return };
        socket.failures += 1;
        if socket.rests() {
            timers.set(turn.now + RETRY, Due::Receive(number));
            if datagrams.warned_of_failures.may(turn.now) {
                let name = &services.0[socket.service.index()].name;
                log::warn!("{name}: cannot receive datagrams: {error}; trying again every {RETRY:?}");
            }
        }
        if error.kind() != Interrupted {
            self.tell_asker(number, error);
            self.settle();
        }
    }

    /// Has one datagram of the batch screened and, if it may be, answered.
    fn serve_datagram(&mut self, number: u32, slot: usize) {
        let Self { services, datagrams, turn, .. } = self;
        turn.stats.datagrams_in += 1;
        let service = datagrams.sockets[number as usize].service;
        let is_harmless = |bytes: &[u8]| services.caller(service).0.is_harmless(bytes);
        match datagrams.screen(number, slot, is_harmless, turn.now) {
            Ok(charged) => {
                if self.answer_datagram(number, slot)
                    && let (Some(budget), Some(source)) = (&mut self.datagrams.budget, charged)
                {
                    budget.charge(source, self.turn.now);
                }
            }
            Err(Silence::Loop) => turn.stats.loops += 1,
            Err(Silence::Budget) => turn.stats.over_budget += 1,
            Err(Silence::Nowhere) => turn.stats.dropped += 1,
        }
    }

    /// Gives one datagram of the batch to its service and sends the answer. Returns whether there was one.
    fn answer_datagram(&mut self, number: u32, slot: usize) -> bool {
        let Self { net, services, datagrams: Datagrams { sockets, batch, run, singly, .. }, output, turn, .. } = self;
        let socket = &mut sockets[number as usize];
        let is_followed = !*singly && socket.sends_in_runs(1) && batch.is_followed(slot);
        let (arrival, bytes) = batch.datagram(slot);
        let (service, caller) = services.caller(socket.service);
        let peer = Peer::Datagram(number);
        let mut input = Input::datagram(bytes);
        let (asked, mut none) = (socket.asks.as_ref().map(|asks| asks.to.clone()), 0);
        let address = asked.as_deref().unwrap_or(&arrival.source);
        let tag = socket.asks.as_mut().map_or(&mut none, |asks| &mut asks.tag);
        let recipient = Recipient { peer: Some(peer), address: PeerAddress::Whole(address), tag, waiting: 0 };
        let mut out = Outbox::new(caller, Some(recipient), turn, output);
        service.received(peer, &mut input, &mut out);
        let answer = out.into_answer();
        if answer.is_given {
            let bytes = answer.join(input.bytes(), &mut output.replies);
            let way = Way { to: address, from: arrival.local };
            if run.is_empty() && !is_followed {
                if let Err(error) = socket.send_or_queue(net, bytes, way, &mut turn.stats) {
                    self.note_unsent(number, error);
                }
            } else {
                let errors = socket.keep_or_send(net, run, bytes, way, is_followed, &mut turn.stats);
                errors.into_iter().for_each(|error| self.note_unsent(number, error));
            }
        }
        answer.is_given
    }

    /// Sends the datagrams that have been kept back.
    #[inline]
    pub(super) fn send_run(&mut self) {
        if !self.datagrams.run.is_empty() {
            self.end_run();
        }
    }

    fn end_run(&mut self) {
        let Self { net, datagrams: Datagrams { sockets, run, .. }, turn, .. } = self;
        let number = run.socket();
        let Some(socket) = sockets.get_mut(number as usize) else { return run.clear() };
        let errors = socket.send_run(net, run, &mut turn.stats);
        run.clear();
        if socket.asks.is_some() && socket.queued() > 0 {
            turn.unsent.note_datagrams(number, true);
        }
        errors.into_iter().for_each(|error| self.note_unsent(number, error));
    }

    /// Counts an answer of a serving socket that could not be sent; tells the service of an asking one.
    #[cold]
    fn note_unsent(&mut self, number: u32, error: io::Error) {
        let is_serving = self.datagrams.get_mut(number).is_some_and(|socket| socket.asks.is_none());
        self.turn.stats.dropped += u64::from(is_serving);
        self.tell_asker(number, error);
    }

    /// Closes the asking sockets that their services have closed in this turn. What the kernel has dropped there is not
    /// counted: to ask it takes milliseconds where there are a thousand sockets.
    pub(super) fn close_left(&mut self) {
        let Self { datagrams: Datagrams { sockets, left, .. }, turn, .. } = self;
        for number in left.drain(..) {
            if let Some(socket) = sockets.try_remove(number as usize) {
                turn.stats.dropped += socket.queued() as u64;
                turn.unsent.note_datagrams(number, false);
            }
        }
    }

    /// Closes the datagram sockets, or only the idle ones, and counts the datagrams lost with them.
    pub(super) fn close_datagrams(&mut self, only_idle: bool) {
        let Self { net, datagrams: Datagrams { sockets, .. }, turn, .. } = self;
        let closes = |socket: &DatagramSocket<N::Datagram>| !only_idle || socket.is_idle();
        let closing = || sockets.iter().map(|(_, socket)| socket).filter(|socket| closes(socket));
        turn.stats.dropped += closing().map(|socket| socket.queued() as u64).sum::<u64>();
        turn.stats.dropped += net.kernel_drops(closing().map(|socket| &socket.socket));
        sockets.retain(|_, socket| !closes(socket));
    }
}
