//! Shutting down: owed answers are given; signals, deadlines and exit codes; the same through `Handle`.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use fake::Dice;
use nix::sys::signal::Signal;
use pingpong::service::{Framing, Hello, Ping, Service};
use pingpong::{CloseReason, Ending, Limits, Reactor};

use super::support::{Client, DatagramClient, Folder, Namespace, PATIENCE, Server};

const HELLO: &str = "hello=tcp://127.0.0.1:0";
const PING: &str = "ping=tcp://127.0.0.1:0";

#[test]
fn a_thousand_delayed_hellos_are_all_given_before_the_end() {
    super::support::raise_descriptor_limit();
    let mut server = Server::start(&format!("{HELLO} --delay 1500ms"));
    let mut clients: Vec<Client> = (0..1000).map(|_| server.dial("hello")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.ask(format!("client {number:04}\n"), "Welcome!");
    }
    server.stats_once("all have been heard", |stats| stats["bytes_in"] == 12_000);
    server.signal(Signal::SIGTERM);
    for (number, client) in clients.iter_mut().enumerate() {
        client.hears(format!("Hello, client {number:04}!\n"));
        client.hears_end();
    }
    drop(clients);
    assert_eq!(server.exit_code(), Some(0));
    let stats = server.final_stats();
    assert_eq!((stats["messages"], stats["open"], stats["shutdown"]), (1000, 0, 1000));
}

#[test]
fn all_that_a_client_has_asked_before_is_answered_however_long_it_takes() {
    let mut server = Server::start(&format!("{HELLO} --delay 50ms"));
    let mut client = server.dial("hello");
    client.ask("1\n2\n3\n4\n5\n", "Welcome!");
    server.stats_once("it has been heard", |stats| stats["bytes_in"] == 10);
    server.signal(Signal::SIGTERM);
    let heard = String::from_utf8(client.rest()).unwrap();
    assert_eq!(heard, "Hello, 1!\nHello, 2!\nHello, 3!\nHello, 4!\nHello, 5!\n");
    drop(client);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn what_had_arrived_and_was_not_read_yet_is_answered_too() {
    let folder = Folder::new();
    let place = folder.file("hello");
    let mut server = Server::start(&format!("{HELLO} hello=unix://{} --delay 50ms", place.display()));
    let mut clients = [server.dial("hello"), Client::unix(&place)];
    clients.iter_mut().for_each(|client| client.ask("1\n", "Welcome!"));
    // While hello thinks about the first message it reads no more.
    server.stats_once("they have been heard", |stats| stats["bytes_in"] == 4);
    server.freeze();
    for client in &mut clients {
        client.say("2\n3\n");
        client.finish();
    }
    server.signal(Signal::SIGTERM);
    server.thaw();
    for client in &mut clients {
        assert_eq!(client.rest(), b"Hello, 1!\nHello, 2!\nHello, 3!\n");
    }
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn either_signal_drains_and_exits_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start(&format!("{HELLO} --delay 50ms"));
        let mut client = server.dial("hello");
        client.ask("X", "Welcome!");
        server.stats_once("it has been heard", |stats| stats["bytes_in"] == 1);
        server.signal(signal);
        client.hears("Hello, X!");
        client.hears_end();
        drop(client);
        assert_eq!(server.exit_code(), Some(0));
    }
}

#[test]
fn a_second_signal_stops_at_once_with_its_own_code() {
    for (first, second, code) in [
        (Signal::SIGTERM, Signal::SIGINT, 130),
        (Signal::SIGINT, Signal::SIGTERM, 143),
        (Signal::SIGTERM, Signal::SIGTERM, 143),
        (Signal::SIGINT, Signal::SIGINT, 130),
    ] {
        let mut server = Server::start(&format!("{HELLO} --delay 1h --drain 1h"));
        let mut client = server.dial("hello");
        client.ask("X", "Welcome!");
        server.stats_once("it has been heard", |stats| stats["bytes_in"] == 1);
        server.signal(first);
        server.log("shutting down");
        server.signal(second);
        assert_eq!(server.exit_code(), Some(code), "{first} {second}");
    }
}

#[test]
fn the_drain_has_a_deadline_and_says_so() {
    let mut server = Server::start(&format!("{HELLO} --delay 1h --drain 100ms"));
    let mut client = server.dial("hello");
    client.ask("X", "Welcome!");
    server.stats_once("it has been heard", |stats| stats["bytes_in"] == 1);
    let began = Instant::now();
    let stats = server.stop();
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(stats["shutdown"], 1);
    client.hears_end();
    let log = server.stderr_all();
    assert!(log.iter().any(|line| line.starts_with("WARN") && line.contains("drain")), "{log:#?}");
}

#[test]
fn what_the_backlog_holds_is_accepted_and_answered() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let mut server = Server::start(&format!("{PING} {HELLO} ping=unix://{} --delay 20ms", place.display()));
    server.freeze();
    let mut pings: Vec<Client> = (0..100).map(|_| server.dial("ping")).collect();
    pings.extend((0..100).map(|_| Client::unix(&place)));
    let mut hellos: Vec<Client> = (0..100).map(|_| server.dial("hello")).collect();
    let mut silent = server.dial("ping");
    for client in &mut pings {
        client.say("ping 1\nping 2\n");
    }
    for client in &mut hellos {
        client.say("X");
    }
    server.signal(Signal::SIGTERM);
    server.thaw();
    for client in &mut pings {
        client.hears("pong 1\npong 2\n");
        client.hears_end();
    }
    for client in &mut hellos {
        client.hears("Welcome!Hello, X!");
        client.hears_end();
    }
    silent.hears_end();
    drop((pings, hellos, silent));
    assert_eq!(server.exit_code(), Some(0));
    let stats = server.final_stats();
    assert_eq!((stats["accepted"], stats["messages"], stats["reset"]), (301, 500, 0));
}

#[test]
fn datagrams_that_have_arrived_are_answered() {
    let mut server = Server::start("ping=udp://127.0.0.1:0 echo=udp://0.0.0.0:0");
    let clients = [server.udp("ping"), ([127, 0, 0, 1], server.udp("echo").port()).into()].map(DatagramClient::udp);
    server.freeze();
    for client in &clients {
        (0..150).for_each(|n| client.say(format!("ping {n}")));
    }
    server.signal(Signal::SIGTERM);
    server.thaw();
    (0..150).for_each(|n| clients[0].hears(format!("pong {n}")));
    (0..150).for_each(|n| clients[1].hears(format!("ping {n}")));
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(server.final_stats()["datagrams_out"], 300);
}

#[test]
fn idle_connections_get_an_orderly_end() {
    let mut server = Server::start(&format!("{PING} {HELLO} echo=tcp://127.0.0.1:0 --framing line"));
    let mut clients = ["ping", "echo", "ping"].map(|service| server.dial(service));
    clients[0].ask("ping\n", "pong\n");
    clients[1].ask("x\n", "x\n");
    server.signal(Signal::SIGTERM);
    clients.iter_mut().for_each(Client::hears_end);
    drop(clients);
    assert_eq!(server.exit_code(), Some(0));
    let stats = server.final_stats();
    assert_eq!((stats["shutdown"], stats["open"], stats["reset"]), (3, 0, 0));
}

#[test]
fn while_draining_nobody_is_let_in() {
    let mut server = Server::start(&format!("{HELLO} {PING} --delay 300ms"));
    let mut client = server.dial("hello");
    client.ask("X\n", "Welcome!");
    server.stats_once("it has been heard", |stats| stats["bytes_in"] == 2);
    server.signal(Signal::SIGTERM);
    server.log("shutting down");
    server.stats();
    let refused = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    assert!(refused.connect(&server.tcp("ping").into()).is_err());
    client.hears("Hello, X!\n");
    client.hears_end();
    drop(client);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn what_arrives_while_draining_is_not_read() {
    let mut server = Server::start(&format!("{HELLO} --delay 300ms"));
    let mut client = server.dial("hello");
    client.ask("X\n", "Welcome!");
    server.stats_once("it has been heard", |stats| stats["bytes_in"] == 2);
    server.signal(Signal::SIGTERM);
    server.log("shutting down");
    server.stats();
    client.say("Y\n");
    assert_eq!(client.rest(), b"Hello, X!\n");
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(server.final_stats()["messages"], 1);
}

#[test]
fn endless_questions_do_not_keep_the_drain_from_ending() {
    let mut server = Server::start(&format!("{HELLO} {PING} --delay 20ms --drain 1h"));
    let mut client = server.dial("hello");
    client.ask("0\n", "Welcome!");
    server.stats_once("it has been heard", |stats| stats["bytes_in"] == 2);
    server.signal(Signal::SIGTERM);
    // The client asks again whenever it is answered; soon it is not.
    for number in 0.. {
        assert!(number < 10, "it is answered for ever");
        let _ = client.socket().send(format!("{}\n", number + 1).as_bytes());
        let answer = format!("Hello, {number}!\n");
        let mut heard = vec![0; answer.len()];
        if std::io::Read::read_exact(&mut client.socket(), &mut heard).is_err() {
            break;
        }
        assert_eq!(heard, answer.as_bytes());
    }
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn an_echo_under_way_is_finished_with_what_had_been_taken_in() {
    let mut server = Server::start("echo=tcp://127.0.0.1:0");
    let mut client = server.dial("echo");
    let noise = Dice::new(7).bytes(1 << 16);
    let sent = client.stuff(&noise, 256 << 20);
    let before = server.stats();
    assert!(before["bytes_out"] < before["bytes_in"], "it owes something");
    server.signal(Signal::SIGTERM);
    server.log("shutting down");
    let heard = client.rest();
    assert!(heard.len() <= sent && heard.iter().zip(noise.iter().cycle()).all(|(one, other)| one == other));
    assert!(heard.len() as u64 >= before["bytes_in"], "{} bytes, {before:?}", heard.len());
    drop(client);
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(server.final_stats()["bytes_out"], heard.len() as u64);
}

#[test]
fn sigpipe_does_not_kill() {
    let server = Server::start(PING);
    server.signal(Signal::SIGPIPE);
    server.dial("ping").ask("ping", "pong");
}

#[test]
fn the_counters_tell_what_happened() {
    let mut server = Server::start(
        "ping=tcp://127.0.0.1:0 ping=udp://127.0.0.1:0 hello=tcp://127.0.0.1:0 --delay 0s --max-message 10",
    );
    let mut open = server.dial("ping");
    open.ask("ping 1\nx\n", "pong 1\npong\n");
    let mut finished = server.dial("ping");
    finished.ask("ping", "pong");
    finished.finish();
    finished.hears_end();
    let mut left = server.dial("hello");
    left.ask("exit", "Welcome!");
    left.hears_end();
    let mut long = server.dial("ping");
    long.ask("ping\n12345678901\n", "pong\n");
    long.hears_end();
    drop(long);
    let broken = server.dial("hello");
    server.stats_once("five have come", |stats| stats["accepted"] == 5);
    broken.reset();
    DatagramClient::udp(server.udp("ping")).ask("ping", "pong");
    let gram = DatagramClient::udp(server.udp("ping"));
    gram.say("pong");
    gram.ask("ping", "pong");

    let running = server.stats_once("all is quiet", |stats| stats["open"] == 1);
    for (key, count) in [
        ("accepted", 5),
        // Four pings and the exit over streams, two datagrams.
        ("messages", 7),
        ("bytes_in", 9 + 4 + 4 + 17),
        ("bytes_out", 12 + 4 + 8 + 5 + 8),
        ("datagrams_in", 3),
        ("datagrams_out", 2),
        ("peer", 1),
        ("service", 1),
        ("idle", 0),
        ("stall", 0),
        ("overflow", 1),
        ("limit", 0),
        ("reset", 1),
        ("shutdown", 0),
        ("loop", 1),
        ("budget", 0),
        ("dropped", 0),
        ("log_lost", 0),
    ] {
        assert_eq!(running[key], count, "{key}: {running:?}");
    }
    server.signal(Signal::SIGTERM);
    open.hears_end();
    drop(open);
    assert_eq!(server.exit_code(), Some(0));
    let ended = server.final_stats();
    assert_eq!((ended["open"], ended["shutdown"], ended["messages"]), (0, 1, 7));
}

#[test]
fn once_ends_with_the_first_connection_accepted() {
    let mut server = Server::start(&format!("{PING} {HELLO} ping=udp://127.0.0.1:0 --once --delay 50ms"));
    let datagrams = DatagramClient::udp(server.udp("ping"));
    datagrams.ask("ping", "pong");
    let mut first = server.dial("ping");
    first.ask("ping", "pong");
    let mut second = server.dial("hello");
    second.ask("1\n2\n", "Welcome!");
    // Only the first connection's end counts, not another one's.
    let mut third = server.dial("ping");
    third.ask("ping", "pong");
    third.finish();
    third.hears_end();
    first.ask("ping", "pong");
    datagrams.ask("ping", "pong");

    server.stats_once("the questions have been heard", |stats| stats["bytes_in"] == 4 + 4 + 4 + 4);
    first.finish();
    first.hears_end();
    assert_eq!(second.rest(), b"Hello, 1!\nHello, 2!\n");
    drop(second);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn once_ends_also_when_the_first_breaks_off() {
    let mut server = Server::start(&format!("{PING} ping=udp://127.0.0.1:0 --once --drain 1h"));
    let mut client = server.dial("ping");
    client.ask("ping", "pong");
    client.reset();
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(server.final_stats()["accepted"], 1);
}

#[test]
fn once_ends_at_once_when_nothing_is_left() {
    let mut server = Server::start(&format!("{PING} --once --drain 1h"));
    let mut client = server.dial("ping");
    client.ask("ping", "pong");
    client.finish();
    client.hears_end();
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_handle_shuts_down_from_another_thread_and_tells_the_counters() {
    let (sender, receiver) = channel();
    let server = thread::spawn(move || {
        let mut reactor = Reactor::<Box<dyn Service>>::new(Limits::default()).unwrap();
        let hello = reactor.add("hello", Box::new(Hello::new(Framing::Auto, Duration::from_millis(100))));
        let ping = reactor.add("ping", Box::new(Ping::default()));
        let bound = [hello, ping].map(|id| reactor.listen(id, &"tcp://127.0.0.1:0".parse().unwrap()).unwrap());
        sender.send((reactor.handle(), bound.map(|bound| bound[0].to_string()))).unwrap();
        let ending = reactor.run().unwrap();
        (ending, reactor.stats())
    });
    let (handle, [hello, ping]) = receiver.recv_timeout(PATIENCE).unwrap();
    let dial = |endpoint: &str| Client::tcp(endpoint["tcp://".len()..].parse().unwrap());

    let mut waiting = dial(&hello);
    waiting.ask("X\n", "Welcome!");
    let mut idle = dial(&ping);
    idle.ask("ping 1\n", "pong 1\n");
    let stats = handle.stats().expect("it runs");
    assert_eq!((stats.accepted, stats.open(), stats.closes(CloseReason::Shutdown)), (2, 2, 0));

    handle.shutdown();
    waiting.hears("Hello, X!\n");
    waiting.hears_end();
    idle.hears_end();
    drop((waiting, idle));
    let (ending, stats) = server.join().unwrap();
    assert_eq!(ending, Ending::Drained);
    assert_eq!((stats.messages, stats.open(), stats.closes(CloseReason::Shutdown)), (2, 0, 2));
    // The server has gone.
    handle.shutdown();
    assert_eq!(handle.stats(), None);
}

#[test]
fn a_name_that_is_looked_up_does_not_keep_the_server_from_ending() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.configure("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30\n");
    // A name server that does not answer.
    let resolver = namespace.within(|| std::net::UdpSocket::bind("127.0.0.1:53")).unwrap();
    resolver.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = namespace.launch("serve ping=tcp://nowhere.test:0").spawn();
    resolver.recv(&mut [0; 512]).expect("the server asks");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), None, "the signal has killed it");
}
