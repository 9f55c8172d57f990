//! [`Handle`]: a running reactor, reached from other threads.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::{Poll, Waker};

use super::token::Token;
use crate::error::Error;
use crate::service::ServiceId;
use crate::stats::Stats;

/// Reaches a reactor from anywhere: clone it, send it to other threads. When the reactor has gone, it does nothing.
#[derive(Clone, Debug)]
pub struct Handle {
    sender: Sender<Request>,
    waker: Arc<Waker>,
}

/// What a [`Handle`] asks for.
#[derive(Debug)]
pub(super) enum Request {
    Shutdown,
    Stats(Sender<Stats>),
    Line(ServiceId, Vec<u8>),
}

pub(super) fn pair(poll: &Poll) -> Result<(Handle, Receiver<Request>), Error> {
    let failed = |source: io::Error| Error::Loop { part: "eventfd", source };
    let waker = Waker::new(poll.registry(), Token::Waker.into()).map_err(failed)?;
    let (sender, receiver) = channel();
    Ok((Handle { sender, waker: Arc::new(waker) }, receiver))
}

impl Handle {
    /// Shuts the reactor down as SIGTERM would: answers that are owed are given first.
    pub fn shutdown(&self) {
        self.ask(Request::Shutdown);
    }

    /// The counters, as of the reactor's next turn; `None` when the reactor has gone. Waits for that turn, so do not
    /// call it from the reactor's own thread.
    pub fn stats(&self) -> Option<Stats> {
        let (sender, receiver) = channel();
        self.ask(Request::Stats(sender));
        receiver.recv().ok()
    }

    /// Gives a service a line, as its console would.
    pub fn line(&self, service: ServiceId, text: impl Into<Vec<u8>>) {
        self.ask(Request::Line(service, text.into()));
    }

    fn ask(&self, request: Request) {
        // A reactor that has gone needs no more waking.
        if self.sender.send(request).is_ok() {
            let _ = self.waker.wake();
        }
    }
}
