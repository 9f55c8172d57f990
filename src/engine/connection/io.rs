//! The calls on a connection's socket, and what their results mean.

use std::io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};

use super::super::buffer::Pool;
use super::super::net::Net;
use super::Connection;
use super::state::{Receiving, Sending, State};
use crate::error::CloseReason;
use crate::service::{ConnId, Turn};

/// Bytes taken in of one connection at the most: more than the kernel's buffer holds (net.ipv4.tcp_rmem), so that a
/// peer that sends on and on keeps nobody.
const MAX_TAKEN_IN: usize = 8 << 20;

impl<T> Connection<T> {
    /// Reads into `scratch`, if it is time to, and keeps that with what was kept before. How many bytes it has read.
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
        let count = self.read(net, scratch, turn)?;
        if self.rx.is_some() {
            pool.append(&mut self.rx, &scratch[..count]).map_err(|_| CloseReason::Limit)?;
        }
        Ok(count)
    }

    /// Reads until nothing is left, whatever has not been answered yet. (A short read would not do: the event that
    /// tells of a FIN or of an urgent mark may be still to come.)
    pub(in crate::engine) fn take_in<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        scratch: &mut [u8],
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        self.edge.assume_readable();
        let mut taken = 0;
        while self.edge.readable && self.receiving == Receiving::Open && taken < MAX_TAKEN_IN {
            let count = self.read(net, scratch, turn)?;
            taken += count;
            pool.append(&mut self.rx, &scratch[..count]).map_err(|_| CloseReason::Limit)?;
        }
        Ok(())
    }

    /// Reads and throws away; whether the peer has finished, is gone, or has sent more than enough.
    pub(in crate::engine) fn discard<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        scratch: &mut [u8],
        turn: &mut Turn,
    ) -> bool {
        let active = self.active_at;
        let Ok(count) = self.read(net, scratch, turn) else { return true };
        // What is thrown away prolongs nothing.
        self.active_at = active;
        let State::Lingering { left, .. } = &mut self.state else { return false };
        *left = left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        *left == 0 || self.receiving == Receiving::Ended
    }

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
                // A short read has emptied the stream: the call that would return WouldBlock can be saved.
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

    /// Sends what waits, as far as the kernel takes it.
    pub(in crate::engine) fn flush<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        self.write(net, pool, turn, &[])
    }

    /// Sends what waits and then `bytes`, as far as the kernel takes it; keeps the rest.
    pub(in crate::engine) fn write<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        turn: &mut Turn,
        bytes: &[u8],
    ) -> Result<(), CloseReason> {
        if self.has_unsent() {
            pool.append(&mut self.tx, bytes).map_err(|_| CloseReason::Limit)?;
            let mut tx = self.tx.take();
            let sent = tx.as_ref().map_or(Ok(0), |tx| self.send(net, tx.bytes(), turn));
            pool.consume(&mut tx, *sent.as_ref().unwrap_or(&0));
            self.tx = tx;
            sent?;
            self.weigh_output();
        } else if !bytes.is_empty() {
            let sent = self.send(net, bytes, turn)?;
            if sent < bytes.len() {
                self.progress_at = turn.now;
                pool.append(&mut self.tx, &bytes[sent..]).map_err(|_| CloseReason::Limit)?;
                self.weigh_output();
            }
        }
        Ok(())
    }

    fn send<N: Net<Stream = T>>(&mut self, net: &mut N, bytes: &[u8], turn: &mut Turn) -> Result<usize, CloseReason> {
        while self.edge.writable {
            match net.send(&mut self.stream, bytes) {
                Ok(count) => {
                    // A short write has filled the kernel's buffer: an event says when there is room again.
                    self.edge.writable = count == bytes.len();
                    self.active_at = turn.now;
                    self.progress_at = turn.now;
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

    /// Sends our FIN behind what has been sent.
    pub(in crate::engine) fn shut_down<N: Net<Stream = T>>(&mut self, net: &mut N) -> std::io::Result<()> {
        net.shutdown_write(&mut self.stream)?;
        self.sending = Sending::Ended;
        Ok(())
    }

    /// Has its events reported from now on.
    pub(in crate::engine) fn register<N: Net<Stream = T>>(&mut self, net: &mut N, id: ConnId) -> std::io::Result<()> {
        net.register_stream(&mut self.stream, id)
    }

    /// Says whether output waits for the socket to become writable.
    pub(in crate::engine) fn arm<N: Net<Stream = T>>(&mut self, net: &mut N, id: ConnId) -> std::io::Result<()> {
        let output_waits = self.has_unsent();
        net.arm_stream(&mut self.stream, id, output_waits)
    }

    /// Whether a dialled connection is there by now; an error when it never will be.
    pub(in crate::engine) fn is_established<N: Net<Stream = T>>(&mut self, net: &mut N) -> std::io::Result<bool> {
        net.established(&mut self.stream)
    }
}
