//! The requests of one run, dealt among several: added up, these are that run.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::Value;

use super::super::blocks::KINDS;
use super::super::merge::{Allowed, Sums};
use super::super::{PERCENTILES, Report};
use super::{End, Record, TIME, part_of, read, report};
use crate::bench::record::{Fact, values_of};

/// Figures that are not sums: a server falls silent for each part, and each part connects.
const OF_EACH: [&str; 2] = ["gone_after_seconds", "connect_seconds"];

fn records() -> impl Strategy<Value = Vec<(Record, usize)>> {
    let took = (10.0..18.5_f64).prop_map(|power| Duration::from_nanos(power.exp() as u64));
    let end = prop_oneof![
        12 => took.prop_map(|took| End::Answered(took, true)),
        1 => Just(End::Answered(Duration::from_millis(250), true)),
        1 => Just(End::Answered(Duration::from_millis(1), false)),
        1 => prop_oneof![Just(Fact::Lost), Just(Fact::Broken)].prop_map(End::Failed),
        1 => Just(End::Unsent),
    ];
    let record = (0..TIME.as_nanos() as u64, 0..5_000_000_u64, end).prop_map(|(due, lag, end)| Record {
        due: Duration::from_nanos(due),
        lag: Duration::from_nanos(lag),
        end,
    });
    vec((record, any::<usize>()), 0..600).prop_map(|mut records| {
        records.sort_by_key(|(record, _)| record.due);
        records
    })
}

/// Whether they are the same, but for the last digits.
fn is_near(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-5 + 1e-6 * a.abs(),
        _ => a == b,
    }
}

fn assert_are_one(sum: &Report, one: &Report) -> Result<(), TestCaseError> {
    prop_assert_eq!(&sum.counts, &one.counts);
    for ((kind, summed), (_, alone)) in sum.times().into_iter().zip(one.times()) {
        prop_assert_eq!(summed.map(values_of), alone.map(values_of), "{}", kind);
    }
    prop_assert_eq!(&sum.blocks, &one.blocks);
    prop_assert_eq!(sum.blocks.outcomes.len(), 32);
    let failed: u64 = sum.blocks.outcomes.iter().map(|outcomes| outcomes.failed).sum();
    prop_assert_eq!(failed, sum.counts.errors());
    for kind in KINDS {
        for (percent, _) in PERCENTILES {
            prop_assert_eq!(sum.interval(kind, percent).ok(), one.interval(kind, percent).ok(), "{} {}", kind, percent);
        }
    }
    let (summed, alone) = (sum.metrics(), one.metrics());
    for (name, figure) in alone.as_object().expect("figures") {
        let is_same = is_near(&summed[name], figure) || OF_EACH.contains(&name.as_str());
        prop_assert!(is_same, "{}: {} and not {}", name, summed[name], figure);
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 16, failure_persistence: None, ..Config::default() })]

    #[test]
    fn parts_added_up_are_one_run(records in records(), parts in 1..=5_usize, is_open: bool, shuffle: u64) {
        let rate = is_open.then_some(1_000.0);
        let all: Vec<Record> = records.iter().map(|(record, _)| *record).collect();
        let one = read(&part_of(report(&all, rate, parts as u32), 1, 1)).into_reports().remove(0);
        let of = |part: usize| -> Vec<Record> {
            records.iter().filter(|(_, dealt)| dealt % parts == part).map(|(record, _)| *record).collect()
        };
        let mut lines: Vec<String> = (0..parts)
            .map(|part| part_of(report(&of(part), rate.map(|rate| rate / parts as f64), 1), part as u64 + 1, parts as u64))
            .collect();
        // They come in any order.
        lines.sort_by_key(|line| shuffle.wrapping_mul(line.len() as u64));
        let mut sums = Sums::new(Allowed::default());
        for line in &lines {
            sums.add("a part", read(line)).expect("parts of one load");
        }
        let sum = sums.into_results(&[]).expect("one load").expect("some parts").into_reports().remove(0);
        // A sum is read as it was written, and is the same again.
        let again = read(&sum.to_json()).into_reports().remove(0);
        for sum in [sum, again] {
            assert_are_one(&sum, &one)?;
            let order: Vec<u64> = sum.about["runs"].as_array().expect("runs").iter()
                .map(|run| run["run"]["settings"]["effective"]["part"].as_u64().expect("a part")).collect();
            prop_assert_eq!(order, (1..=parts as u64).collect::<Vec<_>>());
        }
    }
}
