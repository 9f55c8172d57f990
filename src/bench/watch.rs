//! What the load itself costs while it measures: processor time, and the share of time in which it had none to spare.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use super::LOOK;
use super::load::{Load, Phase};
use crate::moment::Moment;

#[derive(Debug, Default)]
pub(super) struct Watch {
    due: Moment,
    first: Option<Sample>,
    last: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Moment,
    cpu: Duration,
    polled: Duration,
}

impl Watch {
    /// When to look next.
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// Looks, if it is time that counts; in polls that found nothing the loop has spent `polled` so far.
    pub(super) fn look(&mut self, load: &Load, polled: Duration, now: Moment) {
        let (from, is_asking) = (load.ledger.from(), load.phase == Phase::Asking);
        self.due = now + LOOK;
        if is_asking && now < from {
            self.due = self.due.min(from);
        }
        if is_asking && now >= from {
            let sample = Sample { at: now, cpu: cpu_time(), polled };
            self.first.get_or_insert(sample);
            self.last = Some(sample);
        }
    }

    /// Processor time in each second.
    pub(super) fn cpu_per_second(&self) -> f64 {
        let (passed, cpu) = (self.passed().as_secs_f64(), self.span(|sample| sample.cpu).as_secs_f64());
        if passed > 0.0 { cpu / passed } else { 0.0 }
    }

    /// The share of the time in which it was doing something.
    pub(super) fn busy(&self) -> f64 {
        let (passed, polled) = (self.passed().as_secs_f64(), self.span(|sample| sample.polled).as_secs_f64());
        if passed > 0.0 { (1.0 - polled / passed).clamp(0.0, 1.0) } else { 0.0 }
    }

    fn passed(&self) -> Duration {
        self.first.zip(self.last).map_or(Duration::ZERO, |(first, last)| last.at.since(first.at))
    }

    fn span(&self, of: impl Fn(&Sample) -> Duration) -> Duration {
        self.first.zip(self.last).map_or(Duration::ZERO, |(first, last)| of(&last).saturating_sub(of(&first)))
    }
}

/// User and system time of this process (getrusage(2)).
fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let time =
        |time: nix::sys::time::TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    time(usage.user_time()) + time(usage.system_time())
}
