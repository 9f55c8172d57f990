//! What bytes mean: the [`Service`] trait and the built-in services.
//!
//! A service sees messages and answers them. It owns no socket, reads no clock and knows no engine: what it wants done
//! goes into the [`Outbox`], and the engine that called it carries that out.
//!
//! - [`Service`], [`Input`], [`Outbox`]: the trait, what has arrived, and what is to be done
//! - [`Framing`], [`Message`], [`Terminator`]: where messages begin and end
//! - [`Ping`], [`Hello`], [`Echo`], [`Chat`]: the built-in services
//! - [`escaped`]: bytes from the network as text for a terminal or a log

mod answers;
mod callback;
mod chat;
mod echo;
mod effect;
mod escape;
mod framing;
mod hello;
mod input;
mod outbox;
mod ping;
mod print_queue;
mod terminator;

pub(crate) use callback::{Caller, Lines, Output, PeerAddress, Recipient, Turn};
pub use chat::{Chat, Operator};
pub use echo::Echo;
pub use effect::Dial;
pub(crate) use effect::Effect;
pub use escape::escaped;
pub(crate) use framing::{Decision, FIRST_LINE};
pub use framing::{Framing, Message};
pub use hello::Hello;
pub use input::Input;
pub(crate) use input::{Consumed, Extent, is_over_limit};
pub(crate) use outbox::HIGH_MARK;
pub use outbox::Outbox;
pub use ping::Ping;
pub(crate) use print_queue::{PrintQueue, Voice};
pub use terminator::Terminator;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::error::CloseReason;

/// Answers messages from TCP, UDP and Unix sockets, accepted and dialled alike.
///
/// One value serves all peers of its endpoints. Its methods are called on the loop's thread, one at a time, and must
/// not block. The crate's first page shows a short service. The one below keeps state for each connection, in a
/// slab under the connection's [tag](Outbox::tag), which belongs to its service alone:
///
/// ```
/// use pingpong::CloseReason;
/// use pingpong::service::{Input, Outbox, Peer, Service};
/// use slab::Slab;
///
/// /// Adds up the numbers that a connection sends, a line each, and answers with the sum so far.
/// #[derive(Default)]
/// struct Sums {
///     sums: Slab<i64>,
/// }
///
/// impl Service for Sums {
///     fn opened(&mut self, _: Peer, out: &mut Outbox<'_>) {
///         out.set_tag(self.sums.insert(0) as u64);
///     }
///
///     fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
///         let sum = &mut self.sums[out.tag() as usize];
///         while out.has_room()
///             && let Some(line) = input.line()
///         {
///             let number = str::from_utf8(line).ok().and_then(|line| line.trim().parse::<i64>().ok());
///             match number {
///                 Some(number) => *sum += number,
///                 None => return out.close(),
///             }
///             out.reply(format!("{sum}\n").as_bytes());
///         }
///     }
///
///     fn closed(&mut self, _: Peer, _: CloseReason, out: &mut Outbox<'_>) {
///         self.sums.remove(out.tag() as usize);
///     }
/// }
/// ```
pub trait Service {
    /// A connection was accepted, or what was dialled is connected. A [reply](Outbox::reply) greets it at once.
    ///
    /// For datagrams it is called only once a socket to ask from is open ([`Outbox::ask`]).
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let _ = (peer, out);
    }

    /// Bytes have arrived. The service takes complete messages from `input` and answers through `out`; what it leaves
    /// is buffered and offered again with the bytes that follow.
    ///
    /// It takes no message while [`Outbox::has_room`] is false: `received` is called again when there is room. Messages
    /// appear in the counters, and in the log, only if it [records](Outbox::record) them.
    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>);

    /// A connection has ended. A reply goes nowhere, but the outbox still has its address and its tag, and takes what
    /// concerns others.
    fn closed(&mut self, peer: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        let _ = (peer, why, out);
    }

    /// A dial has failed, or datagrams to a far side cannot be delivered.
    ///
    /// For a dial `peer` is `None`, [`Outbox::tag`] tells which one it was, and [`closed`](Self::closed) is not called.
    /// For datagrams `peer` is the asking socket, which stays open, and `error` is what the kernel reported, such as
    /// ECONNREFUSED (udp(7)).
    fn failed(&mut self, peer: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        let _ = (peer, error, out);
    }

    /// A line has come from the console or from a [`Handle`](crate::Handle), without its terminator. No peer is at
    /// hand.
    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        let _ = (text, out);
    }

    /// The console's lines have ended.
    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        let _ = out;
    }

    /// A descriptor that is watched for this service ([`Reactor::watch`](crate::Reactor::watch)) has become ready. No peer
    /// is at hand.
    fn ready(&mut self, out: &mut Outbox<'_>) {
        let _ = out;
    }

    /// A timer has run out that was set with `key`, by [`Outbox::after`] or [`Outbox::wake_at`]. If a connection owns
    /// it, that connection is at hand.
    ///
    /// By default the connection is [resumed](Outbox::resume).
    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        let _ = key;
        out.resume();
    }

    /// Whether the answer to this datagram is never answered itself and is not longer than the question.
    ///
    /// Such an answer is exempt from the budget ([`Limits::udp_budget`](crate::Limits::udp_budget)). It is also given
    /// to another host whose source port is one that this process serves: other datagrams from such ports are not
    /// answered, because a server may be behind them. By default no answer is harmless.
    fn is_harmless(&self, datagram: &[u8]) -> bool {
        let _ = datagram;
        false
    }
}

impl<S: Service + ?Sized> Service for Box<S> {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        (**self).opened(peer, out);
    }

    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        (**self).received(from, input, out);
    }

    fn closed(&mut self, peer: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        (**self).closed(peer, why, out);
    }

    fn failed(&mut self, peer: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        (**self).failed(peer, error, out);
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        (**self).line(text, out);
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        (**self).lines_ended(out);
    }

    fn ready(&mut self, out: &mut Outbox<'_>) {
        (**self).ready(out);
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        (**self).expired(key, out);
    }

    fn is_harmless(&self, datagram: &[u8]) -> bool {
        (**self).is_harmless(datagram)
    }
}

/// Lets the owner of a reactor keep a second reference to a service, to read its results. A callback borrows it
/// mutably: the owner must not hold a borrow during a turn.
impl<S: Service> Service for Rc<RefCell<S>> {
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        self.borrow_mut().opened(peer, out);
    }

    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.borrow_mut().received(from, input, out);
    }

    fn closed(&mut self, peer: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        self.borrow_mut().closed(peer, why, out);
    }

    fn failed(&mut self, peer: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        self.borrow_mut().failed(peer, error, out);
    }

    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        self.borrow_mut().line(text, out);
    }

    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        self.borrow_mut().lines_ended(out);
    }

    fn ready(&mut self, out: &mut Outbox<'_>) {
        self.borrow_mut().ready(out);
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        self.borrow_mut().expired(key, out);
    }

    fn is_harmless(&self, datagram: &[u8]) -> bool {
        self.borrow_mut().is_harmless(datagram)
    }
}

/// Identifies a service within the reactor or engine that it was added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(u16);

impl ServiceId {
    pub(crate) fn new(index: usize) -> Self {
        Self(u16::try_from(index).expect("services are added by hand, not by the thousand"))
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The far side that a callback is about.
///
/// A service that does not look at it serves connections and datagrams alike. With datagrams, the input of a callback is
/// one datagram, all replies of the callback make one datagram, and nothing is kept: there are no
/// [`opened`](Service::opened), [`closed`](Service::closed) and [`tag`](Outbox::tag), and what the service leaves of the
/// input is gone.
///
/// ```
/// use pingpong::service::{Input, Outbox, Peer, Service};
///
/// /// Counts the bytes of each datagram, and turns connections away.
/// struct Lengths;
///
/// impl Service for Lengths {
///     fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
///         let Peer::Datagram(_) = from else { return out.close() };
///         let length = input.take_rest().len();
///         out.reply(length.to_string().as_bytes());
///     }
/// }
///
/// # use pingpong::{Limits, Reactor};
/// # let mut reactor = Reactor::new(Limits::default())?;
/// # let lengths = reactor.add("lengths", Lengths);
/// # let bound = reactor.listen(lengths, &"udp://127.0.0.1:0".parse()?)?;
/// # let handle = reactor.handle();
/// # let server = std::thread::spawn(move || reactor.run());
/// # let client = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// # client.connect(bound[0].socket_addr().unwrap())?;
/// # client.send(b"four")?;
/// # let mut answer = [0; 9];
/// # let length = client.recv(&mut answer)?;
/// # assert_eq!(&answer[..length], b"4");
/// # handle.shutdown();
/// # server.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A connection. [`Outbox::send`] reaches it until it is closed.
    Stream(ConnId),
    /// The far side of the datagram socket with this number. For an asking socket ([`Outbox::ask`]) that is where it
    /// asks, and [`Outbox::send`] reaches it. For a serving socket it is the sender of the datagram at hand, which only
    /// a reply in the same callback reaches.
    Datagram(u32),
}

impl From<ConnId> for Peer {
    fn from(id: ConnId) -> Self {
        Self::Stream(id)
    }
}

/// Identifies one connection, also after it has closed.
///
/// It has the connection's slot in the engine's table, which is reused, and a serial number, which repeats only after
/// 2^32 connections. As a `u64` it is an event's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    slot: u32,
    serial: u32,
}

impl ConnId {
    pub(crate) const fn new(slot: u32, serial: u32) -> Self {
        Self { slot, serial }
    }

    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }

    pub(crate) const fn serial(self) -> u32 {
        self.serial
    }
}

impl From<ConnId> for u64 {
    fn from(id: ConnId) -> Self {
        Self::from(id.serial) << 32 | Self::from(id.slot)
    }
}

impl From<u64> for ConnId {
    fn from(bits: u64) -> Self {
        // The lower and the upper half, as packed above.
        Self { slot: bits as u32, serial: (bits >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connections_name_survives_packing() {
        let id = ConnId::new(u32::MAX - 1, 7);
        assert_eq!(ConnId::from(u64::from(id)), id);
    }
}
