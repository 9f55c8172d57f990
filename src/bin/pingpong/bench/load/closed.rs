//! The closed loop: a connection asks again when it has an answer, and keeps a fixed number of requests unanswered.

use pingpong::service::Outbox;

use super::wake::Due;
use super::{Load, Pace};

/// Connections that send their first requests together. The others follow in the next turns, so that the first answers
/// are not kept waiting.
const BEGUN_AT_ONCE: usize = 8;

/// Requests that one connection sends together.
const ASKED_AT_ONCE: usize = 64;

impl Load {
    /// Has the next few connections send their first requests.
    pub(super) fn begin_some(&mut self, out: &mut Outbox<'_>) {
        let Pace::Closed { begun, .. } = self.pace else { return };
        let end = (begun + BEGUN_AT_ONCE).min(self.connections.len());
        let unfinished = (begun..end).find(|index| !self.top_up(*index, out));
        if let Pace::Closed { begun, .. } = &mut self.pace {
            *begun = unfinished.unwrap_or(end);
            if *begun < self.connections.len() {
                out.wake_at(out.now(), self.wake(Due::Begin));
            }
        }
    }

    /// Has a connection ask until enough of its requests are unanswered, or it has no room, or it has sent many. Returns
    /// whether that was all it could send now.
    pub(super) fn top_up(&mut self, index: usize, out: &mut Outbox<'_>) -> bool {
        let Pace::Closed { depth, .. } = self.pace else { return true };
        for _ in 0..ASKED_AT_ONCE {
            let connection = &self.connections[index];
            let may_ask = connection.can_ask(self.lifetime, out) && connection.pending.unanswered() < depth as usize;
            if !may_ask || !self.may_send(out.now()) {
                return true;
            }
            self.ask(index, out.now(), out);
        }
        false
    }
}
