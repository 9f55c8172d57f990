//! The clock of stamps and the clock of the load, and the way from one to the other.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use pingpong::Moment;

/// The distance of the two clocks is read to a microsecond or better. A greater change means that the machine's clock
/// was set: what adjusts it gradually (adjtime(3)) adjusts both.
const STEP: u64 = 10_000;

/// A reading that took longer than this, because the process was interrupted in it, is done again.
const QUICK: u64 = 1_000;

/// How often a reading is done at most.
const READINGS: usize = 4;

/// CLOCK_REALTIME and the moments of a load.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Clock {
    /// CLOCK_MONOTONIC at the start of the moments.
    start: u64,
    /// CLOCK_REALTIME less CLOCK_MONOTONIC, as last read.
    distance: u64,
    /// How often CLOCK_REALTIME was set since.
    steps: u32,
}

impl Clock {
    /// Of the moments that `now` tells.
    pub(in crate::bench) fn of(now: impl Fn() -> Moment) -> Self {
        let start = || {
            let before = read(ClockId::CLOCK_MONOTONIC);
            let moment = now().as_nanos();
            let after = read(ClockId::CLOCK_MONOTONIC);
            (after - before, before + (after - before) / 2 - moment)
        };
        let (_, start) = (0..READINGS).map(|_| start()).min().expect("there are some readings");
        let (_, distance) = reading();
        Self { start, distance, steps: 0 }
    }

    /// The moment now. Looks whether CLOCK_REALTIME was set.
    pub(super) fn look(&mut self) -> Moment {
        let (monotonic, distance) = reading();
        self.note(distance);
        Moment::from_nanos(monotonic.saturating_sub(self.start))
    }

    /// The distance of the clocks is this one now.
    fn note(&mut self, distance: u64) {
        if distance.abs_diff(self.distance) > STEP {
            self.steps += 1;
            self.distance = distance;
        }
    }

    /// How often CLOCK_REALTIME was set.
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// The moment of a stamp; `None` where it is before the start.
    pub(super) fn moment_of(&self, stamp: u64) -> Option<Moment> {
        let nanos = stamp.checked_sub(self.distance)?.checked_sub(self.start)?;
        Some(Moment::from_nanos(nanos))
    }
}

/// CLOCK_MONOTONIC, and how much CLOCK_REALTIME is ahead of it.
fn reading() -> (u64, u64) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..READINGS {
        let before = read(ClockId::CLOCK_MONOTONIC);
        let stamp = read(ClockId::CLOCK_REALTIME);
        let after = read(ClockId::CLOCK_MONOTONIC);
        let took = after - before;
        best = best.min((took, after, stamp.wrapping_sub(before + took / 2)));
        if took <= QUICK {
            break;
        }
    }
    (best.1, best.2)
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).expect("every Linux has this clock");
    nanos(now).unwrap_or_default()
}

/// As nanoseconds. A stamp of zero is none.
pub(super) fn nanos(time: TimeSpec) -> Option<u64> {
    let nanos = u64::try_from(Duration::from(time).as_nanos()).ok()?;
    (nanos > 0).then_some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_moment_that_it_was_made_at() {
        let start = read(ClockId::CLOCK_MONOTONIC);
        let mut clock = Clock::of(|| Moment::from_nanos(read(ClockId::CLOCK_MONOTONIC) - start));
        let before = clock.look();
        let stamp = read(ClockId::CLOCK_REALTIME);
        let after = clock.look();
        let moment = clock.moment_of(stamp).unwrap();
        let slack = Duration::from_nanos(STEP);
        assert!(before <= moment + slack && moment <= after + slack, "{before:?} {moment:?} {after:?}");
        assert_eq!(clock.moment_of(1), None);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_is_read_roughly_is_not() {
        let mut clock = Clock { start: 0, distance: 1_000_000, steps: 0 };
        clock.note(1_000_000 + STEP);
        assert_eq!((clock.steps(), clock.moment_of(1_000_005)), (0, Some(Moment::from_nanos(5))));
        clock.note(3_000_000);
        assert_eq!((clock.steps(), clock.moment_of(3_000_005)), (1, Some(Moment::from_nanos(5))));
        clock.note(500_000);
        assert_eq!(clock.steps(), 2);
    }
}
