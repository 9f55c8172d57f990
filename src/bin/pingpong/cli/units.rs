//! Durations, sizes, counts, rates and texts as users write them. A mistake is answered with how to write it.

use std::num::NonZeroU32;
use std::time::Duration;

/// `250ms`, `1s`, `5m`, `1.5s`.
pub(super) fn duration_of(text: &str) -> Result<Duration, String> {
    let seconds = match split_unit(text) {
        (number, "us") => number.map(|number| number / 1e6),
        (number, "ms") => number.map(|number| number / 1e3),
        (number, "s") => number,
        (number, "m") => number.map(|number| number * 60.0),
        (number, "h") => number.map(|number| number * 3600.0),
        _ => None,
    };
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.filter(|duration| *duration <= LONGEST).ok_or_else(|| "write it like 250ms, 1s or 5m".to_owned())
}

/// Ten years: longer than any wait, and short enough that no sum of durations overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `512`, `64KiB`, `1MiB`, `1GiB`.
pub(super) fn size_of(text: &str) -> Result<usize, String> {
    let unit = match split_unit(text) {
        (number, "" | "B") => number,
        (number, "KiB") => number.map(|number| number * 1024.0),
        (number, "MiB") => number.map(|number| number * 1024.0 * 1024.0),
        (number, "GiB") => number.map(|number| number * 1024.0 * 1024.0 * 1024.0),
        _ => None,
    };
    let most = f64::from(1 << 30);
    unit.filter(|bytes| (1.0..=most).contains(bytes) && bytes.fract() == 0.0)
        .map(|bytes| bytes as usize)
        .ok_or_else(|| "write it like 512, 64KiB or 1MiB (1 GiB at the most)".to_owned())
}

/// `200`, `10k`, `1m`; at least 1.
pub(super) fn count_of(text: &str) -> Result<u32, String> {
    let count = number_of(text).ok().and_then(|count| u32::try_from(count).ok());
    count.ok_or_else(|| NOT_A_COUNT.to_owned())
}

/// The same, up to 9 × 10^15.
pub(super) fn number_of(text: &str) -> Result<u64, String> {
    let number = match split_unit(text) {
        (number, "") => number,
        (number, "k") => number.map(|number| number * 1e3),
        (number, "m") => number.map(|number| number * 1e6),
        _ => None,
    };
    // Up to 2^53 an f64 holds every whole number exactly.
    number
        .filter(|number| (1.0..=9e15).contains(number) && number.fract() == 0.0)
        .map(|number| number as u64)
        .ok_or_else(|| NOT_A_COUNT.to_owned())
}

/// Any amount: `0`, `0.1`, `19900`, `20k`, `1.5m`.
#[cfg(feature = "bench")]
pub(super) fn amount_of(text: &str) -> Option<f64> {
    match split_unit(text) {
        (number, "") => number,
        (number, "k") => number.map(|number| number * 1e3),
        (number, "m") => number.map(|number| number * 1e6),
        _ => None,
    }
}

const NOT_A_COUNT: &str = "write a number from 1 on, like 200, 10k or 1m";

/// `100/s`, `100` or `none`.
pub(super) fn rate_of(text: &str) -> Result<Option<NonZeroU32>, String> {
    if text == "none" {
        return Ok(None);
    }
    let rate = count_of(text.strip_suffix("/s").unwrap_or(text)).ok().and_then(NonZeroU32::new);
    rate.map(Some).ok_or_else(|| "write it like 100/s, or none".to_owned())
}

/// The bytes of a text with C escapes: `\n`, `\r`, `\t`, `\0`, `\\`, `\xHH`.
pub(super) fn unescaped(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = rest.iter().position(|byte| *byte == b'\\') {
        bytes.extend_from_slice(&rest[..backslash]);
        let escape = &rest[backslash + 1..];
        let mistake = || {
            let escape = String::from_utf8_lossy(escape);
            format!("no such escape: \\{escape} (there are \\n \\r \\t \\0 \\\\ \\xHH)")
        };
        let (byte, length) = match escape {
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'0', ..] => (0, 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', high, low, ..] => (hexadecimal(*high, *low).ok_or_else(mistake)?, 3),
            _ => return Err(mistake()),
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

/// The byte that two hexadecimal digits stand for.
fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// The number before the unit (`None` where it is no plain number), and the unit.
fn split_unit(text: &str) -> (Option<f64>, &str) {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (number.parse().ok().filter(|_| is_plain), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!(duration_of("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration_of("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration_of("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(size_of("64KiB"), Ok(65_536));
        assert_eq!(size_of("1GiB"), Ok(1 << 30));
        assert!(size_of("1.5GiB").is_err(), "1 GiB at the most");
        assert_eq!(count_of("10k"), Ok(10_000));
        assert_eq!(count_of("1m"), Ok(1_000_000));
        assert_eq!(rate_of("none"), Ok(None));
        assert_eq!(rate_of("100/s"), Ok(NonZeroU32::new(100)));
        for wrong in ["", "1", "-1s", "1x", "inf", "infs", "1e3s", "99999h0", "nan"] {
            assert!(duration_of(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "-1", "1.5", "10kk", "5000m"] {
            assert!(count_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn texts_have_escapes() {
        assert_eq!(unescaped(b"PING\\r\\n").unwrap(), b"PING\r\n");
        assert_eq!(unescaped(b"a\\\\\\x00\\xFf\xfe").unwrap(), b"a\\\0\xff\xfe");
        for wrong in ["\\", "\\q", "\\x1", "\\xzz", "\\x+1", "\\xü"] {
            assert!(unescaped(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
