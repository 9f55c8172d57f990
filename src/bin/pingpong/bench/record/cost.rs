//! What the load generator itself uses while it measures: processor time, and the share of the time in which it is busy.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use pingpong::Moment;

use super::counts::Fact;
use super::ledger::Ledger;

/// What a load generator used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Processor time, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The share of the time in which it was not waiting; polling for what is to come is waiting.
    pub(crate) busy: f64,
}

impl Cost {
    /// Of two loads that ran at the same time.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { cpu_seconds: self.cpu_seconds + other.cpu_seconds, busy: self.busy.max(other.busy) }
    }
}

/// Reads processor time and time polled while a load measures.
#[derive(Debug, Default)]
pub(crate) struct CostMeter {
    due: Moment,
    first: Option<Sample>,
    last: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Moment,
    cpu: Duration,
    polled: Duration,
    sent: u64,
}

impl CostMeter {
    /// How often the meter is to be read.
    pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

    /// When the meter is to be read next.
    pub(crate) fn due(&self) -> Moment {
        self.due
    }

    /// Takes a sample, if requests are measured now. The loop has spent `polled` so far in polls that found nothing.
    pub(crate) fn read(&mut self, ledger: &Ledger, polled: Duration, now: Moment) {
        self.due = now + Self::INTERVAL;
        if !ledger.is_asking() {
            return;
        }
        let from = ledger.from();
        if now < from {
            self.due = self.due.min(from);
            return;
        }
        let sample = Sample { at: now, cpu: cpu_time(), polled, sent: ledger.counts[Fact::Sent] };
        self.first.get_or_insert(sample);
        self.last = Some(sample);
    }

    /// What `sent` requests cost, estimated from those sent between the first sample and the last. `None` where the run
    /// was too short to tell.
    pub(crate) fn cost(&self, sent: u64) -> Option<Cost> {
        let (first, last) = self.first.zip(self.last)?;
        let (sampled, passed) = (last.sent - first.sent, last.at.since(first.at).as_secs_f64());
        let polled = last.polled.saturating_sub(first.polled).as_secs_f64();
        let cpu = last.cpu.saturating_sub(first.cpu).as_secs_f64();
        (sampled > 0 && passed > 0.0).then(|| Cost {
            cpu_seconds: cpu / sampled as f64 * sent as f64,
            busy: (1.0 - polled / passed).clamp(0.0, 1.0),
        })
    }
}

/// User and system time of this process (getrusage(2)).
fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let duration = |time: TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    duration(usage.user_time()) + duration(usage.system_time())
}
