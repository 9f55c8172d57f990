//! The world around a server: network namespaces, and strace(1), which sees its system calls or makes them fail.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Folder, Launch, Lines, Server, eventually, root, skip, tool, unique};

/// A network namespace of its own, with loopback up; removed when dropped.
pub(crate) struct Namespace(String);

impl Namespace {
    /// `None` without root or ip(8), or where the kernel has none.
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

    /// One with wires to others, none of which reaches another: 10.78.N.1 here, 10.78.N.2 in the Nth of them (from 1).
    #[cfg(feature = "bench")]
    #[track_caller]
    pub(crate) fn star(others: usize) -> Option<(Self, Vec<Self>)> {
        let middle = Self::new()?;
        let others: Vec<Self> = (0..others).map(|_| Self::new()).collect::<Option<_>>()?;
        for (number, other) in (1..).zip(&others) {
            middle.ip(&format!("link add wire{number} type veth peer name wire netns {}", other.0));
            middle.ip(&format!("address add 10.78.{number}.1/24 dev wire{number}"));
            middle.ip(&format!("link set wire{number} up"));
            other.ip(&format!("address add 10.78.{number}.2/24 dev wire"));
            other.ip("link set wire up");
        }
        Some((middle, others))
    }

    /// Gives it an /etc/hosts of its own, as ip-netns(8) offers.
    #[track_caller]
    pub(crate) fn hosts(&self, lines: &str) {
        self.configure("hosts", lines);
    }

    /// Gives it a file of its own in /etc.
    #[track_caller]
    pub(crate) fn configure(&self, file: &str, lines: &str) {
        fs::create_dir_all(self.folder()).expect("root may write there");
        fs::write(self.folder().join(file), lines).expect("root may write there");
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

    /// `pingpong` in there, as the command of another command.
    #[cfg(any(feature = "watch", feature = "bench"))]
    pub(crate) fn within_tool(&self, tool: &str, arguments: &str) -> Launch {
        let enter = ["ip", "netns", "exec", &self.0].into_iter();
        Launch::within(&enter.chain(tool.split_whitespace()).collect::<Vec<_>>(), arguments)
    }

    /// `pingpong serve` in there, ready.
    #[track_caller]
    pub(crate) fn serve(&self, arguments: &str) -> Server {
        self.launch(&format!("serve {arguments}")).start()
    }

    /// Runs something on a thread in there. The sockets that it makes stay in there.
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

    /// Detaches once the server rests. Returns a line for each call.
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
