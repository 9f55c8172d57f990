//! Descriptors: how many this process may have (getrlimit(2)).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept for what is no connection: the loop's own, log files, name look-ups.
pub(crate) const RESERVED: usize = 16;

/// Raises the soft limit to the hard one; how many descriptors there may be now.
pub(crate) fn raise_limit() -> usize {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, hard)| {
        let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        if raised { hard } else { soft }
    });
    usize::try_from(descriptors).unwrap_or(usize::MAX)
}
