//! Names with several addresses, which are tried in order.

use std::fs;
use std::net::UdpSocket;

use super::super::support::{BINARY, Folder, root, tool};
use super::super::talk::{Talk, Talker};
use super::fails;

/// A client whose host `twins` is ::1 and 127.0.0.1, for this process alone; `None` where that cannot be.
#[track_caller]
fn client_of_twins(folder: &Folder, scheme: &str, port: u16, messages: &[&str]) -> Option<Talk> {
    if !root() || !tool("unshare") {
        return None;
    }
    fs::write(folder.file("hosts"), "::1 twins\n127.0.0.1 twins\n").unwrap();
    let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", folder.file("hosts").display());
    let endpoint = format!("{scheme}://twins:{port}");
    let words = ["--mount", "sh", "-c", &script, BINARY, "client", &endpoint, "--timeout", "1m"];
    Some(Talk::program("unshare", &[&words[..], messages].concat()))
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
            let Some(client) = client_of_twins(&folder, scheme, port, &["ping", "ping 2"]) else { return };
            let ended = client.run();
            assert_eq!((ended.code, &*ended.stdout), (Some(0), "pong\npong 2\n"), "{scheme}: {ended:?}");
        }
        let Some(client) = client_of_twins(&folder, "tcp", places[0].1, &[]) else { return };
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
        let Some(client) = client_of_twins(&folder, scheme, port, &["ping"]) else { return };
        fails(&client.run(), 3, &["twins", "refused"]);
    }
}

#[test]
fn the_next_address_is_asked_what_was_said_and_no_more_is_waited_for() {
    let folder = Folder::new();
    for (_server, places) in at_one_of_twins() {
        let Some(client) = client_of_twins(&folder, "udp", places[1].1, &[]) else { return };
        let mut client = client.start();
        client.types("ping 3\n");
        client.sees("pong 3\n");
        client.ends_input();
        client.ends_well();
    }
}
