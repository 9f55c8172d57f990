use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use nix::libc;
use pingpong::engine::Arrival;
use pingpong::{Address, Call};

use super::sockets::Family::{Internet, Unix};
use super::sockets::{Change, Kind, Link, Sockets};
use super::{COLUMNS, INDENT, broken, why, wrapped, written};
use crate::watch::KernelState;

fn ip(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

/// A server with an epoll (3), a listener (6), a connection (7), a datagram socket (8), and a Unix one of each (16 to 18).
fn sockets() -> Sockets {
    let mut sockets = Sockets::new(false);
    for (call, fd) in [
        (Call::EpollCreate, 3),
        (Call::EventFd, 4),
        (Call::SignalFd, 5),
        (Call::Socket { family: "AF_INET", kind: "SOCK_STREAM" }, 6),
        (Call::Socket { family: "AF_INET", kind: "SOCK_STREAM" }, 7),
        (Call::Socket { family: "AF_INET", kind: "SOCK_DGRAM" }, 8),
        (Call::TimerCreate, 9),
        (Call::Socket { family: "AF_UNIX", kind: "SOCK_STREAM" }, 16),
        (Call::Accept { fd: 16, peer: None }, 17),
        (Call::Socket { family: "AF_UNIX", kind: "SOCK_DGRAM" }, 18),
    ] {
        sockets.note(&call, Ok(fd));
    }
    for fd in [6, 16] {
        sockets.note(&Call::Listen { fd, backlog: 5 }, Ok(0));
    }
    sockets
}

const BYTES: &[u8] = b"ping\r\n\x00\xff and more than is shown";

fn receive(fd: i32) -> Call<'static> {
    Call::Receive { name: "recvfrom", fd, bytes: BYTES, room: 65_536, is_peek: false, from: None }
}

fn send(fd: i32) -> Call<'static> {
    Call::Send { name: "sendto", fd, bytes: BYTES, to: None, segment: None }
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

#[test]
fn a_call_is_written_as_strace_writes_it() {
    let sockets = sockets();
    let (client, path) = (ip("127.0.0.1:40112"), Address::Unix(Some(Path::new("/run/pingpong.sock").into())));
    let hidden = Address::Unix(Some(Path::new("\0d3afa").into()));
    let long = Address::Unix(Some(Path::new("/a/path/that/is/far/too/long/for/a/line/of/80/columns.sock").into()));
    for (call, result, text) in [
        (Call::Accept { fd: 6, peer: Some(&client) }, Ok(7), "accept4(6, 127.0.0.1:40112) = 7"),
        (Call::Accept { fd: 6, peer: None }, Err(libc::EAGAIN), "accept4(6) = -1 EAGAIN"),
        (receive(7), Ok(33), r#"recvfrom(7, "ping\r\n\x00\xff and"..., 65536) = 33"#),
        (receive(7), Err(libc::EAGAIN), "recvfrom(7, 65536) = -1 EAGAIN"),
        (
            Call::Send { name: "sendto", fd: 8, bytes: b"pong", to: Some(&client), segment: None },
            Ok(4),
            r#"sendto(8, "pong", 4, 127.0.0.1:40112) = 4"#,
        ),
        (
            Call::Send { name: "sendmmsg", fd: 8, bytes: b"pongpong", to: Some(&client), segment: Some(4) },
            Ok(1),
            r#"sendmmsg(8, "pongpong", 8, 127.0.0.1:40112, UDP_SEGMENT 4) = 1"#,
        ),
        (Call::Bind { fd: 16, to: &path }, Ok(0), r#"bind(16, "/run/pingpong.sock") = 0"#),
        (Call::Bind { fd: 16, to: &long }, Ok(0), r#"bind(16, ..."r/too/long/for/a/line/of/80/columns.sock") = 0"#),
        (Call::Connect { fd: 18, to: &hidden }, Ok(0), r#"connect(18, "@d3afa") = 0"#),
        (
            Call::GetOption { fd: 7, name: "SO_ERROR", value: Some(111) },
            Ok(0),
            "getsockopt(7, SO_ERROR, [ECONNREFUSED]) = 0",
        ),
        (Call::TimerSet { fd: 9, after: Duration::from_micros(1500) }, Ok(0), "timerfd_settime(9, 0.001500 s) = 0"),
        (Call::ReadSignal { fd: 5, signal: Some(15) }, Ok(128), "read(5, SIGTERM) = 128"),
    ] {
        let error = result.err().map(error);
        let result = error.as_ref().map_or_else(|| Ok(result.unwrap_or_default()), Err);
        assert_eq!(written::call(&call, result, &sockets), text);
    }
}

#[test]
fn of_several_datagrams_the_first_is_shown_and_how_many_more_there_are() {
    let arrival = |source| Arrival { length: 20, source: ip(source), local: None, to_many: false };
    let written = |source, count: usize| {
        let arrivals: Vec<_> = (0..count).map(|_| arrival(source)).collect();
        let call = Call::ReceiveMany { fd: 13, first: b"zzzzzzzzzzzzzzzzzzzz", arrivals: &arrivals, room: 4 };
        written::call(&call, Ok(count), &sockets())
    };
    let first = r#"recvmmsg(13, ["zzzzzzzzzzzz"... from 127.0.0.1:40112"#;
    assert_eq!(written("127.0.0.1:40112", 1), format!("{first}], 4) = 1"));
    assert_eq!(written("127.0.0.1:40112", 4), format!("{first}, 3 more], 4) = 4"));
    assert!(written("[::ffff:127.0.0.1]:40112", 4).len() < COLUMNS);
}

/// Each call that a reactor makes, as it goes well.
fn calls<'a>(to: &'a Address, path: &'a Address) -> Vec<(Call<'a>, usize)> {
    let ctl = |operation, fd, events| Call::EpollCtl { epoll: 3, operation, fd, token: 0, events };
    let mut calls = vec![
        (Call::EpollCreate, 3),
        (Call::EventFd, 4),
        (Call::SignalFd, 5),
        (Call::TimerCreate, 9),
        (Call::TimerSet { fd: 9, after: Duration::from_millis(3) }, 0),
        (ctl("EPOLL_CTL_MOD", 8, "EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET"), 0),
        (ctl("EPOLL_CTL_MOD", 8, "EPOLLIN|EPOLLRDHUP|EPOLLET"), 0),
        (ctl("EPOLL_CTL_DEL", 0, ""), 0),
        (Call::Socket { family: "AF_UNIX", kind: "SOCK_SEQPACKET" }, 19),
        (Call::Listen { fd: 6, backlog: 4096 }, 0),
        (Call::Accept { fd: 6, peer: Some(to) }, 7),
        (Call::Accept { fd: 16, peer: None }, 17),
        (Call::SocketName { fd: 6, address: Some(to) }, 0),
        (Call::SocketName { fd: 7, address: Some(to) }, 0),
        (Call::PeerName { fd: 7, address: Some(to) }, 0),
        (Call::GetOption { fd: 7, name: "SO_ERROR", value: Some(0) }, 0),
        (Call::GetOption { fd: 7, name: "SO_ERROR", value: Some(111) }, 0),
        (Call::GetOption { fd: 8, name: "UDP_SEGMENT", value: Some(0) }, 0),
        (Call::Receive { name: "recvfrom", fd: 7, bytes: &[], room: 64 << 20, is_peek: true, from: None }, 3),
        (receive(7), 0),
        (Call::ReceiveMany { fd: 8, first: BYTES, arrivals: &[], room: 4 }, 1),
        (Call::ReceiveMany { fd: 8, first: BYTES, arrivals: &[], room: 4 }, 3),
        (send(7), 3),
        (Call::Send { name: "sendmmsg", fd: 8, bytes: BYTES, to: Some(to), segment: Some(4) }, 1),
        (Call::Shutdown { fd: 7 }, 0),
        (Call::Read { fd: 0, bytes: BYTES, room: 4096 }, 5),
        (Call::Read { fd: 0, bytes: &[], room: 4096 }, 0),
        (Call::Write { fd: 1, bytes: BYTES }, 5),
        (Call::Write { fd: 1, bytes: BYTES }, BYTES.len()),
        (Call::Poll { fd: 0, event: "POLLIN" }, 0),
        (Call::Poll { fd: 0, event: "POLLIN" }, 1),
        (Call::Poll { fd: 1, event: "POLLOUT" }, 0),
        (Call::Poll { fd: 1, event: "POLLOUT" }, 1),
    ];
    calls
        .extend([0, 1, 4, 5, 6, 7, 8, 9, 17, 18].map(|fd| (ctl("EPOLL_CTL_ADD", fd, "EPOLLIN|EPOLLRDHUP|EPOLLET"), 0)));
    calls.push((ctl("EPOLL_CTL_ADD", 7, "EPOLLIN|EPOLLPRI|EPOLLOUT|EPOLLRDHUP|EPOLLET"), 0));
    let options = [
        "SO_REUSEADDR",
        "SO_REUSEPORT",
        "TCP_NODELAY",
        "SO_KEEPALIVE",
        "TCP_KEEPIDLE",
        "TCP_KEEPINTVL",
        "TCP_KEEPCNT",
        "SO_RCVBUF",
        "IPV6_V6ONLY",
        "IP_PKTINFO",
        "IPV6_RECVPKTINFO",
        "IP_BIND_ADDRESS_NO_PORT",
    ];
    calls.extend(options.map(|name| (Call::SetOption { fd: 6, name, value: 1 }, 0)));
    calls.extend([6, 7].map(|fd| (Call::GetOption { fd, name: "TCP_INFO", value: None }, 0)));
    calls.extend(["SOCK_STREAM", "SOCK_DGRAM"].map(|kind| (Call::Socket { family: "AF_INET6", kind }, 7)));
    calls.extend([to, path, &Address::Unix(None)].map(|to| (Call::Bind { fd: 18, to }, 0)));
    calls.extend([7, 8, 17].map(|fd| (Call::Connect { fd, to }, 0)));
    calls.extend([7, 8, 17, 18].map(|fd| (receive(fd), BYTES.len())));
    calls.extend([7, 8, 17, 18].map(|fd| (send(fd), BYTES.len())));
    let signals = [libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
    calls.extend(signals.map(|signal| (Call::ReadSignal { fd: 5, signal: Some(signal) }, 128)));
    calls
}

#[test]
fn every_call_has_a_reason_and_fits_a_terminal() {
    let path = Address::Unix(Some(Path::new("/a/path/that/is/far/too/long/for/a/line/of/80/columns.sock").into()));
    let sockets = sockets();
    for to in ["127.0.0.1:50007", "[2001:db8:1234:5678:9abc:def0:1234:5678]:50007"].map(ip) {
        for (call, value) in calls(&to, &path) {
            let why = why::made(&call, Ok(value), &sockets);
            assert!(why.len() > 8 && !why.ends_with('.'), "{call:?}: {why:?}");
            let head = broken(&written::call(&call, Ok(value), &sockets), COLUMNS - 1, INDENT);
            for line in wrapped(&format!("{head}:"), &why, COLUMNS, INDENT).lines() {
                assert!(line.chars().count() <= COLUMNS, "{line}");
            }
        }
    }
    for kind in [Kind::Epoll, Kind::Waker, Kind::Unknown] {
        assert!(!why::closed(kind, Link::None).is_empty());
    }
    for kind in [Kind::Listener, Kind::Stream, Kind::Datagram].iter().flat_map(|kind| [kind(Internet), kind(Unix)]) {
        for link in [Link::None, Link::Up, Link::Broken] {
            assert!(!why::closed(kind, link).is_empty());
        }
    }
}

#[test]
fn every_error_that_can_be_expected_has_a_reason() {
    let (to, sockets) = (ip("192.0.2.1:1"), sockets());
    let connect = |fd| Call::Connect { fd, to: &to };
    let bind = || Call::Bind { fd: 6, to: &to };
    let accept = || Call::Accept { fd: 6, peer: None };
    let run = || Call::Send { name: "sendmmsg", fd: 8, bytes: BYTES, to: Some(&to), segment: Some(4) };
    for (call, number) in [
        (accept(), libc::EAGAIN),
        (accept(), libc::ECONNABORTED),
        (accept(), libc::EMFILE),
        (accept(), libc::ENFILE),
        (accept(), libc::EINTR),
        (connect(7), libc::EINPROGRESS),
        (connect(7), libc::ECONNREFUSED),
        (connect(7), libc::ENETUNREACH),
        (connect(7), libc::EADDRNOTAVAIL),
        (connect(17), libc::EAGAIN),
        (connect(17), libc::ENOENT),
        (connect(17), libc::EPROTOTYPE),
        (Call::PeerName { fd: 7, address: None }, libc::ENOTCONN),
        (bind(), libc::EADDRINUSE),
        (bind(), libc::EADDRNOTAVAIL),
        (bind(), libc::EACCES),
        (receive(7), libc::EAGAIN),
        (receive(7), libc::ECONNRESET),
        (receive(7), libc::ETIMEDOUT),
        (receive(8), libc::ECONNREFUSED),
        (Call::ReceiveMany { fd: 8, first: &[], arrivals: &[], room: 4 }, libc::EAGAIN),
        (Call::ReceiveMany { fd: 8, first: &[], arrivals: &[], room: 4 }, libc::ECONNREFUSED),
        (send(7), libc::EAGAIN),
        (send(7), libc::EPIPE),
        (Call::Write { fd: 1, bytes: BYTES }, libc::EAGAIN),
        (Call::Write { fd: 1, bytes: BYTES }, libc::EPIPE),
        (send(7), libc::ECONNRESET),
        (send(8), libc::EAGAIN),
        (send(8), libc::ECONNREFUSED),
        (send(8), libc::EMSGSIZE),
        (run(), libc::EIO),
        (run(), libc::EINVAL),
        (Call::ReadSignal { fd: 5, signal: None }, libc::EAGAIN),
        (Call::Socket { family: "AF_INET", kind: "SOCK_STREAM" }, libc::EMFILE),
        (Call::EpollCtl { epoll: 3, operation: "EPOLL_CTL_ADD", fd: 0, token: 0, events: "EPOLLIN" }, libc::EPERM),
    ] {
        let error = error(number);
        let why = why::made(&call, Err(&error), &sockets);
        assert!(why.len() > 8 && why != pingpong::describe(&error), "{call:?}: {error}: {why:?}");
    }
    // Any other says at least what it is.
    assert_eq!(why::made(&bind(), Err(&error(libc::ENOMEM)), &sockets), "cannot allocate memory");
}

#[test]
fn every_state_fits_a_terminal() {
    let states = (0..=12).map(KernelState::of);
    let kinds = [Kind::Listener, Kind::Stream, Kind::Datagram].iter().flat_map(|kind| [kind(Internet), kind(Unix)]);
    for (state, kind) in states.flat_map(|state| kinds.clone().map(move |kind| (state, kind))) {
        for link in [Link::None, Link::Up, Link::Broken] {
            let change = Change { fd: 19_999, kind, link, is_closed: true, now: Some(state) };
            assert!(format!("{INDENT}{change}").len() <= COLUMNS, "{change}");
        }
    }
}

/// Words of TCP/IP, which mean nothing between Unix sockets.
#[track_caller]
fn assert_no_network(text: &str) {
    for word in ["SYN", "FIN", "RST", "ICMP", "ACK", "handshake", "acknowledged"] {
        assert!(!text.contains(word), "{text:?}");
    }
}

#[test]
fn of_unix_sockets_nothing_is_told_that_only_tcp_ip_has() {
    let sockets = sockets();
    let path = Address::Unix(Some(Path::new("/run/pingpong.sock").into()));
    for (call, value) in [
        (Call::Listen { fd: 16, backlog: 4096 }, 0),
        (Call::Accept { fd: 16, peer: Some(&Address::Unix(None)) }, 17),
        (Call::Connect { fd: 17, to: &path }, 0),
        (Call::Connect { fd: 18, to: &path }, 0),
        (receive(17), 5),
        (receive(17), 0),
        (send(17), BYTES.len()),
        (send(18), BYTES.len()),
        (Call::Shutdown { fd: 17 }, 0),
    ] {
        assert_no_network(&why::made(&call, Ok(value), &sockets));
    }
    for (call, number) in [
        (receive(17), libc::ECONNRESET),
        (send(17), libc::ECONNRESET),
        (send(17), libc::EPIPE),
        (send(18), libc::ECONNREFUSED),
        (send(18), libc::ENOENT),
        (receive(18), libc::ECONNRESET),
    ] {
        let error = error(number);
        let why = why::made(&call, Err(&error), &sockets);
        assert_no_network(&why);
        assert_ne!(why, pingpong::describe(&error));
    }
    assert_no_network(&why::news(17, Kind::Stream(Unix), "EPOLLIN|EPOLLRDHUP"));
    assert!(why::news(7, Kind::Stream(Internet), "EPOLLIN|EPOLLRDHUP").contains("FIN"));
    for link in [Link::None, Link::Up, Link::Broken] {
        assert_no_network(why::closed(Kind::Stream(Unix), link));
    }
}

/// Why 7, dialled, is closed after these calls.
#[track_caller]
fn closed_after(calls: &[(Call<'_>, Result<usize, i32>)]) -> &'static str {
    let mut sockets = sockets();
    for (call, result) in calls {
        let error = result.err().map(error);
        sockets.note(call, error.as_ref().map_or_else(|| Ok(result.unwrap()), Err));
    }
    why::closed(sockets.kind(7), sockets.link(7))
}

#[test]
fn only_of_a_connection_something_is_left_to_say() {
    let (to, nobody) = (ip("192.0.2.1:1"), Address::Unix(Some(Path::new("/nobody").into())));
    let is_up = Call::PeerName { fd: 7, address: Some(&to) };
    for calls in [
        vec![],
        vec![(Call::Connect { fd: 7, to: &to }, Err(libc::EINPROGRESS))],
        vec![(Call::Connect { fd: 7, to: &nobody }, Err(libc::ENOENT))],
        vec![
            (Call::Connect { fd: 7, to: &to }, Err(libc::EINPROGRESS)),
            (Call::GetOption { fd: 7, name: "SO_ERROR", value: Some(libc::ECONNREFUSED.into()) }, Ok(0)),
        ],
        vec![(is_up, Ok(0)), (receive(7), Ok(3)), (receive(7), Err(libc::ECONNRESET))],
        vec![(Call::Connect { fd: 7, to: &to }, Ok(0)), (send(7), Err(libc::EPIPE))],
    ] {
        let why = closed_after(&calls);
        assert!(why.ends_with("nothing is left to say"), "{calls:?}: {why}");
    }
    let is_up = Call::PeerName { fd: 7, address: Some(&to) };
    for calls in [
        vec![(Call::Accept { fd: 6, peer: Some(&to) }, Ok(7))],
        vec![(is_up, Ok(0)), (receive(7), Err(libc::EAGAIN)), (send(7), Err(libc::EINTR))],
    ] {
        let why = closed_after(&calls);
        assert!(why.contains("still to be said"), "{calls:?}: {why}");
    }
}

#[test]
fn no_error_of_a_connect_that_is_under_way_is_no_success() {
    let call = Call::GetOption { fd: 7, name: "SO_ERROR", value: Some(0) };
    assert_eq!(why::made(&call, Ok(0), &sockets()), "has the connect failed? 0: not so far");
}

#[test]
fn a_unix_datagram_socket_that_a_client_connects_to_has_no_peer() {
    let name = SocketAddr::from_abstract_name(format!("pingpong-explain-{}", std::process::id())).unwrap();
    let (server, client) = (UnixDatagram::bind_addr(&name).unwrap(), UnixDatagram::unbound().unwrap());
    let mut sockets = Sockets::new(true);
    for socket in [&server, &client] {
        let socket = socket.as_raw_fd() as usize;
        sockets.note(&Call::Socket { family: "AF_UNIX", kind: "SOCK_DGRAM" }, Ok(socket));
    }
    client.connect_addr(&name).unwrap();
    let connect = Call::Connect { fd: client.as_raw_fd(), to: &Address::Unix(None) };
    sockets.note(&connect, Ok(0));
    let mut state_after = |call| sockets.changes_after(call, Ok(0)).iter().map(ToString::to_string).collect::<String>();
    let state = state_after(&connect);
    assert!(state.ends_with(": ESTABLISHED (it knows whom to talk to; no connection)"), "{state}");
    let state = state_after(&receive(server.as_raw_fd()));
    assert!(state.ends_with(": ESTABLISHED (a client has connected to it; anybody may send)"), "{state}");
}

#[test]
fn the_backlog_is_what_the_kernel_makes_of_it() {
    let mut sockets = sockets();
    let mut told = |most, backlog| {
        sockets.most_waiting = most;
        [6, 16].map(|fd| why::made(&Call::Listen { fd, backlog }, Ok(0), &sockets))
    };
    for why in told(Some(4096), 4096) {
        assert!(why.ends_with("; up to 4096 connections and one more wait here"), "{why}");
    }
    for why in told(Some(50), 4096) {
        assert!(why.ends_with("; net.core.somaxconn lets up to 50 connections and one more wait here"), "{why}");
    }
    for why in told(None, 10) {
        assert!(
            why.ends_with("; up to 10 connections and one more wait here, fewer where net.core.somaxconn is less"),
            "{why}"
        );
    }
}
