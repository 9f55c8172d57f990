//! Serves and dials TCP, UDP and Unix sockets from one thread and one epoll loop.
//!
//! The library behind the `pingpong` command. A [`Reactor`] serves any number of endpoints, and dials any number of
//! far sides, with services of your own or built-in ones ([`Ping`](service::Ping), [`Hello`](service::Hello),
//! [`Echo`](service::Echo), [`Chat`](service::Chat)). Linux only. With `default-features = false` it depends on mio,
//! slab, log, socket2, nix and memchr.
//!
//! Where to begin: [`Reactor`] runs the loop, [`Service`](service::Service) is the trait to implement,
//! [`Outbox`](service::Outbox) is how a service acts, [`Handle`] reaches the loop from other threads.
//!
//! # Two built-in services in a few lines
//!
//! ```
//! use pingpong::service::{Echo, Framing, Ping, Service};
//! use pingpong::{Limits, Reactor};
//!
//! let mut reactor = Reactor::<Box<dyn Service>>::new(Limits::default())?;
//! let ping = reactor.add("ping", Box::new(Ping::new(Framing::Auto)));
//! let echo = reactor.add("echo", Box::new(Echo));
//! reactor.listen(ping, &"tcp://127.0.0.1:0".parse()?)?;
//! reactor.listen(echo, &"udp://127.0.0.1:0".parse()?)?;
//! # reactor.handle().shutdown();
//! reactor.run()?;
//! # Ok::<(), pingpong::Error>(())
//! ```
//!
//! # A service of your own
//!
//! This one answers each line, of a stream or in a datagram, with the same line in upper case. It changes the line in
//! place and has it sent from the read buffer.
//!
//! ```
//! use pingpong::service::{Input, Outbox, Peer, Service};
//!
//! struct Upper;
//!
//! impl Service for Upper {
//!     fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
//!         while out.has_room()
//!             && let Some(line) = input.line()
//!         {
//!             line.make_ascii_uppercase();
//!             out.answer_in_place(input);
//!         }
//!     }
//! }
//!
//! # use std::io::{Read, Write};
//! # use pingpong::{Limits, Reactor};
//! # let mut reactor = Reactor::<Upper>::new(Limits::default())?;
//! # let upper = reactor.add("upper", Upper);
//! # let bound = reactor.listen(upper, &"tcp://127.0.0.1:0".parse()?)?;
//! # let mut client = std::net::TcpStream::connect(bound[0].socket_addr().unwrap()).unwrap();
//! # client.write_all(b"one\ntwo\nthree").unwrap();
//! # client.shutdown(std::net::Shutdown::Write).unwrap();
//! # let handle = reactor.handle();
//! # let answer = std::thread::spawn(move || {
//! #     let mut answer = String::new();
//! #     client.read_to_string(&mut answer).unwrap();
//! #     handle.shutdown();
//! #     answer
//! # });
//! # reactor.run()?;
//! # assert_eq!(answer.join().unwrap(), "ONE\nTWO\nTHREE");
//! # Ok::<(), pingpong::Error>(())
//! ```
//!
//! # What services look like
//!
//! Each of these pages has an example to start from:
//!
//! - State for each connection: [`Service`](service::Service).
//! - A chat room, where what one says goes to all others, and a push once a second: [`Outbox`](service::Outbox).
//! - Timeouts that each message puts off: [`Outbox::cancel`](service::Outbox::cancel).
//! - Datagrams, and what is different with them: [`Peer`](service::Peer).
//! - A server on a thread of its own, tested at a port that the kernel picks: [`Handle`].
//!
//! # In a loop of your own, stopped from another thread
//!
//! ```
//! use std::time::Duration;
//! use pingpong::{Limits, Reactor, Status, service::Echo};
//!
//! let mut reactor = Reactor::<Echo>::new(Limits::default())?;
//! let echo = reactor.add("echo", Echo);
//! reactor.listen(echo, &"tcp://127.0.0.1:0".parse()?)?;
//!
//! let handle = reactor.handle();
//! std::thread::spawn(move || handle.shutdown());
//!
//! while reactor.turn(Some(Duration::from_millis(100)))? == Status::Running {
//!     // The program's own work, at least ten times a second.
//! }
//! # Ok::<(), pingpong::Error>(())
//! ```
//!
//! # The layers
//!
//! Imports point down only:
//!
//! - [`Reactor`] is the only layer that names mio. It polls, and tells the engine what has happened and what time it
//!   is. Beside the sockets it has the signals, the console, the clock and its [`Handle`]s. [`outlet`] prints without
//!   waiting.
//! - [`engine`] makes every decision and polls nothing: connections, accepting, datagrams, buffers, timers, limits. It
//!   reaches sockets through the trait [`Net`](engine::Net) and is told the time, so that tests and simulations can
//!   drive it.
//! - [`service`] says what bytes mean. It has no socket.
//! - [`Endpoint`], [`Limits`], [`Stats`], [`Error`], [`CloseReason`] and [`Moment`] are shared by all of them.
//!
//! The `pingpong` command is a crate of its own, which uses this one as any other program would.
//!
//! # One byte's journey
//!
//! A byte arrives at a TCP socket. In [`Reactor::turn`], epoll_wait(2) returns an event; its token is decoded, and
//! [`Engine::dispatch`](engine::Engine::dispatch) looks the connection up in its table, where a stale event ends. The
//! event says that the connection is readable, and so the connection has a step: one recv(2) into the engine's scratch
//! buffer, one [`Service::received`](service::Service::received) on what came, one send(2) of the answer. Input that
//! the service left and output that the kernel did not take go into buffers that the connection borrows; an idle
//! connection has none. Then the engine carries out the effects that the service asked for, and closes the connection,
//! queues it for another step, or leaves it until its next event. With one request outstanding, a request costs two
//! system calls and a share of an epoll_wait.
//!
//! A datagram has a shorter way. The event marks its socket; once all events are worked on, `dispatch` receives a
//! batch, and each datagram is screened (may it be answered?), served, and its answer sent or queued.
//!
//! # Kernel rules
//!
//! What mio and Linux demand of an event loop, and where this crate obeys it; comments there say more. They concern any
//! implementation of [`Net`](engine::Net), and any change to the engine.
//!
//! - **Edges come once.** mio is edge-triggered (EPOLLET, epoll(7)). What an event told of is kept in bits until a call
//!   has used it up (`engine/connection/state.rs`). A TCP stream is registered once, for reading, writing and urgent
//!   data, and never again ([`Net::register_stream`](engine::Net::register_stream)).
//! - **A short read has emptied a TCP stream**, which saves the read that would return `WouldBlock`. It has not where a
//!   FIN, an error or urgent data may share the data's edge, nor on a Unix stream, where ancillary data ends a read too
//!   ([`Net::short_read_drains`](engine::Net::short_read_drains), `engine/connection/io.rs`).
//! - **Writability is watched only while output waits** on UDP and Unix sockets: otherwise each datagram sent, or each
//!   read of the peer, raises an edge ([`Net::arm_stream`](engine::Net::arm_stream)).
//! - **A step reads, serves and writes**, in this order (`engine/step.rs`). No write is armed by hand, so that none is
//!   forgotten.
//! - **An unconnected Unix datagram socket is always writable**, and reports that anew for every datagram that a full
//!   receiver refuses. A timer tries again, with back-off; waiting for the event would spin
//!   (`engine/datagram/socket.rs`).
//! - **Work is bounded**: one read a step; in a turn 1 MiB moved by steps, 16 accepts from a listener and 4 batches
//!   from a datagram socket. What remains has no further edge; it is queued, and the loop does not sleep before it is
//!   done ([`Engine::deadline`](engine::Engine::deadline)).
//! - **A peer that does not read its answers is not read.** Once its unsent output has fallen to the low mark it is
//!   read again without an event (`engine/connection/mod.rs`).
//! - **Closing with unread input makes the kernel drop output** that is still under way. So a close sends a FIN first
//!   and discards input until the peer's ([`Limits::linger`]).
//! - **Accepting survives errors.** An error of one connection is skipped. Without descriptors, accepting pauses and is
//!   tried again, because the listener's edge does not come again. A stream that cannot be registered is dropped alone
//!   (`engine/accept.rs`, `engine/dial.rs`).
//! - **Listeners** are built with a backlog of their own, because mio asks for 128 ([`ListenOptions::backlog`]).
//!   Closing one resets the connections in its queue: a drain accepts them first (`engine/drain.rs`).
//! - **A poll ends early or late.** A signal interrupts it, which is no error; mio rounds its timeout up to whole
//!   milliseconds ([`Reactor::keep_exact_time`] does better).
//! - **Events are hints.** recv(2), send(2) and SO_ERROR decide ([`Readiness`](engine::Readiness)). A dialled stream is
//!   connected when getpeername(2) says so, and not if that is its own address
//!   ([`Net::established`](engine::Net::established)).
//! - **Standard input** may be a file, which epoll(7) refuses: it is read as it is. O_NONBLOCK would change the
//!   terminal for other processes: poll(2) is asked before each read ([`ConsoleKind`]).
//! - **An accepted socket is writable from the start**: a greeting leaves in the turn that accepted it
//!   (`engine/accept.rs`).
//! - **A signal goes to any thread that does not block it**: the mask is set before there are others
//!   ([`Reactor::watch_signals`]).

mod endpoint;
pub mod engine;
mod error;
mod limits;
mod moment;
pub mod outlet;
mod reactor;
pub mod service;
mod stats;

pub use endpoint::{Address, Endpoint, EndpointError, EndpointProblem, HostPort, Ports};
pub use engine::Activity;
pub use error::{CloseReason, Error, Occupant, describe, is_exhaustion};
pub use limits::Limits;
pub use moment::Moment;
pub use reactor::{
    Call, Calls, ConsoleKind, Ending, Handle, ListenOptions, Quiet, Reactor, Ready, SocketStatus, Status, WhenFull,
};
pub use service::ServiceId;
pub use stats::Stats;
