//! A bench for one service alone: bytes in, bytes and effects out, time by hand. No engine.

use super::outbox::Recipient;
use super::{ConnId, Effect, Effects, Input, Outbox, Peer, Service};
use crate::endpoint::Address;
use crate::error::CloseReason;
use crate::moment::Moment;
use crate::stats::Stats;

const PEER: Peer = Peer::Stream(ConnId::new(3, 1));

/// One service with one peer, treated as the engine would treat it.
pub(crate) struct Bench<S> {
    service: S,
    address: Address,
    now: Moment,
    tag: u64,
    buffered: Vec<u8>,
    scanned: usize,
    ended: bool,
    paused: bool,
    closed: bool,
    retired: bool,
    draining: bool,
    sent: Vec<u8>,
    timers: Vec<(Moment, u64)>,
    effects: Effects,
    stats: Stats,
}

/// What a datagram brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Answer(Vec<u8>),
    Silence,
}

impl Event {
    pub(crate) fn answer(text: &str) -> Self {
        Self::Answer(text.as_bytes().to_vec())
    }
}

impl<S: Service> Bench<S> {
    pub(crate) fn new(service: S) -> Self {
        Self {
            service,
            address: Address::Unix(None),
            now: Moment::default(),
            tag: 0,
            buffered: Vec::new(),
            scanned: 0,
            ended: false,
            paused: false,
            closed: false,
            retired: false,
            draining: false,
            sent: Vec::new(),
            timers: Vec::new(),
            effects: Effects::default(),
            stats: Stats::default(),
        }
    }

    pub(crate) fn open(&mut self) {
        self.call(|service, _, out| service.opened(PEER, out));
    }

    pub(crate) fn arrive(&mut self, bytes: &[u8]) {
        self.buffered.extend_from_slice(bytes);
        self.offer();
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.offer();
    }

    pub(crate) fn close(&mut self) {
        self.call(|service, _, out| service.closed(PEER, CloseReason::Peer, out));
    }

    pub(crate) fn line(&mut self, text: &[u8]) {
        self.call(|service, _, out| service.line(text, out));
    }

    pub(crate) fn lines_ended(&mut self) {
        self.call(|service, _, out| service.lines_ended(out));
    }

    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.effects.printed).into_owned()
    }

    pub(crate) fn clear_printed(&mut self) {
        self.effects.printed.clear();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    pub(crate) fn datagram(&mut self, bytes: &[u8]) -> Event {
        let (mut bytes, mut replies) = (bytes.to_vec(), Vec::new());
        let mut input = Input::datagram(&mut bytes);
        let recipient =
            Recipient { peer: Some(Peer::Datagram(0)), address: &self.address, tag: &mut self.tag, waiting: 0 };
        let mut out =
            Outbox::new(Some(recipient), 0, "test", &mut replies, &mut self.effects, &mut self.stats, self.now);
        self.service.received(Peer::Datagram(0), &mut input, &mut out);
        let (answered, in_place) = (out.answered, out.in_place.clone());
        match answered {
            true => Event::Answer([input.bytes_of(in_place), &replies].concat()),
            false => Event::Silence,
        }
    }

    /// Runs timers until none is left, each at its time.
    pub(crate) fn expire_timers(&mut self) {
        let due: Vec<_> = self.timers.iter().map(|(at, _)| *at).collect();
        let until = due.into_iter().max().unwrap_or_default();
        while self.timers.iter().any(|(at, _)| *at <= until) {
            self.expire_next_timer();
        }
    }

    pub(crate) fn expire_next_timer(&mut self) {
        let Some(next) = (0..self.timers.len()).min_by_key(|i| self.timers[*i]) else { return };
        let (at, key) = self.timers.swap_remove(next);
        self.now = self.now.max(at);
        self.call(|service, _, out| service.expired(key, out));
    }

    pub(crate) fn sent(&self) -> &[u8] {
        &self.sent
    }

    pub(crate) fn sent_text(&self) -> String {
        String::from_utf8_lossy(&self.sent).into_owned()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    fn offer(&mut self) {
        if !self.paused && !self.closed && !self.buffered.is_empty() {
            self.call(|service, input, out| service.received(PEER, input, out));
        }
    }

    fn call(&mut self, callback: impl FnOnce(&mut S, &mut Input<'_>, &mut Outbox<'_>)) {
        let mut replies = Vec::new();
        let mut input = Input::stream(&mut self.buffered, self.scanned, self.ended, 64 << 10);
        let recipient = Recipient { peer: Some(PEER), address: &self.address, tag: &mut self.tag, waiting: 0 };
        let mut out =
            Outbox::new(Some(recipient), 0, "test", &mut replies, &mut self.effects, &mut self.stats, self.now);
        callback(&mut self.service, &mut input, &mut out);
        let in_place = out.in_place;
        self.sent.extend_from_slice(input.bytes_of(in_place));
        self.sent.extend_from_slice(&replies);
        let progress = input.progress();
        self.buffered.drain(..progress.taken);
        self.scanned = progress.scanned;
        self.settle();
    }

    fn settle(&mut self) {
        for (_, effect) in std::mem::take(&mut self.effects.list) {
            match effect {
                Effect::Pause(_) => self.paused = true,
                Effect::Resume(_) => {
                    self.paused = false;
                    self.offer();
                }
                Effect::Close(_) => self.closed = true,
                Effect::After { at, key, .. } => self.timers.push((at, key)),
                Effect::Send(_, range) => self.sent.extend_from_slice(&self.effects.bytes[range]),
                Effect::Retire => self.retired = true,
                Effect::Drain => self.draining = true,
                Effect::FinishSending(_) | Effect::Connect(_) | Effect::Ask(_) | Effect::Stop => {}
            }
        }
    }
}
