//! Numbers and times in few columns.

use std::time::Duration;

/// A number of bytes in five columns: exact, where it fits.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [char; 6] = ['k', 'M', 'G', 'T', 'P', 'E'];
    if count < 100_000 {
        return count.to_string();
    }
    let mut amount = count as f64 / 1e3;
    let mut unit = 0;
    while amount >= 999.5 {
        amount /= 1e3;
        unit += 1;
    }
    let digits = if amount < 9.95 { 1 } else { 0 };
    format!("{amount:.digits$}{}", UNITS[unit])
}

/// A time in six columns.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match time.as_micros() {
        0 => "0s".to_owned(),
        micros @ 1..1_000 => format!("{micros}µs"),
        micros @ 1_000..100_000 => format!("{:.1}ms", micros as f64 / 1e3),
        micros @ 100_000..1_000_000 => format!("{}ms", micros / 1_000),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if seconds < 7200 => format!("{}m", seconds / 60),
        _ if seconds < 172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Whether a terminal or a file gets colours: only a terminal, and only if its user does not say otherwise
/// (https://no-color.org).
pub(crate) fn has_colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text` behind `head`, in lines of so many columns, each but the first indented. The head is not broken.
pub(super) fn wrapped(head: &str, text: &str, columns: usize, indent: &str) -> String {
    in_lines(head, text.split_whitespace(), columns, indent) + "\n"
}

/// A call in lines of so many columns, each but the first indented. Quoted text is not broken.
pub(super) fn broken(call: &str, columns: usize, indent: &str) -> String {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut words = call.split(|letter: char| {
        is_quoted ^= letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        letter == ' ' && !is_quoted
    });
    let first = words.next().unwrap_or_default();
    in_lines(first, words, columns, indent)
}

fn in_lines<'a>(head: &str, words: impl Iterator<Item = &'a str>, columns: usize, indent: &str) -> String {
    let mut lines = head.to_owned();
    let mut width = head.rsplit('\n').next().unwrap_or_default().chars().count();
    for word in words {
        let length = word.chars().count();
        if width + 1 + length > columns {
            lines += "\n";
            lines += indent;
            width = indent.len();
        } else {
            lines.push(' ');
            width += 1;
        }
        lines += word;
        width += length;
    }
    lines
}

/// A count with a comma every three digits.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A cell of this width, at its left or at its right. Of a text that is too long the end is kept: of an address, the
/// port.
pub(super) fn padded(text: &str, width: usize, at_left: bool) -> String {
    let length = text.chars().count();
    if length > width {
        let end: String = text.chars().skip(length + 1 - width).collect();
        return format!("…{end}");
    }
    if at_left { format!("{text:<width$}") } else { format!("{text:>width$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_five_columns() {
        for (count, text) in [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (12_345_678, "12M"),
            (1_500_000_000, "1.5G"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn times_take_six_columns() {
        for (micros, text) in [
            (0, "0s"),
            (43, "43µs"),
            (1_234, "1.2ms"),
            (99_949, "99.9ms"),
            (250_000, "250ms"),
            (1_000_000, "1s"),
            (119_000_000, "119s"),
            (120_000_000, "2m"),
            (7_200_000_000, "2h"),
            (200_000_000_000, "2d"),
        ] {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn text_is_wrapped_behind_its_head() {
        assert_eq!(wrapped("close(7) = 0", "", 20, "  "), "close(7) = 0\n");
        assert_eq!(wrapped("close(7) = 0:", "it is over now", 20, "  "), "close(7) = 0: it is\n  over now\n");
        assert_eq!(wrapped("a head that is too long:", "why", 20, "  "), "a head that is too long:\n  why\n");
        assert_eq!(wrapped("it is\n  broken:", "why it is so", 16, "  "), "it is\n  broken: why it\n  is so\n");
    }

    #[test]
    fn a_call_is_broken_between_its_arguments() {
        assert_eq!(broken("close(7) = 0", 12, "  "), "close(7) = 0");
        assert_eq!(broken(r#"write(1, "a b c d e f", 11) = 11"#, 12, "  "), "write(1,\n  \"a b c d e f\",\n  11) = 11");
        assert_eq!(broken(r#"write(1, "\\\" \\", 3) = 3"#, 12, "  "), "write(1,\n  \"\\\\\\\" \\\\\",\n  3) = 3");
    }

    #[test]
    fn a_cell_keeps_the_end_of_what_is_too_long() {
        assert_eq!(padded("[2001:db8::1]:65535", 12, true), "…8::1]:65535");
        assert_eq!((padded("ab", 4, true), padded("ab", 4, false)), ("ab  ".into(), "  ab".into()));
        assert_eq!(
            (grouped(0), grouped(999), grouped(1000), grouped(1_234_567)),
            ("0".into(), "999".into(), "1,000".into(), "1,234,567".into())
        );
    }
}
