//! The bytes of a buffer: small ones from the allocator, large ones in mappings of their own (mmap(2)).
//!
//! What is unmapped is back with the kernel at once. An allocator keeps what lies below anything that still lives: after
//! a burst of large partial lines all of its memory stayed with the process.

use std::ops::Deref;

use memmap2::MmapMut;

/// More bytes than this have a mapping of their own.
pub(super) const MAX_SMALL: usize = 16 << 10;

/// A mapping has a multiple of this many bytes.
const PAGE: usize = 4096;

/// Bytes that can be appended to.
pub(super) enum Store {
    Small(Vec<u8>),
    Large { map: MmapMut, length: usize },
}

impl Default for Store {
    fn default() -> Self {
        Self::Small(Vec::new())
    }
}

impl Store {
    /// How many bytes it has room for.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.capacity(),
            Self::Large { map, .. } => map.len(),
        }
    }

    /// Appends. The first bytes get just the room that they need; bytes that go on growing get twice that.
    pub(super) fn extend(&mut self, more: &[u8]) {
        let needed = self.len() + more.len();
        if needed > self.capacity() {
            let room = if self.is_empty() { needed } else { needed.max(2 * self.capacity()) };
            self.grow(room);
        }
        match self {
            Self::Small(bytes) => bytes.extend_from_slice(more),
            Self::Large { map, length } => {
                map[*length..needed].copy_from_slice(more);
                *length = needed;
            }
        }
    }

    fn grow(&mut self, room: usize) {
        // Where the kernel gives no mapping, the allocator may have memory left.
        let map = (room > MAX_SMALL).then(|| MmapMut::map_anon(room.next_multiple_of(PAGE)).ok()).flatten();
        match (map, &mut *self) {
            (Some(mut map), old) => {
                let length = old.len();
                map[..length].copy_from_slice(old);
                *self = Self::Large { map, length };
            }
            (None, Self::Small(bytes)) => bytes.reserve_exact(room - bytes.len()),
            (None, Self::Large { map, length }) => {
                let mut bytes = Vec::with_capacity(room);
                bytes.extend_from_slice(&map[..*length]);
                *self = Self::Small(bytes);
            }
        }
    }

    /// Drops bytes off the front.
    pub(super) fn drop_front(&mut self, count: usize) {
        match self {
            Self::Small(bytes) => drop(bytes.drain(..count)),
            Self::Large { map, length } => {
                map.copy_within(count..*length, 0);
                *length -= count;
            }
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Small(bytes) => bytes.clear(),
            Self::Large { length, .. } => *length = 0,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large { map, length } => &mut map[..*length],
        }
    }
}

impl Deref for Store {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large { map, length } => &map[..*length],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_hold_the_same_bytes() {
        let mut store = Store::default();
        let mut model = Vec::new();
        for round in 0..400_u32 {
            let more = vec![round as u8; (round * 7 % 1000) as usize];
            store.extend(&more);
            model.extend_from_slice(&more);
            if round % 5 == 0 {
                let count = model.len() / 3;
                store.drop_front(count);
                model.drain(..count);
            }
            assert!(*store == model[..], "round {round}");
            assert!(store.capacity() >= store.len());
        }
        assert!(matches!(store, Store::Large { .. }));
        store.clear();
        assert!(store.is_empty());
    }

    #[test]
    fn first_bytes_get_just_the_room_that_they_need() {
        let mut store = Store::default();
        store.extend(b"rest");
        assert_eq!(store.capacity(), 4);
        let mut store = Store::default();
        store.extend(&[0; 60_000]);
        assert_eq!(store.capacity(), 60_000_usize.next_multiple_of(PAGE));
    }
}
