//! What came of a load's requests and connections: the one account that all reports are made from.
//!
//! - `ledger`: which requests count, and what came of each
//! - `counts`: counts by fact, and histograms of durations
//! - `cost`: what the load generator itself used

pub(super) mod cost;
pub(super) mod counts;
pub(super) mod ledger;
