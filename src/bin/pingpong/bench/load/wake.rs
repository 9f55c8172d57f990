//! The numbers that the engine keeps for the load: what a timer is for, and which connection an event is about.
//!
//! To the engine both are 64 bits of no meaning. They are packed and unpacked here only:
//!
//! ```text
//!           63      62 … 32          31 … 0
//! tag       0       visit's number   connection      one that asks
//!           1       0                idle connection
//! timer     0       0                0 … 7           what the timer is for
//!           1       visit's number   connection      dial this one once more
//! ```

/// What a timer of the load is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The next request of the schedule is due.
    Send,
    /// The warm-up is over.
    Measure,
    /// The measured time is over.
    End,
    /// Overdue answers are to be looked for.
    Sweep,
    /// The next few connections are to send their first request.
    Begin,
    /// More connections may be dialled.
    Dial,
    /// The datagram scout has waited long enough.
    Scout,
    /// The next heartbeat is due.
    Heartbeat,
    /// A dial that failed for want of a port or of room in a backlog is to be tried again.
    Redial(Visit),
}

/// What a connection carries for the load, from its dial on ([`Dial::tag`](pingpong::service::Dial::tag)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// It asks.
    Asking(Visit),
    /// It is the idle one of this index.
    Idle(u32),
}

/// One dial of one of the load's connections.
///
/// Where each request has a connection of its own, a connection is dialled again and again. Its number tells whether an
/// event is about the latest dial, or about an earlier one that the load has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// The connection's index.
    pub(super) index: u32,
    /// How many dials of it came before, modulo 2^31.
    pub(super) number: u32,
}

/// Visits have 31 bits for their number: the highest bit is taken.
const NUMBERS: u32 = 1 << 31;

const SEND: u64 = 0;
const END: u64 = 1;
const SWEEP: u64 = 2;
const BEGIN: u64 = 3;
const DIAL: u64 = 4;
const SCOUT: u64 = 5;
const MEASURE: u64 = 6;
const HEARTBEAT: u64 = 7;
const REDIAL: u64 = 1 << 63;
const IDLE: u64 = 1 << 63;

impl Visit {
    /// The next dial of the same connection.
    pub(super) fn next(self) -> Self {
        Self { number: (self.number + 1) % NUMBERS, ..self }
    }

    fn pack(self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.index)
    }

    fn unpack(bits: u64) -> Self {
        Self { index: bits as u32, number: (bits >> 32) as u32 }
    }
}

impl From<Wake> for u64 {
    fn from(wake: Wake) -> Self {
        match wake {
            Wake::Send => SEND,
            Wake::Measure => MEASURE,
            Wake::End => END,
            Wake::Sweep => SWEEP,
            Wake::Begin => BEGIN,
            Wake::Dial => DIAL,
            Wake::Scout => SCOUT,
            Wake::Heartbeat => HEARTBEAT,
            Wake::Redial(visit) => REDIAL | visit.pack(),
        }
    }
}

impl From<u64> for Wake {
    fn from(key: u64) -> Self {
        match key {
            SEND => Self::Send,
            MEASURE => Self::Measure,
            END => Self::End,
            SWEEP => Self::Sweep,
            BEGIN => Self::Begin,
            DIAL => Self::Dial,
            SCOUT => Self::Scout,
            HEARTBEAT => Self::Heartbeat,
            redial => Self::Redial(Visit::unpack(redial & !REDIAL)),
        }
    }
}

impl From<Tag> for u64 {
    fn from(tag: Tag) -> Self {
        match tag {
            Tag::Asking(visit) => visit.pack(),
            Tag::Idle(index) => IDLE | Self::from(index),
        }
    }
}

impl From<u64> for Tag {
    fn from(bits: u64) -> Self {
        if bits & IDLE == 0 { Self::Asking(Visit::unpack(bits)) } else { Self::Idle(bits as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last of what there can be.
    const VISITS: [Visit; 3] = [
        Visit { index: 0, number: 0 },
        Visit { index: u32::MAX, number: 0 },
        Visit { index: u32::MAX, number: NUMBERS - 1 },
    ];

    #[test]
    fn timers_and_tags_survive_packing() {
        let redials = VISITS.map(Wake::Redial);
        let others =
            [Wake::Send, Wake::Measure, Wake::End, Wake::Sweep, Wake::Begin, Wake::Dial, Wake::Scout, Wake::Heartbeat];
        for wake in others.into_iter().chain(redials) {
            assert_eq!(Wake::from(u64::from(wake)), wake);
        }
        for tag in VISITS.map(Tag::Asking).into_iter().chain([Tag::Idle(0), Tag::Idle(u32::MAX)]) {
            assert_eq!(Tag::from(u64::from(tag)), tag);
        }
    }

    #[test]
    fn the_number_of_visits_begins_anew_before_it_needs_the_highest_bit() {
        assert_eq!(VISITS[0].next(), Visit { index: 0, number: 1 });
        assert_eq!(VISITS[2].next(), Visit { index: u32::MAX, number: 0 });
    }
}
