//! The ledger: which requests count, what came of each, and how long it took.
//!
//! A request counts if it was due in the measured time, whenever its answer comes. Requests that were due before are
//! warm-up: they are sent and answered like any other, and leave no trace here, unless the end of the warm-up finds them
//! unanswered: then they count from that moment on, or a server that answers nothing could hide behind its warm-up.
//!
//! Each phase of a load has a ledger of its own. What has become of the connections goes from one to the next: one that
//! could not be made, or was lost, is missing in all that follow.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::time::Duration;

use hdrhistogram::Histogram;
use pingpong::{Moment, describe};

use super::blocks::{Blocks, Outcomes};
use super::counts::{Counts, Fact};
use super::measuring::Measuring;
use super::mistakes::Mistakes;
use super::request::{Answered, Hindrance, Request};
use super::times::{Latency, histogram};
use crate::bench::BenchOptions;
use crate::bench::options::Phase;

/// The length of the parts that an HdrHistogram log consists of.
const PART: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) counts: Counts,
    /// Why dials failed, and how many did.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Why requests were refused, and how many were.
    pub(crate) refused_reasons: BTreeMap<String, u64>,
    /// Why requests were not sent, and how many were not.
    pub(crate) hindrances: BTreeMap<String, u64>,
    pub(crate) mistakes: Mistakes,
    /// From when a request was sent to its answer.
    pub(crate) service: Latency,
    /// Open loop: from when a request was due to its answer.
    pub(crate) response: Option<Latency>,
    /// Open loop: from when a request was due to when it was sent.
    pub(crate) lag: Option<Latency>,
    /// The measured time in blocks.
    pub(crate) blocks: Blocks,
    /// For how long at most the load stood still in the measured time, or when it waited for answers after it.
    pub(crate) longest_pause: Duration,
    /// The service times since the progress line was last drawn, warm-up included.
    pub(crate) recent: Option<Histogram<u64>>,
    /// In nanoseconds.
    timeout: u64,
    is_datagram: bool,
    keeps_parts: bool,
    /// When the first connection was dialled.
    began: Moment,
    /// The time it took to make all connections; zero when they were not all made.
    connecting: Duration,
    /// Why connections could not be made before the start.
    unmade: BTreeMap<String, u64>,
    measuring: Option<Measuring>,
    part_began: Moment,
}

impl Ledger {
    pub(crate) fn new(options: &BenchOptions, shows_progress: bool) -> Self {
        let keeps_parts = options.hdr.is_some();
        Self {
            counts: Counts::default(),
            refusals: BTreeMap::new(),
            refused_reasons: BTreeMap::new(),
            hindrances: BTreeMap::new(),
            mistakes: Mistakes::default(),
            service: Latency::new(keeps_parts),
            response: None,
            lag: None,
            blocks: Blocks::new(Moment::default(), None, false),
            longest_pause: Duration::ZERO,
            recent: shows_progress.then(histogram),
            timeout: u64::try_from(options.timeout.as_nanos()).unwrap_or(u64::MAX),
            is_datagram: options.endpoint.is_datagram(),
            keeps_parts,
            began: Moment::default(),
            connecting: Duration::ZERO,
            unmade: BTreeMap::new(),
            measuring: None,
            part_began: Moment::default(),
        }
    }

    /// The first connection is dialled now.
    pub(crate) fn begin(&mut self, now: Moment) {
        self.began = now;
    }

    /// All connections are made, or have failed.
    pub(crate) fn made(&mut self, now: Moment) {
        self.connecting = now.since(self.began);
        self.unmade = self.refusals.clone();
    }

    /// Requests of this phase are sent from now on; those due from `from` until `until` count. What an earlier phase has
    /// come to is forgotten.
    pub(crate) fn measure(&mut self, phase: &Phase, now: Moment, from: Moment, until: Option<Moment>) {
        if self.measuring.is_some() {
            self.forget();
        }
        let is_open = phase.rate.is_some();
        self.response = is_open.then(|| Latency::new(self.keeps_parts));
        self.lag = is_open.then(|| Latency::new(false));
        self.measuring = Some(Measuring::new(now, from, until));
        self.blocks = Blocks::new(from, phase.expected(), until.is_some());
        self.part_began = from;
    }

    /// Empties the books, but for what has become of the connections.
    fn forget(&mut self) {
        let before = mem::take(&mut self.counts);
        for fact in Fact::OF_ALL_PHASES {
            self.counts[fact] = before[fact];
        }
        self.refusals = self.unmade.clone();
        self.refused_reasons.clear();
        self.hindrances.clear();
        self.mistakes = Mistakes::default();
        self.service = Latency::new(self.keeps_parts);
        self.longest_pause = Duration::ZERO;
    }

    /// No request will be sent any more. The measured time is the time that was asked for, even if that is not over.
    pub(crate) fn close(&mut self) {
        if let Some(measuring) = &mut self.measuring {
            measuring.is_over = true;
        }
    }

    /// The measured time ends at this moment, and not later.
    pub(crate) fn shorten(&mut self, until: Moment) {
        if let Some(measuring) = &mut self.measuring {
            measuring.until = Some(until);
        }
    }

    /// The run is interrupted: the measured time ends now, if it has not ended before.
    pub(crate) fn interrupt(&mut self, now: Moment) {
        if let Some(measuring) = self.measuring.as_mut().filter(|measuring| !measuring.is_over) {
            measuring.until = Some(measuring.until.map_or(now, |until| until.min(now)));
        }
        self.close();
    }
}

/// What the load tells it.
impl Ledger {
    /// A request has been sent. Returns whether it counts.
    #[inline]
    pub(crate) fn sent(&mut self, request: &Request) -> bool {
        let Some(measuring) = self.measuring.as_mut().filter(|measuring| request.due >= measuring.from) else {
            return false;
        };
        measuring.last_sent = request.sent;
        self.counts[Fact::Sent] += 1;
        if self.lag.is_some() {
            let block = self.block_of(request);
            if let Some(lag) = &mut self.lag {
                lag.record(request.sent.nanos_since(request.due), block);
            }
        }
        true
    }

    /// The warm-up ends and leaves this many requests without an answer: they count from now on. Of some it is known already
    /// that their answer does not come in time.
    pub(crate) fn carry_over(&mut self, awaited: u64, overdue: u64) {
        self.counts[Fact::CarriedOver] += awaited + overdue;
        self.counts[Fact::Sent] += awaited + overdue;
        self.counts[Fact::Lost] += overdue;
        self.blocks.outcomes(0).failed += overdue;
    }

    pub(crate) fn answered(&mut self, answered: &Answered, is_right: bool, now: Moment) {
        let Answered { request, was_overdue, is_overtaken } = answered;
        let took = now.nanos_since(request.sent);
        let is_in_time = took <= self.timeout;
        if let Some(recent) = &mut self.recent {
            recent.record(took).expect("it grows");
        }
        let Some(measuring) = &mut self.measuring else { return };
        measuring.heard(now);
        if request.due < measuring.from {
            return;
        }
        measuring.last_outcome = now;
        // Only a request that was carried over was sent before it was due.
        let is_carried = request.sent < request.due;
        measuring.carried_answered += u64::from(is_right && is_in_time && is_carried);
        let block = self.block_of(request);
        self.counts[Fact::Reordered] += u64::from(*is_overtaken && self.is_datagram);
        if is_right && is_in_time {
            self.counts[Fact::Requests] += 1;
            self.blocks.outcomes(block).answered += u64::from(!is_carried);
        } else {
            // What is overdue was counted when its time was up.
            self.counts[Fact::Lost] -= u64::from(*was_overdue);
            self.blocks.outcomes(block).failed += u64::from(!was_overdue);
            self.counts[if is_right { Fact::Late } else { Fact::Wrong }] += 1;
        }
        if is_right {
            self.service.record(took, block);
            if let Some(response) = &mut self.response {
                response.record(now.nanos_since(request.due), block);
            }
        }
    }

    /// An answer came to no request that waits for one.
    pub(crate) fn surplus(&mut self, now: Moment) {
        self.counts[Fact::Duplicate] += u64::from(self.covers(now));
    }

    /// A request gets no answer, for this reason.
    pub(crate) fn failed(&mut self, request: &Request, fact: Fact, now: Moment) {
        let measuring = self.measuring.as_mut().filter(|measuring| request.due >= measuring.from);
        if let Some(measuring) = measuring {
            measuring.last_outcome = now;
            measuring.failed_since += 1;
            self.counts[fact] += 1;
            let block = self.block_of(request);
            self.blocks.outcomes(block).failed += u64::from(Fact::ERRORS.contains(&fact));
        }
    }

    /// This many of the requests that have just failed were refused by the kernel, for this reason.
    pub(crate) fn requests_refused(&mut self, error: &io::Error, count: u64) {
        if count > 0 {
            *self.refused_reasons.entry(describe(error)).or_default() += count;
        }
    }

    /// This many of the requests that were asked for were not sent, and had no moment at which they were due.
    pub(crate) fn unsent(&mut self, count: u64, why: Hindrance) {
        if count > 0 {
            self.counts[Fact::Unsent] += count;
            *self.hindrances.entry(why.text().to_owned()).or_default() += count;
        }
    }

    /// Requests that were due before this moment were not sent: `skip` passes over those due before another one, and says
    /// how many they are.
    pub(crate) fn unsent_until(&mut self, until: Moment, why: Hindrance, skip: impl FnMut(Moment) -> u64) {
        let count = self.blocks.fail_until(until, skip);
        self.unsent(count, why);
    }

    /// A dial failed.
    pub(crate) fn refused(&mut self, error: &io::Error) {
        *self.refusals.entry(describe(error)).or_default() += 1;
    }

    /// This many of the connections asked for could not be made.
    pub(crate) fn connections_failed(&mut self, why: String, count: u64) {
        if count > 0 {
            self.counts[Fact::ConnectionsFailed] += count;
            *self.refusals.entry(why).or_default() += count;
        }
    }

    /// The load stood still for this long, until now.
    pub(crate) fn stood_still(&mut self, pause: Duration, now: Moment) {
        if self.covers(now) {
            self.longest_pause = self.longest_pause.max(pause);
        }
    }

    /// Ends a part when it is long enough.
    pub(crate) fn end_part_if_due(&mut self, now: Moment) {
        if self.measuring.is_some() && now.since(self.part_began) >= PART {
            self.end_part(now);
        }
    }

    /// Ends the last part.
    pub(crate) fn end(&mut self, now: Moment) {
        let end = (self.from() + self.measured(now)).min(now);
        self.end_part(end.max(self.part_began));
    }

    fn end_part(&mut self, now: Moment) {
        self.service.end_part(self.part_began, now);
        if let Some(response) = &mut self.response {
            response.end_part(self.part_began, now);
        }
        self.part_began = now;
    }

    /// The block that a request belongs to.
    #[inline]
    fn block_of(&mut self, request: &Request) -> usize {
        self.blocks.latest(request.due).unwrap_or_else(|| self.find_block(request.due))
    }

    #[cold]
    fn find_block(&mut self, due: Moment) -> usize {
        loop {
            if let Some(block) = self.blocks.find(due) {
                return block;
            }
            self.blocks.double();
            let kinds = [Some(&mut self.service), self.response.as_mut(), self.lag.as_mut()];
            kinds.into_iter().flatten().for_each(|times| times.blocks.double());
        }
    }
}

/// What it knows.
impl Ledger {
    /// When the measured time began or will begin; at the start of the clock until that is known.
    pub(crate) fn from(&self) -> Moment {
        self.measuring.map_or_else(Moment::default, |measuring| measuring.from)
    }

    /// When the measured time ends, where that is known beforehand.
    pub(crate) fn until(&self) -> Option<Moment> {
        self.measuring?.until
    }

    /// Whether requests are sent, be it for the warm-up.
    pub(crate) fn is_asking(&self) -> bool {
        self.measuring.is_some_and(|measuring| !measuring.is_over)
    }

    /// Whether the warm-up is over at this moment: requests that are due from then on count.
    pub(crate) fn covers(&self, moment: Moment) -> bool {
        self.measuring.is_some_and(|measuring| moment >= measuring.from)
    }

    /// When the first connection was dialled.
    pub(crate) fn began(&self) -> Moment {
        self.began
    }

    /// The time since the first connection was dialled.
    pub(crate) fn elapsed(&self, now: Moment) -> Duration {
        now.since(self.began)
    }

    /// The time it took to make all connections; zero when they were not all made.
    pub(crate) fn connecting(&self) -> Duration {
        self.connecting
    }

    /// When the warm-up began; at the start of the clock until that is known.
    pub(crate) fn warm_up(&self) -> Moment {
        self.measuring.map_or_else(Moment::default, |measuring| measuring.warm_up)
    }

    /// The measured time so far, or in all. Where requests were sent late, it lasts until the last one was sent.
    pub(crate) fn measured(&self, now: Moment) -> Duration {
        let Some(measuring) = self.measuring else { return Duration::ZERO };
        let end = match measuring.until {
            Some(until) if measuring.is_over => until.max(measuring.last_sent),
            Some(until) => now.min(until).max(measuring.last_sent),
            None if measuring.is_over => measuring.last_outcome,
            None => now,
        };
        end.since(measuring.from)
    }

    /// How the requests of each full block ended. Where the end is not known beforehand, blocks end with the last request.
    pub(crate) fn full_blocks(&self, now: Moment) -> &[Outcomes] {
        let measured = match self.measuring {
            Some(Measuring { until: None, from, last_sent, .. }) => last_sent.since(from),
            _ => self.measured(now),
        };
        self.blocks.full(measured)
    }

    /// Right answers a second, to the requests that were sent in the measured time: those carried over were not.
    pub(crate) fn per_second(&self, now: Moment) -> f64 {
        let seconds = self.measured(now).as_secs_f64();
        let carried = self.measuring.map_or(0, |measuring| measuring.carried_answered);
        if seconds > 0.0 { (self.counts[Fact::Requests] - carried) as f64 / seconds } else { 0.0 }
    }

    /// When the last answer came, counted from the beginning of the measured time, where the server fell silent then. Where a
    /// number of requests was asked for and sent, that time is over with the last one: after it only those are waited for
    /// that were lost before.
    pub(crate) fn silent_after(&self, now: Moment) -> Option<Duration> {
        let measuring = self.measuring?;
        let measured = match measuring.until {
            None if self.counts[Fact::Unsent] == 0 => measuring.last_sent.since(measuring.from),
            _ => self.measured(now),
        };
        measuring.silent_after(measured)
    }

    /// For how long answers were waited for after the measured time. A datagram that was lost is waited for as well, which
    /// tells nothing of the server; but the answers that came do.
    pub(crate) fn waited(&self, ended: Moment) -> Duration {
        let is_by_answers = self.is_datagram && self.silent_after(ended).is_none();
        let last_answer = self.measuring.and_then(|measuring| measuring.last_answer);
        let last = if is_by_answers { last_answer.unwrap_or_default() } else { ended };
        last.since(self.from() + self.measured(ended))
    }

    /// Whether every request that counts has its outcome.
    pub(crate) fn is_complete(&self) -> bool {
        self.counts.pending() == 0
    }
}
