//! Two servers by turns, on times whose distribution is known: a server beside itself is not told to differ, one that is 5 %
//! slower is, on a machine that is slow at times.

use fake::Dice;

use super::*;

const RUNS: u64 = 100;
const TURNS: usize = 64;
const ANSWERS: usize = 1_000;
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// Evenly between 0 and 1.
fn even(dice: &mut Dice) -> f64 {
    (dice.roll() % (1 << 30)) as f64 / f64::from(1 << 30)
}

/// The sum of twelve even ones is as good as normal.
fn normal(dice: &mut Dice) -> f64 {
    (0..12).map(|_| even(dice)).sum::<f64>() - 6.0
}

/// A turn of a closed loop over one connection, with times that take this many times as long as usual.
fn turn(slowness: f64, dice: &mut Dice) -> (Times, Tally) {
    let mut counts = vec![0; BINS];
    let mut total = 0.0;
    for _ in 0..ANSWERS {
        // 20 µs, and 30 µs on average beside that.
        let nanos = slowness * (20_000.0 - 30_000.0 * (1.0 - even(dice)).ln());
        total += nanos;
        counts[bin_of(nanos as u64)] += 1;
    }
    (Times::of_bins(&counts), Tally { events: ANSWERS as u64, seconds: total / 1e9 })
}

/// The times and the rate of each turn.
type Series = (Vec<Times>, Vec<Tally>);

/// Two by turns, of which the second is slower by this factor. The machine is slower by a tenth or so for some turns (AR(1)),
/// and each turn has a trouble of its own.
fn two(factor: f64, seed: u64) -> [Series; 2] {
    let mut dice = Dice::new(seed);
    let mut machine = 0.0;
    let mut sides: [Series; 2] = Default::default();
    for round in 0..TURNS {
        let order = if matches!(round % 4, 0 | 3) { [0, 1] } else { [1, 0] };
        for place in order {
            machine = 0.97 * machine + 0.25 * 0.1 * normal(&mut dice);
            let own = 0.03 * normal(&mut dice);
            let slowness = (machine + own).exp() * if place == 1 { factor } else { 1.0 };
            let (times, tally) = turn(slowness, &mut dice);
            sides[place].0.push(times);
            sides[place].1.push(tally);
        }
    }
    sides
}

/// The ratio of the rate and those of the percentiles, where there are answers enough.
fn ratios([(times, tallies), (other_times, other_tallies)]: &[Series; 2]) -> Vec<Ratio> {
    let of_times = PERCENTILES.into_iter().map(|percent| percentile_ratio_of_pairs(times, other_times, percent));
    [rate_ratio_of_pairs(tallies, other_tallies)].into_iter().chain(of_times).filter_map(Result::ok).collect()
}

fn are_told_apart(ratios: &[Ratio]) -> bool {
    ratios.iter().any(|ratio| !matches!(ratio.verdict(), Verdict::NoDifference { .. }))
}

#[test]
fn server_beside_itself_raises_few_alarms() {
    let alarms = (0..RUNS).filter(|seed| are_told_apart(&ratios(&two(1.0, *seed)))).count();
    assert!(alarms <= 5, "{alarms} of {RUNS}");
}

#[test]
fn server_that_is_slower_by_5_percent_is_found() {
    let is_found = |seed: &u64| {
        let ratios = ratios(&two(1.05, *seed));
        ratios[0].verdict() == Verdict::Less && ratios[1].verdict() == Verdict::More
    };
    let found = (0..RUNS).filter(is_found).count();
    assert!(found >= 90, "{found} of {RUNS}");
}

#[test]
fn which_of_the_two_is_first_makes_no_difference() {
    for seed in 0..10 {
        let [a, b] = two(1.05, seed);
        let there = ratios(&[a.clone(), b.clone()]);
        let back = ratios(&[b, a]);
        assert!(there.len() == back.len() && there.len() >= 4);
        for (there, back) in there.iter().zip(&back) {
            let products = [there.ratio * back.ratio, there.low * back.high, there.high * back.low];
            assert!(products.iter().all(|product| (product - 1.0).abs() < 1e-9), "{there:?} {back:?}");
            assert!((there.chance - back.chance).abs() < 1e-9 && there.is_rough == back.is_rough);
        }
    }
}
