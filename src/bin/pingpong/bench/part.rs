//! One part of a load that several processes share (`--part I/N`): what it has of what is asked of all of them.
//!
//! The options are divided here and nowhere else, before anything is done with them: all that comes behind knows of its own
//! share. Only even schedules go by the whole: the parts have its events by turns (`load::deal`), so that together they ask
//! as one process would.

use super::options::{BenchOptions, Extent};
use super::rate::Rate;

/// A lower rate is none: the command line takes none either.
const LEAST_RATE: f64 = 1e-4;

/// Which of how many parts of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Counted from 0, and less than `of`.
    index: u32,
    of: u32,
}

impl Part {
    /// A load has so many parts at the most.
    pub(crate) const MOST: u32 = 1_000_000;

    /// Part `number` of so many, counted from 1. `None` where there is no such part.
    pub(crate) fn new(number: u32, of: u32) -> Option<Self> {
        let is_there = (1..=of).contains(&number) && of <= Self::MOST;
        is_there.then(|| Self { index: number - 1, of })
    }

    /// Counted from 1.
    pub(crate) fn number(self) -> u32 {
        self.index + 1
    }

    /// How many parts there are.
    pub(crate) fn of(self) -> u32 {
        self.of
    }

    /// Counted from 0.
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    /// The seed of this part's random times. Parts that had the same would ask at the same moments.
    pub(crate) fn seed(self, seed: u64) -> u64 {
        // The only part is the whole.
        if self.of == 1 { seed } else { seed ^ mixed(u64::from(self.index) + 1) }
    }

    /// How many of these it has. The first parts have one more each where they do not come out even, as when all are dealt
    /// round, one by one: so request k of an even schedule is due for part k modulo their number.
    fn share(self, all: u64) -> u64 {
        let (each, rest) = (all / u64::from(self.of), all % u64::from(self.of));
        each + u64::from(u64::from(self.index) < rest)
    }

    /// How many the parts before it have.
    fn before(self, all: u64) -> u64 {
        let (each, rest) = (all / u64::from(self.of), all % u64::from(self.of));
        u64::from(self.index) * each + rest.min(self.index.into())
    }
}

/// As the command line has it.
impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number(), self.of)
    }
}

/// A number whose bits are mixed, each into all others, as SplitMix64 does it (`load::dice`).
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

impl BenchOptions {
    /// What its part has of a whole load. Fails where there is too little for so many parts, and says for how many there is
    /// enough.
    pub(crate) fn divided(mut self) -> Result<Self, String> {
        let Some(part) = self.part else { return Ok(self) };
        let all = u64::from(self.connections);
        self.undivided = Some(Box::new(self.clone()));
        enough(part, all as f64, 1.0, format_args!("--connections {all}"))?;
        if let Extent::Requests(requests) = &mut self.extent {
            enough(part, *requests as f64, 1.0, format_args!("--requests {requests}"))?;
            *requests = part.share(*requests);
        }
        for Rate { first, last } in &mut self.rates {
            *first = rate(part, *first, "--rate")?;
            *last = rate(part, *last, "--rate")?;
        }
        self.connect_rate = self.connect_rate.map(|all| rate(part, all, "--connect-rate")).transpose()?;
        self.probe_rate = self.probe_rate.map(|all| rate(part, all, "--probe")).transpose()?;
        self.dealt_before = part.before(all) + part.before(self.idle.into());
        self.connections = part.share(all) as u32;
        self.idle = part.share(self.idle.into()) as u32;
        Ok(self)
    }

    /// What is asked of all parts together.
    pub(crate) fn undivided(&self) -> &Self {
        self.undivided.as_deref().unwrap_or(self)
    }
}

/// A part's share of a rate.
fn rate(part: Part, all: f64, option: &str) -> Result<f64, String> {
    enough(part, all, LEAST_RATE, format_args!("{option} {all}"))?;
    Ok(all / f64::from(part.of))
}

/// Fails where so much is too little for so many parts, each of which is to have `least`.
fn enough(part: Part, all: f64, least: f64, what: std::fmt::Arguments<'_>) -> Result<(), String> {
    let most = (all / least).floor();
    if f64::from(part.of) <= most {
        return Ok(());
    }
    let too_little = if least < 1.0 { "too little" } else { "none" };
    let parts = if most == 1.0 { "part" } else { "parts" };
    Err(format!("--part {part} of {what} would leave some parts {too_little}: {most} {parts} at the most"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bench::tests::options;

    fn parts(of: u32) -> impl Iterator<Item = Part> {
        (1..=of).map(move |number| Part::new(number, of).unwrap())
    }

    proptest! {
        #[test]
        fn shares_add_up_and_differ_by_one_at_the_most(of in 1_u32..3_000, all in 0_u64..10_000_000_000) {
            let mut sum = 0;
            for part in parts(of) {
                prop_assert_eq!(part.before(all), sum);
                let share = part.share(all);
                prop_assert!((all / u64::from(of)..=all / u64::from(of) + 1).contains(&share));
                sum += share;
            }
            prop_assert_eq!(sum, all);
        }

        #[test]
        fn a_load_is_divided_without_remainder(
            of in 1_u32..200,
            connections in 200_u32..100_000,
            idle in 0_u32..100_000,
            requests in 200_u64..1_000_000,
            per_second in 1.0..1e6_f64,
        ) {
            let shares: Vec<BenchOptions> = parts(of)
                .map(|part| {
                    let whole = options(|whole| {
                        (whole.connections, whole.idle, whole.extent) = (connections, idle, Extent::Requests(requests));
                        whole.rates = vec![Rate::even(per_second), Rate { first: per_second, last: 2.0 * per_second }];
                        (whole.connect_rate, whole.probe_rate) = (Some(per_second), Some(per_second));
                        whole.part = Some(part);
                    });
                    whole.divided().unwrap()
                })
                .collect();
            let sum = |of: fn(&BenchOptions) -> u64| shares.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(|share| share.connections.into()), u64::from(connections));
            prop_assert_eq!(sum(|share| share.idle.into()), u64::from(idle));
            let requested = |share: &BenchOptions| if let Extent::Requests(requests) = share.extent { requests } else { 0 };
            prop_assert_eq!(sum(requested), requests);
            for (of_share, whole) in [
                ((|share| share.rates[0].first) as fn(&BenchOptions) -> f64, per_second),
                (|share| share.rates[1].last, 2.0 * per_second),
                (|share| share.connect_rate.unwrap(), per_second),
                (|share| share.probe_rate.unwrap(), per_second),
            ] {
                let sum: f64 = shares.iter().map(of_share).sum();
                prop_assert!((sum / whole - 1.0).abs() < 1e-12);
            }
            let mut dealt = 0;
            for share in &shares {
                prop_assert_eq!(share.dealt_before, dealt);
                dealt += u64::from(share.connections) + u64::from(share.idle);
            }
        }
    }

    #[test]
    fn there_are_parts_from_1_on_up_to_the_last() {
        for (number, of) in [(0, 4), (5, 4), (1, 0), (0, 0), (1, Part::MOST + 1)] {
            assert_eq!(Part::new(number, of), None, "{number}/{of}");
        }
        assert_eq!(Part::new(Part::MOST, Part::MOST).unwrap().to_string(), "1000000/1000000");
    }

    #[test]
    fn too_little_for_so_many_parts_says_for_how_many_it_is_enough() {
        let refused = |set: fn(&mut BenchOptions)| {
            let whole = options(|whole| {
                whole.connections = 8;
                whole.part = Part::new(1, 8);
                set(whole);
            });
            whole.divided().unwrap_err()
        };
        let none = |what: &str| format!("--part 1/8 of {what} would leave some parts none: ");
        assert_eq!(refused(|whole| whole.connections = 4), none("--connections 4") + "4 parts at the most");
        assert_eq!(refused(|whole| whole.extent = Extent::Requests(1)), none("--requests 1") + "1 part at the most");
        let little = "--part 1/8 of --probe 0.0005 would leave some parts too little: 5 parts at the most";
        assert_eq!(refused(|whole| whole.probe_rate = Some(5e-4)), little);
        assert!(refused(|whole| whole.rates = vec![Rate { first: 5.0, last: 1e-4 }]).contains("--rate 0.0001"));
        assert!(refused(|whole| whole.connect_rate = Some(1e-4)).contains("--connect-rate"));
    }

    #[test]
    fn the_only_part_is_the_whole_and_others_have_seeds_of_their_own() {
        let part = |number, of| Part::new(number, of).unwrap();
        assert_eq!((part(1, 1).seed(7), part(1, 1).share(9)), (7, 9));
        let mut seeds: Vec<u64> = parts(1_000).flat_map(|part| (0..50).map(move |seed| part.seed(seed))).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 50_000);
    }
}
