//! Polls, and tells the engine what has happened and what time it is. The only code that names mio.
//!
//! A [`Reactor`] owns one `mio::Poll` and everything registered there: listeners, connections, datagram sockets, the
//! console, the signals (signalfd(2)) and the waker of its [`Handle`]s (eventfd(2)). It has one thread, and decides
//! nothing about connections: that is the engine's.
//!
//! - `turn`: one turn of the loop: poll, dispatch, relay, print; `token`: which source an event is from
//! - `socket`: the engine's seam, made of mio's sockets: `stream`, `listener`, `datagram`
//! - `calls`: whoever is to know of each system call; `options`, `socket_file`: what several kinds of sockets share
//! - `listen`: turns endpoints into sockets of a service
//! - `signals`, `handle`, `console`: the sources beside the sockets
//! - `status`: what each socket is about
//! - `clock`, `alarm`: the time, and deadlines met exactly

mod alarm;
mod calls;
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
mod status;
mod stream;
mod tcp_info;
mod token;
mod turn;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest};
use nix::sys::signal::Signal;

use crate::engine::{Engine, Event};
use crate::error::Error;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{Outbox, Service, ServiceId};
use crate::stats::Stats;

use alarm::Alarm;
pub use calls::{Call, Calls, Quiet, Ready};
use calls::{Epoll, Held};
use clock::Clock;
use console::Console;
pub use console::{ConsoleKind, WhenFull};
pub use handle::Handle;
use handle::Request;
pub use options::ListenOptions;
use signals::Signals;
use socket::Sockets;
pub use status::SocketStatus;
use token::Token;
use turn::StatsRequest;

/// Events that one poll returns at most. With fewer than 64 the loop takes up to 7 % more CPU.
const EVENTS: usize = 1024;

/// A loop that runs services: of one type (often `Box<dyn Service>`), with their sockets, on the thread that calls
/// [`run`](Self::run) or [`turn`](Self::turn).
///
/// `C` is told of each system call ([`with_calls`](Self::with_calls)): nobody, as a rule.
///
/// It serves ([`listen`](Self::listen)) and dials ([`Outbox::connect`]) alike. Other threads reach it by its
/// [`Handle`]. It is `Send` if its services are (`Box<dyn Service + Send>`): it may be set up on one thread and run on
/// another.
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
pub struct Reactor<S, C: Calls = Quiet> {
    events: Events,
    clock: Clock,
    engine: Engine<S, Sockets<C>>,
    handle: Held<Handle, C>,
    /// What handles ask for; `None` once the reactor has ended.
    requests: Option<Receiver<Request>>,
    signals: Option<Held<Signals, C>>,
    console: Console,
    /// Events from signals, handles and the console, for the engine.
    own_events: Vec<Event>,
    /// Requests for the counters, to be answered at the end of the turn.
    stats_requests: Vec<StatsRequest>,
    /// A SIGUSR2 has come, and nobody has taken note.
    sockets_asked_for: bool,
    /// The SIGINTs and SIGTERMs received so far.
    end_signals: Vec<Signal>,
    /// Until when standard output is waited for at most ([`WhenFull::Wait`]): set by the first of these signals.
    output_deadline: Option<Moment>,
    /// How long to poll without sleeping after an event.
    spin: Duration,
    /// Set where time is kept exactly.
    alarm: Option<Held<Alarm, C>>,
    /// When the last turn began that had an event.
    last_event: Moment,
    /// Counts the lines that the process's logger has lost.
    log_lost: Option<&'static AtomicU64>,
}

/// Whether a reactor goes on, after [`Reactor::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It goes on: call [`Reactor::turn`] again.
    Running,
    /// It has ended; a further turn does nothing.
    Ended(Ending),
}

/// How a reactor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was shut down and gave the answers that were owed, as far as [`Limits::drain`] allowed; or a service
    /// [stopped](Outbox::stop) it.
    Drained,
    /// A second SIGINT or SIGTERM, of this number, stopped it at once.
    Signal(i32),
}

impl<S: Service> Reactor<S> {
    /// Creates a reactor without services and sockets. Fails with [`Error::Loop`] if the kernel gives no epoll(7) or
    /// eventfd(2) descriptor.
    pub fn new(limits: Limits) -> Result<Self, Error> {
        Self::with_calls(limits, Quiet)
    }
}

impl<S: Service, C: Calls> Reactor<S, C> {
    /// [`new`](Reactor::new), with somebody who is told of each system call.
    ///
    /// ```
    /// use std::{cell::Cell, io, os::fd::RawFd, rc::Rc};
    ///
    /// use pingpong::{Call, Calls, Limits, Reactor, service::Echo};
    ///
    /// #[derive(Clone, Debug, Default)]
    /// struct Count(Rc<Cell<u64>>);
    ///
    /// impl Calls for Count {
    ///     type Open = ();
    ///     fn opened(&self, _: RawFd) {}
    ///     fn made(&self, _: &Call<'_>, _: Result<usize, &io::Error>) {
    ///         self.0.set(self.0.get() + 1);
    ///     }
    /// }
    ///
    /// let count = Count::default();
    /// let mut reactor = Reactor::with_calls(Limits::default(), count.clone())?;
    /// let echo = reactor.add("echo", Echo);
    /// reactor.listen(echo, &"tcp://127.0.0.1:0".parse()?)?;
    /// // epoll_create1, eventfd2, socket, setsockopt, bind, listen, getsockname, epoll_ctl …
    /// assert!(count.0.get() > 10);
    /// # Ok::<(), pingpong::Error>(())
    /// ```
    pub fn with_calls(limits: Limits, calls: C) -> Result<Self, Error> {
        let epoll = Epoll::new(calls).map_err(|source| Error::Loop { part: "epoll", source })?;
        let (handle, requests) = handle::pair(&epoll)?;
        // A RandomState has keys from the system's randomness.
        let seed = RandomState::new().build_hasher().finish();
        Ok(Self {
            events: Events::with_capacity(EVENTS),
            clock: Clock::start(),
            engine: Engine::new(Sockets::new(epoll), limits, seed),
            handle,
            requests: Some(requests),
            signals: None,
            console: Console::default(),
            own_events: Vec::new(),
            stats_requests: Vec::new(),
            sockets_asked_for: false,
            end_signals: Vec::new(),
            output_deadline: None,
            spin: Duration::ZERO,
            alarm: None,
            last_event: Moment::default(),
            log_lost: None,
        })
    }

    /// Adds a service; log lines show it under `name`. It serves nothing until [`listen`](Self::listen) gives it an
    /// endpoint.
    pub fn add(&mut self, name: impl Into<String>, service: S) -> ServiceId {
        self.engine.add(name, service)
    }

    /// Runs `run` on a service between turns, with an outbox that has no peer at hand: to have it dial, or to read its
    /// results.
    pub fn with<T>(&mut self, service: ServiceId, run: impl FnOnce(&mut S, &mut Outbox<'_>) -> T) -> T {
        self.engine.with(service, self.clock.now(), run)
    }

    /// Prints on standard output what services print ([`Outbox::print`]). Fails with [`Error::Loop`] if the kernel
    /// refuses to watch it (epoll_ctl(2)); files, which it cannot watch, are written without.
    pub fn open_output(&mut self, when_full: WhenFull) -> Result<(), Error> {
        let epoll = &self.engine.net().epoll;
        let failed = |source| Error::Loop { part: "standard output", source };
        self.console.open_output(epoll, when_full).map_err(failed)?;
        if when_full == WhenFull::Wait {
            self.engine.printed_mut().lift_bound();
        }
        Ok(())
    }

    /// Gives the lines of standard input to a service: [`Service::line`]. Where standard input and an
    /// [open output](Self::open_output) are terminals, `prompt` stands below what is printed.
    ///
    /// `kind` says what standard input is: [`ConsoleKind::of_stdin`]. Fails with [`Error::Loop`] if the kernel refuses
    /// to watch it (epoll_ctl(2)); files, which it cannot watch, are read without.
    pub fn open_input(&mut self, service: ServiceId, kind: ConsoleKind, prompt: &'static str) -> Result<(), Error> {
        let epoll = &self.engine.net().epoll;
        let failed = |source| Error::Loop { part: "standard input", source };
        self.console.open_input(epoll, service, kind, prompt).map_err(failed)?;
        self.print_turn()
    }

    /// Watches a descriptor of the program's own for a service: [`Service::ready`] is called when it has become ready.
    /// Fails if the kernel refuses to watch it (epoll_ctl(2)): files cannot be watched.
    ///
    /// For sockets that are to be read and written in a way of their own. They are non-blocking, and events are edges
    /// (EPOLLET, epoll(7)): the service reads, and the error queue too, until `WouldBlock`. With the closing of the
    /// descriptor the watch ends.
    pub fn watch(&mut self, service: ServiceId, descriptor: &impl AsFd) -> io::Result<()> {
        let raw = descriptor.as_fd().as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.engine.net().epoll.add(&mut SourceFd(&raw), raw, Token::Watched(service), interest)
    }

    /// Takes over SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 (signalfd(2)): the first SIGINT or SIGTERM shuts down, the second
    /// stops at once, SIGUSR1 logs the counters, SIGUSR2 is only noted
    /// ([`take_sockets_request`](Self::take_sockets_request)).
    ///
    /// Blocks these signals in the calling thread, and so in threads started by it later. Call it before any other
    /// thread exists: one that does not block a signal may receive it, which kills the process. Fails with
    /// [`Error::Loop`] if the kernel gives no descriptor.
    pub fn watch_signals(&mut self) -> Result<(), Error> {
        let epoll = &self.engine.net().epoll;
        let signals = Signals::take_over(epoll.calls())?;
        let fd = signals.as_raw_fd();
        epoll
            .add(&mut SourceFd(&fd), fd, Token::Signals, Interest::READABLE)
            .map_err(|source| Error::Loop { part: "epoll", source })?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Gives SIGINT and SIGTERM back to the kernel: from now on they end the process at once. Returns how the reactor
    /// stands after those that have arrived before.
    ///
    /// For a program that does something after its loop for which it may have to wait, such as writing to a pipe:
    /// while nobody reads the signals, only SIGKILL would end it.
    pub fn release_signals(&mut self) -> Status {
        self.take_signals();
        if self.signals.take().is_some() {
            signals::give_back();
        }
        self.status()
    }

    /// Polls without sleeping for this long after each event; zero, the default, always sleeps. It takes a whole CPU,
    /// and saves the time that a sleeping CPU needs to wake, two thirds of a lone connection's round trip.
    pub fn spin(&mut self, spin: Duration) {
        self.spin = spin;
    }

    /// Keeps time exactly from now on, for services that measure.
    ///
    /// [`Outbox::now`] is read anew for each thing received and each timer. Timers run within microseconds of their
    /// moment: the loop sleeps by a timerfd (timerfd_create(2)), because a poll's timeout is rounded up to whole
    /// milliseconds; it polls without sleeping for the last 200 µs, and looks at the timers between events too. Fails
    /// with [`Error::Loop`] if the kernel gives no descriptor.
    pub fn keep_exact_time(&mut self) -> Result<(), Error> {
        self.alarm = Some(Alarm::new(&self.engine.net().epoll, self.clock.now())?);
        self.engine.keep_exact_time();
        Ok(())
    }

    /// Sends each datagram in a call of its own from now on. Otherwise consecutive answers to one peer leave in one call,
    /// where kernel and interface allow (UDP_SEGMENT, udp(7)): at 32 questions at a time that saves a fifth of the CPU.
    pub fn send_datagrams_singly(&mut self) {
        self.engine.send_datagrams_singly();
    }

    /// The time spent in polls, and in turns that had nothing to do, since [`keep_exact_time`](Self::keep_exact_time);
    /// zero without that. A loop that spends next to none there is saturated.
    pub fn time_polled(&self) -> Duration {
        self.alarm.as_ref().map_or(Duration::ZERO, |alarm| alarm.polled())
    }

    /// The part of [`time_polled`](Self::time_polled) in which the loop kept the processor: it polled without waiting,
    /// because a deadline was near, and found nothing.
    pub fn time_spun(&self) -> Duration {
        self.alarm.as_ref().map_or(Duration::ZERO, |alarm| alarm.spun())
    }

    /// The time now, on the clock that services see.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Shuts down once the next connection to be accepted has ended. Datagrams do not count.
    pub fn serve_once(&mut self) {
        self.engine.drain_after_first();
    }

    /// Returns a handle by which other threads reach this reactor.
    pub fn handle(&self) -> Handle {
        Handle::clone(&self.handle)
    }

    /// Includes a logger's count of lost lines in the counters ([`Stats::log_lost`]): for a logger that drops lines
    /// rather than wait. Like the logger itself (`log::set_logger`) the count belongs to the process, and several
    /// reactors may show it.
    pub fn count_lost_log_lines(&mut self, lost: &'static AtomicU64) {
        self.log_lost = Some(lost);
    }

    /// The counters as of now, with those of the kernel, the console and the logger.
    pub fn stats(&mut self) -> Stats {
        let mut stats = self.engine.stats();
        stats.log_lost = self.log_lost.map_or(0, |lost| lost.load(Relaxed));
        stats.console_lost = self.engine.printed().lines_lost();
        stats
    }

    /// Begins to shut down: takes in what has arrived and gives the answers that are owed, in the turns that follow.
    /// [`Limits::drain`] bounds how long.
    pub fn shutdown(&mut self) {
        let clock = self.clock;
        self.engine.dispatch([Event::Drain], &|| clock.now());
    }

    /// Runs turns until the reactor ends: by [`Handle::shutdown`], by a signal if those are
    /// [watched](Self::watch_signals), or by a service. Fails with [`Error::Loop`] if epoll_wait(2) does.
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
    fn reactor_is_send_where_its_service_is() {
        fn is_send<T: Send>() {}
        is_send::<Reactor<Echo>>();
        is_send::<Reactor<Box<dyn Service + Send>>>();
    }

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
