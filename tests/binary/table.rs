//! The README's table of system calls, compared with the calls that strace(1) sees, in order.

use std::fs;

use super::support::{Folder, Launch, Server, tool};

/// Setting up, waiting, a client, a message, an answer, the end.
const SERVER_TCP: &[&str] = &[
    "socket(AF_INET, SOCK_STREAM",
    "setsockopt(, SOL_SOCKET, SO_REUSEADDR",
    "setsockopt(, SOL_TCP, TCP_NODELAY",
    "bind(",
    "listen(, 4096)",
    "epoll_ctl(, EPOLL_CTL_ADD",
    "epoll_wait(",
    "accept4(",
    "epoll_ctl(, EPOLL_CTL_ADD",
    "recvfrom(, \"ping 1\\n\"",
    "sendto(, \"pong 1\\n\", 7, MSG_NOSIGNAL",
    "recvfrom(, \"\"",
    "close(",
    "read(", // the signal
];

const SERVER_UDP: &[&str] = &[
    "socket(AF_INET, SOCK_DGRAM",
    "setsockopt(, SOL_SOCKET, SO_RCVBUF",
    "bind(",
    "epoll_ctl(, EPOLL_CTL_ADD",
    "epoll_wait(",
    "recvmmsg(",
    "sendto(, \"pong 1\", 6",
];

const CLIENT_TCP: &[&str] = &[
    "socket(AF_INET, SOCK_STREAM",
    "connect(",
    "epoll_ctl(, EPOLL_CTL_ADD",
    "epoll_wait(",
    "getsockopt(, SOL_SOCKET, SO_ERROR",
    "getpeername(",
    "sendto(, \"ping 1\\n\", 7, MSG_NOSIGNAL",
    "recvfrom(, \"pong 1\\n\"",
    "write(, \"pong 1\\n\"",
    "close(",
];

const CLIENT_UDP: &[&str] = &[
    "socket(AF_INET, SOCK_DGRAM",
    "connect(",
    "epoll_ctl(, EPOLL_CTL_ADD",
    "sendto(, \"ping 1\", 6",
    "epoll_wait(",
    "recvmmsg(",
    "write(, \"pong 1\\n\"",
];

/// Whether a call is of this form: its name, and a text that its arguments contain after the descriptor.
fn is_like(call: &str, form: &str) -> bool {
    let (name, argument) = form.split_once('(').expect("a call");
    let argument = argument.trim_start_matches(", ");
    call.split_once('(').is_some_and(|(called, arguments)| called.ends_with(name) && arguments.contains(argument))
}

#[track_caller]
fn assert_in_order(log: &str, table: &[&str]) {
    let mut calls = log.lines();
    for form in table {
        assert!(calls.any(|call| is_like(call, form)), "no {form} where it should be, in\n{log}");
    }
}

/// One question over this scheme, with both sides traced.
#[track_caller]
fn traced(scheme: &str) -> Option<(String, String)> {
    if !tool("strace") {
        return None;
    }
    let folder = Folder::new();
    let (served, asked) = (folder.file("server"), folder.file("client"));
    let words = |log: &std::path::Path| ["strace".to_owned(), "-o".to_owned(), log.display().to_string()];
    let arguments = words(&served);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut server: Server = Launch::within(&arguments, &format!("serve ping={scheme}://127.0.0.1:0")).start();
    let arguments = words(&asked);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let endpoint = server.endpoint("ping", scheme).to_owned();
    // By a shell, because a launch splits its arguments at spaces, and the message has one.
    let script = format!("exec {} \"$0\" client {endpoint} 'ping 1'", arguments.join(" "));
    let client = Launch::shell(&script, "").run();
    assert_eq!((client.code, client.stdout.as_str()), (Some(0), "pong 1"), "{}", client.stderr);
    // strace does not pass the signal on: the traced process itself gets it.
    let traced = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).expect("strace's child");
    let traced = nix::unistd::Pid::from_raw(traced.trim().parse().expect("one child"));
    nix::sys::signal::kill(traced, nix::sys::signal::Signal::SIGTERM).expect("it is there");
    assert_eq!(server.exit_code(), Some(0));
    let read = |path| fs::read_to_string(path).expect("its log");
    Some((read(served), read(asked)))
}

#[test]
fn tcp_is_what_the_table_says() {
    let Some((server, client)) = traced("tcp") else { return };
    assert_in_order(&server, SERVER_TCP);
    assert_in_order(&client, CLIENT_TCP);
}

#[test]
fn udp_is_what_the_table_says() {
    let Some((server, client)) = traced("udp") else { return };
    assert_in_order(&server, SERVER_UDP);
    assert_in_order(&client, CLIENT_UDP);
}
