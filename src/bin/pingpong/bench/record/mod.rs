//! What came of a load: the one record that the progress line, the report and the log are made from.
//!
//! The load tells the ledger of each request that it sends and of what became of it; nothing here knows the load, a
//! connection or a report.
//!
//! - `ledger`: which requests count, and what came of each; `measuring`: the time in which they do
//! - `request`: what it is told
//! - `counts`: how often each fact came about
//! - `mistakes`: the first answers that were not right
//! - `times`: histograms of durations; `passage`: of the probe's messages, part by part
//! - `blocks`: the measured time in blocks of equal length
//! - `cost`: what the load generator itself used; `transport`: what TCP did beneath it

mod blocks;
mod cost;
mod counts;
mod ledger;
mod measuring;
mod mistakes;
mod passage;
mod request;
mod times;
mod transport;

pub(super) use blocks::Outcomes;
pub(super) use cost::{Cost, CostMeter, Polling, Shares};
pub(super) use counts::Counts;
pub(crate) use counts::Fact;
pub(super) use ledger::Ledger;
pub(super) use mistakes::{Mistakes, Wrong};
pub(super) use passage::{Part as ProbePart, Passage, Passages, Row, Slowest};
pub(super) use request::{Answered, Hindrance, Request};
pub(super) use times::{Latency, Part, histogram, histogram_up_to, percentile, values_of};
pub(super) use transport::Transport;
