//! [`Handle`]: a running reactor, reached from other threads.
//!
//! A request goes through a channel, and an eventfd(2) ends the poll so that the reactor looks there.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Interest;
use mio::unix::SourceFd;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::calls::{Call, Calls, Epoll, Held, told_open};
use super::token::Token;
use crate::error::Error;
use crate::service::ServiceId;
use crate::stats::Stats;

/// Reaches a reactor from other threads: clone it, send it anywhere. When the reactor has gone, it does nothing.
///
/// A test has a server listen at a port that the kernel picks, and runs it on a thread of its own:
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use std::thread;
///
/// use pingpong::service::Echo;
/// use pingpong::{Ending, Limits, Reactor};
///
/// let mut reactor = Reactor::new(Limits::default())?;
/// let echo = reactor.add("echo", Echo);
/// let bound = reactor.listen(echo, &"tcp://127.0.0.1:0".parse()?)?;
/// let address = bound[0].socket_addr().expect("it listens on TCP");
/// let handle = reactor.handle();
/// let server = thread::spawn(move || reactor.run());
///
/// let mut client = TcpStream::connect(address)?;
/// client.write_all(b"hello")?;
/// let mut answer = [0; 5];
/// client.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"hello");
///
/// let stats = handle.stats().expect("the server runs");
/// assert_eq!((stats.open(), stats.bytes_in), (1, 5));
///
/// handle.shutdown();
/// assert_eq!(server.join().expect("it does not panic")?, Ending::Drained);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    sender: Sender<Request>,
    waker: Arc<EventFd>,
}

/// What a [`Handle`] asks for.
#[derive(Debug)]
pub(super) enum Request {
    Shutdown,
    Stop,
    Stats(Sender<Stats>),
    Line(ServiceId, Vec<u8>),
}

impl Handle {
    /// Shuts the reactor down as SIGTERM would: answers that are owed are given first.
    pub fn shutdown(&self) {
        self.ask(Request::Shutdown);
    }

    /// Ends the reactor at once, after the turn that it is in, whatever is owed.
    pub fn stop(&self) {
        self.ask(Request::Stop);
    }

    /// The counters, as of the reactor's next turn; `None` when the reactor has gone. It waits for that turn: on the
    /// reactor's own thread for ever.
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
            // It fails where 2^64 requests wait, and then the loop is awake.
            let _ = self.waker.write(1);
        }
    }
}

/// A handle, and where what it asks for arrives.
///
/// The eventfd is never read: each write to it is an edge.
pub(super) fn pair<C: Calls>(epoll: &Epoll<C>) -> Result<(Held<Handle, C>, Receiver<Request>), Error> {
    let failed = |source: io::Error| Error::Loop { part: "eventfd", source };
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let waker = EventFd::from_value_and_flags(0, flags).map_err(io::Error::from);
    let waker = told_open(epoll.calls(), &Call::EventFd, waker).map_err(failed)?;
    let fd = waker.as_raw_fd();
    epoll.add(&mut SourceFd(&fd), fd, Token::Waker, Interest::READABLE).map_err(failed)?;
    let (sender, receiver) = channel();
    Ok((waker.map(|waker| Handle { sender, waker: Arc::new(waker) }), receiver))
}
