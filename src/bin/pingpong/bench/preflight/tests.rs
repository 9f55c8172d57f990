//! Walls by numbers: a kernel that has what a test says.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::*;
use crate::bench::tests::{options, rates};

/// A folder in place of /proc, with room for everything at first.
struct Proc(PathBuf);

impl Proc {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("pingpong-proc-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let proc = Self(std::env::temp_dir().join(name));
        for (file, text) in [
            ("meminfo", "MemTotal:       64000000 kB\nMemAvailable:   50000000 kB\n"),
            ("net/sockstat", "sockets: used 90\nTCP: inuse 5 orphan 0 tw 3 alloc 8 mem 100\nUDP: inuse 4 mem 200\n"),
            ("self/status", "Name:\tpingpong\nCapEff:\t0000000000000000\n"),
            ("sys/fs/file-nr", "1000\t0\t9000000\n"),
            ("sys/fs/nr_open", "1048576\n"),
            ("sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("sys/net/ipv4/ip_local_reserved_ports", "\n"),
            ("sys/net/ipv4/tcp_mem", "300000\t400000\t600000\n"),
            ("sys/net/ipv4/udp_mem", "600000\t800000\t1200000\n"),
            ("sys/net/ipv4/tcp_tw_reuse", "2\n"),
        ] {
            proc.with(file, text);
        }
        proc
    }

    fn with(&self, file: &str, text: &str) -> &Self {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().expect("it has one")).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// What the load falls short of there, with room for a million descriptors.
    fn short_of(&self, set: impl FnOnce(&mut BenchOptions)) -> Vec<(Resource, u64, u64)> {
        let options = options(set);
        let kernel = Kernel::at(&self.0);
        let addresses = options.endpoint.addresses().unwrap();
        let needs = Wanted::new(&options, &addresses, &kernel).needs(&kernel, 1 << 20);
        let short = needs.into_iter().filter(|need| need.needed > need.available);
        short.map(|need| (need.of, need.needed, need.available)).collect()
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the load finds there.
fn ground(proc: &Proc, set: impl FnOnce(&mut BenchOptions)) -> Ground {
    let options = options(set);
    Wanted::new(&options, &options.endpoint.addresses().unwrap(), &Kernel::at(&proc.0)).ground
}

fn idle(count: u32) -> impl Fn(&mut BenchOptions) {
    move |options| options.idle = count - 1
}

/// The way out of a shortage.
fn told(of: Resource) -> String {
    Error::Shortage { of, needed: 2, available: 1 }.to_string()
}

#[test]
fn load_that_a_machine_has_room_for_is_short_of_nothing() {
    assert_eq!(Proc::new().short_of(idle(20_000)), []);
    assert_eq!(Wanted::new(&options(|_| {}), &[], &Kernel::at("/nowhere")).needs(&Kernel::at("/nowhere"), 99).len(), 1);
}

#[test]
fn ports_are_those_of_the_range_that_are_not_reserved() {
    let proc = Proc::new();
    assert_eq!(proc.short_of(idle(28_232)), []);
    assert_eq!(proc.short_of(idle(28_233)), [(Resource::Ports, 28_233, 28_232)]);
    proc.with("sys/net/ipv4/ip_local_reserved_ports", "80,32768,40000-40009,60990-65535\n");
    assert_eq!(proc.short_of(idle(28_212)), [(Resource::Ports, 28_212, 28_211)]);
    let range = |options: &mut BenchOptions| {
        options.endpoint = "tcp://192.0.2.1:7000-7001".parse().unwrap();
        options.idle = 56_421;
    };
    assert_eq!(proc.short_of(range), []);
    assert!(told(Resource::Ports).contains("net.ipv4.ip_local_port_range"));
}

#[test]
fn on_loopback_more_addresses_are_taken_before_ports_have_to_be_searched_for() {
    let proc = Proc::new();
    let near = |endpoint: &'static str, connections| {
        move |options: &mut BenchOptions| {
            options.endpoint = endpoint.parse().unwrap();
            options.connections = connections;
        }
    };
    let taken = |endpoint, connections| {
        let ground = ground(&proc, near(endpoint, connections));
        assert!(!ground.is_crowded);
        ground.spread.map_or(1, Sources::count)
    };
    let one = "tcp://127.0.0.1:1";
    assert_eq!([100, 9_410, 9_411, 19_000, 28_000].map(|count| taken(one, count)), [1, 1, 2, 3, 3]);
    assert_eq!(taken("tcp://127.9.9.9:1", 19_000), 3);
    assert_eq!(taken("tcp://127.0.0.1:1-2", 19_000), 2, "18,820 would do with one");
    assert_eq!(taken("udp://127.0.0.1:1", 30_000), 4);
    assert_eq!(taken(one, 200_000), 22);
    assert_eq!(ground(&proc, near(one, 19_000)).ports, Some(3 * 28_232));
    let named = |options: &mut BenchOptions| {
        near(one, 19_000)(options);
        options.sources = Some("127.0.0.1".parse().unwrap());
    };
    assert_eq!(ground(&proc, named), Ground { ports: Some(28_232), spread: None, is_crowded: true });
    let churn = |rate| {
        move |options: &mut BenchOptions| {
            near(one, 1)(options);
            (options.churn, options.rates) = (true, rates(rate));
        }
    };
    let visited = |rate| ground(&proc, churn(rate)).spread.map_or(1, Sources::count);
    assert_eq!((visited(None), visited(Some(5_000.0)), visited(Some(10_000.0))), (5, 1, 2));
    let few = |options: &mut BenchOptions| {
        churn(None)(options);
        options.extent = Extent::Requests(9_000);
    };
    assert_eq!(ground(&proc, few).spread, None);
}

#[test]
fn elsewhere_the_search_is_told() {
    let proc = Proc::new();
    let crowded = |endpoint: &'static str, connections| {
        let ground = ground(&proc, |options| {
            options.endpoint = endpoint.parse().unwrap();
            options.connections = connections;
        });
        assert_eq!(ground.spread, None);
        ground.is_crowded
    };
    let (far, near) = ("tcp://192.0.2.1:8888", "tcp://[::1]:8888");
    assert!(!crowded(far, 14_116) && crowded(far, 14_117) && !crowded(near, 14_116) && crowded(near, 14_117));
    assert!(!crowded("tcp://192.0.2.1:8888-8889", 28_232) && crowded("tcp://192.0.2.1:8888-8889", 28_233));
    assert!(!crowded("udp://192.0.2.1:8888", 28_000), "free ports for datagrams are found without");
    proc.with("net/tcp", &"   0: 0100007F:8000 010200C0:22B8 01 0\n".repeat(5_000));
    assert!(!crowded(far, 9_116) && crowded(far, 9_117));
}

#[test]
fn ports_in_use_for_the_same_target_are_not_there() {
    let proc = Proc::new();
    let line = |remote: &str, state: &str| format!("   0: 0100007F:8000 {remote} {state} 00000000:00000000\n");
    let [target, other, closed] =
        [("010200C0:22B8", "01"), ("010200C0:22B9", "01"), ("010200C0:22B8", "06")].map(|(to, state)| line(to, state));
    proc.with("net/tcp", &format!("  sl  local_address rem_address   st\n{target}{target}{other}{closed}"));
    assert_eq!(proc.short_of(idle(28_230)), [(Resource::Ports, 28_230, 28_229)], "off loopback TIME_WAIT counts");
    proc.with("sys/net/ipv4/tcp_tw_reuse", "1\n");
    assert_eq!(proc.short_of(idle(28_230)), []);
}

#[test]
fn files_of_all_processes_are_a_wall_but_for_root() {
    let proc = Proc::new();
    proc.with("sys/fs/file-nr", "95000\t0\t100000\n");
    assert_eq!(proc.short_of(idle(4_984)), []);
    assert_eq!(proc.short_of(idle(5_000)), [(Resource::Files, 5_016, 5_000)]);
    let near = |options: &mut BenchOptions| {
        options.endpoint = "tcp://127.0.0.1:8888".parse().unwrap();
        options.idle = 4_983;
    };
    assert_eq!(proc.short_of(near), [(Resource::Files, 9_984, 5_000)], "the server has the other ends");
    proc.with("self/status", "CapEff:\t000001ffffffffff\n");
    assert_eq!(proc.short_of(idle(5_000)), []);
    assert!(told(Resource::Files).contains("fs.file-max"));
}

#[test]
fn more_descriptors_than_a_process_may_have_are_not_to_be_had_by_ulimit_alone() {
    let proc = Proc::new();
    let endpoint = |options: &mut BenchOptions| options.endpoint = "unix:///run/x".parse().unwrap();
    let load = |options: &mut BenchOptions| (endpoint(options), options.idle = 1_048_576).1;
    assert_eq!(proc.short_of(load), [(Resource::DescriptorsOfAProcess, 1_048_593, 1_048_576)]);
    proc.with("sys/fs/nr_open", "2000000\n");
    assert_eq!(proc.short_of(load), [(Resource::Descriptors, 1_048_593, 1_048_576)]);
    assert!(told(Resource::DescriptorsOfAProcess).contains("fs.nr_open"));
    assert!(!told(Resource::Descriptors).contains("fs.nr_open"));
}

#[test]
fn firewall_that_tracks_is_a_wall_and_one_that_does_not_is_none() {
    let proc = Proc::new();
    proc.with("sys/net/netfilter/nf_conntrack_max", "20000\n").with("sys/net/netfilter/nf_conntrack_count", "0\n");
    assert_eq!(proc.short_of(idle(25_000)), [], "the module is loaded, but nothing here uses it");
    proc.with("sys/net/netfilter/nf_conntrack_count", "500\n");
    assert_eq!(proc.short_of(idle(19_500)), []);
    assert_eq!(proc.short_of(idle(19_501)), [(Resource::Tracked, 19_501, 19_500)]);
    assert_eq!(proc.short_of(|options| options.endpoint = "unix:///run/x".parse().unwrap()), []);
    assert!(told(Resource::Tracked).contains("net.netfilter.nf_conntrack_max"));
    // A firewall remembers closed connections.
    let churn = |seconds| {
        move |options: &mut BenchOptions| {
            (options.churn, options.rates) = (true, rates(400.0));
            options.extent = Extent::Duration(Duration::from_secs(seconds));
        }
    };
    assert_eq!(proc.short_of(churn(40)), []);
    assert_eq!(proc.short_of(churn(60)), [(Resource::Tracked, 24_001, 19_500)]);
    proc.with("sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", "30\n");
    assert_eq!(proc.short_of(churn(60)), []);
}

#[test]
fn buffers_of_tcp_and_udp_have_walls_of_their_own() {
    let proc = Proc::new();
    let load = |endpoint: &'static str, connections, pipeline, size| {
        move |options: &mut BenchOptions| {
            options.endpoint = endpoint.parse().unwrap();
            (options.connections, options.pipeline, options.probe) = (connections, pipeline, Probe::Pong(size));
        }
    };
    proc.with("sys/net/ipv4/tcp_mem", "300\t400\t1100\n").with("sys/net/ipv4/udp_mem", "300\t400\t1200\n");
    let (tcp, udp) = ("tcp://192.0.2.1:1", "udp://192.0.2.1:1");
    assert_eq!(proc.short_of(load(tcp, 1_000, 1, 64)), []);
    assert_eq!(proc.short_of(load(tcp, 1_001, 1, 64)), [(Resource::TcpPages, 1_001, 1_000)], "a page each");
    assert_eq!(proc.short_of(load(tcp, 100, 16, 4_096)), [(Resource::TcpPages, 1_600, 1_000)]);
    assert_eq!(proc.short_of(load(udp, 1_000, 1, 64)), []);
    assert_eq!(proc.short_of(load(udp, 100, 64, 64)), [(Resource::UdpPages, 1_200, 1_000)]);
    assert_eq!(proc.short_of(idle(20_000)), [], "idle connections have nothing in buffers");
    assert!(told(Resource::TcpPages).contains("net.ipv4.tcp_mem"));
    assert!(told(Resource::UdpPages).contains("net.ipv4.udp_mem"));
}
