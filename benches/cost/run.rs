//! One run of a load to its end: what it says, and what it and its server spent on it.
//!
//! Both figures cover the whole run: connecting, asking, checking, counting; accepting, answering, closing. Only the
//! load's start and its report are subtracted, which a run of a single request measures. They would weigh more in a
//! run this short than in any real one, and they vary: at its start a load reads the kernel's table of connections,
//! which still holds those of the minute before.

use std::time::Duration;

use common::child::Child;
use common::ended::Ended;
use common::{Result, measure};
use nix::unistd::Pid;
use serde_json::Value;

use crate::rows::PINGPONG;

/// How often to look whether a server has closed its connections and sleeps.
const NAP: Duration = Duration::from_millis(2);

/// What one run brought.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// On-CPU time of all the server's threads.
    pub(crate) server_cpu: Duration,
    /// The load's, less its start and its report.
    pub(crate) load_cpu: Duration,
    pub(crate) start_cpu: Duration,
    /// The load's own figures, if it gives any.
    pub(crate) said: Option<Said>,
    pub(crate) wrong: u64,
    /// Requests that failed otherwise.
    pub(crate) lost: u64,
}

/// What `pingpong bench` says of itself.
pub(crate) struct Said {
    pub(crate) cpu_us: f64,
    pub(crate) busy: f64,
}

impl Run {
    /// CPU microseconds per request.
    pub(crate) fn server_us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.requests as f64
    }

    pub(crate) fn load_us(&self) -> f64 {
        self.load_cpu.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// The load's CPU time by the server's.
    pub(crate) fn ratio(&self) -> f64 {
        self.load_cpu.as_secs_f64() / self.server_cpu.as_secs_f64()
    }

    /// Requests per second that the two could reach with an undisturbed CPU each.
    pub(crate) fn rate_by_cpu(&self) -> f64 {
        self.requests as f64 / self.load_cpu.max(self.server_cpu).as_secs_f64()
    }

    /// Reads the load's report.
    fn read(text: &str, extent: &str) -> Result<Self> {
        if text.starts_with('{') { Self::of_json(text) } else { Self::of_csv(text, extent) }
    }

    fn of_json(text: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(text)?;
        let metrics = &report["metrics"];
        let count = |name: &str| metrics[name].as_u64().ok_or_else(|| format!("no {name} among the metrics"));
        let figure = |name: &str| metrics[name].as_f64().ok_or_else(|| format!("no {name} among the metrics"));
        let wrong = count("wrong")?;
        Ok(Self {
            requests: count("requests")?,
            per_second: figure("requests_per_second")?,
            said: Some(Said { cpu_us: figure("load_cpu_us_per_request")?, busy: figure("load_busy")? }),
            wrong,
            lost: count("errors")? - wrong,
            ..Self::default()
        })
    }

    /// redis-benchmark's table: `"test","rps",…`, then a line per test. It ends when all requests have been answered,
    /// and does not say how many they were.
    fn of_csv(text: &str, extent: &str) -> Result<Self> {
        let line = text.lines().find(|line| line.starts_with("\"PING_INLINE\"")).ok_or("no line of PING_INLINE")?;
        let rate = line.split(',').nth(1).ok_or("no rate in the line of PING_INLINE")?;
        let (_, requests) = extent.split_once("-n ").ok_or("no -n")?;
        Ok(Self { requests: requests.parse()?, per_second: rate.trim_matches('"').parse()?, ..Self::default() })
    }
}

/// A load: a program and its arguments, without the extent of a run.
pub(crate) struct Load {
    words: Vec<String>,
}

impl Load {
    pub(crate) fn pingpong(endpoint: &str, options: &str) -> Self {
        let words = [PINGPONG, "bench", endpoint, "--warmup", "0s", "--json"].into_iter();
        Self { words: words.chain(options.split_whitespace()).map(str::to_owned).collect() }
    }

    pub(crate) fn redis(port: u16) -> Self {
        let line = format!("redis-benchmark -p {port} -t ping_inline --csv");
        Self { words: line.split(' ').map(str::to_owned).collect() }
    }

    /// The role of a child that runs it to this extent.
    pub(crate) fn role(&self, extent: &str) -> Vec<String> {
        let words = ["exec"].into_iter().chain(self.words.iter().map(String::as_str));
        words.chain(extent.split_whitespace()).map(str::to_owned).collect()
    }

    /// Runs it on this CPU against this server: once for a single request, then to this extent.
    pub(crate) fn run(&self, extent: &str, server: &Child, cpu: usize) -> Result<Run> {
        let start_cpu = Ended::of(&self.role("-c 1 -n 1"), cpu)?.cpu;
        let server_before = cpu_at_rest(server.pid())?;
        let ended = Ended::of(&self.role(extent), cpu)?;
        let server_cpu = cpu_at_rest(server.pid())? - server_before;
        let load_cpu = ended.cpu.saturating_sub(start_cpu);
        let run = Run { server_cpu, load_cpu, start_cpu, ..Run::read(&ended.text, extent)? };
        if run.requests == 0 || run.per_second <= 0.0 {
            return Err(format!("`{}` had no right answer in time", self.role(extent).join(" ")).into());
        }
        Ok(run)
    }
}

/// The server's CPU time, once it sleeps.
fn cpu_at_rest(pid: Pid) -> Result<Duration> {
    Ok(Duration::from_nanos(measure::cpu_ns_at_rest(pid, NAP)?))
}
