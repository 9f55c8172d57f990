//! The clock: the only place in the library where time is read.

use nix::time::{ClockId, clock_gettime};

use crate::moment::Moment;

/// Counts from when the reactor was made, by CLOCK_MONOTONIC: setting the machine's clock changes nothing. Reading it
/// is no system call (vdso(7)) and takes some 17 ns.
///
/// Nanoseconds as one number: the load generator reads it for each answer, and the seconds and nanoseconds of an
/// `Instant` would cost twice the instructions to subtract.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: monotonic() }
    }

    #[inline]
    pub(super) fn now(self) -> Moment {
        Moment::from_nanos(monotonic() - self.started)
    }
}

/// Nanoseconds since some moment before the machine started: 2^64 of them are 584 years.
#[inline]
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
