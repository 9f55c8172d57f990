//! Where results go to and come from: files, standard output.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::error::Error;

use super::Report;
use crate::bench::Output;

/// Reads results that `--json` wrote.
pub(crate) fn read(path: &Path) -> Result<Report, Error> {
    let report = fs::read_to_string(path).and_then(|text| Report::from_json(&text));
    report.map_err(|source| Error::File { to: "read", path: path.into(), source })
}

/// A file for results, made anew.
#[derive(Debug)]
pub(crate) struct ResultFile<'a> {
    file: File,
    path: &'a Path,
}

impl<'a> ResultFile<'a> {
    pub(crate) fn create(path: &'a Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(|source| Error::File { to: "write", path: path.into(), source })?;
        Ok(Self { file, path })
    }

    pub(crate) fn write(mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
        write(&mut self.file).map_err(|source| Error::File { to: "write", path: self.path.into(), source })
    }
}

/// Where a report goes: as text to standard output, as JSON there instead or into a file.
#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    json: Option<ResultFile<'a>>,
    prints: Printed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printed {
    Report,
    LastLine,
    Json,
}

impl<'a> Publisher<'a> {
    pub(crate) fn open(json: Option<&'a Output>, is_quiet: bool) -> Result<Self, Error> {
        let prints = match json {
            Some(Output::Stdout) => Printed::Json,
            _ if is_quiet => Printed::LastLine,
            _ => Printed::Report,
        };
        let json = match json {
            Some(Output::File(path)) => Some(ResultFile::create(path)?),
            _ => None,
        };
        Ok(Self { json, prints })
    }

    pub(crate) fn publish(self, report: &Report) -> Result<(), Error> {
        if let Some(file) = self.json {
            file.write(|file| file.write_all(report.to_json().as_bytes()))?;
        }
        let text = match self.prints {
            Printed::Report => report.to_string(),
            Printed::LastLine => report.last_line() + "\n",
            Printed::Json => report.to_json(),
        };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // When the reader has gone, no report is missed.
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
                return Err(pingpong::Error::Output { source }.into());
            }
            _ => {}
        }
        if self.prints != Printed::Report {
            for warning in report.warnings() {
                log::warn!("{warning}");
            }
        }
        Ok(())
    }
}
