//! Costs: system calls per request, threads, and the length of the listen queue.

use std::collections::BTreeMap;
use std::process::Command;

#[cfg(feature = "bench")]
use super::support::Launch;
use super::support::{Client, DatagramClient, Folder, Server, Strace, tool};

const ALL: &str = "ping=127.0.0.1:0 hello=127.0.0.1:0 echo=127.0.0.1:0";

/// How often each system call is in the log, without those that strace's attaching and detaching causes.
fn calls(log: &[String]) -> BTreeMap<&str, usize> {
    let mut calls = BTreeMap::new();
    for line in log {
        let Some((name, _)) = line.split_once('(') else { continue };
        let disturbed = line.contains("<detached") || line.contains("EINTR") || name.ends_with("resumed>");
        if !disturbed && name != "restart_syscall" {
            *calls.entry(name).or_default() += 1;
        }
    }
    calls
}

#[test]
fn a_ping_costs_one_receive_and_one_send_and_a_share_of_a_wait() {
    let server = Server::start(ALL);
    let mut clients: Vec<Client> = (0..50).map(|_| server.dial("ping")).collect();
    clients.iter_mut().for_each(|client| client.ask("ping\n", "pong\n"));
    server.rests();
    let Some(strace) = Strace::attach(&server, &[]) else { return };
    let rounds = 20;
    for round in 0..rounds {
        clients.iter_mut().for_each(|client| client.say(format!("ping {round}\n")));
        clients.iter_mut().for_each(|client| client.hears(format!("pong {round}\n")));
    }
    let log = strace.detach(&server);
    let mut calls = calls(&log);
    assert_eq!(calls.remove("recvfrom"), Some(50 * rounds), "{calls:?}");
    assert_eq!(calls.remove("sendto"), Some(50 * rounds), "{calls:?}");
    let waits = calls.remove("epoll_wait").unwrap_or_default();
    // The first one had begun before.
    assert!((rounds - 1..=50 * rounds).contains(&waits), "{waits} waits");
    assert_eq!(calls, BTreeMap::new(), "nothing else");
}

#[test]
fn a_batch_of_pings_costs_one_receive_and_one_send() {
    let server = Server::start(ALL);
    let mut client = server.dial("ping");
    client.ask("ping\n", "pong\n");
    let Some(strace) = Strace::attach(&server, &[]) else { return };
    // Proper pings are answered in place, others from a buffer.
    let batch: String = (0..16).map(|n| if n % 3 == 0 { "x\n".to_owned() } else { format!("ping {n}\n") }).collect();
    client.ask(&batch, batch.replace("ping", "pong").replace('x', "pong"));
    let log = strace.detach(&server);
    let calls = calls(&log);
    assert_eq!((calls["recvfrom"], calls["sendto"]), (1, 1), "{log:#?}");
}

#[test]
fn a_datagram_costs_one_receive_and_one_send() {
    // A server that is bound to all addresses has a socket for each of them.
    for (host, asked) in
        [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::]", "127.0.0.1"), ("[::]", "[::1]")]
    {
        let server = Server::start(&format!("ping=udp://{host}:0"));
        let client = DatagramClient::udp(format!("{asked}:{}", server.udp("ping").port()).parse().unwrap());
        client.ask("ping", "pong");
        server.rests();
        let Some(strace) = Strace::attach(&server, &[]) else { return };
        (0..50).for_each(|n| client.ask(format!("ping {n}"), format!("pong {n}")));
        let log = strace.detach(&server);
        let mut calls = calls(&log);
        assert_eq!(calls.remove("recvmmsg"), Some(50), "{host}: {calls:?}");
        assert_eq!(calls.remove("sendto"), Some(50), "{host}: {calls:?}");
        assert!(calls.remove("epoll_wait").is_some_and(|waits| waits <= 52));
        assert_eq!(calls, BTreeMap::new(), "{host}: nothing else");
    }
}

/// A server that has received a burst of datagrams from one client while strace was watching, and its calls that sent.
fn sends_of_a_burst(options: &str, burst: usize) -> Option<Vec<String>> {
    let server = Server::start(&format!("echo=udp://127.0.0.1:0 {options}"));
    let client = DatagramClient::udp(server.udp("echo"));
    server.freeze();
    (0..burst).for_each(|n| client.say(format!("{n:03}")));
    let strace = Strace::attach(&server, &[])?;
    server.thaw();
    (0..burst).for_each(|n| client.hears(format!("{n:03}")));
    let log = strace.detach(&server);
    assert_eq!(server.stats()["datagrams_out"], burst as u64);
    Some(log.into_iter().filter(|line| line.starts_with("send")).collect())
}

#[test]
fn a_burst_of_datagrams_costs_one_send_for_each_batch() {
    let Some(sends) = sends_of_a_burst("", 36) else { return };
    // The first batch has room for few, as none came before.
    assert_eq!(sends.len(), 2, "{sends:#?}");
    assert!(sends.iter().all(|line| line.starts_with("sendmmsg(") && line.contains("UDP")), "{sends:#?}");
    let Some(sends) = sends_of_a_burst("--no-segment", 36) else { return };
    assert_eq!(sends.iter().filter(|line| line.starts_with("sendto(")).count(), 36, "{sends:#?}");
}

#[test]
fn where_runs_are_refused_each_answer_leaves_alone() {
    let server = Server::start("echo=udp://127.0.0.1:0");
    let client = DatagramClient::udp(server.udp("echo"));
    let burst = || {
        server.freeze();
        (0..36).for_each(|n| client.say(format!("{n:03}")));
        server.thaw();
        (0..36).for_each(|n| client.hears(format!("{n:03}")));
    };
    let Some(strace) = Strace::inject(&server, "sendmmsg:error=EIO") else { return };
    burst();
    burst();
    assert_eq!(strace.injected(), 1, "and it is not tried again");
    drop(strace);
    assert_eq!((server.stats()["datagrams_out"], server.stats()["dropped"]), (72, 0));
}

#[cfg(feature = "bench")]
#[test]
fn a_request_of_a_load_costs_one_send_and_one_receive_and_a_share_of_a_wait() {
    if !tool("strace") {
        return;
    }
    let server = Server::start("ping=127.0.0.1:0");
    let requests = 2000;
    for (scheme, receive) in [("tcp", "recvfrom"), ("udp", "recvmmsg")] {
        let folder = Folder::new();
        let place = folder.file("log").display().to_string();
        let load = format!("bench {} -c 4 -n {requests} --warmup 0s -q", server.endpoint("ping", scheme));
        let load = Launch::within(&["strace", "-o", &place], &load).run();
        assert_eq!(load.code, Some(0), "{load:?}");
        let log = std::fs::read_to_string(&place).expect("strace's log");
        let log: Vec<String> = log.lines().map(str::to_owned).collect();
        // From when everyone is connected until the last answer.
        let connected = log.iter().rposition(|line| line.starts_with("connect(")).expect("connections");
        let asks = |line: &String| line.starts_with("sendto(");
        let first = connected + log[connected..].iter().position(asks).expect("a question");
        let last = log.iter().rposition(|line| line.starts_with(receive)).expect("an answer");
        let mut calls = calls(&log[first..=last]);
        assert_eq!(calls.remove("sendto"), Some(requests), "{scheme}: {calls:?}");
        assert_eq!(calls.remove(receive), Some(requests), "{scheme}: {calls:?}");
        let waits = calls.remove("epoll_wait").unwrap_or_default();
        assert!(waits <= requests + requests / 10, "{scheme}: {waits} waits");
        // The load looks at its own cost and for overdue answers some dozens of times a second, at any rate.
        for rare in ["getrusage", "pread64", "timerfd_settime"] {
            let times = calls.remove(rare).unwrap_or_default();
            assert!(times <= requests / 10, "{scheme}: {rare} {times} times");
        }
        assert_eq!(calls, BTreeMap::new(), "{scheme}: nothing else");
    }
}

#[test]
fn an_echo_costs_one_receive_and_one_send() {
    let server = Server::start(ALL);
    let mut client = server.dial("echo");
    client.ask("x", "x");
    server.rests();
    let Some(strace) = Strace::attach(&server, &[]) else { return };
    (0..50).for_each(|_| client.ask("y", "y"));
    let log = strace.detach(&server);
    let mut calls = calls(&log);
    assert_eq!((calls.remove("recvfrom"), calls.remove("sendto")), (Some(50), Some(50)));
    calls.remove("epoll_wait");
    assert_eq!(calls, BTreeMap::new(), "nothing else");
}

#[test]
fn a_ping_over_a_unix_stream_wakes_the_server_once() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let server = Server::start(&format!("ping=unix://{}", place.display()));
    let mut client = Client::unix(&place);
    client.ask("ping\n", "pong\n");
    server.rests();
    let Some(strace) = Strace::attach(&server, &[]) else { return };
    (0..50).for_each(|n| client.ask(format!("ping {n}\n"), format!("pong {n}\n")));
    let log = strace.detach(&server);
    let mut calls = calls(&log);
    // Registered for writability, it would be woken once more by each answer that the peer reads.
    let waits = calls.remove("epoll_wait").unwrap_or_default();
    assert!((49..=52).contains(&waits), "{waits} waits");
    assert_eq!(calls.remove("sendto"), Some(50), "{calls:?}");
    // A short read of a Unix stream does not say that it is empty; the next ping may be there by then.
    assert!(calls.remove("recvfrom").is_some_and(|reads| (50..=100).contains(&reads)), "{log:#?}");
    assert_eq!(calls, BTreeMap::new(), "nothing else");
}

#[test]
fn a_connection_is_set_up_with_two_calls() {
    let server = Server::start(ALL);
    server.dial("ping").ask("ping", "pong");
    server.stats_once("it has gone", |stats| stats["open"] == 0);
    let Some(strace) = Strace::attach(&server, &[]) else { return };
    let mut clients: Vec<Client> = (0..20).map(|_| server.dial("ping")).collect();
    clients.iter_mut().for_each(|client| client.ask("ping\n", "pong\n"));
    let log = strace.detach(&server);
    let calls = calls(&log);
    assert_eq!((calls["epoll_ctl"], calls.get("setsockopt"), calls.get("fcntl")), (20, None, None), "{calls:?}");
    let accepted = log.iter().filter(|line| line.starts_with("accept4") && !line.contains("EAGAIN")).count();
    assert_eq!(accepted, 20);
}

#[test]
fn all_services_run_on_one_thread() {
    let server = Server::start(ALL);
    server.dial("ping").ask("ping", "pong");
    server.dial("hello").ask("X", "Welcome!");
    server.dial("echo").ask("x", "x");
    DatagramClient::udp(server.udp("ping")).ask("ping", "pong");
    assert_eq!(server.threads(), 1);
}

fn ss(options: &[&str], port: u16) -> String {
    let output = Command::new("ss").args(options).arg(format!("sport = :{port}")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_backlog_is_as_long_as_asked() {
    if !tool("ss") {
        return;
    }
    let most: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    for (options, asked) in [("", 4096), ("--backlog 7", 7), ("--backlog 1m", 1_000_000)] {
        let server = Server::start(&format!("ping=tcp://127.0.0.1:0 {options}"));
        let line = ss(&["-ltnH"], server.tcp("ping").port());
        // State, Recv-Q, Send-Q: a listener's Send-Q is its backlog.
        let backlog: u32 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
        assert_eq!(backlog, asked.min(most), "{options}: {line}");
    }
}
