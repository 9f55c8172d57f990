//! What ss(8) shows of a conversation, from LISTEN to TIME-WAIT, and how connections wait in a backlog.

use std::net::SocketAddr;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use super::support::{Client, Server, eventually, tool};
use super::talk::Talk;

/// A socket as ss shows it: state, queues, local port, remote port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    state: String,
    received: u64,
    sent: u64,
    local: u16,
    peer: Option<u16>,
}

/// The TCP sockets with this port at either end.
fn ss(port: u16) -> Vec<Row> {
    let filter = format!("( sport = :{port} or dport = :{port} )");
    let output = Command::new("ss").args(["-tanH", &filter]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = |place: &str| place.rsplit_once(':').unwrap().1.parse().ok();
        Row {
            state: words[0].to_owned(),
            received: words[1].parse().unwrap(),
            sent: words[2].parse().unwrap(),
            local: port(words[3]).unwrap(),
            peer: port(words[4]),
        }
    };
    text.lines().map(row).collect()
}

/// Waits until the ends of a conversation are in these states: the server's at `port`, the client's at `other`. `None`
/// is an end that is gone.
#[track_caller]
fn are(port: u16, other: u16, server: Option<&str>, client: Option<&str>) {
    let mut last = Vec::new();
    let shown = || {
        last = ss(port);
        let state = |local, peer| {
            let row = last.iter().find(|row| row.local == local && row.peer == Some(peer));
            row.map(|row| row.state.as_str())
        };
        let is = |state: Option<&str>, wanted: Option<&str>| {
            state == wanted || wanted == Some("TIME-WAIT") && state.is_none() && is_crowded()
        };
        (is(state(port, other), server) && is(state(other, port), client)).then_some(())
    };
    eventually(&format!("{server:?} at the server and {client:?} at the client"), shown);
}

/// Whether as many connections are in TIME-WAIT as may be: then the kernel keeps no other (tcp(7), tcp_max_tw_buckets).
/// Loads leave many thousand of them.
fn is_crowded() -> bool {
    let most = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_max_tw_buckets").unwrap();
    let counts = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let kept = counts.split_once(" tw ").expect("a count").1.split(' ').next().unwrap();
    let [most, kept] = [most.trim(), kept].map(|number| number.parse::<u64>().unwrap());
    kept + 1_000 > most
}

#[track_caller]
fn listener(port: u16) -> Row {
    ss(port).into_iter().find(|row| row.state == "LISTEN").expect("it listens")
}

fn port_of(client: &Client) -> u16 {
    client.socket().local_addr().unwrap().as_socket().unwrap().port()
}

#[test]
fn a_conversation_that_the_client_ends() {
    if !tool("ss") {
        return;
    }
    let server = Server::start("hello=tcp://127.0.0.1:0 --delay 3s");
    let port = server.tcp("hello").port();
    assert_eq!((listener(port).received, listener(port).sent), (0, 4096), "nobody waits, so many may");
    let mut client = server.dial("hello");
    let other = port_of(&client);
    client.hears("Welcome!");
    are(port, other, Some("ESTAB"), Some("ESTAB"));
    client.say("Michael\n");
    // The client has finished sending; the server still owes an answer.
    client.finish();
    are(port, other, Some("CLOSE-WAIT"), Some("FIN-WAIT-2"));
    client.hears("Hello, Michael!\n");
    client.hears_end();
    // The end that closed first stays in TIME-WAIT.
    are(port, other, None, Some("TIME-WAIT"));
    assert_eq!(listener(port).state, "LISTEN");
}

#[test]
fn a_conversation_that_the_server_ends() {
    if !tool("ss") {
        return;
    }
    let server = Server::start("hello=tcp://127.0.0.1:0 --delay 0s");
    let port = server.tcp("hello").port();
    let mut client = server.dial("hello");
    let other = port_of(&client);
    client.hears("Welcome!");
    client.say("exit\n");
    client.hears_end();
    are(port, other, Some("FIN-WAIT-2"), Some("CLOSE-WAIT"));
    drop(client);
    are(port, other, Some("TIME-WAIT"), None);
}

#[test]
fn our_client_ends_its_side_and_waits_for_the_other() {
    if !tool("ss") {
        return;
    }
    let server = Server::start("hello=tcp://127.0.0.1:0 --delay 3s");
    let port = server.tcp("hello").port();
    let mut client = Talk::client(server.endpoint("hello", "tcp"), &[]).start();
    client.sees("Welcome!");
    // (TIME-WAIT may be left of a conversation that was here before.)
    let is_open = |row: &Row| row.peer == Some(port) && row.state == "ESTAB";
    let row = ss(port).into_iter().find(is_open).expect("the client's end");
    are(port, row.local, Some("ESTAB"), Some("ESTAB"));
    client.types("Michael\n");
    client.ends_input();
    are(port, row.local, Some("CLOSE-WAIT"), Some("FIN-WAIT-2"));
    client.sees("Hello, Michael!\n");
    client.ends_well();
    are(port, row.local, None, Some("TIME-WAIT"));
}

#[test]
fn bytes_wait_in_the_queues() {
    if !tool("ss") {
        return;
    }
    let server = Server::start("echo=tcp://127.0.0.1:0");
    let port = server.tcp("echo").port();
    let mut client = server.dial("echo");
    client.ask("x", "x");
    server.freeze();
    client.say("hello");
    eventually("the server's queue holds them", || {
        ss(port).into_iter().find(|row| row.local == port && row.received == 5)
    });
    server.thaw();
    eventually("the client's queue holds them", || {
        ss(port).into_iter().find(|row| row.peer == Some(port) && row.received == 5)
    });
    client.hears("hello");
}

/// A connection that has been begun and may never be established.
fn begin(to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let begun = socket.connect(&to.into());
    assert!(begun.is_ok() || begun.is_err_and(|error| error.raw_os_error() == Some(nix::libc::EINPROGRESS)));
    socket
}

#[test]
fn the_backlog_holds_connections_that_are_not_accepted_and_none_is_refused() {
    if !tool("ss") {
        return;
    }
    let server = Server::start("echo=tcp://127.0.0.1:0 --max-connections 1 --backlog 10");
    let address = server.tcp("echo");
    let port = address.port();
    let mut first = server.dial("echo");
    first.ask("x", "x");
    assert_eq!((listener(port).received, listener(port).sent), (0, 10));
    // Linux holds one more than the backlog. All are connected and have even sent something.
    let mut waiting: Vec<Client> = (0..11).map(|_| server.dial("echo")).collect();
    waiting.iter_mut().for_each(|client| client.say("hello"));
    eventually("eleven wait", || (listener(port).received == 11).then_some(()));
    for client in &waiting {
        are(port, port_of(client), Some("ESTAB"), Some("ESTAB"));
        client.has_heard_nothing();
    }
    assert_eq!(server.stats()["open"], 1);
    // The next one is not refused: its SYN is not answered, and is sent again.
    let late = begin(address);
    let other = late.local_addr().unwrap().as_socket().unwrap().port();
    are(port, other, None, Some("SYN-SENT"));
    // Whenever one leaves, the next is served, in the order of their coming.
    let mut served = first;
    for (number, mut next) in waiting.into_iter().enumerate() {
        next.has_heard_nothing();
        served.finish();
        served.hears_end();
        next.hears("hello");
        let left = 10 - number as u64;
        // The late one may have entered the queue meanwhile.
        eventually("one less waits", || (listener(port).received <= left + 1).then_some(()));
        served = next;
    }
    served.finish();
    served.hears_end();
    are(port, other, Some("ESTAB"), Some("ESTAB"));
}
