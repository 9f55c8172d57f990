//! A hundred clients that ask as fast as they are answered, beside all the others.

use common::Result;
use common::child::Child;
use serde_json::Value;

use crate::fleet::{self, Fleet, PINGPONG};
use crate::plan::Plan;

/// How they were served.
pub(crate) struct Active {
    pub(crate) per_second: f64,
    /// None where there was no answer.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) errors: u64,
}

/// Has them ask all servers for three seconds. The five before are for heartbeats that had to wait while connections were
/// made.
pub(crate) fn ask(plan: &Plan, fleet: &mut Fleet<'_>) -> Result<Active> {
    let words = ["exec", PINGPONG, "bench"].map(str::to_owned).into_iter().chain([plan.endpoint()]);
    let role = words.chain("-c 100 -d 3s --warmup 5s --json".split(' ').map(str::to_owned));
    let mut clients = Child::start(plan.load_cpu(0), &role.collect::<Vec<_>>())?;
    let text = fleet::rest_of(&mut clients)?;
    fleet.are_alive()?;
    let report: Value = serde_json::from_str(&text).map_err(|_| fleet::last_words(&mut clients))?;
    let metrics = &report["metrics"];
    let figure = |name: &str| metrics[name].as_f64().ok_or_else(|| format!("no {name} among the metrics"));
    Ok(Active {
        per_second: figure("requests_per_second")?,
        p50_us: metrics["service_p50_us"].as_f64(),
        p99_us: metrics["service_p99_us"].as_f64(),
        errors: figure("errors")? as u64,
    })
}
