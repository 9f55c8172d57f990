//! The table: what machine, what programs, a line per server or generator, and what all of it does not show.

use std::time::Duration;

use common::child::Cpus;
use common::measure::{self, Spread};
use common::options::{GENERATIONS, Options};
use common::{Result, machine};

use crate::compare::{Pairs, Run};
use crate::generators::{self, Generator};
use crate::memory;
use crate::servers::{Kind, PEERS, version};

/// A line's result, or why there is none.
pub(crate) enum Outcome<T> {
    Measured(T),
    /// It is not there, or it cannot do this.
    Absent(String),
}

pub(crate) fn heading(options: &Options, cpus: Cpus) {
    let (_, coverage) = measure::interval(options.rounds);
    println!("{}", machine::line(cpus));
    println!("command: cargo bench --bench peers -- {}", options.words());
    let versions = |programs: Vec<&str>| programs.into_iter().map(version).collect::<Vec<_>>().join(", ");
    let servers = PEERS.iter().filter_map(|peer| peer.program()).collect();
    println!("servers: {}, tokio {}", versions(servers), tokio_version());
    println!("load generators: {}", versions(generators::ALL.map(Generator::program).to_vec()));
    println!(
        "{} rounds of {} ms, each server in turn with pingpong's and started {GENERATIONS} times;\n\
         medians, [{:.1} % interval of the median]",
        options.rounds,
        options.window.as_millis(),
        coverage * 100.0
    );
}

/// As locked when this was built.
fn tokio_version() -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let version = lock.split_once("name = \"tokio\"\nversion = \"").and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("?", |(version, _)| version)
}

/// The heads of a block of servers.
pub(crate) fn columns(load: &str) {
    println!("\n{load:<34} {:<30} {:>8}  by pingpong's", "req/s", "µs/req");
}

/// A peer's line; whether all answers were right.
pub(crate) fn peer(peer: Kind, outcome: &Result<Outcome<Pairs>>) -> bool {
    let pairs = match outcome {
        Ok(Outcome::Measured(pairs)) => pairs,
        Ok(Outcome::Absent(why)) => return absent(peer.name(), why),
        Err(error) => return failed(peer.name(), &**error),
    };
    let ratios = pairs.theirs.iter().zip(&pairs.ours).map(|(theirs, ours)| theirs.us() / ours.us());
    line(peer.name(), &pairs.theirs, &spread(Spread::of(ratios.collect())))
}

/// pingpong's own line, of all the runs that peers were compared with.
pub(crate) fn ours(service: Kind, runs: &[Run]) -> bool {
    runs.is_empty() || line(service.name(), runs, "")
}

fn line(name: &str, runs: &[Run], ratio: &str) -> bool {
    let of = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure).collect());
    let Spread { low, median, high } = of(|run| run.per_second);
    let (wrong, lost) = runs.iter().fold((0, 0), |(wrong, lost), run| (wrong + run.wrong, lost + run.lost));
    let errors = if wrong + lost == 0 { String::new() } else { format!("  {wrong} wrong, {lost} lost") };
    let text = format!(
        "{name:<34} {:<30} {:>8.3}  {ratio}{errors}",
        format!("{median:.0} [{low:.0} .. {high:.0}]"),
        of(Run::us).median
    );
    println!("{}", text.trim_end());
    wrong == 0
}

pub(crate) fn memory(kind: Kind, outcome: Result<Outcome<(usize, Spread)>>) -> bool {
    match outcome {
        Ok(Outcome::Measured((count, Spread { low, median, high }))) => {
            println!("{:<34} {:<30} {count:>8}", kind.name(), format!("{median:.0} [{low:.0} .. {high:.0}]"));
            true
        }
        Ok(Outcome::Absent(why)) => absent(kind.name(), &why),
        Err(error) => failed(kind.name(), &*error),
    }
}

pub(crate) fn memory_columns() {
    println!("\n{:<34} {:<30} {:>8}", memory::NAME, "bytes [least .. most]", "of");
}

pub(crate) fn generator_columns() {
    println!("\n{:<34} {:<30} {:>8}  {:>9} {:>9}", "load generator", "req/s", "µs/req", "p50, µs", "p99, µs");
}

/// A generator's line and ours; whether nothing failed.
pub(crate) fn generator(generator: Generator, outcome: &Result<Outcome<generators::Pairs>>) -> bool {
    let pairs = match outcome {
        Ok(Outcome::Measured(pairs)) => pairs,
        Ok(Outcome::Absent(why)) => return absent(generator.name(), why),
        Err(error) => return failed(generator.name(), &**error),
    };
    let ratio = |figure: fn(&generators::Run) -> f64| {
        let ratios = pairs.ours.iter().zip(&pairs.theirs).map(|(ours, theirs)| figure(ours) / figure(theirs));
        spread(Spread::of(ratios.collect()))
    };
    let server = if generator == Generator::Neper { "its own server" } else { generator.server().name() };
    println!("to {server}:");
    let theirs = generator_line(&format!("  {}", generator.name()), &pairs.theirs);
    let of_ours = if generator == Generator::Neper { ", serve echo" } else { "" };
    let ours = format!("  pingpong bench -c {}{of_ours}", generator.connections());
    let ours = generator_line(&ours, &pairs.ours);
    println!("  ours by theirs: rate {}, CPU {}", ratio(|run| run.per_second), ratio(|run| run.us));
    ours && theirs
}

fn generator_line(name: &str, runs: &[generators::Run]) -> bool {
    let of = |figure: fn(&generators::Run) -> f64| Spread::of(runs.iter().map(figure).collect());
    let Spread { low, median, high } = of(|run| run.per_second);
    let failed = runs.iter().map(|run| run.failed).sum::<u64>();
    let errors = if failed == 0 { String::new() } else { format!("  {failed} failed") };
    println!(
        "{name:<34} {:<30} {:>8.3}  {:>9.1} {:>9.1}{errors}",
        format!("{median:.0} [{low:.0} .. {high:.0}]"),
        of(|run| run.us).median,
        of(|run| run.p50_us).median,
        of(|run| run.p99_us).median
    );
    failed == 0
}

pub(crate) fn footing(took: Duration, sound: bool) {
    println!("\ntook {:.0} s; pingpong bench compared every answer to it, byte by byte", took.as_secs_f64());
    if !sound {
        println!("NOT SOUND: answers were wrong, or a row could not be measured");
    }
    println!(
        "\
µs/req: CPU time of the server, or of the load generator, all its threads and processes. All servers are asked by
pingpong bench: echoes 64 bytes; redis-server PING, memcached mn (nothing, and its answer), nginx and haproxy a GET that
they answer themselves, with 200 and pong, and each of these is compared with pingpong's ping, asked ping.

What this does not show: what else these servers do. They parse a protocol, look things up, write headers, pass on; an
echo does not. It is what a request costs before any of that. None is tuned, and each has one CPU, so that nothing is
seen of threads on several; socat has a process for each connection, and over UDP for each datagram. nginx reads the
clock once (timer_resolution), which is a little cheaper. nginx and memcached take memory for connections in advance,
which is not counted, nor is the kernel's. The rates are of one load generator: where it is the limit, only µs/req
differs, and a server that waits for it pays for more wake-ups. The generators do not do the same work: redis-benchmark
compares no answer, wrk parses HTTP, neper reads bytes and has a server of its own, sockperf checks numbers; each times
in its own way, sockperf waits in recvfrom. A network, latency under a given rate, and other machines are not seen."
    );
}

fn absent(name: &str, why: &str) -> bool {
    println!("{name:<34} – {why}");
    true
}

fn failed(name: &str, error: &dyn std::error::Error) -> bool {
    println!("{name:<34} failed: {error}");
    false
}

fn spread(Spread { low, median, high }: Spread) -> String {
    format!("{median:.2} [{low:.2} .. {high:.2}]")
}
