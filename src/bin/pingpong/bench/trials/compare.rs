//! Two of the same: how many times the one is the other, and how sure that is.
//!
//! Ratios are made of logarithms: A to B is then as far as B to A, and nothing is ever below 0.

use std::fmt;

use super::sections::{Figure, Margin, SURE, Sections, Unsure, margin};
use super::student;
use super::times::{Join, Tally, Times};

/// How many times the first figure the second is, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Blocks depended on each other: `~` in reports.
    pub(crate) is_rough: bool,
    /// The probability that two which are the same look as different as these, or more so.
    pub(crate) chance: f64,
}

/// `1.31 [1.22 .. 1.40]`
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_rough { "~" } else { "" };
        write!(f, "{:.2} {mark}[{:.2} .. {:.2}]", self.ratio, self.low, self.high)
    }
}

/// What a ratio means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// None is seen; if there is one, it is not larger than this share.
    NoDifference {
        within: f64,
    },
    Less,
    More,
}

/// Of a hundred comparisons of two that are the same, about so many are to tell of a difference at all.
const ALARMS: f64 = 2.0;

/// The figures of a comparison, any of which may be told to differ: the rate and five percentiles. Intervals hold each figure
/// for itself; of six of them one is beside the truth by chance more often than anybody likes.
const FIGURES: f64 = 6.0;

/// Whether so small a probability is taken for a difference.
pub(super) fn is_seen(chance: f64) -> bool {
    chance < ALARMS / 100.0 / FIGURES
}

impl Ratio {
    fn of_logs(log: f64, error: f64, degrees: usize, is_rough: bool) -> Self {
        let half = student::quantile(degrees, SURE) * error;
        let chance = if log == 0.0 { 1.0 } else { 1.0 - student::within(log / error, degrees) };
        Self { ratio: log.exp(), low: (log - half).exp(), high: (log + half).exp(), is_rough, chance }
    }

    /// The middle of these logarithms, in order: the sign test and its interval, which ask nothing of their distribution.
    fn of_middle(logs: &[f64], is_rough: bool) -> Self {
        let count = logs.len();
        let middle = logs[(count - 1) / 2].midpoint(logs[count / 2]);
        let within = (0..count / 2).take_while(|beyond| 2.0 * at_most(*beyond, count) <= 1.0 - SURE).count();
        let (low, high) = (logs[within.saturating_sub(1)], logs[count - within.max(1)]);
        let [less, more] =
            [logs.iter().filter(|log| **log < 0.0).count(), logs.iter().filter(|log| **log > 0.0).count()];
        let chance = (2.0 * at_most(less.min(more), less + more)).min(1.0);
        Self { ratio: middle.exp(), low: low.exp(), high: high.exp(), is_rough, chance }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match is_seen(self.chance) {
            true if self.ratio > 1.0 => Verdict::More,
            true => Verdict::Less,
            false => Verdict::NoDifference { within: (self.high - 1.0).max(1.0 - self.low) },
        }
    }

    /// Whether there is a difference, and the second is more than this share above the first.
    pub(crate) fn is_more_by(&self, tolerance: f64) -> bool {
        self.verdict() == Verdict::More && self.ratio > 1.0 + tolerance
    }

    /// Whether there is a difference, and the second is more than this share below the first.
    pub(crate) fn is_less_by(&self, tolerance: f64) -> bool {
        self.verdict() == Verdict::Less && self.ratio < 1.0 - tolerance
    }

    /// In words, where `second` and `first` name what is compared: `B's p99 is 1.31 [1.22 .. 1.40] of A's`.
    pub(crate) fn told(&self, second: &str, first: &str) -> String {
        match self.verdict() {
            Verdict::NoDifference { within } => format!("no difference seen (within {})", per_cent(within)),
            Verdict::Less | Verdict::More => format!("{second} is {self} of {first}"),
        }
    }
}

/// The probability that of so many coins at most `heads` show heads.
fn at_most(heads: usize, coins: usize) -> f64 {
    let mut exactly = 0.5f64.powi(i32::try_from(coins).unwrap_or(i32::MAX));
    let mut sum = 0.0;
    for place in 0..=heads.min(coins) {
        sum += exactly;
        exactly *= (coins - place) as f64 / (place + 1) as f64;
    }
    sum
}

/// A share in per cent, rounded up: what is said to be within it has to be.
fn per_cent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        ..1.0 => format!("{:.1} %", (percent * 10.0).ceil() / 10.0),
        1.0..100.0 => format!("{:.0} %", percent.ceil()),
        _ => format!("a factor of {:.0}", (1.0 + share).ceil()),
    }
}

/// A percentile of two series of blocks that were measured in turn: each block of the one is a pair with that of the other.
/// What both suffer at the same time is no difference.
pub(crate) fn percentile_ratio_of_pairs(first: &[Times], second: &[Times], percent: f64) -> Result<Ratio, Unsure> {
    ratio_of_pairs(first, second, percent)
}

/// The rate of two series of blocks that were measured in turn.
pub(crate) fn rate_ratio_of_pairs(first: &[Tally], second: &[Tally]) -> Result<Ratio, Unsure> {
    ratio_of_pairs(first, second, 0.0)
}

/// With so many pairs the one in the middle tells, and not their mean: on a machine that does other things as well, some
/// turns are many times as slow as the others, and would hide a small difference in all of them.
const ENOUGH_PAIRS: usize = 16;

fn ratio_of_pairs<B: Figure>(first: &[B], second: &[B], percent: f64) -> Result<Ratio, Unsure> {
    let pairs: Vec<Pair<B>> = first.iter().cloned().zip(second.iter().cloned()).map(Pair).collect();
    let Sections { mut values, is_rough, .. } = Sections::of(&pairs, percent, <[f64]>::to_vec)?;
    if values.len() < ENOUGH_PAIRS {
        let margin = margin(&pairs, percent)?;
        return Ok(Ratio::of_logs(margin.figure, margin.error, margin.blocks - 1, margin.is_rough));
    }
    values.sort_by(f64::total_cmp);
    Ok(Ratio::of_middle(&values, is_rough))
}

/// Two blocks, of which the second follows the first.
#[derive(Clone)]
struct Pair<B>((B, B));

impl<B: Join> Join for Pair<B> {
    fn join(&mut self, later: &Self) {
        self.0.0.join(&later.0.0);
        self.0.1.join(&later.0.1);
    }
}

/// The logarithm of their ratio.
impl<B: Figure> Figure for Pair<B> {
    fn figure(&self, percent: f64) -> Option<f64> {
        let log = |block: &B| block.figure(percent).filter(|figure| *figure > 0.0).map(f64::ln);
        Some(log(&self.0.1)? - log(&self.0.0)?)
    }

    fn is_enough(&self, percent: f64) -> bool {
        self.0.0.is_enough(percent) && self.0.1.is_enough(percent)
    }

    /// What comes in lumps meets the one turn of a pair as often as the other.
    fn are_lumpy(_pairs: &[Self], _percent: f64, _ratio: f64) -> bool {
        false
    }
}

/// A percentile of two runs, each with blocks of its own (Welch), given for either: where some requests have no time at all,
/// those that have one are asked for a higher one. What differs from run to run is not in the interval.
pub(crate) fn percentile_ratio_of_blocks(
    first: &[Times],
    second: &[Times],
    percents: [f64; 2],
) -> Result<Ratio, Unsure> {
    ratio_of_blocks(first, second, percents)
}

/// The rate of two runs, each with blocks of its own (Welch). What differs from run to run is not in the interval.
pub(crate) fn rate_ratio_of_blocks(first: &[Tally], second: &[Tally]) -> Result<Ratio, Unsure> {
    ratio_of_blocks(first, second, [0.0; 2])
}

fn ratio_of_blocks<B: Figure>(first: &[B], second: &[B], percents: [f64; 2]) -> Result<Ratio, Unsure> {
    let (a, b) = (margin(first, percents[0])?, margin(second, percents[1])?);
    if !(a.figure > 0.0 && b.figure > 0.0) {
        return Err(Unsure::TooFewAnswers);
    }
    // The error of a logarithm is that of its number, as a share of it.
    let part = |margin: &Margin| ((margin.error / margin.figure).powi(2), margin.blocks as f64 - 1.0);
    let (error, degrees) = welch(part(&a), part(&b));
    Ok(Ratio::of_logs((b.figure / a.figure).ln(), error, degrees, a.is_rough || b.is_rough))
}

/// A figure of two groups of runs, one number a run (Student's t test): what differs from run to run is in the interval. The
/// runs of both groups are taken to differ alike, as those of one server do, so that one of the two may be a single run.
/// `None` where both are, or where a figure is 0.
pub(crate) fn ratio_of_runs(first: &[f64], second: &[f64]) -> Option<Ratio> {
    let (a, b) = (Group::of(first)?, Group::of(second)?);
    let degrees = first.len() + second.len() - 2;
    if degrees == 0 {
        return None;
    }
    let variance = (a.squares + b.squares) / degrees as f64;
    let error = (variance * (1.0 / first.len() as f64 + 1.0 / second.len() as f64)).sqrt();
    Some(Ratio::of_logs(b.mean - a.mean, error, degrees, false))
}

/// The logarithms of the figures of some runs.
struct Group {
    mean: f64,
    /// The sum of their squared distances from it.
    squares: f64,
}

impl Group {
    /// `None` where one is not above 0, or where there is none.
    fn of(runs: &[f64]) -> Option<Self> {
        let logs: Vec<f64> = runs.iter().filter(|figure| **figure > 0.0).map(|figure| figure.ln()).collect();
        if logs.is_empty() || logs.len() < runs.len() {
            return None;
        }
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        Some(Self { mean, squares: logs.iter().map(|log| (log - mean).powi(2)).sum() })
    }
}

/// The error of a difference of two means, each with its squared error and its degrees of freedom, and those of the
/// difference.
fn welch((a, of_a): (f64, f64), (b, of_b): (f64, f64)) -> (f64, usize) {
    let error = a + b;
    let degrees = if error > 0.0 { error.powi(2) / (a.powi(2) / of_a + b.powi(2) / of_b) } else { of_a + of_b };
    (error.sqrt(), degrees as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(ratio: f64, low: f64, high: f64) -> Ratio {
        let chance = if low > 1.0 || high < 1.0 { 1e-6 } else { 0.1 };
        Ratio { ratio, low, high, is_rough: false, chance }
    }

    fn tallies<const N: usize>(events: [u64; N]) -> Vec<Tally> {
        events.map(|events| Tally { events, seconds: 1.0 }).to_vec()
    }

    #[track_caller]
    fn are_near(ratio: Ratio, expected: [f64; 3]) {
        for (number, expected) in [ratio.ratio, ratio.low, ratio.high].into_iter().zip(expected) {
            assert!((number - expected).abs() < 1e-3, "{ratio:?}");
        }
    }

    #[test]
    fn a_verdict_is_in_words() {
        let told = |ratio: Ratio| ratio.told("B's p99", "A's");
        assert_eq!(told(ratio(1.31, 1.22, 1.4)), "B's p99 is 1.31 [1.22 .. 1.40] of A's");
        assert_eq!(told(ratio(0.5, 0.4, 0.6)), "B's p99 is 0.50 [0.40 .. 0.60] of A's");
        assert_eq!(told(ratio(1.01, 0.98, 1.029)), "no difference seen (within 3 %)");
        assert_eq!(told(ratio(1.0, 0.9985, 1.001)), "no difference seen (within 0.2 %)");
        assert_eq!(told(ratio(1.5, 0.9, 4.23)), "no difference seen (within a factor of 5)");
        let rough = Ratio { is_rough: true, ..ratio(2.0, 1.5, 2.5) };
        assert_eq!(told(rough), "B's p99 is 2.00 ~[1.50 .. 2.50] of A's");
    }

    #[test]
    fn a_difference_counts_where_it_is_seen_and_beyond_what_is_tolerated() {
        assert!(ratio(1.2, 1.01, 1.4).is_more_by(0.05));
        assert!(!ratio(1.2, 0.99, 1.4).is_more_by(0.05));
        assert!(!ratio(1.04, 1.03, 1.05).is_more_by(0.05));
        assert!(ratio(0.9, 0.85, 0.94).is_less_by(0.05) && !ratio(0.9, 0.85, 0.94).is_more_by(0.05));
    }

    #[test]
    fn pairs_forgive_what_both_suffer() {
        // Both are slowed to a half now and then; the second is always a tenth faster.
        let first = tallies([100, 50, 100, 100, 50, 50, 100, 50]);
        let second = tallies([110, 55, 110, 110, 55, 55, 110, 55]);
        are_near(rate_ratio_of_pairs(&first, &second).unwrap(), [1.1, 1.1, 1.1]);
        are_near(rate_ratio_of_pairs(&second, &first).unwrap(), [1.0 / 1.1, 1.0 / 1.1, 1.0 / 1.1]);
        let apart = rate_ratio_of_blocks(&first, &second).unwrap();
        assert!(apart.low < 0.9 && apart.high > 1.3, "{apart:?}");
    }

    #[test]
    fn of_many_pairs_the_middle_tells_though_some_are_far_off() {
        assert!((at_most(0, 8) - 1.0 / 256.0).abs() < 1e-12 && (at_most(3, 7) - 0.5).abs() < 1e-12);
        assert_eq!((at_most(0, 0), at_most(9, 9)), (1.0, 1.0));
        // A tenth slower; every fifth turn of either is slower by many times, for another reason.
        let slow = |factor: u64, off: u64| {
            (0..32).map(move |turn| factor * if (turn + off).is_multiple_of(5) { 20 } else { 1 })
        };
        let times = |factor: u64, off: u64| -> Vec<Times> {
            slow(factor, off).map(|nanos| Times::of_values([(nanos * 100, 100)])).collect()
        };
        let ratio = percentile_ratio_of_pairs(&times(100, 0), &times(110, 2), 50.0).unwrap();
        assert!(ratio.verdict() == Verdict::More && (ratio.ratio - 1.1).abs() < 0.01, "{ratio:?}");
        // The tenth and the twenty-third of 32 are the ends of its interval.
        let logs: Vec<f64> = (0..32).map(|place| f64::from(place) - 3.0).collect();
        let ratio = Ratio::of_middle(&logs, false);
        assert_eq!([ratio.ratio, ratio.low, ratio.high].map(|end| end.ln().round() as i64), [13, 6, 19]);
        assert!((ratio.chance - 2.0 * at_most(3, 31)).abs() < 1e-12);
    }

    #[test]
    fn percentiles_of_blocks_are_compared() {
        let blocks = |nanos: u64| -> Vec<Times> {
            (0..32).map(|block| Times::of_values([(nanos + block * 37 % 5, 2_000)])).collect()
        };
        let ratio = percentile_ratio_of_blocks(&blocks(100), &blocks(150), [99.0; 2]).unwrap();
        assert!(ratio.verdict() == Verdict::More && ratio.low > 1.4 && ratio.high < 1.55, "{ratio:?}");
        assert_eq!(percentile_ratio_of_pairs(&blocks(100), &blocks(150), 99.9), Err(Unsure::TooFewAnswers));
        assert_eq!(percentile_ratio_of_pairs(&blocks(100)[..7], &blocks(150), 50.0), Err(Unsure::TooFewBlocks));
    }

    #[test]
    fn groups_of_runs_are_compared_as_student_does() {
        // Of logarithms 0, 1, 2 and 1, 3: means 1 and 2, squares 2 and 2, three degrees of freedom.
        let e = |power: i32| std::f64::consts::E.powi(power);
        let ratio = ratio_of_runs(&[e(0), e(1), e(2)], &[e(1), e(3)]).unwrap();
        let half: f64 = 3.182 * (4.0f64 / 3.0 * (1.0 / 3.0 + 1.0 / 2.0)).sqrt();
        are_near(ratio, [e(1), (1.0 - half).exp(), ratio.high]);
        assert!((ratio.high.ln() - 1.0 - half).abs() < 1e-3);
        // Three runs a side that differ by a tenth are enough to see a third.
        let ratio = ratio_of_runs(&[47_868.0, 42_581.0, 41_428.0], &[29_348.0, 31_186.0, 29_172.0]).unwrap();
        assert!(ratio.is_less_by(0.05) && ratio.high < 0.8, "{ratio:?}");
    }

    #[test]
    fn a_single_run_differs_as_the_others_do() {
        let ratio = ratio_of_runs(&[100.0, 110.0, 90.0], &[200.0]).unwrap();
        let backwards = ratio_of_runs(&[200.0], &[100.0, 110.0, 90.0]).unwrap();
        assert!(ratio.low > 1.0 && (ratio.ratio * backwards.ratio - 1.0).abs() < 1e-9);
        assert!((ratio.low * backwards.high - 1.0).abs() < 1e-9);
        assert_eq!(ratio_of_runs(&[100.0], &[200.0]), None);
        assert_eq!(ratio_of_runs(&[100.0, 0.0], &[200.0, 201.0]), None);
        assert_eq!(ratio_of_runs(&[], &[1.0, 2.0]), None);
        are_near(ratio_of_runs(&[2.0, 2.0], &[3.0, 3.0]).unwrap(), [1.5, 1.5, 1.5]);
    }
}
