//! The binary over real sockets: one module per theme.
//!
//! Every server picks its own ports and says which; every wait has a deadline. A test that lacks root or a tool
//! (strace, ip, ss, valgrind, prlimit) says so and is skipped; with `PINGPONG_REQUIRE_TOOLS=1` it fails.
//!
//! `support` starts the binary and plays its clients, `talk` types to it, `fourways` and `recorder` compare it with the
//! programs of the tutorials.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[cfg(feature = "bench")]
mod bench;
mod chat;
mod client;
mod command;
mod datagrams;
#[cfg(feature = "bench")]
mod engines;
#[cfg(feature = "watch")]
mod explained;
mod far;
mod faults;
mod foreign;
mod fourways;
#[cfg(feature = "watch")]
mod lessons;
mod limits;
mod logs;
mod memory;
mod outputs;
mod probing;
mod ranges;
#[cfg(feature = "bench")]
mod readme;
mod recorder;
mod shutdown;
mod socket_files;
#[cfg(feature = "watch")]
mod sockets;
mod states;
mod support;
mod table;
mod talk;
mod terminal;
mod trace;
mod tutorials;
mod unix;
mod wire;
