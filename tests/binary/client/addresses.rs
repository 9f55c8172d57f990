//! Names with several addresses, which are tried in order.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use super::super::support::{BINARY, Folder, PATIENCE, root, tool};
use super::super::talk::{Talk, Talker};
use super::{fails, unanswering};

/// A client whose host `twins` is ::1 and 127.0.0.1, for this process alone; `None` where that cannot be.
#[track_caller]
fn client_of_twins(folder: &Folder, scheme: &str, port: u16, words: &[&str]) -> Option<Talk> {
    if !root() || !tool("unshare") {
        return None;
    }
    fs::write(folder.file("hosts"), "::1 twins\n127.0.0.1 twins\n").unwrap();
    let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", folder.file("hosts").display());
    let endpoint = format!("{scheme}://twins:{port}");
    let client = ["--mount", "sh", "-c", &script, BINARY, "client", &endpoint];
    Some(Talk::program("unshare", &[&client[..], words].concat()))
}

/// Our servers for TCP and UDP, one at the second address and one at the first, with scheme and port.
#[track_caller]
fn at_one_of_twins() -> Vec<(Talker, [(&'static str, u16); 2])> {
    let at = |address: &str| {
        let mut server = Talk::serve(&format!("ping=tcp://{address} ping=udp://{address}")).start();
        let places = server.ready();
        (server, [("tcp", places.address(0).port()), ("udp", places.address(1).port())])
    };
    ["127.0.0.1:0", "[::1]:0"].map(at).into()
}

#[test]
fn the_next_address_of_a_name_is_tried_where_the_first_refuses() {
    let folder = Folder::new();
    for (_server, places) in at_one_of_twins() {
        for (scheme, port) in places {
            let Some(client) = client_of_twins(&folder, scheme, port, &["--timeout", "1m", "ping", "ping 2"]) else {
                return;
            };
            let ended = client.run();
            assert_eq!((ended.code, &*ended.stdout), (Some(0), "pong\npong 2\n"), "{scheme}: {ended:?}");
        }
        let Some(client) = client_of_twins(&folder, "tcp", places[0].1, &["--timeout", "1m"]) else { return };
        let mut client = client.start();
        client.types("ping 3\n");
        client.sees("pong 3\n");
        client.ends_input();
        client.ends_well();
    }
    // No server at either address.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.connect("127.0.0.1:9").unwrap();
    let port = deaf.local_addr().unwrap().port();
    for scheme in ["tcp", "udp"] {
        let Some(client) = client_of_twins(&folder, scheme, port, &["--timeout", "1m", "ping"]) else { return };
        fails(&client.run(), 3, &["twins", "refused"]);
    }
}

#[test]
fn the_next_address_is_asked_what_was_said_and_no_more_is_waited_for() {
    let folder = Folder::new();
    for (_server, places) in at_one_of_twins() {
        let Some(client) = client_of_twins(&folder, "udp", places[1].1, &["--timeout", "1m"]) else { return };
        let mut client = client.start();
        client.types("ping 3\n");
        client.sees("pong 3\n");
        client.ends_input();
        client.ends_well();
    }
}

#[test]
fn an_address_that_was_given_up_is_not_spoken_to_when_it_is_reached_after_all() {
    let folder = Folder::new();
    // One port at both addresses; at the first the listener is full.
    let (second, port) = std::iter::repeat_with(|| {
        let second = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = second.local_addr().unwrap().port();
        (second, port)
    })
    .find(|(_, port)| TcpListener::bind(("::1", *port)).is_ok())
    .unwrap();
    let ((first, waiting), _) = unanswering(&format!("[::1]:{port}"));
    let Some(client) = client_of_twins(&folder, "tcp", port, &["--timeout", "100ms"]) else { return };
    let mut client = client.start();
    let (mut server, _) = second.accept().unwrap();
    // Now there is room, and the kernel asks again.
    for _ in &waiting {
        drop(first.accept().unwrap());
    }
    let (mut late, _) = first.accept().unwrap();
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(late.read(&mut [0; 100]).unwrap(), 0, "it is left");

    client.types("question\n");
    let mut heard = [0; 100];
    assert_eq!(server.read(&mut heard).unwrap(), "question\n".len());
    server.write_all(b"answer\n").unwrap();
    client.sees("answer\n");
    client.ends_input();
    drop(server);
    client.ends_well();
}
