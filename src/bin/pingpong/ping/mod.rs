//! `pingpong ping`: round trips, counted and timed, as ping(8) does it over ICMP.
//!
//! - `prober`: the service; asks on schedule, and matches what comes; `unanswered`: what may still come
//! - `tally`: what has come of the questions, and how it is reported

mod prober;
mod tally;
#[cfg(test)]
mod tests;
mod unanswered;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pingpong::{Calls, Ending, Endpoint, Limits, Quiet, Status, WhenFull};

use crate::DynReactor;
use crate::descriptors;
use crate::error::Error;
use crate::probe::Probe;
#[cfg(feature = "watch")]
use crate::watch::Explain;

use prober::Prober;
pub(crate) use tally::Tally;

/// The options of `pingpong ping`.
#[derive(Debug)]
pub(crate) struct PingOptions {
    pub(crate) endpoint: Endpoint,
    /// How often to ask; for ever, if not given.
    pub(crate) count: Option<u64>,
    /// From one question to the next.
    pub(crate) interval: Duration,
    /// An answer after this long is late.
    pub(crate) timeout: Duration,
    /// How long an address may take to be reached.
    pub(crate) connect_timeout: Duration,
    /// No line for each answer.
    pub(crate) quiet: bool,
    pub(crate) probe: Probe,
    /// Whether each system call is told of.
    #[cfg(feature = "watch")]
    pub(crate) explain: Option<crate::watch::Depth>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With these counts, interrupted or not.
    Counted(Tally),
    /// At once, by a second signal of this number.
    Stopped(i32),
}

/// Bytes of questions that may wait for a server which does not read: more break the connection off.
const UNSENT: usize = 64 << 20;

/// Asks until it has asked often enough or is interrupted, and reports.
pub(crate) fn run(options: PingOptions) -> Result<Outcome, Error> {
    #[cfg(feature = "watch")]
    if let Some(depth) = options.explain {
        return ask(options, Explain::new(depth));
    }
    ask(options, Quiet)
}

/// `calls` is told of each system call.
fn ask(options: PingOptions, calls: impl Calls) -> Result<Outcome, Error> {
    let mut limits = Limits::default();
    // Nothing that is under way at the end is of use.
    limits.linger = Duration::ZERO;
    limits.drain = Duration::ZERO;
    let longest = options.probe.longest();
    limits.max_message = limits.max_message.max(2 * longest);
    limits.max_unsent = UNSENT.max(2 * longest);
    let sockets = descriptors::raise_limit().saturating_sub(descriptors::RESERVED);
    // A name is looked up while Ctrl-C still ends the process.
    let prober = Rc::new(RefCell::new(Prober::new(options, sockets)?));
    let mut reactor = DynReactor::with_calls(limits, calls)?;
    reactor.watch_signals()?;
    reactor.keep_exact_time()?;
    let id = reactor.add("ping", Box::new(prober.clone()));
    reactor.open_output(WhenFull::Wait)?;
    reactor.with(id, |_, out| prober.borrow_mut().begin(out));
    if let Ending::Signal(number) = reactor.run()? {
        return Ok(Outcome::Stopped(number));
    }

    let (tally, error) = prober.borrow_mut().take_outcome(reactor.now())?;
    reactor.with(id, |_, out| prober.borrow().report(out));
    reactor.print()?;
    if let Status::Ended(Ending::Signal(number)) = reactor.turn(None)? {
        return Ok(Outcome::Stopped(number));
    }
    // What was answered is told first.
    if let Some(error) = error {
        crate::complain(&error);
    }
    Ok(Outcome::Counted(tally))
}
