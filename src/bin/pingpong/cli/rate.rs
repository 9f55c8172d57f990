//! `--rate`, `--connect-rate` and `--seed` of `bench`.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::units::count_of;
use crate::bench::Rate;

/// `20k`; `10k,20k,40k`; `1k..50k`.
pub(super) fn rates_of(text: &str) -> Result<Vec<Rate>, String> {
    text.split(',').map(rate_of).collect()
}

fn rate_of(text: &str) -> Result<Rate, String> {
    let per_second = |text: &str| per_second(text.trim());
    let rate = match text.split_once("..") {
        None => per_second(text).map(Rate::even),
        Some((first, last)) => per_second(first).and_then(|first| Ok(Rate { first, last: per_second(last)? })),
    };
    rate.map_err(|_| "write it like 50000, 50k or 0.5, steps like 10k,20k,40k, a rise like 1k..50k".to_owned())
}

/// `50000`, `50k`, `0.5`.
pub(super) fn per_second(text: &str) -> Result<f64, String> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    let rate = match text.parse::<f64>() {
        Ok(rate) => rate,
        Err(_) => f64::from(count_of(text)?),
    };
    // From one in three hours to one in a nanosecond, which is as fine as the clock tells.
    let is_sound = (1e-4..=1e9).contains(&rate);
    is_sound.then_some(rate).ok_or_else(|| "write it like 50000, 50k or 0.5".to_owned())
}

/// Any whole number that JSON's readers hold exactly.
pub(super) fn seed_of(text: &str) -> Result<u64, String> {
    let seed = text.parse::<u64>().ok().filter(|seed| *seed < 1 << 53);
    seed.ok_or_else(|| "write a whole number, up to 2^53".to_owned())
}

/// A seed that nobody has chosen, short enough to be typed.
pub(super) fn random_seed() -> u64 {
    // A RandomState has keys from the system's randomness.
    RandomState::new().build_hasher().finish() >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_one_or_several_and_may_rise_or_fall() {
        let even = |rate| Rate::even(rate);
        let ramp = |first, last| Rate { first, last };
        for (text, rates) in [
            ("20k", vec![even(20e3)]),
            ("0.5/s", vec![even(0.5)]),
            ("10k,20k, 40k", vec![even(10e3), even(20e3), even(40e3)]),
            ("1k..50k", vec![ramp(1e3, 50e3)]),
            ("50k..0.5", vec![ramp(50e3, 0.5)]),
            ("5..5", vec![even(5.0)]),
            ("1k,1k..2k,2k", vec![even(1e3), ramp(1e3, 2e3), even(2e3)]),
        ] {
            assert_eq!(rates_of(text).unwrap(), rates, "{text}");
        }
        for wrong in ["", "0", "10k,", ",5", "1k..", "..5", "1..2..3", "1k-5k", "0..5", "inf", "nan", "1e10"] {
            assert!(rates_of(wrong).unwrap_err().contains("1k..50k"), "{wrong}");
        }
    }

    #[test]
    fn seeds_are_whole_numbers() {
        assert_eq!((seed_of("0"), seed_of("42")), (Ok(0), Ok(42)));
        for wrong in ["", "-1", "1.5", "9007199254740992", "x"] {
            assert!(seed_of(wrong).is_err(), "{wrong}");
        }
        assert!(random_seed() < 1 << 32);
    }
}
