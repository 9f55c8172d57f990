//! The search for the highest rate that meets what is asked for (`--find`): which rate is tried next, from the outcomes of
//! the trials so far. It knows no socket, no clock and no figure.
//!
//! The rate doubles until it is too high, or is halved until it is not; then the bracket between the highest rate that was
//! met and the lowest that was not is halved, until it is narrow; then a full run at the lower end confirms it, or one that
//! is a little slower.
//!
//! A trial is short, and a machine stumbles: a rate that is not met in one is tried again, and so is one that is met
//! barely. Two equal outcomes of at most three decide. It may also stumble for seconds: so the rate at which the doubling
//! ended is tried once more in the end, and where it is met then, the doubling goes on from there. The number of trials is
//! bounded, by construction.

/// The bracket is halved until its ends are this far apart.
const WIDTH: f64 = 1.02;

/// Halvings of a bracket from 1 to 2: six make it narrow enough, one more is for rates that are rounded.
const HALVINGS: u32 = 7;

/// Outcomes that decide about a rate, and the trials that they take at the most.
const DECIDING: u32 = 2;
const TRIALS_OF_A_RATE: u32 = 2 * DECIDING - 1;

/// How many times the end of a doubling is tried once more. One trial that is not met leaves it as it was.
const DOUBTS: u32 = 1;
const TRIALS_OF_A_DOUBT: u32 = DECIDING;

/// Where a full run is not met, the next one is so many steps of that width slower, the last one half as fast as the first.
const SLOWER: [i32; 4] = [1, 2, 8, 24];
const FULL_RUNS: u32 = SLOWER.len() as u32 + 1;

/// The rates between which is searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) from: f64,
    /// The one that is tried first.
    pub(crate) first: f64,
    pub(crate) to: f64,
}

/// What is to be run next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// A short trial at this rate.
    Trial(f64),
    /// A full run at it.
    Full(f64),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that is asked for was met, with room to spare.
    Met,
    /// It was met, but another time it may not be.
    Barely,
    Unmet,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Doubling,
    Halving,
    /// A full run is to confirm the rate.
    Confirming,
    /// The rate is found and confirmed.
    Found,
    /// Even the lowest rate was not met.
    TooHigh,
    /// No full run met what short trials did.
    Unconfirmed,
}

#[derive(Clone, Debug)]
pub(crate) struct Search {
    bounds: Bounds,
    stage: Stage,
    /// The rate that is tried.
    rate: f64,
    /// Its trials so far, by their outcomes.
    met: u32,
    unmet: u32,
    /// The highest rate that was met, and the lowest that was not.
    highest: Option<f64>,
    lowest: Option<f64>,
    halvings: u32,
    /// The rate at which the doubling ended, until it has been tried once more.
    doubtful: Option<f64>,
    /// How many times that may be done.
    doubts: u32,
    full_runs: u32,
}

impl Search {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            stage: Stage::Doubling,
            rate: bounds.first,
            met: 0,
            unmet: 0,
            highest: None,
            lowest: None,
            halvings: 0,
            doubtful: None,
            doubts: DOUBTS,
            full_runs: 0,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// The highest rate that was met, and the lowest that was not.
    pub(crate) fn bracket(&self) -> (Option<f64>, Option<f64>) {
        (self.highest, self.lowest)
    }

    /// What is to be run next; `None` when the search is over.
    pub(crate) fn next(&self) -> Option<Step> {
        match self.stage {
            Stage::Doubling | Stage::Halving => Some(Step::Trial(self.rate)),
            Stage::Confirming => Some(Step::Full(self.rate)),
            Stage::Found | Stage::TooHigh | Stage::Unconfirmed => None,
        }
    }

    /// The step that was next has come to this.
    pub(crate) fn tell(&mut self, verdict: Verdict) {
        match self.stage {
            Stage::Doubling | Stage::Halving => self.tell_trial(verdict),
            Stage::Confirming => self.tell_full_run(verdict),
            Stage::Found | Stage::TooHigh | Stage::Unconfirmed => {}
        }
    }

    fn tell_trial(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Met | Verdict::Barely => self.met += 1,
            Verdict::Unmet => self.unmet += 1,
        }
        if self.met == DECIDING || verdict == Verdict::Met && self.unmet == 0 {
            self.highest = Some(self.rate);
            self.lowest = self.lowest.filter(|lowest| *lowest > self.rate);
        } else if self.unmet == DECIDING {
            self.lowest = Some(self.lowest.map_or(self.rate, |lowest| lowest.min(self.rate)));
        } else {
            return;
        }
        (self.met, self.unmet) = (0, 0);
        self.move_on();
    }

    /// Chooses the next rate, now that this one is decided.
    fn move_on(&mut self) {
        match (self.highest, self.lowest) {
            (None, Some(lowest)) if lowest > self.bounds.from => self.rate = (lowest / 2.0).max(self.bounds.from),
            (None, _) => self.stage = Stage::TooHigh,
            (Some(highest), None) if highest >= self.bounds.to => self.confirm(highest),
            (Some(highest), None) => {
                (self.stage, self.halvings) = (Stage::Doubling, 0);
                self.rate = (2.0 * highest).min(self.bounds.to);
            }
            (Some(highest), Some(lowest)) if lowest / highest <= WIDTH || self.halvings == HALVINGS => {
                match self.doubtful.take() {
                    Some(doubtful) => (self.rate, self.unmet) = (doubtful, DECIDING - 1),
                    None => self.confirm(highest),
                }
            }
            (Some(highest), Some(lowest)) => {
                if self.stage == Stage::Doubling && self.doubts > 0 {
                    (self.doubtful, self.doubts) = (Some(lowest), self.doubts - 1);
                }
                self.stage = Stage::Halving;
                self.halvings += 1;
                self.rate = rounded((highest * lowest).sqrt());
            }
        }
    }

    fn confirm(&mut self, rate: f64) {
        (self.stage, self.rate) = (Stage::Confirming, rate);
    }

    fn tell_full_run(&mut self, verdict: Verdict) {
        if verdict != Verdict::Unmet {
            self.highest = Some(self.rate);
            self.stage = Stage::Found;
            return;
        }
        (self.highest, self.lowest) = (None, Some(self.rate));
        let steps = SLOWER.get(self.full_runs as usize);
        let slower = steps.map(|steps| rounded(self.rate / WIDTH.powi(*steps)));
        self.full_runs += 1;
        match slower.filter(|slower| *slower >= self.bounds.from) {
            Some(slower) => self.rate = slower,
            None => self.stage = Stage::Unconfirmed,
        }
    }
}

impl Bounds {
    /// The rates of the doubling, from the first one on.
    fn doublings(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.first), move |rate| (*rate < self.to).then(|| (2.0 * rate).min(self.to)))
    }

    /// The rates below, where the first one is too high.
    fn descent(self) -> impl Iterator<Item = f64> {
        let below = move |rate: &f64| (*rate > self.from).then(|| (rate / 2.0).max(self.from));
        std::iter::successors(Some(self.first), below).skip(1)
    }

    /// How many trials and full runs a search takes at the most.
    pub(crate) fn most_trials(self) -> (u32, u32) {
        let rates = self.doublings().count().max(1 + self.descent().count()) as u32;
        if rates == 1 {
            return (TRIALS_OF_A_RATE, FULL_RUNS);
        }
        ((rates + (1 + DOUBTS) * HALVINGS) * TRIALS_OF_A_RATE + DOUBTS * TRIALS_OF_A_DOUBT, FULL_RUNS)
    }

    /// How many seconds a search takes at the most, where a trial at some rate takes so many, and a full run.
    pub(crate) fn most_seconds(self, trial: impl Fn(f64) -> f64, full: impl Fn(f64) -> f64) -> f64 {
        let mut doubled = 0.0;
        let worst = |lower: f64, doubled: f64| {
            let halved = f64::from((1 + DOUBTS) * HALVINGS) * trial(lower);
            let doubted = f64::from(DOUBTS * TRIALS_OF_A_DOUBT) * trial(lower);
            f64::from(TRIALS_OF_A_RATE) * (doubled + halved) + doubted + f64::from(FULL_RUNS) * full(lower)
        };
        // A low rate may take longer: the bracket may be at any of them.
        let mut lower = self.first;
        let ascents = self.doublings().map(|rate| {
            doubled += trial(rate);
            worst(std::mem::replace(&mut lower, rate), doubled)
        });
        let highest = ascents.fold(0.0, f64::max);
        let descended = self.descent().map(&trial).sum::<f64>() + trial(self.first);
        highest.max(worst(self.from, descended))
    }
}

/// Whole, where that changes little.
fn rounded(rate: f64) -> f64 {
    if rate < 100.0 { rate } else { rate.round() }
}

#[cfg(test)]
mod tests {
    use fake::Dice;

    use super::*;

    /// Searches with this oracle. Returns the end, what was found, and the trials.
    fn search(from: f64, to: f64, outcome: impl FnMut(Step) -> Verdict) -> (Search, Vec<Step>) {
        search_within(Bounds { from, first: from, to }, outcome)
    }

    fn search_within(bounds: Bounds, mut outcome: impl FnMut(Step) -> Verdict) -> (Search, Vec<Step>) {
        let (mut search, mut steps) = (Search::new(bounds), Vec::new());
        let (trials, full_runs) = bounds.most_trials();
        while let Some(step) = search.next() {
            steps.push(step);
            let is_full = |step: &&Step| matches!(step, Step::Full(_));
            let full = steps.iter().filter(is_full).count() as u32;
            assert!(full <= full_runs && steps.len() as u32 - full <= trials, "it goes on and on: {steps:?}");
            search.tell(outcome(step));
        }
        (search, steps)
    }

    fn rate_of(step: Step) -> f64 {
        match step {
            Step::Trial(rate) | Step::Full(rate) => rate,
        }
    }

    fn sharp(limit: f64) -> impl Fn(Step) -> Verdict {
        move |step| if rate_of(step) <= limit { Verdict::Met } else { Verdict::Unmet }
    }

    #[test]
    fn a_sharp_limit_is_found_to_two_per_cent() {
        for from in [0.01, 1.0, 7.3, 100.0, 1000.0] {
            for factor in [1.0, 1.001, 1.5, 2.0, 3.3, 17.0, 900.0, 999.0] {
                let limit = from * factor;
                let (search, _) = search(from, from * 1000.0, sharp(limit));
                let (Some(found), Some(above)) = search.bracket() else { panic!("{search:?}") };
                assert_eq!(search.stage(), Stage::Found);
                assert!(found <= limit && limit < above && above / found <= WIDTH, "{limit}: {found} and {above}");
            }
        }
    }

    #[test]
    fn the_rate_doubles_then_the_bracket_is_halved_then_a_full_run_confirms_it() {
        let (_, steps) = search(1000.0, 1e6, sharp(3000.0));
        let trials = [1000, 2000, 4000, 4000, 2828, 3363, 3363, 3084, 3084, 2953, 3018, 3018, 2985, 4000];
        let trials = trials.map(|rate| Step::Trial(f64::from(rate)));
        let expected: Vec<Step> = trials.into_iter().chain([Step::Full(2985.0)]).collect();
        assert_eq!(steps, expected);
    }

    #[test]
    fn limits_beyond_the_bounds_are_told() {
        let (too_low, steps) = search(1000.0, 8000.0, sharp(999.0));
        assert_eq!((too_low.stage(), too_low.bracket()), (Stage::TooHigh, (None, Some(1000.0))));
        assert_eq!(steps, [Step::Trial(1000.0); 2]);
        let (too_high, steps) = search(1000.0, 5000.0, sharp(1e9));
        assert_eq!((too_high.stage(), too_high.bracket()), (Stage::Found, (Some(5000.0), None)));
        assert_eq!(steps.iter().map(|step| rate_of(*step)).collect::<Vec<_>>(), [1e3, 2e3, 4e3, 5e3, 5e3]);
        let (single, _) = search(1000.0, 1000.0, sharp(1e9));
        assert_eq!(single.bracket(), (Some(1000.0), None));
    }

    #[test]
    fn where_the_first_rate_is_too_high_lower_ones_are_tried() {
        let bounds = Bounds { from: 150.0, first: 1000.0, to: 1e6 };
        let (found, steps) = search_within(bounds, sharp(300.0));
        let (Some(below), Some(above)) = found.bracket() else { panic!("{found:?}") };
        assert!(below <= 300.0 && above > 300.0 && above / below <= WIDTH, "{found:?}");
        let rates: Vec<f64> = steps.iter().map(|step| rate_of(*step)).collect();
        assert_eq!(rates[..6], [1000.0, 1000.0, 500.0, 500.0, 250.0, 354.0]);
        let (too_low, steps) = search_within(bounds, sharp(149.0));
        assert_eq!((too_low.stage(), too_low.bracket()), (Stage::TooHigh, (None, Some(150.0))));
        assert_eq!(steps.last(), Some(&Step::Trial(150.0)));
    }

    #[test]
    fn one_bad_trial_decides_nothing() {
        // Every fourth trial is bad, whatever its rate.
        for phase in 0..4 {
            let mut count = phase;
            let (search, _) = search(1000.0, 1e6, |step| {
                count += 1;
                if count % 4 == 0 && matches!(step, Step::Trial(_)) { Verdict::Unmet } else { sharp(20e3)(step) }
            });
            let (found, above) = search.bracket();
            assert!(
                found <= Some(20e3) && above > Some(20e3) && above.unwrap() / found.unwrap() <= WIDTH,
                "{search:?}"
            );
        }
    }

    #[test]
    fn a_machine_that_stumbles_for_seconds_is_no_limit() {
        // From the fourth trial on six are bad, whatever their rate.
        let mut count = 0;
        let (search, steps) = search(1000.0, 1e6, |step| {
            count += 1;
            if (4..10).contains(&count) { Verdict::Unmet } else { sharp(50e3)(step) }
        });
        let (found, above) = search.bracket();
        assert!(found <= Some(50e3) && above > Some(50e3) && above.unwrap() / found.unwrap() <= WIDTH, "{search:?}");
        let at_the_end = steps.iter().filter(|step| **step == Step::Trial(8000.0)).count();
        assert_eq!(at_the_end, 4, "twice not met, twice met: {steps:?}");
    }

    #[test]
    fn what_is_met_barely_is_tried_again() {
        let (_, steps) = search(1000.0, 2000.0, |_| Verdict::Barely);
        let trials: Vec<f64> = steps.iter().map(|step| rate_of(*step)).collect();
        assert_eq!(trials, [1000.0, 1000.0, 2000.0, 2000.0, 2000.0]);
    }

    #[test]
    fn a_full_run_that_is_not_met_is_followed_by_slower_ones() {
        let long = |limit: f64| {
            move |step| match step {
                Step::Trial(rate) => sharp(10e3)(Step::Trial(rate)),
                Step::Full(_) => sharp(limit)(step),
            }
        };
        let (lower, _) = search(1000.0, 1e6, long(9.7e3));
        let (Some(found), Some(above)) = lower.bracket() else { panic!("{lower:?}") };
        assert!(lower.stage() == Stage::Found && found <= 9.7e3 && above > 9.7e3 && above / found < 1.05, "{lower:?}");
        let (halved, _) = search(1000.0, 1e6, long(5e3));
        assert_eq!((halved.stage(), halved.bracket().0), (Stage::Found, Some(4968.0)), "half of what trials met");
        let (never, steps) = search(1000.0, 1e6, long(4.9e3));
        assert_eq!((never.stage(), never.bracket().0), (Stage::Unconfirmed, None));
        assert_eq!(steps.iter().filter(|step| matches!(step, Step::Full(_))).count(), FULL_RUNS as usize);
        let (at_the_lowest, _) = search(1000.0, 1000.0, long(5e2));
        assert_eq!(at_the_lowest.stage(), Stage::Unconfirmed);
    }

    #[test]
    fn any_outcomes_come_to_an_end_within_the_bound() {
        for seed in 1..=2_000 {
            let mut dice = Dice::new(seed);
            let outcomes = [Verdict::Met, Verdict::Barely, Verdict::Unmet];
            let from = 0.5 + dice.below(3000) as f64;
            let to = from * (1.0 + dice.below(2000) as f64);
            let first = (from * (1.0 + dice.below(20) as f64)).min(to);
            let bounds = Bounds { from, first, to };
            let seconds = |rate: f64| 1.0 + 100.0 / rate;
            let (_, steps) = search_within(bounds, |_| outcomes[dice.below(3)]);
            let took: f64 = steps.iter().map(|step| seconds(rate_of(*step))).sum();
            let most = bounds.most_seconds(seconds, seconds);
            assert!(took <= most * 1.001 + 1.0, "{took} s and {most} at the most: {steps:?}");
        }
    }

    /// The share of its answers that a queue of one server, with exponential gaps and service times (M/M/1), gives within
    /// `limit` seconds, over so many requests.
    fn share_in_time(dice: &mut Dice, arrivals: f64, service: f64, limit: f64, requests: usize) -> f64 {
        let mut exponential = |rate: f64| -((1.0 + dice.below(1 << 30) as f64) / (1u64 << 30) as f64).ln() / rate;
        let (mut wait, mut in_time) = (0.0_f64, 0);
        for request in 0..requests + requests / 4 {
            let sojourn = wait + exponential(service);
            in_time += usize::from(request >= requests / 4 && sojourn < limit);
            wait = (sojourn - exponential(arrivals)).max(0.0);
        }
        in_time as f64 / requests as f64
    }

    #[test]
    fn the_limit_of_a_random_queue_is_found_within_five_per_cent_in_19_of_20_repeats() {
        // 99 % are answered within ln(100) / (service - arrivals).
        let (service, limit) = (1000.0, 0.05);
        let truth = service - 100f64.ln() / limit;
        let found: Vec<f64> = (1..=40)
            .map(|seed| {
                let mut dice = Dice::new(seed);
                let (search, _) = search(100.0, 1e6, |step| {
                    let (rate, requests) = match step {
                        Step::Trial(rate) => (rate, 20_000),
                        Step::Full(rate) => (rate, 100_000),
                    };
                    match share_in_time(&mut dice, rate, service, limit, requests) {
                        0.998.. => Verdict::Met,
                        0.99.. => Verdict::Barely,
                        _ => Verdict::Unmet,
                    }
                });
                search.bracket().0.unwrap_or(0.0)
            })
            .collect();
        let off = found.iter().filter(|found| (*found / truth - 1.0).abs() > 0.05).count();
        assert!(off <= 2, "{off} of 40 are off {truth}: {found:?}");
    }
}
