//! The only code that names mio: it polls, and tells the engine what happened and what time it is.
//!
//! A [`Reactor`] owns one `mio::Poll` and everything registered there: listeners, connections, datagram sockets, the
//! signals (signalfd(2)) and its own [`Handle`]'s waker (eventfd(2)). One thread, no callback from anywhere else.
//!
//! - `socket`: the engine's seam, made of mio's sockets: `stream`, `listener`, `datagram`
//! - `options`, `socket_file`: what several kinds of sockets share
//! - `listen`: where services answer; `console`: standard input and output
//! - `turn`: poll, hear, dispatch, print; `token`: what an event is for; `clock`, `alarm`: the time; `signals`, `handle`: who else has a say

mod alarm;
mod clock;
mod console;
mod datagram;
mod handle;
mod listen;
mod listener;
mod options;
mod signals;
mod socket;
mod socket_file;
mod stream;
mod tcp_info;
mod token;
mod turn;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use nix::sys::signal::Signal;

use crate::engine::{Engine, Event};
use crate::error::Error;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{Outbox, Service, ServiceId};
use crate::stats::Stats;

use alarm::Alarm;
use clock::Clock;
use console::Console;
pub use console::{ConsoleKind, WhenFull};
pub use handle::Handle;
use handle::Request;
pub use options::ListenOptions;
use signals::Signals;
use socket::Sockets;
use token::Token;
use turn::StatsRequest;

/// Events taken from the kernel at once. Fewer than 64 cost up to 7 % more.
const EVENTS: usize = 1024;

/// A server's loop: services of one type (often `Box<dyn Service>`), their sockets, one `mio::Poll`.
///
/// ```
/// use pingpong::{Limits, Reactor, service::{Echo, Service}};
///
/// let mut reactor = Reactor::<Echo>::new(Limits::default())?;
/// let echo = reactor.add("echo", Echo);
/// let bound = reactor.listen(echo, &"tcp://127.0.0.1:0".parse()?)?;
/// println!("listening {}", bound[0]);
/// # reactor.handle().shutdown();
/// reactor.run()?;
/// # Ok::<(), pingpong::Error>(())
/// ```
#[derive(Debug)]
pub struct Reactor<S> {
    events: Events,
    clock: Clock,
    engine: Engine<S, Sockets>,
    handle: Handle,
    /// What handles ask for; `None` once the reactor has ended.
    requests: Option<Receiver<Request>>,
    signals: Option<Signals>,
    console: Option<(Console, ServiceId)>,
    /// What signals, handles and the console have to tell the engine.
    own_events: Vec<Event>,
    stats_requests: Vec<StatsRequest>,
    /// What is to be printed, between the engine and the console.
    printed: Vec<u8>,
    /// The signals that asked us to end.
    end_signals: Vec<Signal>,
    spin: Duration,
    /// Where time is kept exactly.
    alarm: Option<Alarm>,
    /// When an event came last.
    last_event: Moment,
    /// Where the process's logger counts the lines it loses.
    log_lost: Option<&'static AtomicU64>,
}

/// Whether a reactor goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is more to do.
    Running,
    /// It has ended.
    Ended(Ending),
}

/// How a reactor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to and owes nobody an answer (or its time for giving them was up).
    Drained,
    /// A second signal, of this number, stopped it at once.
    Signal(i32),
}

impl<S: Service> Reactor<S> {
    /// A reactor without services and sockets. Fails when the kernel gives no epoll(7) or eventfd(2) descriptor.
    pub fn new(limits: Limits) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Loop { part: "epoll", source };
        let poll = Poll::new().map_err(failed)?;
        let (handle, requests) = handle::pair(&poll)?;
        // Each RandomState has keys of its own, from the system's randomness.
        let seed = RandomState::new().build_hasher().finish();
        Ok(Self {
            events: Events::with_capacity(EVENTS),
            clock: Clock::start(),
            engine: Engine::new(Sockets::new(poll), limits, seed),
            handle,
            requests: Some(requests),
            signals: None,
            console: None,
            own_events: Vec::new(),
            stats_requests: Vec::new(),
            printed: Vec::new(),
            end_signals: Vec::new(),
            spin: Duration::ZERO,
            alarm: None,
            last_event: Moment::default(),
            log_lost: None,
        })
    }

    /// Adds a service, named so in logs. It serves nothing until [`listen`](Self::listen) gives it an endpoint.
    pub fn add(&mut self, name: impl Into<String>, service: S) -> ServiceId {
        self.engine.add(name, service)
    }

    /// Runs something on a service between turns, with an outbox but no peer at hand: to begin with, or to see what
    /// it has come to.
    pub fn with<T>(&mut self, service: ServiceId, run: impl FnOnce(&mut S, &mut Outbox<'_>) -> T) -> T {
        self.engine.with(service, self.clock.now(), run)
    }

    /// Gives a service the console: lines of standard input come to [`Service::line`], and what services print
    /// ([`Outbox::print`]) goes to standard output, on a terminal above the prompt. `kind` is what standard input is
    /// ([`ConsoleKind::of_stdin`]). Fails when the kernel will not watch these descriptors (epoll_ctl(2)).
    pub fn open_console(
        &mut self,
        service: ServiceId,
        kind: ConsoleKind,
        prompt: &'static str,
        when_full: WhenFull,
    ) -> Result<(), Error> {
        let mut console = Console::open(self.engine.net().poll.registry(), kind, prompt, when_full)
            .map_err(|source| Error::Loop { part: "the console", source })?;
        console.print(b"", true);
        self.console = Some((console, service));
        Ok(())
    }

    /// Takes SIGINT, SIGTERM and SIGUSR1 from now on: the first of the former two shuts down, a second stops at once;
    /// SIGUSR1 logs the counters. They are blocked in this thread and in those it starts from now on; threads that are
    /// there already must block them too.
    pub fn watch_signals(&mut self) -> Result<(), Error> {
        let signals = Signals::take_over()?;
        self.engine
            .net()
            .poll
            .registry()
            .register(&mut SourceFd(&signals.raw_fd()), Token::Signals.into(), Interest::READABLE)
            .map_err(|source| Error::Loop { part: "epoll", source })?;
        self.signals = Some(signals);
        Ok(())
    }

    /// After the last event keeps polling without sleeping for so long. It costs a CPU, and spares a lone connection
    /// the waking of a sleeping one, which is two thirds of its round trip.
    pub fn spin(&mut self, spin: Duration) {
        self.spin = spin;
    }

    /// From now on services see a time of its own for each thing received and each timer ([`Outbox::now`]), and timers
    /// run out to the microsecond: far ones are slept for with a timerfd (timerfd_create(2)), for the last 200 µs the
    /// loop polls, and while there are many events it looks at the timers in between. For who measures.
    pub fn keep_exact_time(&mut self) -> Result<(), Error> {
        self.alarm = Some(Alarm::new(self.engine.net().poll.registry(), self.clock.now())?);
        self.engine.keep_exact_time();
        Ok(())
    }

    /// Since [`keep_exact_time`](Self::keep_exact_time): the time spent in polls or in turns that had nothing to do.
    /// Where it is next to nothing the loop is saturated.
    pub fn time_polled(&self) -> Duration {
        self.alarm.as_ref().map_or(Duration::ZERO, Alarm::polled)
    }

    /// The time as services see it.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Shuts down when the first connection that is accepted from now on has ended. Datagrams do not count.
    pub fn serve_once(&mut self) {
        self.engine.drain_after_first();
    }

    /// Reaches this reactor from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Shows the count of a logger that loses lines, where it cannot write without waiting, in the counters
    /// ([`Stats::log_lost`]). The count is the process's, like the logger itself (`log::set_logger`): several reactors
    /// may be told of the same one.
    pub fn count_lost_log_lines(&mut self, lost: &'static AtomicU64) {
        self.log_lost = Some(lost);
    }

    /// The counters as of now, those of the console and of the logger included.
    pub fn stats(&mut self) -> Stats {
        let mut stats = self.engine.stats();
        stats.log_lost = self.log_lost.map_or(0, |lost| lost.load(Relaxed));
        stats.console_lost = self.console.as_ref().map_or(0, |(console, _)| console.lines_lost());
        stats
    }

    /// Begins to shut down, as SIGTERM would: answers that are owed are given first.
    pub fn shutdown(&mut self) {
        let clock = self.clock;
        self.engine.dispatch([Event::Drain], &|| clock.now());
    }

    /// Turns until it has ended: by [`Handle::shutdown`], by signals if they are watched.
    pub fn run(&mut self) -> Result<Ending, Error> {
        loop {
            if let Status::Ended(ending) = self.turn(None)? {
                return Ok(ending);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Echo;

    #[test]
    fn snapshot_of_the_counters_prints_the_same_while_log_lines_are_lost() {
        let lost: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(3)));
        let mut reactor = Reactor::<Echo>::new(Limits::default()).unwrap();
        assert_eq!(reactor.stats().log_lost, 0);
        reactor.count_lost_log_lines(lost);

        let snapshot = reactor.stats();
        let printed = snapshot.to_string();
        assert!(printed.ends_with(" log_lost=3 console_lost=0"), "{printed}");
        lost.fetch_add(1, Relaxed);
        assert_eq!(snapshot.to_string(), printed);
        assert_eq!(reactor.stats().log_lost, 4);
    }

    #[test]
    fn handle_of_a_reactor_that_has_ended_is_not_kept_waiting() {
        let mut reactor = Reactor::<Echo>::new(Limits::default()).unwrap();
        let handle = reactor.handle();
        handle.stop();
        assert_eq!(reactor.run().unwrap(), Ending::Drained);
        assert!(handle.stats().is_none());
        handle.shutdown();
    }
}
