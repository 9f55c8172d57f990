//! Foreign programs on the other side: blocking Python servers, the manners of a mail server, netcat, telnet, Redis.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use super::support::{Folder, tool};
use super::talk::{Talk, Talker};

/// A free port for a program that cannot report a port picked by the kernel. It lies below the kernel's own range, so
/// that no other process gets it meanwhile.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 100).unwrap() * 100;
    let ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Relaxed));
    ports.take(1000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// A Python server that runs this code with each `client`, one after the other.
#[track_caller]
fn python_server(serve: &str) -> Option<(Talker, String)> {
    let code = format!(
        "import socket\n\
         server = socket.socket()\n\
         server.bind(('127.0.0.1', 0))\n\
         server.listen(5)\n\
         print('tcp port', server.getsockname()[1])\n\
         while True:\n    client, _ = server.accept()\n{}\n    client.close()\n",
        serve.lines().map(|line| format!("    {line}\n")).collect::<String>()
    );
    let mut server = Talk::python(&code, &[])?.start();
    let endpoint = format!("tcp://{}", server.port("tcp"));
    Some((server, endpoint))
}

#[test]
fn a_server_that_ends_no_line_wants_raw() {
    let serve = "while True:\n    data = client.recv(1024)\n    if not data: break\n    client.send(b'<' + data.strip() + b'>')";
    let Some((_server, endpoint)) = python_server(serve) else { return };
    let raw = Talk::client(&endpoint, &["--framing", "raw", "one", "two"]).run();
    assert_eq!((raw.code, &*raw.stdout), (Some(0), "<one>\n<two>\n"), "{raw:?}");
    let line = Talk::client(&endpoint, &["--timeout", "100ms", "one", "two"]).run();
    assert_eq!((line.code, &*line.stdout), (Some(4), ""), "{line:?}");
    assert!(line.stderr.contains("no line end") && line.stderr.contains("--framing raw"), "{line:?}");
    // Interactive, what comes is shown as it comes.
    let mut client = Talk::client(&endpoint, &[]).start();
    client.types("one\n");
    client.sees("<one>");
    client.types("exit\n");
    client.ends_well();
}

#[test]
fn a_server_that_answers_once_it_has_heard_all() {
    let serve = "heard = b''\nwhile True:\n    data = client.recv(1024)\n    if not data: break\n    heard += data\n\
                 client.sendall(b'%d bytes\\n' % len(heard))";
    let Some((_server, endpoint)) = python_server(serve) else { return };
    let mut client = Talk::client(&endpoint, &[]).start();
    client.types("one\ntwo\n");
    client.ends_input();
    assert_eq!(client.ends_well(), "8 bytes\n");
}

#[test]
fn a_server_that_hangs_up_without_reading() {
    let Some((_server, endpoint)) = python_server("client.send(b'busy\\n')") else { return };
    let ended = Talk::client(&endpoint, &["--greeting"]).run();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "busy\n"), "{ended:?}");
    let mut client = Talk::client(&endpoint, &[]).start();
    client.sees("busy\n");
    client.ends_well();
}

#[test]
fn a_mail_servers_manners() {
    let serve = "client.sendall(b'220 mx.example ESMTP\\r\\n')\n\
                 file = client.makefile('rb')\n\
                 for line in file:\n\
                 \x20   word = line.split()[0].upper()\n\
                 \x20   if word == b'QUIT': break\n\
                 \x20   client.sendall(b'250 ' + word + b' ok\\r\\n' if word in (b'HELO', b'MAIL', b'RCPT') \
                 else b'500 what?\\r\\n')\n\
                 client.sendall(b'221 bye\\r\\n')\n\
                 file.close()";
    let Some((_server, endpoint)) = python_server(serve) else { return };
    let words = ["--greeting", "HELO me", "MAIL FROM:<a@example>", "VRFY b", "QUIT"];
    let ended = Talk::client(&endpoint, &words).run();
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().map(str::trim_end).collect();
    assert_eq!(lines, ["220 mx.example ESMTP", "250 HELO ok", "250 MAIL ok", "500 what?", "221 bye"]);
    // The server closes before the last message.
    let ended = Talk::client(&endpoint, &["--greeting", "QUIT", "HELO me", "HELO again"]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[test]
fn netcat_that_listens() {
    if !tool("ncat") {
        return;
    }
    let folder = Folder::new();
    let path = folder.file("ncat").display().to_string();
    let port = free_port().to_string();
    for (words, endpoint) in [
        (&["-v", "-l", "127.0.0.1", &port][..], format!("tcp://127.0.0.1:{port}")),
        (&["-v", "-l", "-U", &path], format!("unix://{path}")),
    ] {
        let mut ncat = Talk::program("ncat", words).start();
        ncat.says_error("Listening on");
        let mut client = Talk::client(&endpoint, &[]).start();
        ncat.types("hello from ncat\n");
        client.sees("hello from ncat\n");
        client.types("hello from pingpong\n");
        assert_eq!(ncat.sees("hello from pingpong\n"), "");
        client.types("exit\n");
        // ncat reads the end of the stream and ends; so does our client.
        assert_eq!(ncat.rest(), "");
        assert_eq!(client.ends_well(), "");
    }
}

#[test]
fn netcat_that_listens_for_datagrams() {
    if !tool("ncat") {
        return;
    }
    let port = free_port();
    let mut ncat = Talk::program("ncat", &["-v", "-u", "-l", "127.0.0.1", &port.to_string()]).start();
    ncat.says_error("Listening on");
    let mut client = Talk::client(&format!("udp://127.0.0.1:{port}"), &[]).start();
    client.types("hello\n");
    ncat.sees("hello");
    ncat.types("hi\n");
    client.sees("hi\n");
    client.types("exit\n");
    assert_eq!(client.ends_well(), "");
}

#[test]
fn netcat_and_telnet_as_clients_of_chat() {
    if !tool("nc") || !tool("telnet") {
        return;
    }
    let mut server = Talk::serve("chat=tcp://127.0.0.1:0").start();
    let port = server.ready().tcp().port().to_string();
    let mut netcat = Talk::program("nc", &["-N", "127.0.0.1", &port]).start();
    server.sees("[1] 127.0.0.1:");
    netcat.types("hello from nc\n");
    server.sees("[1] client: hello from nc\n");
    server.types("hi nc\n");
    assert_eq!(netcat.sees("hi nc\n"), "");
    let mut telnet = Talk::program("telnet", &["127.0.0.1", &port]).start();
    telnet.sees("Escape character");
    telnet.sees("\n");
    telnet.types("hello from telnet\n");
    server.sees("[2] client: hello from telnet\n");
    server.types("hi telnet\n");
    assert_eq!(telnet.sees("hi telnet"), "");
    netcat.ends_input();
    server.sees("[1] disconnected\n");
    netcat.ends_well();
    telnet.ends_input();
    server.sees("[2] disconnected\n");
}

#[test]
fn telnet_as_a_client_of_ping_and_hello() {
    if !tool("telnet") {
        return;
    }
    let mut server = Talk::serve("ping=tcp://127.0.0.1:0 hello=tcp://127.0.0.1:0 --delay 10ms").start();
    let places = server.ready();
    let telnet = |number: usize| {
        let mut telnet = Talk::program("telnet", &["127.0.0.1", &places.address(number).port().to_string()]).start();
        telnet.sees("Escape character");
        telnet.sees("\n");
        telnet
    };
    let mut ping = telnet(0);
    for (line, answer) in [("ping 1", "pong 1"), ("hello pdudo", "pong"), ("", "pong")] {
        ping.types(format!("{line}\n"));
        assert_eq!(ping.sees(answer).trim(), "");
    }
    let mut hello = telnet(1);
    hello.sees("Welcome!");
    hello.types("Michael\n");
    hello.sees("Hello, Michael!");
    hello.types("exit\n");
    hello.sees("\n");
    hello.says_error("Connection closed");
}

/// A Redis of the test's own, over TCP and a Unix socket.
#[track_caller]
pub(crate) fn redis(folder: &Folder) -> Option<(Talker, [String; 2])> {
    if !tool("redis-server") {
        return None;
    }
    let (port, path) = (free_port().to_string(), folder.file("redis").display().to_string());
    let words = ["--bind", "127.0.0.1", "--port", &port, "--unixsocket", &path, "--save", "", "--appendonly", "no"];
    let mut redis = Talk::program("redis-server", &words).stdin(Stdio::null()).start();
    redis.sees("ready to accept connections at");
    Some((redis, [format!("tcp://127.0.0.1:{port}"), format!("unix://{path}")]))
}

#[test]
fn redis_is_talked_to() {
    let folder = Folder::new();
    let Some((_redis, endpoints)) = redis(&folder) else { return };
    for endpoint in &endpoints {
        let ended = Talk::client(endpoint, &["PING", "SET x 5", "INCR x", "nonsense", "QUIT"]).run();
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
        let lines: Vec<&str> = ended.stdout.lines().map(str::trim_end).collect();
        assert_eq!(lines[..3], ["+PONG", "+OK", ":6"]);
        assert!(lines[3].starts_with("-ERR") && lines[4..] == ["+OK"], "{lines:?}");
        // Many questions in one go, and answers of several lines.
        let mut client = Talk::client(endpoint, &[]).start();
        client.types("SET name Tracy\nGET name\nDEL name\n");
        client.ends_input();
        assert_eq!(client.ends_well(), "+OK\r\n$5\r\nTracy\r\n:1\r\n");
    }
}

#[test]
fn redis_is_pinged() {
    let folder = Folder::new();
    let Some((_redis, endpoints)) = redis(&folder) else { return };
    for endpoint in &endpoints {
        let words = ["ping", endpoint, "-c", "20", "-i", "1ms", "--send", r"PING\r\n", "--expect", r"+PONG\r\n"];
        let ended = Talk::ours(&words).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let last: Vec<&str> = ended.stdout.lines().skip(20).collect();
        assert_eq!(last[0], "20 sent, 20 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate");
        assert!(last[1].starts_with("rtt min/avg/max/mdev = ") && last.len() == 2, "{last:?}");
        // Another answer than was expected is wrong.
        let words = ["ping", endpoint, "-c", "3", "-i", "1ms", "--send", r"PANG\r\n", "--expect", r"+PONG\r\n"];
        let ended = Talk::ours(&words).run();
        assert_eq!(ended.code, Some(5), "{ended:?}");
        assert!(ended.stdout.contains("3 sent, 0 received, 0 lost (0%), 0 late, 3 wrong, 0 duplicate"), "{ended:?}");
    }
}
