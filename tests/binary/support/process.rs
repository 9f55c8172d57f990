//! What proc(5) says of a process.

use std::collections::BTreeSet;
use std::process::Child;
use std::{fs, io};

use nix::unistd::Pid;

use super::eventually;

/// A process that is there, be it a child of ours or not.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) Pid);

impl Process {
    pub(crate) fn of(child: &Child) -> Self {
        Self(Pid::from_raw(child.id() as i32))
    }

    fn read(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).expect("the process is there")
    }

    fn list(self, folder: &str) -> fs::ReadDir {
        fs::read_dir(format!("/proc/{}/{folder}", self.0)).expect("the process is there")
    }

    /// The fields of proc_pid_stat(5) from the third on: the state first.
    fn stat(self) -> Vec<String> {
        let stat = self.read("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        fields.split_whitespace().map(str::to_owned).collect()
    }

    /// Its state: S asleep, R running, T stopped (t by strace).
    pub(crate) fn state(self) -> char {
        self.stat()[0].chars().next().expect("one letter")
    }

    pub(crate) fn is_stopped(self) -> bool {
        matches!(self.state(), 'T' | 't')
    }

    /// CPU time it has used, in clock ticks of 10 ms.
    pub(crate) fn ticks(self) -> u64 {
        let stat = self.stat();
        stat[11].parse::<u64>().expect("utime") + stat[12].parse::<u64>().expect("stime")
    }

    /// Memory it has resident and for itself (no file pages), in bytes.
    pub(crate) fn memory(self) -> u64 {
        self.status("RssAnon:") * 1024
    }

    fn status(self, key: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("proc_pid_status(5) has it");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// The descriptors it has open.
    pub(crate) fn descriptors(self) -> BTreeSet<u64> {
        let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        self.list("fd").filter_map(number).collect()
    }

    pub(crate) fn threads(self) -> usize {
        self.list("task").count()
    }

    /// Waits until it has come to rest: asleep, and not woken for 30 ms.
    #[track_caller]
    pub(crate) fn rests(self) {
        self.sleeps_through(15);
    }

    /// Waits until it sleeps for 10 ms: it may have timeouts to watch, but a process that spins never does.
    #[track_caller]
    pub(crate) fn does_not_spin(self) {
        self.sleeps_through(5);
    }

    #[track_caller]
    fn sleeps_through(self, looks: u32) {
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
