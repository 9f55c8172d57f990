//! What an event is for, in the 64 bits that epoll carries.
//!
//! A connection's token is its name: slot and serial number. Serial number 0 is never given to a connection; it marks
//! the sources that there are few of.

use crate::service::ConnId;

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
}

/// The kinds of sources without serial number, in the upper four bits of the lower word.
const LISTENER: u32 = 0 << 28;
const DATAGRAM: u32 = 1 << 28;
const SIGNALS: u32 = 2 << 28;
const WAKER: u32 = 3 << 28;
const CONSOLE_INPUT: u32 = 4 << 28;
const CONSOLE_OUTPUT: u32 = 5 << 28;
const ALARM: u32 = 6 << 28;
const NUMBER: u32 = (1 << 28) - 1;

impl From<Token> for mio::Token {
    fn from(token: Token) -> Self {
        let small = |bits: u32| ConnId::new(bits, 0);
        let id = match token {
            Token::Connection(id) => id,
            Token::Listener(number) => small(LISTENER | number & NUMBER),
            Token::Datagram(number) => small(DATAGRAM | number & NUMBER),
            Token::Signals => small(SIGNALS),
            Token::Waker => small(WAKER),
            Token::ConsoleInput => small(CONSOLE_INPUT),
            Token::ConsoleOutput => small(CONSOLE_OUTPUT),
            Token::Alarm => small(ALARM),
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
        ] {
            assert_eq!(Token::from(mio::Token::from(token)), token);
        }
    }
}
