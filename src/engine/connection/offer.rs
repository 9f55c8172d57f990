//! Input on its way to the service, and back.
//!
//! A step takes the input out of its connection, offers it to the service, and keeps what the service left. Fresh input
//! is offered where the read put it, in the engine's scratch buffer; only what is left of it is copied.

use std::mem;

use super::super::buffer::{Lent, Pool};
use super::Connection;
use super::state::{Receiving, Seen};
use crate::service::{Consumed, Decision, Extent, Input};

impl<T> Connection<T> {
    /// Takes out what earlier steps left, for [`input`](Self::input). [`keep`](Self::keep) brings back what the service
    /// leaves of it.
    #[inline(always)]
    pub(in crate::engine) fn take_kept(&mut self) -> Lent {
        self.rx.take()
    }

    /// The input that the service sees: what was kept, or else the `fresh` bytes where they lie.
    #[inline(always)]
    pub(in crate::engine) fn input<'a>(
        &self,
        kept: &'a mut Lent,
        fresh: &'a mut [u8],
        max_message: usize,
    ) -> Input<'a> {
        let has_ended = self.receiving == Receiving::Ended;
        let (is_last, bytes, scanned) = match kept {
            Some(kept) => {
                let is_last = has_ended && kept.offers_all();
                let (bytes, scanned) = kept.offer();
                (is_last, bytes, scanned)
            }
            None => (has_ended, fresh, 0),
        };
        let extent = if is_last { Extent::Last } else { Extent::Partial };
        Input::stream(bytes, scanned, self.decision, extent, max_message)
    }

    /// Keeps what the service left of its input; `fresh` are the bytes offered where nothing was kept before. Returns
    /// whether `auto` framing has just begun to wait for a line end.
    #[inline(always)]
    pub(in crate::engine) fn keep(
        &mut self,
        kept: Lent,
        consumed: Consumed,
        has_room: bool,
        fresh: &[u8],
        pool: &mut Pool,
    ) -> bool {
        let decided = mem::replace(&mut self.decision, consumed.decision);
        let is_all = match kept {
            // In the common case nothing is left.
            None if consumed.taken >= fresh.len() => return false,
            None => {
                pool.append(&mut self.rx, &fresh[consumed.taken..]);
                true
            }
            Some(kept) => {
                let is_all = kept.offers_all();
                self.rx = Some(kept);
                pool.consume(&mut self.rx, consumed.taken);
                is_all
            }
        };
        let Some(rx) = &mut self.rx else { return false };
        rx.note(consumed.scanned, consumed.put_back);
        self.seen = if !(has_room && is_all) {
            Seen::Part
        } else if self.receiving == Receiving::Ended {
            Seen::Last
        } else {
            Seen::All
        };
        decided != Decision::Waiting && consumed.decision == Decision::Waiting
    }
}
