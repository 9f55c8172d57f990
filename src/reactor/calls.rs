//! [`Calls`]: whoever is to know of each system call that a reactor makes.
//!
//! A [`Net`](crate::engine::Net) around another would see less: one `connect` there is up to nine calls here, and what a
//! reactor sets up (listeners, epoll(7), signals, timers) it does not see at all. So the calls are told of where they are
//! made. [`Quiet`], which a reactor has if nothing else is said, is told of nothing and costs nothing: it has no size, and
//! the compiler leaves out what is handed to it.

use std::fmt::Debug;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll};

use super::token::Token;
use crate::endpoint::Address;
use crate::engine::Arrival;

/// Is told of each system call that a [`Reactor`](crate::Reactor) makes for its sockets, its epoll(7) and what is watched
/// there: in their order, each right after it was made.
///
/// Left out are those for files: the folder and the permissions of a Unix socket's file, /proc, and standard output that
/// is opened anew and closed.
pub trait Calls: Clone + Debug + 'static {
    /// Kept beside each descriptor, and dropped right after that was closed: so close(2) is told of. It never fails for
    /// sockets that do not linger.
    type Open: Debug + 'static;

    /// Whether anybody is told at all.
    const TELLS: bool = true;

    /// A descriptor was opened; what opened it has been told of.
    fn opened(&self, descriptor: RawFd) -> Self::Open;

    /// A call was made, with this result.
    fn made(&self, call: &Call<'_>, result: Result<usize, &io::Error>);
}

/// Is told of no call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Calls for Quiet {
    type Open = ();
    const TELLS: bool = false;

    #[inline(always)]
    fn opened(&self, _: RawFd) {}

    #[inline(always)]
    fn made(&self, _: &Call<'_>, _: Result<usize, &io::Error>) {}
}

/// A system call, by its arguments that matter; names are those of C. Descriptors are numbers, as in strace(1).
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the man page of each call says what its arguments mean")]
pub enum Call<'a> {
    /// epoll_create1(2)
    EpollCreate,
    /// epoll_ctl(2). The token comes back with the events of this descriptor.
    EpollCtl { epoll: RawFd, operation: &'static str, fd: RawFd, token: u64, events: &'static str },
    /// epoll_wait(2)
    EpollWait { epoll: RawFd, ready: Ready<'a>, timeout: Option<Duration> },
    /// eventfd(2): it wakes the loop on behalf of a [`Handle`](crate::Handle).
    EventFd,
    /// signalfd(2)
    SignalFd,
    /// read(2) of a signalfd; the signal's number, if there was one.
    ReadSignal { fd: RawFd, signal: Option<i32> },
    /// timerfd_create(2)
    TimerCreate,
    /// timerfd_settime(2)
    TimerSet { fd: RawFd, after: Duration },
    /// socket(2)
    Socket { family: &'static str, kind: &'static str },
    /// setsockopt(2)
    SetOption { fd: RawFd, name: &'static str, value: i64 },
    /// getsockopt(2), with what it told, where that is a number.
    GetOption { fd: RawFd, name: &'static str, value: Option<i64> },
    /// bind(2)
    Bind { fd: RawFd, to: &'a Address },
    /// listen(2)
    Listen { fd: RawFd, backlog: i32 },
    /// accept4(2), with the address of whom it accepted.
    Accept { fd: RawFd, peer: Option<&'a Address> },
    /// connect(2)
    Connect { fd: RawFd, to: &'a Address },
    /// getsockname(2)
    SocketName { fd: RawFd, address: Option<&'a Address> },
    /// getpeername(2)
    PeerName { fd: RawFd, address: Option<&'a Address> },
    /// recvfrom(2) or recvmsg(2), by its name: what it brought, into room for so much. A peek leaves it there.
    Receive { name: &'static str, fd: RawFd, bytes: &'a [u8], room: usize, is_peek: bool, from: Option<&'a Address> },
    /// recvmmsg(2): what it brought, the bytes of the first of them, and how many it had room for.
    ReceiveMany { fd: RawFd, first: &'a [u8], arrivals: &'a [Arrival], room: usize },
    /// sendto(2), or sendmmsg(2) of one message, by its name; as datagrams of `segment` bytes, if that is said
    /// (UDP_SEGMENT, udp(7)).
    Send { name: &'static str, fd: RawFd, bytes: &'a [u8], to: Option<&'a Address>, segment: Option<u16> },
    /// read(2) of standard input: what it brought, into room for so much.
    Read { fd: RawFd, bytes: &'a [u8], room: usize },
    /// write(2) to standard output
    Write { fd: RawFd, bytes: &'a [u8] },
    /// poll(2) of one descriptor, for this event
    Poll { fd: RawFd, event: &'static str },
    /// shutdown(2) of the writing side
    Shutdown { fd: RawFd },
}

/// What an epoll_wait(2) found.
#[derive(Debug)]
pub struct Ready<'a>(&'a Events);

impl Ready<'_> {
    /// The token of each descriptor that is ready, and its events, as `EPOLLIN|EPOLLOUT`.
    pub fn events(&self) -> impl Iterator<Item = (u64, String)> {
        self.0.iter().map(|event| {
            // mio's own methods summarize; what the kernel said is in the long form of its Debug alone.
            let said = format!("{event:#?}");
            let names =
                said.split(|letter: char| !letter.is_ascii_uppercase()).filter(|word| word.starts_with("EPOLL"));
            (event.token().0 as u64, names.collect::<Vec<_>>().join("|"))
        })
    }
}

/// Tells of a call that returns 0, and passes its result on.
#[inline(always)]
pub(super) fn told<T>(calls: &impl Calls, call: &Call<'_>, result: io::Result<T>) -> io::Result<T> {
    calls.made(call, result.as_ref().map(|_| 0));
    result
}

/// Tells of a call that returns a number of bytes, and passes that on.
#[inline(always)]
pub(super) fn told_count(calls: &impl Calls, call: &Call<'_>, result: io::Result<usize>) -> io::Result<usize> {
    calls.made(call, result.as_ref().copied());
    result
}

/// Tells of a call that returns a descriptor, and keeps it with what tells of its end.
#[inline(always)]
pub(super) fn told_open<T: AsRawFd, C: Calls>(
    calls: &C,
    call: &Call<'_>,
    result: io::Result<T>,
) -> io::Result<Held<T, C>> {
    calls.made(call, result.as_ref().map(|opened| opened.as_raw_fd() as usize));
    result.map(|opened| Held::new(opened, calls))
}

/// A descriptor, or what owns one, with what tells of its end.
#[derive(Debug)]
pub(super) struct Held<T, C: Calls> {
    inner: T,
    /// Declared, and so dropped, behind it.
    open: C::Open,
}

impl<T, C: Calls> Held<T, C> {
    /// The same descriptor as part of something else.
    #[inline(always)]
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Held<U, C> {
        Held { inner: make(self.inner), open: self.open }
    }
}

impl<T: AsRawFd, C: Calls> Held<T, C> {
    #[inline(always)]
    pub(super) fn new(inner: T, calls: &C) -> Self {
        let open = calls.opened(inner.as_raw_fd());
        Self { inner, open }
    }
}

impl<T, C: Calls> Deref for Held<T, C> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, C: Calls> DerefMut for Held<T, C> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// The epoll(7) of a reactor.
#[derive(Debug)]
pub(super) struct Epoll<C: Calls> {
    poll: Held<Poll, C>,
    calls: C,
}

impl<C: Calls> Epoll<C> {
    pub(super) fn new(calls: C) -> io::Result<Self> {
        let poll = told_open(&calls, &Call::EpollCreate, Poll::new())?;
        Ok(Self { poll, calls })
    }

    pub(super) fn calls(&self) -> &C {
        &self.calls
    }

    /// epoll_wait(2)
    pub(super) fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let result = self.poll.poll(events, timeout);
        if !C::TELLS {
            return result;
        }
        let epoll = self.poll.as_raw_fd();
        let count = result.as_ref().map(|()| events.iter().count());
        self.calls.made(&Call::EpollWait { epoll, ready: Ready(events), timeout }, count);
        result
    }

    /// Has events of this source, whose descriptor this is, come with the token.
    #[inline(always)]
    pub(super) fn add(&self, source: &mut dyn Source, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let token = mio::Token::from(token);
        let result = self.poll.registry().register(source, token, interest);
        told(&self.calls, &self.ctl("EPOLL_CTL_ADD", fd, token, names(interest)), result)
    }

    /// Changes what events are wanted.
    #[inline(always)]
    pub(super) fn modify(
        &self,
        source: &mut dyn Source,
        fd: RawFd,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let token = mio::Token::from(token);
        let result = self.poll.registry().reregister(source, token, interest);
        told(&self.calls, &self.ctl("EPOLL_CTL_MOD", fd, token, names(interest)), result)
    }

    /// Ends the events of this source.
    pub(super) fn remove(&self, source: &mut dyn Source, fd: RawFd, token: Token) -> io::Result<()> {
        let result = self.poll.registry().deregister(source);
        told(&self.calls, &self.ctl("EPOLL_CTL_DEL", fd, token.into(), ""), result)
    }

    #[inline(always)]
    fn ctl(&self, operation: &'static str, fd: RawFd, token: mio::Token, events: &'static str) -> Call<'static> {
        Call::EpollCtl { epoll: self.poll.as_raw_fd(), operation, fd, token: token.0 as u64, events }
    }
}

/// What mio makes of an interest.
#[inline(always)]
fn names(interest: Interest) -> &'static str {
    match (interest.is_readable(), interest.is_writable(), interest.is_priority()) {
        (true, true, true) => "EPOLLIN|EPOLLPRI|EPOLLOUT|EPOLLRDHUP|EPOLLET",
        (true, true, false) => "EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET",
        (false, ..) => "EPOLLOUT|EPOLLET",
        _ => "EPOLLIN|EPOLLRDHUP|EPOLLET",
    }
}
