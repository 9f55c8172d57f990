//! What the kernel has for a load, and what of it is in use, as proc(5) tells: read under any root, so that tests can
//! say what there is.

use std::fs;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use pingpong::Ports;

use crate::bench::machine;

/// How long a closed connection keeps its port, in seconds: TIME_WAIT (tcp(7)), and where the kernel reuses it early.
const TIME_WAIT: u64 = 60;
const REUSED_AFTER: u64 = 1;

/// CAP_SYS_ADMIN, a bit of the capabilities (capabilities(7)).
const SYS_ADMIN: u32 = 21;

/// The files of proc(5). What is not there, or cannot be read, is no limit.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    proc: PathBuf,
}

impl Kernel {
    pub(super) fn at(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into() }
    }

    /// Bytes of memory that are free for use.
    pub(super) fn memory(&self) -> Option<u64> {
        machine::memory(&self.proc, "MemAvailable")
    }

    /// The most descriptors that a process can be allowed to have (fs.nr_open).
    pub(super) fn descriptors_of_a_process(&self) -> Option<u64> {
        self.numbers("sys/fs/nr_open").first().copied()
    }

    /// How many files may still be opened (fs.file-max). No limit to who has CAP_SYS_ADMIN.
    pub(super) fn files_left(&self) -> Option<u64> {
        let is_exempt = self.field("self/status", "CapEff:").is_some_and(|capabilities| {
            u64::from_str_radix(capabilities[0].as_str(), 16).is_ok_and(|bits| bits >> SYS_ADMIN & 1 == 1)
        });
        match self.numbers("sys/fs/file-nr")[..] {
            [open, _, most] if !is_exempt => Some(most.saturating_sub(open)),
            _ => None,
        }
    }

    /// How many connections the firewall may still track. `None` where it tracks none: to have the module loaded does not
    /// mean that any rule here needs it.
    pub(super) fn tracked_left(&self) -> Option<u64> {
        let [most, tracked] =
            ["max", "count"].map(|name| self.numbers(&format!("sys/net/netfilter/nf_conntrack_{name}")));
        let tracked = tracked.first().filter(|tracked| **tracked > 0)?;
        most.first().map(|most| most.saturating_sub(*tracked))
    }

    /// Seconds for which the firewall keeps a connection that was closed.
    pub(super) fn tracked_for(&self) -> u64 {
        const USUAL: u64 = 120;
        self.numbers("sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait").first().copied().unwrap_or(USUAL)
    }

    /// Pages of memory that buffers of TCP or UDP may still take (net.ipv4.tcp_mem, udp_mem: the third number).
    pub(super) fn pages_left(&self, is_datagram: bool) -> Option<u64> {
        let (limits, key) = if is_datagram { ("udp_mem", "UDP:") } else { ("tcp_mem", "TCP:") };
        let most = *self.numbers(&format!("sys/net/ipv4/{limits}")).get(2)?;
        // TCP: inuse 5 orphan 0 tw 0 alloc 8 mem 3
        let fields = self.field("net/sockstat", key)?;
        let taken = fields.iter().skip_while(|word| *word != "mem").nth(1)?.parse::<u64>().ok()?;
        Some(most.saturating_sub(taken))
    }

    /// The local ports that the kernel picks from (ip_local_port_range, ip_local_reserved_ports; ip(7)).
    pub(super) fn local_ports(&self) -> Option<u64> {
        let range = self.numbers("sys/net/ipv4/ip_local_port_range");
        let &[low, high] = &range[..] else { return None };
        let reserved = self.read("sys/net/ipv4/ip_local_reserved_ports");
        // 8080,9148-9150
        let reserved = reserved.trim().split(',').filter_map(|ports| {
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let (first, last) = (first.parse::<u64>().ok()?.max(low), last.parse::<u64>().ok()?.min(high));
            Some((last + 1).saturating_sub(first))
        });
        Some((high + 1).saturating_sub(low).saturating_sub(reserved.sum()))
    }

    /// Local ports taken by connections to these ports of a host. Those in TIME_WAIT count unless the kernel reuses them.
    pub(super) fn ports_in_use(&self, host: IpAddr, ports: Ports) -> u64 {
        const TIME_WAIT_STATE: &str = "06";
        let table = self.read(if host.is_ipv4() { "net/tcp" } else { "net/tcp6" });
        let (host_shown, ports): (_, RangeInclusive<u16>) = (shown(host), ports.iter());
        let is_reused = self.is_reused(host.is_loopback());
        let is_target = |address: &str| {
            let (host, port) = address.split_once(':').unwrap_or_default();
            host == host_shown && u16::from_str_radix(port, 16).is_ok_and(|port| ports.contains(&port))
        };
        let taken = table.lines().filter(|line| {
            // sl local_address rem_address st …
            let mut fields = line.split_whitespace().skip(2);
            fields.next().is_some_and(is_target) && !(is_reused && fields.next() == Some(TIME_WAIT_STATE))
        });
        taken.count() as u64
    }

    /// Seconds for which a closed connection keeps its port.
    pub(super) fn port_kept_for(&self, is_near: bool) -> u64 {
        if self.is_reused(is_near) { REUSED_AFTER } else { TIME_WAIT }
    }

    /// Whether the ports of closed connections are reused after a second (tcp_tw_reuse, tcp(7)); 2 means on loopback only.
    fn is_reused(&self, is_near: bool) -> bool {
        let setting = self.read("sys/net/ipv4/tcp_tw_reuse");
        setting.trim() == "1" || setting.trim() == "2" && is_near
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.proc.join(path)).unwrap_or_default()
    }

    /// The numbers of a file that has nothing else.
    fn numbers(&self, path: &str) -> Vec<u64> {
        self.read(path).split_whitespace().map_while(|word| word.parse().ok()).collect()
    }

    /// The words behind this one, at the beginning of a line; one at least.
    fn field(&self, path: &str, key: &str) -> Option<Vec<String>> {
        let text = self.read(path);
        let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
        let words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        (!words.is_empty()).then_some(words)
    }
}

/// An address as /proc/net/tcp shows it: words of the machine's byte order, in hexadecimal (proc_net(5)).
fn shown(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    words.map(|word| format!("{word:08X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_the_kernel_shows_them() {
        assert_eq!(shown("127.0.0.1".parse().unwrap()), "0100007F");
        assert_eq!(shown("::1".parse().unwrap()), "00000000000000000000000001000000");
    }

    #[test]
    fn this_kernel_says_what_there_is() {
        let kernel = Kernel::at("/proc");
        assert!(kernel.memory().unwrap() > 1 << 20);
        assert!(kernel.descriptors_of_a_process().unwrap() > 1_000);
        assert!(kernel.local_ports().unwrap() > 0);
    }
}
