//! Local addresses to spread connections over: one address has only so many ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses, as in `127.0.0.2`, `127.0.0.2-127.0.0.9` or `10.0.0.0/28`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    first: IpAddr,
    /// At least 1.
    count: u64,
}

impl Sources {
    /// How many addresses there are.
    pub(crate) fn count(self) -> u64 {
        self.count
    }

    /// The address for connection `number`: addresses take turns.
    pub(crate) fn nth(self, number: u64) -> IpAddr {
        let offset = number % self.count;
        match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first).wrapping_add(offset as u32))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first).wrapping_add(u128::from(offset)))),
        }
    }

    /// So many addresses of 127.0.0.0/8, 254 at most. Each process has a block of its own, so that loads which run at the
    /// same time do not take each other's ports.
    pub(crate) fn of_loopback(count: u64, process: u32) -> Self {
        let [_, _, high, low] = process.to_be_bytes();
        // 127.0.0.0/16 is left to what has an address there by its configuration.
        let first = Ipv4Addr::new(127, 1 + high % 254, low, 1);
        Self { first: first.into(), count: count.clamp(1, 254) }
    }

    fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        let count = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => u64::from(u32::from(last).checked_sub(u32::from(first))?) + 1,
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                u64::try_from(u128::from(last).checked_sub(u128::from(first))?).ok()?.checked_add(1)?
            }
            _ => return None,
        };
        Some(Self { first, count })
    }

    fn of_network(network: IpAddr, prefix: u32) -> Option<Self> {
        match network {
            IpAddr::V4(_) if prefix > 32 => None,
            IpAddr::V4(network) => {
                let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
                let (first, last) = (u32::from(network) & !host, u32::from(network) | host);
                // The first address names the network, the last one its broadcast.
                let reserved = u32::from(prefix < 31);
                Self::between(Ipv4Addr::from(first + reserved).into(), Ipv4Addr::from(last - reserved).into())
            }
            IpAddr::V6(_) if prefix > 128 => None,
            IpAddr::V6(network) => {
                let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
                let (first, last) = (u128::from(network) & !host, u128::from(network) | host);
                // A count has 64 bits, a network may have more; no load needs this many.
                let last = last.min(first.saturating_add(u128::from(u32::MAX)));
                Self::between(Ipv6Addr::from(first).into(), Ipv6Addr::from(last).into())
            }
        }
    }
}

impl FromStr for Sources {
    type Err = NoSources;

    fn from_str(text: &str) -> Result<Self, NoSources> {
        parse(text).ok_or(NoSources)
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "{}", self.first),
            count => write!(f, "{}-{}", self.first, self.nth(count - 1)),
        }
    }
}

/// A text that names no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSources;

impl std::error::Error for NoSources {}

impl fmt::Display for NoSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write it like 127.0.0.2, 127.0.0.2-127.0.0.9 or 10.0.0.0/28")
    }
}

fn parse(text: &str) -> Option<Sources> {
    if let Some((first, last)) = text.split_once('-') {
        return Sources::between(first.parse().ok()?, last.parse().ok()?);
    }
    if let Some((network, prefix)) = text.split_once('/') {
        return Sources::of_network(network.parse().ok()?, prefix.parse().ok()?);
    }
    Some(Sources { first: text.parse().ok()?, count: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str, count: u64) {
        let sources: Sources = text.parse().unwrap();
        assert_eq!((sources.to_string().as_str(), sources.count()), (shown, count), "{text}");
    }

    #[test]
    fn addresses_ranges_and_networks() {
        check("127.0.0.2", "127.0.0.2", 1);
        check("127.0.0.2-127.0.0.9", "127.0.0.2-127.0.0.9", 8);
        check("10.0.0.5/28", "10.0.0.1-10.0.0.14", 14);
        check("10.0.0.4/31", "10.0.0.4-10.0.0.5", 2);
        check("10.0.0.4/32", "10.0.0.4", 1);
        check("::1-::3", "::1-::3", 3);
        check("fd00::/126", "fd00::-fd00::3", 4);
        assert_eq!("0.0.0.0/0".parse::<Sources>().unwrap().count(), (1 << 32) - 2);
        assert_eq!("fd00::/8".parse::<Sources>().unwrap().count(), 1 << 32);
    }

    #[test]
    fn blocks_of_loopback_are_a_processs_own() {
        let shown = |count, process| Sources::of_loopback(count, process).to_string();
        assert_eq!(shown(3, 0x0001_02ff), "127.3.255.1-127.3.255.3");
        assert_eq!(shown(900, 0x0040_ff00), "127.2.0.1-127.2.0.254");
        assert_eq!(shown(2, 0), "127.1.0.1-127.1.0.2");
    }

    #[test]
    fn they_go_round() {
        let sources: Sources = "127.0.0.254-127.0.1.1".parse().unwrap();
        let shown: Vec<String> = (0..5).map(|number| sources.nth(number).to_string()).collect();
        assert_eq!(shown, ["127.0.0.254", "127.0.0.255", "127.0.1.0", "127.0.1.1", "127.0.0.254"]);
    }

    #[test]
    fn mistakes_show_how_to_write_it() {
        for text in ["", "localhost", "127.0.0.9-127.0.0.2", "10.0.0.0/33", "fd00::/129", "::1-127.0.0.1", "10.0.0.0/"]
        {
            assert!(text.parse::<Sources>().unwrap_err().to_string().contains("like 127.0.0.2"), "{text}");
        }
    }
}
