//! Standstills: what comes once in a run is in no interval, so a comparison that sees no difference has to name it.

use super::Report;
use super::text::shown;
use crate::bench::record::percentile;

/// An answer that took so long, in nanoseconds, and so many times as long as the one in the middle, waited for something
/// else than its turn.
const LONG: u64 = 100_000_000;
const TIMES_THE_MIDDLE: u64 = 100;

/// A time in which nothing went on, as far as figures tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standstill {
    pub(super) nanos: u64,
    pub(super) sign: Sign,
}

/// What tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// An answer took out of all proportion long.
    Answer,
    /// A turn had to wait for its last answers.
    Turn,
    /// The load generator's own timers were late.
    Timer,
}

impl Standstill {
    /// In words, of what is called so.
    pub(super) fn told(&self, name: &str) -> String {
        let time = shown(self.nanos);
        match self.sign {
            Sign::Answer => format!("{name} took {time} for an answer"),
            Sign::Turn => format!("{name} kept a turn waiting for {time}"),
            Sign::Timer => format!("{name}'s load generator stood still for {time}"),
        }
    }
}

impl Report {
    /// The longest standstill; that of the load generator, where it is known, for it makes answers wait, too.
    pub(super) fn standstill(&self) -> Option<Standstill> {
        if self.longest_pause_seconds > 0.0 {
            return Some(Standstill { nanos: (self.longest_pause_seconds * 1e9) as u64, sign: Sign::Timer });
        }
        let (_, times) = self.main_times();
        let nanos = times.max();
        let is_long = nanos >= LONG && nanos / TIMES_THE_MIDDLE >= percentile(times, 50.0);
        is_long.then_some(Standstill { nanos, sign: Sign::Answer })
    }
}

/// The warning beside a comparison of those that had these.
pub(super) fn warning(told: &[String]) -> Option<String> {
    (!told.is_empty()).then(|| {
        format!(
            "{}: what comes once in a run is in no interval, and no difference seen says nothing of it",
            told.join(", ")
        )
    })
}
