//! What figures of a load are worth: statistics over blocks of a run, over pairs of blocks, and over runs.
//!
//! Pure functions: nothing here knows a socket, a clock, an option or a report. Whoever measures cuts its time into
//! blocks of equal length, in order, and asks:
//!
//! - `times`: [`Times`], the times of a block as a histogram; [`Tally`], events in a time
//! - `sections`: how sure a percentile or a rate is ([`percentile_margin`], [`rate_margin`])
//! - `trend`: whether a figure rose or fell from block to block
//! - `compare`: ratios of two series of blocks or of two groups of runs, and what they mean
//! - `failures`: whether more requests fail than before
//! - `student`: the quantiles that this needs
//!
//! A percentile is given in per cent, a time in nanoseconds. Every interval is meant to hold the truth in 95 of 100 runs;
//! `tests` shows that it does, where the answers are independent of each other, and that the others are marked.

#[cfg(test)]
mod alarms;
mod compare;
mod failures;
mod sections;
mod student;
#[cfg(test)]
mod tests;
mod times;
mod trend;

pub(crate) use compare::{
    Ratio, Verdict, percentile_ratio_of_blocks, percentile_ratio_of_pairs, rate_ratio_of_blocks, rate_ratio_of_pairs,
    ratio_of_runs,
};
pub(crate) use failures::{Failures, are_more};
pub(crate) use sections::{Margin, Unsure, percentile_margin, rate_margin};
pub(crate) use times::{BINS, Join, Tally, Times, bin_of};
pub(crate) use trend::{Trend, percentile_trend, rate_trend};
