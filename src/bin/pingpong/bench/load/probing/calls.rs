//! What the load has the probe do: dial, send what is due, read, give up, stop.

use std::io::{self, ErrorKind};
use std::mem;

use pingpong::Moment;
use pingpong::describe;
use pingpong::service::Outbox;

use super::{State, Wanted, is_for_now};
use crate::bench::load::wake::Due;
use crate::bench::load::{Load, Stage};
use crate::bench::record::Fact;
use crate::bench::stamped::Line;

/// Answers that one call reads at most, before others have their turn.
const READ_AT_ONCE: usize = 64;

impl Load {
    /// The probe's socket, while it is to be opened.
    pub(in crate::bench) fn wanted_line(&self) -> Option<Wanted> {
        let probing = self.probing.as_ref().filter(|probing| matches!(probing.state, State::Wanted(_)))?;
        if self.stage != Stage::Connecting {
            return None;
        }
        let from = self.options.sources.map(|sources| sources.nth(0));
        Some(Wanted { to: self.dialer.scouted()?.clone(), from, is_stream: probing.is_stream })
    }

    /// The probe's socket is there, but may not be connected yet.
    pub(in crate::bench) fn line_dialled(&mut self, line: Box<dyn Line>, out: &mut Outbox<'_>) {
        if let Some(probing) = &mut self.probing {
            probing.state = State::Dialling(line, out.now());
        }
        self.probe_ready(out);
    }

    /// The probe's socket cannot be opened, or not be connected.
    pub(in crate::bench) fn line_refused(&mut self, error: &io::Error, out: &mut Outbox<'_>) {
        let Some(probing) = &mut self.probing else { return };
        if is_for_now(error) {
            // A full backlog of a Unix socket.
            if let State::Wanted(since) = &mut probing.state {
                since.get_or_insert(out.now());
            }
            return;
        }
        probing.state = State::Failed;
        self.ledger.connections_failed(describe(error), 1);
        self.rest_if_made(out);
    }

    /// Something has come of the probe's socket.
    pub(in crate::bench::load) fn probe_ready(&mut self, out: &mut Outbox<'_>) {
        let Some(probing) = &mut self.probing else { return };
        if let State::Dialling(line, _) = &mut probing.state {
            match line.is_made() {
                Ok(false) => {}
                Ok(true) => self.line_made(out),
                Err(error) => self.line_refused(&error, out),
            }
            return;
        }
        self.read_probes(out);
        if self.probing.as_ref().is_some_and(|probing| probing.is_held_up) {
            self.send_probes(out);
        }
        self.end_if_complete(out);
    }

    fn line_made(&mut self, out: &mut Outbox<'_>) {
        if let Some(probing) = &mut self.probing
            && let State::Dialling(line, _) = mem::replace(&mut probing.state, State::Lost)
        {
            probing.state = State::Open(line);
            self.ledger.counts[Fact::ConnectionsOpened] += 1;
        }
        self.rest_if_made(out);
    }

    fn read_probes(&mut self, out: &mut Outbox<'_>) {
        let Some(probing) = &mut self.probing else { return };
        probing.note_departures();
        for _ in 0..READ_AT_ONCE {
            match probing.read(&mut self.ledger) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => probing.broken(&mut self.ledger.counts),
            }
        }
        // No event will tell of the rest.
        out.wake_at(out.now(), self.wake(Due::ProbeReady));
    }

    /// Has the probe begin at `from`.
    pub(in crate::bench::load) fn start_probing(&mut self, from: Moment, out: &mut Outbox<'_>) {
        if let Some(probing) = &mut self.probing {
            probing.start(from);
            out.wake_at(from, self.wake(Due::Probe));
        }
    }

    /// It is time for the probe's next message. What came meanwhile is read first: after a load that stood still, the
    /// answer to a message sent now would be merged with the one that waits (tcp(7)), and have its stamp.
    pub(in crate::bench::load) fn probe_due(&mut self, out: &mut Outbox<'_>) {
        self.read_probes(out);
        self.send_probes(out);
    }

    /// Sends the probe's messages that are due, and sets the timer for the next one.
    fn send_probes(&mut self, out: &mut Outbox<'_>) {
        let Some(probing) = self.probing.as_mut().filter(|_| self.stage == Stage::Asking) else { return };
        match probing.send_due(out.now(), self.until, &mut self.ledger.counts) {
            Ok(Some(next)) => out.wake_at(next, self.wake(Due::Probe)),
            Ok(None) => {}
            Err(_) => probing.broken(&mut self.ledger.counts),
        }
    }

    /// Sends all messages of the probe that were due before now, however many.
    pub(in crate::bench::load) fn send_last_probes(&mut self, out: &mut Outbox<'_>) {
        let (now, until) = (out.now(), self.until.min(out.now()));
        let Some(probing) = &mut self.probing else { return };
        loop {
            match probing.send_due(now, until, &mut self.ledger.counts) {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return probing.broken(&mut self.ledger.counts),
            }
        }
    }

    /// Sends no message of the probe any more. Those that were due before `until` and have not been sent are counted.
    pub(in crate::bench::load) fn stop_probing(&mut self, until: Moment) {
        if let Some(probing) = &mut self.probing {
            let unsent = probing.schedule.skip(self.ledger.from(), until);
            self.ledger.counts[Fact::Probes] += unsent;
            self.ledger.counts[Fact::ProbesUnsent] += unsent;
        }
    }

    /// Gives up the probe's messages, and its dial, whose time is up.
    pub(in crate::bench::load) fn give_up_overdue_probes(&mut self, out: &mut Outbox<'_>) {
        let Some(probing) = &mut self.probing else { return };
        probing.give_up_overdue(out.now(), &mut self.ledger.counts);
        let waited = self.options.connect_timeout;
        if let State::Dialling(_, since) | State::Wanted(Some(since)) = &probing.state
            && out.now().since(*since) > waited
        {
            let error = io::Error::new(ErrorKind::TimedOut, format!("timed out after {waited:?}"));
            self.line_refused(&error, out);
        }
    }
}
