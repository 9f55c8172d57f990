//! What services ask for beyond an answer, as data: noted by the outbox, carried out by the engine.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;

use super::{ConnId, Peer, ServiceId};
use crate::endpoint::Address;
use crate::moment::Moment;

/// A far side to dial, for [`Outbox::connect`](super::Outbox::connect) and [`Outbox::ask`](super::Outbox::ask).
///
/// A plain `&Address` converts into one with no local address and tag 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The far side.
    pub to: Address,
    /// The local address to connect from; `None` leaves it to the kernel. The kernel picks the port when it connects
    /// (IP_BIND_ADDRESS_NO_PORT, ip(7)), so that connections to several far sides can share one.
    pub from: Option<IpAddr>,
    /// What [`Outbox::tag`](super::Outbox::tag) returns for it at first.
    pub tag: u64,
}

impl From<&Address> for Dial {
    fn from(to: &Address) -> Self {
        Self { to: to.clone(), from: None, tag: 0 }
    }
}

/// One request of a service. The methods of `Outbox` make them, and describe what they do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Pause(ConnId),
    Resume(ConnId),
    Close(ConnId),
    /// Closes the asking datagram socket with this number.
    CloseAsking(u32),
    /// The range is that of the bytes in [`Effects::bytes`].
    Send(Peer, Range<usize>),
    EndSending(ConnId),
    Connect(Dial),
    Ask(Dial),
    Retire,
    Drain,
    Stop,
    /// A timer: of the service's own, or owned by a connection and ending with it.
    After {
        owner: Option<ConnId>,
        at: Moment,
        key: u64,
    },
    /// Cancels the timers with this key and this owner.
    Cancel {
        owner: Option<ConnId>,
        key: u64,
    },
}

/// Effects in the order in which they were noted, with the bytes of all of them in one arena.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) list: VecDeque<(ServiceId, Effect)>,
    pub(crate) bytes: Vec<u8>,
}
