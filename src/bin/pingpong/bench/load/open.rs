//! The open loop: the schedule says when the next request is sent, whether or not answers came.
//!
//! Connections take turns. A connection with too many unanswered requests is left out until answers come; when that is
//! so for all of them, the schedule is held up, and what was due meanwhile is sent late and counted from when it was due.
//!
//! Where only the order of datagrams tells which request an answer belongs to, it tells for certain as long as a socket
//! has one request unanswered. Such a socket takes its turn when it has none; only where all have some is one asked again.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use pingpong::Moment;
use pingpong::service::Outbox;

use super::connection::Connection;
use super::schedule::Schedule;
use super::wake::Due;
use super::{Lifetime, Load, Pace, Stage};

/// The bytes of requests or answers that one connection may have outstanding, and the number of requests that it may have
/// in any case.
const WINDOW_BYTES: usize = 4 << 20;
const LEAST_WINDOW: usize = 16;

/// The bytes that all connections together may have outstanding.
const TOTAL_BYTES: usize = 1 << 30;

/// The memory that a request takes while it is unanswered, at the least.
const LEAST_BYTES: usize = 64;

/// Requests that one call sends at most.
const SENT_AT_ONCE: usize = 8;

/// How late what was due may still be sent after the measured time. More than that is no delay of this machine's, but a
/// load generator that is too slow, or a schedule that is held up.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// The most requests of one of so many connections that may be unanswered.
pub(super) fn window(connections: u32, longest_message: usize) -> usize {
    let bytes = longest_message.max(LEAST_BYTES);
    let share = TOTAL_BYTES / connections.max(1) as usize / bytes;
    (WINDOW_BYTES / bytes).max(LEAST_WINDOW).min(share.max(1))
}

/// When the next request is due, and which connection's turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) schedule: Schedule,
    /// The connections that may send, the next one in front.
    queue: VecDeque<u32>,
    /// No connection could send when a request was due.
    is_held_up: bool,
    /// The most requests of one connection that may be unanswered.
    window: usize,
    /// Connections queue up only when none of their requests is unanswered.
    is_by_order: bool,
    /// Then: the connection that is asked again first when all have some.
    next_busy: usize,
}

impl Turns {
    pub(super) fn new(schedule: Schedule, window: usize, is_by_order: bool) -> Self {
        Self { schedule, queue: VecDeque::new(), is_held_up: false, window, is_by_order, next_busy: 0 }
    }

    /// Whether no connection could send when a request was due.
    pub(super) fn is_held_up(&self) -> bool {
        self.is_held_up
    }

    /// Has all connections queue up that may have a turn. Those whose requests of an earlier phase still have their places
    /// may not.
    pub(super) fn queue_up(&mut self, connections: &mut [Connection]) {
        for (index, connection) in (0..).zip(connections) {
            let unanswered = connection.pending.unanswered();
            connection.is_queued = unanswered < self.window && !(self.is_by_order && unanswered > 0);
            if connection.is_queued {
                self.queue.push_back(index);
            }
        }
    }

    /// Whether what is due is later than a delay of this machine's explains.
    pub(super) fn is_behind(&self, now: Moment) -> bool {
        now.since(self.schedule.due()) > GRACE
    }

    /// Adds a connection at the end of the queue. Returns whether the schedule was held up for want of one.
    fn push(&mut self, index: usize) -> bool {
        self.queue.push_back(index as u32);
        mem::take(&mut self.is_held_up)
    }

    /// Where connections queue up only with nothing unanswered: the next one that has some, and room for more.
    fn busy_one(&mut self, connections: &[Connection], out: &Outbox<'_>) -> Option<usize> {
        if !self.is_by_order {
            return None;
        }
        let count = connections.len();
        let mut round = (self.next_busy..count).chain(0..self.next_busy);
        let index = round.find(|index| {
            let connection = &connections[*index];
            connection.can_ask(Lifetime::WholeRun, out) && connection.pending.unanswered() < self.window
        })?;
        self.next_busy = (index + 1) % count;
        Some(index)
    }
}

impl Load {
    /// Sends the requests that are due, and sets the timer for the next one.
    pub(super) fn keep_schedule(&mut self, out: &mut Outbox<'_>) {
        let now = out.now();
        // What the warm-up has not sent is not sent any more.
        self.begin_measuring_if_due(now);
        for _ in 0..SENT_AT_ONCE {
            let Pace::Open(turns) = &self.pace else { return };
            let due = turns.schedule.due();
            if due >= self.until && now < self.until {
                // The end of the time has a timer of its own: connections are to stay till then.
                return;
            }
            if !self.may_send(due) || now >= self.until && turns.is_behind(now) {
                return self.stop_asking(out);
            }
            if due > now {
                break;
            }
            // Where none may send, the next connection to be enqueued goes on from here.
            let Some(index) = self.take_turn(out) else { return };
            self.ask(index, due, out);
            self.enqueue(index, out);
        }
        if let Pace::Open(turns) = &self.pace {
            // A timer of the past would come before all others: the end, and answers that are overdue, would wait.
            out.wake_at(turns.schedule.due().max(now), self.wake(Due::Send));
        }
    }

    /// The measured time is over: the asking ends, at once or when what is due has been sent a little late.
    pub(super) fn end_of_time(&mut self, out: &mut Outbox<'_>) {
        let (now, latest) = (out.now(), self.until + GRACE);
        match &self.pace {
            Pace::Open(turns) if turns.schedule.due() < self.until && !turns.is_behind(now) && now < latest => {
                out.wake_at(latest, self.wake(Due::End));
            }
            _ => self.stop_asking(out),
        }
    }

    /// The connection that is to send the request that is due. When there is none, the schedule is held up.
    fn take_turn(&mut self, out: &Outbox<'_>) -> Option<usize> {
        let Self { pace: Pace::Open(turns), connections, lifetime, .. } = self else { return None };
        let index = loop {
            let Some(index) = turns.queue.pop_front() else { break turns.busy_one(connections, out) };
            let index = index as usize;
            connections[index].is_queued = false;
            if connections[index].can_ask(*lifetime, out) {
                break Some(index);
            }
        };
        turns.is_held_up = index.is_none();
        if index.is_some() {
            turns.schedule.advance();
        }
        index
    }

    /// Gives a connection its turn again, unless too many of its requests are unanswered.
    pub(super) fn enqueue(&mut self, index: usize, out: &mut Outbox<'_>) {
        let Pace::Open(turns) = &mut self.pace else { return };
        let Connection { pending, is_queued, .. } = &mut self.connections[index];
        let unanswered = pending.unanswered();
        if self.stage != Stage::Asking || *is_queued || unanswered >= turns.window {
            return;
        }
        let goes_on = if turns.is_by_order && unanswered > 0 {
            mem::take(&mut turns.is_held_up)
        } else {
            *is_queued = true;
            turns.push(index)
        };
        if goes_on {
            out.wake_at(out.now(), self.wake(Due::Send));
        }
    }
}
