//! Limits: connections, addresses, time, descriptors; and that a closed connection leaves nothing behind.

use std::io::Write;
use std::net::Shutdown;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::{Client, DatagramClient, Launch, Server, Strace, eventually, pass, tool};

const PING: &str = "ping=tcp://127.0.0.1:0";
const HELLO: &str = "hello=tcp://127.0.0.1:0";
const ECHO: &str = "echo=tcp://127.0.0.1:0";

#[test]
fn beyond_max_connections_the_next_one_waits_until_another_closes() {
    let server = Server::start(&format!("{PING} {ECHO} --max-connections 10"));
    let mut clients: Vec<Client> = (0..10).map(|_| server.dial("ping")).collect();
    clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    let mut waiting = [server.dial("ping"), server.dial("ping"), server.dial("echo")];
    waiting.iter_mut().for_each(|client| client.say("ping"));
    // The others are served meanwhile, again and again.
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    }
    waiting.iter().for_each(Client::has_heard_nothing);
    let stats = server.stats();
    assert_eq!((stats["open"], stats["accepted"]), (10, 10));
    server.rests();

    for (number, mut client) in waiting.into_iter().enumerate() {
        drop(clients.pop());
        client.hears(if number < 2 { "pong" } else { "ping" });
        clients.push(client);
    }
    assert_eq!(server.stats_once("one for one", |stats| stats["peer"] == 3)["open"], 10);
}

#[test]
fn more_connections_than_descriptors_allow_are_clamped_with_a_warning() {
    let server =
        Launch::shell("ulimit -n 60; exec \"$0\" \"$@\"", &format!("serve {PING} --max-connections 10k")).start();
    let warning = server.log("--max-connections");
    assert!(warning.starts_with("WARN") && warning.contains("10000") && warning.contains("60"), "{warning}");
    // The warning names the number that holds: the next connection waits, and no descriptor is ever missing.
    let said = warning.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    let allowed: usize = said.filter(|count| *count < 60).max().expect("a number");
    let mut clients: Vec<Client> = (0..allowed).map(|_| server.dial("ping")).collect();
    clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    let mut next = server.dial("ping");
    next.say("ping");
    clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    next.has_heard_nothing();
    drop(clients.pop());
    next.hears("pong");
    let warnings: Vec<String> = server.stderr().into_iter().filter(|line| line.starts_with("WARN")).collect();
    assert!(warnings.len() == 2 && warnings[1].contains("as many as may be"), "{warnings:?}");
}

#[test]
fn beyond_max_per_ip_a_new_connection_is_closed_at_once() {
    let server = Server::start(&format!("{PING} --max-per-ip 2"));
    let dial = |from| Client::tcp_from(from, server.tcp("ping"));
    let mut clients = [dial("127.0.0.1"), dial("127.0.0.1")];
    clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    dial("127.0.0.1").hears_end();
    dial("127.0.0.2").ask("ping", "pong");
    assert_eq!(server.stats()["limit"], 1);
    clients[0].ask("ping", "pong");

    let [first, _second] = clients;
    drop(first);
    server.stats_once("it has left", |stats| stats["open"] == 1);
    dial("127.0.0.1").ask("ping", "pong");
    let stats = server.stats_once("the guests have left", |stats| stats["open"] == 1);
    assert_eq!((stats["limit"], stats["accepted"], stats["peer"]), (1, 5, 3));
}

#[test]
fn one_crowd_counts_whatever_the_listener() {
    let server = Server::start("ping=tcp://127.0.0.1:0 echo=tcp://[::]:0 --max-per-ip 1");
    let port = server.tcp("echo").port();
    let mut first = server.dial("ping");
    first.ask("ping", "pong");
    // An IPv4 address over a dual-stack socket is the same address; [::1] is another.
    Client::tcp(([127, 0, 0, 1], port).into()).hears_end();
    Client::tcp(format!("[::1]:{port}").parse().unwrap()).ask("x", "x");
    assert_eq!(server.stats()["limit"], 1);
}

#[test]
fn the_idle_timeout_closes_the_silent_and_not_the_active() {
    let server = Server::start(&format!("{PING} --idle-timeout 400ms"));
    let mut active = server.dial("ping");
    let mut silent = server.dial("ping");
    silent.ask("ping\n", "pong\n");
    // A half line does not keep it open.
    silent.say("pi");
    eventually("the silent one is closed", || {
        active.ask("ping\n", "pong\n");
        (server.stats()["idle"] > 0).then_some(())
    });
    silent.hears_end();
    active.ask("ping\n", "pong\n");
    assert_eq!(server.stats()["open"], 1);
    // When it falls silent too it is closed in time, without an event to wake the server.
    let began = Instant::now();
    active.ask("ping\n", "pong\n");
    active.hears_end();
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(server.stats_once("both have gone", |stats| stats["open"] == 0)["idle"], 2);
}

#[test]
fn a_connection_that_is_owed_an_answer_is_not_idle() {
    let server = Server::start(&format!("{HELLO} --delay 700ms --idle-timeout 100ms"));
    let mut owed = server.dial("hello");
    owed.ask("X\n", "Welcome!");
    let mut silent = server.dial("hello");
    silent.hears("Welcome!");
    silent.hears_end();
    owed.has_heard_nothing();
    owed.hears("Hello, X!\n");
    owed.hears_end();
    assert_eq!(server.stats_once("both have gone", |stats| stats["open"] == 0)["idle"], 2);
}

#[test]
fn the_stall_timeout_closes_a_client_that_never_reads_and_others_are_served_meanwhile() {
    let server = Server::start(&format!("{PING} {ECHO} --stall-timeout 800ms"));
    let mut stalled = [server.dial("echo"), server.dial("ping")];
    let mut other = server.dial("ping");
    for client in &mut stalled {
        assert!(client.stuff(&b"x\n".repeat(1 << 15), 256 << 20) < 256 << 20);
        other.ask("ping\n", "pong\n");
    }
    eventually("both are closed", || {
        other.ask("ping\n", "pong\n");
        (server.stats()["stall"] == 2).then_some(())
    });
    let stats = server.stats();
    assert_eq!((stats["open"], stats["stall"]), (1, 2));
}

#[test]
fn a_slow_reader_that_makes_progress_has_not_stalled() {
    let server = Server::start(&format!("{ECHO} --stall-timeout 500ms"));
    let (mut slow, began) = (server.dial("echo"), Instant::now());
    let mut writer = slow.socket().try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&vec![b'x'; 16 << 20]).unwrap());
        for _ in 0..320 {
            slow.hear((16 << 20) / 320);
            pass(Duration::from_millis(5));
        }
    });
    assert!(began.elapsed() >= Duration::from_millis(1500), "it took several times the timeout");
    slow.ask("y", "x".repeat((16 << 20) % 320) + "y");
    assert_eq!(server.stats()["stall"], 0);
}

/// Ends a flood when dropped, also by a panic.
struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

#[test]
fn a_flood_from_one_side_starves_nobody() {
    let server = Server::start(&format!("{PING} {ECHO} {HELLO} ping=udp://127.0.0.1:0 --delay 20ms"));
    let flooding = AtomicBool::new(true);
    let flooding = &flooding;
    thread::scope(|scope| {
        let _end = EndOf(flooding);
        let mut reader = server.dial("echo");
        let mut writer = reader.socket().try_clone().unwrap();
        let grams = DatagramClient::udp(server.udp("ping"));
        scope.spawn(move || {
            while flooding.load(Relaxed) {
                writer.write_all(&[b'x'; 1 << 17]).unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(move || reader.rest());
        scope.spawn(move || {
            while flooding.load(Relaxed) {
                grams.say("ping");
                grams.pending();
            }
        });
        let [mut ping, mut hello] = ["ping", "hello"].map(|service| server.dial(service));
        hello.hears("Welcome!");
        for round in 0..10 {
            ping.ask(format!("ping {round}\n"), format!("pong {round}\n"));
            hello.ask("X\n", "Hello, X!\n");
            server.dial("ping").ask("x", "pong");
        }
        let flooded = server.stats();
        assert!(flooded["bytes_in"] > 1 << 20 && flooded["datagrams_in"] > 10, "it was a flood: {flooded:?}");
    });
}

/// Sets a running server's descriptor limit so that it can open `spare` more.
fn squeeze(server: &Server, spare: usize) -> bool {
    if !tool("prlimit") {
        return false;
    }
    let open = server.descriptors();
    let free = (0..).filter(|number| !open.contains(number));
    let limit = free.take(spare + 1).last().expect("numbers do not end");
    let done = Command::new("prlimit")
        .args([format!("--pid={}", server.pid()), format!("--nofile={limit}:")])
        .status()
        .unwrap();
    assert!(done.success());
    true
}

#[test]
fn without_a_descriptor_the_next_one_waits_until_another_closes() {
    let server = Server::start(&format!("{HELLO} {PING} --delay 400ms"));
    let mut clock = server.dial("hello");
    clock.hears("Welcome!");
    if !squeeze(&server, 3) {
        return;
    }
    let mut clients: Vec<Client> = (0..3).map(|_| server.dial("ping")).collect();
    clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    let mut waiting = [server.dial("ping"), server.dial("ping")];
    waiting.iter_mut().for_each(|client| client.say("ping"));
    let warning = server.log("cannot accept");
    assert!(warning.starts_with("WARN") && warning.contains("ulimit"), "{warning}");

    // While it cannot accept, the server serves and hardly uses the CPU; hello's delay is the clock here.
    let before = server.ticks();
    for _ in 0..2 {
        clock.ask("X\n", "Hello, X!\n");
        clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    }
    let used = server.ticks() - before;
    assert!(used <= 8, "{used} ticks of 10 ms in 800 ms");
    waiting.iter().for_each(Client::has_heard_nothing);
    assert_eq!(server.stderr().iter().filter(|line| line.contains("cannot accept")).count(), 1);

    for client in &mut waiting {
        drop(clients.pop());
        client.hears("pong");
    }
    assert_eq!(server.stats_once("two for two", |stats| stats["peer"] == 2)["open"], 4);
}

#[test]
fn a_descriptor_freed_by_others_is_found_without_a_close_of_ours() {
    let server = Server::start(PING);
    let mut client = server.dial("ping");
    client.ask("ping", "pong");
    if !squeeze(&server, 0) {
        return;
    }
    let mut waiting = server.dial("ping");
    waiting.say("ping");
    server.log("cannot accept");
    assert!(squeeze(&server, 5));
    waiting.hears("pong");
    client.ask("ping", "pong");
}

#[test]
fn a_server_without_a_single_descriptor_left_shuts_down_in_good_order() {
    let mut server = Server::start(&format!("{HELLO} --delay 100ms"));
    let mut client = server.dial("hello");
    client.ask("X", "Welcome!");
    server.stats_once("it has been heard", |stats| stats["bytes_in"] == 1);
    if !squeeze(&server, 0) {
        return;
    }
    let _waiting = server.dial("hello");
    server.log("cannot accept");
    server.signal(Signal::SIGTERM);
    client.hears("Hello, X!");
    client.hears_end();
    drop(client);
    assert_eq!(server.exit_code(), Some(0));
}

/// A way for a connection to come and go.
type Way<'a> = (&'a [&'a str], &'a dyn Fn(&Server));

#[test]
fn whatever_way_connections_go_they_leave_nothing_behind() {
    let ways: [Way<'_>; 7] = [
        // A reset if the answer has arrived and is unread, otherwise the end.
        (&["peer", "reset"], &|server| {
            server.dial("ping").say("ping\n");
        }),
        (&["peer"], &|server| {
            let mut client = server.dial("ping");
            client.finish();
            client.hears_end();
        }),
        (&["reset"], &|server| {
            let mut client = server.dial("ping");
            client.ask("ping\n", "pong\n");
            client.reset();
        }),
        (&["overflow"], &|server| {
            let mut client = server.dial("ping");
            client.say("12345678901234567\n");
            client.hears_end();
        }),
        (&["service"], &|server| {
            let mut client = server.dial("hello");
            client.ask("exit", "Welcome!");
            client.hears_end();
        }),
        (&["reset"], &|server| {
            // The answer would come in an hour.
            let mut client = server.dial("hello");
            client.ask("X", "Welcome!");
            let asked = server.stats()["accepted"];
            server.stats_once("it is thought about", |stats| stats["accepted"] == asked);
            client.reset();
        }),
        (&["reset"], &|server| {
            // It may have gone before it is accepted.
            server.dial("echo").reset();
        }),
    ];
    let server = Server::start(&format!("{PING} {HELLO} {ECHO} --delay 1h --max-message 16"));
    let mut client = server.dial("ping");
    client.ask("ping", "pong");
    let (descriptors, rounds) = (server.descriptors(), 300);
    for (number, (reasons, way)) in ways.iter().enumerate() {
        let before = server.stats();
        for _ in 0..rounds {
            way(&server);
        }
        let come = before["accepted"] + rounds;
        let after = server.stats_once("all have gone", |stats| (stats["open"], stats["accepted"]) == (1, come));
        let closed: u64 = reasons.iter().map(|reason| after[reason] - before[reason]).sum();
        assert_eq!(closed, rounds, "way {number}: {after:?}");
        assert_eq!(server.descriptors(), descriptors, "way {number}");
    }
    client.ask("ping", "pong");
    server.rests();
}

#[test]
fn connections_turned_away_or_broken_while_written_to_leave_nothing_behind() {
    let server = Server::start(&format!("{ECHO} --max-per-ip 1"));
    let mut client = server.dial("echo");
    client.ask("x", "x");
    let descriptors = server.descriptors();
    for _ in 0..500 {
        server.dial("echo").hears_end();
    }
    assert_eq!(server.stats()["limit"], 500);
    assert_eq!(server.descriptors(), descriptors);
    let data = vec![b'x'; 1 << 20];
    for from in (2..52).map(|last| format!("127.0.0.{last}")) {
        // Much output waits for this client when it resets.
        let mut greedy = Client::tcp_from(&from, server.tcp("echo"));
        greedy.stuff(&data, 1 << 20);
        greedy.reset();
    }
    let stats = server.stats_once("all have gone", |stats| stats["open"] == 1 && stats["accepted"] == 551);
    assert_eq!(stats["reset"] + stats["peer"], 50);
    assert_eq!(server.descriptors(), descriptors);
    client.ask("x", "x");
}

#[test]
fn write_errors_leave_nothing_behind() {
    let server = Server::start(&format!("{PING} {ECHO}"));
    let mut client = server.dial("echo");
    client.ask("x", "x");
    let descriptors = server.descriptors();
    let Some(strace) = Strace::inject(&server, "sendto:error=ECONNRESET:when=1..100") else { return };
    for _ in 0..100 {
        let mut broken = server.dial("ping");
        broken.say("ping");
        broken.hears_end();
    }
    assert_eq!(strace.injected(), 100);
    strace.detach(&server);
    client.ask("x", "x");
    let stats = server.stats();
    assert_eq!((stats["open"], stats["reset"]), (1, 100));
    eventually("the descriptors are back", || (server.descriptors() == descriptors).then_some(()));
}
