//! A hundred clients that ask as fast as they are answered, beside all the others.

use common::Result;
use common::child::Child;
use serde_json::Value;

use crate::fleet::{self, Fleet, PINGPONG};
use crate::plan::Plan;

/// How they were served.
pub(crate) struct Active {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) errors: u64,
}

/// Has them ask all servers for three seconds.
pub(crate) fn ask(plan: &Plan, fleet: &mut Fleet<'_>) -> Result<Active> {
    let words = ["exec", PINGPONG, "bench"].map(str::to_owned).into_iter().chain([plan.endpoint()]);
    let role = words.chain("-c 100 -d 3s --warmup 1s --json".split(' ').map(str::to_owned));
    let mut clients = Child::start(plan.load_cpu(0), &role.collect::<Vec<_>>())?;
    let text = fleet::rest_of(&mut clients)?;
    fleet.are_alive()?;
    let report: Value = serde_json::from_str(&text).map_err(|_| fleet::last_words(&mut clients))?;
    let metrics = &report["metrics"];
    let figure = |name: &str| metrics[name].as_f64().ok_or_else(|| format!("no {name} among the metrics"));
    Ok(Active {
        per_second: figure("requests_per_second")?,
        p50_us: figure("service_p50_us")?,
        p99_us: figure("service_p99_us")?,
        errors: figure("errors")? as u64,
    })
}
