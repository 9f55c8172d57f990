//! Datagrams: received in batches, answered at once.
//!
//! `screen` says which may be answered; `socket` has how the answers leave, and what waits for room. One bad datagram,
//! or one destination that cannot be reached, is never more than a count.

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
use super::net::{Batch, Net};
use super::timers::Due;
use super::{Clock, Engine, SELDOM, ServiceId};
use crate::endpoint::Address;
use crate::moment::Moment;
use crate::service::{Input, Outbox, Peer, Recipient, Service};

use screen::Silence;
pub(super) use socket::{Asks, DatagramSocket};

/// Receives per socket and turn; each takes a whole batch.
const RECEIVES: usize = 4;

/// How soon a socket whose receives fail is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The datagram sockets, and what they share.
#[derive(Debug)]
pub(super) struct Datagrams<D> {
    /// In slots that are not used again while the engine runs: closing them is the last thing it does.
    sockets: Slab<DatagramSocket<D>>,
    /// Sockets that may have something to read.
    arrived: VecDeque<u32>,
    batch: Batch,
    budget: Option<Budget>,
    /// When it was last logged that a source is over its budget.
    warned: Option<Moment>,
    /// When it was last logged that receives fail.
    warned_of_failures: Option<Moment>,
}

impl<D> Datagrams<D> {
    pub(super) fn new(budget: Option<NonZeroU32>, seed: u64) -> Self {
        Self {
            sockets: Slab::new(),
            arrived: VecDeque::new(),
            batch: Batch::new(),
            budget: budget.map(|rate| Budget::new(rate, seed)),
            warned: None,
            warned_of_failures: None,
        }
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut DatagramSocket<D>> {
        self.sockets.get_mut(number as usize)
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &D> {
        self.sockets.iter().map(|(_, socket)| &socket.socket)
    }

    /// Whether there are sockets that questions come to.
    pub(super) fn serve(&self) -> bool {
        self.sockets.iter().any(|(_, socket)| socket.asks.is_none())
    }

    pub(super) fn are_idle(&self) -> bool {
        self.sockets.iter().all(|(_, socket)| socket.is_idle())
    }

    /// Whether any socket may have something to read.
    pub(super) fn has_arrivals(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// A socket that rests because its receives failed is tried once more.
    pub(super) fn retry(&mut self, number: u32) {
        if let Some(socket) = self.sockets.get_mut(number as usize) {
            socket.failures -= 1;
            socket.note_arrival(&mut self.arrived);
        }
    }

    /// Every socket is to be read from, whatever events have said.
    pub(super) fn expect_arrivals(&mut self) {
        for (_, socket) in &mut self.sockets {
            socket.note_arrival(&mut self.arrived);
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
        let slot = self.datagrams.sockets.vacant_entry();
        let number = u32::try_from(slot.key()).expect("descriptors are fewer than 2^32");
        self.net.register_datagram(&mut socket, number)?;
        slot.insert(DatagramSocket::new(socket, number, service, local, asks));
        Ok(number)
    }

    /// An event for a datagram socket.
    pub(super) fn datagram_ready(&mut self, number: u32, readable: bool, writable: bool) {
        let is_open = self.is_running();
        let Self { net, datagrams: Datagrams { sockets, arrived, .. }, turn, .. } = self;
        let Some(socket) = sockets.get_mut(number as usize) else { return };
        if readable && is_open {
            socket.note_arrival(arrived);
        }
        if writable {
            socket.send_queued(net, &mut turn.stats);
        }
    }

    /// Receives and answers what waits, a bounded number from each socket.
    pub(super) fn receive_pending(&mut self, clock: Clock<'_>) {
        for count in 1..=self.datagrams.arrived.len() {
            let Some(number) = self.datagrams.arrived.pop_front() else { return };
            let more = self.receive(number, clock);
            let Datagrams { sockets, arrived, .. } = &mut self.datagrams;
            if let Some(socket) = sockets.get_mut(number as usize) {
                socket.readable = false;
                if more {
                    socket.note_arrival(arrived);
                }
            }
            self.run_overdue(count, clock);
        }
    }

    /// Receives from one socket, a bounded number of times; whether more may wait.
    fn receive(&mut self, number: u32, clock: Clock<'_>) -> bool {
        for _ in 0..RECEIVES {
            let Self { net, datagrams: Datagrams { sockets, batch, .. }, turn, exact, .. } = self;
            let Some(socket) = sockets.get_mut(number as usize).filter(|socket| !socket.rests()) else { return false };
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
                self.serve_datagram(number, slot);
                self.settle();
            }
            if !more {
                return false;
            }
        }
        true
    }

    /// A receive has failed: with an error that an earlier send left on the socket, which has taken it off, or because
    /// something forbids the call (a seccomp filter, say). In that case the socket rests, or else it would keep the loop
    /// busy. EINTR is no failure that an asker should hear of.
    fn note_failure(&mut self, number: u32, error: io::Error) {
        let Self { services, datagrams, timers, turn, .. } = self;
        let Some(socket) = datagrams.sockets.get_mut(number as usize) else { return };
        socket.failures += 1;
        if socket.rests() {
            timers.set(turn.now + RETRY, Due::Receive(number));
            if datagrams.warned_of_failures.is_none_or(|warned| turn.now >= warned + SELDOM) {
                datagrams.warned_of_failures = Some(turn.now);
                let name = &services.0[socket.service.index()].name;
                log::warn!("{name}: cannot receive datagrams: {error}; trying again every {RETRY:?}");
            }
        }
        if error.kind() != Interrupted {
            self.tell_asker(number, error);
            self.settle();
        }
    }

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

    /// Has a datagram answered; whether there was an answer.
    fn answer_datagram(&mut self, number: u32, slot: usize) -> bool {
        let Self { net, services, datagrams: Datagrams { sockets, batch, .. }, output, turn, .. } = self;
        let socket = &mut sockets[number as usize];
        let (arrival, bytes) = batch.datagram(slot);
        let (service, caller) = services.caller(socket.service);
        let peer = Peer::Datagram(number);
        let mut input = Input::datagram(bytes);
        let (asked, mut none) = (socket.asks.as_ref().map(|asks| asks.to.clone()), 0);
        let address = asked.as_deref().unwrap_or(&arrival.source);
        let tag = socket.asks.as_mut().map_or(&mut none, |asks| &mut asks.tag);
        let recipient = Recipient { peer: Some(peer), address, tag, waiting: 0 };
        let mut out = Outbox::new(caller, Some(recipient), turn, output);
        service.received(peer, &mut input, &mut out);
        let answer = out.into_answer();
        if answer.is_given {
            let bytes = answer.join(input.bytes(), &mut output.replies);
            if let Err(error) = socket.dispatch(net, bytes, address, arrival.local, &mut turn.stats) {
                turn.stats.dropped += u64::from(asked.is_none());
                self.tell_asker(number, error);
            }
        }
        answer.is_given
    }

    /// Counts what is lost when the datagram sockets close now, and closes them.
    pub(super) fn close_datagrams(&mut self, only_idle: bool) {
        let Self { net, datagrams: Datagrams { sockets, .. }, turn, .. } = self;
        let closes = |socket: &DatagramSocket<N::Datagram>| !only_idle || socket.is_idle();
        let closing = || sockets.iter().map(|(_, socket)| socket).filter(|socket| closes(socket));
        turn.stats.dropped += closing().map(|socket| socket.queued() as u64).sum::<u64>();
        turn.stats.dropped += net.kernel_drops(closing().map(|socket| &socket.socket));
        sockets.retain(|_, socket| !closes(socket));
    }
}
