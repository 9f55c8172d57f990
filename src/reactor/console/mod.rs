//! The console: lines come from standard input, text goes to standard output, and neither holds up the loop.
//!
//! - `input`: reads lines
//! - `output`: prints, and shows the prompt
//!
//! The reactor gives the lines to one service and prints what services have printed. Here nothing is known of services,
//! nor of what a line means.

mod input;
mod output;

use std::io::{self, IsTerminal};

use mio::Registry;

pub use input::ConsoleKind;
use input::{LineReader, Lines};
use output::Printer;
pub use output::WhenFull;

#[derive(Debug)]
pub(super) struct Console {
    input: LineReader,
    output: Printer,
}

impl Console {
    /// Watches standard input and output. The prompt is for terminals only.
    pub(super) fn open(
        registry: &Registry,
        kind: ConsoleKind,
        prompt: &'static str,
        when_full: WhenFull,
    ) -> io::Result<Self> {
        let prompt = (kind == ConsoleKind::Terminal && io::stdout().is_terminal()).then_some(prompt);
        Ok(Self { input: LineReader::open(registry, kind)?, output: Printer::open(registry, when_full, prompt)? })
    }

    /// An event for standard input.
    pub(super) fn input_ready(&mut self) {
        self.input.ready();
    }

    /// An event for standard output: there may be room again.
    pub(super) fn output_ready(&mut self) {
        self.output.flush();
    }

    /// Whether a read might bring something.
    pub(super) fn is_readable(&self) -> bool {
        self.input.is_readable()
    }

    /// Whether a terminal could not be read because it belongs to another job. No event tells when it is ours again.
    pub(super) fn is_in_background(&self) -> bool {
        self.input.is_in_background()
    }

    /// Reads once; `None` where there is nothing to read for now.
    pub(super) fn read(&mut self, registry: &Registry) -> Option<Lines> {
        let read = self.input.read(registry)?;
        if !read.ended {
            self.output.leave_prompt();
        }
        Some(read)
    }

    /// Prints text, and shows the prompt below it where lines are wanted.
    pub(super) fn print(&mut self, text: &[u8], lines_wanted: bool) {
        self.output.print(text);
        if lines_wanted && !self.input.has_ended() {
            self.output.show_prompt();
        }
    }

    /// Lines of output dropped so far.
    pub(super) fn lines_lost(&self) -> u64 {
        self.output.lines_lost()
    }

    /// Whether the reader of standard output has gone, and with it the only one that the loop works for
    /// ([`WhenFull::Wait`]).
    pub(super) fn has_lost_reader(&self) -> bool {
        self.output.is_dead() && self.output.when_full() == WhenFull::Wait
    }
}
