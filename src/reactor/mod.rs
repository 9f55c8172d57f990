//! The only code that names mio: it polls, and tells the engine what happened and what time it is.
//!
//! A [`Reactor`] owns one `mio::Poll` and everything registered there: listeners, connections, datagram sockets, the
//! signals (signalfd(2)) and its own [`Handle`]'s waker (eventfd(2)). One thread, no callback from anywhere else.
//!
//! - `socket`: the engine's seam, made of mio's sockets: `stream`, `listener`, `datagram`
//! - `options`, `socket_file`: what several kinds of sockets share
//! - `listen`: where services answer; `console`: standard input and output
//! - `token`: what an event is for; `clock`, `alarm`: the time; `signals`, `handle`: who else has a say

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
mod token;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use nix::sys::signal::Signal;

use crate::engine::{Engine, Readiness, ServiceId};
use crate::error::Error;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::{Outbox, Service};
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

/// Events taken from the kernel at once. Fewer than 64 cost up to 7 % more.
const EVENTS: usize = 1024;

/// Where time is kept exactly: events seen to until the timers are looked at again.
const TIMERS_EVERY: usize = 4;

/// So often they are looked at in a row while there are any due.
const CATCH_UP: usize = 3;

/// Bytes waiting to be sent from which on the console is not read: a large file is sent at the peer's pace.
const CONSOLE_AHEAD: usize = 1 << 20;

/// How often to see whether a terminal that belongs to another job has come back to us.
const FOREGROUND_CHECK: Duration = Duration::from_millis(250);

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
    requests: Receiver<Request>,
    signals: Option<Signals>,
    console: Option<(Console, ServiceId)>,
    /// What is to be printed, between the engine and the console.
    printed: Vec<u8>,
    /// The signals that asked us to end.
    ending: Vec<Signal>,
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
            requests,
            signals: None,
            console: None,
            printed: Vec::new(),
            ending: Vec::new(),
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
        self.engine.begin(self.clock.now());
        self.engine.with(service, run)
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
        self.engine.net_mut().exact = Some(self.clock);
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
        self.engine.begin(self.clock.now());
        self.engine.drain();
    }

    /// Turns until it has ended: by [`Handle::shutdown`], by signals if they are watched.
    pub fn run(&mut self) -> Result<Ending, Error> {
        loop {
            if let Status::Ended(ending) = self.turn(None)? {
                return Ok(ending);
            }
        }
    }

    /// Waits for events, for `wait` at the most (or for ever), and does what they ask for. For a host that has a loop
    /// of its own.
    pub fn turn(&mut self, wait: Option<Duration>) -> Result<Status, Error> {
        if let ended @ Status::Ended(_) = self.status() {
            return Ok(ended);
        }
        let wait = self.patience(wait);
        match self.engine.net_mut().poll.poll(&mut self.events, wait) {
            Ok(()) => {}
            // A signal that is not ours.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(source) => return Err(Error::Loop { part: "epoll", source }),
        }
        let now = self.clock.now();
        if let Some(alarm) = &mut self.alarm {
            alarm.poll_ended(now);
        }
        self.engine.begin(now);
        if !self.events.is_empty() {
            self.last_event = now;
        }
        let (mut is_signalled, mut is_asked) = (false, false);
        for (count, event) in self.events.iter().enumerate() {
            match Token::from(event.token()) {
                Token::Connection(id) => self.engine.ready(id, readiness(event)),
                Token::Listener(number) => self.engine.acceptable(number),
                Token::Datagram(number) => {
                    let readable = event.is_readable() || event.is_error();
                    self.engine.datagram_ready(number, readable, event.is_writable());
                }
                Token::Signals => is_signalled = true,
                Token::Waker => is_asked = true,
                Token::ConsoleInput => self.console.iter_mut().for_each(|(console, _)| console.input_ready()),
                Token::ConsoleOutput => self.console.iter_mut().for_each(|(console, _)| console.output_ready()),
                // It has ended the poll: that is all.
                Token::Alarm => {}
            }
            if self.alarm.is_some() && count % TIMERS_EVERY == TIMERS_EVERY - 1 {
                // Who is behind catches up, but goes on to receive as well.
                let _ = (0..CATCH_UP).all(|_| self.engine.expire());
            }
        }
        if is_signalled {
            self.take_signals();
        }
        if is_asked {
            self.take_requests();
        }
        // Events have taken a moment: what timers bring about is timed from now.
        self.engine.begin(self.clock.now());
        self.read_console();
        let was_due = self.engine.expire();
        if let Some(alarm) = &mut self.alarm {
            alarm.is_idle = !was_due && self.events.is_empty();
        }
        if was_due {
            // What is received now came later than what they sent: a round trip takes time.
            self.engine.begin(self.clock.now());
        }
        self.engine.finish();
        self.print();
        Ok(self.status())
    }

    /// Reads from the console, unless what it said before still waits to be sent.
    fn read_console(&mut self) {
        if self.console_due().is_none() {
            return;
        }
        if let Some((console, service)) = &mut self.console
            && let Some(read) = console.read(self.engine.net().poll.registry())
        {
            read.lines.iter().for_each(|line| self.engine.line(*service, line));
            if read.ended {
                self.engine.lines_ended(*service);
            }
        }
    }

    /// How soon the console is to be read: not at all while what it said before waits to be sent.
    fn console_due(&self) -> Option<Duration> {
        let (console, _) = self.console.as_ref()?;
        let has_room = self.engine.load().buffered < CONSOLE_AHEAD;
        let due = if console.is_in_background() { FOREGROUND_CHECK } else { Duration::ZERO };
        (console.is_readable() && has_room).then_some(due)
    }

    /// Prints what services have printed since the last turn.
    pub fn print(&mut self) {
        self.engine.take_printed(&mut self.printed);
        if let Some((console, _)) = &mut self.console {
            console.print(&self.printed, self.engine.takes_lines());
            if console.has_lost_reader() {
                self.engine.stop();
            }
        }
        self.printed.clear();
    }

    /// How long to wait for events.
    fn patience(&mut self, wait: Option<Duration>) -> Option<Duration> {
        let deadline = self.engine.deadline();
        let due = match &mut self.alarm {
            Some(alarm) => alarm.poll_begins(self.clock.now(), deadline),
            None => deadline.map(|at| match at <= self.engine.now() {
                true => Duration::ZERO,
                false => at.since(self.clock.now()),
            }),
        };
        if !self.spin.is_zero() && self.clock.now().since(self.last_event) < self.spin {
            return Some(Duration::ZERO);
        }
        due.into_iter().chain(wait).chain(self.console_due()).min()
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.as_ref().and_then(Signals::next) {
            if signal == Signal::SIGUSR1 {
                log::info!("{}", self.stats());
                continue;
            }
            let effect = if self.ending.is_empty() { "shutting down" } else { "stopping at once" };
            log::info!("{signal}: {effect}");
            self.ending.push(signal);
            self.engine.drain();
        }
    }

    fn take_requests(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Shutdown => self.engine.drain(),
                Request::Line(service, text) => self.engine.line(service, &text),
                Request::Stats(reply) => {
                    // Fails where the asking thread has gone meanwhile.
                    let _ = reply.send(self.stats());
                }
            }
        }
    }

    fn status(&self) -> Status {
        match self.ending[..] {
            [_, second, ..] => Status::Ended(Ending::Signal(second as i32)),
            _ if self.engine.is_stopped() => Status::Ended(Ending::Drained),
            _ => Status::Running,
        }
    }
}

fn readiness(event: &mio::event::Event) -> Readiness {
    Readiness {
        readable: event.is_readable(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed(),
        write_closed: event.is_write_closed(),
        error: event.is_error(),
        priority: event.is_priority(),
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
}
