//! [`Printer`]: how what arrived is shown.

use std::io::{self, IsTerminal};

use pingpong::service::{Outbox, escaped};

/// Prints what arrived as it is; on a terminal line by line, escaped, behind a label.
#[derive(Debug)]
pub(super) struct Printer {
    is_terminal: bool,
    label: &'static str,
}

impl Printer {
    /// For standard output, with this label before each line where it is a terminal.
    pub(super) fn of_stdout(label: &'static str) -> Self {
        Self { is_terminal: io::stdout().is_terminal(), label }
    }

    /// Prints a part of a stream.
    pub(super) fn print(&self, text: &[u8], out: &mut Outbox<'_>) {
        if !self.is_terminal {
            return out.print(text);
        }
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            self.print_line(line, out);
        }
    }

    /// Prints a whole message, an empty one too, and ends its line.
    pub(super) fn print_message(&self, text: &[u8], out: &mut Outbox<'_>) {
        if self.is_terminal && text.is_empty() {
            return self.print_line(text, out);
        }
        self.print(text, out);
        self.end_line(text, out);
    }

    /// Ends the line of a text printed before, where it did not end it itself. (On a terminal every line is ended.)
    pub(super) fn end_line(&self, text: &[u8], out: &mut Outbox<'_>) {
        if !self.is_terminal && !text.ends_with(b"\n") {
            out.print(b"\n");
        }
    }

    fn print_line(&self, line: &[u8], out: &mut Outbox<'_>) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        out.print(format!("{}{}\n", self.label, escaped(line)).as_bytes());
    }
}
