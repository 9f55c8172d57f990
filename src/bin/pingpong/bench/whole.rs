//! What was asked of all parts of a load together, before it was divided: by that they are known to be parts of one load.

use serde_json::{Value, json};

use super::options::{BenchOptions, Extent};
use super::rate::Rate;

/// What is divided among parts, as the user gave it.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    connections: u32,
    idle: u32,
    extent: Extent,
    rates: Vec<Rate>,
    connect_rate: Option<f64>,
    probe_rate: Option<f64>,
    seed: Option<u64>,
}

impl Whole {
    /// Of options that have not been divided.
    pub(crate) fn of(options: &BenchOptions) -> Self {
        let BenchOptions { connections, idle, extent, connect_rate, probe_rate, chosen_seed: seed, .. } = *options;
        Self { connections, idle, extent, rates: options.rates.clone(), connect_rate, probe_rate, seed }
    }

    /// As it goes into results.
    pub(crate) fn to_json(&self) -> Value {
        let requests = if let Extent::Requests(requests) = self.extent { Some(requests) } else { None };
        let rate = |rate: &Rate| match rate.is_ramp() {
            true => json!({ "first": rate.first, "last": rate.last }),
            false => rate.first.into(),
        };
        let rates: Vec<Value> = self.rates.iter().map(rate).collect();
        json!({
            "connections": self.connections,
            "idle": self.idle,
            "requests": requests,
            "rates_per_second": rates,
            "connect_rate_per_second": self.connect_rate,
            "probe_per_second": self.probe_rate,
            "seed": self.seed,
        })
    }
}
