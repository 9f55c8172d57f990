//! Connections that come and go.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::Result;
use nix::libc::EINPROGRESS;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::{PATIENCE, Scene, dial_as};

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

const RUSH: usize = 19_000;
/// Descriptors that are no connection's of a rush: the bystander's, and those of server and benchmark themselves.
const OTHERS: usize = 300;
/// The kernel sends a SYN that was not answered again after a second (RFC 6298, 2). Who connects later than this has
/// been passed over.
const PASSED_OVER: Duration = Duration::from_millis(900);

/// Has as many clients as there are descriptors connect without waiting for one another; resets them; then again.
pub(super) fn rush(scene: &Scene<'_>) -> Result<String> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let count = RUSH.min(usize::try_from(soft)?.saturating_sub(OTHERS));
    let (mut rushes, mut longest, mut slowest) = (0, Duration::ZERO, Duration::ZERO);
    while scene.goes_on() {
        let began = Instant::now();
        let (clients, waited) = connect_at_once(scene, count)?;
        longest = longest.max(began.elapsed());
        slowest = slowest.max(waited);
        rushes += 1;
        for client in &clients {
            client.set_linger(Some(Duration::ZERO))?;
        }
    }
    let note = format!(
        "{rushes} times {count} connections, each time within {:.2} s; the slowest took {:.0} ms",
        longest.as_secs_f64(),
        slowest.as_secs_f64() * 1e3
    );
    if slowest < PASSED_OVER { Ok(note) } else { Err(format!("{note}: its SYN was sent again").into()) }
}

/// That many connections, and how long the slowest took.
fn connect_at_once(scene: &Scene<'_>, count: usize) -> Result<(Vec<Socket>, Duration)> {
    let to = scene.ping()?.into();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let (mut clients, mut began) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 0..count {
        let client = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
        setsockopt(&client, sockopt::IpBindAddressNoPort, &true)?;
        client.bind(&source(number).into())?;
        began.push(Instant::now());
        match client.connect(&to) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error.into()),
            _ => {}
        }
        let flags = EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        epoll.add(&client, EpollEvent::new(flags, number as u64))?;
        clients.push(client);
    }
    let mut events = vec![EpollEvent::empty(); 1024];
    let (mut connected, mut slowest) = (0, Duration::ZERO);
    while connected < count {
        let ready = epoll.wait(&mut events, EpollTimeout::try_from(PATIENCE)?)?;
        if ready == 0 {
            return Err(format!("{} of {count} were not connected", count - connected).into());
        }
        for event in &events[..ready] {
            let number = event.data() as usize;
            if let Some(error) = clients[number].take_error()? {
                return Err(error.into());
            }
            // Those that were connected before the loop could look are not late by more than the loop.
            slowest = slowest.max(began[number].elapsed());
            connected += 1;
        }
    }
    Ok((clients, slowest))
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
    Ok(dial_as(scene.ping()?, |socket| socket.bind(&source(number).into()))?)
}

fn source(number: usize) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, 2 + (number % 16) as u8), 0).into()
}

fn expect_pong(stream: &mut TcpStream) -> Result<()> {
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).map_err(|error| format!("a visitor got no answer: {error}"))?;
    if &answer == b"pong\n" { Ok(()) } else { Err("a visitor got a wrong answer".into()) }
}
