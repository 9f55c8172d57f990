//! Load generators that others have written, each in turn with `pingpong bench`: against the same server, with the same
//! number of connections and the same question. neper speaks only with a server of its own; beside it ours asks
//! `pingpong serve echo`.

use std::thread;
use std::time::Duration;

use common::Result;
use common::child::{Child, Cpus};
use common::ended::{Ended, last_of};
use common::options::Options;

use crate::compare::Said;
use crate::servers::{Kind, Transport, find};
use crate::start::{Server, free_port, words};

/// A run lasts a second: wrk, sockperf and neper know no shorter time, and redis-benchmark tells whole milliseconds.
const LENGTH: Duration = Duration::from_secs(1);
/// Requests of redis-benchmark's first run, which tells how many take [`LENGTH`].
const FIRST: u64 = 20_000;
/// What neper's server gets to listen in. A client that comes too early waits for a second.
const NAP: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Generator {
    RedisBenchmark,
    Wrk,
    Neper,
    Sockperf,
}

pub(crate) const ALL: [Generator; 4] =
    [Generator::RedisBenchmark, Generator::Wrk, Generator::Neper, Generator::Sockperf];

/// What one run brought, by the generator's own account but for its CPU time.
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU microseconds of the generator for each request, its start and its end included.
    pub(crate) us: f64,
    /// Requests that failed, wrong answers included where it looks at them.
    pub(crate) failed: u64,
}

/// Runs in turn: those of a pair have the same index.
#[derive(Default)]
pub(crate) struct Pairs {
    pub(crate) ours: Vec<Run>,
    pub(crate) theirs: Vec<Run>,
}

impl Generator {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::RedisBenchmark => "redis-benchmark",
            Self::Wrk => "wrk",
            Self::Neper => "tcp_rr",
            Self::Sockperf => "sockperf",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RedisBenchmark => "redis-benchmark -c 50",
            Self::Wrk => "wrk -t1 -c50",
            Self::Neper => "neper tcp_rr -F 50",
            Self::Sockperf => "sockperf ping-pong --tcp",
        }
    }

    /// The server that both ask; for neper the one that ours asks.
    pub(crate) fn server(self) -> Kind {
        match self {
            Self::RedisBenchmark => Kind::Redis,
            Self::Wrk => Kind::Nginx,
            Self::Neper => Kind::Echo,
            Self::Sockperf => Kind::Sockperf,
        }
    }

    /// sockperf asks on one connection.
    pub(crate) fn connections(self) -> usize {
        if self == Self::Sockperf { 1 } else { 50 }
    }

    /// What has to be installed and is not.
    pub(crate) fn missing(self) -> Option<&'static str> {
        [Some(self.program()), self.server().program()].into_iter().flatten().find(|program| find(program).is_none())
    }
}

pub(crate) fn pairs(generator: Generator, options: &Options, cpus: Cpus) -> Result<Pairs> {
    let mut pairs = Pairs::default();
    let mut requests = FIRST;
    for rounds in options.generations() {
        let server = Server::start(generator.server(), Transport::Tcp, cpus.server)?;
        if generator == Generator::RedisBenchmark {
            let first = theirs(generator, &server, FIRST, cpus)?;
            requests = (first.per_second * LENGTH.as_secs_f64()) as u64;
        }
        for round in rounds {
            for is_ours in [round % 2 == 0, round % 2 == 1] {
                if is_ours {
                    pairs.ours.push(ours(generator, &server, cpus)?);
                } else {
                    pairs.theirs.push(theirs(generator, &server, requests, cpus)?);
                }
            }
        }
    }
    Ok(pairs)
}

fn ours(generator: Generator, server: &Server, cpus: Cpus) -> Result<Run> {
    let load = format!("-c {} -d {}ms", generator.connections(), LENGTH.as_millis());
    let ended = Ended::of(&server.bench(&load), cpus.load)?;
    let said = Said::of(&ended.text)?;
    Ok(Run {
        per_second: said.per_second,
        p50_us: said.p50_us,
        p99_us: said.p99_us,
        us: ended.cpu.as_secs_f64() * 1e6 / said.requests,
        failed: said.wrong + said.lost,
    })
}

fn theirs(generator: Generator, server: &Server, requests: u64, cpus: Cpus) -> Result<Run> {
    let (port, seconds) = (server.address.port(), LENGTH.as_secs());
    let line = match generator {
        Generator::RedisBenchmark => format!("-p {port} -t ping_inline -c 50 -n {requests} --csv"),
        Generator::Wrk => format!("-t1 -c50 -d{seconds}s --latency http://127.0.0.1:{port}/"),
        Generator::Sockperf => format!("ping-pong --tcp -i 127.0.0.1 -p {port} -m 64 -t {seconds} --full-rtt"),
        Generator::Neper => return neper(cpus),
    };
    let ended = run(generator, &line, cpus)?;
    let read = match generator {
        Generator::RedisBenchmark => redis_benchmark(&ended, requests),
        Generator::Wrk => wrk(&ended),
        Generator::Sockperf | Generator::Neper => sockperf(&ended),
    };
    read.ok_or_else(|| {
        format!("`{} {line}` said something else than expected: {}", generator.program(), ended.text).into()
    })
}

fn run(generator: Generator, line: &str, cpus: Cpus) -> Result<Ended> {
    Ended::of(&role(generator, line)?, cpus.load)
}

fn role(generator: Generator, line: &str) -> Result<Vec<String>> {
    let program = find(generator.program()).ok_or("it is gone")?.display().to_string();
    Ok([words(&["exec", &program]), words(&line.split(' ').collect::<Vec<_>>())].concat())
}

/// Its server ends with its client, so each run has a new one.
fn neper(cpus: Cpus) -> Result<Run> {
    let (control, data) = (free_port()?.port(), free_port()?.port());
    let common = format!("-H 127.0.0.1 -C {control} -P {data} -Q 64 -R 64 -F 50 -l {} --nolog", LENGTH.as_secs());
    let mut server = Child::start(cpus.server, &role(Generator::Neper, &common)?)?;
    thread::sleep(NAP);
    let mut client = Child::start(cpus.load, &role(Generator::Neper, &format!("-c -p 50,99 {common}"))?)?;
    let text = last_of(&mut client)?;
    last_of(&mut server)?;
    let figure = |name: &str| -> Option<f64> {
        text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| *key == name)?.1.parse().ok()
    };
    let read = || {
        let cpu = figure("utime_end")? - figure("utime_start")? + figure("stime_end")? - figure("stime_start")?;
        Some(Run {
            per_second: figure("throughput")?,
            p50_us: figure("latency_p50")? * 1e6,
            p99_us: figure("latency_p99")? * 1e6,
            us: cpu * 1e6 / figure("throughput")? / LENGTH.as_secs_f64(),
            failed: 0,
        })
    };
    read().ok_or_else(|| format!("neper said something else than expected: {text}").into())
}

/// `"test","rps","avg","min","p50","p95","p99","max"`, times in milliseconds. It ends when all have been answered.
fn redis_benchmark(ended: &Ended, requests: u64) -> Option<Run> {
    let line = ended.text.lines().find(|line| line.starts_with("\"PING_INLINE\""))?;
    let figures: Vec<f64> = line.split(',').skip(1).map_while(|field| field.trim_matches('"').parse().ok()).collect();
    let [per_second, _, _, p50, _, p99, ..] = figures[..] else { return None };
    Some(Run {
        per_second,
        p50_us: p50 * 1e3,
        p99_us: p99 * 1e3,
        us: ended.cpu.as_secs_f64() * 1e6 / requests as f64,
        failed: 0,
    })
}

/// Lines as `     50%  363.00us`, `  117043 requests in 1.10s, 18.19MB read`, `Requests/sec: 106402.23`.
fn wrk(ended: &Ended) -> Option<Run> {
    let after = |start: &str| ended.text.lines().find_map(|line| line.trim_start().strip_prefix(start)).map(str::trim);
    let requests = ended.text.lines().find_map(|line| line.trim_start().split_once(" requests in "))?.0;
    let failed = after("Non-2xx or 3xx responses:").map_or(0, |count| count.parse().unwrap_or(1));
    Some(Run {
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50_us: us_of(after("50%")?)?,
        p99_us: us_of(after("99%")?)?,
        us: ended.cpu.as_secs_f64() * 1e6 / requests.parse::<f64>().ok()?,
        failed: failed + u64::from(after("Socket errors:").is_some()),
    })
}

fn us_of(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    units.iter().find_map(|(unit, us)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * us))
}

/// `[Total Run] … ReceivedMessages=N`, `[Valid Duration] RunTime=0.550 sec; …ReceivedMessages=N`,
/// `---> percentile 50.000 =   10.990`.
fn sockperf(ended: &Ended) -> Option<Run> {
    let field = |line: &str, name: &str| -> Option<f64> {
        let text = ended.text.lines().find(|text| text.contains(line))?.split_once(name)?.1;
        text.trim_start().split([' ', ';']).next()?.parse().ok()
    };
    let valid = "[Valid Duration]";
    Some(Run {
        per_second: field(valid, "ReceivedMessages=")? / field(valid, "RunTime=")?,
        p50_us: field("percentile 50.000", "=")?,
        p99_us: field("percentile 99.000", "=")?,
        us: ended.cpu.as_secs_f64() * 1e6 / field("[Total Run]", "ReceivedMessages=")?,
        failed: field("# dropped messages", "=")? as u64,
    })
}
