//! Line terminators: LF, or CR LF.

/// What ends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminator {
    /// Nothing: the message is a chunk, a datagram without LF, or an unterminated last line.
    None,
    /// LF.
    Lf,
    /// CR LF.
    CrLf,
}

impl Terminator {
    /// The terminator at the end of `line`.
    pub const fn of(line: &[u8]) -> Self {
        match line {
            [.., b'\r', b'\n'] => Self::CrLf,
            [.., b'\n'] => Self::Lf,
            _ => Self::None,
        }
    }

    /// The bytes of the terminator; none for [`None`](Self::None).
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_carriage_return_belongs_to_the_line_feed() {
        for (line, terminator) in [
            (&b"x\r\n"[..], Terminator::CrLf),
            (b"x\r\r\n", Terminator::CrLf),
            (b"x\n", Terminator::Lf),
            (b"x\r", Terminator::None),
            (b"", Terminator::None),
        ] {
            assert_eq!(Terminator::of(line), terminator, "{}", line.escape_ascii());
            assert!(line.ends_with(terminator.as_bytes()));
        }
    }
}
