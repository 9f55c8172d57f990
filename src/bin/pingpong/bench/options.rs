//! What a user may ask of `pingpong bench`. The command line fills these in, and has checked that they go together.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use pingpong::Endpoint;
use pingpong::service::Framing;

use super::part::Part;
use super::rate::{Arrivals, Rate};
use super::report::Allowed;
use super::requirement::Requirement;
use super::sources::Sources;
use super::until::Until;
use crate::probe::Probe;

/// The options of `pingpong bench`.
#[derive(Clone, Debug)]
pub(crate) struct BenchOptions {
    /// The server to load.
    pub(crate) endpoint: Endpoint,
    /// Servers that take turns with it, and what each of them is asked.
    pub(crate) against: Vec<(Endpoint, Probe)>,
    /// Sockets that ask.
    pub(crate) connections: u32,
    /// Sockets that only stay open.
    pub(crate) idle: u32,
    /// How often each of these asks, if they do.
    pub(crate) heartbeat: Option<Duration>,
    /// How often a connection beside the load asks, whose messages are stamped by the kernel, if there is one.
    pub(crate) probe_rate: Option<f64>,
    /// When the load ends, or each step of it.
    pub(crate) extent: Extent,
    /// At which rates requests are sent on schedule (open loop), one after another. None: each connection waits for its
    /// answers (closed loop).
    pub(crate) rates: Vec<Rate>,
    /// How they are spread then.
    pub(crate) arrivals: Arrivals,
    /// The seed of random times, where the user has chosen it.
    pub(crate) chosen_seed: Option<u64>,
    /// Closed loop: requests that one connection has under way.
    pub(crate) pipeline: u32,
    /// Closed loop over UDP: requests that one connection sends at once leave in one call (UDP_SEGMENT).
    pub(crate) segments: bool,
    /// What to ask, and what answer is right.
    pub(crate) probe: Probe,
    /// Each request has a connection of its own.
    pub(crate) churn: bool,
    /// Connections made per second before the start. `None`: as fast as they come about.
    pub(crate) connect_rate: Option<f64>,
    /// Local addresses to dial from.
    pub(crate) sources: Option<Sources>,
    /// Those that `preflight` has chosen for targets on loopback, where none are named.
    pub(crate) spread: Option<Sources>,
    /// Which part of a load it is that several processes share: what is asked for is its share.
    pub(crate) part: Option<Part>,
    /// How many connections the parts before it have: ports and local addresses go on from there.
    pub(crate) dealt_before: u64,
    /// What was asked of all its parts, where it has been divided.
    pub(crate) undivided: Option<Box<Self>>,
    /// When to begin to ask, by the wall clock. `None`: as soon as the connections are made.
    pub(crate) start_at: Option<SystemTime>,
    /// By how much the wall clock may be off, as the user says.
    pub(crate) clock_error: Option<Duration>,
    /// How long requests are sent before they count.
    pub(crate) warmup: Duration,
    /// Whether messages on a stream end with LF.
    pub(crate) framing: Framing,
    /// An answer after this long is late; without an answer the request is lost.
    pub(crate) timeout: Duration,
    /// How long dials before the start may go without an outcome.
    pub(crate) connect_timeout: Duration,
    /// Connections that failed, were lost or got no answer are no failure of the run.
    pub(crate) allow_failures: bool,
    /// What the run is to come to, and each step of it.
    pub(crate) requirements: Vec<Requirement>,
    /// The highest rate that meets this is looked for.
    pub(crate) find: Option<Find>,
    /// The run ends when a percentile is known so well.
    pub(crate) until: Option<Until>,
    /// Where the results go as JSON.
    pub(crate) json: Option<Output>,
    /// Where the results go as a page.
    pub(crate) html: Option<PathBuf>,
    /// Where the histograms go as an HdrHistogram log.
    pub(crate) hdr: Option<PathBuf>,
    /// Only the last line of the report is printed.
    pub(crate) quiet: bool,
    /// A terminal shows how the run is going.
    pub(crate) progress: bool,
}

impl BenchOptions {
    /// Whether requests leave several in a call; `None` where there never are several.
    pub(crate) fn sends_in_runs(&self) -> Option<bool> {
        (matches!(self.endpoint, Endpoint::Udp(_)) && self.pipeline > 1).then_some(self.segments)
    }

    /// Those of each server that takes turns, this one included.
    pub(crate) fn each_server(&self) -> impl Iterator<Item = Self> {
        let others = self.against.iter().map(|(endpoint, probe)| (endpoint, probe));
        [(&self.endpoint, &self.probe)].into_iter().chain(others).map(|(endpoint, probe)| Self {
            endpoint: endpoint.clone(),
            probe: probe.clone(),
            ..self.clone()
        })
    }

    /// What is to be done, one phase after another: one in the closed loop, and one at each rate.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        let phase = |rate, whole, step| {
            let arrivals = self.arrivals.after(step as u64);
            Phase { rate, whole, arrivals, warmup: self.warmup, extent: self.extent }
        };
        let of_whole = |step| self.undivided.as_ref().map(|whole| (whole.rates[step], whole.extent));
        match &*self.rates {
            [] => vec![phase(None, None, 0)],
            rates => rates.iter().enumerate().map(|(step, rate)| phase(Some(*rate), of_whole(step), step)).collect(),
        }
    }

    /// The highest rate at which requests are due.
    pub(crate) fn peak_rate(&self) -> Option<f64> {
        self.rates.iter().map(|rate| rate.peak()).reduce(f64::max)
    }
}

/// What a rate is to meet that is looked for, and where.
#[derive(Clone, Debug)]
pub(crate) struct Find {
    /// One at least; all have to hold.
    pub(crate) requirements: Vec<Requirement>,
    /// The lowest rate that is tried; `None`: one that leaves enough answers.
    pub(crate) from: Option<f64>,
    /// The highest one.
    pub(crate) to: f64,
}

/// One time of asking and measuring, on connections that may have been through others before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    /// At which rate requests are due (open loop). `None`: closed loop.
    pub(crate) rate: Option<Rate>,
    /// The rate of all parts of the load together, and how long it holds, or for how many requests. `None`: it has no parts.
    pub(crate) whole: Option<(Rate, Extent)>,
    pub(crate) arrivals: Arrivals,
    /// How long requests are sent before they count: what came before settles.
    pub(crate) warmup: Duration,
    /// How long, or how many, count.
    pub(crate) extent: Extent,
}

impl Phase {
    /// How long the measured time is, or may be where a number of requests has a rate.
    pub(crate) fn expected(&self) -> Option<Duration> {
        match self.extent {
            Extent::Duration(duration) => Some(duration),
            Extent::Requests(requests) => Duration::try_from_secs_f64(requests as f64 / self.rate?.mean()).ok(),
        }
    }

    /// As it would be for one process that has all parts.
    pub(crate) fn undivided(self) -> Self {
        let Some((rate, extent)) = self.whole else { return self };
        Self { rate: Some(rate), extent, whole: None, ..self }
    }
}

/// The options of `pingpong bench merge`.
#[derive(Clone, Debug)]
pub(crate) struct MergeOptions {
    /// Results of `--json`, one at least; `-` is standard input.
    pub(crate) files: Vec<PathBuf>,
    /// Where the sum goes as JSON.
    pub(crate) json: Option<Output>,
    /// Where the sum goes as a page.
    pub(crate) html: Option<PathBuf>,
    /// What is added up, though it is not one load, or not all of it.
    pub(crate) allowed: Allowed,
    /// What the sum is to come to.
    pub(crate) requirements: Vec<Requirement>,
}

/// The options of `pingpong bench compare`.
#[derive(Clone, Debug)]
pub(crate) struct CompareOptions {
    /// Results of `--json`, one at least.
    pub(crate) old: Vec<PathBuf>,
    /// The same, of what they are compared with.
    pub(crate) new: Vec<PathBuf>,
    /// The share by which a figure may be worse.
    pub(crate) tolerance: f64,
    /// What was not the same load is compared all the same.
    pub(crate) force: bool,
    /// Where the comparison goes as JSON.
    pub(crate) json: Option<Output>,
    /// Where it goes as a page.
    pub(crate) html: Option<PathBuf>,
    /// Only the verdict is printed.
    pub(crate) quiet: bool,
}

/// When a load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// When it has measured for this long.
    Duration(Duration),
    /// When this many requests have been sent.
    Requests(u64),
}

/// Where results go as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// To standard output, in place of the report.
    Stdout,
    /// Into a file.
    File(PathBuf),
}
