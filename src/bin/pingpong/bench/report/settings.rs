//! What was asked of a load, as its report tells it.

use std::time::Duration;

use pingpong::Address;
use pingpong::service::Framing;
use serde_json::{Value, json};

use crate::bench::{BenchOptions, Extent};
use crate::probe::Probe;

/// What was done, in a line.
pub(super) fn title(options: &BenchOptions) -> String {
    let connections = match options.connections {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    };
    let idle = if options.idle > 0 { format!(" beside {} idle", options.idle) } else { String::new() };
    let how = match options.rate {
        Some(rate) => format!("open loop at {rate} a second"),
        None if options.pipeline > 1 => format!("closed loop, {} outstanding each", options.pipeline),
        None => "closed loop".to_owned(),
    };
    let each = match &options.probe {
        Probe::Pong(size) => format!("{size}-byte pings"),
        Probe::Echo(size) => format!("{size}-byte echoes"),
        Probe::Fixed { send, .. } => format!("\"{}\"", send.escape_ascii()),
    };
    let churn = if options.churn { ", each on a connection of its own" } else { "" };
    let extent = match options.extent {
        Extent::Duration(duration) => format!("{duration:?}"),
        Extent::Requests(requests) => format!("{requests} requests"),
    };
    let warmup = match options.warmup {
        Duration::ZERO => "without warm-up".to_owned(),
        warmup => format!("after {warmup:?} of warm-up"),
    };
    format!("{}: {connections}{idle}, {how}, {each}{churn}; {extent} {warmup}", options.endpoint)
}

/// The settings with all defaults filled in, and the address that the endpoint's name turned out to have.
pub(super) fn effective(options: &BenchOptions, address: Option<&Address>) -> Value {
    let (exchange, size) = match &options.probe {
        Probe::Pong(size) => ("pong", *size),
        Probe::Echo(size) => ("echo", *size),
        Probe::Fixed { send, .. } => ("fixed", send.len()),
    };
    let (duration, requests) = match options.extent {
        Extent::Duration(duration) => (Some(duration.as_secs_f64()), None),
        Extent::Requests(requests) => (None, Some(requests)),
    };
    json!({
        "endpoint": options.endpoint.to_string(),
        "address": address.map(Address::to_string),
        "connections": options.connections,
        "idle": options.idle,
        "duration_seconds": duration,
        "requests": requests,
        "warmup_seconds": options.warmup.as_secs_f64(),
        "rate_per_second": options.rate,
        "pipeline": options.pipeline,
        "churn": options.churn,
        "connect_rate_per_second": options.connect_rate,
        "sources": options.sources.map(|sources| sources.to_string()),
        "exchange": exchange,
        "size_bytes": size,
        "framing": if options.framing == Framing::Raw { "raw" } else { "line" },
        "timeout_seconds": options.timeout.as_secs_f64(),
        "connect_timeout_seconds": options.connect_timeout.as_secs_f64(),
    })
}
