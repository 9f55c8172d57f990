//! Calls that fail, and reads and writes that are short.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::Result;

use super::{PATIENCE, Scene, dial};
use crate::server::{Server, Start};
use crate::tools::Injector;

/// Calls of a start, and how each fails: arguments of strace's `-e inject=`.
const STARTS: &[&str] = &[
    "socket:error=EMFILE:when=1",
    "bind:error=EACCES:when=1",
    "listen:error=EADDRINUSE:when=1",
    "setsockopt:error=ENOPROTOOPT:when=1",
    "getsockname:error=ENOBUFS:when=1",
    "epoll_create1:error=EMFILE:when=1",
    "epoll_ctl:error=ENOSPC:when=1",
    "epoll_ctl:error=ENOMEM:when=3",
    "signalfd4:error=EMFILE:when=1",
    "eventfd2:error=EMFILE:when=1",
    "timerfd_create:error=EMFILE:when=1",
    "prlimit64:error=EPERM:when=1+",
];

/// Exit codes of a start that failed as it should: cannot bind, a local limit.
const REFUSED: [i32; 2] = [3, 6];

/// Errors at start: a server says what is wrong and ends with 3 or 6, or it serves.
pub(super) fn starts(scene: &Scene<'_>) -> Result<String> {
    let (mut served, mut faults) = (0, Vec::new());
    for what in STARTS {
        let folder = scene.folder.join("start");
        fs::create_dir(&folder)?;
        match start(scene, &folder, what) {
            Ok(serves) => served += usize::from(serves),
            Err(fault) => faults.push(format!("{what}: {fault}")),
        }
        fs::remove_dir_all(&folder)?;
    }
    if !faults.is_empty() {
        return Err(faults.join("; ").into());
    }
    let refused = STARTS.len() - served;
    Ok(format!("{} starts with an error: {refused} said so and ended with 3 or 6, {served} served", STARTS.len()))
}

/// Starts a server under strace. Returns whether it serves; fails if it neither serves nor ends as it should.
fn start(scene: &Scene<'_>, folder: &Path, what: &str) -> Result<bool> {
    let call = what.split(':').next().unwrap_or_default();
    let prefix = format!("strace -D -o {{folder}}/strace -e trace={call} -e inject={what}");
    let Ok(mut server) = Server::start(&Start { prefix: &prefix, ..Start::PLAIN }, folder, scene.cpus) else {
        let log = fs::read_to_string(folder.join("log"))?;
        let code = ended_with(&folder.join("strace"))?;
        if code.is_some_and(|code| REFUSED.contains(&code)) && !log.trim().is_empty() {
            return Ok(false);
        }
        let code = code.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
        return Err(format!("{code}, having said \"{}\"", log.trim()).into());
    };
    let mut stream = dial(server.target.address("ping tcp")?)?;
    stream.write_all(b"ping\n")?;
    stream.read_exact(&mut [0; 5]).map_err(|error| format!("ready, but no answer: {error}"))?;
    drop(stream);
    match server.leave(PATIENCE)?.code {
        Some(0) => Ok(true),
        code => Err(format!("it served, and then left with {code:?}").into()),
    }
}

/// The exit code that strace has noted. It writes it a moment after the end.
fn ended_with(file: &Path) -> Result<Option<i32>> {
    for _ in 0..100 {
        let calls = fs::read_to_string(file)?;
        if let Some((_, code)) = calls.rsplit_once("+++ exited with ") {
            return Ok(code.split(' ').next().unwrap_or_default().parse().ok());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

/// Calls while serving, and how they fail. The last ones end the connection in which they happen.
const CALLS: &[&str] = &[
    "accept4:error=EMFILE:when=1..3",
    "accept4:error=ENFILE:when=1..3",
    "accept4:error=ENOBUFS:when=1..3",
    "accept4:error=ENOMEM:when=1..3",
    "accept4:error=ECONNABORTED:when=1+2",
    "accept4:error=EPROTO:when=1+2",
    "epoll_wait:error=EINTR:when=1+2",
    "recvfrom:error=EINTR:when=1+2",
    "sendto:error=EINTR:when=1+2",
    "recvmmsg:error=EINTR:when=1+2",
    "recvmmsg:error=EPERM:when=1..20",
    "recvmmsg:error=ENOMEM:when=1..20",
    "epoll_ctl:error=ENOSPC:when=2",
    "recvfrom:error=ENOMEM:when=5",
    "recvfrom:error=ETIMEDOUT:when=5",
    "sendto:error=EPIPE:when=5",
    "sendto:error=ECONNRESET:when=5",
    "sendto:error=ENOBUFS:when=5",
];
/// The number of those.
pub(super) const FATAL: usize = 6;
const VISITORS: usize = 10;

/// Errors while serving: each costs at most the connection in which it happens, and later clients are served.
pub(super) fn calls(scene: &Scene<'_>) -> Result<String> {
    let mut injected = 0;
    for (index, what) in CALLS.iter().enumerate() {
        let injector = Injector::attach(scene.server, what)?;
        let mut served = 0;
        for _ in 0..VISITORS {
            served += usize::from(is_answered(scene));
            // It may be crowded out while the call fails.
            is_answered_by_datagram(scene)?;
        }
        let failed = injector.detach()?;
        let may_fail = if index + FATAL >= CALLS.len() { 1 } else { 0 };
        if failed == 0 {
            return Err(format!("{what}: no call failed").into());
        }
        if served + may_fail < VISITORS {
            return Err(format!("{what}: {served} of {VISITORS} visitors were answered").into());
        }
        if !is_answered(scene) {
            return Err(format!("{what}: a later visitor was not answered").into());
        }
        if !(0..10).any(|_| is_answered_by_datagram(scene).is_ok_and(|answered| answered)) {
            return Err(format!("{what}: later datagrams were not answered").into());
        }
        injected += failed;
    }
    Ok(format!("{injected} failures of {} kinds; each cost one connection at most", CALLS.len()))
}

fn is_answered(scene: &Scene<'_>) -> bool {
    let mut answer = [0; 5];
    scene.dial().is_ok_and(|mut stream| {
        stream.write_all(b"ping\n").and_then(|()| stream.read_exact(&mut answer)).is_ok() && &answer == b"pong\n"
    })
}

fn is_answered_by_datagram(scene: &Scene<'_>) -> Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.send_to(b"ping", scene.server.address("ping udp")?)?;
    Ok(socket.recv(&mut [0; 16]).is_ok())
}

const TALKERS: usize = 20;
const MESSAGE: usize = 5000;

/// Under the shim of `short.c`: what an echo sends back is what was sent.
pub(super) fn short(scene: &Scene<'_>) -> Result<String> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", scene.server.pid))?;
    if !maps.contains("short.so") {
        return Err("the shim is not loaded (a static binary?)".into());
    }
    let address = scene.server.address("echo tcp")?;
    let mut streams = Vec::new();
    for _ in 0..TALKERS {
        streams.push(dial(address)?);
    }
    let mut rounds = 0;
    while scene.goes_on() {
        let message = |talker: usize| -> Vec<u8> { (0..MESSAGE).map(|at| (at * 7 + talker + rounds) as u8).collect() };
        for (talker, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&message(talker))?;
        }
        for (talker, stream) in streams.iter_mut().enumerate() {
            let mut answer = vec![0; MESSAGE];
            stream.read_exact(&mut answer).map_err(|error| format!("an echo is missing: {error}"))?;
            if answer != message(talker) {
                return Err("an echo came back changed".into());
            }
        }
        rounds += 1;
    }
    Ok(format!("{} messages of {MESSAGE} bytes echoed in pieces of 1 to 7, all equal", rounds * TALKERS))
}
