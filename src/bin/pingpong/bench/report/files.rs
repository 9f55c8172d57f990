//! Where results go to and come from: files, standard output.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, PIPE_BUF};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use pingpong::outlet::{Room, open_without_waiting, room};

use crate::error::Error;

use super::Results;
use super::json::{OtherKind, foreign};
use super::page::Page;
use super::proof;
use super::result_file::{Opened, ResultFile};
use super::scan::Scan;
use crate::bench::Output;

/// How many bytes of results are read at once: as many as a pipe holds.
const AT_ONCE: usize = 1 << 16;

/// What is reported: as text, that is its `Display`, as JSON, and in short.
pub(crate) trait Published: fmt::Display {
    fn to_json(&self) -> String;

    /// Lines to be found by grep.
    fn last_lines(&self) -> String;

    /// What else is to be known where only these are shown, or JSON.
    fn remarks(&self) -> Vec<String>;
}

impl Published for Results {
    fn to_json(&self) -> String {
        self.to_json()
    }

    fn last_lines(&self) -> String {
        self.last_lines()
    }

    fn remarks(&self) -> Vec<String> {
        self.warnings().into_iter().chain(self.complaints()).collect()
    }
}

/// Reads results that `--json` wrote.
pub(crate) fn read(path: &Path) -> Result<Results, Error> {
    let results = fs::read_to_string(path).and_then(|text| Results::from_json(&text));
    results.map_err(|source| unread("read", path, source))
}

/// Why a file's results are of no use.
pub(crate) fn unread(to: &'static str, path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    match source.get_ref().is_some_and(|source| source.is::<OtherKind>()) {
        true => Error::NotOneRun { path, source },
        false => Error::File { to, path, source },
    }
}

/// Reads the results in a file, or in standard input (`-`), and gives each on with what it is called: a thousand of them
/// need not be there at once. Returns how many there were: none only in a file without a byte.
pub(crate) fn read_each(path: &Path, mut take: impl FnMut(String, Results) -> Result<(), Error>) -> Result<u64, Error> {
    let (name, input): (PathBuf, Box<dyn BufRead>) = match path.as_os_str() == "-" {
        true => ("standard input".into(), Box::new(BufReader::with_capacity(AT_ONCE, io::stdin().lock()))),
        false => {
            let file = File::open(path).map_err(|source| Error::File { to: "read", path: path.into(), source })?;
            if file.metadata().is_ok_and(|about| about.is_file() && about.len() == 0) {
                return Ok(0);
            }
            (path.to_owned(), Box::new(BufReader::with_capacity(AT_ONCE, file)))
        }
    };
    let wrong = |source| unread("read", &name, source);
    let (mut scan, mut count) = (Scan::new(input), 0_u64);
    loop {
        match scan.next() {
            Ok(Some((1, results))) if name == path => take(path.display().to_string(), results)?,
            Ok(Some((line, results))) => take(format!("line {line} of {}", name.display()), results)?,
            Ok(None) if count > 0 => break,
            // A file that some other program has written anew, in its own way.
            _ if count == 0 && path.is_file() => return take(path.display().to_string(), read(path)?).map(|()| 1),
            Ok(None) => {
                let lines = scan.passed_over;
                return Err(wrong(foreign(&format!("no results of 'pingpong bench --json' in its {lines} lines"))));
            }
            Err(source) => return Err(wrong(source)),
        }
        count += 1;
    }
    Ok(count)
}

/// Where a report goes: as text to standard output, as JSON there instead or into a file, as a page into a
/// file.
#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    json: Option<ResultFile<'a>>,
    html: Option<ResultFile<'a>>,
    prints: Printed,
    /// Remarks go to standard error unless the report, or quiet JSON, is where they are read.
    tells_remarks: bool,
    feed: Feed,
    opened: Opened,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printed {
    Report,
    LastLine,
    Json,
}

impl<'a> Publisher<'a> {
    pub(crate) fn open(json: Option<&'a Output>, html: Option<&'a Path>, is_quiet: bool) -> Result<Self, Error> {
        let prints = match json {
            Some(Output::Stdout) => Printed::Json,
            _ if is_quiet => Printed::LastLine,
            _ => Printed::Report,
        };
        let mut opened = Opened::new();
        let json = match json {
            Some(Output::File(path)) => Some(opened.open(path)?),
            _ => None,
        };
        let html = html.map(|path| opened.open(path)).transpose()?;
        let tells_remarks = match prints {
            Printed::Report => false,
            Printed::LastLine => true,
            Printed::Json => !is_quiet,
        };
        Ok(Self { json, html, prints, tells_remarks, feed: Feed::default(), opened })
    }

    /// Opens a file for something else of the same run.
    pub(crate) fn open_beside(&mut self, path: &'a Path) -> Result<ResultFile<'a>, Error> {
        self.opened.open(path)
    }

    /// Prints a part of the report while the run goes on, as far as standard output takes it now.
    pub(crate) fn tell(&mut self, text: &str) {
        if self.prints == Printed::Report {
            self.feed.tell(text);
        }
    }

    /// Where one of the outputs fails, the others are still written.
    pub(crate) fn publish(self, results: &impl Published, page: &Page<'_>) -> Result<(), Error> {
        let drawn = self.html.map_or(Ok(()), |file| file.write(|file| file.write_all(page.to_html()?.as_bytes())));
        let saved = self.json.map_or(Ok(()), |file| file.write(|file| file.write_all(results.to_json().as_bytes())));
        if self.tells_remarks {
            for warning in results.remarks() {
                log::warn!("{warning}");
            }
        }
        if self.prints == Printed::Json {
            take_turn();
        }
        let text = match self.prints {
            Printed::Report => results.to_string(),
            Printed::LastLine => results.last_lines(),
            Printed::Json => in_one_line(&results.to_json()),
        };
        match print(&[&self.feed.waiting, text.as_bytes()].concat()) {
            // When the reader has gone, no report is missed.
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
                drawn.and(saved).and(Err(pingpong::Error::Output { source }.into()))
            }
            _ => drawn.and(saved),
        }
    }
}

/// Text for standard output that is never waited for: a reader that is slow or stopped keeps no signal from ending a run.
#[derive(Debug, Default)]
struct Feed {
    /// Standard output, opened anew: where it can be, and once it was needed.
    own: Option<Option<File>>,
    /// What it has not taken yet.
    waiting: Vec<u8>,
}

impl Feed {
    fn tell(&mut self, text: &str) {
        self.waiting.extend_from_slice(text.as_bytes());
        let own = self.own.get_or_insert_with(|| open_without_waiting(io::stdout()));
        while !self.waiting.is_empty() {
            let part = &self.waiting[..self.waiting.len().min(PIPE_BUF)];
            let written = match own {
                Some(own) => own.write(part),
                None if room(io::stdout()) == Room::Ready => nix::unistd::write(io::stdout(), part).map_err(Into::into),
                None => return,
            };
            // What is wrong with it shows at the end, when all is written that waits.
            let Ok(written) = written else { return };
            self.waiting.drain(..written);
        }
    }
}

/// Writes to standard output, and waits for its reader also where another process has made it non-blocking.
fn print(mut text: &[u8]) -> io::Result<()> {
    let stdout = io::stdout();
    while !text.is_empty() {
        match nix::unistd::write(stdout.as_fd(), text) {
            Ok(written) => text = &text[written..],
            Err(Errno::EAGAIN) => {
                // What poll(2) itself says makes no difference: the next write(2) tells.
                let _ = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Waits until no other process writes its results to the same pipe, as parts of a load that a shell has started may do: a
/// line is longer than what one write(2) puts there undivided. What cannot be locked is written to all the same. The lock
/// ends with the process (fcntl_locking(2)).
fn take_turn() {
    if !fstat(io::stdout()).is_ok_and(|stdout| stdout.st_mode & libc::S_IFMT == libc::S_IFIFO) {
        return;
    }
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let _ = fcntl(io::stdout(), FcntlArg::F_SETLKW(&whole));
}

/// JSON in one line with its checksum, which collectors of many processes' output keep whole. Its line ends are all between its parts: in
/// texts they are escaped.
fn in_one_line(json: &str) -> String {
    let line: String = json.lines().map(str::trim_start).collect();
    proof::sealed(&line) + "\n"
}
