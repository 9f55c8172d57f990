//! Results whose line was cut on its way. `srun --label` gives a line of more than 1,024 bytes on in pieces, each as a line
//! of its own with the task's label before it, and the pieces of several tasks come mixed. By the label they are put
//! together again; what has none, and was cut, is lost.

/// Results of which the end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<Begun>);

/// A result that began behind this label.
#[derive(Debug)]
struct Begun {
    label: Vec<u8>,
    /// The number of the line in which it began.
    line: u64,
    text: Vec<u8>,
    nesting: Nesting,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// None of a result that has begun.
    Foreign,
    /// A piece of one.
    Piece,
    /// The last piece of the result that began in this line.
    Last(u64, Vec<u8>),
}

impl Pieces {
    /// Keeps a result of which the line with this number has the first bytes, behind this label. One that had begun behind
    /// the same label has no end: returns the number of its line, and how many bytes of it have come.
    pub(super) fn begin(&mut self, label: &[u8], line: u64, text: &[u8]) -> Option<(u64, usize)> {
        let before = self.0.iter().position(|begun| begun.label == label).map(|place| self.0.remove(place).place());
        let mut begun = Begun { label: label.to_owned(), line, text: Vec::new(), nesting: Nesting::default() };
        begun.grow(text);
        self.0.push(begun);
        before
    }

    /// Takes a line, if it goes on with one of them.
    pub(super) fn go_on(&mut self, line: &[u8]) -> Line {
        let place = self.0.iter().position(|begun| line.starts_with(&begun.label));
        let Some((place, begun)) = place.and_then(|place| Some((place, self.0.get_mut(place)?))) else {
            return Line::Foreign;
        };
        if begun.grow(&line[begun.label.len()..]) {
            let Begun { line, text, .. } = self.0.remove(place);
            return Line::Last(line, text);
        }
        Line::Piece
    }

    /// The line in which the first of them began, and how many bytes of it have come.
    pub(super) fn first(&self) -> Option<(u64, usize)> {
        self.0.iter().map(Begun::place).min()
    }
}

impl Begun {
    fn place(&self) -> (u64, usize) {
        (self.line, self.text.len())
    }

    /// Returns whether this was the last of it. What stands behind the end is left out.
    fn grow(&mut self, more: &[u8]) -> bool {
        let end = more.iter().position(|byte| self.nesting.ends_with(*byte));
        self.text.extend_from_slice(end.map_or(more, |end| &more[..=end]));
        end.is_some()
    }
}

/// Where in a JSON object a text has come to.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl Nesting {
    /// Takes the next byte. Returns whether the object ends with it.
    fn ends_with(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = self.is_in_string,
            b'"' => self.is_in_string = !self.is_in_string,
            _ if self.is_in_string => {}
            b'{' => self.depth += 1,
            b'}' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = br#"{"schema": 2, "title": "a } and \" in \\", "at": {"x": [{}, {}]}}"#;
    const OTHER: &[u8] = br#"{"schema": 2, "title": "\u00e4{{"}"#;

    /// Lines of so many bytes at the most, each behind the label.
    fn cut(label: &str, text: &[u8], length: usize) -> Vec<Vec<u8>> {
        text.chunks(length).map(|piece| [label.as_bytes(), piece].concat()).collect()
    }

    #[test]
    fn pieces_of_several_tasks_are_sorted_by_their_labels() {
        for length in 1..OTHER.len() {
            let [one, other] = [("1: ", ONE), ("11: ", OTHER)].map(|(label, text)| cut(label, text, length));
            let mut pieces = Pieces::default();
            assert_eq!(pieces.begin(b"1: ", 7, &one[0][3..]), None);
            assert_eq!(pieces.begin(b"11: ", 8, &other[0][4..]), None);
            let mut whole = vec![];
            for place in 1..one.len() {
                for lines in [&one, &other] {
                    match lines.get(place).map(|line| pieces.go_on(line)) {
                        Some(Line::Last(line, text)) => whole.push((line, text)),
                        Some(kind) => assert_eq!(kind, Line::Piece),
                        None => {}
                    }
                }
                assert_eq!(pieces.go_on(b"2: and nothing else"), Line::Foreign);
            }
            whole.sort();
            assert_eq!(whole, [(7, ONE.to_owned()), (8, OTHER.to_owned())], "{length}");
            assert_eq!(pieces.first(), None);
        }
    }

    #[test]
    fn what_has_no_end_is_known() {
        let mut pieces = Pieces::default();
        pieces.begin(b"1: ", 7, b"{\"schema\"");
        pieces.begin(b"0: ", 9, b"{\"sch");
        assert_eq!(pieces.go_on(b"1: : 2,"), Line::Piece);
        assert_eq!(pieces.first(), Some((7, 13)));
        assert_eq!(pieces.begin(b"1: ", 12, b"{\"schema\""), Some((7, 13)));
        assert_eq!(pieces.first(), Some((9, 5)));
        assert_eq!(pieces.go_on(b"0: \": {}}}} and more"), Line::Last(9, b"{\"sch\": {}}".to_vec()));
    }
}
