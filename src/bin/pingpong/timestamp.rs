//! [`Timestamp`]: a time of the wall clock, as log lines show it.

use std::fmt;
use std::time::{Duration, SystemTime};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// A time of the wall clock from 1970 on. Displays in UTC, to the microsecond, as RFC 3339 has it:
/// `2026-11-21T16:17:24.123456Z`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp {
    since_epoch: Duration,
}

impl Timestamp {
    pub(crate) fn now() -> Self {
        // A clock that stands before 1970 is shown as 1970.
        Self { since_epoch: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) =
            (self.since_epoch.as_secs() / SECONDS_PER_DAY, self.since_epoch.as_secs() % SECONDS_PER_DAY);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let micros = self.since_epoch.subsec_micros();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Year, month and day in the Gregorian calendar, `days` after 1970-01-01.
///
/// Years are counted from March here, so that the leap day is a year's last one, and in eras of 400 years, after which
/// the calendar repeats (Hinnant, chrono-Compatible Low-Level Date Algorithms: `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 400 * 365 + 97;
    // From 0000-03-01 to 1970-01-01.
    const TO_1970: u64 = 719_468;
    let (era, day_of_era) = ((days + TO_1970) / DAYS_PER_ERA, (days + TO_1970) % DAYS_PER_ERA);
    // Less the leap days before: one in 4 years, but for 3 of 4 centuries.
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, months have 31, 30, 31, 30, 31 days, again and again: 153 in five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339_has_them() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (1_795_277_844_123_456, "2026-11-21T16:17:24.123456Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Timestamp { since_epoch: Duration::from_micros(micros) }.to_string(), text);
        }
    }

    #[test]
    fn every_day_of_five_centuries_follows_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..500 * 366 {
            assert_eq!(date(days), (year, month, day));
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if is_leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (day, month) = if day < length { (day + 1, month) } else { (1, month + 1) };
            (year, month) = if month > 12 { (year + 1, 1) } else { (year, month) };
        }
    }
}
