//! Student's t distribution, for whole degrees of freedom.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// Beyond this the distribution is normal, to three digits.
const MANY: usize = 500;

/// How far from 0 a value lies with this probability at the most, on either side: 2.04 for 0.95 and 31 degrees.
pub(super) fn quantile(degrees: usize, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if within(middle, degrees) < probability { low = middle } else { high = middle }
    }
    high
}

/// The probability that a value lies no farther from 0 than `t`, on either side.
///
/// The finite sums of Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
pub(super) fn within(t: f64, degrees: usize) -> f64 {
    let degrees = degrees.clamp(1, MANY);
    let angle = (t.abs() / (degrees as f64).sqrt()).atan().min(FRAC_PI_2);
    let (sine, cosine) = angle.sin_cos();
    let is_odd = degrees % 2 == 1;
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = if degrees == 1 { 0.0 } else { term };
    let mut power = if is_odd { 3 } else { 2 };
    while power < degrees {
        term *= cosine * cosine * (power - 1) as f64 / power as f64;
        sum += term;
        power += 2;
    }
    if is_odd { FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (degrees, probability, t) in [
            (1, 0.95, 12.706),
            (2, 0.95, 4.303),
            (3, 0.95, 3.182),
            (4, 0.99, 4.604),
            (7, 0.95, 2.365),
            (15, 0.95, 2.131),
            (30, 0.99, 2.750),
            (31, 0.95, 2.040),
            (1_000_000, 0.95, 1.965),
        ] {
            assert!((quantile(degrees, probability) - t).abs() < 6e-4, "{degrees} {probability}");
        }
    }

    #[test]
    fn the_probability_is_the_same_on_both_sides() {
        assert_eq!(within(0.0, 5), 0.0);
        assert!((within(1.0, 1) - 0.5).abs() < 1e-12);
        assert_eq!(within(-2.0, 9), within(2.0, 9));
        assert!((within(f64::INFINITY, 4) - 1.0).abs() < 1e-12);
    }
}
