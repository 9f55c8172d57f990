//! Datagrams on loopback: answers, sizes, addresses, and what is never answered.

use std::net::SocketAddr;

use fake::Dice;
use nix::sys::signal::Signal;

use super::support::{DatagramClient, Forger, Namespace, Server};

const ALL: &str = "ping=udp://127.0.0.1:0 hello=udp://127.0.0.1:0 echo=udp://127.0.0.1:0";

/// Ports of services that answer anything.
const RESPONDERS: [u16; 14] = [7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 464, 1900, 5353, 11211];

#[test]
fn the_three_services_answer_over_both_families() {
    for host in ["127.0.0.1", "[::1]"] {
        let server = Server::start(&format!("ping=udp://{host}:0 hello=udp://{host}:0 echo=udp://{host}:0"));
        let client = |service| DatagramClient::udp(server.udp(service));
        let (ping, hello, echo) = (client("ping"), client("hello"), client("echo"));
        ping.ask("ping", "pong");
        ping.ask("PiNg 7 abc\r\n", "PoNg 7 abc\r\n");
        ping.ask("hello pdudo\n", "pong\n");
        ping.ask("a\nb", "pong");
        hello.ask("X", "Hello, X!");
        hello.ask("X\r\n", "Hello, X!\r\n");
        hello.ask("exit\n", "Hello, exit!\n");
        hello.ask(b"\0\xff", b"Hello, \0\xff!");
        echo.ask("pong\r\n", "pong\r\n");
        echo.ask(b"\0\xff", b"\0\xff");
        let stats = server.stats();
        assert_eq!((stats["datagrams_in"], stats["datagrams_out"], stats["messages"]), (10, 10, 10));
    }
}

#[test]
fn hello_answers_datagrams_without_thinking() {
    let server = Server::start("hello=udp://127.0.0.1:0 --delay 1h");
    DatagramClient::udp(server.udp("hello")).ask("X", "Hello, X!");
}

#[test]
fn each_client_gets_its_own_answers() {
    let server = Server::start(ALL);
    let clients: Vec<DatagramClient> = (0..50).map(|_| DatagramClient::udp(server.udp("ping"))).collect();
    for round in 0..20 {
        for (number, client) in clients.iter().enumerate() {
            client.say(format!("ping {number} {round}"));
        }
        for (number, client) in clients.iter().enumerate() {
            client.hears(format!("pong {number} {round}"));
        }
    }
}

#[test]
fn many_datagrams_at_once_are_all_answered_in_order() {
    let server = Server::start(ALL);
    let client = DatagramClient::udp(server.udp("ping"));
    server.freeze();
    (0..200).for_each(|n| client.say(format!("ping {n}")));
    server.thaw();
    (0..200).for_each(|n| client.hears(format!("pong {n}")));
}

#[test]
fn bursts_of_any_size_are_answered_whole_whatever_came_before() {
    let server = Server::start(ALL);
    let client = DatagramClient::udp(server.udp("ping"));
    for count in [1, 3, 4, 1, 5, 2, 31, 1, 32, 33, 1, 36, 3, 37, 1, 1, 4] {
        server.freeze();
        (0..count).for_each(|n| client.say(format!("ping {n}")));
        server.thaw();
        (0..count).for_each(|n| client.hears(format!("pong {n}")));
    }
}

#[test]
fn an_empty_datagram_is_echoed_and_greeted_and_not_ponged() {
    let server = Server::start(ALL);
    DatagramClient::udp(server.udp("echo")).ask("", "");
    DatagramClient::udp(server.udp("hello")).ask("", "Hello, !");
    let ping = DatagramClient::udp(server.udp("ping"));
    ping.say("");
    ping.ask("ping after", "pong after");
    assert_eq!(server.stats()["loop"], 1);
}

#[test]
fn the_largest_datagram_is_handled_whole() {
    let server = Server::start(&format!("{ALL} echo=udp://[::1]:0 echo=udp://0.0.0.0:0"));
    let noise = Dice::new(6).bytes(65_507);
    let echoes =
        server.stdout().into_iter().filter_map(|line| line.strip_prefix("listening echo udp://")?.parse().ok());
    let echoes: Vec<SocketAddr> = echoes.collect();
    assert_eq!(echoes.len(), 3);
    for address in echoes {
        let to = if address.ip().is_unspecified() { ([127, 0, 0, 1], address.port()).into() } else { address };
        DatagramClient::udp(to).ask(&noise, &noise);
    }
    let ping = [b"ping ", &noise[..65_502]].concat();
    let pong = [b"pong ", &noise[..65_502]].concat();
    DatagramClient::udp(server.udp("ping")).ask(ping, pong);
}

#[test]
fn an_answer_that_is_too_long_is_dropped_and_counted() {
    let server = Server::start(ALL);
    let hello = DatagramClient::udp(server.udp("hello"));
    hello.say(vec![b'x'; 65_507]);
    hello.say(vec![b'x'; 65_500]);
    hello.ask("X", "Hello, X!");
    let longest = "x".repeat(65_499);
    hello.ask(&longest, format!("Hello, {longest}!"));
    assert_eq!(server.stats()["dropped"], 2);
}

#[test]
fn a_wildcard_takes_both_families_and_answers_from_the_address_that_was_asked() {
    // The clients are connected: they hear an answer only from where they asked.
    let server = Server::start("echo=udp://[::]:0 ping=tcp://[::]:0");
    let port = server.udp("echo").port();
    for host in ["127.0.0.1", "127.0.0.2", "127.1.2.3", "[::1]"] {
        let to: SocketAddr = format!("{host}:{port}").parse().unwrap();
        DatagramClient::udp(to).ask(format!("to {to}"), format!("to {to}"));
    }
    let port = server.tcp("ping").port();
    for host in ["127.0.0.2", "[::1]"] {
        super::support::Client::tcp(format!("{host}:{port}").parse().unwrap()).ask("ping", "pong");
    }
    let server = Server::start("echo=udp://0.0.0.0:0");
    let port = server.udp("echo").port();
    let to = |host: &str| DatagramClient::udp(format!("{host}:{port}").parse().unwrap());
    let (first, second, third) = (to("127.0.0.1"), to("127.0.0.2"), to("127.1.2.3"));
    for round in 0..100 {
        first.say(format!("first {round}"));
        second.say(format!("second {round}"));
        third.say(format!("third {round}"));
        first.hears(format!("first {round}"));
        second.hears(format!("second {round}"));
        third.hears(format!("third {round}"));
    }
}

#[test]
fn an_answer_is_never_answered() {
    let server = Server::start(ALL);
    for service in ["ping", "hello"] {
        let client = DatagramClient::udp(server.udp(service));
        for answer in ["pong", "PONG 7\n", "pongpong", "Hello, X!", "hello, ", "Welcome!", "WELCOME!\n"] {
            client.say(answer);
        }
        client.say("ping last");
        client.hears(if service == "ping" { "pong last" } else { "Hello, ping last!" });
    }
    assert_eq!(server.stats()["loop"], 14);
    // Echo treats all bytes alike.
    let echo = DatagramClient::udp(server.udp("echo"));
    for answer in ["pong", "Hello, X!", "Welcome!"] {
        echo.ask(answer, answer);
    }
}

#[test]
fn a_source_port_that_this_process_serves_is_never_answered() {
    let server = Server::start(ALL);
    let services = ["ping", "hello", "echo"];
    let questions = ["ping", "ping 1\n", "x", ""];
    for (asked, answer) in services.into_iter().zip(["pong 2", "Hello, ping 2!", "ping 2"]) {
        for source in services {
            let forger =
                DatagramClient::udp_from(&format!("127.0.0.2:{}", server.udp(source).port()), server.udp(asked));
            questions.iter().for_each(|question| forger.say(question));
            // A socket answers in order: when this answer is there, the others would be too.
            DatagramClient::udp(server.udp(asked)).ask("ping 2", answer);
            assert!(forger.pending().is_empty(), "{asked} answers {source}'s port");
        }
    }
    let stats = server.stats();
    assert_eq!((stats["loop"], stats["datagrams_out"]), (9 * 4, 9));
}

#[test]
fn a_source_port_that_this_process_serves_on_tcp_alone_is_answered() {
    let server = Server::start("ping=tcp://127.0.0.1:0 echo=udp://127.0.0.1:0");
    let from = format!("127.0.0.1:{}", server.tcp("ping").port());
    DatagramClient::udp_from(&from, server.udp("echo")).ask("x", "x");
}

#[test]
fn forged_sources_set_no_two_services_of_this_process_talking() {
    let server = Server::start(ALL);
    let Some(forger) = Forger::at("127.0.0.1") else { return };
    let services = ["ping", "hello", "echo"];
    let openings = ["ping", "x", "", "pong", "Hello, X!", "Welcome!"];
    for asked in services {
        for source in services {
            for opening in openings {
                forger.send(server.udp(source).port(), server.udp(asked), opening.as_bytes());
            }
        }
    }
    let sent = 9 * openings.len() as u64;
    let stats = server.stats_once("all have arrived", |stats| stats["datagrams_in"] >= sent);
    assert_eq!((stats["datagrams_in"], stats["loop"], stats["datagrams_out"]), (sent, sent, 0));
    server.rests();
    assert_eq!(server.stats()["datagrams_in"], sent);
}

#[test]
fn forged_sources_set_no_two_processes_talking() {
    let servers = [Server::start(ALL), Server::start(ALL)];
    let Some(forger) = Forger::at("127.0.0.1") else { return };
    let services = ["ping", "hello", "echo"];
    let openings = ["ping", "ping 7\n", "x", "pong", "Hello, X!"];
    let mut forged = 0;
    for asked in services {
        for source in services {
            // Echo cannot tell another echo from a client: on loopback, where only root can forge, nothing stops them.
            if (asked, source) == ("echo", "echo") {
                continue;
            }
            for opening in openings {
                forger.send(servers[1].udp(source).port(), servers[0].udp(asked), opening.as_bytes());
                forged += 1;
            }
        }
    }
    servers[0].stats_once("all have arrived", |stats| stats["datagrams_in"] >= forged);
    for server in &servers {
        server.rests();
    }
    let [asked, named] = servers.each_ref().map(Server::stats);
    // Each forged datagram goes back and forth once at the most.
    assert!(asked["datagrams_in"] <= 2 * forged, "{asked:?}");
    assert!(named["datagrams_in"] <= forged, "{named:?}");
    assert!(asked["datagrams_out"] > 0 && asked["loop"] + named["loop"] > 0, "the forging did work");
}

#[test]
fn the_ports_of_known_responders_are_never_answered() {
    let Some(namespace) = Namespace::new() else { return };
    let server = namespace.serve(ALL);
    // Each from a host of its own: a port that was closed is taken for as long as a child that another thread has just
    // forked holds a copy of the socket.
    for (host, service) in [(3, "ping"), (4, "hello"), (5, "echo")] {
        let to = server.udp(service);
        let client = |port| namespace.within(|| DatagramClient::udp_from(&format!("127.0.0.{host}:{port}"), to));
        let responders = RESPONDERS.map(client);
        responders.iter().for_each(|responder| responder.say("ping 1"));
        let neighbour = client(20);
        neighbour.say("ping 2");
        assert!(neighbour.hear().ends_with(if service == "hello" { b" 2!" } else { b"g 2" }));
        assert!(responders.iter().all(|responder| responder.pending().is_empty()), "{service}");
    }
    assert_eq!(server.stats()["loop"], 3 * 14);
}

#[test]
fn source_port_zero_is_counted_and_harmless() {
    let server = Server::start(ALL);
    let Some(forger) = Forger::at("127.0.0.1") else { return };
    for service in ["ping", "hello", "echo"] {
        forger.send(0, server.udp(service), b"ping");
        forger.send(0, server.udp(service), b"");
        let answer = DatagramClient::udp(server.udp(service));
        answer.say("ping");
        answer.hear();
    }
    let stats = server.stats();
    assert_eq!((stats["loop"], stats["datagrams_out"], stats["dropped"]), (6, 3, 0));
}

#[test]
fn a_client_that_has_gone_leaves_no_trouble_behind() {
    let server = Server::start(&format!("{ALL} echo=udp://[::]:0"));
    for service in ["ping", "hello", "echo"] {
        let here = DatagramClient::udp(server.udp(service));
        for _ in 0..50 {
            // Its answer finds a closed port: ICMP reports that.
            DatagramClient::udp(server.udp(service)).say("ping");
            here.say("ping");
            here.hear();
        }
    }
    assert_eq!(server.stats()["datagrams_out"], 300);
}

#[test]
fn datagrams_that_the_kernel_had_no_room_for_are_counted() {
    for host in ["127.0.0.1", "0.0.0.0", "[::1]"] {
        let server = Server::start(&format!("ping=udp://{host}:0"));
        let to = SocketAddr::new(host.trim_matches(['[', ']']).parse().unwrap(), server.udp("ping").port());
        let to = if to.ip().is_unspecified() { ([127, 0, 0, 1], to.port()).into() } else { to };
        let client = DatagramClient::udp(to);
        server.freeze();
        // Twice the content of the largest receive buffer of an ordinary system.
        let (big, count) = (vec![b'x'; 60_000], 400);
        (0..count).for_each(|_| client.say(&big));
        server.thaw();
        let stats =
            server.stats_once("all are accounted for", |stats| stats["datagrams_in"] + stats["dropped"] >= count);
        assert_eq!(stats["datagrams_in"] + stats["dropped"], count, "{stats:?}");
        assert!(stats["dropped"] > 0 && stats["datagrams_in"] > 60, "{host}: {stats:?}");
        DatagramClient::udp(to).ask("ping after", "pong after");
    }
}

#[test]
fn loopback_has_no_budget() {
    let server = Server::start(&format!("{ALL} --udp-budget 1"));
    let echo = DatagramClient::udp(server.udp("echo"));
    (0..500).for_each(|n| echo.ask(format!("{n}"), format!("{n}")));
    assert_eq!(server.stats()["budget"], 0);
}

#[test]
fn only_a_datagram_service_that_others_can_reach_is_warned_about() {
    let exposed =
        "ping=udp://0.0.0.0:0 hello=udp://[::]:0 echo=tcp://0.0.0.0:0 echo=udp://127.0.0.1:0 echo=udp://[::1]:0";
    let mut server = Server::start(&format!("-q {exposed}"));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), Some(0));
    let log = server.stderr_all();
    for service in ["ping", "hello"] {
        let named = log.iter().filter(|line| line.contains(server.endpoint(service, "udp"))).count();
        assert_eq!(named, 1, "{log:#?}");
    }
    assert_eq!(log.len(), 2, "{log:#?}");
}
