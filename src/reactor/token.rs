//! What an event is for, in the 64 bits that epoll_ctl(2) carries for each source.
//!
//! A connection's token is its [`ConnId`]: slot and serial number, so that an event for a connection that has gone
//! finds nothing, whatever sits in its slot by now. No connection has serial number 0; it marks all other sources,
//! whose numbers are not used again.

use crate::service::{ConnId, ServiceId};

// mio's token is a `usize`: with 32 bits it could not hold a serial number.
const _: () = assert!(usize::BITS == 64, "pingpong needs a 64-bit platform");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Connection(ConnId),
    Listener(u32),
    Datagram(u32),
    Signals,
    Waker,
    ConsoleInput,
    ConsoleOutput,
    Alarm,
    /// A descriptor that is watched for this service.
    Watched(ServiceId),
}

/// The kinds of sources other than connections, in the upper four bits of what would be a slot; a number in the rest.
const LISTENER: u32 = 0 << 28;
const DATAGRAM: u32 = 1 << 28;
const SIGNALS: u32 = 2 << 28;
const WAKER: u32 = 3 << 28;
const CONSOLE_INPUT: u32 = 4 << 28;
const CONSOLE_OUTPUT: u32 = 5 << 28;
const ALARM: u32 = 6 << 28;
const WATCHED: u32 = 7 << 28;
const NUMBER: u32 = (1 << 28) - 1;

impl From<Token> for mio::Token {
    fn from(token: Token) -> Self {
        let other = |bits: u32| ConnId::new(bits, 0);
        let id = match token {
            Token::Connection(id) => id,
            Token::Listener(number) => other(LISTENER | number & NUMBER),
            Token::Datagram(number) => other(DATAGRAM | number & NUMBER),
            Token::Signals => other(SIGNALS),
            Token::Waker => other(WAKER),
            Token::ConsoleInput => other(CONSOLE_INPUT),
            Token::ConsoleOutput => other(CONSOLE_OUTPUT),
            Token::Alarm => other(ALARM),
            Token::Watched(service) => other(WATCHED | service.index() as u32),
        };
        Self(u64::from(id) as usize)
    }
}

impl From<mio::Token> for Token {
    fn from(token: mio::Token) -> Self {
        let id = ConnId::from(token.0 as u64);
        let bits = id.slot() as u32;
        match (id.serial(), bits & !NUMBER) {
            (1.., _) => Self::Connection(id),
            (0, LISTENER) => Self::Listener(bits & NUMBER),
            (0, DATAGRAM) => Self::Datagram(bits & NUMBER),
            (0, SIGNALS) => Self::Signals,
            (0, CONSOLE_INPUT) => Self::ConsoleInput,
            (0, CONSOLE_OUTPUT) => Self::ConsoleOutput,
            (0, ALARM) => Self::Alarm,
            (0, WATCHED) => Self::Watched(ServiceId::new((bits & NUMBER) as usize)),
            // WAKER: no others are ever registered.
            (0, _) => Self::Waker,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Connection(ConnId::new(0, 1)),
            Token::Connection(ConnId::new(u32::MAX, u32::MAX)),
            Token::Listener(0),
            Token::Listener(9),
            Token::Datagram(7),
            Token::Datagram(1_000_000),
            Token::Signals,
            Token::Waker,
            Token::ConsoleInput,
            Token::ConsoleOutput,
            Token::Alarm,
            Token::Watched(ServiceId::new(0)),
            Token::Watched(ServiceId::new(u16::MAX.into())),
        ] {
            assert_eq!(Token::from(mio::Token::from(token)), token);
        }
    }
}
