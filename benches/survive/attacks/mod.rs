//! The attacks.
//!
//! - `streams`: connections that send too little, too much, or read nothing
//! - `arrivals`: connections that come and go
//! - `datagrams`: floods, and receivers that do not read
//! - `process`: what the machine does to the server: signals, limits, pipes
//! - `faults`: calls that fail, and reads and writes that are short

mod arrivals;
mod datagrams;
mod faults;
mod process;
mod streams;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use common::Result;
use common::child::Cpus;
use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

use crate::server::{Start, Target};

/// Patience with a single answer or connection.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) start: Start<'static>,
    /// Says what it has done; fails where the server wronged it.
    pub(crate) run: fn(&Scene<'_>) -> Result<String>,
    /// Programs it cannot do without.
    pub(crate) needs: &'static [&'static str],
    /// Answers of the bystander that an injected error may cost.
    pub(crate) may_lose: usize,
    pub(crate) after: After,
}

/// What the attack leaves.
#[derive(PartialEq)]
pub(crate) enum After {
    /// A server that goes on.
    Serving,
    /// A server that was told to leave.
    Gone,
}

/// The server to attack, and until when.
pub(crate) struct Scene<'a> {
    pub(crate) server: &'a Target,
    pub(crate) folder: &'a Path,
    pub(crate) cpus: Cpus,
    pub(crate) deadline: Instant,
}

impl Scene<'_> {
    fn goes_on(&self) -> bool {
        Instant::now() < self.deadline
    }

    /// This number of connections, or fewer where descriptors are scarce.
    fn connections(&self, most: usize) -> usize {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        most.min(soft as usize * 2 / 5)
    }

    fn ping(&self) -> Result<SocketAddr> {
        self.server.address("ping tcp")
    }

    fn dial(&self) -> Result<TcpStream> {
        Ok(dial(self.ping()?)?)
    }
}

/// A connection whose calls do not wait for ever.
fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    dial_as(address, |_| Ok(()))
}

/// The same, of a socket prepared before it connects.
fn dial_as(address: SocketAddr, prepare: impl FnOnce(&Socket) -> io::Result<()>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    prepare(&socket)?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Many attacks at the same time.
fn all_at_once(scene: &Scene<'_>) -> Result<String> {
    let attacks: [fn(&Scene<'_>) -> Result<String>; 7] = [
        streams::slow_loris,
        streams::never_readers,
        streams::over_long_lines,
        arrivals::churn,
        arrivals::resets,
        datagrams::flood,
        datagrams::deaf_receivers,
    ];
    thread::scope(|scope| {
        let run = |attack: fn(&Scene<'_>) -> Result<String>| {
            scope.spawn(move || attack(scene).map_err(|error| error.to_string()))
        };
        let running = attacks.map(run);
        for attack in running {
            attack.join().map_err(|_| "an attack has a fault of its own")??;
        }
        Ok("slow-loris, never-readers, over-long lines, churn with FIN and RST, both kinds of datagrams".to_owned())
    })
}

const fn attack(name: &'static str, run: fn(&Scene<'_>) -> Result<String>) -> Attack {
    Attack { name, start: Start::PLAIN, run, needs: &[], may_lose: 0, after: After::Serving }
}

const fn with_options(options: &'static str, attack: Attack) -> Attack {
    Attack { start: Start { options, ..Start::PLAIN }, ..attack }
}

const fn needing(needs: &'static [&'static str], attack: Attack) -> Attack {
    Attack { needs, ..attack }
}

const SHORT: Start<'_> = Start { prefix: "env LD_PRELOAD={folder}/short.so", ..Start::PLAIN };
const MUTE: Start<'_> = Start { is_mute: true, options: "-vv", ..Start::PLAIN };

pub(crate) const ATTACKS: &[Attack] = &[
    attack("slow-loris", streams::slow_loris),
    attack("never-readers", streams::never_readers),
    attack("partial lines", streams::partial_lines),
    attack("over-long lines", streams::over_long_lines),
    attack("bursts", arrivals::bursts),
    attack("a rush", arrivals::rush),
    attack("churn, FIN", arrivals::churn),
    attack("churn, RST", arrivals::resets),
    attack("UDP flood", datagrams::flood),
    attack("deaf Unix receivers", datagrams::deaf_receivers),
    attack("a connected deaf one", datagrams::connected_deaf_receiver),
    with_options("--idle-timeout 2s", attack("stopped for 3 s", process::stopped)),
    with_options("--drain 30s", Attack { after: After::Gone, ..attack("SIGTERM while owing", process::owing) }),
    needing(&["prlimit"], attack("no descriptors", process::no_descriptors)),
    needing(&["mkfifo", "dd"], Attack { start: MUTE, ..attack("full output pipes", process::mute) }),
    needing(&["strace"], attack("failing starts", faults::starts)),
    needing(&["strace"], Attack { may_lose: faults::FATAL, ..attack("failing calls", faults::calls) }),
    needing(&["cc"], Attack { start: SHORT, ..attack("short reads and writes", faults::short) }),
    attack("all at once", all_at_once),
];
