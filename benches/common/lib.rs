//! What `benches/loopback`, `benches/cost`, `benches/peers`, `benches/survive` and `benches/million` share.
//!
//! - `child`: the processes that are measured and those that load them, each pinned to a CPU
//! - `ended`: a program run to its end
//! - `measure`: what the kernel says of a process, and what repeated figures amount to
//! - `machine`: what it ran on
//! - `options`: how often, how long, which rows

pub mod child;
pub mod ended;
pub mod machine;
pub mod measure;
pub mod options;

/// Whatever goes wrong ends the row that it goes wrong in, and is printed there.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
