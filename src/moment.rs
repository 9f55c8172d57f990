//! [`Moment`]: time as a plain number, supplied by the engine's caller.
//!
//! Nothing below `reactor` reads a clock, so that a test or a simulation can move time as it likes.

use std::ops::Add;
use std::time::Duration;

/// A point in time, in nanoseconds since the clock's start.
///
/// In a reactor the clock is CLOCK_MONOTONIC (clock_gettime(2)), and starts when the reactor is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same in nanoseconds: a [`Duration`] keeps seconds apart, at the price of a division.
    #[inline]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates at 2^64 nanoseconds, 584 years after the clock's start.
    fn add(self, after: Duration) -> Self {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}
