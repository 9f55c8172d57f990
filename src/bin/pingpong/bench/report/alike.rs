//! What makes several runs one load: the same kind of requests, each run once, and all at the same time (`together`).
//!
//! Runs are compared as they stand in the JSON of a sum. Their endpoints may differ, because a server has different names
//! on different machines, and so may their connections and rates, which add up.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use crate::bench::record::Fact;

/// The share of the measured time that all runs must have in common.
pub(super) const TOGETHER: f64 = 0.95;

/// Settings that must be the same, and what users call them.
const SETTINGS: [(&str, &str); 13] = [
    ("exchange", "the exchange (ping, --echo, --send)"),
    ("send", "--send"),
    ("expect", "--expect"),
    ("size_bytes", "--size"),
    ("framing", "--framing"),
    ("timeout_seconds", "--timeout"),
    ("pipeline", "--pipeline"),
    ("udp_segment", "--no-segment"),
    ("churn", "--churn"),
    ("duration_seconds", "--duration"),
    ("connect_timeout_seconds", "--connect-timeout"),
    ("heartbeat_seconds", "--heartbeat"),
    ("arrivals", "--arrivals"),
];

/// The same of parts of one load.
const OF_PARTS: [(&str, &str); 2] =
    [("parts", "how many --part says there are"), ("start_at_unix_seconds", "--start-at")];

/// What was divided among them, and has to be the same of all: each of them has less of it.
const OF_WHOLE: [(&str, &str); 7] = [
    ("connections", "--connections of all parts together"),
    ("idle", "--idle of all parts together"),
    ("requests", "--requests of all parts together"),
    ("rates_per_second", "--rate of all parts together"),
    ("connect_rate_per_second", "--connect-rate of all parts together"),
    ("probe_per_second", "--probe of all parts together"),
    ("seed", "--seed"),
];

/// Why two runs cannot be parts of one load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mismatch {
    /// Both are the same run.
    SameRun,
    /// They did different things.
    Differs { what: &'static str, first: String, second: String },
    /// Both are this part of the load.
    SamePart { part: u64, parts: u64 },
    /// They measured at the same time only for this share of it, because of what is told.
    Apart { share: f64, told: String },
    /// Their clocks do not tell whether they did.
    Clocks(String),
    /// It is not known when they measured, or they did not.
    Undated,
    /// Requests of both were due at the same random moments.
    SameSeed,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameRun => f.write_str("they are the same run"),
            Self::Differs { what, first, second } => write!(f, "they differ in {what}: {first} and {second}"),
            Self::SamePart { part, parts } => write!(f, "both are part {part} of {parts}"),
            Self::Apart { share, told } => {
                // 94.9 % is not 95 %.
                let (share, least) = ((share * 100.0 + 1e-9).floor(), TOGETHER * 100.0);
                write!(f, "they measured at the same time for {share} % of it, and {least:.0} % is the least: {told}")
            }
            Self::Clocks(why) => f.write_str(why),
            Self::Undated => f.write_str("one of them does not say when it measured"),
            Self::SameSeed => f.write_str("they have the same --seed, so their requests were due at the same moments"),
        }
    }
}

/// The runs of a load so far, as far as it takes to know one of them again.
#[derive(Debug, Default)]
pub(super) struct Register {
    count: usize,
    /// Places and starts, by machine and counts.
    runs: HashMap<String, Vec<(usize, f64)>>,
    /// Places, by part and how many there are.
    parts: HashMap<(u64, u64), usize>,
    /// Places of runs that are no parts, by seed.
    seeds: HashMap<u64, usize>,
}

impl Register {
    /// Why this run cannot be added to those in it, the first of which is this one; and which of these is in the way.
    pub(super) fn mismatch(&self, first: &Value, run: &Value) -> Option<(usize, Mismatch)> {
        if let Some(place) = self.place_of(run) {
            return Some((place, Mismatch::SameRun));
        }
        if let Some((part, parts)) = part_of(run)
            && let Some(place) = self.parts.get(&(part, parts))
        {
            return Some((*place, Mismatch::SamePart { part, parts }));
        }
        if let Some(place) = seed_of(run).and_then(|seed| self.seeds.get(&seed)) {
            return Some((*place, Mismatch::SameSeed));
        }
        let (a, b) = (effective(first), effective(run));
        let of_parts = || differing(&OF_PARTS, a, b).or_else(|| differing(&OF_WHOLE, &a["whole"], &b["whole"]));
        difference(first, run).or_else(of_parts).map(|differs| (0, differs))
    }

    /// Where the same run is in it, be it from another file: of one machine and moment, with the same counts.
    fn place_of(&self, run: &Value) -> Option<usize> {
        let own = started(run)?;
        // What JSON does to the last digit is no difference.
        let is_as_old = |other: &&(usize, f64)| (other.1 - own).abs() < 2e-6;
        self.runs.get(&looks(run))?.iter().find(is_as_old).map(|(place, _)| *place)
    }

    pub(super) fn add(&mut self, run: &Value) {
        let place = self.count;
        self.count += 1;
        if let Some(started) = started(run) {
            self.runs.entry(looks(run)).or_default().push((place, started));
        }
        if let Some(part) = part_of(run) {
            self.parts.entry(part).or_insert(place);
        }
        if let Some(seed) = seed_of(run) {
            self.seeds.entry(seed).or_insert(place);
        }
    }
}

/// Which part of a load it was, and of how many.
pub(super) fn part_of(run: &Value) -> Option<(u64, u64)> {
    effective(run)["part"].as_u64().zip(effective(run)["parts"].as_u64())
}

/// The seed of a run that is no part: each part makes one of its own from it.
fn seed_of(run: &Value) -> Option<u64> {
    effective(run)["seed"].as_u64().filter(|_| part_of(run).is_none())
}

/// What has to be the same of two runs that are compared, and may differ between parts of one load.
const OF_EACH: [(&str, &str); 5] = [
    ("connections", "--connections"),
    ("idle", "--idle"),
    ("rate_per_second", "--rate"),
    ("ramp_per_second", "--rate"),
    ("requests", "--requests"),
];

/// Why two runs, as they stand in the JSON of a sum, cannot be compared.
pub(super) fn incomparable(a: &Value, b: &Value) -> Option<Mismatch> {
    let mut first = Register::default();
    first.add(a);
    if first.place_of(b).is_some() {
        return Some(Mismatch::SameRun);
    }
    difference(a, b).or_else(|| differing(&OF_EACH, effective(a), effective(b)))
}

/// The first of these settings that are not the same.
fn differing(settings: &[(&str, &'static str)], a: &Value, b: &Value) -> Option<Mismatch> {
    let (name, what) = settings.iter().find(|(name, _)| !are_equal(&a[name], &b[name]))?;
    Some(Mismatch::Differs { what, first: a[name].to_string(), second: b[name].to_string() })
}

fn started(run: &Value) -> Option<f64> {
    run["run"]["started_unix_seconds"].as_f64()
}

/// Its part, its machine and its counts.
fn looks(run: &Value) -> String {
    let counts: Vec<String> = Fact::ALL.iter().map(|(_, name)| run["metrics"][name].to_string()).collect();
    format!("{:?} {} {}", part_of(run), run["run"]["machine"]["host"], counts.join(" "))
}

fn difference(a: &Value, b: &Value) -> Option<Mismatch> {
    let differs = |what, shown: fn(&Value) -> String| {
        let (first, second) = (shown(a), shown(b));
        (first != second).then_some(Mismatch::Differs { what, first, second })
    };
    differs("their version", |run| run["run"]["program"].as_str().unwrap_or("unknown").to_owned())
        .or_else(|| differs("the loop (--rate)", |run| loop_of(effective(run)).to_owned()))
        .or_else(|| differs("the kind of endpoint", |run| scheme(effective(run)).to_owned()))
        .or_else(|| differing(&SETTINGS, effective(a), effective(b)))
}

pub(super) fn effective(run: &Value) -> &Value {
    &run["run"]["settings"]["effective"]
}

fn loop_of(settings: &Value) -> &'static str {
    match (settings["rate_per_second"].is_null(), settings["ramp_per_second"].is_null()) {
        (true, _) => "closed",
        (false, true) => "open",
        (false, false) => "open, with a ramp",
    }
}

fn scheme(settings: &Value) -> &str {
    settings["endpoint"]
        .as_str()
        .and_then(|endpoint| endpoint.split_once("://"))
        .map_or("unknown", |(scheme, _)| scheme)
}

fn are_equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        // To the millisecond, where it is a moment.
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().min(1e6),
        _ => a == b,
    }
}

/// A measured time, in seconds of the wall clock since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) until: f64,
}

impl Span {
    /// Of a run in the JSON of a sum.
    pub(super) fn of(run: &Value) -> Option<Self> {
        Some(Self { from: run["measured"][0].as_f64()?, until: run["measured"][1].as_f64()? })
    }

    pub(super) fn seconds(&self) -> f64 {
        self.until - self.from
    }

    /// The time in all of them.
    pub(super) fn common(spans: &[Self]) -> Option<Self> {
        let both = |a: Self, b: Self| Self { from: a.from.max(b.from), until: a.until.min(b.until) };
        spans.iter().copied().reduce(both).filter(|span| span.until >= span.from)
    }

    /// From the first to the last of them.
    pub(super) fn around(spans: &[Self]) -> Option<Self> {
        spans.iter().copied().reduce(|a, b| Self { from: a.from.min(b.from), until: a.until.max(b.until) })
    }
}

/// The share of the longest that all have in common.
pub(super) fn in_common(spans: &[Span]) -> f64 {
    let longest = spans.iter().map(Span::seconds).fold(0.0, f64::max);
    let common = Span::common(spans).map_or(0.0, |span| span.seconds());
    if longest > 0.0 { common / longest } else { 1.0 }
}

pub(super) fn are_together(spans: &[Span]) -> bool {
    in_common(spans) >= TOGETHER
}

/// The seconds that are in any of them.
pub(super) fn covered(spans: &[Span]) -> f64 {
    let mut spans = spans.to_vec();
    spans.sort_by(|a, b| a.from.total_cmp(&b.from));
    let mut end = f64::NEG_INFINITY;
    spans.iter().fold(0.0, |covered, span| {
        let from = span.from.max(end);
        end = end.max(span.until);
        covered + (span.until - from).max(0.0)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spans<const N: usize>(times: [(f64, f64); N]) -> Vec<Span> {
        times.map(|(from, until)| Span { from, until }).to_vec()
    }

    #[test]
    fn times_overlap_or_do_not() {
        for (times, share, seconds) in [
            (spans([(0.0, 10.0), (0.0, 10.0)]), 1.0, 10.0),
            (spans([(0.0, 10.0), (0.5, 10.5)]), 0.95, 10.5),
            (spans([(0.0, 10.0), (2.0, 4.0)]), 0.2, 10.0),
            (spans([(0.0, 10.0), (9.0, 19.0), (5.0, 15.0)]), 0.1, 19.0),
            (spans([(30.0, 40.0), (0.0, 10.0)]), 0.0, 20.0),
            (spans([(3.0, 3.0), (3.0, 3.0)]), 1.0, 0.0),
        ] {
            assert!((in_common(&times) - share).abs() < 1e-9, "{times:?}");
            assert!((covered(&times) - seconds).abs() < 1e-9, "{times:?}");
        }
    }

    /// A run of ten seconds.
    fn run() -> Value {
        json!({
            "measured": [1000.0, 1010.0],
            "metrics": { "sent": 7, "requests": 7 },
            "run": {
                "program": "pingpong 0.1.0",
                "started_unix_seconds": 999.0,
                "machine": { "host": "here" },
                "settings": { "effective": {
                    "endpoint": "tcp://localhost:1", "rate_per_second": 5.0, "arrivals": "even", "exchange": "pong", "size_bytes": 64,
                    "framing": "line", "timeout_seconds": 5.0, "pipeline": 1, "churn": false, "duration_seconds": 10.0,
                    "warmup_seconds": 1.0, "connections": 3,
                } },
            },
        })
    }

    fn mismatch(before: &Value, run: &Value) -> Option<Mismatch> {
        let mut register = Register::default();
        register.add(before);
        register.mismatch(before, run).map(|(place, why)| {
            assert_eq!(place, 0);
            why
        })
    }

    #[track_caller]
    fn added_to_another(change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut other = run();
        other["run"]["machine"]["host"] = "there".into();
        change(&mut other);
        mismatch(&run(), &other).map(|why| why.to_string())
    }

    #[test]
    fn a_run_on_another_machine_is_a_part_of_the_same_load() {
        assert_eq!(added_to_another(|_| {}), None);
        let settings = |run: &mut Value, name: &str, value: Value| run["run"]["settings"]["effective"][name] = value;
        assert_eq!(added_to_another(|run| settings(run, "endpoint", json!("tcp://10.0.0.1:1"))), None);
        assert_eq!(added_to_another(|run| settings(run, "connections", json!(9))), None);
        assert_eq!(added_to_another(|run| settings(run, "warmup_seconds", json!(9.0))), None);
        assert_eq!(added_to_another(|run| settings(run, "rate_per_second", json!(9.0))), None);
        assert_eq!(added_to_another(|run| run["measured"] = json!([1000.4, 1010.4])), None);
    }

    #[test]
    fn two_runs_on_one_machine_are_two_unless_start_and_counts_are_the_same() {
        let here = |run: &mut Value| run["run"]["machine"]["host"] = "here".into();
        assert_eq!(added_to_another(here).as_deref(), Some("they are the same run"));
        for (name, value) in [("sent", 8), ("requests", 6)] {
            let other = |run: &mut Value| (here(run), run["metrics"][name] = value.into()).1;
            assert_eq!(added_to_another(other), None);
        }
        let later = |run: &mut Value| (here(run), run["run"]["started_unix_seconds"] = json!(999.001)).1;
        assert_eq!(added_to_another(later), None);
    }

    #[test]
    fn what_is_another_load_is_told() {
        for (name, value, why) in [
            ("rate_per_second", Value::Null, "they differ in the loop (--rate): open and closed"),
            ("endpoint", json!("udp://localhost:1"), "they differ in the kind of endpoint: tcp and udp"),
            ("exchange", json!("echo"), "they differ in the exchange (ping, --echo, --send): \"pong\" and \"echo\""),
            ("send", json!("PING"), "they differ in --send: null and \"PING\""),
            ("expect", json!("PONG"), "they differ in --expect: null and \"PONG\""),
            ("size_bytes", json!(65), "they differ in --size: 64 and 65"),
            ("framing", json!("raw"), "they differ in --framing: \"line\" and \"raw\""),
            ("timeout_seconds", json!(1.0), "they differ in --timeout: 5.0 and 1.0"),
            ("pipeline", json!(2), "they differ in --pipeline: 1 and 2"),
            ("udp_segment", json!(false), "they differ in --no-segment: null and false"),
            ("heartbeat_seconds", json!(60.0), "they differ in --heartbeat: null and 60.0"),
            ("arrivals", json!("poisson"), "they differ in --arrivals: \"even\" and \"poisson\""),
            (
                "ramp_per_second",
                json!({ "first": 1.0, "last": 9.0 }),
                "they differ in the loop (--rate): open and open, with a ramp",
            ),
            ("churn", json!(true), "they differ in --churn: false and true"),
            ("duration_seconds", json!(3.0), "they differ in --duration: 10.0 and 3.0"),
            ("duration_seconds", Value::Null, "they differ in --duration: 10.0 and null"),
        ] {
            let told = added_to_another(|run| run["run"]["settings"]["effective"][name] = value);
            assert_eq!(told.as_deref(), Some(why));
        }
        let settings = |run: &mut Value, name: &str, value: Value| run["run"]["settings"]["effective"][name] = value;
        let random = |run: &mut Value, seed: u64| {
            (settings(run, "arrivals", json!("poisson")), settings(run, "seed", json!(seed)))
        };
        let (mut first, mut second) = (run(), run());
        second["run"]["machine"]["host"] = "there".into();
        random(&mut first, 7);
        random(&mut second, 7);
        assert_eq!(mismatch(&first, &second), Some(Mismatch::SameSeed));
        random(&mut second, 8);
        assert_eq!(mismatch(&first, &second), None);
        let told = added_to_another(|run| run["run"]["program"] = "pingpong 0.2.0".into());
        assert_eq!(told.as_deref(), Some("they differ in their version: pingpong 0.1.0 and pingpong 0.2.0"));
    }

    #[test]
    fn each_part_is_there_once_and_of_the_same_load() {
        let part = |part: u64, parts: u64, at: f64| {
            let mut run = run();
            run["run"]["machine"]["host"] = format!("node-{part}").into();
            let settings = &mut run["run"]["settings"]["effective"];
            (settings["part"], settings["parts"]) = (part.into(), parts.into());
            (settings["start_at_unix_seconds"], settings["seed"]) = (at.into(), 7.into());
            run
        };
        let first = part(1, 4, 1.75e9);
        let told = |run: &Value| mismatch(&first, run).map(|why| why.to_string());
        // Each makes a seed of its own from the one that was given.
        assert_eq!(told(&part(2, 4, 1.75e9)), None);
        let mut again = part(1, 4, 1.75e9);
        again["run"]["started_unix_seconds"] = json!(998.0);
        assert_eq!(told(&again).as_deref(), Some("both are part 1 of 4"));
        assert_eq!(told(&part(1, 4, 1.75e9)).as_deref(), Some("they are the same run"));
        let other = told(&part(2, 5, 1.75e9));
        assert_eq!(other.as_deref(), Some("they differ in how many --part says there are: 4 and 5"));
        let later = told(&part(2, 4, 1.75e9 + 1.0));
        assert_eq!(later.as_deref(), Some("they differ in --start-at: 1750000000.0 and 1750000001.0"));
        for (name, what) in OF_WHOLE {
            let whole = |mut run: Value, value: Value| {
                run["run"]["settings"]["effective"]["whole"] = json!({ name: value });
                run
            };
            let [first, same, other] = [(1, json!(4)), (2, json!(4)), (2, json!(6))]
                .map(|(number, value)| whole(part(number, 4, 1.75e9), value));
            assert_eq!(mismatch(&first, &same), None);
            let told = mismatch(&first, &other).map(|why| why.to_string());
            assert_eq!(told, Some(format!("they differ in {what}: 4 and 6")));
        }
        let none = told(&run());
        assert_eq!(none.as_deref(), Some("they differ in how many --part says there are: 4 and null"));
        // What was measured at another time can be compared.
        let mut next = part(1, 4, 1.76e9);
        next["run"]["started_unix_seconds"] = json!(1999.0);
        assert_eq!(incomparable(&first, &next), None);
    }
}
