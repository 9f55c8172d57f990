//! A turn of the loop: wait for events, dispatch them to the engine, relay what the reactor's own sources say, print.
//!
//! The reactor's own sources are the signals, the handles and the console. They come after the engine's events, so that
//! a drain takes in all that arrived before it.

use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::calls::Calls;
use super::console::Patience;
use super::handle::Request;
use super::token::Token;
use super::{EVENTS, Ending, Reactor, Status};
use crate::engine::{Event, Readiness};
use crate::error::Error;
use crate::service::{Service, Voice};
use crate::stats::Stats;

/// Buffered bytes from which on the console is not read, so that a large file is sent at the pace of its receiver.
const CONSOLE_AHEAD: usize = 1 << 20;

/// Bytes that a turn prints, or little more: enough to show what one read of a client brings, and few enough that
/// control characters, which are expensive to escape, hold other connections up for a millisecond at most.
const PRINTED_PER_TURN: usize = 256 << 10;

/// How long standard output is waited for after the first signal to end. A reader that is only slow gets all in that
/// time, and one that does not read keeps nobody.
const LAST_PRINT: Duration = Duration::from_secs(1);

/// How often to check whether a terminal that belongs to another job is ours again: no event tells.
const FOREGROUND_CHECK: Duration = Duration::from_millis(250);

/// A request for the counters.
#[derive(Debug)]
pub(super) enum StatsRequest {
    /// SIGUSR1: they are logged.
    Log,
    /// A handle waits for them.
    Reply(Sender<Stats>),
}

impl<S: Service, C: Calls> Reactor<S, C> {
    /// Runs one turn: waits for events, for `wait` at most (`None`: for ever), and works on them. Returns whether the
    /// reactor goes on. Fails with [`Error::Loop`] if epoll_wait(2) does, and once with [`Error::Output`] if standard
    /// output cannot be written to; the turns after that print nothing.
    ///
    /// For a program with a loop of its own; others call [`run`](Self::run).
    pub fn turn(&mut self, wait: Option<Duration>) -> Result<Status, Error> {
        if let ended @ Status::Ended(_) = self.status() {
            return Ok(ended);
        }
        self.poll(wait)?;
        let own = self.dispatch();
        self.relay(own);
        self.answer_stats();
        self.print_turn()?;
        let status = self.status();
        if status != Status::Running {
            // A handle that asks for something now is not to wait for it.
            self.requests = None;
        }
        Ok(status)
    }

    fn poll(&mut self, wait: Option<Duration>) -> Result<(), Error> {
        let wait = self.poll_timeout(wait);
        if let Some(alarm) = &mut self.alarm {
            alarm.waits(wait);
        }
        match self.engine.net_mut().epoll.wait(&mut self.events, wait) {
            Ok(()) => Ok(()),
            // Interrupted by a signal that is not ours (epoll_wait(2), EINTR): timers are still run.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            Err(source) => Err(Error::Loop { part: "epoll", source }),
        }
    }

    /// Gives the engine its events. Returns which of the reactor's own sources are ready.
    fn dispatch(&mut self) -> OwnSources {
        let Self { engine, events, clock, .. } = self;
        let mut own = OwnSources::default();
        if events.iter().count() == EVENTS {
            engine.expect_more_events();
        }
        let was_busy = engine.dispatch(events.iter().filter_map(|event| own.route(event)), &|| clock.now());
        let began = engine.began();
        if !events.is_empty() {
            self.last_event = began;
        }
        if let Some(alarm) = &mut self.alarm {
            alarm.turn_ended(began, was_busy || !events.is_empty());
        }
        own
    }

    /// Gives the engine what the reactor's own sources say, in a dispatch of its own.
    fn relay(&mut self, own: OwnSources) {
        if own.signals {
            self.take_signals();
        }
        if own.requests {
            self.take_requests();
        }
        if own.console_input {
            self.console.input_ready();
        }
        if own.console_output {
            self.console.output_ready();
        }
        self.read_console();
        if !self.own_events.is_empty() {
            let clock = self.clock;
            self.engine.dispatch(self.own_events.drain(..), &|| clock.now());
        }
    }

    pub(super) fn take_signals(&mut self) {
        while let Some(signal) = self.signals.as_ref().and_then(|signals| signals.next(self.engine.net().epoll.calls()))
        {
            match signal {
                Signal::SIGUSR1 => {
                    self.stats_requests.push(StatsRequest::Log);
                    continue;
                }
                Signal::SIGUSR2 => {
                    self.sockets_asked_for = true;
                    continue;
                }
                _ => {}
            }
            log::info!("{signal}: {}", if self.end_signals.is_empty() { "shutting down" } else { "stopping at once" });
            self.end_signals.push(signal);
            self.output_deadline.get_or_insert(self.clock.now() + LAST_PRINT);
            self.own_events.push(Event::Drain);
        }
    }

    fn take_requests(&mut self) {
        while let Some(Ok(request)) = self.requests.as_ref().map(Receiver::try_recv) {
            match request {
                Request::Shutdown => self.own_events.push(Event::Drain),
                Request::Stop => self.engine.stop(),
                Request::Line(service, text) => self.own_events.push(Event::Line(service, text)),
                Request::Stats(reply) => self.stats_requests.push(StatsRequest::Reply(reply)),
            }
        }
    }

    /// Reads the console once, if it is due.
    fn read_console(&mut self) {
        if self.console_due().is_none() {
            return;
        }
        if let Some(service) = self.console.reads_for()
            && let Some(read) = self.console.read(&self.engine.net().epoll)
        {
            self.own_events.extend(read.lines.into_iter().map(|line| Event::Line(service, line)));
            if read.ended {
                self.own_events.push(Event::LinesEnded(service));
            }
        }
    }

    /// How soon the console is to be read; `None` while its service takes no lines, or while too much of what a script
    /// has said is unsent.
    fn console_due(&self) -> Option<Duration> {
        let service = self.console.reads_for()?;
        let is_ahead = || self.engine.unsent(service) >= CONSOLE_AHEAD;
        // A person is heard at any time.
        if !self.engine.takes_lines() || !self.console.is_typed() && is_ahead() {
            return None;
        }
        Some(if self.console.is_in_background() { FOREGROUND_CHECK } else { Duration::ZERO })
    }

    /// Answers requests for the counters, after all events that came with them.
    fn answer_stats(&mut self) {
        for request in std::mem::take(&mut self.stats_requests) {
            let stats = self.stats();
            match request {
                StatsRequest::Log => log::info!("{stats}"),
                // Fails if the requesting thread has gone meanwhile.
                StatsRequest::Reply(reply) => drop(reply.send(stats)),
            }
        }
    }

    /// Writes to standard output what services have printed ([`Outbox::print`](crate::service::Outbox::print)), as far
    /// as there is room. A turn ends with it; needed only after [`with`](Self::with).
    ///
    /// After the last turn it takes the signals itself that come while it waits for room
    /// ([`WhenFull::Wait`](super::WhenFull::Wait)), and the [status](Self::turn) may then be that a second one has ended
    /// all.
    ///
    /// Fails with [`Error::Output`] if standard output cannot be written to. A reader that has gone is no failure.
    pub fn print(&mut self) -> Result<(), Error> {
        self.print_some(usize::MAX)?;
        while self.engine.is_stopped() && self.console.has_given_up() {
            self.take_signals();
            if self.end_signals.len() > 1 || self.output_deadline.is_some_and(|at| self.clock.now() >= at) {
                break;
            }
            self.print_some(usize::MAX)?;
        }
        Ok(())
    }

    /// Prints a line of the program's own, in the order of all that services print. What standard output does not take
    /// now waits like the rest; fails as [`print`](Self::print) does.
    pub fn announce(&mut self, line: impl Display) -> Result<(), Error> {
        self.engine.printed_mut().print(Voice::Service, format!("{line}\n").as_bytes());
        self.print()
    }

    /// Prints a turn's share, then the prompt, if lines are wanted.
    pub(super) fn print_turn(&mut self) -> Result<(), Error> {
        self.print_some(if self.engine.is_stopped() { usize::MAX } else { PRINTED_PER_TURN })?;
        if self.engine.takes_lines() && self.engine.printed().is_empty() {
            self.console.show_prompt(self.engine.net().epoll.calls()).map_err(|source| Error::Output { source })?;
        }
        Ok(())
    }

    fn print_some(&mut self, most: usize) -> Result<(), Error> {
        // Once signals ask the program to end, a full pipe or a stopped terminal must not hold it up.
        let patience = match self.end_signals.len() {
            0 | 1 => Patience::Until {
                readable: self.signals.as_ref().map(|signals| signals.as_fd()),
                deadline: self.output_deadline.map(|at| (self.clock, at)),
            },
            _ => Patience::None,
        };
        let calls = self.engine.net().epoll.calls().clone();
        let printed = self.engine.printed_mut();
        self.console.print(printed, most, patience, &calls).map_err(|source| Error::Output { source })?;
        if self.console.has_lost_reader() {
            self.engine.stop();
        }
        Ok(())
    }

    /// How soon to print the rest of what the last turn left.
    fn printing_due(&self) -> Option<Duration> {
        (self.console.is_writable() && !self.engine.printed().is_empty()).then_some(Duration::ZERO)
    }

    /// How long the poll may wait: until the engine's deadline, `wait`, and the next read of the console. mio rounds it
    /// up to whole milliseconds, so that a poll never ends just before its deadline.
    fn poll_timeout(&mut self, wait: Option<Duration>) -> Option<Duration> {
        let deadline = self.engine.deadline();
        let due = match &mut self.alarm {
            Some(alarm) => alarm.poll_begins(self.clock.now(), deadline, self.engine.net().epoll.calls()),
            // Saves a read of the clock in a busy loop.
            None if deadline.is_some_and(|at| at <= self.engine.now()) => Some(Duration::ZERO),
            None => deadline.map(|at| at.since(self.clock.now())),
        };
        if !self.spin.is_zero() && self.clock.now().since(self.last_event) < self.spin {
            return Some(Duration::ZERO);
        }
        due.into_iter().chain(wait).chain(self.console_due()).chain(self.printing_due()).min()
    }

    pub(super) fn status(&self) -> Status {
        match self.end_signals[..] {
            [_, second, ..] => Status::Ended(Ending::Signal(second as i32)),
            _ if self.engine.is_stopped() => Status::Ended(Ending::Drained),
            _ => Status::Running,
        }
    }
}

/// Which of the reactor's own sources are ready.
#[derive(Clone, Copy, Debug, Default)]
struct OwnSources {
    signals: bool,
    requests: bool,
    console_input: bool,
    console_output: bool,
}

impl OwnSources {
    /// Returns an event for the engine; notes one of the reactor's own sources.
    #[inline(always)]
    fn route(&mut self, event: &mio::event::Event) -> Option<Event> {
        match Token::from(event.token()) {
            Token::Connection(id) => return Some(Event::Connection(id, readiness(event))),
            Token::Listener(number) => return Some(Event::Listener(number)),
            Token::Datagram(number) => {
                let readable = event.is_readable() || event.is_error();
                return Some(Event::Datagram { number, readable, writable: event.is_writable() });
            }
            Token::Watched(service) => return Some(Event::Ready(service)),
            Token::Signals => self.signals = true,
            Token::Waker => self.requests = true,
            Token::ConsoleInput => self.console_input = true,
            Token::ConsoleOutput => self.console_output = true,
            // Ending the poll was all it is for.
            Token::Alarm => {}
        }
        None
    }
}

fn readiness(event: &mio::event::Event) -> Readiness {
    Readiness::READABLE.when(event.is_readable())
        | Readiness::WRITABLE.when(event.is_writable())
        | Readiness::READ_CLOSED.when(event.is_read_closed())
        | Readiness::WRITE_CLOSED.when(event.is_write_closed())
        | Readiness::ERROR.when(event.is_error())
        | Readiness::PRIORITY.when(event.is_priority())
}
