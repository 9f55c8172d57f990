//! The turn: wait for events, tell the engine of them, hear our own sources, print.

use std::io;
use std::sync::mpsc::Sender;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::handle::Request;
use super::signals::Signals;
use super::token::Token;
use super::{Ending, Reactor, Status};
use crate::engine::{Event, Readiness};
use crate::error::Error;
use crate::service::Service;
use crate::stats::Stats;

/// Bytes waiting to be sent from which on the console is not read: a large file is sent at the peer's pace.
const CONSOLE_AHEAD: usize = 1 << 20;

/// How often to see whether a terminal that belongs to another job has come back to us.
const FOREGROUND_CHECK: Duration = Duration::from_millis(250);

/// A question for the counters.
#[derive(Debug)]
pub(super) enum StatsRequest {
    /// By SIGUSR1.
    Log,
    /// By a handle, which waits for the answer.
    Reply(Sender<Stats>),
}

impl<S: Service> Reactor<S> {
    /// Waits for events, for `wait` at the most (or for ever), and does what they ask for. For a host that has a loop
    /// of its own.
    pub fn turn(&mut self, wait: Option<Duration>) -> Result<Status, Error> {
        if let ended @ Status::Ended(_) = self.status() {
            return Ok(ended);
        }
        self.poll(wait)?;
        let own = self.dispatch();
        self.relay(own);
        self.answer_stats();
        self.print();
        Ok(self.status())
    }

    fn poll(&mut self, wait: Option<Duration>) -> Result<(), Error> {
        let wait = self.poll_timeout(wait);
        match self.engine.net_mut().poll.poll(&mut self.events, wait) {
            Ok(()) => Ok(()),
            // A signal that is not ours.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            Err(source) => Err(Error::Loop { part: "epoll", source }),
        }
    }

    /// Tells the engine what the poll has found. Returns which sources of our own are ready.
    fn dispatch(&mut self) -> OwnSources {
        let Self { engine, events, clock, .. } = self;
        let mut own = OwnSources::default();
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

    /// Hears our own sources, and tells the engine what they have to say, if anything.
    fn relay(&mut self, own: OwnSources) {
        if own.signals {
            self.take_signals();
        }
        if own.requests {
            self.take_requests();
        }
        if let Some((console, _)) = &mut self.console {
            if own.console_input {
                console.input_ready();
            }
            if own.console_output {
                console.output_ready();
            }
        }
        self.read_console();
        if !self.own_events.is_empty() {
            let clock = self.clock;
            self.engine.dispatch(self.own_events.drain(..), &|| clock.now());
        }
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.as_ref().and_then(Signals::next) {
            if signal == Signal::SIGUSR1 {
                self.stats_requests.push(StatsRequest::Log);
                continue;
            }
            log::info!("{signal}: {}", if self.end_signals.is_empty() { "shutting down" } else { "stopping at once" });
            self.end_signals.push(signal);
            self.own_events.push(Event::Drain);
        }
    }

    fn take_requests(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Shutdown => self.own_events.push(Event::Drain),
                Request::Line(service, text) => self.own_events.push(Event::Line(service, text)),
                Request::Stats(reply) => self.stats_requests.push(StatsRequest::Reply(reply)),
            }
        }
    }

    /// Reads from the console, where lines are wanted and those before have been sent.
    fn read_console(&mut self) {
        if self.console_due().is_none() {
            return;
        }
        if let Some((console, service)) = &mut self.console
            && let Some(read) = console.read(self.engine.net().poll.registry())
        {
            self.own_events.extend(read.lines.into_iter().map(|line| Event::Line(*service, line)));
            if read.ended {
                self.own_events.push(Event::LinesEnded(*service));
            }
        }
    }

    /// How soon the console is to be read: not at all while its service takes no lines, or while what it said before
    /// waits to be sent.
    fn console_due(&self) -> Option<Duration> {
        let (console, service) = self.console.as_ref()?;
        if !console.is_readable() || !self.engine.takes_lines() || self.engine.unsent(*service) >= CONSOLE_AHEAD {
            return None;
        }
        Some(if console.is_in_background() { FOREGROUND_CHECK } else { Duration::ZERO })
    }

    /// Tells the counters to those that have asked for them, once all that came with the question is done.
    fn answer_stats(&mut self) {
        for request in std::mem::take(&mut self.stats_requests) {
            let stats = self.stats();
            match request {
                StatsRequest::Log => log::info!("{stats}"),
                // Fails where the asking thread has gone meanwhile.
                StatsRequest::Reply(reply) => drop(reply.send(stats)),
            }
        }
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
    fn poll_timeout(&mut self, wait: Option<Duration>) -> Option<Duration> {
        let deadline = self.engine.deadline();
        let due = match &mut self.alarm {
            Some(alarm) => alarm.poll_begins(self.clock.now(), deadline),
            // The clock is read only where it has something to say.
            None if deadline.is_some_and(|at| at <= self.engine.now()) => Some(Duration::ZERO),
            None => deadline.map(|at| at.since(self.clock.now())),
        };
        if !self.spin.is_zero() && self.clock.now().since(self.last_event) < self.spin {
            return Some(Duration::ZERO);
        }
        due.into_iter().chain(wait).chain(self.console_due()).min()
    }

    fn status(&self) -> Status {
        match self.end_signals[..] {
            [_, second, ..] => Status::Ended(Ending::Signal(second as i32)),
            _ if self.engine.is_stopped() => Status::Ended(Ending::Drained),
            _ => Status::Running,
        }
    }
}

/// Which sources of our own are ready.
#[derive(Clone, Copy, Debug, Default)]
struct OwnSources {
    signals: bool,
    requests: bool,
    console_input: bool,
    console_output: bool,
}

impl OwnSources {
    /// Notes an event of our own; any other is the engine's.
    #[inline(always)]
    fn route(&mut self, event: &mio::event::Event) -> Option<Event> {
        match Token::from(event.token()) {
            Token::Connection(id) => return Some(Event::Connection(id, readiness(event))),
            Token::Listener(number) => return Some(Event::Listener(number)),
            Token::Datagram(number) => {
                let readable = event.is_readable() || event.is_error();
                return Some(Event::Datagram { number, readable, writable: event.is_writable() });
            }
            Token::Signals => self.signals = true,
            Token::Waker => self.requests = true,
            Token::ConsoleInput => self.console_input = true,
            Token::ConsoleOutput => self.console_output = true,
            // It has ended the poll: that is all.
            Token::Alarm => {}
        }
        None
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
