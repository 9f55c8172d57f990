//! The open loop: when the next request is due, and whose turn it is.

use std::collections::VecDeque;

use super::schedule::Schedule;

#[derive(Debug)]
pub(super) struct Turns {
    pub(super) schedule: Schedule,
    /// Askers that may be asked, whose turn comes next first.
    free: VecDeque<u32>,
    /// Nobody was free when the schedule wanted to send.
    is_held_up: bool,
}

impl Turns {
    /// All of so many connections are free.
    pub(super) fn new(schedule: Schedule, connections: u32) -> Self {
        Self { schedule, free: (0..connections).collect(), is_held_up: false }
    }

    /// Whose turn it is; if it is nobody's, the schedule waits until someone is free.
    pub(super) fn next(&mut self) -> Option<usize> {
        let next = self.free.pop_front();
        self.is_held_up = next.is_none();
        next.map(|index| index as usize)
    }

    /// Someone is free again; whether the schedule has waited for that.
    pub(super) fn add(&mut self, index: usize) -> bool {
        self.free.push_back(index as u32);
        std::mem::take(&mut self.is_held_up)
    }
}
