//! Whether a figure rose or fell in the course of a run: the correlation of its blocks' ranks with their order (Spearman).
//!
//! Blocks that depend on each other beside that are joined before, as for a margin: a figure that only wanders seems to rise or fall
//! when it is looked at often enough. A change that is certain but small is none to speak of.

use super::sections::{Figure, Sections, joined, ranks};
use super::student;
use super::times::{Tally, Times};

/// The chance to tell a trend of a steady run, for all the figures together that a report looks at.
const CHANCE: f64 = 0.01;

/// The figures that a report looks at: two percentiles and the rate.
const FIGURES: f64 = 3.0;

/// For few blocks Student's distribution makes chance smaller than it is, to a third of it for eight (Zar, Significance
/// testing of the Spearman rank correlation coefficient, 1972, has the exact ones).
const FEW: usize = 16;
const OF_FEW: f64 = 3.0;

/// The least change worth a word, as a share.
const WORTH_TELLING: f64 = 0.05;

/// A figure that changed in the course of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// In the first quarter of the blocks.
    pub(crate) from: f64,
    /// In the last quarter.
    pub(crate) to: f64,
}

impl Trend {
    pub(crate) fn is_rise(&self) -> bool {
        self.to > self.from
    }
}

/// The trend of a percentile, if there is one.
pub(crate) fn percentile_trend(blocks: &[Times], percent: f64) -> Option<Trend> {
    trend(blocks, percent)
}

/// The trend of a rate, if there is one.
pub(crate) fn rate_trend(blocks: &[Tally]) -> Option<Trend> {
    trend(blocks, 0.0)
}

fn trend<B: Figure>(blocks: &[B], percent: f64) -> Option<Trend> {
    let sections = Sections::of(blocks, percent, without_line).ok()?;
    let quarter = blocks.len() / 4;
    let (first, last) = (joined(&blocks[..quarter])?, joined(&blocks[blocks.len() - quarter..])?);
    let trend = Trend { from: first.figure(percent)?, to: last.figure(percent)? };
    let chance = chance_of_order(&sections.values, if trend.is_rise() { 1.0 } else { -1.0 });
    let change = (trend.to - trend.from).abs() / trend.from.max(f64::MIN_POSITIVE);
    (chance < CHANCE / FIGURES && change >= WORTH_TELLING).then_some(trend)
}

/// How far values lie from the straight line through them (least squares): on a line that rises each is like the one before
/// it, and that is no dependence that hides a trend.
fn without_line(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let places = || (0..values.len()).map(|place| place as f64 - (values.len() as f64 - 1.0) / 2.0);
    let product: f64 = places().zip(values).map(|(place, value)| place * (value - mean)).sum();
    let slope = product / places().map(|place| place * place).sum::<f64>().max(1.0);
    places().zip(values).map(|(place, value)| value - mean - slope * place).collect()
}

/// The probability that values without a trend are as well in order as these, upwards or downwards; 1 where their order
/// is not this one.
fn chance_of_order(values: &[f64], direction: f64) -> f64 {
    let count = values.len() as f64;
    let mean = (count + 1.0) / 2.0;
    let ranks = ranks(values);
    let spread: f64 = ranks.iter().map(|rank| (rank - mean).powi(2)).sum();
    let in_order = (count.powi(3) - count) / 12.0;
    let product: f64 = ranks.iter().zip(1..).map(|(rank, place)| (rank - mean) * (f64::from(place) - mean)).sum();
    let order = product / (spread * in_order).sqrt() * direction;
    if values.len() < 3 || spread == 0.0 || order <= 0.0 {
        return 1.0;
    }
    let t = order * ((count - 2.0) / (1.0 - order * order).max(f64::MIN_POSITIVE)).sqrt();
    let chance = 1.0 - student::within(t, values.len() - 2);
    if values.len() < FEW { chance * OF_FEW } else { chance }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(events: impl IntoIterator<Item = u64>) -> Vec<Tally> {
        events.into_iter().map(|events| Tally { events, seconds: 1.0 }).collect()
    }

    #[test]
    fn the_chance_is_not_below_that_of_the_tables() {
        // The exact ones of eight values are 1 % for ρ = 0.881 and 0.2 % for 0.952.
        let swapped = [1.0, 3.0, 2.0, 5.0, 4.0, 6.0, 8.0, 7.0];
        let order: f64 = 1.0 - 6.0 * 6.0 / 504.0;
        assert!((order - 0.929).abs() < 1e-3);
        let chance = chance_of_order(&swapped, 1.0);
        assert!((0.002..0.005).contains(&chance), "{chance}");
        let upwards: Vec<f64> = (0..32).map(f64::from).collect();
        assert!(chance_of_order(&upwards, 1.0) < 1e-9);
        assert_eq!(chance_of_order(&upwards, -1.0), 1.0);
        assert_eq!(chance_of_order(&[2.0; 12], 1.0), 1.0);
    }

    #[test]
    fn a_line_is_taken_away() {
        assert_eq!(without_line(&[3.0, 5.0, 7.0]), [0.0, 0.0, 0.0]);
        assert_eq!(without_line(&[0.0, 3.0, 0.0]), [-1.0, 2.0, -1.0]);
        assert!(without_line(&[]).is_empty() && without_line(&[4.0]) == [0.0]);
    }

    #[test]
    fn what_rises_or_falls_is_told_from_where_to_where() {
        let rising = rate_trend(&tallies((0..32).map(|block| 1_000 + 10 * block)));
        assert_eq!(rising, Some(Trend { from: 1_035.0, to: 1_275.0 }));
        let falling = rate_trend(&tallies((0..32).map(|block| 1_000 - 10 * block)));
        assert_eq!(falling, Some(Trend { from: 965.0, to: 725.0 }));
        let times: Vec<Times> = (0..32).map(|block| Times::of_values([(100 + 2 * block, 1_000)])).collect();
        assert!(percentile_trend(&times, 99.0).is_some_and(|trend| trend.is_rise()));
    }

    #[test]
    fn what_is_steady_or_as_good_as_steady_is_not() {
        assert_eq!(rate_trend(&tallies([1_000; 32])), None);
        assert_eq!(rate_trend(&tallies((0..32).map(|block| 1_000 + block))), None);
        assert_eq!(rate_trend(&tallies((0..32).map(|block| 1_000 + 500 * (block % 2)))), None);
        assert_eq!(rate_trend(&tallies([1, 2, 3, 4])), None);
    }
}
