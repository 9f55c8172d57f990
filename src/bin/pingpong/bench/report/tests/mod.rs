//! Results written, found, read and added up.
//!
//! - `dealt`: parts of a load are, added up, what one run of the same requests would have been
//! - `merging`: what is not added up
//! - `scanning`: results among other text
//! - `turns`: those of a server, one after the other
//! - `warned`: what is warned of, and what is advised

mod dealt;
mod merging;
mod scanning;
mod turns;
mod warned;

use std::mem;
use std::time::{Duration, SystemTime};

use pingpong::Moment;
use serde_json::{Value, json};

use super::{Report, Results, Run};
use crate::bench::load::{Load, Stage};
use crate::bench::preflight::Ground;
use crate::bench::record::{Answered, Fact, Hindrance, Request};
use crate::bench::tests::{options, rates};
use crate::bench::{BenchOptions, Extent};

/// The measured time.
const TIME: Duration = Duration::from_millis(640);

/// What became of a request.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Its answer came so long after it was sent, with the right bytes or not.
    Answered(Duration, bool),
    Failed(Fact),
    Unsent,
}

/// A request: due so long after the beginning, sent so long after that.
#[derive(Clone, Copy, Debug)]
struct Record {
    due: Duration,
    lag: Duration,
    end: End,
}

/// Answered at once.
fn prompt(due: Duration) -> Record {
    Record { due, lag: Duration::from_micros(3), end: End::Answered(Duration::from_micros(100), true) }
}

/// The report of a load with these requests, in the order in which they were due, at this rate or in the closed loop, and
/// with so many connections.
fn report(records: &[Record], rate: Option<f64>, connections: u32) -> Report {
    let options = options(|options: &mut BenchOptions| {
        (options.rates, options.extent) = (rates(rate), Extent::Duration(TIME));
        options.connections = connections;
    });
    let phase = options.phases()[0];
    let mut load = Load::new(options.clone(), phase, Vec::new(), false);
    let from = Moment::from_nanos(1_000_000_000);
    let ledger = &mut load.ledger;
    ledger.begin(Moment::default());
    ledger.made(Moment::default());
    ledger.measure(&phase, from, from, Some(from + TIME));
    for (number, record) in (0..).zip(records) {
        let due = from + record.due;
        let sent = (due + record.lag).min(from + TIME);
        let request = Request { number, due, sent };
        if !matches!(record.end, End::Unsent) {
            ledger.sent(&request);
        }
        match record.end {
            End::Answered(took, is_right) => {
                let answered = Answered { request, was_overdue: false, is_overtaken: false };
                ledger.answered(&answered, is_right, sent + took);
            }
            End::Failed(fact) => ledger.failed(&request, fact, sent + options.timeout),
            End::Unsent => {
                let mut left = 1;
                let skip = |until: Moment| if due < until { mem::take(&mut left) } else { 0 };
                ledger.unsent_until(from + TIME, Hindrance::TooSlow, skip);
            }
        }
    }
    let ended = from + 3 * TIME;
    ledger.close();
    ledger.end(ended);
    load.stage = Stage::Resting;
    let (started, ground) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000), Ground::default());
    Report::of(Run { options: &options, load: &load, started, ended, ground, cost: None, transport: None })
}

/// The same, as a part of a load, on one line as `--json` prints it.
fn part_of(report: Report, part: u64, parts: u64) -> String {
    changed(report, |whole| {
        let settings = &mut whole["settings"]["effective"];
        (settings["part"], settings["parts"]) = (part.into(), parts.into());
        let host = format!("node-{part}");
        whole["clock"] = json!({
            "clock_error_seconds": 0.001, "boot_id": host, "unix_minus_boot_seconds": 1e6 * part as f64,
        });
        whole["machine"]["host"] = host.into();
    })
}

/// A report on one line, after this change to it.
fn changed(report: Report, change: impl FnOnce(&mut Value)) -> String {
    let mut whole: Value = serde_json::from_str(&report.to_json()).unwrap();
    change(&mut whole);
    let schema = whole.as_object_mut().unwrap().remove("schema").unwrap();
    format!("{{\"schema\":{schema},{}", &whole.to_string()[1..])
}

fn read(line: &str) -> Results {
    Results::from_json(line).unwrap()
}
