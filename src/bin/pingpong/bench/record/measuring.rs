//! The time in which requests count: when it began and ends, and when the server was last heard in it.
//!
//! The ledger has one of each phase, and moves its moments on.

use std::time::Duration;

use pingpong::Moment;

/// Requests that fail in a row, at the least, when a server has gone silent.
const SILENT_REQUESTS: u64 = 3;

/// The part of the measured time for which a server was silent, at the least, when it has gone.
const SILENT_PART: u32 = 10;

/// The time in which requests count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measuring {
    /// When the first request could be sent: the warm-up began.
    pub(super) warm_up: Moment,
    pub(super) from: Moment,
    /// Where the end is known beforehand.
    pub(super) until: Option<Moment>,
    /// No request will be sent any more.
    pub(super) is_over: bool,
    pub(super) last_sent: Moment,
    pub(super) last_outcome: Moment,
    /// When the last answer came, be it in the warm-up.
    pub(super) last_answer: Option<Moment>,
    /// The longest time between two answers, in the measured time, in nanoseconds.
    longest_silence: u64,
    /// Requests that have failed since.
    pub(super) failed_since: u64,
    /// Requests carried over that were answered right and in time.
    pub(super) carried_answered: u64,
}

impl Measuring {
    /// Requests are sent from `warm_up` on; those due from `from` until `until` count.
    pub(super) fn new(warm_up: Moment, from: Moment, until: Option<Moment>) -> Self {
        Self {
            warm_up,
            from,
            until,
            is_over: false,
            last_sent: Moment::default(),
            last_outcome: Moment::default(),
            last_answer: None,
            longest_silence: 0,
            failed_since: 0,
            carried_answered: 0,
        }
    }

    /// An answer has come.
    #[inline]
    pub(super) fn heard(&mut self, now: Moment) {
        let silence = now.nanos_since(self.last_answer.map_or(self.from, |last| last.max(self.from)));
        self.longest_silence = self.longest_silence.max(silence);
        (self.last_answer, self.failed_since) = (Some(now), 0);
    }

    /// When the last answer came, counted from the beginning, where the server fell silent then: requests failed for a part
    /// of the time, of which so much is over, that is too long for chance, and for longer than ever before.
    pub(super) fn silent_after(&self, measured: Duration) -> Option<Duration> {
        let answering = self.last_answer?.since(self.from);
        let silence = measured.saturating_sub(answering);
        let longest = Duration::from_nanos(self.longest_silence);
        let is_silent = silence > measured / SILENT_PART && silence > longest;
        (is_silent && self.failed_since >= SILENT_REQUESTS).then_some(answering)
    }
}
