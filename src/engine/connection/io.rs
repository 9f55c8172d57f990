//! The calls on a connection's socket, and what their results mean.
//!
//! Each call uses up a bit of `edge`: `WouldBlock`, and a short read or write, clear it, and only an event sets it
//! again. `Interrupted` (EINTR) leaves the bit, so that the call is repeated. Any other error ends this connection and
//! nothing else.

use std::io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};

use super::super::buffer::Pool;
use super::super::net::Net;
use super::Connection;
use super::state::{Receiving, Sending};
use crate::error::CloseReason;
use crate::service::{ConnId, Turn};

impl<T> Connection<T> {
    /// Reads into `scratch`, if the connection wants to read, and returns the number of bytes. Where input was kept
    /// before, the bytes are appended to it.
    #[inline(always)]
    pub(in crate::engine) fn fill<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        scratch: &mut [u8],
        turn: &mut Turn,
    ) -> Result<usize, CloseReason> {
        if !self.wants_read() {
            return Ok(0);
        }
        if self.receiving == Receiving::Draining {
            return self.fill_rest(net, pool, scratch, turn);
        }
        self.fill_from(net, pool, scratch, turn)
    }

    /// Reads as much as `scratch` holds.
    #[inline(always)]
    pub(super) fn fill_from<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        scratch: &mut [u8],
        turn: &mut Turn,
    ) -> Result<usize, CloseReason> {
        let count = self.read(net, scratch, turn)?;
        if self.rx.is_some() {
            pool.append(&mut self.rx, &scratch[..count]);
        }
        Ok(count)
    }

    /// Reduces the allowance.
    pub(super) fn use_up(&mut self, count: usize) {
        self.allowance = self.allowance.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// The number of bytes that wait in the kernel; `None` if the end of the stream waits there.
    pub(in crate::engine) fn arrived<N: Net<Stream = T>>(&mut self, net: &mut N) -> Option<usize> {
        match net.arrived(&mut self.stream) {
            Ok(0) => None,
            Ok(count) => Some(count),
            // Nothing waits, or an error, which the next call on the socket finds.
            Err(_) => Some(0),
        }
    }

    /// Reads once and discards that. Returns whether lingering is over: the peer's stream has ended or broken, or the
    /// bytes to discard are used up.
    pub(in crate::engine) fn discard<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        scratch: &mut [u8],
        turn: &mut Turn,
    ) -> bool {
        let active = self.active_at;
        let Ok(count) = self.read(net, scratch, turn) else { return true };
        // Discarded bytes do not prolong the linger limit.
        self.active_at = active;
        self.use_up(count);
        self.allowance == 0 || self.receiving == Receiving::Ended
    }

    #[inline(always)]
    fn read<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        scratch: &mut [u8],
        turn: &mut Turn,
    ) -> Result<usize, CloseReason> {
        match net.recv(&mut self.stream, scratch) {
            Ok(0) => {
                self.receiving = Receiving::Ended;
                Ok(0)
            }
            Ok(count) => {
                // A short read has emptied the stream, which saves the call that would return WouldBlock. Not where a
                // FIN, an error or an urgent mark may stand right behind the data: they share its edge, there is no
                // second one, and the connection would leak.
                self.edge.readable = count == scratch.len() || !self.edge.short_read_drains;
                self.active_at = turn.now;
                turn.stats.bytes_in += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == WouldBlock => {
                self.edge.readable = false;
                Ok(0)
            }
            Err(error) if error.kind() == Interrupted => Ok(0),
            Err(_) => Err(CloseReason::Reset),
        }
    }

    /// Sends unsent output, as much as the kernel takes.
    pub(in crate::engine) fn flush<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        self.write(net, pool, turn, &[])
    }

    /// Sends unsent output, then `bytes`, as much as the kernel takes. Keeps the rest.
    #[inline(always)]
    pub(in crate::engine) fn write<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        turn: &mut Turn,
        bytes: &[u8],
    ) -> Result<(), CloseReason> {
        if self.has_unsent() {
            return self.write_behind(net, pool, turn, bytes);
        }
        if !bytes.is_empty() {
            let sent = self.send(net, bytes, turn)?;
            if sent < bytes.len() {
                self.keep_unsent(pool, turn, &bytes[sent..]);
            }
        }
        Ok(())
    }

    /// Sends `bytes` behind output that waits.
    fn write_behind<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        turn: &mut Turn,
        bytes: &[u8],
    ) -> Result<(), CloseReason> {
        pool.append(&mut self.tx, bytes);
        let mut tx = self.tx.take();
        let sent = tx.as_ref().map_or(Ok(0), |tx| self.send(net, tx.bytes(), turn));
        if let (Some(tx), Ok(1..)) = (&mut tx, &sent) {
            tx.note_progress(turn.now);
        }
        pool.consume(&mut tx, *sent.as_ref().unwrap_or(&0));
        self.tx = tx;
        sent?;
        self.update_congestion(turn);
        Ok(())
    }

    /// Keeps output that the kernel did not take.
    #[cold]
    fn keep_unsent(&mut self, pool: &mut Pool, turn: &mut Turn, bytes: &[u8]) {
        pool.append(&mut self.tx, bytes);
        if let Some(tx) = &mut self.tx {
            tx.note_progress(turn.now);
        }
        self.update_congestion(turn);
    }

    #[inline(always)]
    fn send<N: Net<Stream = T>>(&mut self, net: &mut N, bytes: &[u8], turn: &mut Turn) -> Result<usize, CloseReason> {
        while self.edge.writable {
            match net.send(&mut self.stream, bytes) {
                Ok(count) => {
                    // A short write has filled the kernel's buffer; an event tells when there is room again.
                    self.edge.writable = count == bytes.len();
                    self.active_at = turn.now;
                    turn.stats.bytes_out += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == WouldBlock => self.edge.writable = false,
                Err(error) if error.kind() == Interrupted => {}
                Err(error) if error.kind() == BrokenPipe => return Err(CloseReason::Peer),
                Err(_) => return Err(CloseReason::Reset),
            }
        }
        Ok(0)
    }

    /// Whether a close(2) now loses nothing: the peer's kernel has acknowledged all output, and no input waits unread.
    pub(in crate::engine) fn closes_cleanly<N: Net<Stream = T>>(&mut self, net: &mut N) -> bool {
        net.is_acknowledged(&mut self.stream) && self.arrived(net).unwrap_or(0) == 0
    }

    /// Sends our FIN behind what has been sent.
    pub(in crate::engine) fn shut_down<N: Net<Stream = T>>(&mut self, net: &mut N) -> std::io::Result<()> {
        net.shutdown_write(&mut self.stream)?;
        self.sending = Sending::Ended;
        Ok(())
    }

    /// Has the socket's events reported under `id` from now on.
    pub(in crate::engine) fn register<N: Net<Stream = T>>(&mut self, net: &mut N, id: ConnId) -> std::io::Result<()> {
        net.register_stream(&mut self.stream, id)
    }

    /// Tells the seam whether output waits for the socket to become writable.
    pub(in crate::engine) fn arm<N: Net<Stream = T>>(&mut self, net: &mut N, id: ConnId) -> std::io::Result<()> {
        let output_waits = self.has_unsent();
        net.arm_stream(&mut self.stream, id, output_waits)
    }

    /// Whether the socket is connected by now. Fails when it never will be.
    pub(in crate::engine) fn is_established<N: Net<Stream = T>>(&mut self, net: &mut N) -> std::io::Result<bool> {
        net.established(&mut self.stream)
    }
}
