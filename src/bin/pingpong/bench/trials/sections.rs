//! How sure a figure of a run is, from its blocks: sectioning (Asmussen & Glynn, Stochastic Simulation, III.5).
//!
//! The figure of the whole run is taken as it is, and its 95 % interval is that ± t · s / √b, where b is the number of
//! blocks, t the quantile of Student's distribution for b − 1 degrees of freedom, and s how far the blocks' own figures
//! lie from that of all blocks together. (From their mean they would seem closer: the percentile of a small block is off
//! to one side, and that is not to make the interval narrow.)
//!
//! This holds for blocks that are independent of each other and have answers enough:
//!
//! - Where a block is like the one before it, neighbours are joined, and joined again, down to 8 blocks. So they are where
//!   what lies beyond a percentile comes in lumps longer than a block, which is seen earlier in how unequally it is spread
//!   over them. The margin is then marked: what lasts for a good part of the run may be in it or not.
//! - Blocks with fewer than 10 answers beyond a percentile say too little of it. They are joined as well, and where that
//!   does not suffice for most of them, there is no margin.

use std::fmt;

use super::student;
use super::times::{Join, Tally, Times};

/// Fewer blocks than this say nothing.
pub(crate) const LEAST_BLOCKS: usize = 8;

/// The answers that a block has to have beyond a percentile.
const BEYOND: f64 = 10.0;

/// Independent answers that a block has to have beyond a percentile. By trial: with fewer, intervals hold the truth in
/// fewer than 92 of 100 runs whose answers are correlated.
const INDEPENDENT: f64 = 0.7;

/// What an interval is meant to hold.
pub(super) const SURE: f64 = 0.95;

/// How sure a figure is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Margin {
    /// The figure, of all blocks together.
    pub(crate) figure: f64,
    /// Its standard error.
    pub(crate) error: f64,
    /// From how many blocks, joined or not.
    pub(crate) blocks: usize,
    /// The blocks depended on each other, and were joined where there were enough of them: `~` in reports.
    pub(crate) is_rough: bool,
}

impl Margin {
    /// Half of the 95 % interval.
    pub(crate) fn half(&self) -> f64 {
        self.half_of(SURE)
    }

    /// Half of the interval that holds the truth in this share of the runs.
    pub(crate) fn half_of(&self, sure: f64) -> f64 {
        student::quantile(self.blocks - 1, sure) * self.error
    }
}

/// Why a figure has no margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsure {
    TooFewAnswers,
    TooFewBlocks,
}

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewAnswers => write!(f, "fewer than {BEYOND} answers beyond it in most blocks of the run"),
            Self::TooFewBlocks => write!(f, "answers in fewer than {LEAST_BLOCKS} blocks of the run"),
        }
    }
}

/// A figure of a block. Where it is one of many percentiles, `percent` tells which.
pub(crate) trait Figure: Join {
    fn figure(&self, percent: f64) -> Option<f64>;

    /// Whether the block has answers enough for it.
    fn is_enough(&self, percent: f64) -> bool;

    /// Whether what makes this figure, which is that of them all, is in some of the blocks alone.
    fn are_lumpy(blocks: &[Self], percent: f64, figure: f64) -> bool;
}

/// A percentile.
impl Figure for Times {
    fn figure(&self, percent: f64) -> Option<f64> {
        self.percentile(percent)
    }

    fn is_enough(&self, percent: f64) -> bool {
        // A hundredth of 1,000 is 10, also where binary fractions make it a trifle less.
        self.len() as f64 * (100.0 - percent) / 100.0 > BEYOND - 1e-6
    }

    /// The shares of the blocks beyond the percentile of all vary by p (1 − p) / n, where n is how many answers of a block
    /// count as independent. With fewer than one of them beyond it, the blocks' own percentiles are something else.
    fn are_lumpy(blocks: &[Self], percent: f64, figure: f64) -> bool {
        let shares: Vec<f64> = blocks.iter().filter_map(|block| block.share_beyond(figure)).collect();
        let beyond = 1.0 - percent / 100.0;
        let variance = shares.iter().map(|share| (share - beyond).powi(2)).sum::<f64>() / shares.len() as f64;
        variance > percent / 100.0 * beyond * beyond.min(1.0 - beyond) / INDEPENDENT
    }
}

/// A rate.
impl Figure for Tally {
    fn figure(&self, _percent: f64) -> Option<f64> {
        self.rate()
    }

    fn is_enough(&self, _percent: f64) -> bool {
        true
    }

    fn are_lumpy(_blocks: &[Self], _percent: f64, _figure: f64) -> bool {
        false
    }
}

/// How sure a percentile is.
pub(crate) fn percentile_margin(blocks: &[Times], percent: f64) -> Result<Margin, Unsure> {
    margin(blocks, percent)
}

/// How sure a rate is.
pub(crate) fn rate_margin(blocks: &[Tally]) -> Result<Margin, Unsure> {
    margin(blocks, 0.0)
}

pub(super) fn margin<B: Figure>(blocks: &[B], percent: f64) -> Result<Margin, Unsure> {
    let Sections { figure, values, is_rough } = Sections::of(blocks, percent, <[f64]>::to_vec)?;
    let squares: f64 = values.iter().map(|value| (value - figure).powi(2)).sum();
    let count = values.len() as f64;
    Ok(Margin { figure, error: (squares / (count - 1.0) / count).sqrt(), blocks: values.len(), is_rough })
}

/// The figures of blocks that were joined as far as needed.
#[derive(Debug)]
pub(super) struct Sections {
    /// Of all of them together.
    figure: f64,
    pub(super) values: Vec<f64>,
    pub(super) is_rough: bool,
}

impl Sections {
    /// Whether they depend on each other is told by what `looked_at` leaves of their figures.
    pub(super) fn of<B: Figure>(blocks: &[B], percent: f64, looked_at: fn(&[f64]) -> Vec<f64>) -> Result<Self, Unsure> {
        let whole = joined(blocks).and_then(|whole| whole.figure(percent));
        let figure = whole.ok_or(Unsure::TooFewBlocks)?;
        let are_enough =
            |blocks: &[B]| 2 * blocks.iter().filter(|block| block.is_enough(percent)).count() > blocks.len();
        let values = |blocks: &[B]| blocks.iter().filter_map(|block| block.figure(percent)).collect::<Vec<f64>>();
        let depend = |blocks: &[B]| B::are_lumpy(blocks, percent, figure) || are_alike(&looked_at(&values(blocks)));
        let mut blocks = blocks.to_vec();
        while can_be_joined(&blocks) && !are_enough(&blocks) {
            blocks = in_pairs(&blocks);
        }
        let is_rough = depend(&blocks);
        while can_be_joined(&blocks) && depend(&blocks) {
            blocks = in_pairs(&blocks);
        }
        match values(&blocks) {
            values if values.len() < LEAST_BLOCKS => Err(Unsure::TooFewBlocks),
            _ if !are_enough(&blocks) => Err(Unsure::TooFewAnswers),
            values => Ok(Self { figure, values, is_rough }),
        }
    }
}

fn can_be_joined<B>(blocks: &[B]) -> bool {
    blocks.len() >= 2 * LEAST_BLOCKS
}

/// Each block with the next. One that is left over is left out.
fn in_pairs<B: Join>(blocks: &[B]) -> Vec<B> {
    blocks.chunks_exact(2).filter_map(joined).collect()
}

pub(super) fn joined<B: Join>(blocks: &[B]) -> Option<B> {
    let (first, rest) = blocks.split_first()?;
    let mut whole = first.clone();
    rest.iter().for_each(|block| whole.join(block));
    Some(whole)
}

/// Whether each value is like the one before it: the correlation of neighbours' ranks (lag 1), at 5 %.
///
/// Ranks, because one block in which the server stood still would hide any likeness of the others. Mean and spread of
/// the correlation of independent values: Moran, Some theorems on time series, 1948.
fn are_alike(values: &[f64]) -> bool {
    const FIVE_PERCENT: f64 = 1.645;
    let ranks = ranks(values);
    let count = ranks.len() as f64;
    let mean = (count + 1.0) / 2.0;
    let spread: f64 = ranks.iter().map(|rank| (rank - mean).powi(2)).sum();
    if spread == 0.0 {
        return false;
    }
    let likeness: f64 = ranks.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    let of_chance = (count - 2.0) / (count * (count - 1.0).sqrt());
    (likeness / spread + 1.0 / count) / of_chance > FIVE_PERCENT
}

/// The place of each value among all, from 1; equal ones share their mean place.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let (below, equal) = values.iter().fold((0, 0), |(below, equal), other| {
            (below + usize::from(other < value), equal + usize::from(other == value))
        });
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of a thousand times, all the same in a block.
    fn blocks(times: impl IntoIterator<Item = u64>) -> Vec<Times> {
        times.into_iter().map(|nanos| Times::of_values([(nanos, 1_000)])).collect()
    }

    fn tallies(events: impl IntoIterator<Item = u64>) -> Vec<Tally> {
        events.into_iter().map(|events| Tally { events, seconds: 0.5 }).collect()
    }

    #[test]
    fn a_rate_has_the_interval_of_the_textbook() {
        // Of 8 numbers whose mean is 10 and whose standard deviation is √(20 / 7).
        let margin = rate_margin(&tallies([4, 6, 4, 6, 5, 4, 5, 6])).unwrap();
        assert_eq!((margin.figure, margin.blocks, margin.is_rough), (10.0, 8, false));
        assert!((margin.error - (24.0f64 / 7.0 / 8.0).sqrt()).abs() < 1e-9, "{margin:?}");
        assert!((margin.half() - 2.3646 * margin.error).abs() < 1e-4);
    }

    #[test]
    fn blocks_lie_from_the_figure_of_the_whole_and_not_from_their_mean() {
        // p90 of all is 200; seven blocks say 100.
        let margin = percentile_margin(&blocks([100, 100, 100, 200, 100, 100, 100, 100]), 90.0).unwrap();
        assert!((margin.figure - 200.2).abs() < 1e-9, "{margin:?}");
        assert!(margin.error > (7.0f64 * 99.0 * 99.0 / 7.0 / 8.0).sqrt(), "{margin:?}");
    }

    #[test]
    fn equal_blocks_leave_no_doubt() {
        let margin = percentile_margin(&blocks([70; 32]), 99.0).unwrap();
        assert_eq!((margin.half(), margin.blocks, margin.is_rough), (0.0, 32, false));
        assert_eq!(rate_margin(&tallies([7; 9])).unwrap().half(), 0.0);
    }

    #[test]
    fn blocks_that_depend_on_each_other_are_joined_and_the_margin_is_marked() {
        let in_runs = (0..32).map(|block| if block / 8 % 2 == 0 { 100 } else { 110 + block });
        let margin = percentile_margin(&blocks(in_runs), 50.0).unwrap();
        assert_eq!((margin.blocks, margin.is_rough), (8, true));
        let (few, odd) = (tallies([1, 2, 3, 4, 5, 6, 7, 8, 9]), tallies(1..=21));
        assert_eq!(rate_margin(&few).map(|margin| (margin.blocks, margin.is_rough)), Ok((9, true)));
        assert_eq!(rate_margin(&odd).map(|margin| (margin.blocks, margin.is_rough)), Ok((10, true)));
    }

    #[test]
    fn too_little_is_told() {
        assert_eq!(percentile_margin(&[], 50.0), Err(Unsure::TooFewBlocks));
        assert_eq!(percentile_margin(&blocks([70; 7]), 50.0), Err(Unsure::TooFewBlocks));
        assert_eq!(percentile_margin(&vec![Times::default(); 32], 50.0), Err(Unsure::TooFewBlocks));
        // 1,000 answers a block: 10 beyond p99, 1 beyond p99.9; in a fourth of the blocks, 4.
        assert_eq!(percentile_margin(&blocks([70; 32]), 99.0).map(|margin| margin.blocks), Ok(32));
        assert_eq!(percentile_margin(&blocks([70; 32]), 99.9), Err(Unsure::TooFewAnswers));
        // 250 answers a block: joined, they are enough.
        let small: Vec<Times> = (0..32).map(|_| Times::of_values([(70, 250)])).collect();
        let margin = percentile_margin(&small, 99.0).unwrap();
        assert_eq!((margin.blocks, margin.is_rough), (8, false));
    }

    #[test]
    fn only_likeness_of_neighbours_is_dependence() {
        assert!(are_alike(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]));
        assert!(!are_alike(&[1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]));
        assert!(!are_alike(&[3.0; 32]));
        assert!(!are_alike(&[1.0]) && !are_alike(&[]));
    }

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [2.5, 1.0, 2.5, 4.0]);
    }
}
