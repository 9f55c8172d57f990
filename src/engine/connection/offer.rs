//! Input on its way to the service, and back.
//!
//! A step takes the input out of its connection, offers it to the service, and keeps what the service left. Fresh input
//! is offered where the read put it, in the engine's scratch buffer; only what is left of it is copied.

use super::super::buffer::{Lent, Pool};
use super::Connection;
use super::state::{Receiving, Seen};
use crate::service::{Consumed, Decision, Extent, Input};

/// Input that is being offered to the service. [`Connection::keep`] takes it back.
pub(in crate::engine) struct Offer {
    /// What earlier steps left; `None` if the input is fresh from the scratch buffer.
    kept: Lent,
    /// No input stands behind what is offered.
    is_all: bool,
    /// The stream ends behind what is offered.
    is_last: bool,
    decision: Decision,
}

impl Offer {
    /// The input that the service sees: what was kept, or else the `fresh` bytes where they lie.
    #[inline(always)]
    pub(in crate::engine) fn input<'a>(&'a mut self, fresh: &'a mut [u8], max_message: usize) -> Input<'a> {
        let extent = if self.is_last { Extent::Last } else { Extent::Partial };
        let (bytes, scanned) = match &mut self.kept {
            Some(kept) => kept.offer(),
            None => (fresh, 0),
        };
        Input::stream(bytes, scanned, self.decision, extent, max_message)
    }
}

impl<T> Connection<T> {
    /// Takes the input out, for the service. [`keep`](Self::keep) brings back what the service leaves of it.
    #[inline(always)]
    pub(in crate::engine) fn offer(&mut self) -> Offer {
        let kept = self.rx.take();
        let is_all = kept.as_ref().is_none_or(|kept| kept.offers_all());
        Offer { is_last: is_all && self.receiving == Receiving::Ended, kept, is_all, decision: self.decision }
    }

    /// Keeps what the service left of an offer; `fresh` are the bytes offered where nothing was kept before. Returns
    /// whether `auto` framing has just begun to wait for a line end.
    #[inline(always)]
    pub(in crate::engine) fn keep(
        &mut self,
        offer: Offer,
        consumed: Consumed,
        has_room: bool,
        fresh: &[u8],
        pool: &mut Pool,
    ) -> bool {
        let Offer { kept, is_all, is_last, decision } = offer;
        self.decision = consumed.decision;
        match kept {
            Some(kept) => {
                self.rx = Some(kept);
                pool.consume(&mut self.rx, consumed.taken);
            }
            // In the common case nothing is left.
            None if consumed.taken >= fresh.len() => return false,
            None => pool.append(&mut self.rx, &fresh[consumed.taken..]),
        }
        let Some(rx) = &mut self.rx else { return false };
        rx.note(consumed.scanned, consumed.put_back);
        self.seen = if !(has_room && is_all) {
            Seen::Part
        } else if is_last {
            Seen::Last
        } else {
            Seen::All
        };
        decision != Decision::Waiting && consumed.decision == Decision::Waiting
    }
}
