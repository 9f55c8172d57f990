//! [`SocketStatus`]: what each socket of a reactor is about, with the descriptor by which the kernel can be asked more.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::Reactor;
use super::calls::Calls;
use super::listener::Listener;
use super::stream::Stream;
use crate::endpoint::Address;
use crate::engine::{Activity, Socket};
use crate::service::Service;

/// A socket of a reactor: [`Reactor::sockets`].
#[derive(Clone, Debug)]
pub struct SocketStatus<'a> {
    /// Its descriptor.
    pub descriptor: BorrowedFd<'a>,
    /// The name of its service.
    pub service: &'a str,
    /// The far side of a connection.
    pub peer: Option<Address>,
    /// What it waits for, or what it does.
    pub activity: Activity,
    /// For how long no byte has come or gone; `None` where that is not kept: of listeners and datagram sockets.
    pub idle: Option<Duration>,
}

impl<S: Service, C: Calls> Reactor<S, C> {
    /// Tells of all sockets: listeners, datagram sockets, connections.
    ///
    /// ```
    /// use pingpong::{Activity, Limits, Reactor, service::Echo};
    ///
    /// let mut reactor = Reactor::new(Limits::default())?;
    /// let echo = reactor.add("echo", Echo);
    /// reactor.listen(echo, &"tcp://127.0.0.1:0".parse()?)?;
    /// let found: Vec<_> = reactor.sockets().map(|socket| (socket.service, socket.activity)).collect();
    /// assert_eq!(found, [("echo", Activity::Listening)]);
    /// # Ok::<(), pingpong::Error>(())
    /// ```
    pub fn sockets(&self) -> impl Iterator<Item = SocketStatus<'_>> {
        let now = self.clock.now();
        self.engine.sockets().map(move |status| SocketStatus {
            descriptor: match status.socket {
                Socket::Listener(listener) => match &**listener {
                    Listener::Tcp(listener) => listener.as_fd(),
                    Listener::Unix { socket, .. } => socket.as_fd(),
                },
                Socket::Stream(stream) => match &**stream {
                    Stream::Tcp(stream) => stream.as_fd(),
                    Stream::Unix(stream) => stream.as_fd(),
                },
                Socket::Datagram(socket) => socket.as_fd(),
            },
            service: status.service,
            peer: status.peer,
            activity: status.activity,
            idle: status.active_at.map(|at| now.since(at)),
        })
    }

    /// Whether a SIGUSR2 has come since the last call, if signals are [watched](Self::watch_signals). The reactor does
    /// nothing on it by itself; a program may show its [sockets](Self::sockets).
    pub fn take_sockets_request(&mut self) -> bool {
        std::mem::take(&mut self.sockets_asked_for)
    }
}
