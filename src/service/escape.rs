//! Escapes bytes from the network before a terminal or a log sees them.

use std::fmt::Write;

/// Returns text that cannot control a terminal. Control characters, marks that change the direction of writing
/// (Unicode UAX #9), and bytes that are not UTF-8 are escaped; all else stays as it is.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    text.extend(letter.escape_unicode());
                }
                _ if letter.is_control() => text.extend(letter.escape_default()),
                _ => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
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
}
