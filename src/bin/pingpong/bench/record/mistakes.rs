//! The first answers that were not right, word for word: a count does not say what a server speaks.

use pingpong::service::escaped;

/// Bytes of an answer that are kept.
const KEPT: usize = 64;

/// The first answer of each kind that was not right, those of the warm-up included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mistakes {
    /// An answer with other bytes than the right ones.
    pub(crate) wrong: Option<Wrong>,
    /// An answer that no request waited for.
    pub(crate) unasked: Option<String>,
}

/// An answer, and the one that would have been right; both escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) got: String,
    pub(crate) expected: String,
}

impl Mistakes {
    /// Keeps the first wrong answer. Its first `matched` bytes were right.
    pub(crate) fn note_wrong(&mut self, matched: usize, rest: &[u8], expected: &[u8]) {
        self.wrong.get_or_insert_with(|| Wrong {
            got: shown(&[&expected[..matched.min(expected.len())], rest].concat()),
            expected: shown(expected),
        });
    }

    /// Keeps that a line was longer than any answer may be.
    pub(crate) fn note_endless(&mut self, expected: &[u8]) {
        let got = "(a line without an end)".to_owned();
        self.wrong.get_or_insert_with(|| Wrong { got, expected: shown(expected) });
    }

    /// Keeps the first answer that nobody waited for.
    pub(crate) fn note_unasked(&mut self, answer: &[u8]) {
        self.unasked.get_or_insert_with(|| shown(answer));
    }
}

/// The first line, escaped and cut.
fn shown(bytes: &[u8]) -> String {
    let line = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let (kept, more) = if line.len() > KEPT { (&line[..KEPT], "…") } else { (line, "") };
    format!("{}{more}", escaped(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_kept_escaped_and_cut() {
        let mut mistakes = Mistakes::default();
        mistakes.note_wrong(3, b"G 1\nmore", b"ponG? 1\n");
        mistakes.note_wrong(0, b"later", b"pong");
        let (got, expected) = ("ponG 1\\n".to_owned(), "ponG? 1\\n".to_owned());
        assert_eq!(mistakes.wrong, Some(Wrong { got, expected }));
        mistakes.note_unasked(&[b'x'; 100]);
        mistakes.note_unasked(b"later");
        assert_eq!(mistakes.unasked, Some("x".repeat(64) + "…"));
    }
}
