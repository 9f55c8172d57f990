//! The lines of a script that wait until a client has spoken, bounded in number and in bytes.

use std::collections::VecDeque;

/// Lines from which on the script is full. Those that still come are kept too: what has been read must not be lost.
const MAX_LINES: usize = 1024;

/// Bytes of all its lines from which on it is full, likewise.
const MAX_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Script {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    has_ended: bool,
}

impl Script {
    pub(super) fn push(&mut self, line: &[u8]) {
        self.bytes += line.len();
        self.lines.push_back(line.to_vec());
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.len();
        Some(line)
    }

    /// Notes that no line will follow those that wait.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Whether the last line has been taken.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended && self.lines.is_empty()
    }

    /// Whether no more lines should be read for now.
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= MAX_LINES || self.bytes >= MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_with_many_short_lines_or_with_few_long_ones_until_they_are_taken() {
        for (count, line) in [(MAX_LINES, &b""[..]), (2, &[b'x'; MAX_BYTES / 2])] {
            let mut script = Script::default();
            for _ in 0..count {
                assert!(!script.is_full());
                script.push(line);
            }
            assert!(script.is_full());
            while script.pop().is_some() {}
            assert!(!script.is_full() && !script.is_over());
            script.end();
            assert!(script.is_over());
        }
    }
}
