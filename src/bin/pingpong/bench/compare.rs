//! `pingpong bench compare`: results of earlier runs against those of later ones.

use std::path::PathBuf;

use super::options::CompareOptions;
use super::report::files::{self, Publisher};
use super::report::{Change, Group};
use crate::error::Error;

/// Reads both groups, and compares them.
pub(crate) fn compare(options: &CompareOptions) -> Result<Change, Error> {
    let [old, new] = [group(&options.old)?, group(&options.new)?];
    let mut forced = Vec::new();
    if let Some((first, second, why)) = old.mismatch(&new) {
        if !options.force {
            return Err(Error::NotComparable { first, second, why });
        }
        forced.push(format!("{} and {}: {why}", first.display(), second.display()));
    }
    let change = Change::new(old, new, options.tolerance, forced);
    let publisher = Publisher::open(options.json.as_ref(), options.html.as_deref(), options.quiet)?;
    publisher.publish(&change, &change.page())?;
    Ok(change)
}

fn group(files: &[PathBuf]) -> Result<Group, Error> {
    let mut group = Group::default();
    for path in files {
        let results = files::read(path)?;
        group.add(path, results).map_err(|source| files::unread("compare", path, source))?;
    }
    Ok(group)
}
