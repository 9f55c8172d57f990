//! `--start-at` of `bench`, a moment of the wall clock, and `--clock-error`.

use std::time::{Duration, SystemTime};

use clap::Arg;

use super::arguments::{option, timeout};
use super::units::duration_of;

/// Connections would wait for longer than this: that is a mistake in the time, or in its unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn arguments() -> [Arg; 2] {
    let start = option(
        "start-at",
        "TIME",
        "Connect, and begin then: 2026-11-22T10:00:00Z, Unix seconds, or 'next 30s', the next multiple of that",
    )
    .value_parser(|text: &str| start_of(text, SystemTime::now()))
    .conflicts_with("against");
    [
        start,
        timeout("clock-error", "By how much this machine's clock may be off, for bench merge (chronyc tracking tells)"),
    ]
}

/// The moment that is meant at this moment. Fails where it is over, or far ahead.
fn start_of(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let moment =
        moment_of(text, since_1970).ok_or("write it like 2026-11-22T10:00:00Z, as Unix seconds, or like 'next 30s'")?;
    if let Some(late) = since_1970.checked_sub(moment).filter(|late| !late.is_zero()) {
        return Err(format!("that was {} ago", shown(late)));
    }
    let ahead = moment.saturating_sub(since_1970);
    if ahead > LONGEST {
        return Err(format!("that is {} ahead, and a day is the most: connections wait for it", shown(ahead)));
    }
    Ok(SystemTime::UNIX_EPOCH + moment)
}

fn shown(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds >= 172_800.0 => format!("{:.0} days", seconds / 86_400.0),
        seconds if seconds >= 7_200.0 => format!("{:.1} hours", seconds / 3_600.0),
        seconds => format!("{seconds:.3} s"),
    }
}

/// In time since 1970.
fn moment_of(text: &str, now: Duration) -> Option<Duration> {
    if let Some(interval) = text.strip_prefix("next ") {
        let interval = duration_of(interval.trim()).ok()?.as_nanos();
        let next = (now.as_nanos().checked_div(interval)? + 1) * interval;
        return u64::try_from(next).ok().map(Duration::from_nanos);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        return moment(seconds.parse().ok()?, fraction);
    }
    of_rfc_3339(text)
}

/// RFC 3339, section 5.6: `2026-11-22T10:00:00.5+01:00`.
fn of_rfc_3339(text: &str) -> Option<Duration> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-')?;
    let place = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(place);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':')?;
    let ahead = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(&zone[1..], ':')?;
            let ahead = (hours * 60 + minutes) * 60;
            let is_sound = hours < 24 && minutes < 60;
            is_sound.then_some(if zone.starts_with('-') { -ahead } else { ahead })?
        }
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days).contains(&day)
        && hour < 24
        && minute < 60
        // A leap second is the first one of the next minute.
        && second <= 60;
    let seconds = ((days_before(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - ahead;
    moment(u64::try_from(seconds).ok().filter(|_| is_sound)?, fraction)
}

fn moment(seconds: u64, fraction: &str) -> Option<Duration> {
    let is_sound = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    // To the nanosecond; what is finer is cut off.
    let nanos = format!("{fraction:0<9.9}").parse().ok().filter(|_| is_sound)?;
    Some(Duration::new(seconds, nanos))
}

/// Numbers of two digits each; a year has four.
fn numbers<const COUNT: usize>(text: &str, between: char) -> Option<[i64; COUNT]> {
    let words: Vec<&str> = text.split(between).collect();
    let has_digits = |(place, word): (usize, &&str)| {
        let digits = if between == '-' && place == 0 { 4 } else { 2 };
        word.len() == digits && word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_sound = words.iter().enumerate().all(has_digits);
    let numbers: Vec<i64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().ok().filter(|_| is_sound)
}

/// Days from 1970-01-01 to this one (Hinnant, chrono-Compatible Low-Level Date Algorithms: `days_from_civil`).
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    // A year is counted from March here: its leap day is the last one.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T10:00:00Z
    const NOW: Duration = Duration::from_secs(1_795_341_600);

    #[track_caller]
    fn check(text: &str, seconds_ahead: f64) {
        let start = start_of(text, SystemTime::UNIX_EPOCH + NOW).unwrap();
        let ahead = start.duration_since(SystemTime::UNIX_EPOCH + NOW).unwrap().as_secs_f64();
        assert!((ahead - seconds_ahead).abs() < 1e-8, "{text}: {ahead}");
    }

    #[test]
    fn moments_are_written_in_three_ways() {
        check("2026-11-22T10:00:00Z", 0.0);
        check("2026-11-22t10:00:01.25z", 1.25);
        check("2026-11-22 11:30:00.000000001999+01:00", 1_800.000_000_001);
        check("2026-11-21T23:30:05-10:45", 15.0 * 60.0 + 5.0);
        check("2026-11-22T10:00:60Z", 60.0);
        check("1795341600", 0.0);
        check("1795341607.5", 7.5);
        check("next 30s", 30.0);
        check("next 7s", 7.0 - (1_795_341_600 % 7) as f64);
        check("next  1.5h", 5_400.0 - (1_795_341_600 % 5_400) as f64);
        check("next 1ms", 0.001);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(of_rfc_3339(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_over_or_far_ahead_is_refused_by_how_much() {
        let refused = |text: &str| start_of(text, SystemTime::UNIX_EPOCH + NOW).unwrap_err();
        assert_eq!(refused("2026-11-22T09:59:58Z"), "that was 2.000 s ago");
        assert_eq!(refused("1795341599.9"), "that was 0.100 s ago");
        assert_eq!(refused("0"), "that was 20779 days ago");
        assert!(refused("2026-11-24T10:00:00Z").contains("that is 2 days ahead, and a day is the most"));
        assert!(refused("1795341700000").contains("days ahead"), "milliseconds");
        assert!(refused("18446744073709551615").contains("days ahead"));
    }

    #[test]
    fn mistakes_show_how_to_write_it() {
        for wrong in [
            "",
            "now",
            ".",
            "1.",
            "-1",
            "1e9",
            "99999999999999999999",
            "next",
            "next ",
            "next 0s",
            "next -1s",
            "next 30",
            "2026-11-22",
            "2026-11-22T10:00Z",
            "2026-11-22T10:00:00",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:60:00Z",
            "2026-11-22T10:00:61Z",
            "2026-13-22T10:00:00Z",
            "2026-02-29T10:00:00Z",
            "2026-11-31T10:00:00Z",
            "2026-11-00T10:00:00Z",
            "26-11-22T10:00:00Z",
            "2026-11-22T10:00:00+1:00",
            "2026-11-22T10:00:00+24:00",
            "2026-11-22T10:00:00ZZ",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00.+5Z",
            "1969-12-31T23:59:59Z",
            "2026-11-22T10:00:00ü",
        ] {
            let told = start_of(wrong, SystemTime::UNIX_EPOCH + NOW).unwrap_err();
            assert!(told.contains("'next 30s'"), "{wrong}: {told}");
        }
    }
}
