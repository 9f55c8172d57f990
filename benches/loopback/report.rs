//! The table: what machine, what command, a line per row, and what all of it does not show.

use std::time::Duration;

use common::child::Cpus;
use common::machine;
use common::measure::{self, Spread};
use common::options::GENERATIONS;
use common::options::Options;

use crate::rows::{Figure, Row};

/// What a row's rounds amount to.
pub(crate) struct Outcome {
    /// Subject by baseline; the subject's own figure for memory.
    pub(crate) result: Spread,
    /// By server, in the row's order.
    pub(crate) medians: Vec<f64>,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

pub(crate) fn heading(options: &Options, cpus: Cpus) {
    let millis = options.window.as_millis();
    let (_, coverage) = measure::interval(options.rounds);
    println!("{}", machine::line(cpus));
    println!("command: cargo bench --bench loopback -- {}", options.words());
    println!(
        "{} rounds of {millis} ms, servers in turn and started {GENERATIONS} times; [{:.1} % interval of the median]; \
         memory: [least .. most]\n",
        options.rounds,
        coverage * 100.0
    );
    println!(
        "{:<44} {:>6} {:>9} {:>9}  {:<25} {:>6} {:>6}  {:<10} {:>10}  thread per connection",
        "work", "figure", "baseline", "pingpong", "ratio (memory: bytes)", "bar", "aim", "verdict", "wrong/lost"
    );
}

pub(crate) fn line(row: &Row, outcome: &Outcome) {
    let baseline = outcome.medians[Row::BASELINE];
    let threads = outcome
        .medians
        .get(Row::THREADS)
        .map(|&figure| format!("{} ({:.2} of the baseline)", number(&row.figure, figure), figure / baseline));
    let line = format!(
        "{:<44} {:>6} {:>9} {:>9}  {:<25} {:>6} {:>6}  {:<10} {:>10}  {}",
        row.work,
        row.figure.unit(),
        number(&row.figure, baseline),
        number(&row.figure, outcome.medians[Row::SUBJECT]),
        spread(&row.figure, outcome.result),
        target(&row.figure, row.bar),
        target(&row.figure, row.aim),
        verdict(row, outcome.result),
        format!("{}/{}", outcome.wrong, outcome.lost),
        threads.unwrap_or_default()
    );
    println!("{}", line.trim_end());
}

pub(crate) fn footing(took: Duration, sound: bool) {
    println!("\ntook {:.0} s; every answer was compared, byte by byte", took.as_secs_f64());
    if !sound {
        println!("NOT SOUND: answers were wrong, or a row could not be measured");
    }
    println!(
        "\
The baseline is a level-triggered epoll loop: receive, send what was received, nothing else (TCP: once per event;
UDP: until empty); where a row says `to:`, it is pingpong itself. µs/req: the server's CPU time, all threads.
bytes: resident, in the server alone. A target is met when the interval reaches it.

What this does not show: latency and its tail; a network (loopback has no card, no loss, no second host, and runs the
receiver's TCP on the sender's CPU); other message mixes; a kernel under pressure; other machines than this one.
In a virtual machine the neighbours' noise widens the intervals, of req/s most. Server and load keep in step:
a cheaper server sleeps more often and pays for more wake-ups, which hides part of what it saves."
    );
}

/// A target counts as met when the interval reaches it.
fn verdict(row: &Row, result: Spread) -> &'static str {
    let reaches = |target: Option<f64>| match target {
        Some(target) if row.figure.less_is_better() => result.low <= target,
        Some(target) => result.high >= target,
        None => false,
    };
    if reaches(row.aim) {
        "meets aim"
    } else if reaches(row.bar) {
        "meets bar"
    } else if row.bar.is_some() {
        "misses"
    } else {
        "no bar"
    }
}

fn number(figure: &Figure, value: f64) -> String {
    match figure {
        Figure::Cpu => format!("{value:.3}"),
        Figure::Rate | Figure::Memory => format!("{value:.0}"),
    }
}

fn spread(figure: &Figure, Spread { low, median, high }: Spread) -> String {
    match figure {
        Figure::Memory => format!("{median:.0} [{low:.0} .. {high:.0}]"),
        Figure::Cpu | Figure::Rate => format!("{median:.3} [{low:.3} .. {high:.3}]"),
    }
}

fn target(figure: &Figure, value: Option<f64>) -> String {
    match (figure, value) {
        (_, None) => "-".to_owned(),
        (Figure::Memory, Some(value)) => format!("{value:.0}"),
        (_, Some(value)) => format!("{value:.2}"),
    }
}
