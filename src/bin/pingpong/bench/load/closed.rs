//! The closed loop: a connection asks again when it has an answer, and keeps a fixed number of requests unanswered.

use pingpong::service::Outbox;

use super::wake::Wake;
use super::{Load, Pace};

/// Connections that send their first request together. The others follow in the next turns, so that the first answers
/// are not kept waiting.
const BEGUN_AT_ONCE: usize = 8;

impl Load {
    /// Has the next few connections send their first requests.
    pub(super) fn begin_some(&mut self, out: &mut Outbox<'_>) {
        let Pace::Closed { begun, .. } = &mut self.pace else { return };
        let first = *begun;
        let end = (first + BEGUN_AT_ONCE).min(self.connections.len());
        *begun = end;
        for index in first..end {
            self.top_up(index, out);
        }
        if end < self.connections.len() {
            out.wake_at(out.now(), Wake::Begin.into());
        }
    }

    /// Has a connection ask until enough of its requests are unanswered.
    pub(super) fn top_up(&mut self, index: usize, out: &mut Outbox<'_>) {
        let Pace::Closed { depth, .. } = self.pace else { return };
        loop {
            let connection = &self.connections[index];
            let has_room = connection.is_ready(self.lifetime) && connection.pending.awaited() < depth;
            if !has_room || !self.may_send(out.now()) {
                return;
            }
            self.ask(index, out.now(), out);
        }
    }
}
