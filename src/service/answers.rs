//! What the built-in services' answers look like.
//!
//! An answer that is itself answered would set two responders talking for ever, so `ping` and `hello` leave every
//! datagram alone that begins as an answer of theirs does. (`echo` cannot tell: what it is sent is what it answers.)

/// Whether a datagram begins as an answer of `ping` or `hello` does, in any case.
pub(super) fn is_answer(datagram: &[u8]) -> bool {
    [&b"pong"[..], b"Hello, ", b"Welcome!"]
        .iter()
        .any(|opening| datagram.get(..opening.len()).is_some_and(|start| start.eq_ignore_ascii_case(opening)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_known_in_any_case() {
        for answer in [&b"pong"[..], b"PONG 7", b"hello, x!", b"WELCOME!"] {
            assert!(is_answer(answer), "{}", answer.escape_ascii());
        }
        for question in [&b"ping"[..], b"hello", b"pon", b"", b"Welcome"] {
            assert!(!is_answer(question), "{}", question.escape_ascii());
        }
    }
}
