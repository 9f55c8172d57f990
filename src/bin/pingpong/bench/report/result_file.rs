//! A file for results: opened before a run, to know that it can be written, and written after it.
//!
//! What is in it stays until there are results: a run that comes to nothing takes no earlier ones with it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::stat::{fstat, stat};

use crate::error::Error;

/// A device, and a file on it.
type Place = (libc::dev_t, libc::ino_t);

/// The files that results of a run go to, standard output among them: each to one of its own.
#[derive(Debug)]
pub(super) struct Opened(Vec<(Place, PathBuf)>);

#[derive(Debug)]
pub(crate) struct ResultFile<'a> {
    file: File,
    path: &'a Path,
    /// It was not there before, and nothing has been written to it.
    is_unused: bool,
}

impl Opened {
    pub(super) fn new() -> Self {
        Self(place_of(io::stdout()).map(|place| (place, "standard output".into())).into_iter().collect())
    }

    /// Fails where another output goes to the same file, whatever it is called.
    pub(super) fn open<'a>(&mut self, path: &'a Path) -> Result<ResultFile<'a>, Error> {
        let file = ResultFile::open(path).map_err(|source| Error::File { to: "write", path: path.into(), source })?;
        if let Some(place) = place_of(&file.file) {
            if let Some((_, other)) = self.0.iter().find(|(taken, _)| *taken == place) {
                return Err(Error::SameFile { path: path.into(), other: other.clone() });
            }
            self.0.push((place, path.into()));
        }
        Ok(file)
    }
}

impl<'a> ResultFile<'a> {
    fn open(path: &'a Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true);
        match options.clone().create_new(true).open(path) {
            Ok(file) => Ok(Self { file, path, is_unused: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Also for a link to a file that is not there.
                let file = options.create(true).open(path)?;
                Ok(Self { file, path, is_unused: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Fails also where the file takes the results and then cannot keep them (a quota, a network's disk).
    pub(crate) fn write(mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
        self.is_unused = false;
        let emptied = if place_of(&self.file).is_some() { self.file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| write(&mut self.file)).and_then(|()| kept(self.file.sync_data()));
        written.map_err(|source| Error::File { to: "write", path: self.path.into(), source })
    }
}

/// What was made for results that did not come is removed, unless another file has taken its name.
impl Drop for ResultFile<'_> {
    fn drop(&mut self) {
        let is_there = || stat(self.path).is_ok_and(|named| place_of(&self.file) == Some((named.st_dev, named.st_ino)));
        if self.is_unused && is_there() {
            // It is empty, and stays so where it cannot be removed.
            let _ = fs::remove_file(self.path);
        }
    }
}

/// Where a regular file is.
fn place_of(file: impl AsFd) -> Option<Place> {
    let stat = fstat(file).ok()?;
    (stat.st_mode & libc::S_IFMT == libc::S_IFREG).then_some((stat.st_dev, stat.st_ino))
}

/// What fsync(2) says of a file that has been written. A pipe or a device need not know how to do it.
fn kept(synced: io::Result<()>) -> io::Result<()> {
    match synced.as_ref().map_err(io::Error::raw_os_error) {
        Err(Some(libc::EINVAL | libc::ENOTSUP | libc::EROFS | libc::ENOSYS)) => Ok(()),
        _ => synced,
    }
}
