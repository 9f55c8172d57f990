//! The stage's one poll: it waits for events of ends, and keeps what they have said until a call has used it up.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;

use super::ends::{End, failed};
use super::stage::Stage;
use super::trouble::Trouble;

/// How long an event is waited for. A SYN is sent again after 1, 3, 7, 15, 31 and 63 seconds, and given up after 127;
/// since Linux 6.5 more often, and given up sooner.
const PATIENCE: Duration = Duration::from_secs(130);

/// The poll, its last events, and what is left of those before.
pub(super) struct Watch {
    poll: Poll,
    events: Events,
    /// For each token: what events have said, and no call has used up.
    ready: Vec<Ready>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ready {
    /// The descriptor that the token stands for.
    fd: i32,
    readable: bool,
    pub(super) writable: bool,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(64), ready: Vec::new() })
    }

    /// Polls once, until the deadline at the most, and notes what comes. A signal (a stop, a terminal that changes its size)
    /// ends it without an event.
    fn poll_until(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.events, Some(left)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            polled => polled.map_err(failed("epoll_wait"))?,
        }
        for event in &self.events {
            let ready = &mut self.ready[event.token().0];
            ready.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            ready.writable |= event.is_writable() || event.is_error();
        }
        Ok(())
    }
}

/// What a poll has returned.
pub(super) struct News {
    /// Of the ends that were asked about.
    descriptors: Vec<i32>,
    /// Each event, EPOLLIN as IN and EPOLLOUT as OUT.
    events: Vec<String>,
}

impl Stage {
    /// Has the poll watch a socket, edge-triggered. Returns its token.
    pub(super) fn register(&mut self, socket: &Socket) -> Result<usize, Trouble> {
        let token = self.watch.ready.len();
        self.watch.ready.push(Ready { fd: socket.as_raw_fd(), ..Ready::default() });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.watch.poll.registry();
        registry.register(&mut SourceFd(&socket.as_raw_fd()), Token(token), interest).map_err(failed("epoll_ctl"))?;
        Ok(token)
    }

    /// How the poll has been asked about this end.
    pub(super) fn show_interest(&mut self, end: &End) {
        let poll = self.watch.poll.as_raw_fd();
        self.called(
            end.actor,
            &format!("epoll_ctl({poll}, EPOLL_CTL_ADD, {}, {{IN|OUT|RDHUP|EPOLLET}}) = 0", end.fd()),
        );
    }

    /// Polls until there is an event of one of these ends, for `wait` at most, and shows what the last call returned.
    /// Returns the descriptors that have one, in the kernel's order.
    pub(super) fn poll_once(
        &mut self,
        actor: &'static str,
        ends: &[&End],
        wait: Duration,
    ) -> Result<Vec<i32>, Trouble> {
        let news = self.poll_quietly(ends, wait)?;
        self.show_poll(actor, &news);
        Ok(news.descriptors)
    }

    /// The same, and shows nothing: what the call has learnt of is to be shown before it.
    pub(super) fn poll_quietly(&mut self, ends: &[&End], wait: Duration) -> Result<News, Trouble> {
        let deadline = Instant::now() + wait;
        let mut seen = Vec::new();
        loop {
            self.watch.poll_until(deadline)?;
            let mut texts = Vec::new();
            for event in &self.watch.events {
                let fd = self.watch.ready[event.token().0].fd;
                let bits = [(event.is_readable(), "IN"), (event.is_writable(), "OUT")];
                let bits: Vec<&str> = bits.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
                texts.push(format!("{fd} {}", bits.join("|")));
                seen.extend(ends.iter().map(|end| end.fd()).filter(|asked| *asked == fd));
            }
            if !seen.is_empty() || Instant::now() >= deadline {
                return Ok(News { descriptors: seen, events: texts });
            }
        }
    }

    pub(super) fn show_poll(&mut self, actor: &'static str, News { events, .. }: &News) {
        let poll = self.watch.poll.as_raw_fd();
        self.called(actor, &format!("epoll_wait({poll}) = {} [{}]", events.len(), events.join(", ")));
    }

    /// Takes no account of what events have said so far of sending at this end.
    pub(super) fn forget_writable(&mut self, end: &End) {
        self.watch.ready[end.token].writable = false;
    }

    /// Whether an event has said since that this end may send.
    pub(super) fn is_writable(&self, end: &End) -> bool {
        self.watch.ready[end.token].writable
    }

    /// Waits for an event of this end that is new.
    pub(super) fn await_new(&mut self, end: &End) -> Result<(), Trouble> {
        self.watch.ready[end.token].readable = false;
        self.await_ready(end, |ready| ready.readable)
    }

    pub(super) fn await_ready(&mut self, end: &End, is_ready: fn(Ready) -> bool) -> Result<(), Trouble> {
        let deadline = Instant::now() + PATIENCE;
        while !is_ready(self.watch.ready[end.token]) {
            if Instant::now() >= deadline {
                let expected = format!("an event of descriptor {} ({})", end.fd(), end.actor);
                return Err(Trouble::Otherwise { expected, found: format!("none within {PATIENCE:?}") });
            }
            self.watch.poll_until(deadline)?;
        }
        Ok(())
    }
}
