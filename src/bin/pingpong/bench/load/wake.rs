//! The numbers that the engine keeps for the load: what a timer is for, and which connection an event is about.
//!
//! To the engine both are 64 bits of no meaning. They are packed and unpacked here only:
//!
//! ```text
//!           63      62 … 32          31 … 0
//! tag       0       visit's number   connection      one that asks
//!           1       0                idle connection
//! timer     0       phase            0 … 11          what the timer is for
//!           1       visit's number   connection      dial this one once more
//! ```
//!
//! A timer of a phase that is over says nothing to the next one: it is told by its phase.

/// What a timer of the load is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Something is due in the phase of this number, modulo 2^31.
    Phase(u32, Due),
    /// Overdue answers are to be looked for.
    Sweep,
    /// More connections may be dialled.
    Dial,
    /// The datagram scout has waited long enough.
    Scout,
    /// All connections are made.
    Made,
    /// The moment to begin at has come.
    Start,
    /// A dial that failed for want of a port or of room in a backlog is to be tried again.
    Redial(Visit),
}

/// What is due in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The next request of the schedule.
    Send,
    /// The next few connections are to send their first request.
    Begin,
    /// The warm-up is over.
    Measure,
    /// The measured time is over.
    End,
    /// The next heartbeat.
    Heartbeat,
    /// The next message of the probe.
    Probe,
    /// The rest of the answers to the probe are to be read.
    ProbeReady,
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
const PROBE: u64 = 8;
const PROBE_READY: u64 = 9;
const START: u64 = 10;
const MADE: u64 = 11;
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
            Wake::Phase(phase, due) => {
                let due = match due {
                    Due::Send => SEND,
                    Due::Begin => BEGIN,
                    Due::Measure => MEASURE,
                    Due::End => END,
                    Due::Heartbeat => HEARTBEAT,
                    Due::Probe => PROBE,
                    Due::ProbeReady => PROBE_READY,
                };
                Self::from(phase % NUMBERS) << 32 | due
            }
            Wake::Sweep => SWEEP,
            Wake::Dial => DIAL,
            Wake::Scout => SCOUT,
            Wake::Made => MADE,
            Wake::Start => START,
            Wake::Redial(visit) => REDIAL | visit.pack(),
        }
    }
}

impl From<u64> for Wake {
    fn from(key: u64) -> Self {
        if key & REDIAL != 0 {
            return Self::Redial(Visit::unpack(key & !REDIAL));
        }
        let of_phase = |due| Self::Phase((key >> 32) as u32, due);
        match u64::from(key as u32) {
            SEND => of_phase(Due::Send),
            BEGIN => of_phase(Due::Begin),
            MEASURE => of_phase(Due::Measure),
            END => of_phase(Due::End),
            HEARTBEAT => of_phase(Due::Heartbeat),
            PROBE => of_phase(Due::Probe),
            PROBE_READY => of_phase(Due::ProbeReady),
            DIAL => Self::Dial,
            SCOUT => Self::Scout,
            MADE => Self::Made,
            START => Self::Start,
            _ => Self::Sweep,
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
        let of_phases = [Due::Send, Due::Begin, Due::Measure, Due::End, Due::Heartbeat, Due::Probe, Due::ProbeReady]
            .into_iter()
            .flat_map(|due| [0, 1, NUMBERS - 1].map(|phase| Wake::Phase(phase, due)));
        for wake in
            [Wake::Sweep, Wake::Dial, Wake::Scout, Wake::Made, Wake::Start].into_iter().chain(redials).chain(of_phases)
        {
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
