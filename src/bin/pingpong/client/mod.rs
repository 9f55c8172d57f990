//! `pingpong client`: the other side of a conversation, on one dialled connection or one datagram socket that asks.
//!
//! - `scripted`: with messages. Says one, waits for its answer, prints it, says the next
//! - `interactive`: without. Says what is typed, and prints what arrives as it arrives
//! - `conversation`: what both do alike: reach the server, say, wait, note the outcome; `unanswered`: its datagrams
//! - `printer`: how answers look on a terminal and elsewhere

mod conversation;
mod interactive;
mod printer;
mod scripted;
mod unanswered;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pingpong::service::{Framing, Service};
use pingpong::{Calls, ConsoleKind, Endpoint, Limits, Quiet, WhenFull};

use crate::DynReactor;
use crate::error::Error;
#[cfg(feature = "watch")]
use crate::watch::Explain;

use conversation::{Conversation, Remark};
use interactive::Interactive;
use scripted::Scripted;

/// The options of `pingpong client`.
#[derive(Debug)]
pub(crate) struct ClientOptions {
    pub(crate) endpoint: Endpoint,
    /// What to say; if empty, what is typed.
    pub(crate) messages: Vec<Vec<u8>>,
    /// Whether the server speaks first, and is waited for.
    pub(crate) greeting: bool,
    /// Where a message ends in a stream: lines or chunks.
    pub(crate) framing: Framing,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
    /// Whether each system call is told of.
    #[cfg(feature = "watch")]
    pub(crate) explain: Option<crate::watch::Depth>,
}

/// The longest answer, without its line end: all of it is kept until that comes. (A chunk is never as long.)
const LONGEST_ANSWER: usize = 64 << 20;

/// Holds the conversation, and tells how it went.
pub(crate) fn run(options: ClientOptions) -> Result<(), Error> {
    #[cfg(feature = "watch")]
    if let Some(depth) = options.explain {
        return converse(options, Explain::new(depth));
    }
    converse(options, Quiet)
}

/// `calls` is told of each system call.
fn converse(options: ClientOptions, calls: impl Calls) -> Result<(), Error> {
    let awaits_greeting = options.greeting;
    let is_scripted = awaits_greeting || !options.messages.is_empty();
    let conversation = Conversation::new(options)?;
    let remark = if is_scripted {
        hold(Scripted::new(conversation, awaits_greeting), ConsoleKind::Nobody, calls)?
    } else {
        let console = ConsoleKind::of_stdin();
        hold(Interactive::new(conversation, console), console, calls)?
    };
    // Not before the console is closed: its prompt may stand where this goes.
    if let Some(remark) = remark {
        crate::complain(&remark);
    }
    Ok(())
}

/// Either kind of client.
trait Client: Service {
    fn conversation(&mut self) -> &mut Conversation;
}

/// Runs the client to its end, with standard input as its console where it takes lines.
fn hold<C: Client + 'static>(client: C, console: ConsoleKind, calls: impl Calls) -> Result<Option<Remark>, Error> {
    let mut limits = Limits::default();
    limits.max_message = LONGEST_ANSWER;
    let mut reactor = DynReactor::with_calls(limits, calls)?;
    let client = Rc::new(RefCell::new(client));
    let id = reactor.add("client", Box::new(client.clone()));
    reactor.open_output(WhenFull::Wait)?;
    reactor.open_input(id, console, "input:")?;
    reactor.with(id, |service, out| {
        client.borrow_mut().conversation().dial(out);
        if console == ConsoleKind::Nobody {
            service.lines_ended(out);
        }
    });
    reactor.run()?;
    client.borrow_mut().conversation().take_outcome()
}
