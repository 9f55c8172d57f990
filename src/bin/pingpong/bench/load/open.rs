//! The open loop: the schedule says when the next request is sent, whether or not answers came.
//!
//! Connections take turns. A connection with too many unanswered requests is left out until answers come; when that is
//! so for all of them, the schedule is held up, and what was due meanwhile is sent late and counted from when it was due.

use std::collections::VecDeque;
use std::mem;

use pingpong::Moment;
use pingpong::service::Outbox;

use super::connection::Connection;
use super::schedule::Schedule;
use super::wake::Wake;
use super::{Load, Pace, Stage};

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
}

impl Turns {
    pub(super) fn new(per_second: f64, window: usize) -> Self {
        let schedule = Schedule::new(Moment::default(), per_second);
        Self { schedule, queue: VecDeque::new(), is_held_up: false, window }
    }

    /// Starts the schedule, with all of this many connections in the queue.
    pub(super) fn start(&mut self, now: Moment, connections: u32) {
        self.schedule.start(now);
        self.queue = (0..connections).collect();
    }

    /// The connection whose turn it is. When there is none, the schedule is held up until one is added.
    fn next(&mut self) -> Option<usize> {
        let next = self.queue.pop_front();
        self.is_held_up = next.is_none();
        next.map(|index| index as usize)
    }

    /// Adds a connection at the end of the queue. Returns whether the schedule was held up for want of one.
    fn push(&mut self, index: usize) -> bool {
        self.queue.push_back(index as u32);
        mem::take(&mut self.is_held_up)
    }
}

impl Load {
    /// Sends the request that is due, and sets the timer for the next one.
    pub(super) fn keep_schedule(&mut self, out: &mut Outbox<'_>) {
        let Pace::Open(turns) = &self.pace else { return };
        let due = turns.schedule.due();
        if !self.may_send(due) {
            return self.stop_asking(out);
        }
        if due <= out.now() {
            // Where none may send, the next connection to be enqueued goes on from here.
            let Some(index) = self.take_turn() else { return };
            self.ask(index, due, out);
            self.enqueue(index, out);
        }
        if let Pace::Open(turns) = &self.pace {
            out.wake_at(turns.schedule.due(), Wake::Send.into());
        }
    }

    /// The connection that is to send the request that is due, if any may.
    fn take_turn(&mut self) -> Option<usize> {
        let Self { pace: Pace::Open(turns), connections, lifetime, .. } = self else { return None };
        loop {
            let index = turns.next()?;
            connections[index].is_queued = false;
            if connections[index].is_ready(*lifetime) {
                turns.schedule.advance();
                return Some(index);
            }
        }
    }

    /// Gives a connection its turn again, unless too many of its requests are unanswered.
    pub(super) fn enqueue(&mut self, index: usize, out: &mut Outbox<'_>) {
        let is_datagram = self.is_datagram();
        let Pace::Open(turns) = &mut self.pace else { return };
        let Connection { pending, is_queued, .. } = &mut self.connections[index];
        // On a stream overdue answers come before those of later requests, or never: they fill the window too.
        let unanswered = if is_datagram { pending.awaited() as usize } else { pending.len() };
        if self.stage != Stage::Asking || *is_queued || unanswered >= turns.window {
            return;
        }
        *is_queued = true;
        if turns.push(index) {
            out.wake_at(out.now(), Wake::Send.into());
        }
    }
}
