//! What counts, and what has come of it: requests by outcome, and how long they took.
//!
//! A request counts if it was due while measuring, whenever its answer comes. What came before was warm-up.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::counts::{Counts, Fact, Latency, histogram};
use crate::bench::BenchOptions;
use crate::bench::load::pending::{Request, Settled};
use pingpong::Moment;

/// How long the parts are that an HdrHistogram log consists of.
const PART: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) counts: Counts,
    pub(crate) service: Latency,
    /// From when a request was due, where there is a schedule.
    pub(crate) response: Option<Latency>,
    /// How much later than due requests were sent, where there is a schedule.
    pub(crate) lag: Option<Latency>,
    /// What a progress line shows: answers since it last did …
    pub(crate) recent: Option<Histogram<u64>>,
    /// … and all of them, warm-up included.
    pub(crate) answered: u64,
    timeout: Duration,
    is_datagram: bool,
    measuring: Option<Measuring>,
    /// Nothing is sent any more.
    is_closed: bool,
    last_sent: Moment,
    last_settled: Moment,
    part_began: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Measuring {
    from: Moment,
    until: Option<Moment>,
}

impl Ledger {
    pub(crate) fn new(options: &BenchOptions, shows_progress: bool) -> Self {
        let keeps_parts = options.hdr.is_some();
        let is_open = options.rate.is_some();
        Self {
            counts: Counts::default(),
            service: Latency::new(keeps_parts),
            response: is_open.then(|| Latency::new(keeps_parts)),
            lag: is_open.then(|| Latency::new(false)),
            recent: shows_progress.then(histogram),
            answered: 0,
            timeout: options.timeout,
            is_datagram: options.endpoint.is_datagram(),
            measuring: None,
            is_closed: false,
            last_sent: Moment::default(),
            last_settled: Moment::default(),
            part_began: Moment::default(),
        }
    }

    /// What is due from here on counts, up to there if there is an end.
    pub(crate) fn measure(&mut self, from: Moment, until: Option<Moment>) {
        self.measuring = Some(Measuring { from, until });
        self.part_began = from;
    }

    /// When the measuring began or will begin; at the start of the clock until that is known.
    pub(crate) fn from(&self) -> Moment {
        self.measuring.map_or(Moment::default(), |measuring| measuring.from)
    }

    /// When it ends, where that is known beforehand.
    pub(crate) fn until(&self) -> Option<Moment> {
        self.measuring?.until
    }

    /// Nothing will be sent any more; where it ends before its time, that was all.
    pub(crate) fn close(&mut self, now: Moment) {
        self.is_closed = true;
        if let Some(Measuring { until: Some(until), .. }) = &mut self.measuring {
            *until = now.min(*until);
        }
    }

    /// Whether what is due at this moment counts. (After the end nothing is due.)
    pub(crate) fn covers(&self, moment: Moment) -> bool {
        self.measuring.is_some_and(|measuring| moment >= measuring.from)
    }

    /// How long it has measured, or did in all: until the last request was sent, where they came too late to be sent in
    /// time.
    pub(crate) fn measured(&self, now: Moment) -> Duration {
        let Some(measuring) = self.measuring else { return Duration::ZERO };
        let end = match measuring.until {
            Some(until) => now.min(until).max(self.last_sent),
            None if self.is_closed => self.last_settled,
            None => now,
        };
        end.since(measuring.from)
    }

    /// Whether every request that counts has an outcome.
    pub(crate) fn is_settled(&self) -> bool {
        self.counts.open() == 0
    }

    pub(crate) fn sent(&mut self, request: &Request) {
        if self.covers(request.intended) {
            self.counts[Fact::Sent] += 1;
            self.last_sent = request.sent;
            if let Some(lag) = &mut self.lag {
                lag.record(request.sent.since(request.intended));
            }
        }
    }

    pub(crate) fn answered(&mut self, settled: Settled, is_right: bool, now: Moment) {
        let Settled { request, was_overdue, is_overtaken } = settled;
        let took = now.since(request.sent);
        self.answered += 1;
        if let Some(recent) = &mut self.recent {
            recent.record(took.as_nanos() as u64).expect("it grows");
        }
        if !self.covers(request.intended) {
            return;
        }
        self.last_settled = now;
        self.counts[Fact::Lost] -= u64::from(was_overdue);
        self.counts[Fact::Reordered] += u64::from(is_overtaken && self.is_datagram);
        if !is_right {
            self.counts[Fact::Wrong] += 1;
            return;
        }
        self.counts[if took > self.timeout { Fact::Late } else { Fact::Requests }] += 1;
        self.service.record(took);
        if let Some(response) = &mut self.response {
            response.record(now.since(request.intended));
        }
    }

    /// An answer came that nobody had asked for any more.
    pub(crate) fn surplus(&mut self, now: Moment) {
        self.counts[Fact::Duplicate] += u64::from(self.covers(now));
    }

    /// A request will have no answer, for this reason.
    pub(crate) fn failed(&mut self, request: &Request, fact: Fact, now: Moment) {
        if self.covers(request.intended) {
            self.counts[fact] += 1;
            self.last_settled = now;
        }
    }

    /// Ends a part when it is long enough.
    pub(crate) fn mind_parts(&mut self, now: Moment) {
        if self.measuring.is_some() && now.since(self.part_began) >= PART {
            self.end_part(now);
        }
    }

    /// Ends the last part.
    pub(crate) fn end(&mut self, now: Moment) {
        self.end_part((self.from() + self.measured(now)).max(self.part_began));
    }

    fn end_part(&mut self, now: Moment) {
        self.service.end_part(self.part_began, now);
        if let Some(response) = &mut self.response {
            response.end_part(self.part_began, now);
        }
        self.part_began = now;
    }
}
