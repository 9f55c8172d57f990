//! [`Tally`]: what has come of the questions of `pingpong ping`.

use std::fmt;
use std::time::Duration;

/// Each question is counted once: sent = received + late + wrong + lost.
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
    /// Datagrams that the far side refused: no socket takes them there.
    pub(crate) refused: u64,
    trips: Trips,
}

impl Tally {
    /// Questions never answered.
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.received - self.late - self.wrong
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
        writeln!(
            f,
            "{sent} sent, {received} received, {lost} lost ({percent:.0}%), {late} late, {wrong} wrong, {duplicate} duplicate"
        )?;
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
    fn a_tally_without_answers_shows_no_round_trips() {
        let tally = Tally { sent: 1, wrong: 1, ..Tally::default() };
        assert_eq!(tally.to_string(), "1 sent, 0 received, 0 lost (0%), 0 late, 1 wrong, 0 duplicate\n");
        assert!(Tally::default().to_string().starts_with("0 sent, 0 received, 0 lost (0%)"));
    }
}
