//! [`Tally`]: what has come of the questions of `pingpong ping`.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fmt, io};

use nix::libc::EMSGSIZE;
use pingpong::describe;

/// A question that is longer than the kernel sends at once (EMSGSIZE, send(2)).
const TOO_LONG: &str = "too long";

/// Each question is counted once: sent = received + late + wrong + lost + what could not be delivered + under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Questions asked.
    pub(crate) sent: u64,
    /// Answered right and in time.
    pub(crate) received: u64,
    /// Answered right, but after the timeout.
    pub(crate) late: u64,
    /// Answered with other bytes.
    pub(crate) wrong: u64,
    /// Answers to a question that was answered before, or never asked.
    pub(crate) duplicate: u64,
    /// Questions whose time was not over when it was interrupted.
    pub(super) under_way: u64,
    /// Questions that were given up before their time, because too many were unanswered. They are among the lost.
    pub(super) forgotten: u64,
    /// The connection ended before all was asked and answered.
    pub(crate) is_cut_short: bool,
    /// Datagrams that could not be delivered, by what the kernel said: no socket takes them there, they are too long.
    failures: BTreeMap<String, u64>,
    trips: Trips,
}

/// What the kernel said of a datagram that it could not deliver.
pub(super) fn words_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        _ if error.raw_os_error() == Some(EMSGSIZE) => TOO_LONG.to_owned(),
        _ => describe(error),
    }
}

impl Tally {
    /// Questions never answered.
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.received - self.late - self.wrong - self.undelivered() - self.under_way
    }

    /// Whether any question was answered, rightly or not.
    pub(super) fn has_answers(&self) -> bool {
        self.received + self.late + self.wrong > 0
    }

    /// Questions that could not be delivered.
    pub(crate) fn undelivered(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Whether any of them was turned away on its way or at its end, rather than not sent at all.
    pub(crate) fn is_turned_away(&self) -> bool {
        self.failures.keys().any(|words| words != TOO_LONG)
    }

    /// Counts a question that could not be delivered.
    pub(crate) fn add_failure(&mut self, words: String) {
        *self.failures.entry(words).or_default() += 1;
    }

    /// Adds the round trip of a right answer, late or not.
    pub(super) fn add_trip(&mut self, trip: Duration) {
        self.trips.add(trip);
    }
}

/// The lines at the end: the counts and, where anything was answered right, the round trips.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received, late, wrong, duplicate, .. } = self;
        let lost = self.lost();
        let percent = if *sent == 0 { 0.0 } else { 100.0 * lost as f64 / *sent as f64 };
        write!(
            f,
            "{sent} sent, {received} received, {lost} lost ({percent:.0}%), {late} late, {wrong} wrong, {duplicate} duplicate"
        )?;
        for (words, count) in &self.failures {
            write!(f, ", {count} {words}")?;
        }
        if self.under_way > 0 {
            write!(f, ", {} under way", self.under_way)?;
        }
        writeln!(f)?;
        if self.trips.count > 0.0 { writeln!(f, "{}", self.trips) } else { Ok(()) }
    }
}

/// Round trips, in microseconds.
#[derive(Clone, Debug, Default)]
struct Trips {
    count: f64,
    min: f64,
    max: f64,
    sum: f64,
    squares: f64,
}

impl Trips {
    fn add(&mut self, trip: Duration) {
        let micros = trip.as_nanos() as f64 / 1e3;
        self.min = if self.count == 0.0 { micros } else { self.min.min(micros) };
        self.max = self.max.max(micros);
        self.count += 1.0;
        self.sum += micros;
        self.squares += micros * micros;
    }
}

/// In milliseconds; mdev is the standard deviation, as ping(8) has it.
impl fmt::Display for Trips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = self.sum / self.count;
        let deviation = (self.squares / self.count - mean * mean).max(0.0).sqrt();
        let millis = [self.min, mean, self.max, deviation].map(|micros| format!("{:.3}", micros / 1e3));
        write!(f, "rtt min/avg/max/mdev = {} ms", millis.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use nix::libc::ECONNREFUSED;

    use super::*;

    #[test]
    fn a_tally_shows_its_counts_and_its_round_trips() {
        let mut tally = Tally { sent: 4, received: 2, late: 1, ..Tally::default() };
        for millis in [1, 2, 3] {
            tally.add_trip(Duration::from_millis(millis));
        }
        assert_eq!(
            tally.to_string(),
            "4 sent, 2 received, 1 lost (25%), 1 late, 0 wrong, 0 duplicate\n\
             rtt min/avg/max/mdev = 1.000/2.000/3.000/0.816 ms\n"
        );
    }

    #[test]
    fn what_could_not_be_delivered_is_counted_in_its_own_words_and_not_lost() {
        let mut tally = Tally { sent: 5, received: 1, ..Tally::default() };
        for error in [ECONNREFUSED, EMSGSIZE, ECONNREFUSED] {
            tally.add_failure(words_of(&io::Error::from_raw_os_error(error)));
        }
        assert_eq!(
            tally.to_string(),
            "5 sent, 1 received, 1 lost (20%), 0 late, 0 wrong, 0 duplicate, 2 refused, 1 too long\n"
        );
        tally.under_way = 1;
        assert!(
            tally
                .to_string()
                .ends_with(", 0 lost (0%), 0 late, 0 wrong, 0 duplicate, 2 refused, 1 too long, 1 under way\n")
        );
    }

    #[test]
    fn a_tally_without_answers_shows_no_round_trips() {
        let tally = Tally { sent: 1, wrong: 1, ..Tally::default() };
        assert_eq!(tally.to_string(), "1 sent, 0 received, 0 lost (0%), 0 late, 1 wrong, 0 duplicate\n");
        assert!(Tally::default().to_string().starts_with("0 sent, 0 received, 0 lost (0%)"));
    }
}
