//! Standard output, which may be slow, stopped, full or dead.
//!
//! Text is taken from the [`PrintQueue`] only as far as standard output takes it. So a stopped terminal holds up nothing
//! else, and what it cannot show stays bounded where it waits.

use std::io;

use nix::errno::Errno;

use super::place::{Patience, Place};
use super::prompt::Prompt;
use crate::reactor::calls::{Calls, Epoll, Quiet};
use crate::service::PrintQueue;

/// Bytes taken from the queue at once.
const CHUNK: usize = 64 << 10;

/// What happens to output that cannot be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in a bounded queue; what finds no room there is left out and counted
    /// ([`Stats::console_lost`](crate::Stats::console_lost)). For a server, whose other clients must not wait.
    Drop,
    /// The loop waits until it is written, as any program at a pipe does. After a signal that ends it
    /// ([`Reactor::watch_signals`](crate::Reactor::watch_signals)) it waits for a second at most, and not at all after
    /// another. For a client, which has nothing else to do.
    Wait,
}

/// Prints on standard output, above a prompt if there is one.
#[derive(Debug)]
pub(super) struct Printer {
    place: Place,
    when_full: WhenFull,
    state: State,
    /// What has been taken from the queue; the first `written` bytes are out.
    text: Vec<u8>,
    written: usize,
    prompt: Option<Prompt>,
}

/// What the last write met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// It waits until an event tells that there is room.
    Full,
    /// The reader has gone: nothing will be taken any more.
    Gone,
}

impl Printer {
    pub(super) fn open(epoll: &Epoll<impl Calls>, when_full: WhenFull) -> io::Result<Self> {
        let place = Place::open();
        if when_full == WhenFull::Drop {
            place.watch(epoll)?;
        }
        Ok(Self { place, when_full, state: State::Ready, text: Vec::new(), written: 0, prompt: None })
    }

    pub(super) fn set_prompt(&mut self, prompt: &'static str) {
        self.prompt = Some(Prompt::new(prompt));
    }

    /// An event: there may be room again.
    pub(super) fn ready(&mut self) {
        if self.state == State::Full {
            self.state = State::Ready;
        }
    }

    /// Prints what waits in the queue, `most` bytes or a little more where others must not wait, as far as there is
    /// room. Fails where standard output cannot be written to, as on a full disk; a reader that has gone is no failure.
    pub(super) fn print(
        &mut self,
        queue: &mut PrintQueue,
        most: usize,
        patience: Patience<'_>,
        calls: &impl Calls,
    ) -> io::Result<()> {
        let mut left = if self.when_full == WhenFull::Wait { usize::MAX } else { most };
        self.flush(patience, calls)?;
        while self.state == State::Ready && left > 0 && !queue.is_empty() {
            let mut text = Vec::new();
            queue.take(&mut text, left.min(CHUNK));
            left = left.saturating_sub(text.len());
            self.put(&text);
            self.flush(patience, calls)?;
        }
        if self.state == State::Gone {
            queue.lose_all();
        }
        Ok(())
    }

    /// Shows the prompt, if there is one, unless it is shown already.
    pub(super) fn show_prompt(&mut self, calls: &impl Calls) -> io::Result<()> {
        if let Some(prompt) = &mut self.prompt {
            prompt.show(&mut self.text);
        }
        self.flush(Patience::None, calls)
    }

    /// The user has ended a line, which has moved the cursor away from the prompt.
    pub(super) fn leave_prompt(&mut self) {
        if let Some(prompt) = &mut self.prompt {
            prompt.leave();
        }
    }

    /// Whether a print would bring something out.
    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Whether patience has ended while it waited for room.
    pub(super) fn has_given_up(&self) -> bool {
        self.state == State::Full && self.when_full == WhenFull::Wait
    }

    /// Whether the reader of standard output has gone, and with it the only one that the loop works for
    /// ([`WhenFull::Wait`]).
    pub(super) fn has_lost_reader(&self) -> bool {
        self.state == State::Gone && self.when_full == WhenFull::Wait
    }

    /// Has text written next.
    fn put(&mut self, text: &[u8]) {
        match &mut self.prompt {
            Some(prompt) => prompt.print_above(text, &mut self.text),
            None => self.text.extend_from_slice(text),
        }
    }

    /// Writes what has been taken, as far as there is room. Most turns have printed nothing.
    #[inline]
    fn flush(&mut self, patience: Patience<'_>, calls: &impl Calls) -> io::Result<()> {
        if self.text.is_empty() { Ok(()) } else { self.flush_text(patience, calls) }
    }

    #[inline(never)]
    fn flush_text(&mut self, patience: Patience<'_>, calls: &impl Calls) -> io::Result<()> {
        if self.state == State::Full && self.when_full == WhenFull::Wait {
            // No event will come.
            self.state = State::Ready;
        }
        let patience = if self.when_full == WhenFull::Wait { patience } else { Patience::None };
        let mut was_in_vain = false;
        while self.state == State::Ready && self.written < self.text.len() {
            match self.place.write(&self.text[self.written..], calls) {
                Ok(count) => {
                    self.written += count;
                    was_in_vain = false;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if self.place.wait_for_room(patience, was_in_vain, calls) => was_in_vain = true,
                Err(Errno::EAGAIN) => self.state = State::Full,
                Err(errno) if self.place.is_goodbye(errno) => self.state = State::Gone,
                Err(errno) => {
                    self.state = State::Gone;
                    return Err(errno.into());
                }
            }
        }
        if self.state != State::Full {
            (self.text, self.written) = (Vec::new(), 0);
        }
        Ok(())
    }
}

impl Drop for Printer {
    /// Leaves the cursor at the beginning of a line.
    fn drop(&mut self) {
        if self.prompt.as_ref().is_some_and(Prompt::is_shown) {
            self.text.push(b'\n');
            // The program ends: an error would be told too late.
            let _ = self.flush(Patience::None, &Quiet);
        }
    }
}
