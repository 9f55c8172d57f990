//! The console: lines come from standard input, text goes to standard output, and neither holds up the loop.
//!
//! - `input`: reads lines
//! - `output`: prints; `place`: writes without waiting; `prompt`: what stands below on a terminal
//!
//! The reactor opens either one, gives the lines to a service, and hands over the queue of what services print. Nothing
//! here knows what a line means.

mod input;
mod output;
mod place;
mod prompt;

use std::io::{self, IsTerminal};

use crate::reactor::calls::{Calls, Epoll};
use crate::service::{PrintQueue, ServiceId};

pub use input::ConsoleKind;
use input::{LineReader, ReadLines};
use output::Printer;
pub use output::WhenFull;
pub(super) use place::Patience;

/// Standard input and output, as far as they are open.
#[derive(Debug, Default)]
pub(super) struct Console {
    input: Option<(LineReader, ServiceId)>,
    output: Option<Printer>,
}

impl Console {
    /// Prints on standard output from now on.
    pub(super) fn open_output(&mut self, epoll: &Epoll<impl Calls>, when_full: WhenFull) -> io::Result<()> {
        self.output = Some(Printer::open(epoll, when_full)?);
        Ok(())
    }

    /// Reads lines for a service from now on. Where they are typed below what is printed, there is a prompt.
    pub(super) fn open_input(
        &mut self,
        epoll: &Epoll<impl Calls>,
        service: ServiceId,
        kind: ConsoleKind,
        prompt: &'static str,
    ) -> io::Result<()> {
        self.input = Some((LineReader::open(epoll, kind)?, service));
        if let Some(output) = &mut self.output
            && kind == ConsoleKind::Terminal
            && io::stdout().is_terminal()
        {
            output.set_prompt(prompt);
        }
        Ok(())
    }

    /// An event for standard input.
    pub(super) fn input_ready(&mut self) {
        if let Some((input, _)) = &mut self.input {
            input.ready();
        }
    }

    /// An event for standard output: there may be room again.
    pub(super) fn output_ready(&mut self) {
        if let Some(output) = &mut self.output {
            output.ready();
        }
    }

    /// The service that takes lines, if a read might bring some.
    pub(super) fn reads_for(&self) -> Option<ServiceId> {
        self.input.as_ref().filter(|(input, _)| input.is_readable()).map(|(_, service)| *service)
    }

    /// Whether lines are typed at a terminal.
    pub(super) fn is_typed(&self) -> bool {
        self.input.as_ref().is_some_and(|(input, _)| input.is_terminal())
    }

    /// Whether a terminal could not be read because it belongs to another job. No event tells when it is ours again.
    pub(super) fn is_in_background(&self) -> bool {
        self.input.as_ref().is_some_and(|(input, _)| input.is_in_background())
    }

    /// Reads once; `None` where there is nothing to read for now.
    pub(super) fn read(&mut self, epoll: &Epoll<impl Calls>) -> Option<ReadLines> {
        let (input, _) = self.input.as_mut()?;
        let read = input.read(epoll)?;
        if let Some(output) = &mut self.output
            && !read.ended
        {
            output.leave_prompt();
        }
        Some(read)
    }

    /// Prints what waits in the queue: `most` bytes or a little more where others must not wait, as far as standard
    /// output takes them. Fails where it cannot be written to.
    pub(super) fn print(
        &mut self,
        queue: &mut PrintQueue,
        most: usize,
        patience: Patience<'_>,
        calls: &impl Calls,
    ) -> io::Result<()> {
        match &mut self.output {
            Some(output) => output.print(queue, most, patience, calls),
            None => {
                queue.clear();
                Ok(())
            }
        }
    }

    /// Shows the prompt, if there is one, until standard input has ended.
    pub(super) fn show_prompt(&mut self, calls: &impl Calls) -> io::Result<()> {
        match (&self.input, &mut self.output) {
            (Some((input, _)), Some(output)) if !input.has_ended() => output.show_prompt(calls),
            _ => Ok(()),
        }
    }

    /// Whether a print would bring something out.
    pub(super) fn is_writable(&self) -> bool {
        self.output.as_ref().is_some_and(Printer::is_ready)
    }

    /// Whether the last print has given up waiting for room.
    pub(super) fn has_given_up(&self) -> bool {
        self.output.as_ref().is_some_and(Printer::has_given_up)
    }

    /// Whether the reader of standard output has gone, and with it the only one that the loop works for
    /// ([`WhenFull::Wait`]).
    pub(super) fn has_lost_reader(&self) -> bool {
        self.output.as_ref().is_some_and(Printer::has_lost_reader)
    }
}
