//! What ends a line: the one place that knows.

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminator {
    /// Nothing: a chunk, a bare datagram or an unterminated last line.
    None,
    /// LF.
    Lf,
    /// CR LF.
    CrLf,
}

impl Terminator {
    /// What ends `line`.
    pub const fn of(line: &[u8]) -> Self {
        match line {
            [.., b'\r', b'\n'] => Self::CrLf,
            [.., b'\n'] => Self::Lf,
            _ => Self::None,
        }
    }

    /// The bytes it is made of.
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
