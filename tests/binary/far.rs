//! Peers on another host, played by a second network namespace: the datagram budget, and cables that are cut.

use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Instant;

use nix::net::if_::if_nametoindex;

use super::support::{Client, DatagramClient, Namespace, PATIENCE};

/// Both addresses of the server's end, in the client's address family.
const ENDS: [(&str, [&str; 2]); 2] =
    [("10.77.0.2:0", ["10.77.0.1", "10.77.0.3"]), ("[fd77::2]:0", ["[fd77::1]", "[fd77::3]"])];

#[test]
fn answers_to_another_host_are_limited_and_proper_pings_are_not() {
    let Some((here, there)) = Namespace::pair() else { return };
    for service in ["ping", "hello", "echo"] {
        let mut server = here.serve(&format!("{service}=udp://10.77.0.1:0 --udp-budget 20/s"));
        let to = server.udp(service);
        let client = there.within(|| DatagramClient::udp_from("10.77.0.2:0", to));
        let began = Instant::now();
        (0..400).for_each(|_| client.say("x"));
        server.stats_once("all have arrived", |stats| stats["datagrams_in"] == 400);
        let most = 20 + (began.elapsed().as_secs_f64() * 20.0) as usize + 1;
        let answers = client.pending().len();
        assert!((20..=most).contains(&answers), "{service}: {answers} answers, at most {most} are due");
        assert_eq!(server.stats()["budget"], 400 - answers as u64);

        let pings = 100;
        (0..pings).for_each(|n| client.say(format!("ping {n}")));
        let stats = server.stats_once("all have arrived", |stats| stats["datagrams_in"] == 400 + pings);
        match service {
            "ping" => (0..pings).for_each(|n| client.hears(format!("pong {n}"))),
            _ => assert!(stats["budget"] > 400 - answers as u64, "{service} has no proper pings: {stats:?}"),
        }
        server.stop();
        let log = server.stderr_all();
        let warnings: Vec<_> = log.iter().filter(|line| line.contains("--udp-budget")).collect();
        // One at the start names what is exposed; then one for hundreds of datagrams.
        assert_eq!(warnings.len(), 2, "{log:#?}");
        assert!(warnings[0].contains(&to.to_string()), "{log:#?}");
        assert!(warnings[1].starts_with("WARN") && warnings[1].contains("10.77.0.2"), "{log:#?}");
    }
}

#[test]
fn the_budget_comes_back_with_time() {
    let Some((here, there)) = Namespace::pair() else { return };
    let server = here.serve("echo=udp://10.77.0.1:0 --udp-budget 10/s");
    let to = server.udp("echo");
    let client = there.within(|| DatagramClient::udp_from("10.77.0.2:0", to));
    (0..100).for_each(|_| client.say("x"));
    server.stats_once("it is used up", |stats| stats["budget"] > 0);
    client.pending();
    super::support::eventually("an answer again", || {
        client.say("y");
        client.pending().contains(&b"y".to_vec()).then_some(())
    });
}

#[test]
fn each_source_has_a_budget_of_its_own() {
    let Some((here, there)) = Namespace::pair() else { return };
    there.ip("address add 10.77.0.4/24 dev wire");
    there.ip("address add fd77::4/64 dev wire nodad");
    let server = here.serve("echo=udp://10.77.0.1:0 echo=udp://[fd77::1]:0 --udp-budget 5/s");
    let v6 = server.stdout()[1].strip_prefix("listening echo udp://").unwrap().parse().unwrap();
    let answers = |local: &str, to| {
        let client = there.within(|| DatagramClient::udp_from(local, to));
        let before = server.stats()["datagrams_in"];
        (0..5).for_each(|_| client.say("x"));
        server.stats_once("all have arrived", |stats| stats["datagrams_in"] == before + 5);
        client.pending().len()
    };
    let v4 = server.udp("echo");
    assert_eq!(answers("10.77.0.2:0", v4), 5);
    assert!(answers("10.77.0.2:0", v4) < 5, "another port is no other source");
    assert_eq!(answers("10.77.0.4:0", v4), 5);
    assert_eq!(answers("[fd77::2]:0", v6), 5);
    assert!(answers("[fd77::4]:0", v6) < 5, "a /64 is one source");
}

#[test]
fn the_budget_is_a_hundred_a_second_unless_told_otherwise_and_none_lifts_it() {
    let Some((here, there)) = Namespace::pair() else { return };
    for (options, most) in [("", 100), ("--udp-budget none", 150)] {
        let server = here.serve(&format!("echo=udp://10.77.0.1:0 {options}"));
        let to = server.udp("echo");
        let client = there.within(|| DatagramClient::udp_from("10.77.0.2:0", to));
        // All in one turn: no time passes for the budget.
        server.freeze();
        (0..150).for_each(|_| client.say("x"));
        server.thaw();
        let stats = server.stats_once("all have arrived", |stats| stats["datagrams_in"] == 150);
        let answers = client.pending().len() as u64;
        assert!((most..most + 30).contains(&answers), "{options}: {answers}");
        assert_eq!(stats["budget"], 150 - answers);
    }
}

#[test]
fn a_wildcard_answers_from_the_address_that_was_asked_over_a_wire_too() {
    let Some((here, there)) = Namespace::pair() else { return };
    for host in ["0.0.0.0", "[::]"] {
        let server = here.serve(&format!("echo=udp://{host}:0 ping=udp://{host}:0"));
        for (local, asked) in ENDS.iter().take(if host == "[::]" { 2 } else { 1 }) {
            for address in asked {
                let to = |service| format!("{address}:{}", server.udp(service).port()).parse().unwrap();
                let (echo, ping) = there.within(|| {
                    (DatagramClient::udp_from(local, to("echo")), DatagramClient::udp_from(local, to("ping")))
                });
                echo.ask("where from?", "where from?");
                ping.ask("ping 1", "pong 1");
            }
        }
    }
}

/// Addresses that the server's end gets once a server is there, in the order of [`ENDS`].
const NEW: [(&str, &str); 2] = [("10.77.0.9", "10.77.0.9/24"), ("[fd77::9]", "fd77::9/64 nodad")];

#[test]
fn bursts_are_answered_whole_from_the_address_that_was_asked_however_new_it_is_and_however_long_they_are() {
    let Some((here, there)) = Namespace::pair() else { return };
    for host in ["10.77.0.1", "0.0.0.0", "[fd77::1]", "[::]"] {
        let server = here.serve(&format!("echo=udp://{host}:0 --udp-budget none"));
        let is_wildcard = ["0.0.0.0", "[::]"].contains(&host);
        let is_served = |local: &str| host == "[::]" || local.starts_with('[') == host.starts_with('[');
        for ((local, old), (new, added)) in ENDS.iter().zip(NEW).filter(|((local, _), _)| is_served(local)) {
            let (address, flags) = added.split_once(' ').unwrap_or((added, ""));
            here.ip(&format!("address add {address} dev wire {flags}"));
            for asked in if is_wildcard { vec![old[0], old[1], new] } else { vec![old[0]] } {
                let to = format!("{asked}:{}", server.udp("echo").port()).parse().unwrap();
                let client = there.within(|| DatagramClient::udp_from(local, to));
                // Those that do not fit into a packet of the wire (1,500 bytes) leave in fragments, and so alone.
                for length in [8, 1400, 1480, 4000, 9] {
                    let texts: Vec<String> = (0..10).map(|number| format!("{number:length$}")).collect();
                    server.freeze();
                    texts.iter().for_each(|text| client.say(text));
                    server.thaw();
                    texts.iter().for_each(|text| client.hears(text));
                }
            }
            here.ip(&format!("address del {address} dev wire"));
        }
        let stats = server.stats();
        assert_eq!((stats["datagrams_in"], stats["dropped"]), (stats["datagrams_out"], 0), "{host}");
    }
}

#[test]
fn a_link_local_address_answers_a_global_source_over_the_same_wire() {
    let Some((here, there)) = Namespace::pair() else { return };
    here.ip("address add fe80::77/64 dev wire nodad");
    let server = here.serve("echo=udp://[::]:0");
    let client = there.within(|| {
        let wire = if_nametoindex("wire").expect("our end of the wire");
        let to = format!("[fe80::77%{wire}]:{}", server.udp("echo").port());
        DatagramClient::udp_from("[fd77::2]:0", to.parse().unwrap())
    });
    client.ask("who is there?", "who is there?");
    assert_eq!(server.stats()["dropped"], 0);
}

#[test]
fn a_question_to_all_hosts_is_answered_from_an_address_of_ours_within_the_budget() {
    let Some((here, there)) = Namespace::pair() else { return };
    for (local, hosts, all) in [
        ("10.77.0.2:0", ["0.0.0.0", "[::]"], ["10.77.0.255", "255.255.255.255"]),
        ("[fd77::2]:0", ["[::]", "[::]"], ["ff02::1", "ff02::1"]),
    ] {
        for (host, all) in hosts.into_iter().flat_map(|host| all.map(|all| (host, all))) {
            let server = here.serve(&format!("ping=udp://{host}:0 --udp-budget 3/s"));
            let (client, to) = there.within(|| {
                let wire = if_nametoindex("wire").expect("our end of the wire");
                let client = UdpSocket::bind(local).unwrap();
                client.set_read_timeout(Some(PATIENCE)).unwrap();
                client.set_broadcast(true).unwrap();
                let to: SocketAddr = match all.parse().unwrap() {
                    IpAddr::V4(all) => (all, server.udp("ping").port()).into(),
                    IpAddr::V6(all) => SocketAddrV6::new(all, server.udp("ping").port(), 0, wire).into(),
                };
                (client, to)
            });
            // All in one turn: no time passes for the budget.
            server.freeze();
            (0..20).for_each(|_| assert_eq!(client.send_to(b"ping 1", to).unwrap(), 6));
            server.thaw();
            let mut heard = [0; 16];
            let (count, from): (usize, SocketAddr) = client.recv_from(&mut heard).unwrap();
            assert_eq!(&heard[..count], b"pong 1", "{host} asked at {all}");
            assert!(ENDS.iter().any(|(_, ours)| ours.iter().any(|host| from.to_string().starts_with(host))), "{from}");
            let stats = server.stats_once("all have arrived", |stats| stats["datagrams_in"] == 20);
            assert_eq!((stats["datagrams_out"], stats["budget"], stats["dropped"]), (3, 17, 0), "{all}");
        }
    }
}

#[test]
fn another_hosts_port_that_we_serve_too_gets_answers_to_proper_pings_only() {
    let Some((here, there)) = Namespace::pair() else { return };
    let server = here.serve("ping=udp://10.77.0.1:0 echo=udp://10.77.0.1:0");
    let (ping, echo) = (server.udp("ping"), server.udp("echo"));
    let local = |port| format!("10.77.0.2:{port}");
    let (to_ping, to_echo) = there.within(|| {
        (DatagramClient::udp_from(&local(echo.port()), ping), DatagramClient::udp_from(&local(ping.port()), echo))
    });
    to_ping.say("x");
    to_ping.say("pingpong");
    to_ping.ask("ping 1", "pong 1");
    to_echo.say("x");
    to_echo.say("ping 1");
    let stats = server.stats_once("all have arrived", |stats| stats["datagrams_in"] == 5);
    assert_eq!((stats["loop"], stats["datagrams_out"]), (4, 1));
    assert!(to_echo.pending().is_empty() && to_ping.pending().is_empty());
}

#[test]
fn a_peer_that_vanished_is_closed_by_the_idle_timeout_and_holds_nobody_up() {
    let Some((here, there)) = Namespace::pair() else { return };
    let server = here.serve("ping=tcp://0.0.0.0:0 --idle-timeout 300ms -v");
    let port = server.tcp("ping").port();
    let mut vanished = there.within(|| Client::tcp(format!("10.77.0.1:{port}").parse().unwrap()));
    vanished.ask("ping\n", "pong\n");
    there.ip("link set wire down");
    drop(vanished);
    let mut near = here.within(|| Client::tcp(format!("127.0.0.1:{port}").parse().unwrap()));
    super::support::eventually("it is closed", || {
        near.ask("ping\n", "pong\n");
        (server.stats()["idle"] > 0).then_some(())
    });
    let stats = server.stats();
    assert_eq!((stats["idle"], stats["open"]), (1, 1));
}

#[test]
fn a_peer_that_vanished_with_answers_unread_is_closed_by_the_stall_timeout() {
    let Some((here, there)) = Namespace::pair() else { return };
    let server = here.serve("echo=tcp://10.77.0.1:0 --stall-timeout 800ms");
    let to = server.tcp("echo");
    let mut vanished = there.within(|| Client::tcp(to));
    vanished.stuff(&[b'x'; 1 << 16], 64 << 20);
    there.ip("link set wire down");
    let stats = server.stats_once("it is given up", |stats| stats["open"] == 0);
    assert_eq!(stats["stall"], 1);
}
