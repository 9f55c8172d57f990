//! `pingpong bench`: a load generator that does not flatter.
//!
//! The load is a service on dialled connections, in the same loop as the server: what it measures it pays for like
//! everyone else.
//!
//! - `options`: what may be asked of it
//! - `preflight`: what this machine has too little of, before anything is dialled; `sources`: local addresses to dial from
//! - `load`: the service, from the first connection to the last answer
//! - `record`: what came of it
//! - `report`: what is shown of that
//! - `machine`: where it ran

mod load;
mod machine;
mod options;
mod preflight;
mod record;
mod report;
mod sources;

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::budget::may_be_budgeted;
use crate::descriptors;
use crate::error::Error;
use crate::probe::Probe;
use crate::target;
use pingpong::Address;
use pingpong::Limits;
use pingpong::Moment;
use pingpong::service::Framing;
use pingpong::service::ServiceId;
use pingpong::{Ending, Reactor, Status};

use load::{Load, Phase};
pub(crate) use options::{BenchOptions, Extent, MergeOptions, Output};
use record::cost::Watch;
pub(crate) use record::counts::Fact;
pub(crate) use report::Report;
use report::files::{Publisher, ResultFile};
use report::hdr;
use report::progress::Progress;
pub(crate) use sources::Sources;

/// How often the load's own cost is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Loads, reports, and returns the report; or the number of the second signal that ended it at once.
pub(crate) fn run(options: BenchOptions) -> Result<Outcome, Error> {
    let addresses = target::resolve(&options.endpoint)?;
    let ports = preflight::check(&options, &addresses, descriptors::raise_limit())?;
    // What cannot be written is better known before the run than after it.
    let publisher = Publisher::open(options.json.as_ref(), options.quiet)?;
    let hdr = options.hdr.as_deref().map(ResultFile::create).transpose()?;
    let mut progress = Progress::open(&options);

    let mut reactor = Reactor::<Load>::new(limits(&options))?;
    reactor.watch_signals()?;
    reactor.keep_exact_time()?;
    let load = reactor.add("bench", Load::new(options.clone(), addresses, progress.is_some()));
    let started = SystemTime::now();
    reactor.with(load, |load, out| load.begin(out));
    let mut watch = Watch::default();
    let ending = turn_until_over(&mut reactor, load, options.extent, &mut watch, progress.as_mut())?;
    progress.into_iter().for_each(Progress::close);
    if let Ending::Signal(number) = ending {
        return Ok(Outcome::Stopped(number));
    }

    let (now, kernel_drops) = (reactor.now(), reactor.stats().dropped);
    let report = reactor.with(load, |load, _| -> Result<Report, Error> {
        load.conclude(now, kernel_drops)?;
        hdr.map_or(Ok(()), |file| file.write(|file| hdr::write(file, load, started)))?;
        Ok(Report { churn_ports: ports.filter(|_| options.churn), ..report_of(load, &options, &watch, started, now) })
    })?;
    publisher.publish(&report)?;
    Ok(Outcome::Reported(Box::new(report)))
}

/// Adds up the results of several loads, and reports.
pub(crate) fn merge(options: MergeOptions) -> Result<Report, Error> {
    let mut sum: Option<Report> = None;
    let mut runs = Vec::new();
    for path in &options.files {
        let read = fs::read_to_string(path).and_then(|text| Report::from_json(&text));
        let report = read.map_err(|source| Error::File { to: "read", path: path.clone(), source })?;
        runs.push(json!({ "file": path.display().to_string(), "title": report.title, "run": report.about }));
        match &mut sum {
            Some(sum) => sum.add(&report),
            None => sum = Some(report),
        }
    }
    let mut sum = sum.expect("the command line asks for one file at least");
    sum.title = format!("{}; {} runs added up", sum.title, runs.len());
    sum.about = json!({ "program": program(), "runs": runs });
    // Only now: it may replace one of those that have been read.
    Publisher::open(options.json.as_ref(), false)?.publish(&sum)?;
    Ok(sum)
}

/// How a load ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With this report, interrupted or not.
    Reported(Box<Report>),
    /// At once, by a second signal of this number.
    Stopped(i32),
}

fn limits(options: &BenchOptions) -> Limits {
    let expected = match &options.probe {
        Probe::Pong(size) | Probe::Echo(size) => *size,
        Probe::Fixed { expect, .. } => expect.len(),
    };
    let mut limits = Limits::default();
    // A load owes nobody an answer, and waits for nobody to close their side.
    limits.linger = Duration::ZERO;
    limits.drain = Duration::ZERO;
    limits.max_message = limits.max_message.max(2 * expected);
    limits
}

fn turn_until_over(
    reactor: &mut Reactor<Load>,
    load: ServiceId,
    extent: Extent,
    watch: &mut Watch,
    mut progress: Option<&mut Progress>,
) -> Result<Ending, Error> {
    loop {
        if let Status::Ended(ending) = reactor.turn(Some(LOOK))? {
            return Ok(ending);
        }
        let now = reactor.now();
        if now >= watch.due() {
            let polled = reactor.time_polled();
            reactor.with(load, |load, _| watch.look(load, polled, now));
        }
        if let Some(progress) = progress.as_mut().filter(|progress| now >= progress.due()) {
            reactor.with(load, |load, _| progress.draw(load, extent, now));
        }
    }
}

fn report_of(load: &Load, options: &BenchOptions, watch: &Watch, started: SystemTime, now: Moment) -> Report {
    let seconds = load.ledger.measured(now).as_secs_f64();
    let requests = load.ledger.counts[Fact::Requests];
    let since_epoch = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Report {
        title: title(options),
        is_open: options.rate.is_some(),
        is_partial: load.phase != Phase::Over,
        seconds,
        per_second: if seconds > 0.0 { requests as f64 / seconds } else { 0.0 },
        asked_per_second: options.rate,
        connect_seconds: load.connected.since(load.dialled).as_secs_f64(),
        counts: load.ledger.counts.clone(),
        refusals: load.refusals().clone(),
        churn_ports: None,
        is_budgeted: may_be_budgeted(&options.endpoint, load.address(), &options.probe),
        service: load.ledger.service.total.clone(),
        response: load.ledger.response.as_ref().map(|times| times.total.clone()),
        lag: load.ledger.lag.as_ref().map(|times| times.total.clone()),
        cost: watch.cost(load.ledger.counts[Fact::Sent]),
        about: json!({
            "program": program(),
            "started_unix_seconds": since_epoch.as_secs_f64(),
            "settings": { "requested": std::env::args().skip(1).collect::<Vec<_>>(), "effective": effective(options, load) },
            "machine": machine::facts(),
        }),
    }
}

fn program() -> String {
    format!("pingpong {}", env!("CARGO_PKG_VERSION"))
}

/// What was done, in a line.
fn title(options: &BenchOptions) -> String {
    let each = match &options.probe {
        Probe::Pong(size) => format!("{size}-byte pings"),
        Probe::Echo(size) => format!("{size}-byte echoes"),
        Probe::Fixed { send, .. } => format!("\"{}\"", send.escape_ascii()),
    };
    let how = match options.rate {
        Some(rate) => format!("open loop at {rate} a second"),
        None if options.pipeline > 1 => format!("closed loop, {} outstanding each", options.pipeline),
        None => "closed loop".to_owned(),
    };
    let churn = if options.churn { ", each on a connection of its own" } else { "" };
    let idle = if options.idle > 0 { format!(" beside {} idle", options.idle) } else { String::new() };
    let extent = match options.extent {
        Extent::Duration(duration) => format!("{duration:?}"),
        Extent::Requests(requests) => format!("{requests} requests"),
    };
    let connections = match options.connections {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    };
    let warmup = match options.warmup {
        Duration::ZERO => "without warm-up".to_owned(),
        warmup => format!("after {warmup:?} of warm-up"),
    };
    format!("{}: {connections}{idle}, {how}, {each}{churn}; {extent} {warmup}", options.endpoint)
}

/// The settings with all defaults filled in.
fn effective(options: &BenchOptions, load: &Load) -> Value {
    let (exchange, size) = match &options.probe {
        Probe::Pong(size) => ("pong", *size),
        Probe::Echo(size) => ("echo", *size),
        Probe::Fixed { send, .. } => ("fixed", send.len()),
    };
    let (duration, requests) = match options.extent {
        Extent::Duration(duration) => (Some(duration.as_secs_f64()), None),
        Extent::Requests(requests) => (None, Some(requests)),
    };
    json!({
        "endpoint": options.endpoint.to_string(),
        "address": load.address().map(Address::to_string),
        "connections": options.connections,
        "idle": options.idle,
        "duration_seconds": duration,
        "requests": requests,
        "warmup_seconds": options.warmup.as_secs_f64(),
        "rate_per_second": options.rate,
        "pipeline": options.pipeline,
        "churn": options.churn,
        "connect_rate_per_second": options.connect_rate,
        "sources": options.sources.map(|sources| sources.to_string()),
        "exchange": exchange,
        "size_bytes": size,
        "framing": if options.framing == Framing::Raw { "raw" } else { "line" },
        "timeout_seconds": options.timeout.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;
