//! The loads: each row's server, its options of `pingpong bench`, and its bar.

use std::path::PathBuf;
use std::{env, fs, process};

use common::Result;
use common::child::Child;

/// The binary under measurement: server and load.
pub(crate) const PINGPONG: &str = env!("CARGO_BIN_EXE_pingpong");

/// One line of the table.
pub(crate) struct Row {
    pub(crate) server: Server,
    /// The options of `pingpong bench`.
    pub(crate) load: &'static str,
    pub(crate) place: Place,
    /// The most CPU time that the load may take, as a multiple of the server's.
    pub(crate) bar: Option<f64>,
}

/// Where a row's load runs.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    /// On a CPU of its own. Both are awake nearly all the time; the cheaper one looks for events more often and finds
    /// fewer each time, so that their figures draw near each other.
    Apart,
    /// On the server's CPU, where each works off what the other has left: the bare costs.
    Together,
}

impl Row {
    pub(crate) fn name(&self) -> String {
        let place = if self.place == Place::Together { ", on the server's CPU" } else { "" };
        format!("{} {}{place}", self.server.scheme(), self.load)
    }
}

/// What `pingpong serve ping=` listens on.
#[derive(Clone, Copy)]
pub(crate) enum Server {
    Tcp,
    Udp,
    Unix,
}

impl Server {
    fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
        }
    }

    /// A fresh one, and where it listens.
    pub(crate) fn start(self, cpu: usize) -> Result<(Child, String)> {
        let place = match self {
            Self::Tcp | Self::Udp => "127.0.0.1:0".to_owned(),
            // A server replaces the stale file of one that has been killed.
            Self::Unix => Folder::path().join("ping").display().to_string(),
        };
        let service = format!("ping={}://{place}", self.scheme());
        let role = ["exec", PINGPONG, "serve", "-q", &service].map(str::to_owned);
        let mut server = Child::start(cpu, &role)?;
        let endpoint = server.endpoint()?;
        Ok((server, endpoint))
    }
}

/// The folder of Unix sockets' files. Dropping it removes it, with what killed servers have left there.
pub(crate) struct Folder(());

impl Folder {
    pub(crate) fn create() -> Result<Self> {
        fs::create_dir(Self::path())?;
        Ok(Self(()))
    }

    fn path() -> PathBuf {
        env::temp_dir().join(format!("pingpong-cost-{}", process::id()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays.
        let _ = fs::remove_dir_all(Self::path());
    }
}

const fn row(server: Server, load: &'static str) -> Row {
    Row { server, load, place: Place::Apart, bar: Some(1.3) }
}

const fn together(row: Row) -> Row {
    Row { place: Place::Together, ..row }
}

pub(crate) const ROWS: &[Row] = &[
    row(Server::Tcp, "-c 50"),
    together(row(Server::Tcp, "-c 50")),
    row(Server::Tcp, "-c 50 -p 16"),
    together(row(Server::Tcp, "-c 50 -p 16")),
    row(Server::Tcp, "-c 1000"),
    row(Server::Udp, "-c 50"),
    together(row(Server::Udp, "-c 50")),
    row(Server::Unix, "-c 50"),
    together(row(Server::Unix, "-c 50")),
    // Without a bar: the open loop polls on purpose near a deadline, and `busy` is its cost.
    Row { bar: None, ..row(Server::Tcp, "-c 50 -r 20k") },
];

/// Measured last, because their closed connections occupy the kernel for another minute. From many addresses, so that
/// the kernel need not search for free ports. Without a bar: connecting takes more system calls than accepting.
pub(crate) const CHURN: &[Row] = &[VISITS, together(VISITS)];
const VISITS: Row = Row { bar: None, ..row(Server::Tcp, "-c 50 --churn --source 127.0.1.0/24") };
