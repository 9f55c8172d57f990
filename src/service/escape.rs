//! Escapes bytes from the network before a terminal or a log sees them.

use std::fmt::Write;

/// Returns text that shows all that the bytes say and cannot control a terminal.
///
/// Control characters, bytes that are not UTF-8, and characters that show nothing themselves but hide, reorder or break
/// up what is around them are escaped; all else stays as it is. Joiners and presentation selectors (U+200C, U+200D,
/// U+FE0E, U+FE0F) show nothing either, but Persian and many emoji are written with them: one that follows a character
/// other than ASCII stays.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        // Up to here it is copied. What needs no escape is copied in one piece.
        let mut copied = 0;
        let mut before = '\0';
        for (at, letter) in valid.char_indices() {
            if needs_escape(before, letter) {
                text.push_str(&valid[copied..at]);
                text.extend(letter.escape_default());
                copied = at + letter.len_utf8();
                before = '\0';
            } else {
                before = letter;
            }
        }
        text.push_str(&valid[copied..]);
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether `letter` is to be escaped where it follows `before`.
#[inline]
fn needs_escape(before: char, letter: char) -> bool {
    match letter {
        ' '..='~' => false,
        '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' => !may_follow(before, letter),
        _ => letter.is_control() || is_invisible(letter),
    }
}

/// Whether a joiner or a presentation selector belongs to the character before it. A row of them does not: it could
/// spell a hidden text. An emoji may have a selector and then a joiner.
fn may_follow(before: char, mark: char) -> bool {
    match before {
        '\u{fe0f}' => mark == '\u{200d}',
        '\u{200c}' | '\u{200d}' | '\u{fe0e}' => false,
        _ => !before.is_ascii(),
    }
}

/// Whether a character shows nothing: Default_Ignorable_Code_Point of the Unicode Character Database
/// (DerivedCoreProperties.txt), which has the marks that change the direction of writing (UAX #9), the variation
/// selectors and the tags; and besides it the separators of lines and paragraphs, and interlinear annotations.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printable_stays_and_the_rest_cannot_steer() {
        assert_eq!(escaped("grüß dich".as_bytes()), "grüß dich");
        assert_eq!(escaped(b"\x1b[2Jx\r\n\0\x7f"), "\\u{1b}[2Jx\\r\\n\\u{0}\\u{7f}");
        assert_eq!(escaped(b"\xff\xc3"), "\\xff\\xc3");
        assert_eq!(escaped("\u{202e}\u{9b}".as_bytes()), "\\u{202e}\\u{9b}");
    }

    #[test]
    fn what_hides_reorders_or_breaks_up_text_is_escaped() {
        for letter in [
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{fe00}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
        ] {
            let text = format!("grüß{letter}dich");
            assert_eq!(escaped(text.as_bytes()), format!("grüß{}dich", letter.escape_unicode()));
        }
    }

    #[test]
    fn joiners_and_selectors_stay_only_where_writing_needs_them() {
        for text in ["می\u{200c}خواهم", "👩\u{200d}👧", "❤\u{fe0f}\u{200d}🔥"] {
            assert_eq!(escaped(text.as_bytes()), text);
        }
        assert_eq!(escaped("a\u{200d}b".as_bytes()), "a\\u{200d}b");
        assert_eq!(escaped("\u{200c}x".as_bytes()), "\\u{200c}x");
        assert_eq!(escaped("é\u{200c}\u{200d}\u{fe0f}".as_bytes()), "é\u{200c}\\u{200d}\\u{fe0f}");
    }
}
