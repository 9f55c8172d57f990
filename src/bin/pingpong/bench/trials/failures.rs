//! Whether more requests fail than before.

use super::compare::is_seen;
use super::student;

/// Requests of a block, or of a run: how many failed, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Failures {
    pub(crate) failed: u64,
    pub(crate) all: u64,
}

impl Failures {
    pub(crate) fn share(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.failed as f64 / self.all as f64 }
    }

    fn plus(self, other: Self) -> Self {
        Self { failed: self.failed + other.failed, all: self.all + other.all }
    }
}

/// Whether the second's share of failures is above the first's by more than chance allows.
///
/// Chance is the larger of two: that of requests which fail independently of each other (binomial), and that of the parts
/// given, which differ more where failures come in bunches (Student): one standstill is one event, however many requests it
/// meets.
pub(crate) fn are_more(first: &[Failures], second: &[Failures]) -> bool {
    let [first, second] = [first, second].map(|parts| parts.iter().filter(|part| part.all > 0).copied().collect());
    let (first, second): (Vec<Failures>, Vec<Failures>) = (first, second);
    let Some(degrees) = (first.len() + second.len()).checked_sub(2).filter(|degrees| *degrees > 0) else {
        return false;
    };
    let sum = |parts: &[Failures]| parts.iter().copied().fold(Failures::default(), Failures::plus);
    let (a, b) = (sum(&first), sum(&second));
    if a.all == 0 || b.all == 0 || b.share() <= a.share() {
        return false;
    }
    let squares = |parts: &[Failures], mean: f64| parts.iter().map(|part| (part.share() - mean).powi(2)).sum::<f64>();
    let variance = (squares(&first, a.share()) + squares(&second, b.share())) / degrees as f64;
    let of_parts = variance * (1.0 / first.len() as f64 + 1.0 / second.len() as f64);
    let share = a.plus(b).share();
    let of_requests = share * (1.0 - share) * (1.0 / a.all as f64 + 1.0 / b.all as f64);
    let error = of_parts.max(of_requests).sqrt();
    is_seen(1.0 - student::within((b.share() - a.share()) / error, degrees))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of a hundred requests.
    fn blocks(failed: impl IntoIterator<Item = u64>) -> Vec<Failures> {
        failed.into_iter().map(|failed| Failures { failed, all: 100 }).collect()
    }

    #[test]
    fn more_failures_are_told_from_chance() {
        let none = blocks([0; 32]);
        let lossy = blocks([4; 32]);
        assert!(are_more(&none, &lossy) && !are_more(&lossy, &none) && !are_more(&lossy, &lossy));
        assert!(are_more(&lossy, &blocks([8; 32])));
        // As many as might have met the others: 3, and then 12, of as many requests.
        let some = |count: usize| blocks((0..32).map(|block| u64::from(block < count)));
        assert!(!are_more(&none, &some(3)) && are_more(&none, &some(12)));
        assert!(!are_more(&some(12), &some(16)));
        // All in one bunch.
        assert!(!are_more(&none, &blocks((0..32).map(|block| if block == 7 { 100 } else { 0 }))));
    }

    #[test]
    fn runs_are_parts_too() {
        let runs = |failed: &[u64]| -> Vec<Failures> {
            failed.iter().map(|failed| Failures { failed: *failed, all: 4_000 }).collect()
        };
        assert!(are_more(&runs(&[0, 0, 0]), &runs(&[160, 168, 155])));
        assert!(!are_more(&runs(&[0, 0, 0]), &runs(&[1, 1, 1])));
        assert!(!are_more(&runs(&[0, 0, 0]), &runs(&[0, 0, 400])), "it was one of them");
        assert!(!are_more(&runs(&[0]), &runs(&[400])), "nothing is known of how they differ");
        assert!(!are_more(&[], &runs(&[1, 2, 3])));
    }
}
