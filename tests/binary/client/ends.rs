//! How a conversation ends, and what is said of that.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use socket2::Socket;

use super::super::support::{Folder, Server};
use super::super::talk::{Talk, Talker};
use super::{fails, listener};

#[test]
fn a_conversation_that_breaks_off_exits_1() {
    let (listener, endpoint) = listener();
    let accept = |client: &mut Talker| {
        let (mut server, _) = listener.accept().unwrap();
        client.may_type("one\n");
        let mut heard = [0; 100];
        assert_eq!(server.read(&mut heard).unwrap(), "one\n".len());
        server
    };
    for scripted in [&["one", "two"][..], &[]] {
        let mut client = Talk::client(&endpoint, scripted).start();
        let server = accept(&mut client);
        Socket::from(server).set_linger(Some(Duration::ZERO)).unwrap();
        fails(&client.ends(), 1, &[&endpoint, "reset"]);
    }
    // The server closes before the last message.
    let mut client = Talk::client(&endpoint, &["one", "two"]).start();
    drop(accept(&mut client));
    fails(&client.ends(), 1, &[&endpoint, "closed the connection"]);
    // The server closes where the last answer would come.
    let mut client = Talk::client(&endpoint, &["one", "exit"]).start();
    let mut server = accept(&mut client);
    server.write_all(b"1\n").unwrap();
    assert_eq!(server.read(&mut [0; 100]).unwrap(), "exit\n".len());
    drop(server);
    assert_eq!(client.ends_well(), "1\n");
}

/// The next line that a client says.
#[track_caller]
fn hears(server: &mut TcpStream, line: &str) {
    let mut heard = vec![0; line.len()];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(heard, line.as_bytes());
}

#[test]
fn a_server_that_closes_without_a_word_has_failed() {
    let (listener, endpoint) = listener();
    let mut scripted = Talk::client(&endpoint, &["one"]).start();
    let (mut server, _) = listener.accept().unwrap();
    hears(&mut server, "one\n");
    drop(server);
    fails(&scripted.ends(), 1, &[&endpoint, "closed the connection"]);

    let mut greeted = Talk::client(&endpoint, &["--greeting"]).start();
    drop(listener.accept().unwrap());
    fails(&greeted.ends(), 1, &[&endpoint, "closed the connection"]);

    // Nobody has typed anything yet.
    let mut interactive = Talk::client(&endpoint, &[]).start();
    drop(listener.accept().unwrap());
    fails(&interactive.ends(), 1, &[&endpoint, "closed the connection"]);
}

#[test]
fn an_interactive_client_says_that_the_server_has_gone() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let endpoint = server.endpoint("ping", "tcp").to_owned();
    let mut client = Talk::client(&endpoint, &[]).start();
    client.types("ping\n");
    client.sees("pong\n");
    // Dropping it kills it (SIGKILL).
    drop(server);
    let ended = client.ends();
    assert_eq!((ended.code, ended.stderr), (Some(0), format!("pingpong: {endpoint} closed the connection")));
}

#[test]
fn an_interactive_client_that_is_not_answered_any_more_has_failed() {
    let (listener, endpoint) = listener();
    let mut client = Talk::client(&endpoint, &[]).start();
    let (mut server, _) = listener.accept().unwrap();
    client.types("one\n");
    hears(&mut server, "one\n");
    server.write_all(b"1\n").unwrap();
    client.sees("1\n");
    client.types("two\n");
    hears(&mut server, "two\n");
    drop(server);
    fails(&client.ends(), 1, &[&endpoint, "closed the connection"]);
}

#[test]
fn a_script_that_nothing_has_answered_has_failed() {
    for end in ["exit\n", ""] {
        let (listener, endpoint) = listener();
        let mut client = Talk::client(&endpoint, &[]).start();
        let (mut server, _) = listener.accept().unwrap();
        client.types(format!("one\n{end}"));
        client.ends_input();
        server.read_to_end(&mut Vec::new()).unwrap();
        drop(server);
        fails(&client.ends(), 1, &[&endpoint, "closed the connection"]);
    }
}

#[test]
fn a_person_may_leave_unanswered() {
    let (listener, endpoint) = listener();
    let Some(mut client) = Talk::client(&endpoint, &[]).on_terminal(false) else { return };
    let (mut server, _) = listener.accept().unwrap();
    client.types("one\nexit\n");
    server.read_to_end(&mut Vec::new()).unwrap();
    drop(server);
    client.ends_well();
}

#[test]
fn datagrams_that_were_not_answered_are_told() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("udp://{}", server.local_addr().unwrap());
    let mut client = Talk::client(&endpoint, &["--timeout", "100ms"]).start();
    client.types("one\ntwo\nthree\n");
    let mut heard = [0; 100];
    let (_, from) = server.recv_from(&mut heard).unwrap();
    server.send_to(b"1", from).unwrap();
    client.ends_input();
    let ended = client.ends();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "1\n"), "{ended:?}");
    assert!(ended.stderr.contains("did not answer 2 of 3 datagrams"), "{ended:?}");
}

#[test]
fn a_message_that_is_too_long_for_a_datagram_is_named_as_that() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("udp://{}", server.local_addr().unwrap());
    let long = "x".repeat(70_000);
    fails(&Talk::client(&endpoint, &[&long]).run(), 1, &[&endpoint, "cannot send", "too long"]);

    let folder = Folder::new();
    std::fs::write(folder.file("in"), long).unwrap();
    let mut client = Talk::client(&endpoint, &[]).stdin(File::open(folder.file("in")).unwrap()).start();
    fails(&client.ends(), 1, &[&endpoint, "cannot send", "too long"]);
}

#[test]
fn an_answer_may_be_long_but_not_endless() {
    let (listener, endpoint) = listener();
    let question = |answer: &[u8]| {
        let mut client = Talk::client(&endpoint, &["how long?"]).start();
        let (mut server, _) = listener.accept().unwrap();
        hears(&mut server, "how long?\n");
        // It may have left before the end.
        let answered = std::thread::scope(|scope| {
            let writer = scope.spawn(|| server.write_all(answer));
            (client.ends(), writer.join())
        });
        answered.0
    };
    let long = [&vec![b'x'; 8 << 20][..], b"\n"].concat();
    let ended = question(&long);
    assert!(ended.code == Some(0) && ended.stdout.len() == long.len(), "{:?}", ended.stderr);
    fails(&question(&vec![b'x'; 80 << 20]), 1, &[&endpoint, "longer than 64 MiB", "--framing raw"]);
}
