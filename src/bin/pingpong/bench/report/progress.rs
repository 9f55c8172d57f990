//! What a terminal shows while a load runs. Nothing where standard error is none.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::text::shown;
use crate::bench::load::{Load, Phase};
use crate::bench::record::counts::Fact;
use crate::bench::{BenchOptions, Extent};
use pingpong::Moment;
use pingpong::outlet::open_without_waiting;

/// How often it is drawn anew: often enough to look alive, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    next: Moment,
    shown: Moment,
    answered: u64,
}

impl Progress {
    /// On a terminal, if it is wanted.
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
        bar.set_style(
            ProgressStyle::with_template("{bar:16} {msg}").expect("the template is sound").progress_chars("=> "),
        );
        Some(Self { bar, next: Moment::default(), shown: Moment::default(), answered: 0 })
    }

    /// When it wants to be drawn next.
    pub(crate) fn due(&self) -> Moment {
        self.next
    }

    pub(crate) fn draw(&mut self, load: &mut Load, extent: Extent, now: Moment) {
        let passed = now.since(self.shown).as_secs_f64();
        let rate = (load.ledger.answered - self.answered) as f64 / passed.max(f64::MIN_POSITIVE);
        let connected = load.ledger.counts[Fact::ConnectionsOpened];
        let elapsed = now.since(load.dialled).as_secs_f64();
        let doing = match load.phase {
            Phase::Scouting | Phase::Connecting => "connecting",
            Phase::Asking if now < load.ledger.from() => "warming up",
            Phase::Asking => "measuring",
            Phase::Settling | Phase::Over => "waiting for answers",
        };
        let p99 = load.ledger.recent.as_mut().map_or(0, |recent| {
            let p99 = recent.value_at_percentile(99.0);
            recent.reset();
            p99
        });
        self.bar.set_position(match extent {
            Extent::Duration(_) => load.ledger.measured(now).as_millis() as u64,
            Extent::Requests(_) => load.ledger.counts[Fact::Sent] - load.ledger.counts.open(),
        });
        self.bar.set_message(format!(
            "{elapsed:.0} s {doing}: {connected} connected, {rate:.0}/s, p99 {}, {} errors",
            shown(p99),
            load.ledger.counts.errors()
        ));
        (self.answered, self.shown, self.next) = (load.ledger.answered, now, now + INTERVAL);
    }

    pub(crate) fn close(self) {
        self.bar.finish_and_clear();
    }
}

/// Standard error as a terminal that nobody waits for: what it cannot take now is not drawn.
#[derive(Debug)]
struct Screen(File);

impl Screen {
    fn draw(&self, text: impl std::fmt::Display) -> io::Result<()> {
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
