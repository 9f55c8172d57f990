//! pingpong

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod logger;
#[cfg(feature = "cli")]
pub mod serve;

mod endpoint;
pub mod engine;
mod error;
mod limits;
mod moment;
mod reactor;
pub mod service;
mod stats;

pub use endpoint::{Address, Endpoint, HostPort};
pub use error::{CloseReason, EndpointProblem, Error, Occupant};
pub use limits::Limits;
pub use moment::Moment;
pub use reactor::{Ending, Handle, ListenOptions, Reactor, Sockets, Status, block_signals};
pub use stats::Stats;
