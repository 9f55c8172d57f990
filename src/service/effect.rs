//! What services want done beyond answering the peer at hand, noted for the engine to carry out.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;

use super::{ConnId, Peer, ServiceId};
use crate::endpoint::Address;
use crate::moment::Moment;

/// A far side to dial, and the number that the connection to it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The far side.
    pub to: Address,
    /// The local address to come from, where it matters; its port is the kernel's choice, made when it connects
    /// (IP_BIND_ADDRESS_NO_PORT, ip(7)), so that one port serves connections to many far sides.
    pub from: Option<IpAddr>,
    /// The number that this connection carries for its service from the start:
    /// [`Outbox::tag`](super::Outbox::tag).
    pub tag: u64,
}

impl From<&Address> for Dial {
    fn from(to: &Address) -> Self {
        Self { to: to.clone(), from: None, tag: 0 }
    }
}

/// One thing that a service wants done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Pause(ConnId),
    Resume(ConnId),
    Close(ConnId),
    /// The bytes lie in the arena of [`Effects`].
    Send(Peer, Range<usize>),
    EndSending(ConnId),
    Connect(Dial),
    Ask(Dial),
    Retire,
    Drain,
    Stop,
    After {
        owner: Option<ConnId>,
        at: Moment,
        key: u64,
    },
}

/// Effects in the order in which they were noted, the bytes of all in one arena.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) list: VecDeque<(ServiceId, Effect)>,
    pub(crate) bytes: Vec<u8>,
}
