//! `pingpong bench`: a load generator that does not flatter.
//!
//! The load is a service on connections that it dials; engine and loop are those of the server.
//!
//! - `options`: what may be asked of it; `rate`: how fast; `sources`: local addresses to dial from; `part`: what one
//!   process has of a load that several share
//! - `preflight`: what this machine has too little of, before anything is dialled
//! - `runner`: the loop that turns it, one phase after another on the same connections
//! - `search`: which rate is tried next, where one is looked for; `finding`: the trials of that
//! - `against`: several of them by turns
//! - `compare`: earlier results against later ones
//! - `until`: when a percentile is known well enough
//! - `load`: the service, from the first dial to the last answer
//! - `record`: what came of it
//! - `report`: what is shown of that; `requirement`: whether it is what was asked for
//! - `stamped`: the socket of `--probe`, whose messages carry the kernel's stamps
//! - `trials`: what its figures are worth
//! - `machine`: where it ran; `clock`: what its wall clock is worth

mod against;
mod clock;
mod compare;
mod finding;
mod load;
mod machine;
mod options;
mod part;
mod preflight;
mod rate;
mod record;
mod report;
mod requirement;
mod runner;
mod search;
mod sources;
mod stamped;
mod trials;
mod until;

use crate::descriptors;
use crate::error::Error;
use crate::target;
pub(crate) use compare::compare;
pub(crate) use options::{BenchOptions, CompareOptions, Extent, Find, MergeOptions, Output};
pub(crate) use part::Part;
pub(crate) use rate::{Arrivals, Rate};
pub(crate) use record::Fact;
use report::files::{self, Publisher};
pub(crate) use report::{Allowed, Change, Mismatch, Report, Results, Versus};
use report::{Page, Shown, Sums};
pub(crate) use requirement::{Comparison, FIGURES, Kind, Quantity, Requirement, Unit};
use runner::Runner;
pub(crate) use sources::Sources;
pub(crate) use until::Until;

/// How a load ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With these results, interrupted or not.
    Reported(Results),
    /// With the results of several servers by turns.
    Compared(Versus),
    /// At once, by a second signal of this number.
    Stopped(i32),
}

/// Loads a server, and reports.
pub(crate) fn run(mut options: BenchOptions) -> Result<Outcome, Error> {
    if !options.against.is_empty() {
        return against::run(&options);
    }
    let addresses = target::resolve(&options.endpoint)?;
    let ground = preflight::check(&options, &addresses, descriptors::raise_limit())?;
    options.spread = ground.spread;
    // A file that cannot be written is better known before the run than after it.
    let mut publisher = Publisher::open(options.json.as_ref(), options.html.as_deref(), options.quiet)?;
    let hdr = options.hdr.as_deref().map(|path| publisher.open_beside(path)).transpose()?;

    let phases = options.phases();
    let mut runner = Runner::new(&options, ground, addresses)?;
    let measured = match &options.find {
        Some(find) => runner.find(find, &mut publisher).map(|(report, searched)| Results::of_search(report, searched)),
        None => runner.measure_all(&phases).map(|reports| Results::new(reports, phases.len())),
    };
    let log = match runner.end() {
        Ok(log) => log,
        Err(signal) => return Ok(Outcome::Stopped(signal)),
    };
    let results = measured?;
    // A log that could not be written is no reason to lose the report.
    let logged = hdr.zip(log).map_or(Ok(()), |(hdr, log)| hdr.write(|file| log.write(file)));
    publisher.publish(&results, &Page::of(&results, &[])).and(logged)?;
    Ok(Outcome::Reported(results))
}

/// Adds up the results of several loads, and reports.
pub(crate) fn merge(options: MergeOptions) -> Result<Results, Error> {
    let mut sums = Sums::new(options.allowed);
    let mut shown = options.html.as_ref().map(|_| Shown::default());
    for path in &options.files {
        let count = files::read_each(path, |name, results| {
            if let Some(shown) = &mut shown {
                shown.add(&name, &results);
            }
            sums.add(&name, results)
        })?;
        if count == 0 {
            sums.note_empty(path.display().to_string());
        }
    }
    let results = sums.into_results(&options.requirements)?.expect("the command line asks for one file at least");
    let parts = shown.map(Shown::into_parts).unwrap_or_default();
    // Opened only now: it may replace one of the files that have been read.
    let publisher = Publisher::open(options.json.as_ref(), options.html.as_deref(), false)?;
    publisher.publish(&results, &Page::of(&results, &parts))?;
    Ok(results)
}

#[cfg(test)]
mod tests;
