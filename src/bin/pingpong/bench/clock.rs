//! The wall clock, by which parts of a load on several machines begin together, and what is known of its worth.
//!
//! The loop's own clock goes on evenly whatever happens to the wall clock. What is to be told by the wall clock is told by
//! both, read together; where the wall clock was set in between, the later reading is right.
//!
//! How large its error is, the kernel says by adjtimex(2) alone, for which there is no safe call: neither the standard
//! library nor nix or rustix has one, and the crate that has brings eleven others. So that is for the user to say.

use std::fs;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use pingpong::Moment;
use serde_json::{Value, json};

/// A clock that is off by less than this was not set, but is read a little late.
const STEP: Duration = Duration::from_millis(1);

/// How often both clocks are read at the most. Between the two readings the process may lose its processor.
const TRIES: usize = 8;

/// Seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The same moment by the wall clock and by the loop's clock.
pub(super) fn together(now: impl Fn() -> Moment) -> (SystemTime, Moment) {
    let read = |_| {
        let (before, wall, after) = (now(), SystemTime::now(), now());
        (after.since(before), wall, before)
    };
    let closest = (0..TRIES).map(read).min_by_key(|(between, ..)| *between);
    closest.map_or_else(|| (SystemTime::now(), now()), |(_, wall, moment)| (wall, moment))
}

/// When that was which began at `began`, by the wall clock as it is `passed` later.
pub(super) fn corrected(began: SystemTime, passed: Duration, now: SystemTime) -> SystemTime {
    let as_of_now = now.checked_sub(passed).unwrap_or(began);
    let step = as_of_now.duration_since(began).unwrap_or_else(|earlier| earlier.duration());
    if step < STEP { began } else { as_of_now }
}

/// What is known of the wall clock, as it goes into results. It may be off by so much, as the user says.
pub(super) fn facts(error: Option<Duration>) -> Value {
    json!({
        "clock_error_seconds": error.map(|error| error.as_secs_f64()),
        "boot_id": fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned()),
        "unix_minus_boot_seconds": since_boot().map(|boot| unix_seconds(SystemTime::now()) - boot),
    })
}

/// Seconds since this machine was started, those included in which it slept (clock_gettime(2)).
fn since_boot() -> Option<f64> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(|time| Duration::from(time).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_meanwhile_is_right_now() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let passed = Duration::from_secs(10);
        let by_now = |offset: i64| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_micros((1_010_000_000 + offset) as u64);
            unix_seconds(corrected(began, passed, now))
        };
        assert_eq!((by_now(0), by_now(999), by_now(-999)), (1_000.0, 1_000.0, 1_000.0));
        assert_eq!((by_now(2_000_000), by_now(-30_000_000)), (1_002.0, 970.0));
        assert_eq!(corrected(began, Duration::MAX, began), began);
    }

    #[test]
    fn both_clocks_tell_the_same_moment() {
        let began = std::time::Instant::now();
        let now = || Moment::from_nanos(began.elapsed().as_nanos() as u64);
        let ((first, from), (last, until)) = (together(now), together(now));
        assert!(last >= first && until >= from);
    }

    #[test]
    fn processes_of_one_kernel_say_so() {
        let (one, other) = (facts(None), facts(Some(Duration::from_millis(5))));
        assert!(one["clock_error_seconds"].is_null() && other["clock_error_seconds"] == 0.005);
        assert!(one["boot_id"].as_str().is_some_and(|id| id.len() == 36) && one["boot_id"] == other["boot_id"]);
        let offset = |facts: &Value| facts["unix_minus_boot_seconds"].as_f64().unwrap();
        assert!((offset(&one) - offset(&other)).abs() < 5.0 && offset(&one) > 1.6e9);
    }
}
