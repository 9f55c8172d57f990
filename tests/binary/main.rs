//! The binary over real sockets: one module per theme.
//!
//! Every server picks its own ports and says which; every wait has a deadline. Tests that need a tool (strace, ip, ss,
//! valgrind, prlimit, root) say that they were skipped, and fail instead where `PINGPONG_REQUIRE_TOOLS=1`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[cfg(feature = "bench")]
mod bench;
mod chat;
mod client;
mod command;
mod datagrams;
mod far;
mod faults;
mod foreign;
mod fourways;
mod limits;
mod logs;
mod memory;
mod probing;
mod recorder;
mod shutdown;
mod states;
mod support;
mod table;
mod talk;
mod terminal;
mod trace;
mod tutorials;
mod unix;
mod wire;
