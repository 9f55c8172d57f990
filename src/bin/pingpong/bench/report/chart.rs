//! A picture in text: points over two logarithmic axes, within 80 columns.

use super::text::{rate, shown};

/// Characters of the field.
const WIDTH: usize = 66;
const HEIGHT: usize = 14;

/// A point: a rate, and a time in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) is_met: bool,
}

/// p99 over the rate, with a line for its limit.
pub(super) fn chart(marks: &[Mark], limit: Option<f64>) -> String {
    let sound = |value: &f64| value.is_finite() && *value > 0.0;
    let marks: Vec<&Mark> = marks.iter().filter(|mark| sound(&mark.x) && sound(&mark.y)).collect();
    if marks.is_empty() {
        return String::new();
    }
    let limit = limit.filter(sound);
    let across = Axis::over(marks.iter().map(|mark| mark.x), WIDTH);
    let up = Axis::over(marks.iter().map(|mark| mark.y).chain(limit), HEIGHT);
    let mut field = [[' '; WIDTH]; HEIGHT];
    if let Some(limit) = limit {
        field[up.place(limit)] = ['-'; WIDTH];
    }
    for mark in marks {
        let cell = &mut field[up.place(mark.y)][across.place(mark.x)];
        *cell = match (mark.is_met, *cell) {
            (true, 'x' | '*') | (false, 'o' | '*') => '*',
            (true, _) => 'o',
            (false, _) => 'x',
        };
    }
    let mut text = format!("p99 over the rate: o met, x not met, * both{}\n", limit.map_or("", |_| ", --- the limit"));
    for (row, cells) in field.iter().enumerate().rev() {
        let label = match row {
            _ if limit.is_some_and(|limit| up.place(limit) == row) => limit,
            0 => Some(up.low),
            _ if row == HEIGHT - 1 => Some(up.high),
            _ => None,
        };
        let label = label.map_or_else(String::new, |micros| shown((micros * 1e3) as u64));
        let cells: String = cells.iter().collect();
        text += &format!("{label:>10} |{}\n", cells.trim_end());
    }
    text += &format!("{:>10} +{}\n", "", "-".repeat(WIDTH));
    let (low, high) = (rate(across.low), rate(across.high));
    text + &format!("{:>10}  {low}{high:>width$}\n", "", width = WIDTH - low.len())
}

/// Logarithmic.
struct Axis {
    low: f64,
    high: f64,
    cells: usize,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, cells: usize) -> Self {
        let (low, high) = (values.clone().fold(f64::MAX, f64::min), values.fold(0.0, f64::max));
        Self { low, high, cells }
    }

    fn place(&self, value: f64) -> usize {
        if self.low >= self.high {
            return 0;
        }
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        (share * (self.cells - 1) as f64).round() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_where_they_belong_within_80_columns() {
        let mark = |x, y, is_met| Mark { x, y, is_met };
        let marks = [mark(1e3, 100.0, true), mark(1e4, 1e3, true), mark(1e4, 1e3, false), mark(1e5, 1e4, false)];
        let text = chart(&marks, Some(5e3));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(lines.len(), HEIGHT + 3);
        assert!(lines[1].ends_with('x') && lines[1].starts_with("   10.0 ms |"), "{text}");
        assert!(lines[HEIGHT] == "    100 µs |o", "{text}");
        assert!(lines.iter().any(|line| line.contains('*')), "{text}");
        assert!(lines.iter().any(|line| line.starts_with("   5.00 ms |------")), "{text}");
        assert!(lines[HEIGHT + 2].trim_start().starts_with("1000 ") && lines[HEIGHT + 2].ends_with("100000"), "{text}");
    }

    #[test]
    fn a_single_point_or_none_is_a_picture_too() {
        assert_eq!(chart(&[], Some(1.0)), "");
        assert_eq!(chart(&[Mark { x: 5.0, y: 0.0, is_met: true }], None), "");
        let text = chart(&[Mark { x: 5.0, y: 7.0, is_met: true }], None);
        assert!(text.contains("|o"), "{text}");
    }
}
