//! The memory of an idle connection: what a fresh server's grows by with each.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::Result;
use common::child::{Child, Cpus};
use common::measure::Spread;
use common::options::GENERATIONS;

use crate::family;
use crate::servers::{Kind, Transport};
use crate::start::{Server, words};

/// The text that `--only` looks in.
pub(crate) const NAME: &str = "memory of an idle connection";

/// The role of a child that holds connections and says nothing.
pub(crate) const HOLDS: &str = "hold";

const MANY: usize = 5000;
/// Where each is a process or a thread.
const FEWER: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(30);
const NAP: Duration = Duration::from_millis(50);

/// Bytes for each connection, and how many there were.
pub(crate) fn measure(kind: Kind, cpus: Cpus) -> Result<(usize, Spread)> {
    let count = if kind.is_one_for_each() { FEWER } else { MANY };
    let bytes: Result<Vec<f64>> = (0..GENERATIONS).map(|_| growth(kind, count, cpus)).collect();
    Ok((count, Spread::of(bytes?)))
}

fn growth(kind: Kind, count: usize, cpus: Cpus) -> Result<f64> {
    let server = Server::start(kind, Transport::Tcp, cpus.server)?;
    family::cpu_at_rest(server.pid(), NAP)?;
    let (before, open) = (family::memory(server.pid())?, family::descriptors(server.pid()));
    let mut holder = Child::start(cpus.load, &words(&[HOLDS, &count.to_string(), &server.address.to_string()]))?;
    holder.wait_for("ready")?;
    let deadline = Instant::now() + PATIENCE;
    while family::descriptors(server.pid()) < open + count {
        if Instant::now() > deadline {
            return Err(format!("{} has not accepted {count} connections in {PATIENCE:?}", kind.name()).into());
        }
        thread::sleep(NAP);
    }
    family::cpu_at_rest(server.pid(), NAP)?;
    Ok((family::memory(server.pid())? - before) / count as f64)
}

/// The life of the child that holds them.
pub(crate) fn hold(count: &str, address: &str) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let held: io::Result<Vec<TcpStream>> = (0..count.parse()?).map(|_| TcpStream::connect(address)).collect();
    let _held = held?;
    println!("ready");
    io::stdin().lines().try_for_each(|line| line.map(drop))?;
    Ok(())
}
