//! The clock: the only place where time is read.

use std::time::Instant;

use crate::moment::Moment;

/// CLOCK_MONOTONIC since the reactor was made (through the vDSO: no system call).
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Moment {
        Moment::default() + self.0.elapsed()
    }
}
