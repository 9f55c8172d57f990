//! What all themes share: starting the binary, talking to it, waiting for it.
//!
//! Nothing here sleeps. Every wait is for something that happens, and gives up after [`PATIENCE`].

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::ops::Index;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Far longer than anything takes: whoever waits that long waits in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const BINARY: &str = env!("CARGO_BIN_EXE_pingpong");

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

    /// Starts it, and leaves open whether it gets anywhere.
    #[track_caller]
    pub(crate) fn spawn(mut self) -> Server {
        let mut child = self.0.spawn().expect("the command starts");
        let stdout = child.stdout.take().map(Lines::capture).unwrap_or_default();
        let stderr = child.stderr.take().map(Lines::capture).unwrap_or_default();
        Server { child, listening: Vec::new(), stdout, stderr }
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
        let mut server = self.spawn();
        let code = server.exit_code();
        Ended { code, stdout: server.stdout.all().join("\n"), stderr: server.stderr.all().join("\n") }
    }
}

/// How a command that has ended went.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running server. It is killed when dropped.
pub(crate) struct Server {
    child: Child,
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
        Pid::from_raw(self.child.id() as i32)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there");
    }

    /// Stops it (SIGSTOP), and waits until it has really stopped.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        // A small t where strace has it.
        eventually("the process stops", || matches!(self.state(), 'T' | 't').then_some(()));
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

    /// Asks it to end, and sees that it does so in good order.
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

    /// The counters, asked for by SIGUSR1.
    #[track_caller]
    pub(crate) fn stats(&self) -> Stats {
        let from = self.stderr.now().len();
        self.signal(Signal::SIGUSR1);
        Stats::parse(&self.stderr.find(from, |line| Stats::parse(line).is_some())).expect("just parsed")
    }

    /// The counters, as soon as they are so.
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
            let_time_pass();
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

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the process is there")
    }

    /// The fields of proc_pid_stat(5) from the third on: the state first.
    fn stat(&self) -> Vec<String> {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        fields.split_whitespace().map(str::to_owned).collect()
    }

    fn state(&self) -> char {
        self.stat()[0].chars().next().expect("one letter")
    }

    /// CPU time it has used, in clock ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = self.stat();
        stat[11].parse::<u64>().expect("utime") + stat[12].parse::<u64>().expect("stime")
    }

    /// Memory it has resident and for itself (no file pages), in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status("RssAnon:") * 1024
    }

    fn status(&self, key: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("proc_pid_status(5) has it");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// The descriptors it has open.
    pub(crate) fn descriptors(&self) -> BTreeSet<u64> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the process is there");
        let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        entries.filter_map(number).collect()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the process is there").count()
    }

    /// Sees that it comes to rest: asleep, and not woken for 30 ms.
    #[track_caller]
    pub(crate) fn rests(&self) {
        self.sleeps_through(15);
    }

    /// Sees that it sleeps now and then, for 10 ms at least: it may have timeouts to watch. Who spins never does.
    #[track_caller]
    pub(crate) fn does_not_spin(&self) {
        self.sleeps_through(5);
    }

    #[track_caller]
    fn sleeps_through(&self, looks: u32) {
        let wakes = || self.status("voluntary_ctxt_switches:") + self.status("nonvoluntary_ctxt_switches:");
        let (mut before, mut quiet) = (wakes(), 0);
        eventually("the process comes to rest", || {
            let now = wakes();
            quiet = if now == before && self.state() == 'S' { quiet + 1 } else { 0 };
            before = now;
            (quiet >= looks).then_some(())
        });
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

/// Lines that a thread reads as they come.
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
        let found = |captured: &Captured| captured.lines[from..].iter().find(|line| wanted(line)).cloned();
        let (captured, changed) = &*self.0;
        let captured = captured.lock().expect("nobody panics with it");
        let going_on = |captured: &mut Captured| !captured.ended && found(captured).is_none();
        let (captured, _) = changed.wait_timeout_while(captured, PATIENCE, going_on).expect("nobody panics with it");
        let line = found(&captured);
        let lines = captured.lines.clone();
        drop(captured);
        line.unwrap_or_else(|| panic!("no such line in {lines:#?}"))
    }

    /// The lines so far.
    pub(crate) fn now(&self) -> Vec<String> {
        self.0.0.lock().expect("nobody panics with it").lines.clone()
    }

    /// All lines, once there will be no more.
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

/// A client of streams, TCP or Unix. Its reads and writes give up after [`PATIENCE`].
#[derive(Debug)]
pub(crate) struct Client(Socket);

impl Client {
    #[track_caller]
    pub(crate) fn tcp(to: SocketAddr) -> Self {
        Self::connected(Socket::new(Domain::for_address(to), Type::STREAM, None), &to.into())
    }

    /// A TCP client that comes from this local address.
    #[track_caller]
    pub(crate) fn tcp_from(local: &str, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
        let local = SocketAddr::new(local.parse().expect("an address"), 0);
        socket.bind(&local.into()).expect("a local address");
        Self::connected(Ok(socket), &to.into())
    }

    #[track_caller]
    pub(crate) fn unix(path: &Path) -> Self {
        Self::connected(Socket::new(Domain::UNIX, Type::STREAM, None), &SockAddr::unix(path).expect("a path"))
    }

    #[track_caller]
    fn connected(socket: io::Result<Socket>, to: &SockAddr) -> Self {
        let socket = socket.expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        if !to.is_unix() {
            socket.set_tcp_nodelay(true).expect("no delay");
        }
        socket.connect(to).unwrap_or_else(|error| panic!("cannot connect to {to:?}: {error}"));
        Self(socket)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0
    }

    /// Its own address, as the server's log names it.
    pub(crate) fn name(&self) -> String {
        let local = self.0.local_addr().expect("a local address");
        local.as_socket().map_or_else(|| "unix".to_owned(), |address| address.to_string())
    }

    #[track_caller]
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// The next `count` bytes.
    #[track_caller]
    pub(crate) fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.0.read(&mut heard[filled..]) {
                Ok(0) => panic!("the end after {}", shown(&heard[..filled])),
                Ok(more) => filled += more,
                // A stopped process's calls with a timeout are, when it goes on (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {}", shown(&heard[..filled])),
            }
        }
        heard
    }

    /// Sees that exactly these bytes come next.
    #[track_caller]
    pub(crate) fn hears(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let heard = self.hear(expected.len());
        assert!(heard == expected, "heard {} instead of {}", shown(&heard), shown(expected));
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, question: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
        self.say(question);
        self.hears(answer);
    }

    /// All that comes until the end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap_or_else(|error| panic!("{error} after {}", shown(&rest)));
        rest
    }

    /// Sees that the server has closed in good order, and that nothing came before that.
    #[track_caller]
    pub(crate) fn hears_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{} before the end", shown(&rest));
    }

    /// Sees that nothing has come up to now.
    #[track_caller]
    pub(crate) fn has_heard_nothing(&self) {
        let mut peeked = [MaybeUninit::uninit(); 1];
        self.0.set_nonblocking(true).expect("non-blocking");
        let peeked = self.0.peek(&mut peeked);
        self.0.set_nonblocking(false).expect("blocking");
        assert!(matches!(&peeked, Err(error) if error.kind() == ErrorKind::WouldBlock), "{peeked:?} bytes came");
    }

    /// Closes the sending side.
    #[track_caller]
    pub(crate) fn finish(&self) {
        self.0.shutdown(Shutdown::Write).expect("half a close");
    }

    /// Breaks the connection off: RST.
    pub(crate) fn reset(self) {
        self.0.set_linger(Some(Duration::ZERO)).expect("no lingering");
    }

    /// Sends `pattern` over and over without reading, until no more goes in, or `most` bytes. How many have.
    #[track_caller]
    pub(crate) fn stuff(&mut self, pattern: &[u8], most: usize) -> usize {
        self.0.set_nonblocking(true).expect("non-blocking");
        let mut sent = 0;
        while sent < most {
            match self.0.write(&pattern[sent % pattern.len()..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // What the server still takes makes room at once; a quarter of a second is for ever.
                    let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    if poll(&mut polled, 250u16).expect("poll") == 0 {
                        break;
                    }
                }
                Err(error) => panic!("cannot send: {error}"),
            }
        }
        self.0.set_nonblocking(false).expect("blocking");
        sent
    }
}

/// A client of datagrams, UDP or Unix: connected, so that it hears nobody else.
pub(crate) struct Gram(Socket);

impl Gram {
    /// From any port of the right loopback address.
    #[track_caller]
    pub(crate) fn udp(to: SocketAddr) -> Self {
        Self::udp_from(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }, to)
    }

    #[track_caller]
    pub(crate) fn udp_from(local: &str, to: SocketAddr) -> Self {
        let local: SocketAddr = local.parse().expect("an address");
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None).expect("a socket");
        Self::connected(socket, Some(&local.into()), &to.into())
    }

    /// From a file, or from nowhere.
    #[track_caller]
    pub(crate) fn unix(local: Option<&Path>, to: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).expect("a socket");
        let address = |path| SockAddr::unix(path).expect("a path");
        Self::connected(socket, local.map(address).as_ref(), &address(to))
    }

    #[track_caller]
    fn connected(socket: Socket, local: Option<&SockAddr>, to: &SockAddr) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        if let Some(local) = local {
            socket.bind(local).unwrap_or_else(|error| panic!("cannot bind {local:?}: {error}"));
        }
        socket.connect(to).unwrap_or_else(|error| panic!("cannot connect to {to:?}: {error}"));
        Self(socket)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0
    }

    #[track_caller]
    pub(crate) fn say(&self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes.as_ref()).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// The next datagram.
    #[track_caller]
    pub(crate) fn hear(&self) -> Vec<u8> {
        let mut heard = vec![0; 1 << 16];
        loop {
            match (&self.0).read(&mut heard) {
                Ok(count) => {
                    heard.truncate(count);
                    return heard;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("heard nothing: {error}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn hears(&self, expected: impl AsRef<[u8]>) {
        let (expected, heard) = (expected.as_ref(), self.hear());
        assert!(heard == expected, "heard {} instead of {}", shown(&heard), shown(expected));
    }

    #[track_caller]
    pub(crate) fn ask(&self, question: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
        self.say(question);
        self.hears(answer);
    }

    /// What has come up to now.
    pub(crate) fn pending(&self) -> Vec<Vec<u8>> {
        self.0.set_nonblocking(true).expect("non-blocking");
        let mut heard = vec![0; 1 << 16];
        let mut next = || (&self.0).read(&mut heard).ok().map(|count| heard[..count].to_vec());
        let pending = std::iter::from_fn(&mut next).collect();
        self.0.set_nonblocking(false).expect("blocking");
        pending
    }
}

/// Sends UDP datagrams with any source port (root only): the kernel fills in just the IP header.
pub(crate) struct Forger(Socket);

impl Forger {
    /// From this local address; `None` where raw sockets are not allowed.
    #[track_caller]
    pub(crate) fn at(local: &str) -> Option<Self> {
        let socket = match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) {
            Ok(socket) => socket,
            Err(error) => return skip(&format!("raw sockets ({error})")),
        };
        let local = SocketAddr::new(local.parse().expect("an address"), 0);
        socket.bind(&local.into()).expect("a local address");
        Some(Self(socket))
    }

    #[track_caller]
    pub(crate) fn send(&self, source_port: u16, to: SocketAddr, bytes: &[u8]) {
        let length = u16::try_from(8 + bytes.len()).expect("a small datagram");
        let header = [source_port, to.port(), length, 0].map(u16::to_be_bytes).concat();
        self.0.send_to(&[&header, bytes].concat(), &to.into()).expect("a raw datagram");
    }
}

/// A folder of its own, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = env::temp_dir().join(unique("pingpong"));
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}

/// A network namespace of its own, with loopback up; removed when dropped.
pub(crate) struct Namespace(String);

impl Namespace {
    /// `None` where there can be none.
    #[track_caller]
    pub(crate) fn new() -> Option<Self> {
        if !root() || !tool("ip") {
            return None;
        }
        let namespace = Self(unique("pp"));
        let added = Command::new("ip").args(["netns", "add", &namespace.0]).output().expect("ip runs");
        if !added.status.success() {
            return skip(&format!("network namespaces ({})", String::from_utf8_lossy(&added.stderr).trim()));
        }
        namespace.ip("link set lo up");
        Some(namespace)
    }

    /// Two of them with a wire between: 10.77.0.1 (and 10.77.0.3) here, 10.77.0.2 there; likewise fd77::.
    #[track_caller]
    pub(crate) fn pair() -> Option<(Self, Self)> {
        let (here, there) = (Self::new()?, Self::new()?);
        here.ip(&format!("link add wire type veth peer name wire netns {}", there.0));
        for (end, addresses) in [
            (&here, &["10.77.0.1/24", "10.77.0.3/24", "fd77::1/64", "fd77::3/64"][..]),
            (&there, &["10.77.0.2/24", "fd77::2/64"]),
        ] {
            end.ip("link set wire up");
            for address in addresses {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                end.ip(&format!("address add {address} dev wire {nodad}"));
            }
        }
        Some((here, there))
    }

    /// Gives it an /etc/hosts of its own, as ip-netns(8) offers.
    #[track_caller]
    pub(crate) fn hosts(&self, lines: &str) {
        fs::create_dir_all(self.folder()).expect("root may write there");
        fs::write(self.folder().join("hosts"), lines).expect("root may write there");
    }

    fn folder(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.0)
    }

    #[track_caller]
    pub(crate) fn ip(&self, arguments: &str) {
        let output =
            Command::new("ip").args(["-n", &self.0]).args(arguments.split_whitespace()).output().expect("ip runs");
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `pingpong` in there.
    pub(crate) fn launch(&self, arguments: &str) -> Launch {
        Launch::within(&["ip", "netns", "exec", &self.0], arguments)
    }

    /// `pingpong serve` in there, ready.
    #[track_caller]
    pub(crate) fn serve(&self, arguments: &str) -> Server {
        self.launch(&format!("serve {arguments}")).start()
    }

    /// Does something on a thread that is in there. The sockets it makes stay in there.
    pub(crate) fn within<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let file = fs::File::open(format!("/run/netns/{}", self.0)).expect("its file");
        let inside = move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
            action()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(self.folder());
    }
}

/// strace(1), attached to a server from now on.
pub(crate) struct Strace {
    child: Child,
    log: PathBuf,
    _folder: Folder,
}

impl Strace {
    /// `None` where there is no strace.
    #[track_caller]
    pub(crate) fn attach(server: &Server, options: &[&str]) -> Option<Self> {
        if !tool("strace") {
            return None;
        }
        let folder = Folder::new();
        let log = folder.file("log");
        let mut child = Command::new("strace")
            .args(options)
            .arg("-o")
            .arg(&log)
            .args(["-p", &server.pid().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace runs");
        let said = Lines::capture(child.stderr.take().expect("piped"));
        // "Process 7 attached", or why not, for instance because ptrace(2) is for root alone here.
        let answer = said.find(0, |line| line.contains("attach"));
        if !answer.contains("attached") {
            let _ = child.wait();
            return skip(&answer);
        }
        Some(Self { child, log, _folder: folder })
    }

    /// Makes system calls fail from now on: `Strace::inject(&server, "accept4:error=EMFILE:when=1..3")`.
    #[track_caller]
    pub(crate) fn inject(server: &Server, what: &str) -> Option<Self> {
        let (call, _) = what.split_once(':').expect("a call and an error");
        Self::attach(server, &["-e", &format!("trace={call}"), "-e", &format!("inject={what}")])
    }

    /// How many calls have been made to fail so far.
    pub(crate) fn injected(&self) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().matches("(INJECTED)").count()
    }

    /// Lets the server go once it rests, and gives what was noted: a line for each call.
    #[track_caller]
    pub(crate) fn detach(mut self, server: &Server) -> Vec<String> {
        server.rests();
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).expect("strace is there");
        eventually("strace ends", || self.child.try_wait().expect("it is our child"));
        fs::read_to_string(&self.log).expect("its log").lines().map(str::to_owned).collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        let_time_pass();
    }
}

/// Lets other processes have their turn: poll(2) of nothing.
fn let_time_pass() {
    let _ = poll(&mut [], PollTimeout::from(2u8));
}

/// Whether this command is there. Without it a test is skipped, or fails where `PINGPONG_REQUIRE_TOOLS=1`.
#[track_caller]
pub(crate) fn tool(name: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    found || skip::<()>(name).is_some()
}

/// Whether we are root, without whom a test is skipped likewise.
#[track_caller]
pub(crate) fn root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0) || skip::<()>("root").is_some()
}

#[track_caller]
fn skip<T>(what: &str) -> Option<T> {
    assert!(env::var_os("PINGPONG_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "this test needs {what}");
    // Past the test harness, which hides what is printed.
    let _ = writeln!(io::stderr(), "skipped: this test needs {what}");
    None
}

/// Lets this process have as many descriptors as it may; how many that are.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may go up to the hard one");
    hard
}

/// Bytes that look like chance, and are the same each time (SplitMix64, Steele et al. 2014).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes()).take(count.div_ceil(8));
        let mut bytes: Vec<u8> = words.flatten().collect();
        bytes.truncate(count);
        bytes
    }
}

/// Bytes as a failure shows them.
fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=200 => format!("{:?}", bytes.escape_ascii().to_string()),
        length => format!("{length} bytes: {:?}…", bytes[..200].escape_ascii().to_string()),
    }
}
