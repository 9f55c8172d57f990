//! How many descriptors this process may have (getrlimit(2)).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are no connection's: the loop's own, standard streams, log files, name look-ups.
pub(crate) const RESERVED: usize = 16;

/// What is assumed where the limit cannot be read: the usual soft one.
const USUAL: u64 = 1024;

/// Raises the soft limit to the hard one. Returns how many descriptors there may be now.
pub(crate) fn raise_limit() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(USUAL, |(soft, hard)| {
        let is_raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        if is_raised { hard } else { soft }
    });
    usize::try_from(limit).unwrap_or(usize::MAX)
}
