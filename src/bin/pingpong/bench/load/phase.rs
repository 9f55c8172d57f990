//! How a phase begins: requests are sent, and, when what came before has settled, they count.

use std::time::Duration;

use pingpong::Moment;
use pingpong::service::Outbox;

use super::deal::Deal;
use super::open::{self, Turns};
use super::pending::Carried;
use super::schedule::Schedule;
use super::wake::{Due, Wake};
use super::{Lifetime, Load, NEVER, Pace, Stage};
use crate::bench::options::{Extent, Phase};
use crate::bench::rate::Arrivals;
use crate::error::Error;

/// Phases are told apart by so many bits of their number.
const NUMBERS: u32 = 1 << 31;

impl Load {
    /// Goes through another phase on the connections that there are, with fresh counters. The one before is over: none of
    /// its requests is waited for any more, and none of them is counted in this one.
    pub(in crate::bench) fn go_on(&mut self, phase: Phase, out: &mut Outbox<'_>) {
        debug_assert!(self.stage == Stage::Resting, "a phase ends before the next one begins");
        self.phase = phase;
        self.begin_phase(out.now(), out);
    }

    /// Every dial has had its outcome. When that was, only the next look at the clock tells: datagram sockets are all made
    /// within one.
    pub(super) fn rest(&mut self, out: &mut Outbox<'_>) {
        if self.stage != Stage::Connecting || self.probing.as_ref().is_some_and(|probing| probing.is_undecided()) {
            return;
        }
        self.enter(Stage::Waiting);
        out.wake_at(out.now(), Wake::Made.into());
    }

    /// All connections are made: the first phase begins, now or at the moment that is asked for. Where that is over, the run
    /// is.
    pub(super) fn made(&mut self, out: &mut Outbox<'_>) {
        // The answer to the scout's request is not waited for.
        self.connections[0].pending.give_up(out.now(), Duration::ZERO, |_| {});
        let now = out.now();
        self.ledger.made(now);
        match self.start {
            None => self.begin_phase(now, out),
            Some(start) if start < now => {
                self.unreachable = Some(Error::Late { by: now.since(start) });
                out.stop();
            }
            Some(start) => out.wake_at(start, Wake::Start.into()),
        }
    }

    /// The moment to begin at has come. The timer may be a little late; the schedule is not.
    pub(super) fn start_now(&mut self, out: &mut Outbox<'_>) {
        if let (Stage::Waiting, Some(start)) = (self.stage, self.start) {
            self.begin_phase(start, out);
        }
    }

    /// Requests are sent from this moment on, which is now.
    fn begin_phase(&mut self, start: Moment, out: &mut Outbox<'_>) {
        self.enter(Stage::Asking);
        self.phases = (self.phases + 1) % NUMBERS;
        let from = start + self.phase.warmup;
        let until = match self.phase.extent {
            Extent::Duration(duration) => Some(from + duration),
            Extent::Requests(_) => None,
        };
        self.left = match self.phase.extent {
            Extent::Duration(_) => u64::MAX,
            Extent::Requests(requests) => requests,
        };
        self.until = until.unwrap_or(NEVER);
        self.ledger.measure(&self.phase, start, from, until);
        self.pace = self.pace_from(start);
        self.is_settling = true;
        out.wake_at(from, self.wake(Due::Measure));
        self.begin_measuring_if_due(start);
        self.start_heartbeats(from, out);
        self.start_probing(from, out);
        if let Some(until) = until {
            out.wake_at(until, self.wake(Due::End));
        }
        let first = if let Pace::Open(_) = self.pace { Due::Send } else { Due::Begin };
        out.wake_at(start, self.wake(first));
        if self.present == 0 && self.lifetime == Lifetime::WholeRun {
            // While it waited, if not before; its timer may be late.
            self.gone.get_or_insert(start);
            self.server_gone(out);
        }
    }

    /// What makes connections ask from now on.
    fn pace_from(&mut self, start: Moment) -> Pace {
        if self.phase.rate.is_none() {
            let depth = if self.lifetime == Lifetime::OneRequest { 1 } else { self.options.pipeline };
            return Pace::Closed { depth, begun: 0 };
        }
        let (window, is_by_order) = match self.lifetime {
            Lifetime::WholeRun => {
                (open::window(self.options.connections, self.messages.longest()), self.messages.are_by_order())
            }
            Lifetime::OneRequest => (1, false),
        };
        let mut turns = Turns::new(self.schedule_from(start), window, is_by_order);
        turns.queue_up(&mut self.connections);
        Pace::Open(turns)
    }

    /// When requests are due. Of an even schedule a part has some events of the whole's; at random it has a schedule of its
    /// own.
    fn schedule_from(&self, start: Moment) -> Schedule {
        let part = self.options.part;
        let phase = if self.phase.arrivals == Arrivals::Even { self.phase.undivided() } else { self.phase };
        let rate = phase.rate.expect("only the open loop has a schedule");
        let seconds = phase.expected().unwrap_or_default().as_secs_f64();
        let arrivals = phase.arrivals.of_part(part);
        Schedule::of(rate, arrivals, start, start + phase.warmup, seconds).dealt(Deal::to(part))
    }

    /// Ends the warm-up when its time is over, be its timer late.
    pub(super) fn begin_measuring_if_due(&mut self, now: Moment) {
        if self.is_settling && now >= self.ledger.from() {
            self.is_settling = false;
            self.begin_measuring();
        }
    }

    /// The warm-up is over: requests that it leaves unanswered count from now on, unless a number was asked for. What it has
    /// not sent is not sent any more, or a rate that is too high would have the measured time spent on that.
    fn begin_measuring(&mut self) {
        let Self { connections, ledger, pace, phase, .. } = self;
        if let Pace::Open(turns) = pace {
            turns.schedule.skip(ledger.from(), ledger.from());
        }
        for connection in connections {
            connection.begin_measuring();
            if let Extent::Duration(_) = phase.extent {
                let Carried { awaited, lapsed } = connection.pending.carry_over(ledger.warm_up(), ledger.from());
                ledger.carry_over(awaited, lapsed);
            }
        }
    }

    /// The key of a timer of this phase.
    pub(super) fn wake(&self, due: Due) -> u64 {
        Wake::Phase(self.phases, due).into()
    }
}
