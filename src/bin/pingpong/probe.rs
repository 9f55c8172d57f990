//! [`Probe`]: what `ping` and `bench` ask, and which answer is right.

/// Bytes of the largest number, with the spaces around it and a line end.
const NUMBER: usize = 20 + 2 + 1;

/// A question and its right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// `ping NUMBER PADDING`, answered by `pong NUMBER PADDING`. As many bytes of padding for `ping`; for `bench`, which
    /// makes its own messages, as many bytes in all.
    Pong(usize),
    /// The same question, answered by its own bytes.
    Echo(usize),
    /// Any text, answered by any other.
    Fixed {
        /// The question, with its line end.
        send: Vec<u8>,
        /// The right answer, with its line end.
        expect: Vec<u8>,
    },
}

impl Probe {
    /// The question with this sequence number, ended by `terminator`. A fixed text is sent as it is.
    pub(crate) fn question(&self, sequence: u64, terminator: &str) -> Vec<u8> {
        match self {
            Self::Pong(padding) | Self::Echo(padding) => numbered("ping", sequence, *padding, terminator),
            Self::Fixed { send, .. } => send.clone(),
        }
    }

    /// The right answer to it.
    pub(crate) fn answer(&self, sequence: u64, terminator: &str) -> Vec<u8> {
        match self {
            Self::Pong(padding) => numbered("pong", sequence, *padding, terminator),
            Self::Echo(padding) => numbered("ping", sequence, *padding, terminator),
            Self::Fixed { expect, .. } => expect.clone(),
        }
    }

    /// The sequence number that an answer names. Fixed texts name none: they are taken in order.
    pub(crate) fn sequence_of(&self, answer: &[u8]) -> Option<u64> {
        if self.is_fixed() {
            return None;
        }
        let text = std::str::from_utf8(answer).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// Whether answers name no sequence number.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed { .. })
    }

    /// The length of the longest question or answer, their numbers as long as they may be.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Self::Pong(padding) | Self::Echo(padding) => "ping".len() + NUMBER + padding,
            Self::Fixed { send, expect } => send.len().max(expect.len()),
        }
    }

    /// What a right answer is called where it is reported.
    pub(crate) fn answer_name(&self) -> &'static str {
        match self {
            Self::Pong(_) => "pong",
            Self::Echo(_) | Self::Fixed { .. } => "answer",
        }
    }
}

/// `WORD SEQUENCE PADDING`, without the last space where there is no padding.
fn numbered(word: &str, sequence: u64, padding: usize, terminator: &str) -> Vec<u8> {
    let gap = if padding > 0 { " " } else { "" };
    format!("{word} {sequence}{gap}{}{terminator}", "x".repeat(padding)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_is_as_long_as_its_ping_and_names_its_number() {
        let probe = Probe::Pong(3);
        assert_eq!(probe.question(7, "\n"), b"ping 7 xxx\n");
        assert_eq!(probe.answer(7, "\n"), b"pong 7 xxx\n");
        assert_eq!(probe.sequence_of(b"pong 7 xxx\n"), Some(7));
        assert_eq!(Probe::Pong(0).question(7, ""), b"ping 7");
    }

    #[test]
    fn an_echo_is_the_question() {
        let probe = Probe::Echo(1);
        assert_eq!(probe.answer(12, ""), probe.question(12, ""));
        assert_eq!(probe.sequence_of(b"ping 12 x"), Some(12));
    }

    #[test]
    fn fixed_texts_have_no_number() {
        let probe = Probe::Fixed { send: b"PING\r\n".to_vec(), expect: b"+PONG 7\r\n".to_vec() };
        assert_eq!((probe.question(3, "\n"), probe.answer(3, "\n")), (b"PING\r\n".to_vec(), b"+PONG 7\r\n".to_vec()));
        assert_eq!(probe.sequence_of(b"+PONG 7\r\n"), None);
    }
}
