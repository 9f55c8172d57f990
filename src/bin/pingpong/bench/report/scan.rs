//! Finds results of `--json` in text that has other things in it: logs of jobs, with or without a prefix on each line.
//!
//! A result is taken
//!
//! - from one line, as `--json` prints it: from `{"schema":` on, whatever stands before it (`0: ` by `srun --label`, `[pod/x] `
//!   by `kubectl --prefix`, `host` and a tab by `parallel --tag`) and behind it
//! - from several lines with the same text before them, into which `srun --label` cuts a long one (`pieces`)
//! - in the form of a file, as `--json=FILE` writes it: from a line `{` with `"schema":` in the next one, to its line `}`
//!
//! Everything else is passed over, and need not be UTF-8. What looks like a result or a piece of one and cannot be read is
//! an error, with the number of its line: a sum without it would be one of fewer parts, and not say so.

use std::io::{self, BufRead, Read};
use std::mem;

use memchr::memmem;

use super::Results;
use super::json::foreign;
use super::pieces::{Line, Pieces};
use super::proof;
use super::sheet::{Fault, Sheet};

/// The longest line, and the longest result.
const LONGEST: usize = 256 << 20;

/// What only a result has in it.
const PIECES: [&[u8]; 2] = [b"\"measured_from_unix_seconds\":", b"\"significant_digits\":"];

/// A result within a string of other JSON, as in the log files of Docker.
const QUOTED: &[u8] = br#"{\"schema\":"#;

/// Looks for results from line to line.
#[derive(Debug)]
pub(super) struct Scan<R> {
    input: R,
    /// The line that is looked at, without its end, and its number, from 1.
    line: Vec<u8>,
    number: u64,
    /// Where what was not looked at yet begins in it.
    at: usize,
    /// A result was in it.
    is_taken: bool,
    /// What was cut, and goes on in later lines.
    pieces: Pieces,
    /// Lines in which nothing was found.
    pub(super) passed_over: u64,
}

impl<R: BufRead> Scan<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, at: 0, is_taken: false, pieces: Pieces::default(), passed_over: 0 }
    }

    /// The next result, and the number of the line in which it begins.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Results)>> {
        loop {
            if let Some(results) = self.in_line()? {
                return Ok(Some((self.number, results)));
            }
            if !self.read_line()? {
                return self.pieces.first().map_or(Ok(None), |(line, length)| Err(broken(line, length, Fault::Cut)));
            }
            let found = match self.pieces.go_on(&self.line) {
                Line::Foreign => self.in_lines()?,
                Line::Piece => {
                    self.line.clear();
                    None
                }
                Line::Last(line, text) => {
                    self.line.clear();
                    let (sheet, _) = Sheet::at_beginning_of(&text).map_err(|fault| broken(line, text.len(), fault))?;
                    let results = results_in(sheet, &text, line)?;
                    // The beginning of one that is lost in its midst is no other program's.
                    let lost = || broken(line, text.len(), Fault::Broken(text.len()));
                    Some((line, results.ok_or_else(lost)?))
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// In the rest of the line.
    fn in_line(&mut self) -> io::Result<Option<Results>> {
        while let Some(Beginning { place, is_sure }) = beginning(&self.line[self.at..]) {
            let text = &self.line[self.at + place..];
            match Sheet::at_beginning_of(text) {
                Ok((sheet, length)) => {
                    let results = results_in(sheet, &text[..length], self.number)?;
                    self.at += place + length;
                    self.is_taken |= results.is_some();
                    if results.is_some() {
                        return Ok(results);
                    }
                }
                // By what stands before it the rest of it is found.
                Err(Fault::Cut) if is_sure && self.at == 0 && place > 0 => {
                    let before = self.pieces.begin(&self.line[..place], self.number, text);
                    self.line.clear();
                    return before.map_or(Ok(None), |(line, length)| Err(broken(line, length, Fault::Cut)));
                }
                Err(fault) if is_sure => return Err(broken(self.number, text.len(), fault)),
                Err(_) => break,
            }
        }
        let text = &self.line[self.at..];
        if PIECES.iter().any(|piece| memmem::find(text, piece).is_some()) {
            if let Some((line, length)) = self.pieces.first() {
                return Err(broken(line, length, Fault::Cut));
            }
            let why = "has a piece of a result, which has to be on one line (--json without a file writes it so)";
            return Err(within(self.number, why));
        }
        if memmem::find(text, QUOTED).is_some() {
            return Err(within(
                self.number,
                "has a result within a string of other JSON: unpack it first (jq -r .log)",
            ));
        }
        self.passed_over += u64::from(!self.is_taken && !self.line.is_empty());
        self.line.clear();
        self.at = 0;
        Ok(None)
    }

    /// In the form of a file, if that begins here.
    fn in_lines(&mut self) -> io::Result<Option<(u64, Results)>> {
        while self.line.trim_ascii() == b"{" {
            let (first, text) = (self.number, mem::take(&mut self.line));
            if !self.read_line()? || !self.line.trim_ascii_start().starts_with(b"\"schema\":") {
                self.passed_over += 1;
            } else if let Some(results) = self.gather(first, text)? {
                return Ok(Some((first, results)));
            }
        }
        Ok(None)
    }

    /// The lines to the end of the object that began in this one; `None` where it is another program's.
    fn gather(&mut self, first: u64, mut text: Vec<u8>) -> io::Result<Option<Results>> {
        loop {
            text.push(b'\n');
            text.append(&mut self.line);
            if text.len() > LONGEST {
                return Err(within(first, "begins a result without an end"));
            }
            let last = text.rsplit(|byte| *byte == b'\n').next();
            if last.is_some_and(|last| last.trim_ascii_end() == b"}") {
                match Sheet::at_beginning_of(&text) {
                    Ok((sheet, length)) => {
                        let results = results_in(sheet, &text[..length], first)?;
                        self.passed_over += if results.is_none() { self.number + 1 - first } else { 0 };
                        return Ok(results);
                    }
                    // The end of its last step.
                    Err(Fault::Cut) => {}
                    Err(fault) => return Err(broken(first, text.len(), fault)),
                }
            }
            if !self.read_line()? {
                return Err(within(first, "begins a result whose end is missing"));
            }
        }
    }

    /// Returns whether there is one.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        (self.at, self.is_taken) = (0, false);
        let most = (&mut self.input).take(LONGEST as u64);
        let length = { most }.read_until(b'\n', &mut self.line)?;
        self.number += 1;
        if length == LONGEST {
            return Err(within(self.number, "is longer than 256 MiB, which no result is"));
        }
        // No result has a carriage return in it: behind one that is cut it would stand in its midst.
        for end in *b"\n\r" {
            self.line.pop_if(|last| *last == end);
        }
        Ok(length > 0)
    }
}

/// Where a result may begin.
struct Beginning {
    place: usize,
    /// Not only may: what stands there looks like nothing else.
    is_sure: bool,
}

fn beginning(text: &[u8]) -> Option<Beginning> {
    const SCHEMA: &[u8] = b"\"schema\":";
    memmem::find_iter(text, SCHEMA).find_map(|place| {
        let is_numbered = text[place + SCHEMA.len()..].trim_ascii_start().first().is_some_and(u8::is_ascii_digit);
        let before = text[..place].trim_ascii_end();
        let beginning = if before.ends_with(b"{") {
            Some(Beginning { place: before.len() - 1, is_sure: true })
        } else {
            // Other programs may have sorted the names in it.
            memmem::find(before, b"{\"").map(|place| Beginning { place, is_sure: false })
        };
        beginning.filter(|_| is_numbered)
    })
}

/// The results that this object is, which began in this line; `None` where it is not one of ours, of whichever version.
fn results_in(sheet: Sheet<'_>, object: &[u8], line: u64) -> io::Result<Option<Results>> {
    if !["metrics", "steps", "servers"].iter().any(|name| sheet.get(name).is_some()) {
        return Ok(None);
    }
    let results = proof::check(object).and_then(|()| Results::of_sheet(sheet));
    // What looks like a result is none of this version, or other text got into it.
    results.map(Some).map_err(|error| within(line, &format!("has a result that cannot be read: {error}")))
}

fn broken(line: u64, length: usize, fault: Fault) -> io::Error {
    let why = match fault {
        Fault::Cut => format!(
            "begins a result that is cut after {length} bytes (by a collector of logs that cuts long lines, or by another \
             process at the same pipe? see the README, or write --json=FILE)"
        ),
        Fault::Broken(place) => format!("begins a result that is broken {place} bytes later (other text got into it?)"),
    };
    within(line, &why)
}

fn within(line: u64, what: &str) -> io::Error {
    foreign(&format!("line {line} {what}"))
}
