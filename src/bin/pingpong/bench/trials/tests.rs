//! Whether intervals hold the truth as often as they say, on times whose distribution is known. Their time is virtual:
//! a block is so many answers. Their nanoseconds are few, so that there are few bins: these tests are to be quick.

use fake::Dice;

use super::*;

const RUNS: u64 = 1_000;

/// Blocks and the answers in each: as many as a run has, and fewer of them with answers enough for p99.
const MANY: (usize, usize) = (32, 100);
const LARGE: (usize, usize) = (10, 1_000);

/// A distribution: times that are equally probable, in order.
struct Shape(Vec<f64>);

/// Times in it: a power of two, to be picked by bits.
const GRAIN: usize = 1 << 14;

impl Shape {
    fn of(quantile: impl Fn(f64) -> f64) -> Self {
        Self((0..GRAIN).map(|place| quantile((place as f64 + 0.5) / GRAIN as f64)).collect())
    }

    /// With this mean.
    fn exponential(mean: f64) -> Self {
        Self::of(|share| -mean * (1.0 - share).ln())
    }

    /// Around this many nanoseconds.
    fn log_normal(median: f64, width: f64) -> Self {
        Self(normal_quantiles().into_iter().map(|normal| median * (width * normal).exp()).collect())
    }

    /// Of two, the second with this share.
    fn mixed(&self, other: &Self, share: f64) -> Self {
        // The same number of each, where the first stands for more.
        let weigh = |shape: &Self, weight: f64| shape.0.iter().map(move |nanos| (*nanos, weight)).collect::<Vec<_>>();
        let mut all = weigh(self, 1.0 - share);
        all.extend(weigh(other, share));
        all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut weight = 0.0;
        let mut times = Vec::new();
        for (nanos, of_it) in all {
            weight += of_it;
            times.resize((weight as usize).max(times.len()), nanos);
        }
        times.resize(GRAIN, *times.last().unwrap());
        Self(times)
    }

    fn pick(&self, dice: &mut Dice) -> f64 {
        self.0[dice.roll() as usize % GRAIN]
    }

    /// As bins tell it.
    fn percentile(&self, percent: f64) -> f64 {
        Times::of_values(self.0.iter().map(|nanos| (*nanos as u64, 1))).percentile(percent).unwrap()
    }
}

/// Of the standard normal distribution, by adding up its density.
fn normal_quantiles() -> Vec<f64> {
    const STEP: f64 = 1e-4;
    let (mut at, mut below) = (-5.0f64, 0.0);
    let next = |place: usize| {
        while below < (place as f64 + 0.5) / GRAIN as f64 && at < 5.0 {
            below += (-(at + STEP / 2.0).powi(2) / 2.0).exp() / std::f64::consts::TAU.sqrt() * STEP;
            at += STEP;
        }
        at
    };
    (0..GRAIN).map(next).collect()
}

/// A run of so many blocks with so many answers each, which take these times, one after the other.
fn run((blocks, answers): (usize, usize), mut next: impl FnMut() -> f64) -> Vec<Times> {
    const FIRST: usize = 512;
    let mut counts = [0; FIRST];
    let block = |_| {
        counts.fill(0);
        (0..answers).for_each(|_| counts[bin_of(next() as u64)] += 1);
        Times::of_bins(&counts)
    };
    (0..blocks).map(block).collect()
}

fn steady(shape: &Shape, size: (usize, usize), seed: u64) -> Vec<Times> {
    let mut dice = Dice::new(seed);
    run(size, || shape.pick(&mut dice))
}

/// Whether the interval of a percentile holds the truth, and whether it is marked.
fn outcome(run: &[Times], percent: f64, truth: f64) -> (bool, bool) {
    let margin = percentile_margin(run, percent).unwrap();
    ((margin.figure - truth).abs() <= margin.half(), margin.is_rough)
}

#[track_caller]
fn is_covered(shape: &Shape, size: (usize, usize), percentiles: &[f64]) {
    let truths: Vec<f64> = percentiles.iter().map(|percent| shape.percentile(*percent)).collect();
    let mut holds = vec![0; percentiles.len()];
    for seed in 0..RUNS {
        let run = steady(shape, size, seed);
        for ((holds, percent), truth) in holds.iter_mut().zip(percentiles).zip(&truths) {
            *holds += u64::from(outcome(&run, *percent, *truth).0);
        }
    }
    for (holds, percent) in holds.into_iter().zip(percentiles) {
        assert!((930..=970).contains(&holds), "p{percent}: {holds} of {RUNS}");
    }
}

#[test]
fn intervals_of_exponential_times_hold_the_truth() {
    is_covered(&Shape::exponential(20.0), MANY, &[50.0, 90.0]);
    is_covered(&Shape::exponential(20.0), LARGE, &[99.0]);
}

#[test]
fn intervals_of_log_normal_times_hold_the_truth() {
    is_covered(&Shape::log_normal(20.0, 0.5), MANY, &[50.0, 90.0]);
    is_covered(&Shape::log_normal(20.0, 0.5), LARGE, &[99.0]);
}

#[test]
fn intervals_of_times_with_two_modes_hold_the_truth() {
    let shape = Shape::log_normal(20.0, 0.2).mixed(&Shape::log_normal(200.0, 0.1), 0.05);
    // p90 lies where there are next to no times.
    is_covered(&shape, MANY, &[50.0]);
    is_covered(&shape, LARGE, &[99.0]);
}

#[test]
fn intervals_of_blocks_that_were_joined_for_want_of_answers_hold_the_truth() {
    is_covered(&Shape::exponential(20.0), (32, 250), &[99.0]);
    is_covered(&Shape::exponential(20.0), (32, 40), &[90.0]);
}

/// In 930 of 1,000 runs at least, the interval holds the truth or is marked.
#[track_caller]
fn is_covered_or_marked(shape: &Shape, mut next: impl FnMut(u64) -> Vec<Times>) {
    const PERCENTILES: [f64; 2] = [50.0, 90.0];
    let truths = PERCENTILES.map(|percent| shape.percentile(percent));
    let mut fine = [0; 2];
    for seed in 0..RUNS {
        let run = next(seed);
        for ((fine, percent), truth) in fine.iter_mut().zip(PERCENTILES).zip(truths) {
            let (holds, is_marked) = outcome(&run, percent, truth);
            *fine += u64::from(holds || is_marked);
        }
    }
    assert!(fine.iter().all(|fine| *fine >= 930), "{fine:?} of {RUNS}");
}

/// Each time is like the one before it (AR(1) in logarithms), and forgets it over so many answers.
fn remembering(shape: &Shape, memory: f64, seed: u64, normal: &[f64]) -> Vec<Times> {
    let keeps = (-1.0 / memory).exp();
    let mut dice = Dice::new(seed);
    let mut at = normal[dice.below(GRAIN)];
    let (median, fresh) = (shape.percentile(50.0), (1.0 - keeps * keeps).sqrt());
    run(MANY, || {
        at = keeps * at + fresh * normal[dice.below(GRAIN)];
        median * (0.5 * at).exp()
    })
}

#[test]
fn intervals_of_times_that_remember_hold_the_truth_or_are_marked() {
    let (shape, normal) = (Shape::log_normal(20.0, 0.5), normal_quantiles());
    // A fortieth of a block, half of one, and five.
    for memory in [2.5, 50.0, 500.0] {
        is_covered_or_marked(&shape, |seed| remembering(&shape, memory, seed, &normal));
    }
}

/// A tenth of the answers takes four times as long, in bursts of this many. A run has to have a dozen of them: what comes
/// less often is in it by chance, and nothing tells of what is not.
#[test]
fn intervals_of_times_with_bursts_hold_the_truth_or_are_marked() {
    let (quiet, loud) = (Shape::exponential(20.0), Shape::exponential(80.0));
    let shape = quiet.mixed(&loud, 0.1);
    for burst in [5, 25] {
        is_covered_or_marked(&shape, |seed| {
            let mut dice = Dice::new(seed);
            let mut is_loud = dice.one_in(10);
            run(MANY, || {
                is_loud = if is_loud { !dice.one_in(burst) } else { dice.one_in(9 * burst) };
                if is_loud { &loud } else { &quiet }.pick(&mut dice)
            })
        });
    }
}

/// Of 100 runs whose times grow by this share from beginning to end, those that a trend is told of.
fn with_trend(shape: &Shape, size: (usize, usize), growth: f64) -> usize {
    let total = (size.0 * size.1) as f64;
    let is_flagged = |seed: &u64| {
        let mut dice = Dice::new(*seed);
        let mut answer = 0.0;
        let times = run(size, || {
            answer += 1.0;
            shape.pick(&mut dice) * (1.0 + growth * answer / total)
        });
        [50.0, 99.0].into_iter().any(|percent| percentile_trend(&times, percent).is_some())
    };
    (0..100).filter(is_flagged).count()
}

#[test]
fn a_drift_is_flagged_and_a_steady_run_is_not() {
    let two_modes = Shape::log_normal(20.0, 0.2).mixed(&Shape::log_normal(200.0, 0.1), 0.05);
    for shape in [Shape::exponential(20.0), Shape::log_normal(20.0, 0.5), two_modes] {
        for growth in [0.2, -0.2] {
            let flagged = with_trend(&shape, (32, 800), growth);
            assert!(flagged >= 95, "{flagged} of 100 at {growth}");
        }
        for size in [MANY, (32, 300)] {
            let flagged = with_trend(&shape, size, 0.0);
            assert!(flagged <= 2, "{flagged} of 100 steady runs of {size:?}");
        }
    }
}
