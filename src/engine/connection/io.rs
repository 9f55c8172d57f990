//! The calls on a connection's socket, and what their results mean.

use std::io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};

use super::super::buffer::Pool;
use super::super::net::Net;
use super::Connection;
use super::state::{Receiving, Sending};
use crate::error::CloseReason;
use crate::service::{ConnId, Turn};

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
        if self.receiving == Receiving::Draining {
            return self.fill_rest(net, pool, scratch, turn);
        }
        let count = self.read(net, scratch, turn)?;
        if self.rx.is_some() {
            pool.append(&mut self.rx, &scratch[..count]);
        }
        Ok(count)
    }

    /// The same while the server drains: reads no more than had arrived when that began.
    #[cold]
    fn fill_rest<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        pool: &mut Pool,
        scratch: &mut [u8],
        turn: &mut Turn,
    ) -> Result<usize, CloseReason> {
        let most = scratch.len().min(self.allowance as usize);
        let count = self.read(net, &mut scratch[..most], turn)?;
        if self.rx.is_some() {
            pool.append(&mut self.rx, &scratch[..count]);
        }
        self.use_up(count);
        if self.allowance == 0 || !self.edge.readable {
            // The end of the stream may stand right behind.
            self.receiving = Receiving::Open;
            let arrived = self.arrived(net).and(Some(0));
            self.drain(arrived);
        }
        Ok(count)
    }

    fn use_up(&mut self, count: usize) {
        self.allowance = self.allowance.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Bytes that wait in the kernel; `None` where the stream has ended.
    pub(in crate::engine) fn arrived<N: Net<Stream = T>>(&mut self, net: &mut N) -> Option<usize> {
        match net.arrived(&mut self.stream) {
            Ok(0) => None,
            Ok(count) => Some(count),
            // Nothing, or an error that the next call on it finds.
            Err(_) => Some(0),
        }
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
        self.use_up(count);
        self.allowance == 0 || self.receiving == Receiving::Ended
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
            pool.append(&mut self.tx, bytes);
            let mut tx = self.tx.take();
            let sent = tx.as_ref().map_or(Ok(0), |tx| self.send(net, tx.bytes(), turn));
            pool.consume(&mut tx, *sent.as_ref().unwrap_or(&0));
            self.tx = tx;
            sent?;
            self.weigh_output(turn);
        } else if !bytes.is_empty() {
            let sent = self.send(net, bytes, turn)?;
            if sent < bytes.len() {
                self.progress_at = turn.now;
                pool.append(&mut self.tx, &bytes[sent..]);
                self.weigh_output(turn);
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
