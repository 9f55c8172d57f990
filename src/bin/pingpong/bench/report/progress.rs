//! What a terminal shows while a load runs, in one line. Nothing where standard error is no terminal.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use pingpong::Moment;
use pingpong::outlet::open_without_waiting;

use super::text::shown;
use crate::bench::load::{Load, Stage};
use crate::bench::record::{Fact, percentile};
use crate::bench::{BenchOptions, Extent};

/// How often the line is drawn anew: often enough to look alive, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct ProgressLine {
    bar: ProgressBar,
    extent: Extent,
    due: Moment,
    drawn: Moment,
}

impl ProgressLine {
    /// A line on standard error, where that is a terminal and the line is wanted.
    pub(crate) fn open(options: &BenchOptions) -> Option<Self> {
        let terminal = io::stderr();
        if !options.progress || !terminal.is_terminal() {
            return None;
        }
        let screen = Screen(open_without_waiting(terminal)?);
        let whole = match options.extent {
            Extent::Duration(duration) => duration.as_millis() as u64,
            Extent::Requests(requests) => requests,
        };
        let bar = ProgressBar::with_draw_target(Some(whole), ProgressDrawTarget::term_like(Box::new(screen)));
        let style = ProgressStyle::with_template("{bar:16} {msg}").expect("the template is sound");
        bar.set_style(style.progress_chars("=> "));
        Some(Self { bar, extent: options.extent, due: Moment::default(), drawn: Moment::default() })
    }

    /// When the line is to be drawn next.
    pub(crate) fn due(&self) -> Moment {
        self.due
    }

    pub(crate) fn draw(&mut self, load: &mut Load, now: Moment) {
        let (stage, ledger) = (load.stage, &mut load.ledger);
        let doing = match stage {
            Stage::Scouting | Stage::Connecting => "connecting",
            Stage::Asking if now < ledger.from() => "warming up",
            Stage::Asking => "measuring",
            Stage::Awaiting | Stage::Over => "waiting for answers",
        };
        let (mut answers, mut p99) = (0, 0);
        if let Some(recent) = &mut ledger.recent {
            (answers, p99) = (recent.len(), percentile(recent, 99.0));
            recent.reset();
        }
        self.bar.set_position(match self.extent {
            Extent::Duration(_) => ledger.measured(now).as_millis() as u64,
            Extent::Requests(_) => ledger.counts[Fact::Sent] - ledger.counts.pending(),
        });
        self.bar.set_message(format!(
            "{:.0} s {doing}: {} connected, {:.0}/s, p99 {}, {} errors",
            ledger.elapsed(now).as_secs_f64(),
            ledger.counts[Fact::ConnectionsOpened],
            answers as f64 / now.since(self.drawn).as_secs_f64().max(f64::MIN_POSITIVE),
            shown(p99),
            ledger.counts.errors()
        ));
        (self.drawn, self.due) = (now, now + INTERVAL);
    }

    pub(crate) fn close(self) {
        self.bar.finish_and_clear();
    }
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
        80
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
        self.draw(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
