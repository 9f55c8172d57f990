//! What `pingpong serve` costs beside the barest loop that does the same work, on loopback.
//!
//! ```text
//! cargo bench --bench loopback                          every row, under two minutes
//! cargo bench --bench loopback -- --only udp            the rows whose text has "udp" in it
//! cargo bench --bench loopback -- --rounds 45 --window 100
//! ```
//!
//! The map:
//! - `rows.rs`: what is compared, with which load, and the figures it is held to.
//! - `baseline.rs`: the servers to compare with: bare epoll loops, and a thread per connection.
//! - `load.rs`: asks, checks every byte of every answer, counts.
//! - `report.rs`: the table.
//!
//! The processes, the readers of CPU time and memory, the medians and the options are in `benches/common`.
//!
//! A row's servers and loads are all up while it is measured, and take turns: A B, then B A, and so on.
//! A ratio is the median over the rounds, each with a ratio of its own, so that a machine which slows down for a while
//! slows both sides of a pair. Many short rounds say more than few long ones: 21 of 80 ms narrow the interval
//! to a third of what 9 of 250 ms leave.
//! A slow result never fails; wrong answers, or a row that could not be measured, exit 1.

mod baseline;
mod load;
mod report;
mod rows;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::Result;
use common::child::{self, Child, Cpus};
use common::measure::{self, Spread};
use common::options::{GENERATIONS, Options};
use nix::unistd::Pid;

use load::Window;
use report::Outcome;
use rows::{Figure, ROWS, Row, Server};

/// What a fresh server gets to fall asleep in, at a time, before its memory is read.
const NAP: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    child::enter("loopback", play, bench)
}

/// The life of a child in one of this benchmark's roles.
fn play(role: &str, arguments: &[&str]) -> Result<()> {
    match (role, arguments) {
        ("bare-streams", []) => baseline::streams(),
        ("bare-datagrams", [host]) => baseline::datagrams(host.parse()?),
        ("threads", []) => baseline::threads(),
        ("idle", [connections, target]) => load::idle(connections.parse()?, target.parse()?),
        ("load", [row, server, target, pid, millis]) => {
            let row = &ROWS[row.parse::<usize>()?];
            let answer = row.servers()[server.parse::<usize>()?].answer();
            let window = Duration::from_millis(millis.parse()?);
            load::run(&row.load, answer, target.parse()?, Pid::from_raw(pid.parse()?), window)
        }
        _ => Err(format!("no such role: {role} {arguments:?}").into()),
    }
}

/// Runs the rows asked for; false when an answer was wrong or a row broke off.
fn bench(words: &[String]) -> Result<bool> {
    let options = Options::parse(words, 21, 80)?;
    let started = Instant::now();
    child::raise_descriptor_limit()?;
    let cpus = Cpus::pick()?;
    report::heading(&options, cpus);
    let mut sound = true;
    for (index, row) in ROWS.iter().enumerate() {
        if !options.wants(row.work) {
            continue;
        }
        let outcome = match row.figure {
            Figure::Memory => compare_memory(row, cpus),
            Figure::Cpu | Figure::Rate => compare(index, row, &options, cpus),
        };
        match outcome {
            Ok(outcome) => {
                report::line(row, &outcome);
                sound &= outcome.wrong == 0;
            }
            Err(error) => {
                println!("{:<44} failed: {error}", row.work);
                sound = false;
            }
        }
    }
    report::footing(started.elapsed(), sound);
    Ok(sound)
}

/// A server and its load. Fields are dropped in this order: a load ends before its server.
struct Variant {
    load: Child,
    _idle: Option<Child>,
    server: Child,
}

impl Variant {
    fn start(server: &Server, load: &[String], idle: usize, window: Duration, cpus: Cpus) -> Result<Self> {
        let mut server = Child::start(cpus.server, &server.role())?;
        let target = server.address()?.to_string();
        let pid = server.pid().to_string();
        let millis = window.as_millis().to_string();
        let idle = (idle > 0).then(|| hold_idle(cpus.load, idle, &target)).transpose()?;
        let mut load = Child::start(cpus.load, &[load, &[target, pid, millis]].concat())?;
        load.wait_for("ready")?;
        Ok(Self { load, _idle: idle, server })
    }

    fn window(&mut self) -> Result<Window> {
        let window: Window = self.load.ask("go")?.parse()?;
        if window.requests == 0 {
            return Err(format!("{} answered nothing", self.server.name()).into());
        }
        Ok(window)
    }
}

/// Measures a row's servers in turn; each round begins with another one.
fn compare(index: usize, row: &Row, options: &Options, cpus: Cpus) -> Result<Outcome> {
    let mut windows = vec![Vec::new(); row.servers().len()];
    for rounds in options.generations() {
        let mut variants = start(index, row, options, cpus)?;
        for round in rounds {
            for turn in 0..variants.len() {
                let which = (round + turn) % variants.len();
                windows[which].push(variants[which].window()?);
            }
        }
    }
    let figures: Vec<Vec<f64>> =
        windows.iter().map(|windows| windows.iter().map(|window| row.figure.of(window)).collect()).collect();
    let ratios =
        figures[Row::SUBJECT].iter().zip(&figures[Row::BASELINE]).map(|(subject, baseline)| subject / baseline);
    Ok(Outcome {
        result: Spread::of(ratios.collect()),
        medians: figures.into_iter().map(|figures| Spread::of(figures).median).collect(),
        wrong: windows.iter().flatten().map(|window| window.wrong).sum(),
        lost: windows.iter().flatten().map(|window| window.lost).sum(),
    })
}

/// Starts a row's servers, each with a load of its own.
fn start(index: usize, row: &Row, options: &Options, cpus: Cpus) -> Result<Vec<Variant>> {
    let variant = |(which, server): (usize, &Server)| {
        let load = ["load".to_owned(), index.to_string(), which.to_string()];
        let idle = if which == Row::SUBJECT { row.idle } else { 0 };
        Variant::start(server, &load, idle, options.window, cpus)
    };
    row.servers().into_iter().enumerate().map(variant).collect()
}

/// How much a fresh server's resident memory grows per connection that does nothing but connect.
fn compare_memory(row: &Row, cpus: Cpus) -> Result<Outcome> {
    let mut bytes = Vec::new();
    for server in row.servers() {
        let grown: Result<Vec<f64>> = (0..GENERATIONS).map(|_| growth(server, row.load.connections, cpus)).collect();
        bytes.push(Spread::of(grown?));
    }
    Ok(Outcome {
        result: bytes[Row::SUBJECT],
        medians: bytes.iter().map(|spread| spread.median).collect(),
        wrong: 0,
        lost: 0,
    })
}

fn growth(server: &Server, connections: usize, cpus: Cpus) -> Result<f64> {
    let mut server = Child::start(cpus.server, &server.role())?;
    let target = server.address()?.to_string();
    measure::cpu_ns_at_rest(server.pid(), NAP)?;
    let before = measure::resident(server.pid())?;
    let _idle = hold_idle(cpus.load, connections, &target)?;
    measure::cpu_ns_at_rest(server.pid(), NAP)?;
    Ok((measure::resident(server.pid())? - before) / connections as f64)
}

/// A child that holds `connections` to `target` and says nothing; returns once they are connected.
fn hold_idle(cpu: usize, connections: usize, target: &str) -> Result<Child> {
    let mut idle = Child::start(cpu, &["idle".to_owned(), connections.to_string(), target.to_owned()])?;
    idle.wait_for("ready")?;
    Ok(idle)
}
