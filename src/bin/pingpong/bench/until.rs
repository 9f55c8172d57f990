//! `--until 'p99±5%'`: a run ends when a percentile is known so well.
//!
//! Who stops as soon as an interval looks narrow stops more often when it is so by chance, and then it holds the truth less
//! often than it says. So there are [`LOOKS`] alone, at ends of blocks, and the interval that has to be narrow is wider
//! than the one that the report shows: one that holds the truth in 99 of 100 runs, for five looks with a chance of one in
//! a hundred each make one of one in twenty (Bonferroni). An interval that is marked as rough is not relied on.

use std::time::Duration;

use pingpong::Moment;

use super::record::{Latency, Ledger};
use super::requirement::Kind;
use super::trials::{Times, percentile_margin};

/// After how many of the 64 blocks of `--duration` it is looked.
const LOOKS: [usize; 5] = [16, 24, 32, 48, 64];

/// How sure an interval is that ends a run.
const SURE: f64 = 0.99;

/// How well a percentile is to be known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Until {
    /// As the user wrote it.
    pub(crate) text: String,
    pub(crate) kind: Kind,
    pub(crate) percent: f64,
    /// Half of the interval, as a share of the figure.
    pub(crate) share: f64,
}

/// The looks at a run so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks {
    /// How many there have been.
    taken: usize,
    /// Half of the interval at the last one, where there was any, as a share.
    pub(super) share: Option<f64>,
    /// It was marked as rough.
    pub(super) is_rough: bool,
    pub(super) is_reached: bool,
}

impl Looks {
    /// Looks, where it is time for that. Returns whether the run may end.
    pub(super) fn look(&mut self, until: &Until, ledger: &Ledger, now: Moment) -> bool {
        let full = ledger.full_blocks(now).len();
        let Some(due) = LOOKS.get(self.taken).filter(|due| **due <= full && ledger.covers(now)) else { return false };
        let times = match until.kind {
            Kind::Service => Some(&ledger.service),
            Kind::Response => ledger.response.as_ref(),
            Kind::Lag => ledger.lag.as_ref(),
            // Not in blocks: the command line refuses it.
            Kind::Probe(_) => None,
            Kind::Main => Some(ledger.response.as_ref().unwrap_or(&ledger.service)),
        };
        let Some(times) = times else { return false };
        // The slowest answers to the last block's requests are still to come.
        if !ledger.is_complete() && ledger.measured(now) < ledger.blocks.length() * *due as u32 + longest(times) {
            return false;
        }
        self.taken += 1;
        let blocks: Vec<Times> = (0..*due).map(|block| times.blocks.times(block)).collect();
        let margin = percentile_margin(&blocks, until.percent).ok();
        self.share = margin.map(|margin| margin.half_of(SURE) / margin.figure.max(f64::MIN_POSITIVE));
        self.is_rough = margin.is_some_and(|margin| margin.is_rough);
        self.is_reached = margin.is_some() && !self.is_rough && self.share <= Some(until.share);
        self.is_reached
    }

    /// Looks for the last time, when all answers have come.
    pub(super) fn end(&mut self, until: &Until, ledger: &Ledger, now: Moment) {
        while !self.is_reached && self.taken < LOOKS.len() {
            let taken = self.taken;
            self.look(until, ledger, now);
            if self.taken == taken {
                return;
            }
        }
    }
}

fn longest(times: &Latency) -> Duration {
    Duration::from_nanos(times.total.max())
}
