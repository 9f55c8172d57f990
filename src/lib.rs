//! Answers, asks and measures over TCP, UDP and Unix sockets from one thread and one epoll loop.
//!
//! The library behind the `pingpong` command: a [`Reactor`] serves any number of endpoints with services that you
//! bring or that are built in ([`Ping`](service::Ping), [`Hello`](service::Hello), [`Echo`](service::Echo)). Linux
//! only. Without the default feature `cli` it builds with mio, slab, log, socket2, nix and memchr alone.
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
//! It upper-cases lines, on streams and datagrams alike. The answer is the question changed in place, sent straight
//! from the read buffer.
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
//! # use pingpong::{Endpoint, Limits, Reactor};
//! # let mut reactor = Reactor::<Upper>::new(Limits::default())?;
//! # let upper = reactor.add("upper", Upper);
//! # let bound = reactor.listen(upper, &"tcp://127.0.0.1:0".parse()?)?;
//! # let Endpoint::Tcp(at) = &bound[0] else { unreachable!() };
//! # let mut client = std::net::TcpStream::connect(at.to_string()).unwrap();
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
//!     // whatever else there is to do at least ten times a second
//! }
//! # Ok::<(), pingpong::Error>(())
//! ```
//!
//! # The layers
//!
//! Imports point down only:
//!
//! - [`Reactor`]: the only code that names mio. It polls, and tells the engine what has happened and what time it is.
//!   Beside it tokens, sockets, signals, the console, the clock, [`Handle`]; [`outlet`] for printing without waiting.
//! - [`engine`]: every decision and no poll: connections, accepting, datagrams, buffers, timers, limits. It reaches
//!   sockets through the trait [`Net`](engine::Net) and is told the time, so that tests and simulations can drive it.
//! - [`service`]: what bytes mean. No socket.
//! - [`Endpoint`], [`Limits`], [`Stats`], [`Error`], [`CloseReason`], [`Moment`]: what all of them speak of.
//!
//! The `pingpong` command is a crate of its own and uses this one as anyone would.
//!
//! # One byte's journey
//!
//! A byte arrives at a TCP socket. epoll_wait(2) returns in [`Reactor::turn`], which decodes the event's token and
//! hands it to [`Engine::dispatch`](engine::Engine::dispatch). The table finds the connection (a stale event ends
//! here), the event says that it is readable, and it gets a step: one recv(2) into the engine's scratch buffer, one
//! [`Service::received`](service::Service::received) on it, one send(2) of the answer. What the service did not take
//! and what the kernel did not take goes into buffers lent to the connection, which owns none while it is idle. Then
//! the effects that the service asked for are carried out, and the connection is closed, queued for another step, or
//! left until its next event. With one request outstanding that is two system calls a request, and a share in
//! epoll_wait.
//!
//! A datagram's way is shorter: the event marks its socket, `dispatch` receives a batch once all events are seen, and
//! each datagram is screened (may it be answered?), served, and its answer sent or queued.

mod endpoint;
pub mod engine;
mod error;
mod limits;
mod moment;
pub mod outlet;
mod reactor;
pub mod service;
mod stats;

pub use endpoint::{Address, Endpoint, EndpointError, EndpointProblem, HostPort};
pub use error::{CloseReason, Error, Occupant, describe, is_exhaustion};
pub use limits::Limits;
pub use moment::Moment;
pub use reactor::{ConsoleKind, Ending, Handle, ListenOptions, Reactor, Status, WhenFull};
pub use service::ServiceId;
pub use stats::Stats;
