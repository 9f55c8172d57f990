//! Floods, and receivers that do not read.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::Result;

use super::Scene;

/// The most datagrams of one flood.
const FLOOD: usize = 2_000_000;
/// How often a question is asked before its answer counts as missing: a flood may crowd it out.
const TRIES: usize = 20;
const ANSWER_WITHIN: Duration = Duration::from_millis(200);

/// Pings as fast as they can be sent, none of their answers read; then one that has to be answered.
pub(super) fn flood(scene: &Scene<'_>) -> Result<String> {
    let address = scene.server.address("ping udp")?;
    let flooder = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut sent = 0;
    while scene.goes_on() && sent < FLOOD {
        for _ in 0..64 {
            // Loopback drops what finds no room, and says nothing.
            flooder.send_to(b"ping flood", address)?;
        }
        sent += 64;
    }
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.set_read_timeout(Some(ANSWER_WITHIN))?;
    for number in 0..TRIES {
        client.send_to(format!("ping {number}").as_bytes(), address)?;
        let mut answer = [0; 16];
        if client.recv(&mut answer).is_ok() {
            return Ok(format!("{sent} datagrams, then a ping, which was answered"));
        }
    }
    Err("after the flood no ping was answered".into())
}

/// Clients that ask whenever there is room and never read; one beside them that does.
pub(super) fn deaf_receivers(scene: &Scene<'_>) -> Result<String> {
    deafen(scene, 20, |socket, server| socket.send_to(b"ping", server))
}

/// One that is connected to the server. The kernel takes any number of answers for it, as far as the server's send
/// buffer goes; for one that is not connected it takes 11.
pub(super) fn connected_deaf_receiver(scene: &Scene<'_>) -> Result<String> {
    deafen(scene, 1, |socket, server| {
        socket.connect(server)?;
        socket.send(b"ping")
    })
}

/// Has `count` deaf clients ask by `ask` until there is no more room.
fn deafen(scene: &Scene<'_>, count: usize, ask: impl Fn(&UnixDatagram, &Path) -> io::Result<usize>) -> Result<String> {
    let server = scene.server.datagram_file();
    let mut deaf = Vec::new();
    for number in 0..count {
        let socket = UnixDatagram::bind(scene.folder.join(format!("deaf-{number}")))?;
        socket.set_nonblocking(true)?;
        deaf.push(socket);
    }
    let hearing = UnixDatagram::bind(scene.folder.join("hearing"))?;
    hearing.set_read_timeout(Some(ANSWER_WITHIN))?;
    let (mut unread, mut asked, mut lost) = (0, 0, 0);
    while scene.goes_on() {
        for socket in &deaf {
            while scene.goes_on() && ask(socket, &server).is_ok() {
                unread += 1;
            }
        }
        hearing.send_to(format!("ping {asked}").as_bytes(), &server)?;
        asked += 1;
        let mut answer = [0; 16];
        match hearing.recv(&mut answer) {
            Ok(length) if answer.starts_with(b"pong ") && length > 5 => {}
            Ok(_) => return Err("a client beside the deaf got a wrong answer".into()),
            Err(_) => lost += 1,
        }
        thread::sleep(Duration::from_millis(1));
    }
    if lost > 0 {
        return Err(format!("a client beside {count} deaf lost {lost} of {asked} answers").into());
    }
    Ok(format!("{count} left {unread} answers unread; one beside them got all its {asked}"))
}
