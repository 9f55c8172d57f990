//! The server under attack: `pingpong serve`, what proc(5) and its own counters say of it, and how it leaves.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use common::child::{Child, Cpus};
use common::{Result, measure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::counters::Counters;

const PINGPONG: &str = env!("CARGO_BIN_EXE_pingpong");
/// How often to look whether something has come about.
const LOOK: Duration = Duration::from_millis(10);
/// How long a server may take to log its counters.
const COUNTERS_WITHIN: Duration = Duration::from_secs(2);

/// How a server is started.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    /// Words of the shell before the program: `env NAME=VALUE`, `strace …`. `{folder}` is the attack's folder.
    pub(crate) prefix: &'a str,
    /// Options of `pingpong serve`.
    pub(crate) options: &'static str,
    /// Standard output and error are full pipes that nobody reads.
    pub(crate) is_mute: bool,
}

impl Start<'_> {
    pub(crate) const PLAIN: Self = Self { prefix: "", options: "", is_mute: false };

    /// A command of the shell that becomes the server.
    fn script(&self, folder: &Path) -> String {
        let folder = folder.display().to_string();
        let places = "ping=tcp://127.0.0.1:0 ping=udp://127.0.0.1:0 echo=tcp://127.0.0.1:0";
        let files = format!("ping=unix://{folder}/ping ping=unixgram://{folder}/datagrams");
        let prefix = self.prefix.replace("{folder}", &folder);
        let serve = format!("exec {prefix} {PINGPONG} serve --framing line {} {places} {files}", self.options);
        if self.is_mute {
            // A pipe that is open at both ends in the server itself can be filled and is never closed. What fills it
            // opens it anew: O_NONBLOCK belongs to an opening, and the server's is to block.
            let fill = format!("dd if=/dev/zero of={folder}/pipe bs=4096 count=64 conv=notrunc oflag=nonblock");
            format!("mkfifo {folder}/pipe; exec 3<>{folder}/pipe; {fill} 2>{folder}/dd; {serve} >&3 2>&3")
        } else {
            format!("{serve} 2>{folder}/log")
        }
    }
}

/// A running server; dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) target: Target,
}

/// What can be done to a server from any thread.
pub(crate) struct Target {
    pub(crate) pid: Pid,
    folder: PathBuf,
    /// Where it listens, by `SERVICE SCHEME`.
    addresses: BTreeMap<String, String>,
}

/// How a server left after SIGTERM.
pub(crate) struct Leaving {
    pub(crate) took: Duration,
    pub(crate) code: Option<i32>,
}

impl Server {
    /// Starts one; returns once it is ready, or, when it is mute, at once.
    pub(crate) fn start(start: &Start<'_>, folder: &Path, cpus: Cpus) -> Result<Self> {
        let role = ["exec", "sh", "-c", &start.script(folder)].map(str::to_owned);
        let child = Child::start(cpus.server, &role)?;
        let target = Target { pid: child.pid(), folder: folder.to_owned(), addresses: BTreeMap::new() };
        let mut server = Self { child, target };
        if !start.is_mute {
            server.read_announcements()?;
        }
        Ok(server)
    }

    /// Reads `listening SERVICE SCHEME://PLACE` for each endpoint, to `ready`.
    fn read_announcements(&mut self) -> Result<()> {
        loop {
            let Some(line) = self.child.next_line()? else {
                return Err(format!("it did not start: {}", self.target.last_words()).into());
            };
            if line == "ready" {
                return Ok(());
            }
            if let [_, service, endpoint] = line.split(' ').collect::<Vec<_>>()[..]
                && let Some((scheme, place)) = endpoint.split_once("://")
            {
                self.target.addresses.insert(format!("{service} {scheme}"), place.to_owned());
            }
        }
    }

    /// Sends SIGTERM and waits for its end.
    pub(crate) fn leave(&mut self, within: Duration) -> Result<Leaving> {
        self.target.signal(Signal::SIGTERM)?;
        self.end(within)
    }

    /// Waits for its end, which has been asked for.
    pub(crate) fn end(&mut self, within: Duration) -> Result<Leaving> {
        let started = Instant::now();
        while !self.target.has_ended()? {
            if started.elapsed() > within {
                return Err(format!("still there {} s after SIGTERM", within.as_secs()).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Leaving { took: started.elapsed(), code: self.child.exit_code()? })
    }
}

impl Target {
    /// Where a service listens: `address("ping tcp")`.
    pub(crate) fn address(&self, which: &str) -> Result<SocketAddr> {
        Ok(self.addresses.get(which).ok_or("it did not say where it listens")?.parse()?)
    }

    /// The files of its Unix sockets: streams, datagrams.
    pub(crate) fn stream_file(&self) -> PathBuf {
        self.folder.join("ping")
    }

    pub(crate) fn datagram_file(&self) -> PathBuf {
        self.folder.join("datagrams")
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid, signal)?)
    }

    /// Descriptors it has open.
    pub(crate) fn descriptors(&self) -> Result<u64> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count() as u64)
    }

    /// Resident memory now and at its peak, in bytes.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        Ok((self.status("VmRSS:")? * 1024, self.status("VmHWM:")? * 1024))
    }

    /// The process that traces it; 0 when there is none.
    pub(crate) fn tracer(&self) -> Result<u64> {
        self.status("TracerPid:")
    }

    fn status(&self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("proc_pid_status(5) lacks a line")?;
        Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
    }

    /// The share of a CPU that it uses, over a second.
    pub(crate) fn busy(&self) -> Result<f64> {
        let (before, started) = (measure::cpu_ns(self.pid)?, Instant::now());
        thread::sleep(Duration::from_secs(1));
        Ok((measure::cpu_ns(self.pid)? - before) as f64 / started.elapsed().as_nanos() as f64)
    }

    /// Its counters; none when it does not log them in time, because it is stopped or mute.
    pub(crate) fn counters(&self) -> Option<Counters> {
        let seen = self.log().len();
        self.signal(Signal::SIGUSR1).ok()?;
        let deadline = Instant::now() + COUNTERS_WITHIN;
        while Instant::now() < deadline {
            thread::sleep(LOOK);
            let log = self.log();
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            if let Some(counters) = whole.get(seen..).and_then(Counters::last_in) {
                return Some(counters);
            }
        }
        None
    }

    fn log(&self) -> String {
        fs::read(self.folder.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The last line of its log.
    pub(crate) fn last_words(&self) -> String {
        self.log().lines().last().unwrap_or_default().to_owned()
    }

    /// Whether only its exit code is left (state Z of proc_pid_stat(5)).
    fn has_ended(&self) -> Result<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        Ok(stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z')))
    }
}
