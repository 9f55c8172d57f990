//! The way of the probe's messages, from being due to the answer being read, part by part.
//!
//! ```text
//! due ── lag ── sent ── sending ── given to the device ── away ── came to our kernel ── reading ── read
//! ```
//!
//! The moments are put in order once, and the parts are what lies between them: they add up to the whole, message by
//! message.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use pingpong::Moment;

use super::times::{histogram, percentile};

/// How far moments of two clocks may be out of order: the distance of the clocks is known no better.
const SLACK: Duration = Duration::from_micros(20);

/// Wholes are told apart to one part in so many, where it is kept how they came about.
const STEPS: u32 = 16;

/// When what happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) due: Moment,
    pub(crate) sent: Moment,
    /// When it was given to the device, and when its answer came to our kernel, where stamps tell.
    pub(crate) stamps: Option<(Moment, Moment)>,
    pub(crate) read: Moment,
}

/// A part of the way, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// From due to read.
    Whole,
    /// From due to sent.
    Lag,
    /// From sent to read.
    Service,
    /// From sent to given to the device.
    Sending,
    /// From there to the answer in our kernel: network and server.
    Away,
    /// From there to read.
    Reading,
}

impl Part {
    /// All of them with their names in `metrics`, longer ones before those that they begin with.
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("probe_lag", Self::Lag),
        ("probe_service", Self::Service),
        ("probe_sending", Self::Sending),
        ("probe_away", Self::Away),
        ("probe_reading", Self::Reading),
        ("probe", Self::Whole),
    ];
}

impl Passage {
    /// How long the parts took that stamps tell apart: sending, away, reading. `None` without stamps, or where they make
    /// no sense.
    fn stamped(&self) -> Option<[Duration; 3]> {
        let (given, came) = self.stamps?;
        let is_sound = self.sent <= given + SLACK && given <= came + SLACK && came <= self.read + SLACK;
        let given = given.clamp(self.sent, self.read);
        let came = came.clamp(given, self.read);
        is_sound.then(|| [given.since(self.sent), came.since(given), self.read.since(came)])
    }
}

/// How long the probe's messages took, and how that came about.
#[derive(Clone, Debug)]
pub(crate) struct Passages {
    times: [Histogram<u64>; Part::ALL.len()],
    /// By the size of the whole: how many, and the nanoseconds of each part, for the sum of them.
    pub(crate) rows: BTreeMap<u32, Row>,
    /// Whether the kernel stamps these messages.
    pub(crate) is_stamped: bool,
}

/// Messages that took about the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) count: u64,
    /// Nanoseconds of all of them: lag, sending, away, reading, and from sent to read where that is all that is known.
    pub(crate) nanos: [u64; 5],
}

/// Where the time of the slowest messages went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slowest {
    pub(crate) count: u64,
    /// Nanoseconds of one of them, on average: the parts as in [`Row`].
    pub(crate) nanos: [f64; 5],
}

impl Passages {
    pub(crate) fn new(is_stamped: bool) -> Self {
        Self { times: std::array::from_fn(|_| histogram()), rows: BTreeMap::new(), is_stamped }
    }

    /// Records a message. Returns whether its parts are known.
    pub(crate) fn record(&mut self, passage: &Passage) -> bool {
        let Passage { due, sent, read, .. } = *passage;
        let [whole, lag, service] = [read.since(due), sent.since(due), read.since(sent)];
        let stamped = passage.stamped();
        let known = [(Part::Whole, whole), (Part::Lag, lag), (Part::Service, service)];
        known.into_iter().for_each(|(part, time)| self.add_time(part, time));
        let [sending, away, reading] = stamped.unwrap_or_default();
        if stamped.is_some() {
            let parts = [(Part::Sending, sending), (Part::Away, away), (Part::Reading, reading)];
            parts.into_iter().for_each(|(part, time)| self.add_time(part, time));
        }
        let untold = if stamped.is_some() { Duration::ZERO } else { service };
        let nanos = [lag, sending, away, reading, untold].map(|part| part.as_nanos() as u64);
        self.rows.entry(step_of(whole.as_nanos() as u64)).or_default().add(Row { count: 1, nanos });
        stamped.is_some()
    }

    fn add_time(&mut self, part: Part, time: Duration) {
        self.times[part as usize].record(time.as_nanos() as u64).expect("it grows");
    }

    pub(crate) fn of(&self, part: Part) -> &Histogram<u64> {
        &self.times[part as usize]
    }

    pub(crate) fn of_mut(&mut self, part: Part) -> &mut Histogram<u64> {
        &mut self.times[part as usize]
    }

    /// Adds what another run has recorded.
    pub(crate) fn add(&mut self, other: &Self) {
        for (_, part) in Part::ALL {
            self.of_mut(part).add(other.of(part)).expect("it grows");
        }
        for (step, row) in &other.rows {
            self.rows.entry(*step).or_default().add(*row);
        }
        self.is_stamped &= other.is_stamped;
    }

    /// Where the time of those went that took as long as the 99th percentile, or longer.
    pub(crate) fn slowest(&self) -> Option<Slowest> {
        let from = step_of(percentile(self.of(Part::Whole), 99.0));
        let mut sum = Row::default();
        self.rows.range(from..).for_each(|(_, row)| sum.add(*row));
        let average = |nanos: u64| nanos as f64 / sum.count as f64;
        (sum.count > 0).then(|| Slowest { count: sum.count, nanos: sum.nanos.map(average) })
    }
}

impl Row {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.nanos.iter_mut().zip(other.nanos).for_each(|(sum, nanos)| *sum += nanos);
    }
}

/// In which of the steps a time is: each is a sixteenth of a doubling, about.
fn step_of(nanos: u64) -> u32 {
    let nanos = nanos.max(u64::from(STEPS));
    let doublings = nanos.ilog2();
    let fraction = (nanos >> (doublings - STEPS.ilog2())) as u32 - STEPS;
    doublings * STEPS + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Moment {
        Moment::from_nanos(micros * 1_000)
    }

    fn passage(due: u64, sent: u64, stamps: Option<(u64, u64)>, read: u64) -> Passage {
        let stamps = stamps.map(|(given, came)| (at(given), at(came)));
        Passage { due: at(due), sent: at(sent), stamps, read: at(read) }
    }

    #[test]
    fn parts_add_up_to_the_whole_to_the_nanosecond() {
        // The clocks may differ a little, so that stamps are a little out of order.
        for (given, came) in [(120, 300), (100, 300), (95, 310), (150, 145), (100, 320), (101, 101)] {
            let passage = passage(90, 100, Some((given, came)), 310);
            let stamped = passage.stamped().unwrap();
            let sum = passage.sent.since(passage.due) + stamped.iter().sum::<Duration>();
            assert_eq!(sum, passage.read.since(passage.due), "{given} {came}");
        }
    }

    #[test]
    fn stamps_that_make_no_sense_tell_nothing() {
        let mut passages = Passages::new(true);
        for stamps in [None, Some((50, 200)), Some((200, 150)), Some((120, 400)), Some((0, 0))] {
            assert!(!passages.record(&passage(90, 100, stamps, 310)), "{stamps:?}");
        }
        assert!(passages.of(Part::Away).is_empty());
        assert_eq!((passages.of(Part::Whole).len(), passages.of(Part::Service).len()), (5, 5));
        assert_eq!(passages.slowest().unwrap().nanos, [10_000.0, 0.0, 0.0, 0.0, 210_000.0]);
    }

    #[test]
    fn the_slowest_are_told_apart_from_the_rest() {
        let mut passages = Passages::new(true);
        for _ in 0..980 {
            passages.record(&passage(0, 1, Some((2, 90)), 100));
        }
        // Read late, every one of them.
        for _ in 0..20 {
            passages.record(&passage(0, 1, Some((2, 90)), 5_000));
        }
        let slowest = passages.slowest().unwrap();
        assert_eq!(slowest.count, 20);
        assert_eq!(slowest.nanos, [1_000.0, 1_000.0, 88_000.0, 4_910_000.0, 0.0]);
        let mut both = passages.clone();
        both.add(&passages);
        assert_eq!(both.slowest().unwrap(), Slowest { count: 40, ..slowest });
        assert_eq!(Passages::new(true).slowest(), None);
    }

    #[test]
    fn steps_rise_with_the_time() {
        let times = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) + (1 << bit) / 2, (1_u64 << bit) - 1]);
        let mut times: Vec<u64> = times.collect();
        times.sort_unstable();
        assert!(times.is_sorted_by_key(|time| step_of(*time)));
        assert_ne!(step_of(100_000), step_of(110_000));
    }
}
