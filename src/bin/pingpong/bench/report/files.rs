//! Where results go: files, standard output.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::Report;
use crate::bench::Output;
use crate::error::Error;

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
        // Whoever does not read it will not miss it.
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        if self.prints != Printed::Report {
            report.warnings().iter().for_each(|warning| log::warn!("{warning}"));
        }
        Ok(())
    }
}
