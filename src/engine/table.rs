//! The table of connections. Slots are reused, serial numbers are not.
//!
//! An id has both, so that everything that is addressed to a connection which has closed meanwhile finds nothing here:
//! later events of the same batch, timers, sends. No other code needs to check.

use slab::Slab;

use super::connection::Connection;
use crate::service::ConnId;

/// Slots that an empty table keeps.
const MAX_SPARE_SLOTS: usize = 1024;

#[derive(Debug)]
pub(super) struct Table<T> {
    slab: Slab<Connection<T>>,
    /// The serial number given last. 0 is never given: in a token it marks sources other than connections.
    serial: u32,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self { slab: Slab::new(), serial: 0 }
    }

    /// Inserts a connection, sets its id and returns that.
    pub(super) fn insert(&mut self, mut connection: Connection<T>) -> ConnId {
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        let entry = self.slab.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("descriptors are fewer than 2^32");
        let id = ConnId::new(slot, self.serial);
        connection.set_id(id);
        entry.insert(connection);
        id
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection<T>> {
        self.slab.get_mut(id.slot()).filter(|connection| connection.id() == id)
    }

    pub(super) fn contains(&self, id: ConnId) -> bool {
        self.slab.get(id.slot()).is_some_and(|connection| connection.id() == id)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Connection<T>> {
        let removed = self.contains(id).then(|| self.slab.remove(id.slot()));
        if self.slab.is_empty() && self.slab.capacity() > MAX_SPARE_SLOTS {
            // A burst is over: its memory goes back.
            self.slab = Slab::new();
        }
        removed
    }

    /// The connection in this slot, if there is one.
    pub(super) fn in_slot(&self, slot: usize) -> Option<(ConnId, &Connection<T>)> {
        self.slab.get(slot).map(|connection| (connection.id(), connection))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection<T>> {
        self.slab.iter().map(|(_, connection)| connection)
    }

    pub(super) fn ids(&self) -> Vec<ConnId> {
        self.slab.iter().map(|(_, connection)| connection.id()).collect()
    }

    /// The id of the connection with the largest `key`.
    pub(super) fn max_by_key(&self, key: impl Fn(&Connection<T>) -> usize) -> Option<ConnId> {
        self.slab.iter().map(|(_, connection)| connection).max_by_key(|connection| key(connection)).map(Connection::id)
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The number of slots, free ones included.
    pub(super) fn slots(&self) -> usize {
        self.slab.capacity()
    }
}
