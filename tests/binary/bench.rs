//! `pingpong bench`: what it counts and what it says, against our own servers and against servers that misbehave.
//!
//! No test asserts how fast anything is. Where a test needs an answer to be slow, the test's own server is slow by a
//! known time, and figures are compared with that.
//!
//! - `loads`: every kind of load against servers that behave
//! - `heartbeats`: idle connections that ask now and then
//! - `probing`: one more connection whose messages are stamped by the kernel
//! - `rate`: the open loop, and what a stall does to both loops
//! - `found`: the search for a rate
//! - `required`: requirements, steps, ramps, random arrivals
//! - `intervals`: how sure figures are
//! - `streams`, `datagrams`: servers that misbehave over TCP and UDP (`peers` has them)
//! - `misbehaving`: runs that go wrong as a whole, and what an honest report says of them
//! - `preflight`: loads that are refused before anything is dialled
//! - `shown`: what is printed where, and signals
//! - `shares`: what the load generator says of its own time
//! - `against`: several servers by turns; `comparing`: earlier results and later ones
//! - `files`: HdrHistogram logs, and the arithmetic of `bench merge`; `merging`: what it adds up
//! - `parts`: a load that several processes share, and the moment at which it begins
//! - `page`: what a browser shows
//! - `results`: what cannot be written; `transport`: what TCP did beneath

mod against;
mod comparing;
mod datagrams;
mod files;
mod found;
mod heartbeats;
mod intervals;
mod loads;
mod merging;
mod misbehaving;
mod page;
mod parts;
mod peers;
mod preflight;
mod probing;
mod rate;
mod required;
mod results;
mod shares;
mod shown;
mod streams;
#[cfg(feature = "watch")]
mod transport;

use serde_json::Value;

use super::support::{Ended, Launch};

/// The counters of a run. All but the first two are 0 in a run without a mishap.
const FACTS: [&str; 17] = [
    "sent",
    "requests",
    "wrong",
    "late",
    "lost",
    "refused",
    "broken",
    "unfinished",
    "unsent",
    "duplicate",
    "reordered",
    "connections_failed",
    "connections_lost",
    "connections_unserved",
    "connections_stalled",
    "port_waits",
    "kernel_drops",
];

/// Runs `pingpong bench` with these options, without a warm-up unless they ask for one.
#[track_caller]
fn bench(endpoint: &str, options: &str) -> Figures {
    Figures::of(&load(endpoint, options).run())
}

/// `pingpong bench` with these options, its results as JSON on standard output.
fn load(endpoint: &str, options: &str) -> Launch {
    Launch::new(&words(endpoint, options))
}

fn words(endpoint: &str, options: &str) -> String {
    let warmup = if options.contains("--warmup") { "" } else { "--warmup 0s" };
    format!("bench {endpoint} --json {warmup} {options}")
}

/// Results as JSON.
#[derive(Debug)]
struct Figures {
    code: Option<i32>,
    whole: Value,
}

impl Figures {
    /// Standard output must be nothing but JSON, and standard error nothing but warnings.
    #[track_caller]
    fn of(ended: &Ended) -> Self {
        assert!(ended.stderr.lines().all(|line| line.starts_with("WARN ")), "{}", ended.stderr);
        let whole = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        let figures = Self { code: ended.code, whole };
        figures.add_up();
        figures
    }

    /// Each request sent has one of seven outcomes, each refused one a reason, and each measured time is that of an answered one.
    #[track_caller]
    fn add_up(&self) {
        let sum = |names: &[&str]| names.iter().map(|name| self.count(name)).sum::<u64>();
        let outcomes = sum(&["requests", "wrong", "late", "lost", "refused", "broken", "unfinished"]);
        assert_eq!(self.count("sent"), outcomes, "{}", self.facts());
        let reasons = self.whole["refused_reasons"].as_object().into_iter().flatten();
        let refused: u64 = reasons.filter_map(|(_, count)| count.as_u64()).sum();
        assert_eq!(self.count("refused"), refused, "{}", self.whole["refused_reasons"]);
        assert_eq!(self.count("errors"), sum(&["wrong", "late", "lost", "refused", "broken", "unsent"]));
        let answered = sum(&["requests", "late"]);
        assert_eq!(self.times("service").iter().map(|(_, count)| count).sum::<u64>(), answered);
        if self.whole["open_loop"] == true {
            assert_eq!(self.times("response").iter().map(|(_, count)| count).sum::<u64>(), answered);
            let lags = self.times("lag").iter().map(|(_, count)| count).sum::<u64>();
            assert_eq!(lags, self.count("sent") - self.count("carried_over"));
        }
        // The rate is that of the requests sent in the measured time.
        let by_time = self.figure("requests_per_second") * self.figure("seconds");
        let requests = self.count("requests") as f64;
        assert!((requests - self.count("carried_over") as f64 - 1.0..=requests + 1.0).contains(&by_time), "{by_time}");
        let ends = ["failed", "lost", "unserved", "stalled", "held"].map(|end| format!("connections_{end}"));
        let ends: u64 = ends.iter().map(|end| self.count(end)).sum();
        let idle = self.count("idle_held") + if self.is_null("idle_silent") { 0 } else { self.count("idle_silent") };
        assert_eq!(self.count("connections_requested"), ends + idle, "{}", self.facts());
        if !self.is_null("heartbeats") {
            let ends = ["answered", "late", "wrong", "lost", "broken", "unfinished", "unsent"];
            let ends: u64 = ends.iter().map(|end| self.count(&format!("heartbeats_{end}"))).sum();
            assert_eq!(self.count("heartbeats"), ends);
        }
    }

    #[track_caller]
    fn count(&self, name: &str) -> u64 {
        let value = &self.whole["metrics"][name];
        value.as_u64().unwrap_or_else(|| panic!("{name}: {value}"))
    }

    #[track_caller]
    fn figure(&self, name: &str) -> f64 {
        let value = &self.whole["metrics"][name];
        value.as_f64().unwrap_or_else(|| panic!("{name}: {value}"))
    }

    fn is_null(&self, name: &str) -> bool {
        self.whole["metrics"].get(name).is_some_and(Value::is_null)
    }

    /// The facts that are not 0, as `sent=3 requests=2 lost=1`.
    fn facts(&self) -> String {
        self.not_zero(&FACTS)
    }

    /// The same without the counts of requests; empty where all went well.
    fn mishaps(&self) -> String {
        self.not_zero(&FACTS[2..])
    }

    #[track_caller]
    fn not_zero(&self, names: &[&str]) -> String {
        let counts = names.iter().map(|name| (name, self.count(name)));
        let shown: Vec<String> = counts.filter(|count| count.1 > 0).map(|(name, n)| format!("{name}={n}")).collect();
        shown.join(" ")
    }

    /// The buckets of a histogram: each value and how often.
    #[track_caller]
    fn times(&self, kind: &str) -> Vec<(u64, u64)> {
        let buckets = self.whole["histograms"][kind].as_array().unwrap_or_else(|| panic!("no times of {kind}"));
        buckets.iter().map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap())).collect()
    }

    fn warns(&self, text: &str) -> bool {
        let warnings = self.whole["warnings"].as_array().expect("a list");
        warnings.iter().any(|warning| warning.as_str().is_some_and(|warning| warning.contains(text)))
    }
}

/// Asserts that it failed with this code and one line that has all these words.
#[track_caller]
fn fails(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(ended.stderr.starts_with("pingpong: ") && ended.stderr.lines().count() == 1, "{ended:?}");
    assert!(words.iter().all(|word| ended.stderr.contains(word)), "{words:?} in {ended:?}");
}
