//! What a connection still reads once the server or its service drains: what had arrived by then.
//!
//! `Engine::drain_connection` begins it, `fill` in `io` reads on.

use super::super::buffer::Pool;
use super::super::net::Net;
use super::Connection;
use super::state::{Receiving, Seen};
use crate::error::CloseReason;
use crate::service::Turn;

/// With this many bytes in the kernel, the receive window may have been full when the drain began, and what the peer had
/// sent before may be on its way still: a window opens with 64 KiB.
const WINDOW: usize = 64 << 10;

/// Bytes that a connection whose window may have been full reads at most in a drain.
const DRAIN_BYTES: usize = 8 << 20;

impl<T> Connection<T> {
    /// Begins to drain: of the input, only the `arrived` bytes that wait in the kernel are still read, and where the
    /// receive window may have been full, what follows without a gap. `None` means that the end of the stream waits there.
    pub(in crate::engine) fn drain(&mut self, arrived: Option<usize>) {
        if self.receiving != Receiving::Open {
            return;
        }
        match arrived {
            None => self.receiving = Receiving::Ended,
            Some(0) => self.stop_receiving(),
            Some(arrived) => {
                self.receiving = Receiving::Draining;
                let most = if arrived < WINDOW { arrived } else { arrived.max(DRAIN_BYTES) };
                self.allowance = u32::try_from(most).unwrap_or(u32::MAX);
                self.edge.assume_readable();
            }
        }
    }

    /// Ends the reading. Input that the service left because more was to come is offered once more: no more will come.
    fn stop_receiving(&mut self) {
        self.receiving = Receiving::Stopped;
        self.decide_raw();
        self.seen = Seen::Part;
    }

    /// Reads as `fill` does, but only what [`drain`](Self::drain) has allowed.
    #[cold]
    pub(super) fn fill_rest<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        scratch: &mut [u8],
        turn: &mut Turn,
    ) -> Result<usize, CloseReason> {
        let most = scratch.len().min(self.allowance as usize);
        let count = self.fill_from(net, pool, &mut scratch[..most], turn)?;
        self.use_up(count);
        if self.allowance == 0 || !self.edge.readable {
            self.continue_drain(net);
        }
        Ok(count)
    }

    /// Looks at what stands behind the input read so far: the end of the stream, more of what may be read, or nothing.
    fn continue_drain<N: Net<Stream = T>>(&mut self, net: &mut N) {
        match self.arrived(net) {
            None => self.receiving = Receiving::Ended,
            Some(arrived) if arrived > 0 && self.allowance > 0 => self.edge.assume_readable(),
            Some(_) => self.stop_receiving(),
        }
    }
}
