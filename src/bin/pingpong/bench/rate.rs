//! How many requests a second are due, and how they are spread: the words of `--rate` and `--arrivals`.

use std::fmt;

use super::part::Part;

/// Requests a second over all connections: as many all the time, or more and more (or fewer and fewer) of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    /// When the measured time begins, and before.
    pub(crate) first: f64,
    /// When it ends: between them the rate changes evenly.
    pub(crate) last: f64,
}

impl Rate {
    /// As many all the time.
    pub(crate) fn even(per_second: f64) -> Self {
        Self { first: per_second, last: per_second }
    }

    pub(crate) fn is_ramp(self) -> bool {
        self.first != self.last
    }

    /// On average over the measured time.
    pub(crate) fn mean(self) -> f64 {
        self.first.midpoint(self.last)
    }

    /// When it is highest.
    pub(crate) fn peak(self) -> f64 {
        self.first.max(self.last)
    }
}

/// As the command line has it.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.is_ramp() { write!(f, "..{}", self.last) } else { Ok(()) }
    }
}

/// How requests are spread that are due at a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// The time between two of them is always the same.
    #[default]
    Even,
    /// It is random, as if many users asked who know nothing of each other: exponentially distributed.
    Poisson {
        /// Repeats the same times.
        seed: u64,
    },
}

impl Arrivals {
    /// Those of the phase that `steps` others come before: the times of one step tell nothing of the next one's.
    pub(crate) fn after(self, steps: u64) -> Self {
        match self {
            Self::Even => Self::Even,
            Self::Poisson { seed } => Self::Poisson { seed: seed.wrapping_add(steps) },
        }
    }

    /// Those of one part of a load, whose random times tell nothing of those of the others.
    pub(crate) fn of_part(self, part: Option<Part>) -> Self {
        match (self, part) {
            (Self::Poisson { seed }, Some(part)) => Self::Poisson { seed: part.seed(seed) },
            (whole, _) => whole,
        }
    }
}
