//! What a server and all its descendants use: socat has a process for each connection.

use std::fs;
use std::thread;
use std::time::Duration;

use common::Result;
use nix::time::ClockId;
use nix::unistd::Pid;

/// In which proc(5) counts the time of children that have ended (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// The process and those of its descendants that are alive.
fn members(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    // What has gone meanwhile has no children.
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let children: Vec<Pid> = children
        .flat_map(|line| line.split(' ').map_while(|word| word.parse().ok()).collect::<Vec<_>>())
        .map(Pid::from_raw)
        .collect();
    [pid].into_iter().chain(children.into_iter().flat_map(members)).collect()
}

/// CPU time of the family, of threads and children that have ended too. Exact, but for such children.
pub(crate) fn cpu(pid: Pid) -> Result<Duration> {
    let of_one =
        |member: Pid| Some(Duration::from(ClockId::pid_cpu_clock_id(member).ok()?.now().ok()?) + of_the_ended(member)?);
    let own = of_one(pid).ok_or_else(|| format!("process {pid} has ended"))?;
    Ok(own + members(pid)[1..].iter().filter_map(|&member| of_one(member)).sum::<Duration>())
}

/// CPU time of children that it has waited for.
fn of_the_ended(pid: Pid) -> Option<Duration> {
    let fields = stat(pid)?;
    // proc(5) counts from 1 and begins with two fields that `stat` leaves out.
    let ticks = |number: usize| fields.split(' ').nth(number - 3)?.parse::<u32>().ok();
    Some(TICK * (ticks(16)? + ticks(17)?))
}

/// Its CPU time once it sleeps: when the family has used none for the length of `nap`. Gives up after 100 naps, because
/// a server may have timers that run for ever.
pub(crate) fn cpu_at_rest(pid: Pid, nap: Duration) -> Result<Duration> {
    let mut seen = cpu(pid)?;
    for _ in 0..100 {
        thread::sleep(nap);
        let now = cpu(pid)?;
        if now == seen {
            break;
        }
        seen = now;
    }
    Ok(seen)
}

/// Bytes of memory in proportional shares: pages that processes share count once.
pub(crate) fn memory(pid: Pid) -> Result<f64> {
    let of_one = |member: &Pid| -> Option<f64> {
        let rollup = fs::read_to_string(format!("/proc/{member}/smaps_rollup")).ok()?;
        let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        kib.trim().trim_end_matches(" kB").parse().ok()
    };
    let kib: Option<f64> = members(pid).iter().map(of_one).sum();
    Ok(kib.ok_or_else(|| format!("no memory of process {pid}"))? * 1024.0)
}

pub(crate) fn descriptors(pid: Pid) -> usize {
    let of_one = |member: &Pid| fs::read_dir(format!("/proc/{member}/fd")).map_or(0, Iterator::count);
    members(pid).iter().map(of_one).sum()
}

/// Whether the process is neither gone nor a zombie.
pub(crate) fn is_running(pid: Pid) -> bool {
    stat(pid).is_some_and(|fields| !fields.starts_with(['Z', 'X']))
}

/// proc(5)'s `stat` from the third field, the state, on.
fn stat(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}
