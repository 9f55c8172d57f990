//! What bytes mean: the [`Service`] trait and the built-in services.
//!
//! A service sees messages and answers them. It owns no socket, reads no clock and names no engine: what it wants
//! done goes into the [`Outbox`], and its driver carries that out.
//!
//! - [`Service`], [`Input`], [`Outbox`]: the trait, what has arrived, what is to be done; `effect`: the latter, noted
//! - [`Framing`], [`Terminator`]: where messages begin and end
//! - [`Ping`], [`Hello`], [`Echo`], [`Chat`]: the built-in services; `answers`: what theirs look like
//! - [`escaped`]: bytes for a terminal or a log

mod answers;
mod chat;
mod echo;
mod effect;
mod escape;
mod framing;
mod hello;
mod input;
mod outbox;
mod ping;
mod terminator;

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
pub use outbox::Outbox;
pub(crate) use outbox::{Caller, HIGH_MARK, Output, Recipient, Turn};
pub use ping::Ping;
pub use terminator::Terminator;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::error::CloseReason;

/// What the far side of a socket means to us: TCP, Unix and UDP, accepted and dialled alike.
///
/// One value serves all peers of its endpoints. The crate's first page shows one of fifteen lines; this one keeps
/// something for each connection, under the number that the connection carries for its service ([`Outbox::tag`]):
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
    /// A connection is there. What is put into `out` greets it.
    fn opened(&mut self, peer: Peer, out: &mut Outbox<'_>) {
        let _ = (peer, out);
    }

    /// Bytes arrived. Take what is complete from `input` and answer into `out`; what is left stays buffered and is
    /// offered again with the bytes that follow. Stop when [`Outbox::has_room`] says no: you are called again.
    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>);

    /// A connection ended. There is nobody left to answer, but `out` takes what concerns others.
    fn closed(&mut self, peer: Peer, why: CloseReason, out: &mut Outbox<'_>) {
        let _ = (peer, why, out);
    }

    /// What was dialled did not come about (`peer` is `None`, [`Outbox::tag`] tells which, and nothing will be
    /// [`closed`](Self::closed)), or nobody takes the datagrams of this peer.
    fn failed(&mut self, peer: Option<Peer>, error: io::Error, out: &mut Outbox<'_>) {
        let _ = (peer, error, out);
    }

    /// A line from the console or from a [`Handle`](crate::Handle), without its end.
    fn line(&mut self, text: &[u8], out: &mut Outbox<'_>) {
        let _ = (text, out);
    }

    /// There are no more lines.
    fn lines_ended(&mut self, out: &mut Outbox<'_>) {
        let _ = out;
    }

    /// A timer set with [`Outbox::after`] has run out. Unless a service does otherwise, the connection that it
    /// was set for goes on: see [`Outbox::resume`].
    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        let _ = key;
        out.resume();
    }

    /// Whether the answer to this datagram can neither set off a loop nor be larger than the question: then it is
    /// exempt from the datagram budget, and allowed to a far server's port.
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

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        (**self).expired(key, out);
    }

    fn is_harmless(&self, datagram: &[u8]) -> bool {
        (**self).is_harmless(datagram)
    }
}

/// A service that its owner keeps a hold on, to see what it has come to.
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

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        self.borrow_mut().expired(key, out);
    }

    fn is_harmless(&self, datagram: &[u8]) -> bool {
        self.borrow_mut().is_harmless(datagram)
    }
}

/// Names a service of one engine or reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceId(u16);

impl ServiceId {
    pub(crate) fn new(index: usize) -> Self {
        Self(u16::try_from(index).expect("services are added by hand, not by the thousand"))
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The far side of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A connection. It stays addressable until it is closed.
    Stream(ConnId),
    /// On the datagram socket with this number: where we asked, which stays addressable; or else the sender of the
    /// datagram at hand, who can be answered at once only.
    Datagram(u32),
}

impl From<ConnId> for Peer {
    fn from(id: ConnId) -> Self {
        Self::Stream(id)
    }
}

/// Names one connection for as long as the process runs: its slot is used again, its serial number is not
/// (not for four thousand million connections).
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
        // The two halves, as packed above.
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
