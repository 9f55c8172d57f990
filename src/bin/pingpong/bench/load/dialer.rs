//! Who is to be connected before the start: how many, from where, how fast.

use std::collections::VecDeque;

use super::schedule::Schedule;
use super::wake::{Tag, Visit};
use crate::bench::Sources;
use pingpong::Address;
use pingpong::Moment;
use pingpong::service::{Dial, Outbox};

/// Connections being made at once: as fast as answered, without a flood of unanswered SYNs.
const AT_ONCE: u32 = 128;

#[derive(Debug)]
pub(super) struct Dialer {
    /// The addresses that have not been tried, the one that is used first.
    addresses: VecDeque<Address>,
    is_datagram: bool,
    sources: Option<Sources>,
    /// Dials so far: they take turns with the sources.
    dials: u64,
    /// Who is to be dialled: so many that ask, then so many that idle.
    asking: u32,
    wanted: u32,
    begun: u32,
    /// Those to dial once more, by the number they carry.
    again: Vec<Tag>,
    /// Dials without an outcome.
    under_way: u32,
    pace: Option<Schedule>,
    /// When something last came of a dial, or the first of those under way began.
    pub(super) progress: Moment,
}

impl Dialer {
    pub(super) fn new(
        addresses: Vec<Address>,
        is_datagram: bool,
        sources: Option<Sources>,
        asking: u32,
        idle: u32,
    ) -> Self {
        Self {
            addresses: addresses.into(),
            is_datagram,
            sources,
            dials: 0,
            asking,
            wanted: asking + idle,
            begun: 0,
            again: Vec::new(),
            under_way: 0,
            pace: None,
            progress: Moment::default(),
        }
    }

    /// Goes over to the next address; whether there is one.
    pub(super) fn try_next_address(&mut self) -> bool {
        self.addresses.pop_front();
        self.begun = 0;
        self.under_way = 0;
        !self.addresses.is_empty()
    }

    /// From now on so many a second are dialled.
    pub(super) fn keep_pace(&mut self, from: Moment, per_second: f64) {
        self.pace = Some(Schedule::new(from, per_second));
    }

    /// Dials the first of all, alone, to see whether anyone is there.
    pub(super) fn send_scout(&mut self, out: &mut Outbox<'_>) {
        self.dial_next(out);
    }

    /// Dials as many as may be dialled now; with a pace to keep, when to come back.
    pub(super) fn dial_more(&mut self, out: &mut Outbox<'_>) -> Option<Moment> {
        while (self.begun < self.wanted || !self.again.is_empty()) && self.under_way < AT_ONCE {
            if let Some(pace) = &mut self.pace {
                if pace.due() > out.now() {
                    return Some(pace.due());
                }
                pace.advance();
            }
            self.dial_next(out);
        }
        None
    }

    fn dial_next(&mut self, out: &mut Outbox<'_>) {
        if self.under_way == 0 {
            self.progress = out.now();
        }
        let tag = self.again.pop().unwrap_or_else(|| {
            let index = self.begun;
            self.begun += 1;
            if index < self.asking { Tag::Asking(Visit { index, number: 0 }) } else { Tag::Idle }
        });
        self.under_way += 1;
        self.dial(tag, out);
    }

    /// Makes a connection that carries this number.
    pub(super) fn dial(&mut self, tag: Tag, out: &mut Outbox<'_>) {
        let Some(to) = self.addresses.front().cloned() else { return };
        let from = self.sources.map(|sources| sources.nth(self.dials));
        self.dials += 1;
        let dial = Dial { to, from, tag: tag.into() };
        if self.is_datagram { out.ask(dial) } else { out.connect(dial) }
    }

    /// A dial has an outcome.
    pub(super) fn note_outcome(&mut self, now: Moment) {
        self.under_way = self.under_way.saturating_sub(1);
        self.progress = now;
    }

    /// Has a connection dialled once more, later.
    pub(super) fn dial_again(&mut self, tag: Tag) {
        self.again.push(tag);
    }

    /// Whether there are dials without an outcome.
    pub(super) fn is_waiting(&self) -> bool {
        self.under_way > 0
    }

    /// The address that is dialled.
    pub(super) fn address(&self) -> Option<&Address> {
        self.addresses.front()
    }

    /// Whether every dial has an outcome.
    pub(super) fn is_complete(&self) -> bool {
        self.begun == self.wanted && self.under_way == 0 && self.again.is_empty()
    }
}
