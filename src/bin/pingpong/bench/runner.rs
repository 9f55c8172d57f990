//! One load that runs: it makes its connections once, then goes through phases on them, one after another, each with fresh
//! counters. What a run consists of is decided outside, from the report of one phase to the next one.

use std::time::{Duration, SystemTime};

use pingpong::{Address, Ending, Limits, Moment, Reactor, ServiceId, Status};
use serde_json::Value;

use super::clock::{self, corrected, together};
use super::finding::{self, Stand};
use super::load::{Load, Stage, Wanted};
use super::options::{BenchOptions, Find, Phase};
use super::preflight::Ground;
use super::record::{CostMeter, Fact, Polling, Transport};
use super::report::files::Publisher;
use super::report::hdr::Log;
use super::report::progress::ProgressLine;
use super::report::{Report, Run, Searched};
use super::stamped::{Clock, StampedSocket};
use super::until::Looks;
use crate::error::Error;
use crate::probe::Probe;

/// A load and the loop that turns it.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    options: &'a BenchOptions,
    ground: Ground,
    addresses: Vec<Address>,
    reactor: Reactor<Load>,
    /// Once the first phase has begun.
    load: Option<ServiceId>,
    /// When it was added, by the wall clock and by the loop's.
    started: (SystemTime, Moment),
    /// What the wall clock was worth then.
    clock: Value,
    progress: Option<ProgressLine>,
    log: Option<Log>,
    /// Segments that its connections had sent again when the phase before was over.
    #[cfg(feature = "watch")]
    retransmits_before: u64,
    /// A signal has ended it, or no server was there: no further phase can be measured.
    is_over: bool,
}

impl<'a> Runner<'a> {
    /// From now on a signal ends the run.
    pub(super) fn new(options: &'a BenchOptions, ground: Ground, addresses: Vec<Address>) -> Result<Self, Error> {
        let mut reactor = Reactor::<Load>::new(limits(options))?;
        reactor.watch_signals()?;
        reactor.keep_exact_time()?;
        if options.sends_in_runs() != Some(true) {
            reactor.send_datagrams_singly();
        }
        let started = together(|| reactor.now());
        Ok(Self {
            options,
            ground,
            addresses,
            reactor,
            load: None,
            started,
            clock: clock::facts(options.clock_error),
            progress: ProgressLine::open(options),
            log: options.hdr.is_some().then(Log::default),
            #[cfg(feature = "watch")]
            retransmits_before: 0,
            is_over: false,
        })
    }

    /// Goes through these phases, as far as no signal ends it.
    pub(super) fn measure_all(&mut self, phases: &[Phase]) -> Result<Vec<Report>, Error> {
        let mut reports = Vec::new();
        for phase in phases {
            if self.is_over {
                break;
            }
            reports.push(self.measure(*phase)?);
        }
        Ok(reports)
    }

    /// Goes through this phase, from its warm-up to its last answer. Before the first one the connections are made. Fails
    /// where no server can be reached.
    pub(super) fn measure(&mut self, phase: Phase) -> Result<Report, Error> {
        let load = self.begin(phase)?;
        let mut meter = CostMeter::new();
        let mut looks = Looks::default();
        self.turn_until_over(load, &mut meter, &mut looks)?;
        let transport = self.transport();
        let (wall, now) = together(|| self.reactor.now());
        let started = corrected(self.started.0, now.since(self.started.1), wall);
        let Self { options, reactor, ground, log, clock, .. } = self;
        let (ended, kernel_drops) = (reactor.now(), reactor.stats().dropped);
        reactor.with(load, |load, _| {
            load.conclude(ended, kernel_drops)?;
            if let Some(until) = &options.until {
                looks.end(until, &load.ledger, ended);
            }
            if let Some(log) = log {
                log.add(&mut load.ledger, started);
            }
            let cost = meter.cost(load.ledger.counts[Fact::Sent]);
            let run = Run { options, load, started, ended, ground: *ground, cost, transport };
            let mut report = Report::of(run);
            report.tell_of_clock(clock);
            if let Some(until) = &options.until {
                report.tell_of_looks(until, &looks);
            }
            Ok(report)
        })
    }

    /// What TCP did for its connections, as far as they are still there; `None` over other sockets.
    #[cfg(feature = "watch")]
    fn transport(&mut self) -> Option<Transport> {
        use crate::watch::TcpInfo;

        let connections = self.reactor.sockets().filter_map(|socket| TcpInfo::of(&socket.descriptor));
        let mut transport = Transport::of(connections.map(|info| info.figures()))?;
        let before = std::mem::replace(&mut self.retransmits_before, transport.retransmits);
        transport.retransmits = transport.retransmits.saturating_sub(before);
        Some(transport)
    }

    /// A build without `watch` does not ask.
    #[cfg(not(feature = "watch"))]
    fn transport(&mut self) -> Option<Transport> {
        None
    }

    /// Looks for the highest rate that meets what is asked for.
    pub(super) fn find(&mut self, find: &Find, publisher: &mut Publisher<'_>) -> Result<(Report, Searched), Error> {
        let options = self.options;
        finding::find(options, find, &mut Seeking { runner: self, publisher })
    }

    /// Whether a signal has ended it, so that no further phase can be measured.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Hands the progress line to a load that is next.
    pub(super) fn lend_progress(&mut self, other: &mut Self) {
        other.progress = other.progress.take().or(self.progress.take());
    }

    /// Tells the progress line which of all turns this is, and whose.
    pub(super) fn show_turn(&mut self, turn: usize, of: usize, name: &str) {
        if let Some(progress) = &mut self.progress {
            progress.take_turn(turn, of, name);
        }
    }

    /// Ends the load. Returns its histograms where they are kept, or the number of a second signal that has stopped it at
    /// once.
    pub(super) fn end(mut self) -> Result<Option<Log>, i32> {
        if let Some(progress) = self.progress {
            progress.close();
        }
        // Writing the results may have to wait for their reader.
        match self.reactor.release_signals() {
            Status::Ended(Ending::Signal(number)) => Err(number),
            _ => Ok(self.log),
        }
    }

    /// Fails where the moment to begin at is over before anything is dialled.
    fn begin(&mut self, phase: Phase) -> Result<ServiceId, Error> {
        if let Some(load) = self.load {
            self.reactor.with(load, |load, out| load.go_on(phase, out));
            return Ok(load);
        }
        let load = Load::new(self.options.clone(), phase, self.addresses.clone(), self.progress.is_some());
        let load = self.reactor.add("bench", load);
        let (wall, now) = together(|| self.reactor.now());
        if let Some(start) = self.options.start_at {
            let wait = start.duration_since(wall).map_err(|late| Error::Late { by: late.duration() })?;
            self.reactor.with(load, |load, _| load.start_at(now + wait));
        }
        let began = self.reactor.with(load, |load, out| (load.begin(out), load.ledger.began()).1);
        self.started = (wall + began.since(now), began);
        Ok(*self.load.insert(load))
    }

    fn turn_until_over(&mut self, load: ServiceId, meter: &mut CostMeter, looks: &mut Looks) -> Result<(), Error> {
        let reactor = &mut self.reactor;
        let mut until = self.options.until.as_ref();
        loop {
            if let Status::Ended(_) = reactor.turn(Some(CostMeter::INTERVAL))? {
                self.is_over = true;
                return Ok(());
            }
            let (stage, now, probe) = reactor.with(load, |load, out| (load.stage, out.now(), load.wanted_line()));
            if let Some(wanted) = probe {
                dial_probe(reactor, load, &wanted);
            }
            if stage == Stage::Resting {
                return Ok(());
            }
            if until.is_some_and(|until| reactor.with(load, |load, _| looks.look(until, &load.ledger, now))) {
                until = None;
                reactor.with(load, |load, out| load.end_early(out));
            }
            if now >= meter.due() {
                let polling = Polling { all: reactor.time_polled(), spun: reactor.time_spun() };
                reactor.with(load, |load, _| meter.read(&load.ledger, polling, now));
            }
            if let Some(progress) = self.progress.as_mut().filter(|progress| now >= progress.due()) {
                reactor.with(load, |load, _| progress.draw(load, now));
            }
        }
    }
}

/// A runner that seeks a rate, and where it tells how that goes.
struct Seeking<'r, 'a, 'p> {
    runner: &'r mut Runner<'a>,
    publisher: &'r mut Publisher<'p>,
}

impl Stand for Seeking<'_, '_, '_> {
    fn measure(&mut self, phase: Phase) -> Result<Report, Error> {
        // The log is that of the run whose report is the last.
        if let Some(log) = &mut self.runner.log {
            *log = Log::default();
        }
        self.runner.measure(phase)
    }

    fn tell(&mut self, text: &str) {
        let publisher = &mut *self.publisher;
        match &self.runner.progress {
            Some(progress) => progress.aside(|| publisher.tell(text)),
            None => publisher.tell(text),
        }
    }
}

/// Opens the probe's socket. One that is refused for now is dialled again after the next turn.
fn dial_probe(reactor: &mut Reactor<Load>, load: ServiceId, wanted: &Wanted) {
    let clock = Clock::of(|| reactor.now());
    let Wanted { to, from, is_stream } = wanted;
    let dialled = StampedSocket::connect(to, *from, *is_stream, clock)
        .and_then(|socket| reactor.watch(load, &socket).map(|()| socket));
    match dialled {
        Ok(socket) => reactor.with(load, |load, out| load.line_dialled(Box::new(socket), out)),
        Err(error) => reactor.with(load, |load, out| load.line_refused(&error, out)),
    }
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
