//! The far server's datagram budget, seen from the asking side: `ping` and `bench` name it where heavy loss suggests it.

use pingpong::{Address, Endpoint};

use crate::probe::Probe;

/// Whether a pingpong server at `address` would take its answers from a budget (its `--udp-budget`). It answers proper
/// pings and whatever comes over loopback without one; over streams there is none.
pub(crate) fn may_be_budgeted(endpoint: &Endpoint, address: Option<&Address>, probe: &Probe) -> bool {
    let is_far = address.and_then(Address::ip).is_some_and(|ip| !ip.is_loopback());
    matches!(endpoint, Endpoint::Udp(_)) && is_far && !matches!(probe, Probe::Pong(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_budgeted(endpoint: &str, address: &str, probe: &Probe) -> bool {
        let address = Address::Ip(address.parse().unwrap());
        may_be_budgeted(&endpoint.parse().unwrap(), Some(&address), probe)
    }

    #[test]
    fn only_datagrams_to_another_host_that_are_no_pings() {
        let (far, near) = ("192.0.2.1:8888", "127.0.0.1:8888");
        assert!(is_budgeted("udp://host:8888", far, &Probe::Echo(64)));
        assert!(!is_budgeted("udp://host:8888", near, &Probe::Echo(64)));
        assert!(!is_budgeted("udp://host:8888", far, &Probe::Pong(64)));
        assert!(!is_budgeted("tcp://host:8888", far, &Probe::Echo(64)));
        assert!(!may_be_budgeted(&"unixgram:///x".parse().unwrap(), None, &Probe::Echo(64)));
    }
}
