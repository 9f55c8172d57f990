//! What has come of the requests: counts by fact, and histograms of how long they took.

use std::ops::{Index, IndexMut};
use std::time::Duration;

use hdrhistogram::Histogram;

use pingpong::Moment;

/// What is counted. Each request sent is one of the seven from [`Requests`](Fact::Requests) to
/// [`Unfinished`](Fact::Unfinished).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Requests sent.
    Sent,
    /// Answered right and in time.
    Requests,
    /// Answered by other bytes.
    Wrong,
    /// Answered right, but after the timeout.
    Late,
    /// Not answered.
    Lost,
    /// Nobody was there: a port without a server.
    Refused,
    /// Their connection ended before the answer.
    Broken,
    /// Not answered when the run was interrupted.
    Unfinished,
    /// Due in the open loop, but never sent, because too many were unanswered already.
    Unsent,
    /// Answers to what was answered already, or never asked.
    Duplicate,
    /// Answered after a later request of the same connection.
    Reordered,
    /// Connections asked for, the idle ones included.
    ConnectionsRequested,
    /// Connections made before the start.
    ConnectionsOpened,
    /// Connections that could not be made.
    ConnectionsFailed,
    /// Connections that ended before we closed them.
    ConnectionsLost,
    /// Idle connections that were still there at the end.
    IdleHeld,
    /// Times that no local port was free for a new connection.
    PortWaits,
    /// Datagrams that our kernel dropped because our receive buffer was full.
    KernelDrops,
}

impl Fact {
    /// All of them, with the names that they have in reports.
    pub(crate) const ALL: [(Self, &str); 18] = [
        (Self::Sent, "sent"),
        (Self::Requests, "requests"),
        (Self::Wrong, "wrong"),
        (Self::Late, "late"),
        (Self::Lost, "lost"),
        (Self::Refused, "refused"),
        (Self::Broken, "broken"),
        (Self::Unfinished, "unfinished"),
        (Self::Unsent, "unsent"),
        (Self::Duplicate, "duplicate"),
        (Self::Reordered, "reordered"),
        (Self::ConnectionsRequested, "connections_requested"),
        (Self::ConnectionsOpened, "connections_opened"),
        (Self::ConnectionsFailed, "connections_failed"),
        (Self::ConnectionsLost, "connections_lost"),
        (Self::IdleHeld, "idle_held"),
        (Self::PortWaits, "port_waits"),
        (Self::KernelDrops, "kernel_drops"),
    ];

    /// The ways in which a request fails.
    pub(crate) const ERRORS: [Self; 6] =
        [Self::Wrong, Self::Late, Self::Lost, Self::Refused, Self::Broken, Self::Unsent];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// How often each [`Fact`] came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; Fact::ALL.len()]);

impl Counts {
    /// Requests that failed.
    pub(crate) fn errors(&self) -> u64 {
        Fact::ERRORS.iter().map(|fact| self[*fact]).sum()
    }

    /// Requests sent whose outcome is not known yet.
    pub(crate) fn open(&self) -> u64 {
        let settled = [Fact::Requests, Fact::Wrong, Fact::Late, Fact::Lost, Fact::Refused, Fact::Broken];
        self[Fact::Sent] - settled.iter().map(|fact| self[*fact]).sum::<u64>()
    }

    /// Adds another run's.
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

/// A histogram of nanoseconds with three digits, which grows as needed: nothing is clamped.
pub(crate) fn histogram() -> Histogram<u64> {
    const MINUTE: u64 = 60_000_000_000;
    let mut histogram = Histogram::new_with_bounds(1, MINUTE, 3).expect("these bounds are sound");
    histogram.auto(true);
    histogram
}

/// Durations of one kind, of the whole run and of its parts.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) total: Histogram<u64>,
    /// Since the last part ended, where parts are kept.
    part: Option<Histogram<u64>>,
    pub(crate) parts: Vec<Part>,
}

/// What one part of a run has measured: each value and how often.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) from: Moment,
    pub(crate) until: Moment,
    pub(crate) values: Vec<(u64, u64)>,
}

impl Latency {
    pub(crate) fn new(keeps_parts: bool) -> Self {
        Self { total: histogram(), part: keeps_parts.then(histogram), parts: Vec::new() }
    }

    #[inline]
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = duration.as_nanos() as u64;
        self.total.record(nanos).expect("it grows");
        if let Some(part) = &mut self.part {
            part.record(nanos).expect("it grows");
        }
    }

    /// Ends a part, if parts are kept.
    pub(crate) fn end_part(&mut self, from: Moment, until: Moment) {
        if let Some(part) = &mut self.part {
            self.parts.push(Part { from, until, values: values_of(part) });
            part.clear();
        }
    }
}

/// Each value in a histogram and how often it was recorded; recording them again makes the same histogram.
pub(crate) fn values_of(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let recorded = histogram.iter_recorded();
    recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_clamped() {
        let mut times = Latency::new(true);
        for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(7_200)] {
            times.record(duration);
        }
        let hours = times.total.max() as f64 / 3.6e12;
        assert!((hours - 2.0).abs() < 0.002, "{hours}");
        assert_eq!(values_of(&times.total)[..2], [(0, 1), (1, 1)]);
        times.end_part(Moment::default(), Moment::from_nanos(1));
        assert_eq!(times.parts[0].values, values_of(&times.total));
    }

    #[test]
    fn facts_have_their_names() {
        for (place, (fact, name)) in Fact::ALL.into_iter().enumerate() {
            assert_eq!((fact as usize, fact.name()), (place, name));
        }
    }
}
