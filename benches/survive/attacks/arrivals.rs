//! Connections that come and go.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use common::Result;

use super::{Scene, dial_as};

const BURST: usize = 2000;

/// Connects many at once, has each ask once, and closes them; then again.
pub(super) fn bursts(scene: &Scene<'_>) -> Result<String> {
    let count = scene.connections(BURST);
    let mut bursts = 0;
    while scene.goes_on() {
        let mut streams = Vec::new();
        for number in 0..count {
            streams.push(visit(scene, number)?);
        }
        for stream in &mut streams {
            stream.write_all(b"ping\n")?;
        }
        for stream in &mut streams {
            expect_pong(stream)?;
        }
        bursts += 1;
    }
    Ok(format!("{bursts} times {count} connections, all answered"))
}

/// The most visits of one attack: each leaves its port in TIME_WAIT for a minute.
const VISITS: usize = 50_000;

/// Connects, asks, is answered and closes, one after the other.
pub(super) fn churn(scene: &Scene<'_>) -> Result<String> {
    let mut visits = 0;
    while scene.goes_on() && visits < VISITS {
        let mut stream = visit(scene, visits)?;
        stream.write_all(b"ping\n")?;
        expect_pong(&mut stream)?;
        visits += 1;
    }
    Ok(format!("{visits} visits, all answered"))
}

/// Connects, asks, and resets: half of them with the answer under way.
pub(super) fn resets(scene: &Scene<'_>) -> Result<String> {
    let mut visits = 0;
    while scene.goes_on() && visits < VISITS {
        let mut stream = visit(scene, visits)?;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.write_all(&b"ping\n".repeat(100))?;
        if visits % 2 == 0 {
            expect_pong(&mut stream)?;
        }
        visits += 1;
    }
    Ok(format!("{visits} visits, each ended by RST with answers unread"))
}

/// A connection from one of several addresses in turn, which have more ports than one.
fn visit(scene: &Scene<'_>, number: usize) -> Result<TcpStream> {
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2 + (number % 16) as u8), 0));
    Ok(dial_as(scene.ping()?, |socket| socket.bind(&from.into()))?)
}

fn expect_pong(stream: &mut TcpStream) -> Result<()> {
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).map_err(|error| format!("a visitor got no answer: {error}"))?;
    if &answer == b"pong\n" { Ok(()) } else { Err("a visitor got a wrong answer".into()) }
}
