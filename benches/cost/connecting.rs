//! How long it takes to make many connections: `pingpong bench`, which finds its local addresses by itself, in turn with
//! a bare loop of socket(2), connect(2) and epoll(7) that comes from as many.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process;
use std::time::{Duration, Instant};

use common::child::{Child, Cpus};
use common::ended::last_of;
use common::options::Options;
use common::{Result, measure};
use nix::libc::EINPROGRESS;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::rows::Server;
use crate::run::Load;

/// The text that `--only` looks in.
pub(crate) const NAME: &str = "connecting";

/// The role of a child that is the bare loop.
pub(crate) const BARE: &str = "connect";

const MANY: usize = 19_000;
/// Descriptors that are no connection's.
const RESERVED: usize = 100;
/// Dials of the bare loop under way at once, as many as `pingpong bench` has.
const AT_ONCE: usize = 128;
/// Its local addresses.
const SOURCES: usize = 3;
const NAP: Duration = Duration::from_millis(20);

/// Seconds of the one and of the other, with the same server.
pub(crate) struct Pair {
    pub(crate) ours: f64,
    pub(crate) bare: f64,
}

/// How many connections are made, and how long that took.
pub(crate) fn compare(options: &Options, cpus: Cpus) -> Result<(usize, Vec<Pair>)> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let count = MANY.min(usize::try_from(limit)?.saturating_sub(RESERVED));
    let mut pairs = Vec::new();
    for round in 0..options.rounds {
        let (server, endpoint) = Server::Tcp.start(cpus.server)?;
        // The first connections of a server find its table small.
        bare(&server, &endpoint, count, cpus)?;
        let mut pair = Pair { ours: 0.0, bare: 0.0 };
        for is_bare in [round % 2 == 0, round % 2 == 1] {
            if is_bare {
                pair.bare = bare(&server, &endpoint, count, cpus)?;
            } else {
                pair.ours = ours(&server, &endpoint, count, cpus)?;
            }
        }
        pairs.push(pair);
    }
    Ok((count, pairs))
}

fn ours(server: &Child, endpoint: &str, count: usize, cpus: Cpus) -> Result<f64> {
    let role = Load::pingpong(endpoint, "").role(&format!("-c 1 --idle {} -n 1", count - 1));
    let report: Value = serde_json::from_str(&last_of(&mut Child::start(cpus.load, &role)?)?)?;
    let metrics = &report["metrics"];
    if metrics["connections_opened"] != count {
        return Err(format!("{} of {count} connections were made", metrics["connections_opened"]).into());
    }
    measure::cpu_ns_at_rest(server.pid(), NAP)?;
    Ok(metrics["connect_seconds"].as_f64().ok_or("no connect_seconds among the metrics")?)
}

fn bare(server: &Child, endpoint: &str, count: usize, cpus: Cpus) -> Result<f64> {
    let role = [BARE, endpoint, &count.to_string()].map(str::to_owned);
    let seconds = last_of(&mut Child::start(cpus.load, &role)?)?;
    measure::cpu_ns_at_rest(server.pid(), NAP)?;
    Ok(seconds.trim().parse()?)
}

/// The bare loop, as a child: says how many seconds it took.
pub(crate) fn play(arguments: &[&str]) -> Result<()> {
    let [endpoint, count] = arguments else { return Err("it needs an endpoint and a count".into()) };
    let (_, address) = endpoint.split_once("://").ok_or("an endpoint has a scheme")?;
    let (to, count): (SocketAddr, usize) = (address.parse()?, count.parse()?);
    let began = Instant::now();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut dialled = Vec::with_capacity(count);
    let mut made = 0;
    while made < count {
        while dialled.len() < count && dialled.len() - made < AT_ONCE {
            let socket = dial(to, dialled.len())?;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            epoll.add(&socket, EpollEvent::new(flags, socket.as_raw_fd().cast_unsigned().into()))?;
            dialled.push(socket);
        }
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        if events[..ready].iter().any(|event| event.events().contains(EpollFlags::EPOLLERR)) {
            return Err("a connection was refused".into());
        }
        made += ready;
    }
    println!("{}", began.elapsed().as_secs_f64());
    Ok(())
}

fn dial(to: SocketAddr, number: usize) -> Result<Socket> {
    let [.., high, low] = process::id().to_be_bytes();
    let from = Ipv4Addr::new(127, 1 + high % 254, low, 1 + u8::try_from(number % SOURCES)?);
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error.into()),
        _ => Ok(socket),
    }
}
