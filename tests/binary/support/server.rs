//! The binary as a child process: starting it, signalling it, reading what it says.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::ops::{Deref, Index};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Client, LOOK_EVERY, PATIENCE, Process, eventually, pass};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_pingpong");

/// A command line that is about to be run.
pub(crate) struct Launch(Command);

impl Launch {
    /// `pingpong` with these words.
    pub(crate) fn new(arguments: &str) -> Self {
        Self::within(&[], arguments)
    }

    /// `pingpong` as the command of another command, such as `ip netns exec NAME`.
    pub(crate) fn within(wrapper: &[&str], arguments: &str) -> Self {
        let mut words = wrapper.iter().copied().chain([BINARY]).chain(arguments.split_whitespace());
        let mut command = Command::new(words.next().expect("the binary at least"));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// `pingpong` started by a shell, where `exec "$0" "$@"` is it.
    pub(crate) fn shell(script: &str, arguments: &str) -> Self {
        Self::within(&["/bin/sh", "-c", script], arguments)
    }

    pub(crate) fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.0.stdout(to);
        self
    }

    pub(crate) fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.0.stderr(to);
        self
    }

    /// Starts it, and does not wait for anything.
    #[track_caller]
    pub(crate) fn spawn(mut self) -> Server {
        let mut child = self.0.spawn().expect("the command starts");
        let stdout = child.stdout.take().map(Lines::capture).unwrap_or_default();
        let stderr = child.stderr.take().map(Lines::capture).unwrap_or_default();
        let process = Process::of(&child);
        Server { child, process, listening: Vec::new(), stdout, stderr }
    }

    /// Starts it, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> Server {
        let mut server = self.spawn();
        server.stdout.find(0, |line| line == "ready");
        let listening = |line: &String| {
            let (service, endpoint) = line.strip_prefix("listening ")?.split_once(' ')?;
            Some((service.to_owned(), endpoint.to_owned()))
        };
        server.listening = server.stdout.now().iter().filter_map(listening).collect();
        server
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        self.spawn().ends()
    }
}

/// What is left of a command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running server. It is killed when dropped.
pub(crate) struct Server {
    child: Child,
    process: Process,
    listening: Vec<(String, String)>,
    stdout: Lines,
    stderr: Lines,
}

impl Server {
    /// `pingpong serve` with these words, ready.
    #[track_caller]
    pub(crate) fn start(arguments: &str) -> Self {
        Launch::new(&format!("serve {arguments}")).start()
    }

    /// Where it listens: the first endpoint of this service and scheme.
    #[track_caller]
    pub(crate) fn endpoint(&self, service: &str, scheme: &str) -> &str {
        let place = |(name, endpoint): &'_ (String, String)| name == service && endpoint.starts_with(scheme);
        let found = self.listening.iter().find(|line| place(line) && line.1[scheme.len()..].starts_with("://"));
        let (_, endpoint) = found.unwrap_or_else(|| panic!("no {scheme} for {service} in {:?}", self.listening));
        endpoint
    }

    #[track_caller]
    pub(crate) fn tcp(&self, service: &str) -> SocketAddr {
        self.endpoint(service, "tcp")["tcp://".len()..].parse().expect("an address")
    }

    #[track_caller]
    pub(crate) fn udp(&self, service: &str) -> SocketAddr {
        self.endpoint(service, "udp")["udp://".len()..].parse().expect("an address")
    }

    /// A new connection to its TCP endpoint for this service.
    #[track_caller]
    pub(crate) fn dial(&self, service: &str) -> Client {
        Client::tcp(self.tcp(service))
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.0
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there");
    }

    /// Stops it (SIGSTOP), and waits until it has really stopped.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("the process stops", || self.is_stopped().then_some(()));
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its exit code, once it has ended; `None` when a signal killed it.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let status = eventually("the process ends", || self.child.try_wait().expect("it is our child"));
        status.code()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Ended {
        let code = self.exit_code();
        Ended { code, stdout: self.stdout.all().join("\n"), stderr: self.stderr.all().join("\n") }
    }

    /// Asks it to end, and asserts that it ends with code 0.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Stats {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.exit_code(), Some(0));
        self.final_stats()
    }

    /// The counters it logged when it ended.
    #[track_caller]
    pub(crate) fn final_stats(&self) -> Stats {
        self.stderr.all().iter().rev().find_map(|line| Stats::parse(line)).expect("counters at the end")
    }

    /// The counters, asked for by SIGUSR1, several times where a flood of log lines leaves no room for them.
    #[track_caller]
    pub(crate) fn stats(&self) -> Stats {
        eventually("the counters", || {
            let from = self.stderr.now().len();
            self.signal(Signal::SIGUSR1);
            let line = self.stderr.wait(from, Duration::from_secs(2), |line| Stats::parse(line).is_some());
            line.and_then(|line| Stats::parse(&line))
        })
    }

    /// The counters, once they are as `so` wants them.
    #[track_caller]
    pub(crate) fn stats_once(&self, what: &str, so: impl Fn(&Stats) -> bool) -> Stats {
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let stats = self.stats();
            if so(&stats) {
                return stats;
            }
            last = Some(stats);
            pass(LOOK_EVERY);
        }
        panic!("in vain: {what}: {last:?}")
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.now()
    }

    /// What it has written to standard error in all, once it has ended.
    #[track_caller]
    pub(crate) fn stderr_all(&self) -> Vec<String> {
        self.stderr.all()
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.now()
    }

    /// Waits for a log line that contains `text`.
    #[track_caller]
    pub(crate) fn log(&self, text: &str) -> String {
        self.stderr.find(0, |line| line.contains(text))
    }

    /// Reads its standard error from here on.
    pub(crate) fn read_stderr(&mut self, from: impl Read + Send + 'static) {
        self.stderr = Lines::capture(from);
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.stderr.now();
            eprintln!("the server's last words: {:#?}", &lines[lines.len().saturating_sub(20)..]);
        }
    }
}

/// Counters as the server logs them: `stats["open"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stats(HashMap<String, u64>);

impl Stats {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        let counters: HashMap<_, _> = pairs.filter_map(|(key, n)| Some((key.to_owned(), n.parse().ok()?))).collect();
        (counters.contains_key("open") && counters.contains_key("log_lost")).then_some(Self(counters))
    }
}

impl Index<&str> for Stats {
    type Output = u64;

    fn index(&self, key: &str) -> &u64 {
        self.0.get(key).unwrap_or_else(|| panic!("no {key} in {:?}", self.0))
    }
}

/// Lines of a process's output, which a thread reads as they come.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Captured>, Condvar)>);

#[derive(Default)]
struct Captured {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    pub(crate) fn capture(source: impl Read + Send + 'static) -> Self {
        let captured = Self::default();
        let writer = captured.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                writer.change(|captured| captured.lines.push(text));
                line.clear();
            }
            writer.change(|captured| captured.ended = true);
        });
        captured
    }

    fn change(&self, change: impl FnOnce(&mut Captured)) {
        let (captured, changed) = &*self.0;
        change(&mut captured.lock().expect("nobody panics with it"));
        changed.notify_all();
    }

    /// Waits for the first line from number `from` on that is `wanted`.
    #[track_caller]
    pub(crate) fn find(&self, from: usize, wanted: impl Fn(&str) -> bool) -> String {
        let line = self.wait(from, PATIENCE, wanted);
        line.unwrap_or_else(|| panic!("no such line in {:#?}", self.now()))
    }

    /// Waits for `patience` at the most, and no longer once the source has ended.
    fn wait(&self, from: usize, patience: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let found = |captured: &Captured| captured.lines[from..].iter().find(|line| wanted(line)).cloned();
        let (captured, changed) = &*self.0;
        let captured = captured.lock().expect("nobody panics with it");
        let going_on = |captured: &mut Captured| !captured.ended && found(captured).is_none();
        let (captured, _) = changed.wait_timeout_while(captured, patience, going_on).expect("nobody panics with it");
        found(&captured)
    }

    /// The lines so far.
    pub(crate) fn now(&self) -> Vec<String> {
        self.0.0.lock().expect("nobody panics with it").lines.clone()
    }

    /// All lines, once the source has ended.
    #[track_caller]
    pub(crate) fn all(&self) -> Vec<String> {
        let (captured, changed) = &*self.0;
        let captured = captured.lock().expect("nobody panics with it");
        let (captured, _) =
            changed.wait_timeout_while(captured, PATIENCE, |captured| !captured.ended).expect("nobody panics with it");
        assert!(captured.ended, "output goes on and on");
        captured.lines.clone()
    }
}
