//! The turns of a server that was loaded beside others (`--against`): added up, and each for itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::alike::Span;
use super::blocks::Blocks;
use super::json::rounded;
use super::merge::{add, add_reasons, added, both};
use super::standstill::{Sign, Standstill};
use super::text::shown;
use super::{Cut, Report, settings};
use crate::bench::options::{BenchOptions, Extent};
use crate::bench::record::{Cost, Fact, percentile};
use crate::bench::requirement::Requirement;

/// What has become of connections at the end of a turn is so for all turns before it.
const OF_THE_END: [Fact; 9] = [
    Fact::ConnectionsRequested,
    Fact::ConnectionsOpened,
    Fact::ConnectionsFailed,
    Fact::ConnectionsLost,
    Fact::ConnectionsUnserved,
    Fact::ConnectionsStalled,
    Fact::ConnectionsHeld,
    Fact::IdleHeld,
    Fact::IdleSilent,
];

/// A wait for this part of a turn leaves out enough to be worth naming.
const LONG_WAIT: u32 = 2;

/// One of the servers, with what its turns have come to so far.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// A, B, …
    name: String,
    pub(super) endpoint: String,
    time: Duration,
    warmup: Duration,
    requirements: Vec<Requirement>,
    pub(super) report: Option<Report>,
    /// How many turns are in it.
    pub(super) turns: usize,
    /// For how long its answers were waited for after these turns: nobody was asked anything then.
    waits: Waits,
}

/// Times after turns, in all and at the longest.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    all: Duration,
    longest: Duration,
}

impl Side {
    pub(crate) fn new(place: usize, options: &BenchOptions) -> Self {
        let name = char::from(b'A' + u8::try_from(place).unwrap_or_default()).to_string();
        let time = match options.extent {
            Extent::Duration(time) => time,
            Extent::Requests(_) => Duration::ZERO,
        };
        let (endpoint, warmup) = (options.endpoint.to_string(), options.warmup);
        let requirements = options.requirements.clone();
        Self { name, endpoint, time, warmup, requirements, report: None, turns: 0, waits: Waits::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Adds a turn.
    pub(crate) fn add_turn(&mut self, mut turn: Report) {
        self.turns += 1;
        self.waits.all += turn.waited;
        self.waits.longest = self.waits.longest.max(turn.waited);
        turn.blocks = turn.blocks.in_one();
        self.add(turn);
    }

    /// Adds what came of a turn that was not gone through: it is reported, and not compared. Where the server was not gone,
    /// that is of no interest beside whole turns.
    pub(crate) fn add_rest(&mut self, mut rest: Report) {
        rest.blocks = Blocks::default();
        if self.report.is_none() || rest.cut == Some(Cut::Gone) {
            self.add(rest);
        }
    }

    fn add(&mut self, turn: Report) {
        match &mut self.report {
            Some(sum) => sum.follow(turn),
            None => {
                let mut first = turn;
                let effective = &mut first.about["settings"]["effective"];
                effective["duration_seconds"] = self.time.as_secs_f64().into();
                effective["warmup_seconds"] = self.warmup.as_secs_f64().into();
                first.title = settings::title(effective);
                self.report = Some(first);
            }
        }
    }

    /// Not all of its turns were gone through.
    pub(super) fn interrupt(&mut self) {
        if let Some(report) = &mut self.report {
            report.is_partial = true;
        }
    }

    /// Holds what it has come to against what is required of each.
    pub(super) fn judge(&mut self) {
        if let Some(report) = &mut self.report {
            report.judge(&self.requirements);
        }
    }

    /// Why its figures cannot be compared.
    pub(super) fn fault(&self) -> Option<String> {
        let Self { name, endpoint, report, .. } = self;
        let report = report.as_ref()?;
        let count = |fact: Fact| report.counts[fact];
        let missing = count(Fact::ConnectionsFailed) + count(Fact::ConnectionsLost);
        if let Some(gone_after) = report.gone_after_seconds {
            Some(match gone_after {
                0.0 => format!("{name} ({endpoint}) was gone before its first turn"),
                _ => format!("{name} ({endpoint}) was gone after {gone_after:.1} s of its turns"),
            })
        } else if count(Fact::Requests) + count(Fact::Late) == 0 {
            Some(format!("{name} ({endpoint}) answered nothing right"))
        } else if missing > 0 && !report.allows_failures {
            let all = count(Fact::ConnectionsRequested);
            Some(format!("{name} ({endpoint}) was without {missing} of its {all} connections"))
        } else {
            None
        }
    }

    /// That its figures leave out most of a time in which it gave no answers, where turns had to wait for so long.
    pub(super) fn leaves_out(&self, turn: Duration) -> Option<String> {
        let longest = self.waits.longest;
        (longest > turn / LONG_WAIT).then(|| {
            format!(
                "{} kept a turn waiting for {}: requests due then were not sent, and its figures know of a standstill only \
                 what fell into a turn (load it alone to see all of it)",
                self.name,
                shown(longest.as_nanos() as u64)
            )
        })
    }

    /// The longest standstill, in its turns or after one of them.
    pub(super) fn standstill(&self, turn: Duration) -> Option<Standstill> {
        let longest = self.waits.longest;
        let wait = Standstill { nanos: longest.as_nanos() as u64, sign: Sign::Turn };
        let wait = (longest > turn / LONG_WAIT).then_some(wait);
        wait.max(self.report.as_ref().and_then(Report::standstill))
    }

    /// For how long it kept turns waiting.
    pub(super) fn waits_to_json(&self) -> Value {
        let [all, longest] = [self.waits.all, self.waits.longest].map(|wait| rounded(wait.as_secs_f64()));
        json!({ "seconds": all, "longest_seconds": longest })
    }

    /// The settings that all have in common.
    pub(super) fn settings(&self) -> Option<&Value> {
        Some(&self.report.as_ref()?.about["settings"]["effective"])
    }
}

impl Report {
    /// The service time of the answer in the middle, in nanoseconds.
    pub(in crate::bench) fn median_service(&self) -> u64 {
        percentile(&self.service, 50.0)
    }

    /// Whether it has asked and got no right answer.
    pub(in crate::bench) fn is_unanswered(&self) -> bool {
        self.counts[Fact::Sent] > 0 && self.counts[Fact::Requests] + self.counts[Fact::Late] == 0
    }

    /// Adds the turn after this one, on the same connections.
    fn follow(&mut self, later: Self) {
        let has_come_back = self.cut == Some(Cut::Silent) && !later.is_unanswered() && later.counts[Fact::Sent] > 0;
        if has_come_back {
            (self.is_partial, self.cut, self.gone_after_seconds) = (false, None, None);
        }
        self.is_partial |= later.is_partial;
        self.cut = self.cut.or(later.cut);
        self.gone_after_seconds = self.gone_after_seconds.or(later.gone_after_seconds.map(|gone| self.seconds + gone));
        self.longest_pause_seconds = self.longest_pause_seconds.max(later.longest_pause_seconds);
        let seconds = self.seconds + later.seconds;
        let answered = self.per_second * self.seconds + later.per_second * later.seconds;
        self.per_second = if seconds > 0.0 { answered / seconds } else { 0.0 };
        self.seconds = seconds;
        self.measured = match (self.measured, later.measured) {
            (Some(first), Some(last)) => Span::around(&[first, last]),
            (first, last) => first.or(last),
        };
        self.blocks.follow(later.blocks);
        let stalled_before = self.counts[Fact::ConnectionsStalled];
        self.counts.add(&later.counts);
        for fact in OF_THE_END {
            self.counts[fact] = later.counts[fact];
        }
        if !self.is_stream {
            // A socket may lose all the few datagrams of one turn.
            let stalled = stalled_before.min(later.counts[Fact::ConnectionsStalled]);
            self.counts[Fact::ConnectionsHeld] += later.counts[Fact::ConnectionsStalled] - stalled;
            self.counts[Fact::ConnectionsStalled] = stalled;
        }
        // Connections that could not be made are told of in each turn.
        self.refusals = later.refusals;
        add_reasons(&mut self.refused_reasons, later.refused_reasons);
        add_reasons(&mut self.hindrances, later.hindrances);
        self.mistakes.wrong = self.mistakes.wrong.take().or(later.mistakes.wrong);
        self.mistakes.unasked = self.mistakes.unasked.take().or(later.mistakes.unasked);
        self.was_answered |= later.was_answered;
        add(&mut self.service, &later.service);
        self.response = both(self.response.take(), later.response, added);
        self.lag = both(self.lag.take(), later.lag, added);
        // The round trips are those of the same connections, as they are now.
        let retransmits = self.transport.as_ref().map_or(0, |transport| transport.retransmits);
        self.transport = later.transport;
        if let Some(transport) = &mut self.transport {
            transport.retransmits += retransmits;
        }
        self.cost = both(self.cost, later.cost, Cost::plus);
    }
}
