//! The prompt on a terminal, and how text is printed without harm to what the user types behind it.
//!
//! The terminal keeps and edits a line until it is ended (termios(3), canonical mode). Until then no program can read it,
//! nor show it again once its row was overwritten. So text is printed in new rows, which are opened above the prompt's.

use memchr::memchr;

/// Opens a row above that of the cursor, and moves to its beginning. The cursor is saved.
///
/// There must be a row below, for the one that moves down: IND makes one, RI comes back. Then DECSC, CR and IL (ECMA-48,
/// and DEC's VT102 manual; every terminal emulator has them, and so has the console of Linux).
const OPEN_ROW: &[u8] = b"\x1bD\x1bM\x1b7\r\x1b[L";

/// Moves back to where the cursor was saved (DECRC), which is now one row below (IND).
const BACK_TO_PROMPT: &[u8] = b"\x1b8\x1bD";

/// Columns of a line that surely needs one row only. How wide a terminal is can be asked by ioctl(2) alone, for which
/// there is no safe call; hardly any is narrower than 80 columns.
const ONE_ROW: usize = 79;

/// A prompt, and whether the cursor stands behind it.
#[derive(Debug)]
pub(super) struct Prompt {
    text: &'static str,
    is_shown: bool,
}

impl Prompt {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, is_shown: false }
    }

    pub(super) fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Appends the prompt to `output`, unless it is shown already.
    pub(super) fn show(&mut self, output: &mut Vec<u8>) {
        if !self.is_shown {
            output.extend_from_slice(self.text.as_bytes());
            self.is_shown = true;
        }
    }

    /// The cursor has left the prompt's row.
    pub(super) fn leave(&mut self) {
        self.is_shown = false;
    }

    /// Appends to `output` what prints `text` above the prompt, as far as its lines surely fit into a row. What follows
    /// the first that may not stands below the prompt, and what has been typed there stays readable.
    pub(super) fn print_above(&mut self, text: &[u8], output: &mut Vec<u8>) {
        let mut rest = text;
        while self.is_shown
            && let Some(length) = line_that_fits(rest)
        {
            let (line, others) = rest.split_at(length);
            for part in [OPEN_ROW, line, BACK_TO_PROMPT] {
                output.extend_from_slice(part);
            }
            rest = others;
        }
        if self.is_shown && !rest.is_empty() {
            output.push(b'\n');
            self.is_shown = false;
        }
        output.extend_from_slice(rest);
    }
}

/// The length of the first line with its end, if it surely fits into one row of a terminal.
fn line_that_fits(text: &[u8]) -> Option<usize> {
    let end = memchr(b'\n', text)?;
    let line = std::str::from_utf8(&text[..end]).ok()?;
    let mut columns = 0;
    for letter in line.chars() {
        columns += match letter {
            ' '..='~' => 1,
            _ if letter.is_control() => return None,
            // East Asian letters take two columns.
            _ => 2,
        };
    }
    (columns <= ONE_ROW).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_printed_above_the_prompt_where_its_lines_fit_and_below_where_not() {
        let mut prompt = Prompt::new("> ");
        let mut output = Vec::new();
        prompt.print_above(b"ready\n", &mut output);
        prompt.show(&mut output);
        prompt.show(&mut output);
        let long = "x".repeat(100);
        prompt.print_above(format!("hi\n{long}\nho\n").as_bytes(), &mut output);
        let (open, back) = (str::from_utf8(OPEN_ROW).unwrap(), str::from_utf8(BACK_TO_PROMPT).unwrap());
        assert_eq!(String::from_utf8(output).unwrap(), format!("ready\n> {open}hi\n{back}\n{long}\nho\n"));
        assert!(!prompt.is_shown());
    }

    #[test]
    fn line_fits_into_a_row_where_its_columns_are_known_and_few() {
        for (text, fits) in [
            ("hi\nho\n", Some(3)),
            ("\n", Some(1)),
            ("no end", None),
            ("a\ttab\n", None),
            ("\x1b[2J\n", None),
            (&format!("{}\n", "x".repeat(79)), Some(80)),
            (&format!("{}\n", "x".repeat(80)), None),
            (&format!("{}\n", "日".repeat(39)), Some(118)),
            (&format!("{}\n", "日".repeat(40)), None),
        ] {
            assert_eq!(line_that_fits(text.as_bytes()), fits, "{text:?}");
        }
    }
}
