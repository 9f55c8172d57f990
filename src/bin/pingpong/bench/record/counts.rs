//! Facts about requests and connections, and how often each came about.
//!
//! Every request that was due is in exactly one counter: it was sent, and ended as one of the seven from
//! [`Requests`](Fact::Requests) to [`Unfinished`](Fact::Unfinished), or it is [`Unsent`](Fact::Unsent). So is every
//! connection that was asked for: it failed, was lost, was left unserved, stalled, was held, was held idle, or was idle
//! and silent. So is every heartbeat that was due: it is in one of the seven from
//! [`HeartbeatsAnswered`](Fact::HeartbeatsAnswered) to [`HeartbeatsUnsent`](Fact::HeartbeatsUnsent), and every message of
//! the probe that was due, from [`ProbesAnswered`](Fact::ProbesAnswered) to [`ProbesUnsent`](Fact::ProbesUnsent). Neither
//! are among the requests.

use std::ops::{Index, IndexMut};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Requests sent.
    Sent,
    /// Answered right and in time.
    Requests,
    /// Answered with other bytes than the right ones.
    Wrong,
    /// Answered right, but after the timeout.
    Late,
    /// Not answered, neither in time nor late.
    Lost,
    /// Refused by the far host: a port without a server.
    Refused,
    /// Their connection ended before the answer.
    Broken,
    /// Not answered when the run was interrupted.
    Unfinished,
    /// Due in the open loop, or asked for with `--requests`, but never sent.
    Unsent,
    /// Sent in the warm-up and unanswered when it ended: they count from then on, among those sent. None where a number of
    /// requests was asked for.
    CarriedOver,
    /// Answers to requests that were answered before, or never sent.
    Duplicate,
    /// Answered after a later request of the same connection.
    Reordered,
    /// Connections asked for, the idle ones included.
    ConnectionsRequested,
    /// Connections made before the start.
    ConnectionsOpened,
    /// Connections that could not be made.
    ConnectionsFailed,
    /// Connections that the far side ended.
    ConnectionsLost,
    /// Connections that asked in the measured time, got no answer in it and stayed to the end.
    ConnectionsUnserved,
    /// Connections that were answered first, and at the end waited for an answer whose time was up.
    ConnectionsStalled,
    /// Connections that were answered, or had nothing to ask, and stayed to the end.
    ConnectionsHeld,
    /// Idle connections that were still open at the end, and had answered their heartbeats.
    IdleHeld,
    /// Dials that found no free local port.
    PortWaits,
    /// Datagrams that our kernel dropped because our receive buffer was full.
    KernelDrops,
    /// Heartbeats that were due.
    Heartbeats,
    /// Heartbeats answered right and in time.
    HeartbeatsAnswered,
    /// Heartbeats answered right, but after the timeout.
    HeartbeatsLate,
    /// Heartbeats answered with other bytes.
    HeartbeatsWrong,
    /// Heartbeats not answered, neither in time nor late.
    HeartbeatsLost,
    /// Heartbeats whose connection ended before the answer, or that were refused.
    HeartbeatsBroken,
    /// Heartbeats not answered when the run was interrupted.
    HeartbeatsUnfinished,
    /// Heartbeats not sent: their connection was not there, or waited for the answer to the one before, or the run ended
    /// early.
    HeartbeatsUnsent,
    /// Idle connections that were open at the end, but had left a heartbeat without a right answer in time.
    IdleSilent,
    /// Messages of the probe that were due.
    Probes,
    /// Those answered right and in time.
    ProbesAnswered,
    /// Those answered right, but after the timeout.
    ProbesLate,
    /// Those answered with other bytes.
    ProbesWrong,
    /// Those not answered, neither in time nor late.
    ProbesLost,
    /// Those whose connection ended before the answer, or that were refused.
    ProbesBroken,
    /// Those not answered when the run was interrupted.
    ProbesUnfinished,
    /// Those not sent: the connection was not there or took no more, or the run ended early.
    ProbesUnsent,
    /// Answers to them whose way is not known, for want of the kernel's stamps.
    ProbesUnstamped,
}

impl Fact {
    /// All facts in the order of their declaration, with their names in reports.
    pub(crate) const ALL: [(Self, &str); 40] = [
        (Self::Sent, "sent"),
        (Self::Requests, "requests"),
        (Self::Wrong, "wrong"),
        (Self::Late, "late"),
        (Self::Lost, "lost"),
        (Self::Refused, "refused"),
        (Self::Broken, "broken"),
        (Self::Unfinished, "unfinished"),
        (Self::Unsent, "unsent"),
        (Self::CarriedOver, "carried_over"),
        (Self::Duplicate, "duplicate"),
        (Self::Reordered, "reordered"),
        (Self::ConnectionsRequested, "connections_requested"),
        (Self::ConnectionsOpened, "connections_opened"),
        (Self::ConnectionsFailed, "connections_failed"),
        (Self::ConnectionsLost, "connections_lost"),
        (Self::ConnectionsUnserved, "connections_unserved"),
        (Self::ConnectionsStalled, "connections_stalled"),
        (Self::ConnectionsHeld, "connections_held"),
        (Self::IdleHeld, "idle_held"),
        (Self::PortWaits, "port_waits"),
        (Self::KernelDrops, "kernel_drops"),
        (Self::Heartbeats, "heartbeats"),
        (Self::HeartbeatsAnswered, "heartbeats_answered"),
        (Self::HeartbeatsLate, "heartbeats_late"),
        (Self::HeartbeatsWrong, "heartbeats_wrong"),
        (Self::HeartbeatsLost, "heartbeats_lost"),
        (Self::HeartbeatsBroken, "heartbeats_broken"),
        (Self::HeartbeatsUnfinished, "heartbeats_unfinished"),
        (Self::HeartbeatsUnsent, "heartbeats_unsent"),
        (Self::IdleSilent, "idle_silent"),
        (Self::Probes, "probe_due"),
        (Self::ProbesAnswered, "probe_answered"),
        (Self::ProbesLate, "probe_late"),
        (Self::ProbesWrong, "probe_wrong"),
        (Self::ProbesLost, "probe_lost"),
        (Self::ProbesBroken, "probe_broken"),
        (Self::ProbesUnfinished, "probe_unfinished"),
        (Self::ProbesUnsent, "probe_unsent"),
        (Self::ProbesUnstamped, "probe_unstamped"),
    ];

    /// The ways in which a request fails.
    pub(crate) const ERRORS: [Self; 6] =
        [Self::Wrong, Self::Late, Self::Lost, Self::Refused, Self::Broken, Self::Unsent];

    /// What has become of connections when a phase ends counts in the next one, too.
    pub(crate) const OF_ALL_PHASES: [Self; 4] =
        [Self::ConnectionsRequested, Self::ConnectionsOpened, Self::ConnectionsFailed, Self::ConnectionsLost];

    /// What may have become of a heartbeat.
    pub(crate) const HEARTBEATS: [Self; 7] = [
        Self::HeartbeatsAnswered,
        Self::HeartbeatsLate,
        Self::HeartbeatsWrong,
        Self::HeartbeatsLost,
        Self::HeartbeatsBroken,
        Self::HeartbeatsUnfinished,
        Self::HeartbeatsUnsent,
    ];

    /// What may have become of a message of the probe.
    pub(crate) const PROBES: [Self; 7] = [
        Self::ProbesAnswered,
        Self::ProbesLate,
        Self::ProbesWrong,
        Self::ProbesLost,
        Self::ProbesBroken,
        Self::ProbesUnfinished,
        Self::ProbesUnsent,
    ];

    /// Whether it can come about only where there is a probe.
    pub(crate) fn is_of_the_probe(self) -> bool {
        matches!(self, Self::Probes | Self::ProbesUnstamped) || Self::PROBES.contains(&self)
    }

    /// Whether it can come about only where idle connections have heartbeats.
    pub(crate) fn is_of_heartbeats(self) -> bool {
        matches!(self, Self::Heartbeats | Self::IdleSilent) || Self::HEARTBEATS.contains(&self)
    }

    /// The fact's name in reports.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// How often each [`Fact`] came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts([u64; Fact::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Fact::ALL.len()])
    }
}

impl Counts {
    /// Requests that failed.
    pub(crate) fn errors(&self) -> u64 {
        Fact::ERRORS.iter().map(|fact| self[*fact]).sum()
    }

    /// Requests sent that have no outcome yet.
    pub(crate) fn pending(&self) -> u64 {
        let outcomes = [Fact::Requests, Fact::Wrong, Fact::Late, Fact::Lost, Fact::Refused, Fact::Broken];
        self[Fact::Sent] - outcomes.iter().map(|fact| self[*fact]).sum::<u64>()
    }

    /// Adds the counts of another run.
    pub(crate) fn add(&mut self, other: &Self) {
        for (fact, _) in Fact::ALL {
            self[fact] += other[fact];
        }
    }
}

impl Index<Fact> for Counts {
    type Output = u64;

    fn index(&self, fact: Fact) -> &u64 {
        &self.0[fact as usize]
    }
}

impl IndexMut<Fact> for Counts {
    fn index_mut(&mut self, fact: Fact) -> &mut u64 {
        &mut self.0[fact as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_their_names() {
        for (place, (fact, name)) in Fact::ALL.into_iter().enumerate() {
            assert_eq!((fact as usize, fact.name()), (place, name));
        }
    }
}
