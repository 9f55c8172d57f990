//! What the load itself costs while it measures: processor time, and the share of time in which it had none to spare.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use super::counts::Fact;
use crate::bench::LOOK;
use crate::bench::load::{Load, Phase};
use crate::bench::report::Cost;
use pingpong::Moment;

#[derive(Debug, Default)]
pub(crate) struct Watch {
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

impl Watch {
    /// When to look next.
    pub(crate) fn due(&self) -> Moment {
        self.due
    }

    /// Looks, if it is time that counts; in polls that found nothing the loop has spent `polled` so far.
    pub(crate) fn look(&mut self, load: &Load, polled: Duration, now: Moment) {
        let (from, is_asking) = (load.ledger.from(), load.phase == Phase::Asking);
        self.due = now + LOOK;
        if is_asking && now < from {
            self.due = self.due.min(from);
        }
        if is_asking && now >= from {
            let sample = Sample { at: now, cpu: cpu_time(), polled, sent: load.ledger.counts[Fact::Sent] };
            self.first.get_or_insert(sample);
            self.last = Some(sample);
        }
    }

    /// What `sent` requests cost, going by those between the first look and the last; `None` where the run was too
    /// short to tell.
    pub(crate) fn cost(&self, sent: u64) -> Option<Cost> {
        let (first, last) = self.first.zip(self.last)?;
        let (seen, passed) = (last.sent - first.sent, last.at.since(first.at).as_secs_f64());
        let polled = last.polled.saturating_sub(first.polled).as_secs_f64();
        let cpu = last.cpu.saturating_sub(first.cpu).as_secs_f64();
        (seen > 0 && passed > 0.0).then(|| Cost {
            cpu_seconds: cpu / seen as f64 * sent as f64,
            busy: (1.0 - polled / passed).clamp(0.0, 1.0),
        })
    }
}

/// User and system time of this process (getrusage(2)).
fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let time =
        |time: nix::sys::time::TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    time(usage.user_time()) + time(usage.system_time())
}
