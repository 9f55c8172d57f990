//! Programs that some attacks use.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::Target;

/// The most that strace gets to attach and to let go.
const ATTACHED_WITHIN: Duration = Duration::from_secs(10);

/// Whether the shell would find it.
pub(crate) fn has(tool: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}

/// Compiles the shim of `short.c` into the folder, as `short.so`.
pub(crate) fn compile_shim(folder: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/survive/short.c");
    let output =
        Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(folder.join("short.so")).arg(source).output()?;
    if !output.status.success() {
        return Err(format!("cc: {}", String::from_utf8_lossy(&output.stderr).trim_end()).into());
    }
    Ok(())
}

/// Sets a process's soft limit of descriptors.
pub(crate) fn limit_descriptors(pid: Pid, most: usize) -> Result<()> {
    let status = Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={most}:")]).status()?;
    if status.success() { Ok(()) } else { Err("prlimit failed".into()) }
}

/// strace, attached to a server to make its calls fail. Dropping it detaches it.
pub(crate) struct Injector {
    process: std::process::Child,
    output: PathBuf,
}

impl Injector {
    /// `what` is an argument of strace's `-e inject=`.
    pub(crate) fn attach(server: &Target, what: &str) -> Result<Self> {
        let output = env::temp_dir().join(format!("pingpong-survive-{}-strace", std::process::id()));
        let call = what.split(':').next().unwrap_or_default();
        let process = Command::new("strace")
            .arg("-o")
            .arg(&output)
            .args(["-p", &server.pid.to_string(), "-e", &format!("trace={call}"), "-e", &format!("inject={what}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let injector = Self { process, output };
        let deadline = Instant::now() + ATTACHED_WITHIN;
        while server.tracer()? == 0 {
            if Instant::now() > deadline {
                return Err("strace could not attach".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(injector)
    }

    /// Detaches it, and says how many calls failed.
    pub(crate) fn detach(mut self) -> Result<usize> {
        self.end();
        let calls = fs::read_to_string(&self.output)?;
        Ok(calls.lines().filter(|line| line.ends_with("(INJECTED)")).count())
    }

    fn end(&mut self) {
        // It fails only when strace has ended by itself.
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.end();
        }
        let _ = fs::remove_file(&self.output);
    }
}
