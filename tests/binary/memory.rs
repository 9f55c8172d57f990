//! Memory: what an idle or slow connection costs, and that requests allocate nothing.

use nix::sys::signal::Signal;

use super::support::{Client, Launch, Server, raise_descriptor_limit, tool};

/// Connections, each of which has asked once.
fn crowd(server: &Server, service: &str, count: usize, question: &[u8], answer: &[u8]) -> Vec<Client> {
    let come = |_| {
        let mut client = server.dial(service);
        client.ask(question, answer);
        client
    };
    (0..count).map(come).collect()
}

#[test]
fn an_idle_connection_costs_a_few_hundred_bytes() {
    // The target is 256 bytes, in a release build; this bound is for any build, whatever its allocator rounds up.
    let count = (raise_descriptor_limit() as usize).saturating_sub(3000).min(10_000);
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let _first = crowd(&server, "ping", 100, b"ping\n", b"pong\n");
    let before = server.memory();
    let _rest = crowd(&server, "ping", count, b"ping\n", b"pong\n");
    assert_eq!(server.stats()["open"], count as u64 + 100);
    let each = server.memory().saturating_sub(before) / count as u64;
    assert!(each <= 512, "{each} bytes each");
}

#[test]
fn a_slow_sender_holds_no_large_buffer() {
    raise_descriptor_limit();
    let count = 2000;
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let _first = crowd(&server, "ping", 100, b"ping\n", b"pong\n");
    let before = server.memory();
    let mut slow = crowd(&server, "ping", count, b"ping\nping in pa", b"pong\n");
    let each = server.memory().saturating_sub(before) / count as u64;
    assert!(each <= 1024, "{each} bytes each");
    slow.iter_mut().for_each(|client| client.ask("rts\n", "pong in parts\n"));
}

#[test]
fn large_messages_leave_no_large_buffers_behind() {
    raise_descriptor_limit();
    let count = 500;
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let mut clients = crowd(&server, "ping", count, b"ping\n", b"pong\n");
    let before = server.memory();
    let half = "x".repeat(30_000);
    // Each sends its message in two parts, of which the server has to keep the first.
    for client in &mut clients {
        let arrived = server.stats()["bytes_in"];
        client.say(format!("ping {half}"));
        server.stats_once("the first part has arrived", |stats| stats["bytes_in"] == arrived + 30_005);
        client.ask("\n", format!("pong {half}\n"));
    }
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes");
}

#[test]
fn a_ping_allocates_nothing() {
    if !tool("valgrind") {
        return;
    }
    let allocations = |pings: usize| {
        let valgrind = ["valgrind", "--leak-check=no"];
        let mut server = Launch::within(&valgrind, "serve -q ping=127.0.0.1:0 echo=tcp://127.0.0.1:0").start();
        let mut ping = server.dial("ping");
        let mut echo = server.dial("echo");
        let gram = super::support::DatagramClient::udp(server.udp("ping"));
        for n in 0..pings {
            // Numbers of one length, or a buffer may grow once more.
            ping.ask(format!("ping {n:06}\n"), format!("pong {n:06}\n"));
            ping.ask("x\n", "pong\n");
            echo.ask("x", "x");
            gram.ask("ping", "pong");
        }
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code(), Some(0));
        let log = server.stderr_all();
        heap_usage(log.iter().map(String::as_str))
    };
    let (few, many) = (allocations(50), allocations(550));
    // The margin: at its end the server reads /proc/net/udp, which may be of any length.
    assert!(many.abs_diff(few) < 40, "{few} allocations for 50 rounds, {many} for 550");
}

#[cfg(feature = "bench")]
#[test]
fn a_request_of_a_load_allocates_nothing() {
    if !tool("valgrind") {
        return;
    }
    let server = Server::start("ping=127.0.0.1:0");
    for scheme in ["tcp", "udp"] {
        // A report has as many blocks of the one as of the other.
        let [(few, fewer), (many, more)] = ["1s", "5s"].map(|duration| {
            let valgrind = ["valgrind", "--undef-value-errors=no", "--leak-check=no"];
            let endpoint = server.endpoint("ping", scheme);
            let load = format!("bench {endpoint} -c 4 -d {duration} --warmup 0s --timeout 15s -q");
            let load = Launch::within(&valgrind, &load).run();
            assert_eq!(load.code, Some(0), "{load:?}");
            (requests(&load.stdout), heap_usage(load.stderr.lines()))
        });
        assert!(many > few + 500, "{scheme}: {few} and {many} requests");
        // One allocation in each would be twice as many. At its start the load reads /proc/net/tcp, which may be of any
        // length, and the lists of its report grow with how many different times there were.
        let margin = (many - few) / 2;
        assert!(more.abs_diff(fewer) < margin, "{scheme}: {fewer} allocations for {few} requests, {more} for {many}");
    }
}

/// How many requests a load's last line counts.
#[cfg(feature = "bench")]
#[track_caller]
fn requests(stdout: &str) -> u64 {
    let (_, rest) = stdout.split_once("result: requests=").expect("the last line");
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// The number of allocations in valgrind's report.
#[track_caller]
fn heap_usage<'a>(mut log: impl Iterator<Item = &'a str>) -> u64 {
    let total = log.find_map(|line| line.split_once("total heap usage: ")).expect("valgrind's report").1;
    total.split(' ').next().unwrap().replace(',', "").parse().unwrap()
}

#[test]
fn memcheck_finds_no_error_and_no_leak() {
    if !tool("valgrind") {
        return;
    }
    // Optimized code may read an Option's value before its tag, to no effect: such complaints are off.
    let valgrind = ["valgrind", "--leak-check=full", "--undef-value-errors=no", "--error-exitcode=99"];
    let all = "serve ping=127.0.0.1:0 hello=127.0.0.1:0 echo=udp://[::]:0 --delay 10ms --max-message 100";
    let mut server = Launch::within(&valgrind, all).start();
    server.dial("hello").ask("X\nY\nexit\n", "Welcome!Hello, X!\nHello, Y!\n");
    server.dial("ping").ask("ping\nx\n", "pong\npong\n");
    server.dial("ping").say("x".repeat(101) + "\n");
    super::support::DatagramClient::udp(server.udp("hello")).ask("X", "Hello, X!");
    super::support::DatagramClient::udp(([127, 0, 0, 1], server.udp("echo").port()).into()).ask("X", "X");
    server.dial("hello").reset();
    server.stats_once("all have gone", |stats| stats["open"] == 0);
    server.signal(Signal::SIGTERM);
    let code = server.exit_code();
    let log = server.stderr_all();
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("definitely lost: 0 bytes") || line.contains("no leaks")), "{log:#?}");
}
