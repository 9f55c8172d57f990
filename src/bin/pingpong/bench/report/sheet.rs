//! Results as they are read: an object whose values are still text.
//!
//! Most of that text are lists of numbers. They are passed over by looking for quotes and brackets alone, and read without
//! a [`Value`](serde_json::Value) for each: thousands of results are read in the time in which a parser reads some hundred.

use std::collections::BTreeMap;

use memchr::{memchr, memchr_iter, memchr2, memchr3};

/// Values by name.
#[derive(Debug, Default)]
pub(super) struct Sheet<'a>(BTreeMap<&'a str, &'a str>);

/// Why something is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has no end.
    Cut,
    /// From this byte on.
    Broken(usize),
}

impl<'a> Sheet<'a> {
    /// The object at the beginning of a text, and how long it is. What its values look like inside is not known yet.
    pub(super) fn at_beginning_of(text: &'a [u8]) -> Result<(Self, usize), Fault> {
        let length = length_of(text).ok_or(Fault::Cut)?;
        let object = str::from_utf8(&text[..length]).map_err(|error| Fault::Broken(error.valid_up_to()))?;
        Ok((Self::of(object)?, length))
    }

    /// An object and nothing else.
    pub(super) fn of(text: &'a str) -> Result<Self, Fault> {
        let mut rest = Rest { text, at: 0 };
        let mut values = BTreeMap::new();
        rest.takes('{')?;
        let mut goes_on = !rest.is_at('}');
        while goes_on {
            if !rest.is_at('"') {
                return Err(Fault::Broken(rest.at));
            }
            let name = rest.value()?;
            rest.takes(':')?;
            values.insert(name.trim_matches('"'), rest.value()?);
            goes_on = rest.is_at(',');
            rest.at += usize::from(goes_on);
        }
        rest.takes('}')?;
        match rest.skip_blanks() == text.len() {
            true => Ok(Self(values)),
            false => Err(Fault::Broken(rest.at)),
        }
    }

    /// The text of a value.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// The text of a value, which is not in it any more.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a str> {
        self.0.remove(name)
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.into_iter()
    }
}

/// The objects in a list, each as text.
pub(super) fn objects(list: &str) -> Result<Vec<&str>, Fault> {
    let mut rest = Rest { text: list, at: 0 };
    let mut objects = Vec::new();
    rest.takes('[')?;
    while rest.is_at('{') {
        objects.push(rest.value()?);
        rest.at += usize::from(rest.is_at(','));
    }
    rest.takes(']')?;
    Ok(objects)
}

/// The numbers in a list, and in the lists that it has; `None` where there is anything else.
pub(super) fn numbers(list: &str) -> Option<Vec<u64>> {
    let (mut text, mut depth) = (list.trim().as_bytes(), 0_usize);
    let mut numbers = Vec::with_capacity(text.len() / 4);
    loop {
        while let [byte @ (b',' | b'[' | b']' | b' ' | b'\n' | b'\r' | b'\t'), rest @ ..] = text {
            text = rest;
            match byte {
                b'[' => depth += 1,
                b']' if depth == 1 => return text.is_empty().then_some(numbers),
                b']' => depth = depth.checked_sub(1)?,
                _ => {}
            }
        }
        let (number, digits) = number_at_beginning_of(text);
        text = &text[digits..];
        if !(1..20).contains(&digits) || !ends_here(text) {
            return None;
        }
        numbers.push(number);
    }
}

/// The number with which a text begins, and how many digits it has: none, if it begins with something else. Of more than 19
/// digits it is any number.
fn number_at_beginning_of(text: &[u8]) -> (u64, usize) {
    if let Some((number, digits)) = text.first_chunk().copied().and_then(short_number) {
        return (number, digits);
    }
    let digits = text.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10);
    digits.fold((0_u64, 0), |(number, place), digit| (number.wrapping_mul(10).wrapping_add(digit.into()), place + 1))
}

/// The same where it ends within eight bytes. These are looked at together: how many digits the next number has is hard to
/// predict, and a processor that has guessed wrong loses more time than all of this takes.
fn short_number(text: [u8; 8]) -> Option<(u64, usize)> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Digits are 0 to 9 now, and all other bytes are more.
    let digits = u64::from_le_bytes(text) ^ (EACH * 0x30);
    let others = (digits | digits.wrapping_add(EACH * 6)) & (EACH * 0xf0);
    let count = others.trailing_zeros() / 8;
    if count == 8 {
        return None;
    }
    // With zeros before it, so that it has eight; the first of them is in the lowest byte.
    let digits = digits.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let number = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff;
    Some((number, count as usize))
}

/// Whether a number may end before this text: the next one has a comma before it.
fn ends_here(text: &[u8]) -> bool {
    match text.first() {
        Some(b',' | b']') | None => true,
        Some(_) => matches!(text.trim_ascii_start().first(), Some(b',' | b']') | None),
    }
}

/// The lists in a list of lists of numbers, each as text.
pub(super) fn lists(list: &str) -> Option<impl Iterator<Item = &str>> {
    let inner = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    // Behind the last one there is nothing but blanks.
    Some(inner.split_inclusive(']').filter(|text| text.contains('[')))
}

/// A text that is read up to here.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn skip_blanks(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
        self.at
    }

    fn is_at(&mut self, letter: char) -> bool {
        self.text[self.skip_blanks()..].starts_with(letter)
    }

    fn takes(&mut self, letter: char) -> Result<(), Fault> {
        if !self.is_at(letter) {
            return Err(if self.at == self.text.len() { Fault::Cut } else { Fault::Broken(self.at) });
        }
        self.at += letter.len_utf8();
        Ok(())
    }

    /// The value that is next.
    fn value(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.text[self.skip_blanks()..];
        let rest_of_text = rest.as_bytes();
        let length = plain_list(rest_of_text).or_else(|| length_of(rest_of_text)).ok_or(Fault::Cut)?;
        if length == 0 {
            return Err(Fault::Broken(self.at));
        }
        self.at += length;
        Ok(rest[..length].trim_ascii_end())
    }
}

/// How long the value is that begins here; `None` where it has no end.
fn length_of(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'{' => bracketed(text, b'{', b'}'),
        b'[' => bracketed(text, b'[', b']'),
        b'"' => quoted(text),
        _ => memchr3(b',', b'}', b']', text),
    }
}

/// The same of a list of numbers with another member of its object behind it. Whether its brackets are where they have to be
/// is seen when it is read: to stop at each of them takes long.
fn plain_list(text: &[u8]) -> Option<usize> {
    let list = text[..memchr(b'"', text)?].trim_ascii_end().strip_suffix(b",")?.trim_ascii_end();
    let is_list = list.starts_with(b"[") && list.ends_with(b"]");
    let count = |bracket| memchr_iter(bracket, list).count();
    (is_list && count(b'[') == count(b']')).then_some(list.len())
}

fn bracketed(text: &[u8], opening: u8, closing: u8) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        at += memchr3(b'"', opening, closing, &text[at..])?;
        match text[at] {
            b'"' => at += quoted(&text[at..])? - 1,
            byte if byte == opening => depth += 1,
            _ => depth -= 1,
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_found_and_so_are_its_values() {
        let text = br#"{"a":1, "b" : [[1,2],"]}"] ,"c":{"d":"\"}{"},"e":null}{"f"#;
        let (sheet, length) = Sheet::at_beginning_of(text).unwrap();
        assert_eq!(&text[length..], b"{\"f");
        let values: Vec<_> = sheet.into_values().collect();
        assert_eq!(values, [("a", "1"), ("b", r#"[[1,2],"]}"]"#), ("c", r#"{"d":"\"}{"}"#), ("e", "null")]);
        assert_eq!(Sheet::of(" {\n} \n").unwrap().into_values().count(), 0);
    }

    #[test]
    fn what_is_cut_or_broken_is_none() {
        let whole = r#"{"a":[1,{"b":"\\"}],"c":{}}"#;
        assert!(Sheet::of(whole).is_ok());
        for length in 0..whole.len() {
            let cut = Sheet::at_beginning_of(&whole.as_bytes()[..length]);
            assert_eq!(cut.unwrap_err(), Fault::Cut, "{length}");
        }
        for broken in [r#"{"a" 1}"#, r#"{"a":}"#, r#"{a:1}"#, r#"{"a":1}}"#, r#"{,}"#, "[1]"] {
            assert!(Sheet::of(broken).is_err(), "{broken}");
        }
        assert_eq!(Sheet::at_beginning_of(b"{\"a\":\"\xff\"}").unwrap_err(), Fault::Broken(6));
    }

    #[test]
    fn the_end_of_a_list_is_found_wherever_it_is() {
        let pairs = "[[1,2],[3,4]]";
        for list in [pairs, "[]", "[[],\n [5] ]", r#"["]"]"#, r#"[[[1]],"]]",[2]]"#, r#"[{"a":[]},[3]]"#] {
            for behind in ["}", r#","b":1}"#, " ,\n\"b\" : [1]}", r#","b":{"c":[[1]]}}"#] {
                let object = format!(r#"{{"a":{list}{behind}"#);
                assert_eq!(Sheet::of(&object).unwrap().get("a"), Some(list), "{object}");
            }
        }
        // Two of them are none.
        let object = format!(r#"{{"a":{pairs},{pairs},"b":1}}"#);
        assert_eq!(Sheet::of(&object).ok().and_then(|sheet| numbers(sheet.get("a")?)), None);
    }

    #[test]
    fn numbers_of_any_length_are_read() {
        let lengths =
            [1, 12, 123, 1_234, 12_345, 123_456, 1_234_567, 12_345_678, 987_654_321, 9_999_999_999_999_999_999];
        for list in [json!(lengths), json!([lengths]), json!(lengths.map(|number| [number, 0]))] {
            let read: Vec<u64> = numbers(&list.to_string()).unwrap().into_iter().filter(|number| *number > 0).collect();
            assert_eq!(read, lengths, "{list}");
        }
        for byte in (0..=0xff).filter(|byte: &u8| !byte.is_ascii_digit()) {
            for place in 0..12 {
                let mut text = *b"907856341209";
                text[place] = byte;
                let number = str::from_utf8(&text[..place]).unwrap().parse().unwrap_or(0);
                assert_eq!(number_at_beginning_of(&text), (number, place), "{byte}");
            }
        }
    }

    #[test]
    fn lists_of_numbers_have_nothing_else_in_them() {
        assert_eq!(numbers("[[1, 22],[333,4]]").unwrap(), [1, 22, 333, 4]);
        assert_eq!(numbers("[]").unwrap(), [0; 0]);
        for broken in
            ["[1,-2]", "[1.5]", "[1,2026-11-22T10:00:00Z 5]", "[1 2]", "[1[2]]", "null", "[12345678901234567890]", "12"]
        {
            assert_eq!(numbers(broken), None, "{broken}");
        }
        assert_eq!(
            lists("[[1,2],[],\n[3] ]").unwrap().map(numbers).collect::<Option<Vec<_>>>().unwrap(),
            [vec![1, 2], vec![], vec![3]]
        );
        assert_eq!(lists("[]").unwrap().count(), 0);
        assert_eq!(objects(r#"[{"a":1},{}]"#).unwrap(), [r#"{"a":1}"#, "{}"]);
        assert!(objects("[1]").is_err() && objects("[{}").is_err());
    }
}
