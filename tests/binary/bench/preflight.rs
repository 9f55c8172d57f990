//! Loads that cannot be: limits of this machine, found before anything is dialled, and endpoints without a server.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::thread;

use nix::sys::signal::Signal;

use super::super::support::{Ended, Folder, Launch, Namespace, Server, root, tool};
use super::peers::{full_listener, listener_for};
use super::{Figures, bench, fails, words};

/// A listener that must not see a connection.
struct Lonely(TcpListener);

impl Lonely {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn endpoint(&self) -> String {
        format!("tcp://{}", self.0.local_addr().unwrap())
    }

    #[track_caller]
    fn has_seen_nobody(&self) {
        assert!(matches!(self.0.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock), "it was dialled");
    }
}

/// A namespace with these local ports, and a server in it.
#[track_caller]
fn world_of_few_ports(range: &str) -> Option<(Namespace, Server)> {
    let namespace = Namespace::new()?;
    let server = namespace.serve("ping=127.0.0.1:0 echo=127.0.0.1:0");
    namespace.within(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap());
    Some((namespace, server))
}

#[track_caller]
fn bench_in(namespace: &Namespace, endpoint: &str, options: &str) -> Figures {
    Figures::of(&namespace.launch(&words(endpoint, options)).run())
}

#[test]
fn descriptors_run_out_before_anything_is_dialled() {
    if !tool("prlimit") {
        return;
    }
    let lonely = Lonely::new();
    for (options, needed) in [("-c 200", "2"), ("-c 1 --idle 200", "2")] {
        let arguments = format!("bench {} {options} -n 1 --warmup 0s", lonely.endpoint());
        let ended = Launch::within(&["prlimit", "--nofile=100:100"], &arguments).run();
        fails(&ended, 6, &["descriptors", "ulimit", "bench merge", needed]);
        lonely.has_seen_nobody();
    }
    // A load that just fits the limit runs.
    let server = Server::start("ping=127.0.0.1:0");
    let arguments = words(server.endpoint("ping", "tcp"), "-c 20 --idle 40 -n 60");
    let figures = Figures::of(&Launch::within(&["prlimit", "--nofile=100:100"], &arguments).run());
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=60 requests=60"));
    assert_eq!(figures.count("connections_opened"), 60);
}

/// `pingpong` in a mount namespace, where these files of proc(5) say something else. `None` without root.
#[track_caller]
fn where_proc_says(files: &[(&str, &str)], arguments: &str) -> Option<Ended> {
    if !root() || !tool("unshare") || !tool("mount") {
        return None;
    }
    let folder = Folder::new();
    let mut script = String::new();
    for (number, (file, text)) in files.iter().enumerate() {
        let said = folder.file(&number.to_string());
        fs::write(&said, text).unwrap();
        script += &format!("mount --bind {} {file} && ", said.display());
    }
    Some(Launch::within(&["unshare", "-m", "sh", "-c", &(script + "exec \"$0\" \"$@\"")], arguments).run())
}

#[test]
fn limits_of_the_kernel_are_named_with_their_sysctl_before_anything_is_dialled() {
    let lonely = Lonely::new();
    let load = format!("bench {} -c 200 -n 1 --warmup 0s", lonely.endpoint());
    let Some(ended) = where_proc_says(&[("/proc/sys/net/ipv4/tcp_mem", "1\t2\t150\n")], &load) else { return };
    fails(&ended, 6, &["200 pages of TCP memory", "net.ipv4.tcp_mem"]);
    let [max, count] = ["max", "count"].map(|name| format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
    if fs::exists(&max).unwrap() {
        let ended = where_proc_says(&[(&max, "300\n"), (&count, "150\n")], &load).unwrap();
        fails(&ended, 6, &["200 entries", "there are 150", "net.netfilter.nf_conntrack_max"]);
    }
    lonely.has_seen_nobody();
}

#[test]
fn more_descriptors_than_any_process_may_have_name_the_sysctl() {
    let lonely = Lonely::new();
    let most: u32 = fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse().unwrap();
    let ended = Launch::new(&format!("bench {} -c 1 --idle {most} -n 1", lonely.endpoint())).run();
    fails(&ended, 6, &["descriptors of one process", "fs.nr_open", "ulimit -Hn"]);
    lonely.has_seen_nobody();
}

#[test]
fn reserved_ports_are_not_there() {
    let Some((namespace, server)) = world_of_few_ports("40000 40009") else { return };
    namespace.within(|| fs::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "40002-40004,40009").unwrap());
    let endpoint = server.endpoint("ping", "tcp");
    fails(
        &namespace.launch(&words(endpoint, "-c 7 -n 1 --source 127.0.0.1")).run(),
        6,
        &["7 local ports", "there are 6"],
    );
    let figures = bench_in(&namespace, endpoint, "-c 6 -n 12 --source 127.0.0.1");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=12 requests=12"));
}

#[test]
fn soft_descriptor_limit_is_no_wall() {
    if !tool("prlimit") {
        return;
    }
    let server = Server::start("ping=127.0.0.1:0");
    let arguments = words(server.endpoint("ping", "tcp"), "-c 200 -n 200");
    let figures = Figures::of(&Launch::within(&["prlimit", "--nofile=50:1000"], &arguments).run());
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=200 requests=200"));
}

#[test]
fn ports_run_out_before_anything_is_dialled_and_sources_are_the_way_out() {
    let Some((namespace, server)) = world_of_few_ports("40000 40009") else { return };
    for scheme in ["tcp", "udp"] {
        let endpoint = server.endpoint("ping", scheme);
        let ended = namespace.launch(&words(endpoint, "-c 20 --idle 10 -n 1 --source 127.0.0.1")).run();
        fails(&ended, 6, &["30 local ports", "there are 10", "--source", "ip_local_port_range"]);
        let figures = bench_in(&namespace, endpoint, "-c 20 --idle 10 -n 40 --source 127.0.0.2-127.0.0.4");
        assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=40 requests=40"), "{scheme}");
        assert_eq!(figures.count("connections_opened"), 30);
    }
    let stats = server.stats();
    assert_eq!((stats["accepted"], stats["datagrams_in"]), (30, 41));
}

#[test]
fn on_loopback_more_addresses_are_taken_than_one_where_ports_are_few() {
    let Some((namespace, server)) = world_of_few_ports("40000 40009") else { return };
    for scheme in ["tcp", "udp"] {
        let figures = bench_in(&namespace, server.endpoint("ping", scheme), "-c 20 --idle 10 -n 40");
        assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=40 requests=40"), "{scheme}");
        let settings = &figures.whole["settings"]["effective"];
        let sources = settings["sources"].as_str().unwrap();
        assert!(sources.starts_with("127.") && sources.ends_with(".10") && settings["sources_chosen"] == true);
        assert!(figures.whole["title"].as_str().unwrap().contains(&format!("10 idle from {sources}, closed")));
        assert!(!figures.warns("port by port"));
    }
    let figures = bench_in(&namespace, server.endpoint("ping", "tcp"), "--churn -c 2 -n 50");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=50 requests=50"));
    let figures = bench_in(&namespace, server.endpoint("ping", "tcp"), "-c 3 -n 3");
    let settings = &figures.whole["settings"]["effective"];
    assert!(settings["sources"].is_null() && settings["sources_chosen"] == false, "{settings}");
}

#[test]
fn server_that_serves_one_address_alone_is_told_how_to_be_loaded() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.within(|| {
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap();
        let listener = TcpListener::bind("127.0.0.1:7000").unwrap();
        thread::spawn(move || {
            for (mut stream, peer) in std::iter::from_fn(|| listener.accept().ok()) {
                if peer.ip() != IpAddr::from([127, 0, 0, 1]) {
                    let _ = stream.write_all(b"-DENIED\r\n");
                }
            }
        });
    });
    let figures = bench_in(&namespace, "tcp://127.0.0.1:7000", "-c 8 -n 8 --timeout 200ms");
    assert!(figures.code != Some(0) && figures.warns("needs --source 127.0.0.1"), "{:?}", figures.whole["warnings"]);
}

#[test]
fn ports_that_were_searched_for_quickly_are_nothing_to_warn_of() {
    let Some(namespace) = Namespace::new() else { return };
    let server = namespace.serve("ping=[::1]:0");
    namespace.within(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40039").unwrap());
    let figures = bench_in(&namespace, server.endpoint("ping", "tcp"), "-c 21 -n 21");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=21 requests=21"));
    let told = &figures.whole;
    assert!(told["ports_crowded"] == true && !figures.warns("port by port"), "{:?}", told["warnings"]);
}

#[test]
fn range_of_ports_gives_more_connections_and_every_pair_with_a_source_is_used() {
    let Some(namespace) = Namespace::new() else { return };
    let server = namespace.serve("ping=127.0.0.1:7000-7002");
    namespace.within(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap());
    let endpoint = "tcp://127.0.0.1:7000-7002";
    let one = |options: &str| words(endpoint, &format!("{options} --source 127.0.0.1"));
    fails(&namespace.launch(&one("-c 31 -n 1")).run(), 6, &["31 local ports", "there are 30", "range"]);
    let figures = bench_in(&namespace, endpoint, "-c 20 --idle 10 -n 40 --source 127.0.0.1");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=40 requests=40"));
    assert_eq!(figures.whole["settings"]["effective"]["address"], "127.0.0.1:7000-7002");
    let figures = bench_in(&namespace, endpoint, "-c 90 -n 90 --source 127.0.0.2-127.0.0.4");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=90 requests=90"));
    // Datagram sockets share no port.
    let endpoint = "udp://127.0.0.1:7000-7002";
    fails(
        &namespace.launch(&words(endpoint, "-c 11 -n 1 --source 127.0.0.1")).run(),
        6,
        &["11 local ports", "there are 10"],
    );
    let figures = bench_in(&namespace, endpoint, "-c 10 -n 30 --source 127.0.0.1");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=30 requests=30"));
    assert_eq!(server.stats()["accepted"], 120);
}

#[test]
fn source_does_not_take_a_port_from_other_targets() {
    let Some((namespace, server)) = world_of_few_ports("40000 40009") else { return };
    let first = words(server.endpoint("ping", "tcp"), "--source 127.0.0.2 -c 10 -d 1m");
    let mut first = namespace.launch(&first).spawn();
    server.stats_once("all are there", |stats| stats["open"] == 10);
    // Another server may be dialled from the same ports: together they are 20 connections from 10 ports.
    let figures = bench_in(&namespace, server.endpoint("echo", "tcp"), "--source 127.0.0.2 -c 10 -n 30 --echo");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=30 requests=30"));
    // A second load on the same server is refused: its ports are in use.
    let ended = namespace.launch(&words(server.endpoint("ping", "tcp"), "--source 127.0.0.2 -c 10 -n 1")).run();
    fails(&ended, 6, &["10 local ports", "there are 0", "--source"]);
    first.signal(Signal::SIGINT);
    let first = Figures::of(&first.ends());
    assert_eq!(
        (first.count("connections_opened"), first.not_zero(&["connections_lost", "broken"])),
        (10, String::new())
    );
}

#[test]
fn visits_at_a_rate_that_ports_cannot_keep_up_with() {
    let Some((namespace, server)) = world_of_few_ports("40000 40009") else { return };
    let ended =
        namespace.launch(&words(server.endpoint("ping", "tcp"), "--churn -r 1000 -c 5 -n 10 --source 127.0.0.1")).run();
    fails(&ended, 6, &["local ports a second", "--source", "--rate"]);
    assert_eq!(server.stats()["accepted"], 0);
}

#[test]
fn visits_that_wait_for_ports_are_told() {
    let Some((namespace, server)) = world_of_few_ports("40000 40009") else { return };
    let figures = bench_in(
        &namespace,
        server.endpoint("ping", "tcp"),
        "--churn -c 2 -d 100ms --timeout 200ms --source 127.0.0.1",
    );
    // Ten closed connections use up the ports, the one that looked for a server among them; then two wait in vain. (One
    // request less where that first connection is still being closed.)
    assert!(figures.code == Some(1) && figures.count("requests") >= 8, "{}", figures.facts());
    assert!(figures.count("port_waits") > 0 && figures.count("refused") == 0, "{}", figures.facts());
    assert!(figures.warns("local ports ran out") && figures.warns("--source"));
}

#[test]
fn connection_to_itself_is_nobody() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.within(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap());
    let ended = namespace.launch(&words("tcp://127.0.0.1:40000", "-c 1 -n 10 --echo")).run();
    fails(&ended, 3, &["tcp://127.0.0.1:40000", "connected to itself: nobody listens there"]);
}

#[test]
fn nobody_there_is_3() {
    let free = Lonely::new().endpoint();
    let refused = [&*free, "connection refused", "is a server running there?"];
    fails(&Launch::new(&words(&free, "-c 5 -n 5")).run(), 3, &refused);
    fails(&Launch::new(&words(&free, "-c 5 -n 5 --churn")).run(), 3, &refused);
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
    fails(&Launch::new(&words(&format!("udp://{free}"), "-c 5 -n 5")).run(), 3, &["connection refused"]);
    let folder = Folder::new();
    for scheme in ["unix", "unixgram"] {
        let endpoint = format!("{scheme}://{}", folder.file("none").display());
        fails(&Launch::new(&words(&endpoint, "-c 5 -n 5")).run(), 3, &[&endpoint, "does not exist"]);
    }
    fails(&Launch::new(&words("tcp://nobody.invalid:1", "")).run(), 3, &["nobody.invalid"]);
}

#[test]
fn whichever_port_of_a_range_is_dead_the_same_is_counted() {
    let Some(namespace) = Namespace::new() else { return };
    let _server = namespace.serve("ping=127.0.0.1:7001 ping=127.0.0.1:7003");
    for scheme in ["tcp", "udp"] {
        let of = |range: &str, options: &str| {
            let options = format!("{options} -r 100 --source 127.0.0.1 --timeout 200ms");
            let figures = bench_in(&namespace, &format!("{scheme}://127.0.0.1:{range}"), &options);
            (figures.code, figures.count("connections_failed"), figures.facts())
        };
        assert_eq!(of("7000-7001", "-c 4 -n 20"), of("7001-7002", "-c 4 -n 20"), "{scheme}");
        assert_eq!(of("7000-7001", "-c 4 --idle 2 -n 20"), of("7003-7004", "-c 4 --idle 2 -n 20"), "{scheme}");
        let none = words(&format!("{scheme}://127.0.0.1:7004-7006"), "-c 4 -n 1");
        fails(&namespace.launch(&none).run(), 3, &["127.0.0.1:7004-7006: connection refused"]);
    }
    let visits = |range: &str| {
        let figures =
            bench_in(&namespace, &format!("tcp://127.0.0.1:{range}"), "--churn -r 100 -n 20 --source 127.0.0.1");
        (figures.code, figures.facts())
    };
    assert_eq!(visits("7000-7001"), (Some(1), "sent=20 requests=10 refused=10".to_owned()));
    assert_eq!(visits("7001-7002"), visits("7000-7001"));
}

#[test]
fn source_that_is_not_ours_is_3() {
    let lonely = Lonely::new();
    for source in ["192.0.2.1", "127.0.0.1-128.0.0.1", "::1"] {
        let ended = Launch::new(&words(&lonely.endpoint(), &format!("-n 1 --source {source}"))).run();
        let last = source.rsplit('-').next().unwrap();
        fails(&ended, 3, &["cannot connect from", last]);
        lonely.has_seen_nobody();
    }
}

#[test]
fn nobody_who_takes_the_connection_is_4() {
    let (endpoint, _full) = full_listener();
    let ended = Launch::new(&words(&endpoint, "-c 5 -n 5 --connect-timeout 200ms")).run();
    fails(&ended, 4, &[&endpoint, "timed out after 200ms", "--connect-timeout"]);
}

#[test]
fn failed_connections_are_counted_and_the_others_ask() {
    let (endpoint, _listener) = listener_for(1);
    let figures = bench(&endpoint, "-c 5 -n 2 --timeout 200ms --connect-timeout 300ms");
    let facts = "sent=2 lost=2 connections_failed=3 connections_unserved=2";
    assert_eq!((figures.code, &*figures.facts()), (Some(1), facts));
    assert_eq!(figures.count("connections_opened"), 2);
    assert!(
        figures.warns("3 connections could not be made (timed out after 300ms: 3)"),
        "{:?}",
        figures.whole["warnings"]
    );
}

#[test]
fn mistakes_of_usage_are_2() {
    for (arguments, word) in [
        ("bench", "ENDPOINT"),
        ("bench nowhere:x", "port"),
        ("bench localhost -c many", "--connections"),
        ("bench localhost -c 0", "--connections"),
        ("bench udp://localhost --churn", "--churn"),
        ("bench merge", "JSON"),
    ] {
        fails(&Launch::new(arguments).run(), 2, &[word]);
    }
}
