//! Which server's turn it is, and how long a turn lasts.

use std::time::Duration;

/// Turns are about as many as these for each server, as long as they are not too short.
const COUNTS: [u32; 5] = [128, 64, 32, 16, 8];

/// The shortest turn: what the machine does beside the load changes slowly against it, and a switch costs little of it.
const SHORTEST: Duration = Duration::from_millis(100);

/// A turn has to last for so many answers of one connection, one after another, or its ends would count for too much.
const ANSWERS: u32 = 50;

/// A turn has so many requests on schedule at the least.
const REQUESTS: f64 = 20.0;

/// The part of a turn before it in which the server settles, and the most of that.
const SETTLING: u32 = 8;
const LONGEST_SETTLING: Duration = Duration::from_millis(100);

/// How the measured time of each server is cut into turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turns {
    /// How many each server has.
    pub(crate) count: u32,
    /// How long each of them counts.
    pub(crate) length: Duration,
    /// How long requests are sent before that.
    pub(crate) settling: Duration,
}

impl Turns {
    /// Of so much time for each server, where an answer takes so long, and requests have this rate, if any.
    pub(super) fn of(time: Duration, answer: Duration, rate: Option<f64>) -> Self {
        let of_rate = rate.and_then(|rate| Duration::try_from_secs_f64(REQUESTS / rate).ok()).unwrap_or_default();
        let least = SHORTEST.max(answer * ANSWERS).max(of_rate);
        let fits = |count: &u32| time / *count >= least;
        let count = COUNTS.into_iter().find(fits).unwrap_or(COUNTS[COUNTS.len() - 1]);
        let length = time / count;
        Self { count, length, settling: (length / SETTLING).min(LONGEST_SETTLING) }
    }

    /// Whether they are long enough for answers that take so long.
    pub(super) fn suit(&self, answer: Duration) -> bool {
        self.length >= answer * (ANSWERS / 5)
    }
}

/// The order of the servers in this round, in which each has one turn: the next round has the reverse order, so that what
/// changes evenly meets all alike (ABBA), and then another one begins.
pub(super) fn order(servers: usize, round: u32) -> Vec<usize> {
    let first = (round / 2) as usize;
    let mut order: Vec<usize> = (0..servers).map(|place| (first + place) % servers).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn rounds(servers: usize, count: u32) -> String {
        let letters = |order: Vec<usize>| order.into_iter().map(|server| char::from(b'A' + server as u8));
        (0..count).flat_map(|round| letters(order(servers, round))).collect()
    }

    #[test]
    fn the_order_is_balanced() {
        assert_eq!(rounds(2, 8), "ABBABAABABBABAAB");
        assert_eq!(rounds(3, 6), "ABCCBABCAACBCABBAC");
        assert_eq!(rounds(1, 2), "AA");
        // Every server has the same mean place.
        for servers in 2..6 {
            let places = |server: usize| {
                let rounds = (0..8).map(|round| order(servers, round));
                rounds.map(|order| order.iter().position(|other| *other == server).unwrap()).sum::<usize>()
            };
            assert!((1..servers).all(|server| places(server) == places(0)));
        }
    }

    #[test]
    fn turns_are_many_but_not_short_beside_an_answer_or_a_gap() {
        let turns = |seconds, answer, rate| {
            let Turns { count, length, settling } = Turns::of(Duration::from_secs(seconds), answer, rate);
            (count, length.as_millis(), settling.as_millis())
        };
        assert_eq!(turns(10, MILLI, None), (64, 156, 19));
        assert_eq!(turns(60, MILLI, None), (128, 468, 58));
        assert_eq!(turns(1, MILLI, None), (8, 125, 15));
        assert_eq!(turns(10, 10 * MILLI, None), (16, 625, 78));
        assert_eq!(turns(10, MILLI, Some(50.0)), (16, 625, 78));
        assert_eq!(turns(600, 1_000 * MILLI, None), (8, 75_000, 100));
        assert_eq!(turns(0, MILLI, None), (8, 0, 0));
        assert!(Turns::of(MILLI * 8_000, 100 * MILLI, None).suit(100 * MILLI));
        assert!(!Turns::of(MILLI * 8_000, 200 * MILLI, None).suit(200 * MILLI));
    }
}
