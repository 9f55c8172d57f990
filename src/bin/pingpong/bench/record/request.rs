//! A request as the ledger is told of it: sent, answered, or why it was not sent.

use pingpong::Moment;

/// One request that has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) due: Moment,
    pub(crate) sent: Moment,
}

/// A request that has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) request: Request,
    /// Its time was up, and it had been counted as lost.
    pub(crate) was_overdue: bool,
    /// A later request of the same connection was answered before it.
    pub(crate) is_overtaken: bool,
}

/// Why requests that were due were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hindrance {
    TooManyUnanswered,
    NoConnection,
    TooSlow,
}

impl Hindrance {
    /// As reports tell it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::TooManyUnanswered => "too many were unanswered, or the server took no more",
            Self::NoConnection => "no connection was left",
            Self::TooSlow => "the load generator was too slow",
        }
    }
}
