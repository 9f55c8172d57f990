//! A report as JSON, and back. Keys are snake_case with their units; `schema` changes when one loses its meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::alike::Span;
use super::blocks::Blocks;
use super::proof::check_totals;
use super::sheet::{Sheet, numbers};
use super::{Judged, Report, figures, micros, probe};
use crate::bench::record::{
    Cost, Counts, Fact, Mistakes, ProbePart, Shares, Transport, Wrong, histogram, histogram_up_to, values_of,
};

/// The version of this layout.
pub(super) const SCHEMA: u64 = 2;

/// What something is that has another layout, or none.
pub(super) const STRANGE: &str = "no results of 'pingpong bench --json', or of another version of it";

impl Report {
    /// As JSON text: a line for each part, and one for each figure.
    pub(in crate::bench) fn to_json(&self) -> String {
        let parts = [
            ("schema", SCHEMA.into()),
            ("title", self.title.as_str().into()),
            ("partial", self.is_partial.into()),
            ("open_loop", self.is_open().into()),
            ("measured_from_unix_seconds", self.measured.map(|span| span.from).into()),
            ("measured_until_unix_seconds", self.measured.map(|span| span.until).into()),
            ("metrics", self.metrics()),
            ("intervals", self.interval_notes()),
            ("warnings", self.warnings().into()),
            ("requirements", self.requirements.iter().map(Judged::to_json).collect()),
            ("connect_errors", json!(self.refusals)),
            ("refused_reasons", json!(self.refused_reasons)),
            ("unsent_because", json!(self.hindrances)),
            ("first_wrong", self.first_wrong()),
            ("first_unasked", self.mistakes.unasked.as_deref().into()),
            ("was_answered", self.was_answered.into()),
            ("answers_by_order", self.is_by_order.into()),
            ("stream", self.is_stream.into()),
            ("allows_failures", self.allows_failures.into()),
            ("heartbeats", self.has_heartbeats.into()),
            ("churn_ports", self.churn_ports.into()),
            ("ports_crowded", self.is_crowded.into()),
            ("udp_budget_applies", self.is_budgeted.into()),
        ];
        let about = self.about.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value.clone()));
        let histograms = json!({
            "unit": "ns",
            "significant_digits": 3,
            "service": values_of(&self.service),
            "response": self.response.as_ref().map(values_of),
            "lag": self.lag.as_ref().map(values_of),
            "probe": self.probe.as_ref().map(probe::to_json),
            "tcp_rtt": self.transport.as_ref().map(|transport| values_of(&transport.round_trips)),
        });
        let lines =
            parts.into_iter().chain(about).chain([("histograms", histograms), ("blocks", self.blocks.to_json())]).map(
                |(key, value)| match key {
                    "metrics" => format!("\"{key}\": {value:#}").replace('\n', "\n  "),
                    _ => format!("\"{key}\": {value}"),
                },
            );
        format!("{{\n  {}\n}}\n", lines.collect::<Vec<_>>().join(",\n  "))
    }

    /// The figures, flat, for scripts. Where nothing was measured the figure is null, not 0.
    pub(super) fn metrics(&self) -> Value {
        let mut metrics = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            metrics.insert(name.to_owned(), value.unwrap_or(Value::Null));
        };
        for (fact, name) in Fact::ALL {
            let is_known =
                (self.has_heartbeats || !fact.is_of_heartbeats()) && (self.probe.is_some() || !fact.is_of_the_probe());
            put(name, is_known.then(|| self.counts[fact].into()));
        }
        put("errors", Some(self.counts.errors().into()));
        put("requests_per_second", Some(rounded(self.per_second)));
        put("asked_per_second", self.asked_per_second.map(rounded));
        put("seconds", Some(rounded(self.seconds)));
        put("gone_after_seconds", self.gone_after_seconds.map(rounded));
        put("load_longest_pause_seconds", Some(rounded(self.longest_pause_seconds)));
        put("connect_seconds", Some(rounded(self.connect_seconds)));
        put("load_cpu_seconds", self.cost.map(|cost| rounded(cost.cpu_seconds)));
        put("load_cpu_us_per_request", self.cpu_per_request().map(|seconds| rounded(seconds * 1e6)));
        let shares = self.cost.map(|cost| cost.shares);
        put("load_working", shares.map(|shares| rounded(shares.working)));
        put("load_waiting", shares.map(|shares| rounded(shares.waiting())));
        put("load_taken_away", shares.and_then(|shares| shares.taken_away).map(rounded));
        // What earlier versions call the working share.
        put("load_busy", shares.map(|shares| rounded(shares.working)));
        let tcp = self.transport.as_ref();
        let [rtt_p50, ..] = figures(tcp.map(|tcp| &tcp.round_trips));
        put("tcp_retransmits", tcp.map(|tcp| tcp.retransmits.into()));
        put("tcp_rtt_min_us", tcp.and_then(|tcp| tcp.shortest).map(|nanos| micros(nanos).into()));
        put("tcp_rtt_p50_us", rtt_p50.1.map(|nanos| micros(nanos).into()));
        let of_the_probe = ProbePart::ALL.map(|(name, part)| (name, self.probe.as_ref().map(|probe| probe.of(part))));
        for (kind, times) in self.times().into_iter().chain(of_the_probe) {
            for (name, nanos) in figures(times) {
                put(&format!("{kind}_{name}_us"), nanos.map(|nanos| micros(nanos).into()));
            }
        }
        metrics.extend(self.interval_metrics());
        Value::Object(metrics)
    }

    /// The first wrong answer beside the right one.
    fn first_wrong(&self) -> Value {
        self.mistakes
            .wrong
            .as_ref()
            .map_or(Value::Null, |wrong| json!({ "got": wrong.got, "expected": wrong.expected }))
    }

    /// Reads a report back.
    pub(super) fn from_json(mut sheet: Sheet<'_>) -> io::Result<Self> {
        let [histograms, blocks] = ["histograms", "blocks"].map(|name| sheet.take(name).unwrap_or("null"));
        let values = sheet.into_values().map(|(name, text)| Ok((name.to_owned(), value_of(text)?)));
        let mut read = Value::Object(values.collect::<io::Result<_>>()?);
        let whole = &read;
        if whole["schema"] != SCHEMA {
            return Err(foreign(STRANGE));
        }
        let histograms = Sheet::of(histograms).unwrap_or_default();
        let metrics = &whole["metrics"];
        let number = |name: &str| metrics[name].as_f64().ok_or_else(|| foreign(&format!("no metrics.{name} in it")));
        let times = |kind: &str| {
            let times = histograms.get(kind).and_then(times_in);
            times.ok_or_else(|| foreign(&format!("no histograms.{kind} in it")))
        };
        let is_open = whole["open_loop"].as_bool().unwrap_or_default();
        let mut counts = Counts::default();
        for (fact, name) in Fact::ALL {
            let count = metrics[name].as_u64().or((fact.is_of_heartbeats() || fact.is_of_the_probe()).then_some(0));
            counts[fact] = count.ok_or_else(|| foreign(&format!("no metrics.{name} in it")))?;
        }
        let reasons = |name: &str| {
            let reasons = whole[name].as_object().into_iter().flatten();
            reasons.filter_map(|(why, count)| Some((why.clone(), count.as_u64()?))).collect::<BTreeMap<String, u64>>()
        };
        let mut report = Self {
            title: whole["title"].as_str().unwrap_or_default().to_owned(),
            is_partial: whole["partial"].as_bool().unwrap_or_default(),
            cut: None,
            seconds: number("seconds")?,
            waited: Duration::ZERO,
            measured: measured(whole),
            per_second: number("requests_per_second")?,
            asked_per_second: metrics["asked_per_second"].as_f64(),
            gone_after_seconds: metrics["gone_after_seconds"].as_f64(),
            longest_pause_seconds: metrics["load_longest_pause_seconds"].as_f64().unwrap_or_default(),
            connect_seconds: number("connect_seconds")?,
            counts,
            refusals: reasons("connect_errors"),
            refused_reasons: reasons("refused_reasons"),
            hindrances: reasons("unsent_because"),
            mistakes: mistakes(whole),
            was_answered: whole["was_answered"].as_bool().unwrap_or_default(),
            is_by_order: whole["answers_by_order"].as_bool().unwrap_or_default(),
            is_stream: whole["stream"].as_bool().unwrap_or_default(),
            allows_failures: whole["allows_failures"].as_bool().unwrap_or_default(),
            has_heartbeats: whole["heartbeats"].as_bool().unwrap_or_default(),
            churn_ports: whole["churn_ports"].as_u64(),
            is_crowded: whole["ports_crowded"].as_bool().unwrap_or_default(),
            is_budgeted: whole["udp_budget_applies"].as_bool().unwrap_or_default(),
            service: times("service")?,
            response: is_open.then(|| times("response")).transpose()?,
            lag: is_open.then(|| times("lag")).transpose()?,
            probe: probe::from_json(&value_of(histograms.get("probe").unwrap_or("null"))?),
            blocks: Blocks::from_json(blocks)?,
            transport: transport(metrics, times),
            cost: cost(metrics),
            requirements: Vec::new(),
            written: Value::Null,
            about: Value::Null,
        };
        report.written = read["metrics"].take();
        report.about = ABOUT.into_iter().filter_map(|key| Some((key, read.get_mut(key)?.take()))).collect();
        check_totals(&report)?;
        Ok(report)
    }
}

/// That something was not written by this program.
pub(super) fn foreign(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Results of pingpong, but not those of one load.
#[derive(Debug)]
pub(super) struct OtherKind(String);

impl std::error::Error for OtherKind {}

impl fmt::Display for OtherKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error of a reader that has found them.
pub(super) fn other_kind(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, OtherKind(what.to_owned()))
}

fn mistakes(whole: &Value) -> Mistakes {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let wrong = text(&whole["first_wrong"]["got"]).zip(text(&whole["first_wrong"]["expected"]));
    Mistakes { wrong: wrong.map(|(got, expected)| Wrong { got, expected }), unasked: text(&whole["first_unasked"]) }
}

/// What is written and read back as it is: of one run, and of a sum.
const ABOUT: [&str; 13] = [
    "until",
    "program",
    "started_unix_seconds",
    "settings",
    "machine",
    "clock",
    "runs",
    "forced",
    "missing_parts",
    "missing_parts_by",
    "empty_files",
    "blocks_left_out",
    "search",
];

fn measured(whole: &Value) -> Option<Span> {
    let [from, until] = ["measured_from_unix_seconds", "measured_until_unix_seconds"].map(|key| whole[key].as_f64());
    Some(Span { from: from?, until: until? })
}

/// `None` where TCP was not asked, as in results of earlier versions.
fn transport(metrics: &Value, times: impl Fn(&str) -> io::Result<Histogram<u64>>) -> Option<Transport> {
    Some(Transport {
        retransmits: metrics["tcp_retransmits"].as_u64()?,
        shortest: metrics["tcp_rtt_min_us"].as_f64().map(|micros| (micros * 1e3).round() as u64),
        round_trips: times("tcp_rtt").ok()?,
    })
}

fn cost(metrics: &Value) -> Option<Cost> {
    let (cpu_seconds, working) = metrics["load_cpu_seconds"].as_f64().zip(metrics["load_busy"].as_f64())?;
    Some(Cost { cpu_seconds, shares: Shares { working, taken_away: metrics["load_taken_away"].as_f64() } })
}

/// To the millionth: more digits say nothing.
pub(super) fn rounded(number: f64) -> Value {
    ((number * 1e6).round() / 1e6).into()
}

pub(super) fn value_of(text: &str) -> io::Result<Value> {
    serde_json::from_str(text).map_err(|error| foreign(&format!("not JSON: {error}")))
}

/// Of the text of a list of pairs.
fn times_in(pairs: &str) -> Option<Histogram<u64>> {
    let numbers = numbers(pairs)?;
    let (pairs, []) = numbers.as_chunks::<2>() else { return None };
    let mut times = histogram_up_to(pairs.iter().map(|[nanos, _]| *nanos).max().unwrap_or_default());
    for [nanos, count] in pairs {
        times.record_n(*nanos, *count).ok()?;
    }
    Some(times)
}

pub(super) fn times_of(values: &Value) -> Option<Histogram<u64>> {
    let mut times = histogram();
    for pair in values.as_array()? {
        times.record_n(pair[0].as_u64()?, pair[1].as_u64()?).ok()?;
    }
    Some(times)
}
