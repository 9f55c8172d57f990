//! [`Seldom`]: keeps a warning that any packet could cause from filling the log.

use std::time::Duration;

use crate::moment::Moment;

/// The shortest time between two log lines of one warning.
const EVERY: Duration = Duration::from_secs(10);

/// When a warning was last logged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seldom(Option<Moment>);

impl Seldom {
    /// Whether the warning may be logged now. Notes that it is.
    pub(super) fn may(&mut self, now: Moment) -> bool {
        let may = self.0.is_none_or(|last| now >= last + EVERY);
        if may {
            self.0 = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_given_at_once_and_again_after_ten_seconds() {
        let mut seldom = Seldom::default();
        let second = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let told: Vec<bool> = [0, 1, 9, 10, 19, 20].into_iter().map(|at| seldom.may(second(at))).collect();
        assert_eq!(told, [true, false, false, true, false, true]);
    }
}
