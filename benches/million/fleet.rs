//! The servers and the loads: started, watched, ended.

use std::thread;
use std::time::{Duration, Instant};

use common::child::Child;
use common::{Result, measure};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::kernel::Snapshot;
use crate::plan::Plan;

pub(crate) const PINGPONG: &str = env!("CARGO_BIN_EXE_pingpong");

/// How often to look at the number of sockets.
const NAP: Duration = Duration::from_millis(20);

/// A step that takes longer than this, and as much longer as so many connections a second take, has gone wrong.
const PATIENCE: Duration = Duration::from_secs(30);
const A_SECOND: u64 = 10_000;

/// How long a load runs when nobody interrupts it.
const FOR_EVER: &str = "48h";

pub(crate) struct Fleet<'a> {
    plan: &'a Plan,
    servers: Vec<Child>,
    loads: Vec<Child>,
}

/// Bytes of memory of all servers, and of all loads.
pub(crate) struct Ours {
    pub(crate) servers: f64,
    pub(crate) loads: f64,
}

/// What the loads and the servers said in the end.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) accepted: u64,
    pub(crate) opened: u64,
    pub(crate) failed: u64,
    pub(crate) lost: u64,
    pub(crate) held: u64,
    pub(crate) heartbeats: Heartbeats,
}

/// Those that were sent, and what came of them.
#[derive(Default)]
pub(crate) struct Heartbeats {
    pub(crate) answered: u64,
    pub(crate) late: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    pub(crate) broken: u64,
    /// Under way when the load was interrupted.
    pub(crate) unfinished: u64,
    /// Due, and not sent: the load was late.
    pub(crate) unsent: u64,
}

impl Heartbeats {
    pub(crate) fn asked(&self) -> u64 {
        self.answered + self.late + self.wrong + self.lost + self.broken + self.unfinished
    }

    /// Those that have no right answer in time, and should have.
    pub(crate) fn failed(&self) -> u64 {
        self.late + self.wrong + self.lost + self.broken
    }
}

impl<'a> Fleet<'a> {
    /// Starts the servers, and waits until they listen.
    pub(crate) fn start(plan: &'a Plan) -> Result<Self> {
        let mut servers = Vec::new();
        for number in 0..plan.servers {
            let services = plan.of_server(number).map(|endpoint| format!("ping={endpoint}"));
            let role = ["exec", PINGPONG, "serve"].map(str::to_owned).into_iter().chain(services);
            servers.push(Child::start(plan.server_cpu(number), &role.collect::<Vec<_>>())?);
        }
        servers.iter_mut().try_for_each(|server| server.wait_for("ready"))?;
        Ok(Self { plan, servers, loads: Vec::new() })
    }

    /// Starts loads until there are so many, and waits until they have made their connections: so many in all. Returns
    /// how long that took.
    pub(crate) fn grow_to(&mut self, loads: u64, connections: u64, before: &Snapshot) -> Result<Duration> {
        let began = Instant::now();
        let more = loads - self.loads.len() as u64;
        for number in self.loads.len() as u64..loads {
            self.loads.push(Child::start(self.plan.load_cpu(number), &self.load(number))?);
        }
        let patience = PATIENCE + Duration::from_secs(more * self.plan.of_load(0) / A_SECOND);
        loop {
            let open = before.connections_since()?;
            if open >= connections {
                return Ok(began.elapsed());
            }
            self.are_alive()?;
            if began.elapsed() > patience {
                return Err(format!("{open} of {connections} connections after {patience:?}").into());
            }
            thread::sleep(NAP);
        }
    }

    /// The role of a load. One of its connections is not idle by `pingpong bench`'s terms, and asks next to nothing.
    fn load(&self, number: u64) -> Vec<String> {
        let idle = self.plan.of_load(number) - 1;
        let options = format!(
            "-c 1 --idle {idle} --heartbeat {}s -r 0.001 --warmup 0s -d {FOR_EVER} --connect-timeout 60s --json",
            self.plan.heartbeat
        );
        let words = ["exec", PINGPONG, "bench"].map(str::to_owned).into_iter().chain([self.plan.endpoint()]);
        words.chain(options.split(' ').map(str::to_owned)).collect()
    }

    /// Fails when one of them has died.
    pub(crate) fn are_alive(&mut self) -> Result<()> {
        for child in self.servers.iter_mut().chain(&mut self.loads) {
            if !child.is_running()? {
                return Err(last_words(child));
            }
        }
        Ok(())
    }

    pub(crate) fn memory(&self) -> Result<Ours> {
        let sum = |children: &[Child]| -> Result<f64> {
            children.iter().map(|child| measure::proportional(child.pid())).sum()
        };
        Ok(Ours { servers: sum(&self.servers)?, loads: sum(&self.loads)? })
    }

    /// Interrupts the loads, which report and close their connections, and then the servers.
    pub(crate) fn end(mut self) -> Result<Ends> {
        self.are_alive()?;
        let mut ends = Ends::default();
        for load in &self.loads {
            kill(load.pid(), Signal::SIGINT)?;
        }
        for load in &mut self.loads {
            let text = rest_of(load)?;
            let report: Value = serde_json::from_str(&text).map_err(|_| last_words(load))?;
            ends.add(&report["metrics"])?;
        }
        for server in &self.servers {
            kill(server.pid(), Signal::SIGTERM)?;
        }
        for server in &mut self.servers {
            let (code, counters) = (server.exit_code()?, server.last_words());
            if code != Some(0) {
                return Err(format!("`{}` ended with {code:?}: {counters}", server.name()).into());
            }
            let accepted = counters.split_whitespace().find_map(|word| word.strip_prefix("accepted="));
            ends.accepted += accepted.ok_or("a server said nothing of what it had accepted")?.parse::<u64>()?;
        }
        Ok(ends)
    }
}

impl Ends {
    /// Adds what a load reports.
    fn add(&mut self, metrics: &Value) -> Result<()> {
        let count = |name: &str| metrics[name].as_u64().ok_or_else(|| format!("no {name} among the metrics"));
        self.opened += count("connections_opened")?;
        self.failed += count("connections_failed")?;
        self.lost += count("connections_lost")?;
        // The one that is not idle counts as held where it was answered; it asked at the beginning.
        self.held += count("idle_held")? + count("connections_held")?;
        let heartbeats = &mut self.heartbeats;
        heartbeats.answered += count("heartbeats_answered")?;
        heartbeats.late += count("heartbeats_late")?;
        heartbeats.wrong += count("heartbeats_wrong")?;
        heartbeats.lost += count("heartbeats_lost")?;
        heartbeats.broken += count("heartbeats_broken")?;
        heartbeats.unfinished += count("heartbeats_unfinished")?;
        heartbeats.unsent += count("heartbeats_unsent")?;
        Ok(())
    }
}

/// All that a child still says, to its end.
pub(crate) fn rest_of(child: &mut Child) -> Result<String> {
    let mut text = String::new();
    while let Some(line) = child.next_line()? {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// What became of a child that should not have ended.
pub(crate) fn last_words(child: &mut Child) -> Box<dyn std::error::Error> {
    let code = child.exit_code().ok().flatten();
    let words = child.last_words();
    let way = code.map_or("was killed".to_owned(), |code| format!("ended with exit code {code}"));
    format!("`{}` {way}: {words}", child.name()).into()
}
