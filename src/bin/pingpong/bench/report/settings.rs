//! What was asked of a load, as its report tells it.

use std::collections::BTreeSet;
use std::time::Duration;

use pingpong::service::Framing;
use pingpong::{Address, HostPort, Ports};
use serde_json::{Value, json};

use super::alike::{effective as effective_of, part_of};
use crate::bench::clock::unix_seconds;
use crate::bench::load::is_spreadable;
use crate::bench::options::Phase;
use crate::bench::part::Part;
use crate::bench::rate::{Arrivals, Rate};
use crate::bench::{BenchOptions, Extent};
use crate::probe::Probe;

/// What was done, in a line: from the settings with all defaults filled in.
pub(super) fn title(settings: &Value) -> String {
    let number = |name: &str| settings[name].as_u64().unwrap_or_default();
    let text = |name: &str| settings[name].as_str().unwrap_or("?");
    let seconds = |name: &str| Duration::try_from_secs_f64(settings[name].as_f64()?).ok();
    let connections = match number("connections") {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    };
    let heartbeat = seconds("heartbeat_seconds").map(|every| format!(" with a heartbeat every {every:?}"));
    let idle = match number("idle") {
        0 => String::new(),
        idle => format!(" beside {idle} idle{}", heartbeat.unwrap_or_default()),
    };
    let probe = settings["probe_per_second"].as_f64().map(|rate| format!(" and a probe at {rate} a second"));
    let probe = probe.unwrap_or_default();
    let from = match settings["sources_chosen"] == true {
        true => format!(" from {}", text("sources")),
        false => String::new(),
    };
    let how = match settings["rate_per_second"].as_f64() {
        Some(_) if settings["steps"].is_u64() => {
            format!("open loop in {} steps{}", settings["steps"], at_random(settings))
        }
        Some(rate) => format!("open loop {}{}", course(settings, rate), at_random(settings)),
        None if number("pipeline") > 1 => {
            let runs = if settings["udp_segment"] == true { ", sent in runs (UDP_SEGMENT)" } else { "" };
            format!("closed loop, {} outstanding each{runs}", number("pipeline"))
        }
        None => "closed loop".to_owned(),
    };
    let each = match text("exchange") {
        "pong" => format!("{}-byte pings", number("size_bytes")),
        "echo" => format!("{}-byte echoes", number("size_bytes")),
        _ => format!("\"{}\"", text("send")),
    };
    let churn = if settings["churn"] == true { ", each on a connection of its own" } else { "" };
    let steps = if settings["steps"].is_u64() { " each" } else { "" };
    let part = match settings["part"].as_u64().zip(settings["parts"].as_u64()) {
        Some((part, parts)) => format!("part {part} of {parts}, "),
        None => String::new(),
    };
    let extent = match seconds("duration_seconds") {
        Some(duration) => format!("{duration:?}"),
        None => format!("{} requests", number("requests")),
    };
    let warmup = match seconds("warmup_seconds") {
        None | Some(Duration::ZERO) => "without warm-up".to_owned(),
        Some(warmup) => format!("after {warmup:?} of warm-up"),
    };
    format!(
        "{part}{}: {connections}{idle}{probe}{from}, {how}, {each}{churn}; {extent}{steps} {warmup}",
        text("endpoint")
    )
}

/// At which rate requests were due: on average at this one.
fn course(settings: &Value, rate: f64) -> String {
    let end = |name: &str| settings["ramp_per_second"][name].as_f64();
    match end("first").zip(end("last")) {
        Some((first, last)) => format!("from {first} to {last} a second"),
        None => format!("at {rate} a second"),
    }
}

fn at_random(settings: &Value) -> String {
    match settings["seed"].as_u64() {
        _ if settings["arrivals"] != "poisson" => String::new(),
        Some(seed) => format!(", at random (Poisson, seed {seed})"),
        None => ", at random (Poisson)".to_owned(),
    }
}

/// What a run in several steps has done, or several such runs together: from what is known about the first step.
pub(super) fn title_of_steps(about: &Value, steps: usize) -> String {
    if let Some(runs) = about["runs"].as_array().filter(|runs| !runs.is_empty()) {
        let mut runs = runs.clone();
        runs[0]["run"]["settings"]["effective"]["steps"] = steps.into();
        return match &*runs {
            [run] => title(effective_of(run)),
            _ => title_of_sum(&runs, about["forced"].is_null()),
        };
    }
    let mut settings = about["settings"]["effective"].clone();
    settings["steps"] = steps.into();
    title(&settings)
}

/// The settings of a run, or of the first one in a sum.
pub(super) fn effective_of_first(about: &Value) -> &Value {
    if about["runs"].is_array() { effective_of(&about["runs"][0]) } else { &about["settings"]["effective"] }
}

/// What several runs have done together; or that they are not one load.
pub(super) fn title_of_sum(runs: &[Value], is_one_load: bool) -> String {
    if !is_one_load {
        return format!("{} runs added up that are not one load (--force)", runs.len());
    }
    let all = |name: &'static str| runs.iter().map(move |run| &effective_of(run)[name]);
    let mut sum = effective_of(&runs[0]).clone();
    sum["part"] = Value::Null;
    for name in ["connections", "idle", "requests"] {
        sum[name] = all(name).filter_map(Value::as_u64).sum::<u64>().into();
    }
    let probes: Vec<f64> = all("probe_per_second").filter_map(Value::as_f64).collect();
    sum["probe_per_second"] = (!probes.is_empty()).then(|| probes.iter().sum::<f64>()).into();
    // None of the runs has a rate, or each. So it is with ramps.
    sum["rate_per_second"] = all("rate_per_second").map(Value::as_f64).sum::<Option<f64>>().into();
    if runs.len() > 1 {
        sum["seed"] = Value::Null;
    }
    if sum["ramp_per_second"].is_object() {
        for end in ["first", "last"] {
            let ends = all("ramp_per_second").map(|ramp| ramp[end].as_f64());
            sum["ramp_per_second"][end] = ends.sum::<Option<f64>>().into();
        }
    }
    let endpoints: BTreeSet<&str> = all("endpoint").filter_map(Value::as_str).collect();
    sum["endpoint"] = match endpoints.len() {
        0..=3 => endpoints.into_iter().collect::<Vec<_>>().join(" and ").into(),
        many => format!("{many} endpoints").into(),
    };
    let what = match part_of(&runs[0]) {
        Some((_, all)) if all > runs.len() as u64 => format!("{} of {all} parts", runs.len()),
        Some(_) => format!("{} parts", runs.len()),
        None => format!("{} runs", runs.len()),
    };
    format!("{what} at the same time, {}", title(&sum))
}

/// An address, with all ports where the endpoint has a range of them.
fn shown(address: &Address, ports: Option<Ports>) -> String {
    match (address, ports) {
        (Address::Ip(address), Some(ports)) => HostPort { ports, ..(*address).into() }.to_string(),
        _ => address.to_string(),
    }
}

/// What was asked of all parts of a load together: by that they are known to be parts of one.
fn whole(options: &BenchOptions) -> Value {
    let requests = if let Extent::Requests(requests) = options.extent { Some(requests) } else { None };
    let rate = |rate: &Rate| match rate.is_ramp() {
        true => json!({ "first": rate.first, "last": rate.last }),
        false => rate.first.into(),
    };
    let rates: Vec<Value> = options.rates.iter().map(rate).collect();
    json!({
        "connections": options.connections,
        "idle": options.idle,
        "requests": requests,
        "rates_per_second": rates,
        "connect_rate_per_second": options.connect_rate,
        "probe_per_second": options.probe_rate,
        "seed": options.chosen_seed,
    })
}

/// The settings with all defaults filled in, and the address that the endpoint's name turned out to have.
pub(super) fn effective(options: &BenchOptions, phase: &Phase, address: Option<&Address>) -> Value {
    let spread = options.spread.filter(|_| address.is_some_and(is_spreadable));
    let (exchange, size) = match &options.probe {
        Probe::Pong(size) => ("pong", *size),
        Probe::Echo(size) => ("echo", *size),
        Probe::Fixed { send, .. } => ("fixed", send.len()),
    };
    let (send, expect) = match &options.probe {
        Probe::Fixed { send, expect } => (Some(send.escape_ascii()), Some(expect.escape_ascii())),
        Probe::Pong(_) | Probe::Echo(_) => (None, None),
    };
    let (duration, requests) = match phase.extent {
        Extent::Duration(duration) => (Some(duration.as_secs_f64()), None),
        Extent::Requests(requests) => (None, Some(requests)),
    };
    let ramp = phase.rate.filter(|rate| rate.is_ramp());
    let (arrivals, seed) = match phase.arrivals {
        _ if phase.rate.is_none() => (None, None),
        Arrivals::Even => (Some("even"), None),
        Arrivals::Poisson { seed } => (Some("poisson"), Some(seed)),
    };
    json!({
        "endpoint": options.endpoint.to_string(),
        "address": address.map(|address| shown(address, options.endpoint.ports())),
        "part": options.part.map(Part::number),
        "parts": options.part.map(Part::of),
        "whole": options.undivided.as_deref().map(whole),
        "start_at_unix_seconds": options.start_at.map(unix_seconds),
        "connections": options.connections,
        "idle": options.idle,
        "heartbeat_seconds": options.heartbeat.map(|interval| interval.as_secs_f64()),
        "probe_per_second": options.probe_rate,
        "duration_seconds": duration,
        "requests": requests,
        "warmup_seconds": phase.warmup.as_secs_f64(),
        "rate_per_second": phase.rate.map(Rate::mean),
        "ramp_per_second": ramp.map(|Rate { first, last }| json!({ "first": first, "last": last })),
        "arrivals": arrivals,
        "seed": seed,
        "pipeline": options.pipeline,
        "udp_segment": options.sends_in_runs(),
        "churn": options.churn,
        "connect_rate_per_second": options.connect_rate,
        "sources": options.sources.or(spread).map(|sources| sources.to_string()),
        "sources_chosen": spread.is_some(),
        "exchange": exchange,
        "size_bytes": size,
        "send": send.map(|text| text.to_string()),
        "expect": expect.map(|text| text.to_string()),
        "framing": if options.framing == Framing::Raw { "raw" } else { "line" },
        "timeout_seconds": options.timeout.as_secs_f64(),
        "connect_timeout_seconds": options.connect_timeout.as_secs_f64(),
    })
}
