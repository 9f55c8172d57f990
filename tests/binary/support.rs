//! What all themes share: starting the binary, talking to it, waiting for it.
//!
//! Every wait is for something that happens, and gives up after [`PATIENCE`].
//!
//! - `server`: the binary, running; `process`: what proc(5) says of it
//! - `client`: clients of streams and of datagrams; `world`: networks and strace(1) around them

mod client;
mod process;
mod server;
mod world;

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub(crate) use client::{Client, DatagramClient, Forger};
pub(crate) use process::Process;
pub(crate) use server::{BINARY, Ended, Launch, Lines, Server, Stats};
pub(crate) use world::{Namespace, Strace};

/// Far longer than anything takes: a wait this long is in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

/// How often to look again for what sends no event: another process's state, its counters.
const LOOK_EVERY: Duration = Duration::from_millis(2);

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

/// A pipe with room for a page, or for less than a line at a time.
pub(crate) fn narrow_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).expect("a page is the least that it may have");
    (reader, writer)
}

/// Asks again and again until there is an answer; panics after [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        pass(LOOK_EVERY);
    }
}

/// Lets time pass, where time is what a test is about: a server that stalls, a client that reads slowly. What can be
/// waited for is waited for.
pub(crate) fn pass(time: Duration) {
    thread::sleep(time);
}

/// Whether this command is there. Without it a test is skipped, or fails where `PINGPONG_REQUIRE_TOOLS=1`.
#[track_caller]
pub(crate) fn tool(name: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    found || skip::<()>(name).is_some()
}

/// Whether we are root. Otherwise a test is skipped, or fails, as with [`tool`].
#[track_caller]
pub(crate) fn root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0) || skip::<()>("root").is_some()
}

/// Says that a test is skipped for want of this, or fails, as with [`tool`].
#[track_caller]
pub(crate) fn skip<T>(what: &str) -> Option<T> {
    assert!(env::var_os("PINGPONG_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "this test needs {what}");
    // Past the test harness, which hides what is printed.
    let _ = writeln!(io::stderr(), "skipped: this test needs {what}");
    None
}

/// Raises the soft descriptor limit of this process to the hard one, and returns it.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may go up to the hard one");
    hard
}
