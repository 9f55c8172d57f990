//! The blocks of a run as a report has them: at most 32 of equal length, each with its times and how its requests ended.

use std::collections::BTreeMap;
use std::io;

use pingpong::Moment;
use serde_json::{Value, json};

use super::alike::Span;
use super::json::foreign;
use super::merge::both;
use super::sheet::{Sheet, lists, numbers};
use crate::bench::record::{Ledger, Outcomes};
use crate::bench::trials::{Join, Tally, Times};

/// Blocks in a report, at the most.
const MOST: usize = 32;

/// The kinds of times that blocks have.
pub(super) const KINDS: [&str; 3] = ["service", "response", "lag"];

/// Blocks that follow each other, all of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Blocks {
    /// When the first one began, in seconds of the wall clock since 1970.
    pub(super) from: f64,
    /// The length of each.
    pub(super) seconds: f64,
    pub(super) outcomes: Vec<Outcomes>,
    /// Of each kind, the times of each block; `None` of a kind that was not measured.
    times: [Option<Vec<Times>>; KINDS.len()],
}

impl Blocks {
    /// Of a load that has ended, whose measured time began then by the wall clock.
    pub(super) fn of(ledger: &Ledger, from: f64, ended: Moment) -> Self {
        let outcomes = ledger.full_blocks(ended).to_vec();
        let kinds = [Some(&ledger.service), ledger.response.as_ref(), ledger.lag.as_ref()];
        let times =
            kinds.map(|kind| kind.map(|kind| (0..outcomes.len()).map(|block| kind.blocks.times(block)).collect()));
        let blocks = Self { from, seconds: ledger.blocks.length().as_secs_f64(), outcomes, times };
        if blocks.outcomes.len() > MOST { blocks.in_pairs() } else { blocks }
    }

    /// All of them in one: a turn, where several servers take turns.
    pub(super) fn in_one(self) -> Self {
        let (from, seconds) = (self.from, self.seconds * self.outcomes.len() as f64);
        self.in_cells(from, seconds, 1, |_| 0)
    }

    /// Goes on with these, which are as long.
    pub(super) fn follow(&mut self, later: Self) {
        self.outcomes.extend(later.outcomes);
        for (kind, later) in self.times.iter_mut().zip(later.times) {
            *kind = both(kind.take(), later, |first, then| [first, then].concat());
        }
    }

    /// Each with the next. One that is left over is left out.
    fn in_pairs(self) -> Self {
        let (from, seconds) = (self.from, 2.0 * self.seconds);
        let pairs = self.outcomes.len() / 2;
        self.in_cells(from, seconds, pairs, |block| block / 2)
    }

    /// The times of a kind.
    pub(super) fn times(&self, kind: &str) -> &[Times] {
        let place = KINDS.iter().position(|other| *other == kind);
        place.and_then(|place| self.times[place].as_deref()).unwrap_or_default()
    }

    /// Right answers.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        let tally = |outcomes: &Outcomes| Tally { events: outcomes.answered, seconds: self.seconds };
        self.outcomes.iter().map(tally).collect()
    }

    /// Those of several runs, added up by the wall clock over the time that they have in common: each block to where most
    /// of it is, if one is as long as the other. Runs that began within half a block of each other lie cell on cell.
    pub(super) fn sum(runs: &[Self], common: Span) -> Self {
        let seconds = runs.iter().map(|run| run.seconds).fold(0.0, f64::max);
        let cell = |run: &Self, block: f64| ((run.from - common.from + block * run.seconds) / seconds).floor();
        // Every run is in every cell, or there are none.
        let ends = |run: &Self| if cell(run, 0.5) > 0.0 { 0.0 } else { cell(run, run.outcomes.len() as f64 + 0.5) };
        let longest = runs.iter().map(|run| run.outcomes.len()).max().unwrap_or(0);
        let count = (runs.iter().map(ends).fold(f64::INFINITY, f64::min).max(0.0) as usize).min(longest);
        let in_cells = |run: &Self| {
            // What lies before the first cell is in none.
            let place =
                |block| Some(cell(run, block as f64 + 0.5)).filter(|cell| *cell >= 0.0).map(|cell| cell as usize);
            run.clone().in_cells(common.from, seconds, count, |block| place(block).unwrap_or(usize::MAX))
        };
        runs.iter().map(in_cells).reduce(Self::plus).unwrap_or_default()
    }

    /// Each block in one of so many cells, or in none.
    fn in_cells(self, from: f64, seconds: f64, count: usize, cell: impl Fn(usize) -> usize) -> Self {
        let mut outcomes = vec![Outcomes::default(); count];
        for (block, ended) in self.outcomes.into_iter().enumerate() {
            if let Some(sum) = outcomes.get_mut(cell(block)) {
                sum.add(ended);
            }
        }
        let times = self.times.map(|kind| {
            let mut cells = vec![Times::default(); count];
            for (block, times) in kind?.iter().enumerate() {
                if let Some(sum) = cells.get_mut(cell(block)) {
                    sum.join(times);
                }
            }
            Some(cells)
        });
        Self { from, seconds, outcomes, times }
    }

    /// With the same cells. Those that only one of them has are in none.
    fn plus(mut self, other: Self) -> Self {
        let count = self.outcomes.len().min(other.outcomes.len());
        self.outcomes.truncate(count);
        self.times.iter_mut().flatten().for_each(|kind| kind.truncate(count));
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, ended)| sum.add(ended));
        for (kind, others) in self.times.iter_mut().zip(other.times) {
            *kind = kind.take().zip(others).map(|(mut kind, others)| {
                kind.iter_mut().zip(&others).for_each(|(sum, times)| sum.join(times));
                kind
            });
        }
        self
    }

    /// In columns: of each block a number, or its times and how many there are of each in turn.
    pub(super) fn to_json(&self) -> Value {
        let flat = |times: &Times| -> Vec<u64> { times.values().flat_map(|(nanos, count)| [nanos, count]).collect() };
        let mut columns = json!({
            "unit": "ns",
            "from_unix_seconds": self.from,
            "seconds": self.seconds,
            "requests": self.outcomes.iter().map(|outcomes| outcomes.answered).collect::<Vec<_>>(),
            "errors": self.outcomes.iter().map(|outcomes| outcomes.failed).collect::<Vec<_>>(),
        });
        for (name, kind) in KINDS.into_iter().zip(&self.times) {
            columns[name] = kind.as_ref().map(|kind| kind.iter().map(flat).collect::<Vec<_>>()).into();
        }
        columns
    }

    /// Reads them back; none where there are none, as in results of earlier versions.
    pub(super) fn from_json(text: &str) -> io::Result<Self> {
        let Ok(columns) = Sheet::of(text) else { return Ok(Self::default()) };
        Self::of_columns(&columns).ok_or_else(|| foreign("its blocks are broken"))
    }

    fn of_columns(columns: &Sheet<'_>) -> Option<Self> {
        let [answered, failed] = ["requests", "errors"].map(|name| numbers(columns.get(name)?));
        let (answered, failed) = answered.zip(failed).filter(|(answered, failed)| answered.len() == failed.len())?;
        let ended = answered.into_iter().zip(failed);
        let outcomes: Vec<Outcomes> = ended.map(|(answered, failed)| Outcomes { answered, failed }).collect();
        let times = |flat: &str| {
            let flat = numbers(flat)?;
            let (pairs, []) = flat.as_chunks::<2>() else { return None };
            Some(Times::of_values(pairs.iter().map(|[nanos, count]| (*nanos, *count))))
        };
        let mut kinds = [const { None }; KINDS.len()];
        for (kind, name) in kinds.iter_mut().zip(KINDS) {
            let Some(list) = columns.get(name).filter(|list| *list != "null") else { continue };
            let blocks: Vec<Times> = lists(list)?.map(times).collect::<Option<_>>()?;
            // Of fewer blocks nobody knows which are missing.
            if blocks.len() != outcomes.len() {
                return None;
            }
            *kind = Some(blocks);
        }
        let [from, seconds] = ["from_unix_seconds", "seconds"].map(|name| columns.get(name)?.parse().ok());
        Some(Self { from: from?, seconds: seconds?, outcomes, times: kinds })
    }
}

/// The blocks of many runs, added up when they come. It is known only at the end which time all have in common; but those
/// that began together will lie cell on cell, wherever that is.
#[derive(Debug, Default)]
pub(super) struct BlockSums {
    /// By length, and by when they began in eighths of it: at most as many as there are for runs at the same time. Where there
    /// are more, nothing is left.
    groups: BTreeMap<(u64, i64), Blocks>,
    are_many: bool,
}

impl BlockSums {
    pub(super) fn add(&mut self, run: Blocks) {
        const MOST: usize = 128;
        let key = (run.seconds.to_bits(), (run.from / run.seconds.max(f64::MIN_POSITIVE) * 8.0) as i64);
        let sum = match self.groups.remove(&key) {
            Some(sum) => Blocks { from: sum.from.max(run.from), ..sum.plus(run) },
            None => run,
        };
        self.groups.insert(key, sum);
        if self.are_many || self.groups.len() > MOST {
            self.leave_out();
        }
    }

    /// Leaves all of them out of the sum, those that are still to come, too.
    pub(super) fn leave_out(&mut self) {
        self.are_many = true;
        self.groups.clear();
    }

    /// Whether blocks of too many lengths or beginnings were left out.
    pub(super) fn are_many(&self) -> bool {
        self.are_many
    }

    /// Of one run.
    pub(super) fn only(self) -> Blocks {
        self.groups.into_values().next().unwrap_or_default()
    }

    pub(super) fn sum(self, common: Span) -> Blocks {
        let groups: Vec<Blocks> = self.groups.into_values().collect();
        Blocks::sum(&groups, common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks with these numbers of answers, of 100 ns each.
    fn blocks(from: f64, seconds: f64, answered: impl IntoIterator<Item = u64>) -> Blocks {
        let outcomes: Vec<Outcomes> =
            answered.into_iter().map(|answered| Outcomes { answered, failed: answered / 10 }).collect();
        let times = outcomes.iter().map(|outcomes| Times::of_values([(100, outcomes.answered)])).collect();
        Blocks { from, seconds, outcomes, times: [Some(times), None, None] }
    }

    #[test]
    fn more_than_32_are_joined_in_pairs() {
        assert_eq!(blocks(7.0, 0.5, 1..=5).in_pairs(), blocks_with(7.0, 1.0, [(3, 0), (7, 0)]));
        let long = blocks(7.0, 0.5, [10; 64]).in_pairs();
        assert_eq!(long, blocks_with(7.0, 1.0, [(20, 2); 32]));
    }

    fn blocks_with<const N: usize>(from: f64, seconds: f64, ended: [(u64, u64); N]) -> Blocks {
        let mut blocks = blocks(from, seconds, ended.map(|(answered, _)| answered));
        blocks.outcomes.iter_mut().zip(ended).for_each(|(outcomes, (_, failed))| outcomes.failed = failed);
        blocks
    }

    #[test]
    fn those_of_several_runs_add_up_where_they_have_been_at_the_same_time() {
        let common = Span { from: 100.6, until: 110.0 };
        let (early, late) = (blocks(100.0, 1.0, 1..=10), blocks(100.6, 1.0, [100; 10]));
        // The first block of the early one is over for the most when the late one begins.
        let sum = Blocks::sum(&[early.clone(), late], common);
        let answered: Vec<u64> = sum.outcomes.iter().map(|outcomes| outcomes.answered).collect();
        assert_eq!(answered, [102, 103, 104, 105, 106, 107, 108, 109, 110]);
        assert_eq!((sum.from, sum.seconds), (100.6, 1.0));
        assert!(sum.times("service").iter().zip(&answered).all(|(times, answered)| times.len() == *answered));
        // Shorter ones go into the longer ones.
        let halves = blocks(100.0, 0.5, [1; 20]);
        let sum = Blocks::sum(&[early, halves], Span { from: 100.0, until: 110.0 });
        assert_eq!(
            sum.outcomes.iter().map(|outcomes| outcomes.answered).collect::<Vec<_>>(),
            [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
        );
        assert_eq!(Blocks::sum(&[], common), Blocks::default());
        assert_eq!(Blocks::sum(&[Blocks::default()], common).outcomes, []);
    }

    #[test]
    fn a_kind_that_one_run_has_not_is_in_no_sum() {
        let mut open = blocks(0.0, 1.0, [1; 8]);
        open.times[1] = open.times[0].clone();
        let sum = Blocks::sum(&[open, blocks(0.0, 1.0, [1; 8])], Span { from: 0.0, until: 8.0 });
        assert!(sum.times[1].is_none() && sum.times("response").is_empty() && sum.times("service").len() == 8);
    }

    #[test]
    fn json_has_all_of_it() {
        let blocks = blocks(1_700_000_000.25, 0.3125, [10, 0, 1_000]);
        assert_eq!(Blocks::from_json(&blocks.to_json().to_string()).unwrap(), blocks);
        assert_eq!(blocks.to_json()["service"].to_string(), "[[100,10],[],[100,1000]]");
        assert_eq!(Blocks::from_json("null").unwrap(), Blocks::default());
        let broken = blocks.to_json().to_string().replace("[100,", "[100,12:00 ");
        assert!(Blocks::from_json(&broken).is_err());
    }
}
