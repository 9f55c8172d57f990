//! [`PrintQueue`]: what services have printed, until the console takes it.
//!
//! The queue is bounded. A [`Voice`] may have a share of what is free, so that one that prints too much loses lines of its
//! own and not those of others. A notice stands in the queue where lines are missing. What clients say is escaped when it
//! is taken: what is never shown costs a copy at most.
//!
//! Outboxes fill the queue, the reactor's console empties it. Nothing here knows where the text is printed.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::io::{Read, Write};

use memchr::memchr_iter;

use super::escaped;

/// Bytes that wait at most.
const BOUND: usize = 1 << 20;

/// The part of them that is kept for voices that have little waiting.
const RESERVE: usize = BOUND / 2;

/// How much of the reserve one voice may have.
const LITTLE: usize = 32 << 10;

/// What an entry counts for besides its text: short lines must be bounded too.
const ENTRY: usize = 32;

/// A message that has no room is shown in part where that part is as long as this.
const WORTH_SHOWING: usize = 1 << 10;

/// Memory that an empty queue keeps.
const KEPT: usize = 4 << 10;

/// The source of a line: those of one voice share their room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Voice {
    /// The program, or a service.
    Service,
    /// A service's clients, as they come and go.
    Attendance,
    /// The client with this number, in what it says.
    Client(u64),
    /// Clients that found no room even for a notice of their own. It has a notice only.
    Several,
}

/// The text that waits, in the order in which it was printed.
#[derive(Debug)]
pub(crate) struct PrintQueue {
    bound: usize,
    entries: VecDeque<Entry>,
    /// The texts of all entries.
    bytes: VecDeque<u8>,
    /// The sum of all shares.
    waiting: usize,
    /// Of the voices that have an entry.
    shares: HashMap<Voice, Share>,
    lost: u64,
}

#[derive(Debug)]
enum Entry {
    /// Text that is printed as it is.
    Plain { voice: Voice, length: usize, lines: u64 },
    /// A label, and the first `said` bytes of a client's message; `omitted` more found no room.
    Said { client: u64, label: usize, said: usize, omitted: usize },
    /// Reports how many lines of a voice are missing, as of when it is taken.
    Notice(Voice),
}

#[derive(Debug, Default)]
struct Share {
    /// Its texts, each with [`ENTRY`].
    waiting: usize,
    /// Lines that the voice's notice will report. From the first one on, all its lines are cut until the notice is
    /// taken: so they stay in order, and nothing is spent on lines that will not be shown.
    cut: u64,
}

impl PrintQueue {
    /// Keeps all that is printed from now on, for a console that waits until it is written.
    pub(crate) fn lift_bound(&mut self) {
        self.bound = usize::MAX;
    }

    /// Adds text that is safe to print as it is; without room for all of it, its first lines.
    pub(crate) fn print(&mut self, voice: Voice, text: &[u8]) {
        if text.len() <= self.room(voice) {
            return self.push(voice, text);
        }
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if line.len() <= self.room(voice) {
                self.push(voice, line);
            } else {
                self.cut(voice, 1);
            }
        }
    }

    /// Adds a line: what a client has said, behind a label. Without room for all of it, its beginning.
    pub(crate) fn print_said(&mut self, client: u64, label: &str, said: &[u8]) {
        let voice = Voice::Client(client);
        let room = self.room(voice).saturating_sub(label.len());
        if said.len() > room && room < WORTH_SHOWING {
            return self.cut(voice, 1);
        }
        let (said, omitted) =
            said.split_at(if said.len() > room { character_boundary(said, room) } else { said.len() });
        self.lost += u64::from(!omitted.is_empty());
        self.bytes.extend(label.as_bytes());
        self.bytes.extend(said);
        self.entries.push_back(Entry::Said { client, label: label.len(), said: said.len(), omitted: omitted.len() });
        self.count(voice, label.len() + said.len());
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes entries from the front and appends them to `text`, until it has `most` bytes or more.
    pub(crate) fn take(&mut self, text: &mut Vec<u8>, most: usize) {
        while text.len() < most
            && let Some(entry) = self.entries.pop_front()
        {
            self.write(entry, text);
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(KEPT / ENTRY);
            self.bytes.shrink_to(KEPT);
            self.shares.shrink_to(0);
        }
    }

    /// Forgets all that waits, where there is no console to print it.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if !self.is_empty() {
            *self = Self { bound: self.bound, lost: self.lost, ..Self::default() };
        }
    }

    /// Forgets all that waits, for a console that will never print it, and counts it as lost.
    pub(crate) fn lose_all(&mut self) {
        self.lost += self.entries.iter().map(Entry::lines).sum::<u64>();
        self.clear();
    }

    /// Lines that were not shown, or not whole.
    pub(crate) fn lines_lost(&self) -> u64 {
        self.lost
    }

    /// How many bytes this voice may add.
    ///
    /// A voice may have as much as it leaves free beyond the reserve. So one alone gets half of that, and several that
    /// print too much come to equal shares (Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998). Voices that have
    /// little share the reserve in the same way.
    fn room(&self, voice: Voice) -> usize {
        let (waiting, cut) = self.shares.get(&voice).map_or((0, 0), |share| (share.waiting, share.cut));
        if cut > 0 {
            return 0;
        }
        let half_beyond = |kept: usize| self.bound.saturating_sub(self.waiting + kept + waiting) / 2;
        let little = LITTLE.saturating_sub(waiting).min(half_beyond(0));
        half_beyond(RESERVE).max(little).saturating_sub(ENTRY)
    }

    fn push(&mut self, voice: Voice, text: &[u8]) {
        self.bytes.extend(text);
        let lines = memchr_iter(b'\n', text).count() as u64;
        self.entries.push_back(Entry::Plain { voice, length: text.len(), lines });
        self.count(voice, text.len());
    }

    /// Counts an entry that has been added.
    fn count(&mut self, voice: Voice, length: usize) {
        self.waiting += length + ENTRY;
        self.shares.entry(voice).or_default().waiting += length + ENTRY;
    }

    /// Leaves lines out, and has a notice say so.
    fn cut(&mut self, voice: Voice, lines: u64) {
        self.lost += lines;
        let has_notice = self.shares.get(&voice).is_some_and(|share| share.cut > 0);
        let voice = if has_notice || self.waiting + ENTRY <= self.bound { voice } else { Voice::Several };
        let share = self.shares.entry(voice).or_default();
        if share.cut == 0 {
            self.entries.push_back(Entry::Notice(voice));
            self.waiting += ENTRY;
            share.waiting += ENTRY;
        }
        share.cut += lines;
    }

    /// Writes an entry that has been taken, and gives its room back.
    fn write(&mut self, entry: Entry, text: &mut Vec<u8>) {
        let (voice, length) = match entry {
            Entry::Plain { voice, length, .. } => {
                self.pop(length, text);
                (voice, length)
            }
            Entry::Said { client, label, said: length, omitted } => {
                self.pop(label, text);
                let mut said = Vec::new();
                self.pop(length, &mut said);
                text.extend_from_slice(escaped(&said).as_bytes());
                if omitted > 0 {
                    push(text, format_args!(" (and {omitted} bytes more)"));
                }
                text.push(b'\n');
                (Voice::Client(client), label + length)
            }
            Entry::Notice(voice) => {
                let cut = self.shares.get_mut(&voice).map_or(0, |share| std::mem::take(&mut share.cut));
                push(text, format_args!("{}\n", Notice { voice, cut }));
                (voice, 0)
            }
        };
        self.waiting -= length + ENTRY;
        if let Some(share) = self.shares.get_mut(&voice) {
            share.waiting -= length + ENTRY;
            if share.waiting == 0 {
                self.shares.remove(&voice);
            }
        }
    }

    /// Moves `length` bytes from the front of all texts to the end of `text`.
    fn pop(&mut self, length: usize, text: &mut Vec<u8>) {
        let start = text.len();
        text.resize(start + length, 0);
        self.bytes.read_exact(&mut text[start..]).expect("the entries' lengths add up to it");
    }
}

impl Entry {
    /// How many lines are lost with it, of those that are not counted as lost already.
    fn lines(&self) -> u64 {
        match self {
            Self::Plain { lines, .. } => *lines,
            Self::Said { omitted: 0, .. } => 1,
            Self::Said { .. } | Self::Notice(_) => 0,
        }
    }
}

impl Default for PrintQueue {
    fn default() -> Self {
        Self {
            bound: BOUND,
            entries: VecDeque::new(),
            bytes: VecDeque::new(),
            waiting: 0,
            shares: HashMap::new(),
            lost: 0,
        }
    }
}

/// What stands where lines are missing.
struct Notice {
    voice: Voice,
    cut: u64,
}

impl Display for Notice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { voice, cut } = self;
        let lines = if *cut == 1 { "line" } else { "lines" };
        match voice {
            Voice::Service => write!(f, "(… {cut} {lines} not shown)"),
            Voice::Attendance => write!(f, "(… {cut} {lines} of comings and goings not shown)"),
            Voice::Client(number) => write!(f, "(… {cut} {lines} of client {number} not shown)"),
            Voice::Several => write!(f, "(… {cut} {lines} of several clients not shown)"),
        }
    }
}

fn push(text: &mut Vec<u8>, what: fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a vector takes all");
}

/// The last place up to `most` where no character of UTF-8 is cut in two. In other bytes any place will do.
fn character_boundary(bytes: &[u8], most: usize) -> usize {
    let is_continuation = |at: usize| bytes[at] & 0b1100_0000 == 0b1000_0000;
    // A character has three such bytes at most.
    (most.saturating_sub(3)..=most).rev().find(|at| !is_continuation(*at)).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &mut PrintQueue) -> String {
        let mut text = Vec::new();
        queue.take(&mut text, usize::MAX);
        String::from_utf8(text).unwrap()
    }

    fn lines_of(text: &str, client: u64) -> usize {
        text.lines().filter(|line| line.starts_with(&format!("[{client}] "))).count()
    }

    #[test]
    fn text_comes_out_in_order_and_what_is_said_is_escaped() {
        let mut queue = PrintQueue::default();
        queue.print(Voice::Service, b"ready\n");
        queue.print_said(2, "[2] ", b"\x1b[2J");
        queue.print(Voice::Attendance, b"[2] disconnected\n");
        assert_eq!(taken(&mut queue), "ready\n[2] \\u{1b}[2J\n[2] disconnected\n");
        assert!(queue.is_empty() && queue.shares.is_empty() && queue.waiting == 0);
        assert_eq!(queue.lines_lost(), 0);
    }

    #[test]
    fn take_stops_at_its_bound() {
        let mut queue = PrintQueue::default();
        for _ in 0..3 {
            queue.print(Voice::Service, b"a line\n");
        }
        let mut text = Vec::new();
        queue.take(&mut text, 8);
        assert_eq!(text, b"a line\na line\n");
        assert!(!queue.is_empty());
    }

    #[test]
    fn voice_that_prints_too_much_loses_its_own_lines_and_it_is_said() {
        let mut queue = PrintQueue::default();
        for _ in 0..100_000 {
            queue.print_said(1, "[1] ", b"flood");
        }
        queue.print_said(2, "[2] ", b"hello");
        queue.print_said(1, "[1] ", b"last");
        let text = taken(&mut queue);
        let shown = lines_of(&text, 1);
        assert!(shown > 1000, "{shown}");
        let notice = format!("(… {} lines of client 1 not shown)\n[2] hello\n", 100_001 - shown);
        assert!(text.ends_with(&notice), "{}", &text[text.len() - 100..]);
        assert_eq!(queue.lines_lost(), 100_001 - shown as u64);
        // It has been taken: there is room again.
        queue.print_said(1, "[1] ", b"again");
        assert_eq!(taken(&mut queue), "[1] again\n");
    }

    #[test]
    fn one_who_speaks_is_heard_among_ten_who_flood() {
        for said in [&b"x"[..], &[b'x'; 60_000], &[1; 60_000]] {
            let mut queue = PrintQueue::default();
            for client in (1..=10).cycle().take(10 * 1000) {
                queue.print_said(client, "[f] ", said);
            }
            for number in 0..200 {
                queue.print_said(99, "[99] ", format!("line {number}").as_bytes());
            }
            assert_eq!(lines_of(&taken(&mut queue), 99), 200);
        }
    }

    #[test]
    fn memory_is_bounded_however_many_print() {
        let mut queue = PrintQueue::default();
        for client in 0..30_000 {
            queue.print_said(client, "[f] ", b"x");
            queue.print_said(client, "[f] ", &[b'x'; 60_000]);
        }
        assert!(queue.waiting <= BOUND + ENTRY);
        assert!(queue.bytes.len() + queue.entries.len() * ENTRY <= BOUND + ENTRY);
        let text = taken(&mut queue);
        assert!(text.contains("lines of several clients not shown)"), "{}", &text[text.len() - 100..]);
        assert!(queue.bytes.capacity() <= KEPT && queue.waiting == 0 && queue.shares.is_empty());
    }

    #[test]
    fn message_too_long_for_its_share_is_shown_in_part() {
        let mut queue = PrintQueue::default();
        queue.print_said(1, "", "ä".repeat(1 << 20).as_bytes());
        let text = taken(&mut queue);
        let (shown, more) = text.split_once(" (and ").unwrap();
        assert!(shown.len() > LITTLE && shown.chars().all(|letter| letter == 'ä'));
        assert_eq!(more, format!("{} bytes more)\n", (2 << 20) - shown.len()));
        assert_eq!(queue.lines_lost(), 1);
    }

    #[test]
    fn message_of_the_default_length_is_shown_whole() {
        let mut queue = PrintQueue::default();
        queue.print_said(1, "[1] ", &[b'x'; 64 << 10]);
        assert_eq!(taken(&mut queue).len(), "[1] \n".len() + (64 << 10));
    }

    #[test]
    fn long_text_of_the_service_loses_its_last_lines() {
        let mut queue = PrintQueue::default();
        queue.print(Voice::Service, "a line\n".repeat(1 << 17).as_bytes());
        let text = taken(&mut queue);
        let shown = text.lines().filter(|line| *line == "a line").count();
        assert!(text.ends_with(&format!("a line\n(… {} lines not shown)\n", (1 << 17) - shown)));
    }

    #[test]
    fn without_bound_nothing_is_cut() {
        let mut queue = PrintQueue::default();
        queue.lift_bound();
        let text = "a line\n".repeat(1 << 18);
        queue.print(Voice::Service, text.as_bytes());
        assert_eq!(taken(&mut queue), text);
    }

    #[test]
    fn what_a_dead_console_leaves_is_lost() {
        let mut queue = PrintQueue::default();
        queue.print(Voice::Service, b"one\ntwo\n");
        queue.print_said(1, "", b"three");
        queue.lose_all();
        assert_eq!((queue.lines_lost(), queue.is_empty()), (3, true));
    }

    #[test]
    fn characters_are_not_cut_in_two() {
        let text = "aä€😀".as_bytes();
        let cuts: Vec<usize> = (0..text.len()).map(|most| character_boundary(text, most)).collect();
        assert_eq!(cuts, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6]);
        assert_eq!(character_boundary(&[0x80; 9], 5), 5);
    }
}
