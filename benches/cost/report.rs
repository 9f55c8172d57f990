//! The table: what machine, what commands, a line per row, and what all of it does not show.

use std::time::Duration;

use common::child::Cpus;
use common::measure::{self, Spread};
use common::options::{GENERATIONS, Options};
use common::{Result, machine};

use crate::connecting;
use crate::memory::{self, Ends};
use crate::redis::{self, Outcome, Pair};
use crate::rows::Row;
use crate::run::{Run, Said};

/// The rate beside redis: what it must reach, and what it should.
const RATE_BAR: f64 = 1.8;
const RATE_AIM: f64 = 2.0;

/// Time to connect, by that of a bare loop.
const CONNECTING_BAR: f64 = 1.2;

pub(crate) fn heading(options: &Options, cpus: Cpus) {
    let millis = options.window.as_millis();
    let (_, coverage) = measure::interval(options.rounds);
    println!("{}", machine::line(cpus));
    println!("command: cargo bench --bench cost -- {}", options.words());
    println!(
        "\
server:  pingpong serve -q ping=SCHEME://…
load:    pingpong bench SCHEME://… LOAD -d {millis}ms --warmup 0s --json
{} rounds, servers started {GENERATIONS} times; medians, [{:.1} % interval of the median]
µs/req:  CPU time of the process by answered requests; the load's less that of `-c 1 -n 1` just before: `start`",
        options.rounds,
        coverage * 100.0
    );
}

/// The heads of the columns.
pub(crate) fn columns(first: &str) {
    println!(
        "\n{first:<40} {:>9} {:>13} {:>11} {:>9} {:>8} {:>5}  {:<24} {:>5}  {:<9} {:>10}",
        "req/s",
        "server µs/req",
        "load µs/req",
        "it says",
        "start",
        "busy",
        "load by server",
        "bar",
        "verdict",
        "wrong/lost"
    );
}

/// Whether the row could be measured and all was right.
pub(crate) fn row(row: &Row, outcome: Result<Vec<Run>>) -> bool {
    match outcome {
        Ok(runs) => line(&row.name(), &runs, row.bar),
        Err(error) => failed(&row.name(), &*error),
    }
}

pub(crate) fn redis(outcome: Result<Outcome>) -> bool {
    let comparison = match outcome {
        Ok(Outcome::Compared(comparison)) => comparison,
        Ok(Outcome::Skipped(why)) => {
            println!("\n{:<40} skipped: {why}", redis::NAME);
            return true;
        }
        Err(error) => return failed(redis::NAME, &*error),
    };
    let requests = comparison.requests;
    println!(
        "
beside redis {}, in turn, -n {requests} each:
  redis-server --save '' --appendonly no; redis-benchmark -t ping_inline -c 50 -n {requests} --csv
  pingpong bench -c 50 -n {requests} --warmup 0s --json; redis-server: --send 'PING\\r\\n' --expect '+PONG\\r\\n'",
        comparison.version
    );
    columns("load, server");
    let mut sound = true;
    for (pair, runs) in Pair::ALL.into_iter().zip(&comparison.runs) {
        sound &= line(pair.name(), runs, None);
    }
    let [theirs, mixed, ours] = &comparison.runs;
    let by_theirs = |runs: &[Run], figure: fn(&Run) -> f64| {
        Spread::of(runs.iter().zip(theirs).map(|(ours, theirs)| figure(ours) / figure(theirs)).collect())
    };
    let rate = by_theirs(ours, |run| run.per_second);
    let verdict = if rate.high >= RATE_AIM {
        "meets aim"
    } else if rate.high >= RATE_BAR {
        "meets bar"
    } else {
        "misses"
    };
    println!("rate, ours by redis: {} bar {RATE_BAR:.2} aim {RATE_AIM:.2}: {verdict}", spread(rate));
    println!(
        "rate on redis-server, pingpong bench by redis-benchmark: {}",
        spread(by_theirs(mixed, |run| run.per_second))
    );
    println!("rate if only the dearer side's CPU set it, ours by redis: {}", spread(by_theirs(ours, Run::rate_by_cpu)));
    println!("load's CPU, ours by redis: {}", spread(by_theirs(ours, Run::load_us)));
    sound
}

pub(crate) fn memory(outcome: Result<Vec<Ends>>) -> bool {
    let ends = match outcome {
        Ok(ends) => ends,
        Err(error) => return failed(memory::NAME, &*error),
    };
    let of = |figure: fn(&Ends) -> f64| Spread::of(ends.iter().map(figure).collect());
    let (load, server, ratio) = (of(|ends| ends.load), of(|ends| ends.server), of(|ends| ends.load / ends.server));
    let bytes = |Spread { low, median, high }: Spread| format!("{median:.0} [{low:.0} .. {high:.0}]");
    println!(
        "\n{}, bytes [least .. most of {GENERATIONS}]: load {}, server {}; load by server {} bar 1.00: {}",
        memory::NAME,
        bytes(load),
        bytes(server),
        spread(ratio),
        if ratio.low <= 1.0 { "meets bar" } else { "misses" }
    );
    true
}

pub(crate) fn connecting(outcome: Result<(usize, Vec<connecting::Pair>)>) -> bool {
    let (count, pairs) = match outcome {
        Ok(compared) => compared,
        Err(error) => return failed(connecting::NAME, &*error),
    };
    let of = |figure: fn(&connecting::Pair) -> f64| Spread::of(pairs.iter().map(figure).collect());
    let (ours, bare, ratio) = (of(|pair| pair.ours), of(|pair| pair.bare), of(|pair| pair.ours / pair.bare));
    println!(
        "\n{} {count}, seconds: pingpong bench {}, bare loop {}; ours by bare {} bar {CONNECTING_BAR:.2}: {}",
        connecting::NAME,
        spread(ours),
        spread(bare),
        spread(ratio),
        if ratio.low <= CONNECTING_BAR { "meets bar" } else { "misses" }
    );
    true
}

pub(crate) fn footing(took: Duration, sound: bool) {
    println!("\ntook {:.0} s; pingpong bench compared every answer, byte by byte, and timed it", took.as_secs_f64());
    if !sound {
        println!("NOT SOUND: answers were wrong, or a row could not be measured");
    }
    println!(
        "\
`it says` is load_cpu_us_per_request of its JSON, of the time in which it measures; `busy` the share of that time in
which it worked, and neither waited nor polled for a deadline. In the open loop it polls when a deadline is near: `busy` is its cost
there. A target is met when the interval reaches it. `lost`: failed otherwise than by wrong bytes.

What this does not show: how exact the times are that it measures; a network; other servers; many machines at once.
Where load and server have a CPU each, the dearer one sets the pace, and the other looks for events more often and finds
fewer of them at a time, for which it pays: their figures draw near each other, and those on one CPU, where each works
off what the other has left, are the bare costs. redis-benchmark looks at no answer's bytes, sends 6 bytes where
ours sends 64, and counts its time in whole milliseconds; redis-server parses a command, and pingpong serve a word.
In a virtual machine the neighbours' noise widens the intervals, of req/s most."
    );
}

/// Whether all answers were right.
fn line(name: &str, runs: &[Run], bar: Option<f64>) -> bool {
    let median = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure).collect()).median;
    let said = |figure: fn(&Said) -> f64, digits: usize| {
        let figures: Option<Vec<f64>> = runs.iter().map(|run| run.said.as_ref().map(figure)).collect();
        figures.map_or("-".to_owned(), |figures| format!("{:.digits$}", Spread::of(figures).median))
    };
    let ratio = Spread::of(runs.iter().map(Run::ratio).collect());
    let verdict = bar.map_or("-", |bar| if ratio.low <= bar { "meets bar" } else { "misses" });
    let sum = |count: fn(&Run) -> u64| runs.iter().map(count).sum::<u64>();
    let wrong = sum(|run| run.wrong);
    println!(
        "{name:<40} {:>9.0} {:>13.3} {:>11.3} {:>9} {:>8} {:>5}  {:<24} {:>5}  {verdict:<9} {:>10}",
        median(|run| run.per_second),
        median(Run::server_us),
        median(Run::load_us),
        said(|said| said.cpu_us, 3),
        format!("{:.1} ms", median(|run| run.start_cpu.as_secs_f64() * 1e3)),
        said(|said| said.busy, 2),
        spread(ratio),
        bar.map_or("-".to_owned(), |bar| format!("{bar:.2}")),
        format!("{wrong}/{}", sum(|run| run.lost))
    );
    wrong == 0
}

fn failed(name: &str, error: &dyn std::error::Error) -> bool {
    println!("{name:<40} failed: {error}");
    false
}

fn spread(Spread { low, median, high }: Spread) -> String {
    format!("{median:.3} [{low:.3} .. {high:.3}]")
}
