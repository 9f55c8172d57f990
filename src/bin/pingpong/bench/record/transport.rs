//! What TCP did beneath a load: what the kernel has counted and timed of each of its connections (TCP_INFO, tcp(7)).

use hdrhistogram::Histogram;

/// The connections of a load that were there at its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transport {
    /// Segments that this side has sent again.
    pub(crate) retransmits: u64,
    /// The shortest round trip of any connection, in nanoseconds; `None` before the first one.
    pub(crate) shortest: Option<u64>,
    /// The round trip of each connection that was answered, smoothed by the kernel, in nanoseconds.
    pub(crate) round_trips: Histogram<u64>,
}

impl Transport {
    /// From what the kernel says of each connection; `None` where there is none.
    #[cfg(feature = "watch")]
    pub(crate) fn of(connections: impl Iterator<Item = crate::watch::Figures>) -> Option<Self> {
        let nanos = |time: std::time::Duration| time.as_nanos() as u64;
        let mut whole: Option<Self> = None;
        for figures in connections {
            let whole =
                whole.get_or_insert_with(|| Self { retransmits: 0, shortest: None, round_trips: super::histogram() });
            whole.retransmits += u64::from(figures.retransmits);
            let shortest = (!figures.min_rtt.is_zero()).then(|| nanos(figures.min_rtt));
            whole.shortest = [whole.shortest, shortest].into_iter().flatten().min();
            if figures.bytes_received > 0 {
                whole.round_trips.saturating_record(nanos(figures.rtt));
            }
        }
        whole
    }

    /// With the connections of another load.
    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.retransmits += other.retransmits;
        self.shortest = [self.shortest, other.shortest].into_iter().flatten().min();
        self.round_trips.add(&other.round_trips).expect("it grows");
        self
    }
}

#[cfg(all(test, feature = "watch"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::watch::Figures;

    fn connection(rtt: u64, min_rtt: u64, retransmits: u32, bytes_received: u64) -> Figures {
        let micros = Duration::from_micros;
        Figures { rtt: micros(rtt), min_rtt: micros(min_rtt), retransmits, bytes_received, ..Figures::default() }
    }

    #[test]
    fn idle_connections_have_no_part_in_the_median() {
        let all = [connection(20, 15, 1, 64), connection(30, 9, 0, 64), connection(900, 800, 2, 0)];
        let transport = Transport::of(all.into_iter()).unwrap();
        assert_eq!((transport.retransmits, transport.shortest), (3, Some(9_000)));
        assert_eq!((transport.round_trips.len(), transport.round_trips.max() / 1_000), (2, 30));
        assert_eq!(Transport::of([].into_iter()), None);
        let unanswered = Transport::of([connection(0, 0, 0, 0)].into_iter()).unwrap();
        assert_eq!((unanswered.shortest, unanswered.round_trips.len()), (None, 0));
        let sum = transport.clone().plus(unanswered).plus(transport);
        assert_eq!((sum.retransmits, sum.shortest, sum.round_trips.len()), (6, Some(9_000), 4));
    }
}
