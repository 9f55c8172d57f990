//! The command itself: what it prints when it starts, how it fails, which endpoints an argument means.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use nix::sys::signal::Signal;

use super::support::{Client, DatagramClient, Launch, Namespace, Server};

#[test]
fn without_a_command_it_prints_help_and_exits_2() {
    let ended = Launch::new("").run();
    assert_eq!(ended.code, Some(2));
    let help = format!("{}{}", ended.stdout, ended.stderr);
    assert!(help.contains("Usage") && help.contains("serve"), "{ended:?}");
}

#[test]
fn help_and_version_are_no_errors() {
    for (arguments, word) in [("--help", "serve"), ("serve --help", "--max-connections"), ("--version", "pingpong")] {
        let ended = Launch::new(arguments).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(word), "{ended:?}");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn mistakes_of_usage_exit_2_and_name_the_mistake() {
    for (arguments, word) in [
        ("srve", "srve"),
        ("serve --no-such-option", "--no-such-option"),
        ("serve pong", "pong"),
        ("serve ping=tcp://127.0.0.1", "port"),
        ("serve ping=http://127.0.0.1:1", "scheme"),
        ("serve ping=tcp://::1:1", "brackets"),
        ("serve ping=unix://", "path"),
        ("serve --delay soon", "250ms"),
        ("serve --max-message none", "64KiB"),
        ("serve --max-connections 0", "max-connections"),
        ("serve --udp-budget much", "100/s"),
        ("serve --framing tight", "tight"),
        ("serve -q -v", "--verbose"),
    ] {
        let ended = Launch::new(arguments).run();
        assert_eq!(ended.code, Some(2), "{arguments}: {ended:?}");
        assert!(ended.stderr.contains(word), "{arguments}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn serve_alone_is_three_services_on_loopback() {
    let Some(namespace) = Namespace::new() else { return };
    let server = namespace.serve("");
    assert_eq!(
        server.stdout(),
        [
            "listening ping tcp://127.0.0.1:8888",
            "listening ping udp://127.0.0.1:8888",
            "listening hello tcp://127.0.0.1:9999",
            "listening hello udp://127.0.0.1:9999",
            "listening echo tcp://127.0.0.1:50007",
            "listening echo udp://127.0.0.1:50007",
            "ready",
        ]
    );
    namespace.within(|| {
        server.dial("ping").ask("ping", "pong");
        server.dial("hello").hears("Welcome!");
        server.dial("echo").ask("x", "x");
        DatagramClient::udp(server.udp("ping")).ask("ping", "pong");
        DatagramClient::udp(server.udp("hello")).ask("X", "Hello, X!");
        DatagramClient::udp(server.udp("echo")).ask("x", "x");
    });
}

#[test]
fn host_is_for_services_named_without_an_endpoint() {
    let Some(namespace) = Namespace::new() else { return };
    let server = namespace.serve("--host :: ping echo=tcp://127.0.0.1:7");
    assert_eq!(
        server.stdout(),
        [
            "listening ping tcp://[::]:8888",
            "listening ping udp://[::]:8888",
            "listening echo tcp://127.0.0.1:7",
            "ready"
        ]
    );
    namespace.within(|| {
        for address in ["127.0.0.1:8888", "[::1]:8888"].map(|address| address.parse().unwrap()) {
            Client::tcp(address).ask("ping", "pong");
            DatagramClient::udp(address).ask("ping", "pong");
        }
    });
    drop(server);
    let server = namespace.serve("--host 0.0.0.0 hello");
    assert_eq!(server.stdout()[0], "listening hello tcp://0.0.0.0:9999");
    namespace.within(|| Client::tcp("127.0.0.1:9999".parse().unwrap()).hears("Welcome!"));
}

#[test]
fn an_endpoint_without_scheme_is_tcp_and_udp() {
    let server = Server::start("echo=127.0.0.1:0");
    server.dial("echo").ask("x", "x");
    DatagramClient::udp(server.udp("echo")).ask("x", "x");
    assert_eq!(server.stdout().len(), 3);
}

/// The addresses at which a TCP service listens.
fn bound(server: &Server) -> Vec<SocketAddr> {
    let stdout = server.stdout();
    stdout.iter().filter_map(|line| line.split_once(" tcp://")?.1.parse().ok()).collect()
}

#[test]
fn a_name_is_resolved() {
    let server = Server::start("ping=tcp://localhost:0");
    assert!(bound(&server).iter().all(|address| address.ip().is_loopback()));
    bound(&server).into_iter().for_each(|address| Client::tcp(address).ask("ping", "pong"));
    assert_eq!(server.stdout().len(), bound(&server).len() + 1, "each address once, and ready");
}

#[test]
fn every_address_of_a_name_is_bound_and_one_that_is_not_there_stops_no_other() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.hosts("127.0.0.1 many\n127.0.0.2 many\n::1 many\n192.0.2.1 elsewhere\n");
    let hosts = |server: &Server| {
        let mut hosts: Vec<_> = bound(server).into_iter().map(|address| address.ip().to_string()).collect();
        hosts.sort();
        hosts
    };
    let server = namespace.serve("ping=tcp://many:7");
    assert_eq!(hosts(&server), ["127.0.0.1", "127.0.0.2", "::1"]);
    let addresses = bound(&server);
    namespace.within(|| addresses.iter().for_each(|address| Client::tcp(*address).ask("ping", "pong")));
    drop(server);

    namespace.within(|| std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap());
    let server = namespace.serve("ping=tcp://many:7");
    assert_eq!(hosts(&server), ["127.0.0.1", "127.0.0.2"]);
    assert!(server.log("tcp://[::1]:7").starts_with("WARN"));
    let refused = namespace.launch("serve ping=tcp://elsewhere:7").run();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("tcp://192.0.2.1:7"), "{refused:?}");
}

#[test]
fn an_address_that_a_name_has_twice_is_bound_once() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.hosts("127.0.0.1 twice\n127.0.0.1 twice\n");
    let server = namespace.serve("ping=twice:7");
    assert_eq!(server.stdout(), ["listening ping tcp://127.0.0.1:7", "listening ping udp://127.0.0.1:7", "ready"]);
}

#[test]
fn an_address_in_use_exits_3_and_says_so_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = Launch::new(&format!("serve ping=tcp://{address}")).run();
    assert_eq!(ended.code, Some(3));
    assert_eq!(
        ended.stderr,
        format!(
            "pingpong: cannot listen on tcp://{address}: address in use (another server there? try --reuse-port or another port)"
        )
    );
    assert_eq!(ended.stdout, "", "it is not ready");

    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = Launch::new(&format!("serve ping=udp://{address}")).run();
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains(&format!("udp://{address}: address in use")), "{ended:?}");
}

#[test]
fn what_cannot_be_resolved_or_bound_exits_3_and_names_it() {
    for (place, word) in [
        ("tcp://no-such-host.invalid:1", "resolve"),
        ("udp://no-such-host.invalid:1", "resolve"),
        ("tcp://192.0.2.1:0", "listen"),
        ("udp://[2001:db8::1]:0", "listen"),
    ] {
        let ended = Launch::new(&format!("serve ping={place}")).run();
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.stderr.starts_with(&format!("pingpong: cannot {word}")), "{ended:?}");
        let (_, rest) = ended.stderr.split_once(place).expect("it names the endpoint");
        assert!(rest.ends_with(')') && rest.contains('('), "and the way out: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1);
    }
}

#[test]
fn too_few_descriptors_to_start_with_exit_6() {
    let ended =
        Launch::shell("ulimit -n 6; exec \"$0\" \"$@\"", "serve ping=tcp://127.0.0.1:0 echo=tcp://127.0.0.1:0").run();
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.starts_with("pingpong: ") && ended.stderr.contains("ulimit"), "{ended:?}");
}

#[test]
fn a_port_is_shared_with_reuse_port_and_only_then() {
    let first = Server::start("--reuse-port ping=tcp://127.0.0.1:0 ping=udp://127.0.0.1:0");
    let places = format!("ping={} ping={}", first.endpoint("ping", "tcp"), first.endpoint("ping", "udp"));
    assert_eq!(Launch::new(&format!("serve {places}")).run().code, Some(3));
    let mut second = Server::start(&format!("--reuse-port {places}"));
    // The kernel spreads by a hash: of a hundred, each process gets some.
    for _ in 0..100 {
        first.dial("ping").ask("ping", "pong");
        DatagramClient::udp(first.udp("ping")).ask("ping", "pong");
    }
    let (one, two) = (first.stats(), second.stop());
    assert_eq!(one["accepted"] + two["accepted"], 100);
    assert_eq!(one["datagrams_in"] + two["datagrams_in"], 100);
    assert!(one["accepted"] > 0 && two["accepted"] > 0);
    assert!(one["datagrams_in"] > 0 && two["datagrams_in"] > 0);
}

#[test]
fn a_restart_need_not_wait_for_old_connections() {
    let mut server = Server::start("ping=tcp://127.0.0.1:0");
    let place = server.endpoint("ping", "tcp").to_owned();
    let mut client = server.dial("ping");
    client.ask("ping\n", "pong\n");
    // The server closes first: its end waits in TIME_WAIT.
    server.signal(Signal::SIGTERM);
    client.hears_end();
    drop(client);
    assert_eq!(server.exit_code(), Some(0));
    Server::start(&format!("ping={place}")).dial("ping").ask("ping", "pong");
}

#[test]
fn the_soft_descriptor_limit_is_raised_to_the_hard_one() {
    let server = Launch::shell("ulimit -Sn 64; exec \"$0\" \"$@\"", "serve ping=tcp://127.0.0.1:0").start();
    let mut clients: Vec<Client> = (0..100).map(|_| server.dial("ping")).collect();
    clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    assert_eq!(server.stats()["open"], 100);
}

#[test]
fn the_counters_are_logged_at_the_interval_asked_for() {
    let server = Server::start("ping=tcp://127.0.0.1:0 --stats 50ms");
    server.log("accepted=0");
    let mut client = server.dial("ping");
    client.ask("ping", "pong");
    // No signal asks for these lines, and nothing else wakes the server.
    server.log("accepted=1 messages=1");
    let before = server.stderr().len();
    super::support::eventually("three more lines", || (server.stderr().len() >= before + 3).then_some(()));
}

#[cfg(not(feature = "watch"))]
#[test]
fn a_build_without_the_table_of_sockets_says_so_and_goes_on() {
    let mut server = Server::start("ping=tcp://127.0.0.1:0 -q");
    server.signal(Signal::SIGUSR2);
    assert!(server.log("SIGUSR2").starts_with("WARN"));
    server.dial("ping").ask("ping", "pong");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), Some(0));
}
