//! `pingpong bench`: a load generator that does not flatter.
//!
//! The load is a service on connections that it dials; engine and loop are those of the server.
//!
//! - `options`: what may be asked of it; `sources`: local addresses to dial from
//! - `preflight`: what this machine has too little of, before anything is dialled
//! - `load`: the service, from the first dial to the last answer
//! - `record`: what came of it
//! - `report`: what is shown of that
//! - `trials`: what its figures are worth
//! - `machine`: where it ran

mod load;
mod machine;
mod options;
mod preflight;
mod record;
mod report;
mod sources;
mod trials;

use std::time::{Duration, SystemTime};

use crate::error::Error;
use pingpong::ServiceId;
use pingpong::{Ending, Limits, Reactor, Status};

use crate::descriptors;
use crate::probe::Probe;
use crate::target;
use load::Load;
pub(crate) use options::{BenchOptions, Extent, MergeOptions, Output};
pub(crate) use record::Fact;
use record::{CostMeter, Polling};
use report::files::{self, Publisher, ResultFile};
use report::progress::ProgressLine;
pub(crate) use report::{Mismatch, Report};
use report::{Run, Sum, hdr};
pub(crate) use sources::Sources;

/// How a load ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With this report, interrupted or not.
    Reported(Box<Report>),
    /// At once, by a second signal of this number.
    Stopped(i32),
}

/// Loads a server, and reports.
pub(crate) fn run(mut options: BenchOptions) -> Result<Outcome, Error> {
    let addresses = target::resolve(&options.endpoint)?;
    let ground = preflight::check(&options, &addresses, descriptors::raise_limit())?;
    options.spread = ground.spread;
    // A file that cannot be written is better known before the run than after it.
    let publisher = Publisher::open(options.json.as_ref(), options.quiet)?;
    let hdr = options.hdr.as_deref().map(ResultFile::create).transpose()?;
    let mut progress = ProgressLine::open(&options);

    let mut reactor = Reactor::<Load>::new(limits(&options))?;
    reactor.watch_signals()?;
    reactor.keep_exact_time()?;
    if options.sends_in_runs() != Some(true) {
        reactor.send_datagrams_singly();
    }
    let load = reactor.add("bench", Load::new(options.clone(), addresses, progress.is_some()));
    let started = SystemTime::now();
    reactor.with(load, |load, out| load.begin(out));
    let mut meter = CostMeter::new();
    turn_until_over(&mut reactor, load, &mut meter, progress.as_mut())?;
    if let Some(progress) = progress {
        progress.close();
    }
    // Writing the results may have to wait for their reader.
    if let Status::Ended(Ending::Signal(number)) = reactor.release_signals() {
        return Ok(Outcome::Stopped(number));
    }

    let (ended, kernel_drops) = (reactor.now(), reactor.stats().dropped);
    let (report, logged) = reactor.with(load, |load, _| -> Result<_, Error> {
        load.conclude(ended, kernel_drops)?;
        let logged = hdr.map_or(Ok(()), |hdr| hdr.write(|file| hdr::write(file, &load.ledger, started)));
        let cost = meter.cost(load.ledger.counts[Fact::Sent]);
        Ok((Report::of(&Run { options: &options, load, started, ended, ground, cost }), logged))
    })?;
    // A log that could not be written is no reason to lose the report.
    publisher.publish(&report).and(logged)?;
    Ok(Outcome::Reported(Box::new(report)))
}

/// Adds up the results of several loads, and reports.
pub(crate) fn merge(options: MergeOptions) -> Result<Report, Error> {
    let mut sum = Sum::new(options.force);
    for path in &options.files {
        sum.add(path, files::read(path)?)?;
    }
    let report = sum.into_report().expect("the command line asks for one file at least");
    // Opened only now: it may replace one of the files that have been read.
    Publisher::open(options.json.as_ref(), false)?.publish(&report)?;
    Ok(report)
}

fn limits(options: &BenchOptions) -> Limits {
    let expected = match &options.probe {
        Probe::Pong(size) | Probe::Echo(size) => *size,
        Probe::Fixed { expect, .. } => expect.len(),
    };
    let mut limits = Limits::default();
    // A load owes no answers, and waits for no far side to close.
    limits.linger = Duration::ZERO;
    limits.drain = Duration::ZERO;
    // How much may be under way is the load's to decide: `--pipeline`, which `preflight` checks, and the window of the
    // open loop.
    limits.max_unsent = usize::MAX;
    limits.max_buffered = usize::MAX;
    limits.max_message = limits.max_message.max(2 * expected);
    limits
}

fn turn_until_over(
    reactor: &mut Reactor<Load>,
    load: ServiceId,
    meter: &mut CostMeter,
    mut progress: Option<&mut ProgressLine>,
) -> Result<(), Error> {
    loop {
        if let Status::Ended(_) = reactor.turn(Some(CostMeter::INTERVAL))? {
            return Ok(());
        }
        let now = reactor.now();
        if now >= meter.due() {
            let polling = Polling { all: reactor.time_polled(), spun: reactor.time_spun() };
            reactor.with(load, |load, _| meter.read(&load.ledger, polling, now));
        }
        if let Some(progress) = progress.as_mut().filter(|progress| now >= progress.due()) {
            reactor.with(load, |load, _| progress.draw(load, now));
        }
    }
}

#[cfg(test)]
mod tests;
