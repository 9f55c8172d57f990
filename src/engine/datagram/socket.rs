//! One datagram socket: how its datagrams leave, and how it learns that there is room for those that wait.
//!
//! A UDP socket, or a connected Unix one, is armed for writability while datagrams wait, and an event tells. An
//! unconnected Unix socket is always writable, because it is a receiver that has no room; and it reports that anew for
//! every datagram that a full receiver refuses (epoll(7)), so that a loop which waits for the event spins. There a
//! timer tries again, with back-off, and so does the next answer to the same receiver.

use std::collections::VecDeque;
use std::io::{
    self,
    ErrorKind::{Interrupted, WouldBlock},
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::ServiceId;
use super::super::net::{LocalAddress, Net};
use super::queue::{Flushed, SendQueue, Sent, Waiting};
use super::run::{Refused, Run, Way};
use crate::endpoint::Address;
use crate::stats::Stats;

/// The first time after which a full receiver is tried again. It doubles with each attempt in vain.
const FIRST_RETRY: Duration = Duration::from_millis(1);

/// The longest time after which a full receiver is tried again.
const LAST_RETRY: Duration = Duration::from_millis(256);

/// Receives that fail in a row until the socket is left alone for a while. ICMP leaves one error on a socket at a time,
/// and a receive takes it off; a call that fails again and again will do so the next time, too.
const FAILURES: u32 = 16;

#[derive(Debug)]
pub(in crate::engine) struct DatagramSocket<D> {
    pub(super) socket: D,
    number: u32,
    pub(in crate::engine) service: ServiceId,
    pub(super) local: Address,
    /// Set where the socket asks: what arrives are answers then.
    pub(in crate::engine) asks: Option<Asks>,
    /// There may be something to read, and the socket is in `Datagrams::ready`.
    pub(super) readable: bool,
    /// Batches that may still be received: bounded once the server drains.
    pub(super) receives_left: usize,
    /// Its service has closed it: it is gone at the end of the turn.
    pub(in crate::engine) is_left: bool,
    /// Receives that have failed since one had a result.
    pub(super) failures: u32,
    /// The longest answers that are sent in runs: shorter than any that the kernel has refused.
    longest_in_runs: usize,
    queue: SendQueue,
    retry: Retry,
}

/// The timer that has the queue sent again, where no event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// Not needed.
    Idle,
    /// To be set by the engine, to this time.
    Due(Duration),
    /// Set, to this time.
    Set(Duration),
}

/// What an asking socket has beyond a serving one.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Asks {
    /// The far side that it is connected to.
    pub(in crate::engine) to: Arc<Address>,
    /// A number that belongs to its service: `Outbox::tag`.
    pub(in crate::engine) tag: u64,
}

impl<D> DatagramSocket<D> {
    pub(super) fn new(socket: D, number: u32, service: ServiceId, local: Address, asks: Option<Asks>) -> Self {
        let queue = SendQueue::default();
        Self {
            socket,
            number,
            service,
            local,
            asks,
            readable: false,
            receives_left: usize::MAX,
            is_left: false,
            failures: 0,
            longest_in_runs: usize::MAX,
            queue,
            retry: Retry::Idle,
        }
    }

    pub(in crate::engine) fn socket(&self) -> &D {
        &self.socket
    }

    /// Whether nothing is left to read or to send.
    pub(super) fn is_idle(&self) -> bool {
        self.is_left || !self.readable && self.queue.is_empty()
    }

    /// The number of datagrams that wait to be sent.
    pub(in crate::engine) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether it is left alone because its receives fail.
    pub(super) fn rests(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Whether what arrives is received.
    pub(super) fn is_received_from(&self) -> bool {
        !self.is_left && !self.rests()
    }

    /// Appends its number to `ready`, if it is not there already.
    pub(super) fn note_arrival(&mut self, ready: &mut VecDeque<u32>) {
        if !self.readable && self.is_received_from() {
            self.readable = true;
            ready.push_back(self.number);
        }
    }

    /// Whether an answer of this length may be one of a run.
    pub(super) fn sends_in_runs(&self, length: usize) -> bool {
        (1..=self.longest_in_runs).contains(&length)
    }

    pub(super) fn port(&self) -> Option<u16> {
        match &self.local {
            Address::Ip(local) => Some(local.port()),
            Address::Unix(_) => None,
        }
    }

    /// Whether datagrams that this socket sends come from `path`. The kernel names their source as it was bound, byte for
    /// byte. (Comparing paths component by component takes a fifth of a datagram's time.)
    pub(super) fn is_bound_to(&self, path: &Path) -> bool {
        matches!(&self.local, Address::Unix(Some(local)) if local.as_os_str() == path.as_os_str())
    }

    /// Whether it is a receiver that has no room, and a timer that tries again, because no event tells.
    fn retries_by_timer(&self) -> bool {
        self.asks.is_none() && matches!(self.local, Address::Unix(_))
    }

    /// Sends a datagram, or queues it while there is no room, or drops and counts it while the queue is full too. Fails
    /// where the kernel refuses it: too long (EMSGSIZE), a forbidden or unreachable destination.
    pub(in crate::engine) fn send_or_queue<N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        bytes: &[u8],
        Way { to, from }: Way<'_>,
        stats: &mut Stats,
    ) -> io::Result<()> {
        // Queued datagrams go first. A UDP socket has no room while any waits; a Unix receiver that asks again may have
        // made some.
        if self.retries_by_timer() && self.queue.has(to) {
            self.flush_lane(net, to, stats);
        }
        let is_next = if self.retries_by_timer() { !self.queue.has(to) } else { self.queue.is_empty() };
        if is_next && send(net, &mut self.socket, bytes, to, from)? {
            stats.datagrams_out += 1;
        } else {
            let kept = self.enqueue(net, to, Waiting { bytes: bytes.into(), from });
            stats.dropped += u64::from(!kept);
        }
        Ok(())
    }

    /// Has an answer join the run; where it cannot, ends the run, and begins the next one if the answer is followed.
    /// Returns the errors of the answers that could not be sent.
    pub(super) fn keep_or_send<N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        run: &mut Run,
        answer: &[u8],
        way: Way<'_>,
        is_followed: bool,
        stats: &mut Stats,
    ) -> Vec<io::Error> {
        if run.append(self.number, answer, way) {
            return Vec::new();
        }
        let mut errors = self.send_run(net, run, stats);
        run.clear();
        if is_followed && self.sends_in_runs(answer.len()) {
            run.begin(self.number, answer, way);
        } else {
            errors.extend(self.send_or_queue(net, answer, way, stats).err());
        }
        errors
    }

    /// Sends a run, or queues it while there is no room. Returns the errors of the answers that could not be sent.
    pub(super) fn send_run<N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        run: &Run,
        stats: &mut Stats,
    ) -> Vec<io::Error> {
        if run.len() < 2 || !self.queue.is_empty() {
            return self.send_singly(net, run.answers(), run, stats);
        }
        let way = run.way();
        let (bytes, segment) = run.segments();
        match until_uninterrupted(|| net.send_run(&mut self.socket, bytes, segment, way.to, way.from)) {
            Ok(true) => stats.datagrams_out += run.len() as u64,
            Ok(false) => {
                for answer in run.answers() {
                    let kept = self.enqueue(net, way.to, Waiting { bytes: answer.into(), from: way.from });
                    stats.dropped += u64::from(!kept);
                }
            }
            Err(error) => return self.send_refused(net, run, error, stats),
        }
        Vec::new()
    }

    /// Sends the answers of a run that the kernel has refused, and remembers what it refuses.
    fn send_refused<N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        run: &Run,
        error: io::Error,
        stats: &mut Stats,
    ) -> Vec<io::Error> {
        let refused = Refused::from(&error);
        if refused == Refused::First {
            let mut errors = vec![error];
            errors.extend(self.send_singly(net, run.answers().skip(1), run, stats));
            return errors;
        }
        let errors = self.send_singly(net, run.answers(), run, stats);
        match refused {
            Refused::Always => self.longest_in_runs = 0,
            // What cannot be sent alone was refused for another reason.
            Refused::TooLong if errors.is_empty() => self.longest_in_runs = run.segments().1 - 1,
            _ => {}
        }
        errors
    }

    fn send_singly<'a, N: Net<Datagram = D>>(
        &mut self,
        net: &mut N,
        answers: impl Iterator<Item = &'a [u8]>,
        run: &Run,
        stats: &mut Stats,
    ) -> Vec<io::Error> {
        answers.filter_map(|answer| self.send_or_queue(net, answer, run.way(), stats).err()).collect()
    }

    /// Appends a datagram to the queue, and sees to it that an event or a timer has it sent. Returns false where the
    /// queue is full or the socket cannot be armed.
    fn enqueue<N: Net<Datagram = D>>(&mut self, net: &mut N, to: &Address, answer: Waiting) -> bool {
        let retries = self.retries_by_timer();
        if !retries && self.queue.is_empty() && net.arm_datagram(&mut self.socket, self.number, true).is_err() {
            return false;
        }
        if retries && self.retry == Retry::Idle {
            self.retry = Retry::Due(FIRST_RETRY);
        }
        self.queue.push(to, answer)
    }

    /// Sends queued datagrams, after an event that told of room.
    pub(super) fn send_queued<N: Net<Datagram = D>>(&mut self, net: &mut N, stats: &mut Stats) {
        self.flush(net, stats);
        if self.queue.is_empty() && !self.retries_by_timer() {
            // A failure does no harm: there are more events than needed.
            let _ = net.arm_datagram(&mut self.socket, self.number, false);
        }
    }

    /// Sends queued datagrams, after the timer, and asks for another while any wait.
    pub(super) fn retry<N: Net<Datagram = D>>(&mut self, net: &mut N, stats: &mut Stats) {
        let Retry::Set(after) = self.retry else { return };
        let has_sent = self.flush(net, stats);
        self.retry = if self.queue.is_empty() {
            Retry::Idle
        } else if has_sent {
            Retry::Due(FIRST_RETRY)
        } else {
            Retry::Due((after * 2).min(LAST_RETRY))
        };
    }

    /// The time of the timer that is to be set, if one is. Notes that it has been.
    pub(in crate::engine) fn take_retry(&mut self) -> Option<Duration> {
        let Retry::Due(after) = self.retry else { return None };
        self.retry = Retry::Set(after);
        Some(after)
    }

    /// Sends queued datagrams, as many as there is room for. Returns whether any left the queue.
    fn flush<N: Net<Datagram = D>>(&mut self, net: &mut N, stats: &mut Stats) -> bool {
        let no_room = if self.retries_by_timer() { Sent::NoRoom } else { Sent::NoRoomAtAll };
        let Self { socket, queue, .. } = self;
        let flushed = queue.flush(|to, waiting| send_waiting(net, socket, to, waiting, no_room));
        count(flushed, stats);
        flushed.left() > 0
    }

    /// The same for one receiver that has room of its own.
    fn flush_lane<N: Net<Datagram = D>>(&mut self, net: &mut N, to: &Address, stats: &mut Stats) {
        let Self { socket, queue, .. } = self;
        count(queue.flush_lane(to, |waiting| send_waiting(net, socket, to, waiting, Sent::NoRoom)), stats);
    }
}

fn count(flushed: Flushed, stats: &mut Stats) {
    stats.datagrams_out += flushed.sent;
    stats.dropped += flushed.failed;
}

fn send_waiting<N: Net>(net: &mut N, socket: &mut N::Datagram, to: &Address, waiting: &Waiting, no_room: Sent) -> Sent {
    match send(net, socket, &waiting.bytes, to, waiting.from) {
        Ok(true) => Sent::Now,
        Ok(false) => no_room,
        Err(_) => Sent::Failed,
    }
}

/// Sends a datagram. Returns whether there was room for it.
fn send<N: Net>(
    net: &mut N,
    socket: &mut N::Datagram,
    bytes: &[u8],
    to: &Address,
    from: Option<LocalAddress>,
) -> io::Result<bool> {
    until_uninterrupted(|| net.send_to(socket, bytes, to, from))
}

/// Repeats a send that a signal interrupts. Returns whether there was room.
fn until_uninterrupted(mut send: impl FnMut() -> io::Result<()>) -> io::Result<bool> {
    loop {
        match send() {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == Interrupted => {}
            Err(error) if error.kind() == WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
