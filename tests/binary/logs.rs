//! Logs: what each level says, and that standard error can be in any state without harm.

use std::fs::{self, File};
use std::io::pipe;
use std::thread;

use nix::sys::signal::Signal;

use super::support::{Client, DatagramClient, Folder, Launch, Server, Stats, eventually, narrow_pipe};

const BOTH: &str = "ping=tcp://127.0.0.1:0 hello=tcp://127.0.0.1:0 --delay 0s";

/// The lines without the logger's own "LEVEL [target] ", at this level.
fn at_level(log: &[String], level: &str) -> Vec<String> {
    let of_level = log.iter().filter(|line| line.starts_with(level));
    of_level.filter_map(|line| Some(line.split_once("] ")?.1.to_owned())).collect()
}

#[track_caller]
fn quit(mut server: Server) -> Vec<String> {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), Some(0));
    server.stderr_all()
}

#[test]
fn verbose_shows_each_connection() {
    let server = Server::start(&format!("{BOTH} -v"));
    let mut client = server.dial("hello");
    client.ask("exit", "Welcome!");
    client.hears_end();
    let name = client.name();
    // The server lingers until the client finishes too.
    drop(client);
    server.log("closed (service)");
    let mut other = server.dial("ping");
    other.ask("ping", "pong");
    other.finish();
    other.hears_end();
    let (client, other) = (name, other.name());
    server.stats_once("both have gone", |stats| stats["open"] == 0);
    assert_eq!(
        at_level(&quit(server), "DEBUG"),
        [
            format!("hello: {client} connected"),
            format!("hello: {client} closed (service)"),
            format!("ping: {other} connected"),
            format!("ping: {other} closed (peer)"),
        ]
    );
}

#[test]
fn verbose_names_peers_over_ipv6_dual_stack_and_unix() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let server = Server::start(&format!("ping=tcp://[::]:0 echo=unix://{} -v", place.display()));
    let port = server.tcp("ping").port();
    let mut clients = ["127.0.0.1", "[::1]"].map(|host| Client::tcp(format!("{host}:{port}").parse().unwrap()));
    clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    Client::unix(&place).ask("x", "x");
    let names = clients.map(|client| client.name());
    let log = at_level(&quit(server), "DEBUG");
    for name in names {
        assert!(log.contains(&format!("ping: {name} connected")), "{name} in {log:#?}");
    }
    assert!(log.contains(&"echo: unix connected".to_owned()), "{log:#?}");
}

#[test]
fn very_verbose_shows_each_message_escaped() {
    let server = Server::start(&format!("{BOTH} ping=udp://127.0.0.1:0 -vv"));
    let mut ping = server.dial("ping");
    ping.ask("hello pdudo", "pong");
    ping.ask("a\nb\"\\", "pong");
    ping.ask(b"\x1b[2J\xff\0", "pong");
    let mut hello = server.dial("hello");
    hello.ask("X\r\n", "Welcome!Hello, X!\r\n");
    hello.say("exit\n");
    hello.hears_end();
    let names = (ping.name(), hello.name());
    drop((ping, hello));
    let gram = DatagramClient::udp(server.udp("ping"));
    gram.ask("PING 1\n", "PONG 1\n");
    let gram = gram.socket().local_addr().unwrap().as_socket().unwrap();
    let (ping, hello) = names;
    let log = quit(server);
    assert_eq!(
        at_level(&log, "TRACE"),
        [
            format!(r#"ping: {ping} received "hello pdudo", answered "pong""#),
            format!(r#"ping: {ping} received "a\nb\"\\", answered "pong""#),
            format!(r#"ping: {ping} received "\x1b[2J\xff\x00", answered "pong""#),
            format!(r#"hello: {hello} received "X", answered "Hello, X!""#),
            format!(r#"hello: {hello} received "exit", answered """#),
            format!(r#"ping: {gram} received "PING 1", answered "PONG 1""#),
        ]
    );
    assert!(log.iter().all(|line| line.is_ascii() && !line.contains('\x1b')), "{log:#?}");
}

#[test]
fn a_long_message_does_not_make_a_long_line() {
    let server = Server::start("echo=tcp://127.0.0.1:0 -vv");
    let mut client = server.dial("echo");
    client.ask(vec![0xff; 60_000], vec![0xff; 60_000]);
    drop(client);
    let log = quit(server);
    assert!(log.iter().any(|line| line.contains("received")), "{log:#?}");
    assert!(log.iter().all(|line| line.len() < 4096));
}

#[test]
fn without_verbose_neither_connections_nor_messages_are_shown() {
    let server = Server::start(BOTH);
    server.dial("ping").ask("ping", "pong");
    let log = quit(server);
    assert!(log.iter().all(|line| line.starts_with("INFO")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("127.0.0.1")), "{log:#?}");
    assert!(log.iter().any(|line| Stats::parse(line).is_some()), "the counters at the end");
}

#[test]
fn quiet_shows_warnings_only() {
    let server = Server::start(&format!("{BOTH} -q"));
    server.dial("ping").ask("ping", "pong");
    server.signal(Signal::SIGUSR1);
    server.dial("ping").ask("ping", "pong");
    assert_eq!(quit(server), Vec::<String>::new());
}

#[test]
fn log_time_begins_each_line_with_the_time() {
    let log = quit(Server::start(&format!("{BOTH} --log-time")));
    assert!(!log.is_empty());
    for line in log {
        let (time, rest) = line.split_once(' ').unwrap();
        let shape: String = time.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{line}");
        assert!(rest.starts_with("INFO  [pingpong] "), "{line}");
    }
}

#[test]
fn servers_that_share_a_log_do_not_glue_their_lines() {
    let folder = Folder::new();
    let append = || File::options().append(true).create(true).open(folder.file("log")).unwrap();
    let mut servers: Vec<Server> =
        (0..3).map(|_| Launch::new(&format!("serve {BOTH} -vv")).stderr(append()).start()).collect();
    let talk = |server: &Server| {
        let mut client = server.dial("ping");
        // All at once: the server logs without a pause.
        client.say("ping\n".repeat(2000));
        client.hears("pong\n".repeat(2000));
    };
    thread::scope(|scope| servers.iter().for_each(|server| drop(scope.spawn(|| talk(server)))));
    for server in &mut servers {
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code(), Some(0));
    }
    let log = fs::read_to_string(folder.file("log")).unwrap();
    for line in log.lines() {
        assert!(
            ["TRACE [pingpong] ", "DEBUG [pingpong] ", "INFO  [pingpong] "].iter().any(|head| line.starts_with(head))
        );
        assert_eq!(line.matches("[pingpong]").count(), 1, "{line}");
    }
    assert_eq!(log.matches("received \"ping\", answered \"pong\"").count(), 6000);
}

#[test]
fn a_log_that_nobody_reads_costs_lines_and_no_answer() {
    let (reader, writer) = narrow_pipe();
    let mut server = Launch::new(&format!("serve {BOTH} -vv")).stderr(writer).start();
    let mut client = server.dial("ping");
    (0..3000).for_each(|n| client.ask(format!("ping {n}\n"), format!("pong {n}\n")));
    let mut hello = server.dial("hello");
    hello.ask("X\n", "Welcome!Hello, X!\n");
    // Now the pipe is read.
    server.read_stderr(reader);
    eventually("a line gets through again", || {
        server.signal(Signal::SIGUSR1);
        server.stderr().iter().any(|line| Stats::parse(line).is_some()).then_some(())
    });
    let log = server.stderr();
    let (lines, stats) = log.iter().enumerate().find_map(|(at, line)| Some((at as u64, Stats::parse(line)?))).unwrap();
    assert!(stats["log_lost"] > 0, "{stats:?}");
    // Two lines for two connections, 3,001 for as many messages.
    assert!(lines + stats["log_lost"] >= 3003, "{lines} lines, {stats:?}");
    assert_eq!(stats["messages"], 3001);
    drop((client, hello));
    assert!(server.stop()["log_lost"] >= stats["log_lost"]);
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_server_from_ending() {
    let (_reader, writer) = narrow_pipe();
    let mut server = Launch::new(&format!("serve {BOTH} -vv")).stderr(writer).start();
    let mut client = server.dial("ping");
    (0..300).for_each(|n| client.ask(format!("ping {n}\n"), format!("pong {n}\n")));
    drop(client);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_log_whose_reader_has_gone_does_no_harm() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let closed = || Launch::shell("exec \"$0\" \"$@\" 2>&-", &format!("serve {BOTH} -vv"));
    let dead = [
        Launch::new(&format!("serve {BOTH} -vv")).stderr(writer),
        Launch::new(&format!("serve {BOTH} -vv")).stderr(full),
        closed(),
    ];
    for launch in dead {
        let mut server = launch.start();
        let mut client = server.dial("ping");
        (0..300).for_each(|n| client.ask(format!("ping {n}\n"), format!("pong {n}\n")));
        let mut hello = server.dial("hello");
        hello.ask("X\n", "Welcome!Hello, X!\n");
        server.signal(Signal::SIGUSR1);
        server.rests();
        drop((client, hello));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code(), Some(0));
    }
}
