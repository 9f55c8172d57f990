//! Tells answers of the built-in services from questions.
//!
//! Two servers that answer each other's answers would do so for ever. So `ping` and `hello` do not answer a datagram
//! that begins like an answer of theirs. `echo` cannot tell: its answers are its questions.

/// Whether a datagram begins like an answer of `ping` or `hello`, in upper or lower case.
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
