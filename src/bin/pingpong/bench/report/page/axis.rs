//! Axes of a chart: where a value lies on them, and which values are marked.

use crate::bench::report::text::{grouped, per_second, rate, shown};

/// Marks beside 0 that an even axis has at the most.
const MARKS: f64 = 6.0;

/// One axis of a chart. Places on it are what is drawn: logarithms where its values are spread by them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// What is told there, and its unit.
    pub(super) title: String,
    pub(super) from: f64,
    pub(super) to: f64,
    /// The places that are marked, in order, and what stands there.
    pub(super) marks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to this value at least, evenly.
    pub(super) fn even(title: &str, most: f64) -> Self {
        if most <= 0.0 {
            return Self { title: title.to_owned(), from: 0.0, to: 1.0, marks: vec![(0.0, "0".to_owned())] };
        }
        // Room for the line at the top.
        let most = most * 1.05;
        let step = step_for(most / MARKS);
        let label = |value: f64| if step < 1.0 { rate(value) } else { grouped(value.round() as u64) };
        let marks = (0..).map(|count| count as f64 * step).take_while(|value| *value <= most);
        Self { title: title.to_owned(), from: 0.0, to: most, marks: marks.map(|value| (value, label(value))).collect() }
    }

    /// Of seconds since a run began, to its end.
    pub(super) fn seconds(title: &str, end: f64) -> Self {
        let axis = Self::even(title, end);
        Self {
            to: if end > 0.0 { end } else { 1.0 },
            marks: axis.marks.into_iter().filter(|(at, _)| *at <= end).collect(),
            ..axis
        }
    }

    /// Of times in nanoseconds, by their logarithm.
    pub(super) fn times(title: &str, shortest: f64, longest: f64) -> Self {
        Self::logarithmic(title, shortest, longest, bare)
    }

    /// Of rates, by their logarithm.
    pub(super) fn rates(title: &str, lowest: f64, highest: f64) -> Self {
        Self::logarithmic(title, lowest, highest, per_second)
    }

    fn logarithmic(title: &str, shortest: f64, longest: f64, label: fn(f64) -> String) -> Self {
        let (shortest, longest) = (shortest.max(1.0), longest.max(shortest).max(1.0));
        let decades = (longest / shortest).log10();
        let factors: &[f64] = match decades {
            ..1.0 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
            ..2.5 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let powers = (place_of(shortest).floor() as i32 - 1)..=(place_of(longest).ceil() as i32);
        let steps: Vec<f64> =
            powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power))).collect();
        let below = steps.iter().rev().find(|step| **step <= shortest).copied().unwrap_or(shortest);
        let above = steps.iter().find(|step| **step > longest).copied().unwrap_or(longest * 2.0);
        let within = steps.into_iter().filter(|step| *step >= below && *step <= above && *step >= 1.0);
        let marks = within.map(|step| (place_of(step), label(step))).collect();
        Self { title: title.to_owned(), from: place_of(below.max(1.0)), to: place_of(above), marks }
    }

    /// Of percentiles, by how few answers lie beyond them: 90, 99 and 99.9 % are as far from each other. Of so many
    /// answers.
    pub(super) fn percentiles(title: &str, answers: u64) -> Self {
        let to = nines(1.0, answers).max(1.0);
        let nines = (1..).take_while(|nines| f64::from(*nines) <= to);
        let mut marks = vec![(0.0, "0".to_owned()), (2f64.log10(), "50".to_owned())];
        marks.extend(nines.map(|nines| {
            let decimals = (nines - 2).max(0) as usize;
            (f64::from(nines), format!("{:.decimals$}", 100.0 - 100.0 / 10f64.powi(nines)))
        }));
        Self { title: title.to_owned(), from: 0.0, to, marks }
    }

    /// The marks that have room beside each other where `place` is the pixel of a mark and `extent` what its text takes.
    pub(super) fn roomy(&self, pixels: f64, extent: impl Fn(&str) -> f64) -> Vec<f64> {
        let mut free_from = f64::NEG_INFINITY;
        let roomy = self.marks.iter().filter(|(at, text)| {
            let middle = (at - self.from) / (self.to - self.from) * pixels;
            let half = extent(text) / 2.0;
            let has_room = middle - half >= free_from;
            if has_room {
                free_from = middle + half;
            }
            has_room
        });
        roomy.map(|(at, _)| *at).collect()
    }

    /// What stands at the mark that is there.
    pub(super) fn label(&self, at: f64) -> String {
        self.marks.iter().find(|(mark, _)| (mark - at).abs() < 1e-9).map_or(String::new(), |(_, text)| text.clone())
    }
}

/// Where a time in nanoseconds lies on an axis of times.
pub(super) fn place_of(nanos: f64) -> f64 {
    nanos.max(1.0).log10()
}

/// Where a share of so many answers lies on an axis of percentiles. All of them would be endlessly far: they lie where the
/// last answer is half reached.
pub(super) fn nines(share: f64, answers: u64) -> f64 {
    let beyond = (1.0 - share).max(0.5 / answers.max(1) as f64);
    -beyond.min(1.0).log10()
}

/// The first of 1, 2, 5, 10 … times a power of ten that is not below this.
fn step_for(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

/// A round time without digits that say nothing: `20 ms`, not `20.0 ms`.
fn bare(nanos: f64) -> String {
    let text = shown(nanos.round() as u64);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn percentiles_are_marked_by_their_nines() {
        let axis = Axis::percentiles("", 60_000);
        assert_eq!(texts(&axis), ["0", "50", "90", "99", "99.9", "99.99", "99.999"]);
        assert!((nines(0.999, 60_000) - 3.0).abs() < 1e-9 && (nines(1.0, 50) - 2.0).abs() < 1e-9);
        assert_eq!(texts(&Axis::percentiles("", 0)), ["0", "50", "90"]);
        assert_eq!(nines(0.0, 10), 0.0);
    }

    #[test]
    fn times_lie_between_round_ones() {
        let axis = Axis::times("", 31_000.0, 2_200_000.0);
        assert_eq!(texts(&axis), ["20 µs", "50 µs", "100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms"]);
        assert_eq!((axis.from, axis.to), (place_of(20_000.0), place_of(5_000_000.0)));
        assert_eq!(texts(&Axis::times("", 41_000.0, 47_000.0)), ["40 µs", "50 µs"]);
        assert_eq!(texts(&Axis::times("", 900.0, 2e9))[..2], ["100 ns", "1 µs"]);
        assert!(Axis::times("", 0.0, 0.0).to > 0.0);
    }

    #[test]
    fn even_axes_begin_at_zero_and_have_round_marks() {
        assert_eq!(texts(&Axis::even("", 19_800.0)), ["0", "5,000", "10,000", "15,000", "20,000"]);
        assert_eq!(texts(&Axis::even("", 0.9)), ["0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(texts(&Axis::seconds("", 10.0)), ["0", "2", "4", "6", "8", "10"]);
        let empty = Axis::even("", 0.0);
        assert_eq!((texts(&empty), empty.to), (vec!["0"], 1.0));
    }

    #[test]
    fn marks_without_room_are_left_out() {
        let axis = Axis::percentiles("", 50_000);
        assert_eq!(axis.roomy(60.0, |_| 10.0).len(), 6);
        let at = axis.roomy(100.0, |text| 6.0 * text.len() as f64);
        assert_eq!(at.iter().map(|at| axis.label(*at)).collect::<Vec<_>>(), ["0", "90", "99", "99.9", "99.999"]);
    }
}
