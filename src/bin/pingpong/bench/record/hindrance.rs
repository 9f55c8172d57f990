//! Why requests were not sent.

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
