//! What a terminal shows while a load runs, in one line. Nothing where standard error is no terminal.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use pingpong::Moment;
use pingpong::outlet::open_without_waiting;

use super::text::{rate, shown};
use crate::bench::load::{Load, Stage};
use crate::bench::record::{Fact, percentile};
use crate::bench::{BenchOptions, Extent};

/// How often the line is drawn anew: often enough to look alive, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct ProgressLine {
    bar: ProgressBar,
    /// How many phases there will be, where that is known.
    phases: Option<usize>,
    /// Several servers take turns: how many turns are over, of how many, and whose this one is.
    turn: Option<Turn>,
    due: Moment,
    drawn: Moment,
}

/// The turn of one of several servers.
#[derive(Debug)]
struct Turn {
    over: usize,
    of: usize,
    text: String,
}

impl ProgressLine {
    /// A line on standard error, where that is a terminal and the line is wanted.
    pub(crate) fn open(options: &BenchOptions) -> Option<Self> {
        let terminal = io::stderr();
        if !options.progress || !terminal.is_terminal() {
            return None;
        }
        let screen = Screen(open_without_waiting(terminal)?);
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like(Box::new(screen)));
        let phases = options.find.is_none().then(|| options.phases().len());
        Some(Self { bar, phases, turn: None, due: Moment::default(), drawn: Moment::default() })
    }

    /// From now on it is the turn of this server.
    pub(crate) fn take_turn(&mut self, turn: usize, of: usize, name: &str) {
        self.turn = Some(Turn { over: turn, of, text: format!("turn {} of {of}, {name}: ", turn + 1) });
    }

    /// When the line is to be drawn next.
    pub(crate) fn due(&self) -> Moment {
        self.due
    }

    pub(crate) fn draw(&mut self, load: &mut Load, now: Moment) {
        let waits_for = load.waits_for(now);
        let (stage, ledger) = (load.stage, &mut load.ledger);
        let (time, doing) = match stage {
            Stage::Scouting | Stage::Connecting => (ledger.elapsed(now), "connecting"),
            Stage::Waiting => (waits_for, "to wait for --start-at"),
            Stage::Asking if now < ledger.from() => (now.since(ledger.warm_up()), "warming up"),
            Stage::Asking => (ledger.measured(now), "measuring"),
            Stage::Awaiting | Stage::Resting => (ledger.measured(now), "waiting for answers"),
        };
        let (mut answers, mut p99) = (0, 0);
        if let Some(recent) = &mut ledger.recent {
            (answers, p99) = (recent.len(), percentile(recent, 99.0));
            recent.reset();
        }
        let step = match (&self.turn, self.phases) {
            (Some(turn), _) => turn.text.clone(),
            (None, Some(1)) => String::new(),
            (None, None) => format!("trial {}, ", load.phases.max(1)),
            (None, Some(several)) => format!("step {} of {several}, ", load.phases.max(1)),
        };
        let text = format!(
            "{step}{:.0} s {doing}: {} connected, {}/s, p99 {}, {} errors",
            time.as_secs_f64(),
            ledger.counts[Fact::ConnectionsOpened],
            rate(answers as f64 / now.since(self.drawn).as_secs_f64().max(f64::MIN_POSITIVE)),
            shown(p99),
            ledger.counts.errors()
        );
        let (template, room) = layout(text.chars().count(), columns());
        self.bar.set_style(ProgressStyle::with_template(template).expect("it is sound").progress_chars("=> "));
        self.bar.set_message(text.chars().take(room).collect::<String>());
        // Last: it is drawn with the text that there is, and the text before may be too long for the row now.
        let (passed, whole) = match (&self.turn, load.phase.extent) {
            (Some(turn), _) => (turn.over as u64, turn.of as u64),
            (None, Extent::Duration(duration)) => {
                (ledger.measured(now).as_millis() as u64, duration.as_millis() as u64)
            }
            (None, Extent::Requests(requests)) => (ledger.counts[Fact::Sent] - ledger.counts.pending(), requests),
        };
        self.bar.set_length(whole);
        self.bar.set_position(passed);
        (self.drawn, self.due) = (now, now + INTERVAL);
    }

    /// Does something while the line is not there.
    pub(crate) fn aside(&self, what: impl FnOnce()) {
        self.bar.suspend(what);
    }

    pub(crate) fn close(self) {
        self.bar.finish_and_clear();
    }
}

/// What the line consists of, and how much of its text, where the text has so many characters and the terminal so many
/// columns. The last column stays free: a terminal may begin a new row behind it.
fn layout(text: usize, columns: usize) -> (&'static str, usize) {
    const BAR: usize = "================ ".len();
    let room = columns.saturating_sub(1);
    if text + BAR <= room { ("{bar:16} {msg}", text) } else { ("{msg}", room) }
}

/// The columns of the terminal as it is now.
fn columns() -> usize {
    Term::stderr().size_checked().map_or(80, |(_, columns)| columns.into())
}

/// Standard error as a terminal that is never waited for: what it cannot take now is not drawn.
#[derive(Debug)]
struct Screen(File);

impl Screen {
    fn draw(&self, text: impl fmt::Display) -> io::Result<()> {
        // A stopped terminal is no reason to stop the load.
        let _ = (&self.0).write(text.to_string().as_bytes());
        Ok(())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        columns() as u16
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        if lines == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{lines}A")) }
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        if lines == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{lines}B")) }
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        if columns == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{columns}C")) }
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        if columns == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{columns}D")) }
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(format_args!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        // What fills the row up: in a window made smaller it would be a second row.
        if text.bytes().all(|byte| byte == b' ') { Ok(()) } else { self.draw(text) }
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fits_the_terminal() {
        for (text, columns, drawn) in [
            (60, 80, ("{bar:16} {msg}", 60)),
            (62, 80, ("{bar:16} {msg}", 62)),
            (63, 80, ("{msg}", 79)),
            (63, 40, ("{msg}", 39)),
            (63, 200, ("{bar:16} {msg}", 63)),
            (63, 1, ("{msg}", 0)),
        ] {
            assert_eq!(layout(text, columns), drawn, "{text} of {columns}");
        }
    }
}
