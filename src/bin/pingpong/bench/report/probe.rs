//! What the probe has measured, for people and as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::json::times_of;
use super::text::{grouped, shown};
use super::{Report, figures};
use crate::bench::record::{Fact, Passages, ProbePart, Row, Slowest, values_of};

/// The parts as people call them.
const PARTS: [(ProbePart, &str); 6] = [
    (ProbePart::Whole, "due -> read, the whole"),
    (ProbePart::Lag, "due -> sent"),
    (ProbePart::Sending, "sent -> given to the device"),
    (ProbePart::Away, "network and server"),
    (ProbePart::Reading, "came to our kernel -> read"),
    (ProbePart::Service, "sent -> read"),
];

/// What the columns of [`Row::nanos`] are called.
const COLUMNS: [&str; 5] = [
    "due -> sent",
    "sent -> given to the device",
    "network and server",
    "came to our kernel -> read",
    "sent -> read without stamps",
];

/// The probe's block of a report.
pub(super) fn block(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let Some(probe) = &report.probe else { return Ok(()) };
    let outcomes = Fact::PROBES
        .map(|fact| format!("{} {}", grouped(report.counts[fact]), fact.name().trim_start_matches("probe_")));
    writeln!(f, "\nprobe        {} due: {}", grouped(report.counts[Fact::Probes]), outcomes.join(", "))?;
    let unstamped = report.counts[Fact::ProbesUnstamped];
    if !probe.is_stamped {
        writeln!(f, "             the kernel stamps no messages of this kind: only due, sent and read are known")?;
    } else if unstamped > 0 {
        writeln!(
            f,
            "             {} without the kernel's stamps, or with some that make no sense",
            grouped(unstamped)
        )?;
    }
    let titles = ["50 %", "90 %", "99 %", "max"].map(|title| format!("{title:>10}"));
    writeln!(f, "  {:<28}{}", "", titles.concat())?;
    for (part, name) in PARTS {
        let is_told = match part {
            ProbePart::Whole | ProbePart::Lag => true,
            ProbePart::Service => !probe.is_stamped,
            ProbePart::Sending | ProbePart::Away | ProbePart::Reading => probe.is_stamped,
        };
        if !is_told {
            continue;
        }
        let [p50, p90, p99, _, _, max] = figures(Some(probe.of(part)));
        let cells = [p50, p90, p99, max].map(|(_, nanos)| nanos.map_or("-".to_owned(), shown));
        writeln!(f, "  {name:<28}{}", cells.map(|cell| format!("{cell:>10}")).concat())?;
    }
    match probe.slowest() {
        Some(slowest) => writeln!(f, "{}", told(&slowest)),
        None => Ok(()),
    }
}

/// Where the time of the slowest went.
fn told(slowest: &Slowest) -> String {
    let whole: f64 = slowest.nanos.iter().sum();
    let share = |nanos: f64| (nanos / whole.max(1.0) * 100.0).round() as u64;
    let mut parts: Vec<(u64, &str)> = slowest.nanos.into_iter().map(share).zip(COLUMNS).collect();
    parts.sort_by_key(|(share, _)| std::cmp::Reverse(*share));
    let parts = parts.into_iter().filter(|(share, _)| *share > 0).map(|(share, name)| format!("{share} % {name}"));
    let (count, whole) = (slowest.count, shown(whole.round() as u64));
    let parts = parts.collect::<Vec<_>>().join(", ");
    match count {
        1 => format!("the slowest one (from 99 % on) took {whole}: {parts}"),
        _ => format!("the {} slowest (from 99 % on) took {whole} on average: {parts}", grouped(count)),
    }
}

pub(super) fn to_json(probe: &Passages) -> Value {
    let times: serde_json::Map<String, Value> =
        ProbePart::ALL.into_iter().map(|(name, part)| (name.to_owned(), json!(values_of(probe.of(part))))).collect();
    let rows: Vec<Value> = probe.rows.iter().map(|(step, row)| json!([step, row.count, row.nanos])).collect();
    json!({ "stamped": probe.is_stamped, "times": times, "rows": rows })
}

/// Reads it back; `None` where there was none.
pub(super) fn from_json(value: &Value) -> Option<Passages> {
    let mut probe = Passages::new(value["stamped"].as_bool()?);
    for (name, part) in ProbePart::ALL {
        *probe.of_mut(part) = times_of(&value["times"][name])?;
    }
    for row in value["rows"].as_array()? {
        let nanos = row[2].as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()?;
        let read = Row { count: row[1].as_u64()?, nanos: nanos.try_into().ok()? };
        probe.rows.insert(u32::try_from(row[0].as_u64()?).ok()?, read);
    }
    Some(probe)
}
