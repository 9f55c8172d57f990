//! Buffers that connections borrow for input that a service left and for output that the kernel did not take.
//!
//! An idle connection borrows none. Emptied buffers return to a small pool and large ones are freed, so that neither
//! ten thousand slow senders nor one burst holds memory for ever. All borrowed buffers together are bounded
//! ([`Limits::max_buffered`](crate::Limits::max_buffered)). `connection` is the only borrower.

use std::fmt;

use super::store::{MAX_SMALL, Store};
use crate::moment::Moment;

/// Spare buffers kept at most.
const MAX_SPARES: usize = 64;

/// Of these so many may be large. One that is larger still is freed.
const MAX_LARGE_SPARES: usize = 8;
const MAX_SPARE_SIZE: usize = 128 << 10;

/// Bytes in order: appended at the end, taken from the front.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Store,
    /// The bytes held are `bytes[start..]`; those before were taken.
    start: usize,
    /// The first `scanned` of the bytes held hold no LF.
    scanned: usize,
    /// The first `put_back` of the bytes held are one message, to be offered alone; 0 for none.
    put_back: usize,
    /// Of output: when the kernel last took some, or it began to wait.
    progress_at: Moment,
}

impl Buffer {
    pub(super) fn progress_at(&self) -> Moment {
        self.progress_at
    }

    pub(super) fn note_progress(&mut self, now: Moment) {
        self.progress_at = now;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Notes what the service found in the bytes held: `scanned` and `put_back`, as the fields are.
    pub(super) fn note(&mut self, scanned: usize, put_back: usize) {
        self.scanned = scanned;
        self.put_back = put_back;
    }

    /// Whether an offer has all bytes held, not just a message put back with more behind it.
    pub(super) fn offers_all(&self) -> bool {
        self.put_back == 0 || self.put_back == self.bytes().len()
    }

    /// The bytes to offer to the service: the message that it put back, or else all. And how many of them, from the
    /// front, hold no LF.
    pub(super) fn offer(&mut self) -> (&mut [u8], usize) {
        let rest = &mut self.bytes.as_mut_slice()[self.start..];
        let length = if self.put_back == 0 { rest.len() } else { self.put_back };
        (&mut rest[..length], self.scanned)
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes of {})", self.bytes().len(), self.bytes.capacity())
    }
}

/// A buffer lent to a connection, or `None` while it needs none. A lent buffer is never empty.
pub(super) type Lent = Option<Box<Buffer>>;

/// The capacity of a lent buffer, in bytes; 0 without one.
pub(super) fn capacity(lent: &Lent) -> usize {
    lent.as_ref().map_or(0, |buffer| buffer.bytes.capacity())
}

/// The number of bytes in a lent buffer; 0 without one.
#[inline(always)]
pub(super) fn length(lent: &Lent) -> usize {
    lent.as_ref().map_or(0, |buffer| buffer.bytes().len())
}

/// Lends buffers, and counts the memory that is lent.
#[derive(Debug)]
pub(super) struct Pool {
    /// Boxed as they are lent: lending a spare one allocates nothing.
    #[allow(clippy::vec_box)]
    spares: Vec<Box<Buffer>>,
    /// Those with a mapping of their own.
    #[allow(clippy::vec_box)]
    large_spares: Vec<Box<Buffer>>,
    /// Capacity of all lent buffers together, in bytes.
    lent: usize,
    /// The most that `lent` may be.
    limit: usize,
}

impl Pool {
    pub(super) fn new(limit: usize) -> Self {
        Self { spares: Vec::new(), large_spares: Vec::new(), lent: 0, limit }
    }

    /// Appends to `lent`, lending a buffer where there is none. Inlined for the common case, in which `bytes` is empty.
    /// The pool's limit is not checked here: `Engine::relieve` enforces it after a step.
    #[inline]
    pub(super) fn append(&mut self, lent: &mut Lent, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.extend(lent, bytes);
        }
    }

    fn extend(&mut self, lent: &mut Lent, bytes: &[u8]) {
        let buffer = lent.get_or_insert_with(|| {
            let spares = if bytes.len() > MAX_SMALL { &mut self.large_spares } else { &mut self.spares };
            let buffer = spares.pop().unwrap_or_default();
            self.lent += buffer.bytes.capacity();
            buffer
        });
        let before = buffer.bytes.capacity();
        if buffer.start > buffer.bytes.len() / 2 {
            buffer.bytes.drop_front(buffer.start);
            buffer.start = 0;
        }
        buffer.bytes.extend(bytes);
        self.lent += buffer.bytes.capacity() - before;
    }

    /// Takes `count` bytes off the front, and the buffer back if that empties it.
    pub(super) fn consume(&mut self, lent: &mut Lent, count: usize) {
        let Some(buffer) = lent else { return };
        buffer.start += count;
        buffer.scanned = buffer.scanned.saturating_sub(count);
        if buffer.start == buffer.bytes.len() {
            self.take_back(lent);
        }
    }

    /// Takes a buffer back and discards its bytes.
    pub(super) fn take_back(&mut self, lent: &mut Lent) {
        let Some(mut buffer) = lent.take() else { return };
        self.lent -= buffer.bytes.capacity();
        let size = buffer.bytes.capacity();
        let (spares, most) =
            if size <= MAX_SMALL { (&mut self.spares, MAX_SPARES) } else { (&mut self.large_spares, MAX_LARGE_SPARES) };
        if size <= MAX_SPARE_SIZE && spares.len() < most {
            buffer.bytes.clear();
            buffer.start = 0;
            buffer.scanned = 0;
            buffer.put_back = 0;
            spares.push(buffer);
        }
    }

    /// Capacity of all lent buffers together, in bytes.
    pub(super) fn lent(&self) -> usize {
        self.lent
    }

    /// Whether all lent buffers together have more capacity than the limit.
    pub(super) fn is_over_limit(&self) -> bool {
        self.lent > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_owns_just_its_size_and_gives_it_back() {
        let (mut pool, mut lent) = (Pool::new(1 << 20), None);
        pool.append(&mut lent, b"rest");
        assert_eq!(pool.lent(), 4);
        pool.consume(&mut lent, 4);
        assert!(lent.is_none());
        assert_eq!(pool.lent(), 0);
    }

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let (mut pool, mut lent) = (Pool::new(1 << 20), None);
        let (mut sent, mut taken) = (0u8, 0u8);
        for round in 0..200 {
            let chunk: Vec<u8> = (0..round % 7 + 3)
                .map(|_| {
                    sent = sent.wrapping_add(1);
                    sent
                })
                .collect();
            pool.append(&mut lent, &chunk);
            let count = length(&lent).min(round % 11);
            for byte in &lent.as_ref().unwrap().bytes()[..count] {
                taken = taken.wrapping_add(1);
                assert_eq!(*byte, taken);
            }
            pool.consume(&mut lent, count);
        }
    }

    #[test]
    fn large_buffers_are_freed_and_small_ones_kept_up_to_a_bound() {
        let mut pool = Pool::new(1 << 30);
        let mut many: Vec<Lent> = (0..200).map(|_| None).collect();
        for (i, lent) in many.iter_mut().enumerate() {
            pool.append(lent, &vec![0; if i % 2 == 0 { 10 } else { 100_000 }]);
        }
        for lent in &mut many {
            pool.take_back(lent);
        }
        assert_eq!(pool.spares.len(), MAX_SPARES);
        assert!(pool.spares.iter().all(|spare| spare.bytes.capacity() <= MAX_SPARE_SIZE));
        assert_eq!(pool.lent(), 0);
    }

    #[test]
    fn the_bound_on_all_together_is_told() {
        let mut pool = Pool::new(1000);
        let (mut first, mut second) = (None, None);
        pool.append(&mut first, &[0; 800]);
        assert!(!pool.is_over_limit());
        pool.append(&mut second, &[0; 300]);
        assert!(pool.is_over_limit());
        pool.take_back(&mut first);
        assert!(!pool.is_over_limit());
    }
}
