//! The table: what machine, what command, two lines for each attack, and what all of it does not show.

use std::time::Duration;

use common::child::Cpus;
use common::machine;

use crate::attacks::Attack;
use crate::bystander::Seen;
use crate::options::Options;
use crate::trial::Trial;

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) held: usize,
    pub(crate) fell: usize,
    pub(crate) skipped: usize,
}

pub(crate) fn heading(options: &Options, cpus: Cpus) {
    println!("{}", machine::line(cpus));
    println!("command: cargo bench --bench survive -- {}", options.words());
    println!("three figures are before, during (p99) or at the most, and after the attack\n");
    println!(
        "{:<22} {:^19}  {:^12}  {:^15} {:^15} {:^15} {:>4} {:>6}",
        "attack", "bystander p99, ms", "wrong/lost", "memory, MiB", "descriptors", "open", "idle", "left"
    );
}

pub(crate) fn lines(attack: &Attack, trial: &Trial) {
    let p99: Vec<String> = trial.seen.iter().map(|seen| seen.p99.map_or("-".to_owned(), millis)).collect();
    let sum = |count: fn(&Seen) -> usize| trial.seen.iter().map(count).sum::<usize>();
    let line = format!(
        "{:<22} {:^19}  {:^12}  {:^15} {:^15} {:^15} {:>4} {:>6}",
        attack.name,
        p99.join("/"),
        format!("{}/{} {}", sum(|seen| seen.wrong), sum(|seen| seen.lost), sum(|seen| seen.asked)),
        three(trial.memory.map(|bytes| bytes.map(|bytes| bytes >> 20))),
        three(trial.descriptors),
        three(trial.open),
        trial.busy.map_or("-".to_owned(), |busy| format!("{:.0} %", busy * 100.0)),
        trial.left_in.map_or("-".to_owned(), |took| format!("{:.2} s", took.as_secs_f64()))
    );
    println!("{}", line.trim_end());
    let verdict = if trial.holds() { "held".to_owned() } else { format!("DID NOT HOLD: {}", trial.faults.join("; ")) };
    let note = if trial.note.is_empty() { String::new() } else { format!(": {}", trial.note) };
    println!("  {verdict}{note}");
    if let Some(counters) = &trial.counters {
        println!("  {counters}");
    }
}

pub(crate) fn skipped(name: &str, missing: &str) {
    println!("{name:<22} skipped: {missing} is missing");
}

pub(crate) fn footing(took: Duration, tally: &Tally) {
    println!(
        "\n{} held, {} did not, {} skipped; took {:.0} s",
        tally.held,
        tally.fell,
        tally.skipped,
        took.as_secs_f64()
    );
    println!(
        "\
wrong/lost: of the bystander's answers, then the number of its questions. idle: the share of a CPU that the server used
when all had gone. left: from SIGTERM, or from the last answer that was owed, to the server's end. The server held when
the attack and the bystander got all their answers, memory was back within 10 s to 1.5 times what it was (or to 4 MiB
more), no descriptor stayed open, the server then slept, and SIGTERM ended it with exit code 0 within 1 s.

What this does not show: a network; attackers with more CPU than this machine has; services other than ping and echo;
attacks that are not in the table. The bystander shares a CPU with the attacks, so its p99 is partly their doing."
    );
}

fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}

fn three(figures: [Option<u64>; 3]) -> String {
    figures.map(|figure| figure.map_or("-".to_owned(), |figure| figure.to_string())).join("/")
}
