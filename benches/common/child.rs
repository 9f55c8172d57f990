//! The benchmark's processes: started pinned to a CPU, spoken to in lines, killed when dropped.
//!
//! Each is this executable again with [`FLAG`], a CPU and a role. The role `exec` becomes another program, such as the
//! pingpong binary; all other roles are the benchmark's own. When the benchmark itself is killed, the kernel kills its
//! children too.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::Result;

/// First argument of a child.
const FLAG: &str = "--child";
/// A child that says nothing for this long has gone wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// The CPUs that servers and loads run on.
#[derive(Clone, Copy)]
pub struct Cpus {
    pub server: usize,
    pub load: usize,
}

impl Cpus {
    /// The first two CPUs this process may use; the same one twice where there is only one.
    pub fn pick() -> Result<Self> {
        let cpus = allowed_cpus()?;
        let server = *cpus.first().ok_or("no CPU to run on")?;
        Ok(Self { server, load: cpus.get(1).copied().unwrap_or(server) })
    }
}

/// All the CPUs that this process may use.
pub fn allowed_cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect())
}

/// A role of the benchmark's own: its name and its arguments.
type Play = fn(&str, &[&str]) -> Result<()>;

/// A benchmark's whole `main`: this process is a child (which may `play` a role), or the benchmark itself, or
/// `cargo test` checks that it starts.
pub fn enter(name: &str, play: Play, bench: impl FnOnce(&[String]) -> Result<bool>) -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let worked = match words.split_first() {
        Some((first, role)) if first == FLAG => live(role, play).map(|()| true),
        _ if words.iter().any(|word| word == "--bench") => bench(&words),
        _ => {
            println!("not measured: run it with `cargo bench --bench {name}`");
            Ok(true)
        }
    };
    match worked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Raises the soft descriptor limit to the hard one, and returns it. Children inherit it.
pub fn raise_descriptor_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// A child's whole life: `words` are its CPU, its role and the role's arguments.
fn live(words: &[String], play: Play) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [cpu, role, arguments @ ..] = &words[..] else { return Err("a child needs a CPU and a role".into()) };
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut cpus = CpuSet::new();
    cpus.set(cpu.parse()?)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)?;
    match (*role, arguments) {
        ("exec", [program, arguments @ ..]) => Err(Command::new(program).args(arguments).exec().into()),
        _ => play(role, arguments),
    }
}

/// A running child; dropping it kills it.
pub struct Child {
    name: String,
    process: process::Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Child {
    pub fn start(cpu: usize, role: &[String]) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args([FLAG, &cpu.to_string()])
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().expect("stdin is piped");
        let output = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let (sender, lines) = mpsc::channel();
        // In a thread, because a read from a pipe has no timeout. The thread ends with the child.
        thread::spawn(move || output.lines().map_while(std::io::Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { name: role.join(" "), process, input, lines })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    pub fn ask(&mut self, question: &str) -> Result<String> {
        writeln!(self.input, "{question}")?;
        self.line()
    }

    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        while self.line()? != text {}
        Ok(())
    }

    /// Where a server listens: it says `listening SERVICE SCHEME://ADDRESS`, then `ready`.
    pub fn endpoint(&mut self) -> Result<String> {
        let first = self.line()?;
        let endpoint = first.split_whitespace().find(|word| word.contains("://"));
        let endpoint = endpoint.ok_or_else(|| format!("{}: no address in {first:?}", self.name))?;
        self.wait_for("ready")?;
        Ok(endpoint.to_owned())
    }

    /// The same, of a server over TCP or UDP.
    pub fn address(&mut self) -> Result<SocketAddr> {
        let endpoint = self.endpoint()?;
        let (_, address) = endpoint.split_once("://").expect("an endpoint has a scheme");
        let mut address: SocketAddr = address.parse()?;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        Ok(address)
    }

    fn line(&mut self) -> Result<String> {
        match self.next_line()? {
            Some(line) => Ok(line),
            None => {
                let last_words = self.last_words();
                Err(format!("`{}` has ended: {last_words}", self.name).into())
            }
        }
    }

    /// The next line; `None` at the end of its output.
    pub fn next_line(&mut self) -> Result<Option<String>> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Err(format!("`{}` is silent", self.name).into()),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Its exit code, once it has ended; `None` when a signal ended it.
    pub fn exit_code(&mut self) -> Result<Option<i32>> {
        Ok(self.process.wait()?.code())
    }

    /// What it wrote to standard error. It is shown only when the child fails: warnings have no place in the table.
    pub fn last_words(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut errors) = self.process.stderr.take() {
            // What cannot be read counts as nothing said.
            let _ = errors.read_to_string(&mut text);
        }
        text.trim_end().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when the child has gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
