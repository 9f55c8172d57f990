//! Programs that a test types to and whose output it reads as a person would, through pipes or a terminal.
//!
//! Output is read only when the test looks at it, by no thread: so a test can also leave it unread.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, tcgetpgrp};

use super::support::{BINARY, Ended, Lines, PATIENCE, Process, eventually, tool};

/// A program that is about to be run. Its standard input, output and error are pipes unless told otherwise.
pub(crate) struct Talk(Command);

impl Talk {
    pub(crate) fn program(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// `pingpong` with these words.
    pub(crate) fn ours(arguments: &[&str]) -> Self {
        Self::program(BINARY, arguments)
    }

    /// `pingpong serve` with these words.
    pub(crate) fn serve(arguments: &str) -> Self {
        Self::ours(&["serve"].into_iter().chain(arguments.split_whitespace()).collect::<Vec<_>>())
    }

    /// `pingpong client` with these words.
    pub(crate) fn client(endpoint: &str, arguments: &[&str]) -> Self {
        Self::ours(&[&["client", endpoint], arguments].concat())
    }

    /// A Python program; `None` where there is no Python.
    #[track_caller]
    pub(crate) fn python(code: &str, arguments: &[&str]) -> Option<Self> {
        tool("python3").then(|| Self::program("python3", &[&["-u", "-c", code], arguments].concat()))
    }

    /// A program of `tests/tutorials`; `None` where there is no Python.
    #[track_caller]
    pub(crate) fn tutorial(name: &str, arguments: &[&str]) -> Option<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tutorials").join(name);
        let path = path.to_str().expect("a plain path");
        tool("python3").then(|| Self::program("python3", &[&["-u", path], arguments].concat()))
    }

    pub(crate) fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.0.stdin(from);
        self
    }

    pub(crate) fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.0.stdout(to);
        self
    }

    #[track_caller]
    pub(crate) fn start(mut self) -> Talker {
        let mut child = self.0.spawn().expect("the program starts");
        let keyboard = child.stdin.take().map(|stdin| File::from(OwnedFd::from(stdin)));
        let screen = child.stdout.take().map(|stdout| Screen::of(OwnedFd::from(stdout).into()));
        let errors = child.stderr.take().map(Lines::capture);
        let process = Process::of(&child);
        Talker { child, process, keyboard, screen: screen.unwrap_or_default(), errors, terminal: None }
    }

    /// Runs it to its end, with nothing to read.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        self.stdin(Stdio::null()).start().ends()
    }

    /// Starts it on a terminal of its own: standard input, output and, if `with_errors`, standard error too.
    /// `None` where setsid(1) is missing.
    #[track_caller]
    pub(crate) fn on_terminal(self, with_errors: bool) -> Option<Talker> {
        if !tool("setsid") {
            return None;
        }
        let (master, terminal) = pseudo_terminal();
        let slave = || terminal.try_clone().expect("a descriptor");
        let inner: Vec<_> = [self.0.get_program()].into_iter().chain(self.0.get_args()).collect();
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(inner).stdin(slave()).stdout(slave());
        command.stderr(if with_errors { slave().into() } else { Stdio::piped() });
        let mut child = command.spawn().expect("the program starts");
        let errors = child.stderr.take().map(Lines::capture);
        let keyboard = Some(master.try_clone().expect("a descriptor"));
        let (process, terminal) = (Process::of(&child), Some(terminal.into()));
        Some(Talker { child, process, keyboard, screen: Screen::of(master), errors, terminal })
    }
}

/// Both ends of a pseudo-terminal. Unlike those of openpty(3), they are not inherited by another test's child.
pub(crate) fn pseudo_terminal() -> (File, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a pseudo-terminal");
    grantpt(&master).expect("its other end");
    unlockpt(&master).expect("its other end");
    let name = ptsname_r(&master).expect("the name of its other end");
    let slave = File::options().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name);
    (OwnedFd::from(master).into(), slave.expect("its other end"))
}

/// A running program. It is killed when dropped.
pub(crate) struct Talker {
    child: Child,
    process: Process,
    keyboard: Option<File>,
    screen: Screen,
    /// Its standard error, unless that is the terminal too.
    errors: Option<Lines>,
    /// Its side of the terminal, if it is at one.
    terminal: Option<OwnedFd>,
}

impl Talker {
    #[track_caller]
    pub(crate) fn types(&mut self, text: impl AsRef<[u8]>) {
        let keyboard = self.keyboard.as_mut().expect("its input is open");
        keyboard.write_all(text.as_ref()).unwrap_or_else(|error| panic!("cannot type: {error}"));
    }

    /// Types it, if the program still reads.
    pub(crate) fn may_type(&mut self, text: &str) {
        if let Some(keyboard) = &mut self.keyboard {
            let _ = keyboard.write_all(text.as_bytes());
        }
    }

    /// Types this line again and again, a page of it at a time, until the program has read all that it wants for now.
    /// Returns how many bytes those were.
    #[track_caller]
    pub(crate) fn types_all_it_takes(&mut self, line: &str) -> usize {
        let page = line.repeat(4096 / line.len());
        let mut typed = 0;
        loop {
            let keyboard = self.keyboard.as_mut().expect("its input is open");
            if has_room(keyboard) {
                keyboard.write_all(page.as_bytes()).unwrap_or_else(|error| panic!("cannot type: {error}"));
                typed += page.len();
                assert!(typed < 64 << 20, "it reads and reads");
                continue;
            }
            self.process.rests();
            if !has_room(self.keyboard.as_mut().expect("its input is open")) {
                return typed;
            }
        }
    }

    /// Closes its standard input.
    pub(crate) fn ends_input(&mut self) {
        self.keyboard = None;
    }

    /// Closes the other end of its standard output.
    pub(crate) fn closes_output(&mut self) {
        self.screen = Screen::default();
    }

    /// Waits until it has written `text`. Returns what it wrote before that since the last call.
    #[track_caller]
    pub(crate) fn sees(&mut self, text: &str) -> String {
        self.screen.sees(text)
    }

    /// All that it writes from here on, until it closes its output.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        self.terminal = None;
        self.screen.rest()
    }

    /// All that it has written so far, from the beginning.
    pub(crate) fn written(&mut self) -> String {
        self.screen.catch_up();
        String::from_utf8_lossy(&self.screen.written).into_owned()
    }

    /// Reads on until all that it has written, from the beginning, is as wanted; `None` if it never is.
    pub(crate) fn written_until(&mut self, mut wanted: impl FnMut(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let written = self.written();
            if wanted(&written) {
                return Some(written);
            }
            if Instant::now() > deadline || !self.screen.read_before(deadline) {
                return None;
            }
        }
    }

    /// Closes the other end of its terminal.
    pub(crate) fn hangs_up(&mut self) {
        (self.keyboard, self.terminal) = (None, None);
        self.screen = Screen::default();
    }

    /// Waits for a line of standard error that contains `text`.
    #[track_caller]
    pub(crate) fn says_error(&self, text: &str) -> String {
        self.errors.as_ref().expect("it has a standard error").find(0, |line| line.contains(text))
    }

    /// Its side of the terminal.
    pub(crate) fn terminal(&self) -> &OwnedFd {
        self.terminal.as_ref().expect("it is at a terminal")
    }

    /// The process group that its terminal belongs to at the moment.
    pub(crate) fn foreground(&self) -> Pid {
        tcgetpgrp(self.keyboard.as_ref().expect("a terminal")).expect("somebody has it")
    }

    /// Where our server listens, once it is ready.
    #[track_caller]
    pub(crate) fn ready(&mut self) -> Places {
        let lines = self.screen.sees(if self.terminal.is_some() { "ready\r\n" } else { "ready\n" });
        let place = |line: &str| Some(line.strip_prefix("listening ")?.split_once(' ')?.1.to_owned());
        Places(lines.lines().filter_map(place).collect())
    }

    /// Where a tutorial's server listens: it writes `tcp port 1234`.
    #[track_caller]
    pub(crate) fn port(&mut self, scheme: &str) -> SocketAddr {
        self.sees(&format!("{scheme} port "));
        let port = self.sees("\n");
        SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")))
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.0
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    #[track_caller]
    pub(crate) fn status(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().expect("it is our child"))
    }

    /// The signal that killed it.
    #[track_caller]
    pub(crate) fn killed_by(&mut self) -> Option<Signal> {
        self.status().signal().and_then(|number| Signal::try_from(number).ok())
    }

    /// Waits for its end. Its input is left as it is.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Ended {
        let stdout = self.rest();
        Ended { code: self.status().code(), stdout, stderr: self.log().join("\n") }
    }

    /// Asserts that it ends with code 0. Returns its standard output.
    #[track_caller]
    pub(crate) fn ends_well(&mut self) -> String {
        let ended = self.ends();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    }

    /// Asks a server to end, and asserts that it ends with code 0. Returns its log.
    #[track_caller]
    pub(crate) fn stops(&mut self) -> Vec<String> {
        self.signal(Signal::SIGTERM);
        self.ends_well();
        self.log()
    }

    #[track_caller]
    fn log(&self) -> Vec<String> {
        self.errors.as_ref().map(Lines::all).unwrap_or_default()
    }
}

impl Deref for Talker {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let (written, errors) =
                (String::from_utf8_lossy(&self.screen.written), self.errors.as_ref().map(Lines::now));
            eprintln!(
                "its last words: {:?}, and as errors {:?}",
                last(&written),
                last(&errors.unwrap_or_default().join("\n"))
            );
        }
    }
}

/// The end of a text, for a person to read.
fn last(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(1000))..]
}

/// The endpoints that a server has printed.
pub(crate) struct Places(Vec<String>);

impl Places {
    /// The first of this scheme.
    #[track_caller]
    pub(crate) fn endpoint(&self, scheme: &str) -> &str {
        let found = self.0.iter().find(|place| place.split_once("://").is_some_and(|(its, _)| its == scheme));
        found.unwrap_or_else(|| panic!("no {scheme} among {:?}", self.0))
    }

    #[track_caller]
    pub(crate) fn tcp(&self) -> SocketAddr {
        self.address(0)
    }

    /// The address of the endpoint with this index.
    #[track_caller]
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        let (_, address) = self.0[number].split_once("://").expect("a scheme");
        address.parse().expect("an address")
    }
}

/// A program's output as a person reads it.
#[derive(Default)]
struct Screen {
    from: Option<File>,
    written: Vec<u8>,
    /// How far it has been looked at.
    looked: usize,
}

impl Screen {
    fn of(from: File) -> Self {
        Self { from: Some(from), ..Self::default() }
    }

    /// Reads once; whether it may read on. Panics at the deadline.
    #[track_caller]
    fn read(&mut self, deadline: Instant) -> bool {
        let goes_on = self.read_before(deadline);
        assert!(Instant::now() < deadline, "nothing more came after {:?}", String::from_utf8_lossy(&self.written));
        goes_on
    }

    /// Reads once, if something comes before the deadline; whether it may read on.
    fn read_before(&mut self, deadline: Instant) -> bool {
        let Some(from) = &mut self.from else { return false };
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) | Err(Errno::EINTR) => return true,
            Ok(_) => {}
            Err(error) => panic!("poll: {error}"),
        }
        let mut chunk = [0; 1 << 16];
        match from.read(&mut chunk) {
            Ok(count @ 1..) => self.written.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // EIO: a terminal that its last program has left.
            Ok(0) | Err(_) => self.from = None,
        }
        self.from.is_some()
    }

    #[track_caller]
    fn sees(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        if text.is_empty() {
            return String::new();
        }
        loop {
            let fresh = &self.written[self.looked..];
            if let Some(at) = fresh.windows(text.len()).position(|window| window == text.as_bytes()) {
                let before = String::from_utf8_lossy(&fresh[..at]).into_owned();
                self.looked += at + text.len();
                return before;
            }
            if !self.read(deadline) {
                panic!("no {text:?} in {:?}", String::from_utf8_lossy(&self.written[self.looked..]));
            }
        }
    }

    #[track_caller]
    fn rest(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while self.read(deadline) {}
        let fresh = String::from_utf8_lossy(&self.written[self.looked..]).into_owned();
        self.looked = self.written.len();
        fresh
    }

    /// Reads what is there.
    fn catch_up(&mut self) {
        let is_there = |from: &File| {
            let mut polled = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
            poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
        };
        while self.from.as_ref().is_some_and(is_there) {
            self.read(Instant::now() + PATIENCE);
        }
    }
}

/// Whether a pipe takes a page now.
fn has_room(pipe: &mut File) -> bool {
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Whether this open file is non-blocking (O_NONBLOCK), for every process that shares it.
pub(crate) fn is_nonblocking(file: &impl AsFd) -> bool {
    let flags = fcntl(file, FcntlArg::F_GETFL).expect("its flags");
    OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK)
}
