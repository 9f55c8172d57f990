//! The datagram budget: how many answers per second one source gets, in a table of fixed size.
//!
//! Source addresses can be forged; without a budget the server's answers could be turned into a flood at somebody else.
//! Each source has an allowance that refills at the budget's rate, up to one second's worth. The table keeps only the
//! moment at which the allowance will be full again (the generic cell rate algorithm, ITU-T I.371).
//!
//! An entry whose allowance is full carries no information, so another source may take it. Where no such entry is
//! free, a new source gets no answer: many forged sources cannot evict one that has used up its allowance.
//!
//! `datagram/screen.rs` asks, `datagram` charges. Nothing here knows of datagrams or sockets.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::moment::Moment;

/// Entries of a set: sources with the same hash share them.
const WAYS: usize = 8;
/// Sets in the table.
const SETS: usize = 1024;
/// The time in which an empty allowance refills.
const BURST: Duration = Duration::from_secs(1);

/// A source: an IPv4 address, or an IPv6 /64, because a single host is usually given a whole /64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Source(u64);

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // IPv4 and IPv6 do not collide: no /64 in use begins with 32 zero bits.
            IpAddr::V4(ip) => Self(u64::from(u32::from(ip))),
            IpAddr::V6(ip) => Self((u128::from(ip) >> 64) as u64),
        }
    }
}

/// One entry. It is free from `full_at` on.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    source: Source,
    full_at: Moment,
}

#[derive(Debug)]
pub(super) struct Budget {
    /// How much later an allowance is full again for each answer.
    cost: Duration,
    /// Mixed into the hash, so that an attacker cannot work out which sources share a set.
    seed: u64,
    /// `SETS` sets of `WAYS` entries.
    table: Box<[Allowance]>,
}

impl Budget {
    pub(super) fn new(rate: NonZeroU32, seed: u64) -> Self {
        Self { cost: BURST / rate.get(), seed, table: vec![Allowance::default(); SETS * WAYS].into() }
    }

    /// Whether `source` may be answered now.
    pub(super) fn allows(&mut self, source: Source, now: Moment) -> bool {
        let cost = self.cost;
        self.entry(source, now).is_some_and(|entry| entry.full_at.max(now) + cost <= now + BURST)
    }

    /// Takes one answer off the allowance of `source`.
    pub(super) fn charge(&mut self, source: Source, now: Moment) {
        let cost = self.cost;
        if let Some(entry) = self.entry(source, now) {
            *entry = Allowance { source, full_at: entry.full_at.max(now) + cost };
        }
    }

    /// The entry of `source`, or else a free one of its set.
    fn entry(&mut self, source: Source, now: Moment) -> Option<&mut Allowance> {
        let set = (mix(source.0 ^ self.seed) as usize % SETS) * WAYS;
        let entries = &mut self.table[set..set + WAYS];
        let found = entries
            .iter()
            .position(|entry| entry.source == source && entry.full_at > now)
            .or_else(|| entries.iter().position(|entry| entry.full_at <= now))?;
        Some(&mut entries[found])
    }
}

/// Makes each bit depend on all bits (the finalizer of SplitMix64, Steele et al. 2014).
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(rate: u32) -> Budget {
        Budget::new(NonZeroU32::new(rate).unwrap(), 7)
    }

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn at(millis: u64) -> Moment {
        Moment::default() + Duration::from_millis(millis)
    }

    /// The number of answers that 1,000 questions at this moment get.
    fn answers(budget: &mut Budget, source: Source, now: Moment) -> usize {
        (0..1000).filter(|_| budget.allows(source, now).then(|| budget.charge(source, now)).is_some()).count()
    }

    #[test]
    fn a_seconds_worth_at_once_then_the_rate() {
        let (mut budget, guest) = (budget(100), source("192.0.2.1"));
        assert_eq!(answers(&mut budget, guest, at(0)), 100);
        assert_eq!(answers(&mut budget, guest, at(50)), 5);
        assert_eq!(answers(&mut budget, guest, at(10_000)), 100);
    }

    #[test]
    fn sources_do_not_share_a_budget_but_a_network_of_one_host_does() {
        let mut budget = budget(10);
        assert_eq!(answers(&mut budget, source("192.0.2.1"), at(0)), 10);
        assert_eq!(answers(&mut budget, source("192.0.2.2"), at(0)), 10);
        assert_eq!(answers(&mut budget, source("2001:db8::1"), at(0)), 10);
        assert_eq!(answers(&mut budget, source("2001:db8::ffff:2"), at(0)), 0);
        assert_eq!(answers(&mut budget, source("::ffff:192.0.2.1"), at(0)), 0);
    }

    #[test]
    fn many_sources_cannot_make_one_forgotten() {
        let (mut budget, victim) = (budget(10), source("192.0.2.1"));
        assert_eq!(answers(&mut budget, victim, at(0)), 10);
        for forged in 0..200_000u32 {
            let forged = Source::from(IpAddr::from(forged.to_be_bytes()));
            if forged != victim && budget.allows(forged, at(1)) {
                budget.charge(forged, at(1));
            }
        }
        assert_eq!(answers(&mut budget, victim, at(2)), 0);
    }
}
