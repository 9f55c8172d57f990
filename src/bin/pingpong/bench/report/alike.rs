//! What makes several runs one load: the same kind of requests, at the same time, each run once.
//!
//! Runs are compared as they stand in the JSON of a sum. Their endpoints may differ, because a server has different names
//! on different machines, and so may their connections and rates, which add up.

use std::fmt;

use serde_json::Value;

use crate::bench::record::Fact;

/// The share of the measured time that all runs must have in common.
const TOGETHER: f64 = 0.95;

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

/// Why two runs cannot be parts of one load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mismatch {
    /// Both are the same run.
    SameRun,
    /// They did different things.
    Differs { what: &'static str, first: String, second: String },
    /// They measured at the same time only for this share of it.
    Apart(f64),
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
            Self::Apart(share) => {
                let (share, least) = (share * 100.0, TOGETHER * 100.0);
                write!(f, "they measured at the same time for {share:.0} % of it, and {least:.0} % is the least")
            }
            Self::Undated => f.write_str("one of them does not say when it measured"),
            Self::SameSeed => f.write_str("they have the same --seed, so their requests were due at the same moments"),
        }
    }
}

/// Why this run cannot be added to those before it, and which of those is in the way.
pub(super) fn mismatch<'a>(
    before: impl Iterator<Item = &'a Value> + Clone,
    run: &'a Value,
) -> Option<(usize, Mismatch)> {
    if let Some(place) = before.clone().position(|other| is_same(other, run)) {
        return Some((place, Mismatch::SameRun));
    }
    let seed = |run: &Value| effective(run)["seed"].as_u64();
    if let Some(place) = seed(run).and_then(|own| before.clone().position(|other| seed(other) == Some(own))) {
        return Some((place, Mismatch::SameSeed));
    }
    let first = before.clone().next()?;
    let differs = difference(first, run);
    if differs.is_some() {
        return differs.map(|differs| (0, differs));
    }
    let spans: Option<Vec<Span>> = before.chain([run]).map(Span::of).collect();
    match spans {
        None => Some((0, Mismatch::Undated)),
        Some(spans) if !are_together(&spans) => Some((0, Mismatch::Apart(in_common(&spans)))),
        Some(_) => None,
    }
}

/// Whether they are the same run, be it in another file: of one machine and moment, with the same counts.
fn is_same(a: &Value, b: &Value) -> bool {
    let started = |run: &Value| run["run"]["started_unix_seconds"].as_f64();
    // What JSON does to the last digit is no difference.
    let are_as_old = started(a).zip(started(b)).is_some_and(|(a, b)| (a - b).abs() < 2e-6);
    let have_counted_the_same = Fact::ALL.iter().all(|(_, name)| a["metrics"][name] == b["metrics"][name]);
    are_as_old && have_counted_the_same && a["run"]["machine"]["host"] == b["run"]["machine"]["host"]
}

fn difference(a: &Value, b: &Value) -> Option<Mismatch> {
    let differs = |what, shown: fn(&Value) -> String| {
        let (first, second) = (shown(a), shown(b));
        (first != second).then_some(Mismatch::Differs { what, first, second })
    };
    let of_settings = || {
        let (a, b) = (effective(a), effective(b));
        let (name, what) = SETTINGS.into_iter().find(|(name, _)| !are_equal(&a[name], &b[name]))?;
        Some(Mismatch::Differs { what, first: a[name].to_string(), second: b[name].to_string() })
    };
    differs("their version", |run| run["run"]["program"].as_str().unwrap_or("unknown").to_owned())
        .or_else(|| differs("the loop (--rate)", |run| loop_of(effective(run)).to_owned()))
        .or_else(|| differs("the kind of endpoint", |run| scheme(effective(run)).to_owned()))
        .or_else(of_settings)
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
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs(),
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
    fn of(run: &Value) -> Option<Self> {
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
fn in_common(spans: &[Span]) -> f64 {
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

    #[track_caller]
    fn added_to_another(change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut other = run();
        other["run"]["machine"]["host"] = "there".into();
        change(&mut other);
        mismatch([run()].iter(), &other).map(|(_, why)| why.to_string())
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
        assert_eq!(mismatch([first.clone()].iter(), &second), Some((0, Mismatch::SameSeed)));
        random(&mut second, 8);
        assert_eq!(mismatch([first].iter(), &second), None);
        let told = added_to_another(|run| run["run"]["program"] = "pingpong 0.2.0".into());
        assert_eq!(told.as_deref(), Some("they differ in their version: pingpong 0.1.0 and pingpong 0.2.0"));
        let told = added_to_another(|run| run["measured"] = json!([1002.0, 1012.0]));
        assert!(told.unwrap().contains("at the same time for 80 % of it, and 95 % is"));
        let told = added_to_another(|run| run["measured"] = Value::Null);
        assert_eq!(told.as_deref(), Some("one of them does not say when it measured"));
    }
}
