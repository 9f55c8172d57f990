//! `--against`: several servers under the same load in one run, by turns.
//!
//! Each has a load of its own, with as many connections, which all stay open all the while; one load at a time asks. What the
//! machine does beside them meets all servers alike: each turn of one has its turn of the other close by, and these pairs are
//! compared.
//!
//! - `turns`: whose turn it is, and how long it lasts

mod turns;

use std::time::Duration;

use super::Outcome;
use super::options::{BenchOptions, Extent, Phase};
use super::preflight::{self, Ground};
use super::report::files::Publisher;
use super::report::{Report, Side, Versus};
use super::runner::Runner;
use crate::descriptors;
use crate::error::Error;
use crate::target;
use pingpong::Address;
pub(super) use turns::Turns;

/// The first turn of each, which does not count: its connections are made, and it is seen how long an answer takes.
const SOUNDING: Duration = Duration::from_millis(100);

/// Loads several servers by turns, and reports.
pub(super) fn run(options: &BenchOptions) -> Result<Outcome, Error> {
    let limit = descriptors::raise_limit();
    let targets = options.each_server().map(|own| Target::new(own, limit)).collect::<Result<Vec<_>, _>>()?;
    let publisher = Publisher::open(options.json.as_ref(), options.html.as_deref(), options.quiet)?;
    let runners = targets.iter().map(|target| Runner::new(&target.options, target.ground, target.addresses.clone()));
    let mut runners = runners.collect::<Result<Vec<_>, _>>()?;
    let versus = alternate(&mut runners, &targets, options);
    for runner in runners {
        if let Err(signal) = runner.end() {
            return Ok(Outcome::Stopped(signal));
        }
    }
    let versus = versus?;
    publisher.publish(&versus, &versus.page())?;
    Ok(Outcome::Compared(versus))
}

/// A server to load.
struct Target {
    options: BenchOptions,
    ground: Ground,
    addresses: Vec<Address>,
}

impl Target {
    fn new(mut options: BenchOptions, limit: usize) -> Result<Self, Error> {
        let addresses = target::resolve(&options.endpoint)?;
        let ground = preflight::check(&options, &addresses, limit)?;
        options.spread = ground.spread;
        Ok(Self { options, ground, addresses })
    }
}

/// Goes through all turns, as far as no signal ends them and no server is gone.
fn alternate(runners: &mut [Runner<'_>], targets: &[Target], options: &BenchOptions) -> Result<Versus, Error> {
    let phase = options.phases()[0];
    let Extent::Duration(time) = phase.extent else { unreachable!("the command line asks for a duration") };
    let mut sides: Vec<Side> =
        targets.iter().enumerate().map(|(place, target)| Side::new(place, &target.options)).collect();
    let mut hand = Hand { runners, holder: 0 };
    let mut longest = Duration::ZERO;
    for (place, side) in sides.iter_mut().enumerate() {
        let sounding = Phase { extent: Extent::Duration(SOUNDING), ..phase };
        let report = hand.give(place).measure(sounding)?;
        longest = longest.max(report.typical_time());
        if hand.is_over() || !report.can_go_on() || report.is_unanswered() {
            side.add_rest(report);
            return Ok(Versus::new(sides, None, hand.is_over()));
        }
    }
    let turns = Turns::of(time, longest, phase.rate.map(super::Rate::mean));
    let of = turns.count as usize * sides.len();
    let mut taken = 0;
    for round in 0..turns.count {
        for place in turns::order(sides.len(), round) {
            let runner = hand.give(place);
            runner.show_turn(taken, of, sides[place].name());
            let arrivals = phase.arrivals.after(round.into());
            let turn = Phase { arrivals, warmup: turns.settling, extent: Extent::Duration(turns.length), ..phase };
            let report = runner.measure(turn)?;
            taken += 1;
            if hand.is_over() || !report.can_go_on() {
                sides[place].add_rest(report);
                return Ok(Versus::new(sides, Some((turns, turns.suit(longest))), hand.is_over()));
            }
            sides[place].add_turn(report);
        }
    }
    Ok(Versus::new(sides, Some((turns, turns.suit(longest))), false))
}

/// The progress line goes from hand to hand.
struct Hand<'a, 'b> {
    runners: &'a mut [Runner<'b>],
    holder: usize,
}

impl<'b> Hand<'_, 'b> {
    fn give(&mut self, place: usize) -> &mut Runner<'b> {
        if self.holder != place
            && let Ok([from, to]) = self.runners.get_disjoint_mut([self.holder, place])
        {
            from.lend_progress(to);
        }
        self.holder = place;
        &mut self.runners[place]
    }

    /// Whether a signal has ended the turn of the one who has it, and so the run.
    fn is_over(&self) -> bool {
        self.runners[self.holder].is_over()
    }
}

impl Report {
    /// How long an answer takes, about.
    fn typical_time(&self) -> Duration {
        Duration::from_nanos(self.median_service())
    }
}
