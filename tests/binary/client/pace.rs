//! How far it goes ahead of a server that is slow, silent or not there, and how many calls it makes.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use super::super::support::{BINARY, Folder, tool};
use super::super::talk::Talk;
use super::{listener, serve, unanswering};

/// A program that writes lines without end, killed when dropped.
struct Yes(Child);

impl Yes {
    fn start() -> (Self, Stdio) {
        let mut child = Command::new("yes").stdout(Stdio::piped()).spawn().expect("yes(1) starts");
        let lines = child.stdout.take().expect("piped");
        (Self(child), lines.into())
    }
}

impl Drop for Yes {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// More than a client needs that holds back its input.
const MEMORY: u64 = 24 << 20;

#[test]
fn input_waits_until_the_server_is_reached() {
    let (_listener, endpoint) = unanswering("127.0.0.1:0");
    let (_yes, lines) = Yes::start();
    let client = Talk::client(&endpoint, &["--timeout", "1m"]).stdin(lines).start();
    client.rests();
    assert!(client.memory() < MEMORY, "{} bytes", client.memory());
}

#[test]
fn input_waits_for_answers_to_datagrams() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("udp://{}", server.local_addr().unwrap());
    let (_yes, lines) = Yes::start();
    let client = Talk::client(&endpoint, &["--timeout", "1m"]).stdin(lines).start();
    client.rests();
    assert!(client.memory() < MEMORY, "{} bytes", client.memory());

    // So many that the kernel held them all.
    let mut heard = [0; 100];
    let (mut count, (_, from)) = (1, server.recv_from(&mut heard).unwrap());
    server.set_nonblocking(true).unwrap();
    while server.recv(&mut heard).is_ok() {
        count += 1;
    }
    assert_eq!(count, 128);
    // Each answer lets one more out.
    server.set_nonblocking(false).unwrap();
    for _ in 0..3 {
        server.send_to(b"n", from).unwrap();
        server.recv(&mut heard).unwrap();
    }
    client.rests();
    server.set_nonblocking(true).unwrap();
    assert_eq!(server.recv(&mut heard).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_server_that_never_answers_does_not_hold_datagrams_for_ever() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("udp://{}", server.local_addr().unwrap());
    let (_yes, lines) = Yes::start();
    let _client = Talk::client(&endpoint, &["--timeout", "10ms"]).stdin(lines).start();
    for _ in 0..1000 {
        assert_eq!(server.recv(&mut [0; 100]).unwrap(), 1);
    }
}

#[test]
fn a_long_script_of_datagrams_is_answered_whole() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "echo", "");
    let script: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    fs::write(folder.file("in"), &script).unwrap();
    for endpoint in [&endpoints[1], &endpoints[3]] {
        let mut client = Talk::client(endpoint, &[]).stdin(fs::File::open(folder.file("in")).unwrap()).start();
        assert!(client.ends_well() == script, "{endpoint}");
    }
}

/// How often a client sends, as strace(1) sees it; `None` where there is no strace.
#[track_caller]
fn sends(folder: &Folder, endpoint: &str, words: &[&str]) -> Option<(Talk, impl Fn() -> usize)> {
    if !tool("strace") {
        return None;
    }
    let log = folder.file("calls");
    let options = ["-e", "trace=sendto", "-o", log.to_str().expect("a plain path"), BINARY, "client", endpoint];
    let client = Talk::program("strace", &[&options[..], words].concat());
    Some((client, move || fs::read_to_string(&log).unwrap().matches("sendto(").count()))
}

#[test]
fn answers_of_one_chunk_are_followed_by_one_send() {
    let folder = Folder::new();
    let (listener, endpoint) = listener();
    let Some((client, sends)) = sends(&folder, &endpoint, &["a", "b", "c", "d"]) else { return };
    let mut client = client.start();
    let (mut server, _) = listener.accept().unwrap();
    let mut heard = [0; 100];
    assert_eq!(server.read(&mut heard).unwrap(), "a\n".len());
    server.write_all(b"1\n2\n3\n").unwrap();
    assert_eq!(server.read(&mut heard).unwrap(), "b\nc\nd\n".len());
    server.write_all(b"4\n").unwrap();
    assert_eq!(client.ends_well(), "1\n2\n3\n4\n");
    assert_eq!(sends(), 2);
}

#[test]
fn lines_read_together_are_sent_together() {
    let folder = Folder::new();
    let (listener, endpoint) = listener();
    let Some((client, sends)) = sends(&folder, &endpoint, &[]) else { return };
    fs::write(folder.file("in"), "x\n".repeat(1000)).unwrap();
    let mut client = client.stdin(fs::File::open(folder.file("in")).unwrap()).start();
    let (mut server, _) = listener.accept().unwrap();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), 2000);
    server.write_all(b"heard\n").unwrap();
    drop(server);
    client.ends_well();
    assert_eq!(sends(), 1);
}
