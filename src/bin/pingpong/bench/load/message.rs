//! What is sent, and which answer is right: one message with another number in it each time.
//!
//! `ping 000000000042 abcdefgh…`, as long as the user wants it. The number tells the answer to one request from the
//! answer to another, be it of another connection. Messages that have no room for a number, and fixed texts, are told
//! by their order only.

use std::ops::Range;

use pingpong::service::Framing;

use crate::probe::Probe;

/// Digits of the number: after 10^12 requests it begins anew.
const DIGITS: usize = 12;

/// With fewer digits an old answer might be taken for a new one.
const LEAST_DIGITS: usize = 6;

/// The text before the number.
const OPENING: &[u8] = b"ping ";

/// Numbers requests, and makes them and their answers.
#[derive(Debug)]
pub(super) struct Messages {
    request: Numbered,
    answer: Numbered,
    /// Where the number stands, in request and answer alike; empty where there is none.
    digits: Range<usize>,
    /// After this many numbers they begin anew.
    modulus: u64,
    /// Requests so far: the number of the newest one.
    newest: u64,
    /// The newest request that had been sent when the bytes at hand arrived.
    newest_asked: u64,
    is_datagram: bool,
}

/// A message that shows a number.
#[derive(Debug)]
struct Numbered {
    bytes: Vec<u8>,
    shown: u64,
}

impl Messages {
    pub(super) fn new(probe: &Probe, framing: Framing, is_datagram: bool) -> Self {
        let (size, is_echo) = match probe {
            Probe::Pong(size) => (*size, false),
            Probe::Echo(size) => (*size, true),
            Probe::Fixed { send, expect } => {
                let [request, answer] = [send, expect].map(|bytes| Numbered { bytes: bytes.clone(), shown: 0 });
                return Self { request, answer, digits: 0..0, modulus: 1, newest: 0, newest_asked: 0, is_datagram };
            }
        };
        let terminator: &[u8] = if framing == Framing::Line && !is_datagram { b"\n" } else { b"" };
        let body = size.saturating_sub(terminator.len());
        let room = body.saturating_sub(OPENING.len());
        let width = if room < LEAST_DIGITS { 0 } else { room.min(DIGITS) };

        let mut request = OPENING.to_vec();
        request.resize(OPENING.len() + width, b'0');
        if width > 0 {
            request.push(b' ');
        }
        // A pattern, so that a shifted or swapped byte is noticed.
        request.extend((b'a'..=b'z').cycle().take(body));
        request.truncate(body);
        request.extend_from_slice(terminator);
        let mut answer = request.clone();
        if !is_echo && let Some(letter) = answer.get_mut(1) {
            *letter = b'o';
        }
        let digits = if width > 0 { OPENING.len()..OPENING.len() + width } else { 0..0 };
        let [request, answer] = [request, answer].map(|bytes| Numbered { bytes, shown: 0 });
        Self { request, answer, digits, modulus: 10_u64.pow(width as u32), newest: 0, newest_asked: 0, is_datagram }
    }

    /// The number of the next request.
    pub(super) fn next_number(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    /// Bytes arrive. They answer none of the requests that are sent while they are read.
    pub(super) fn arrive(&mut self) {
        self.newest_asked = self.newest;
    }

    /// Whether the bytes at hand may answer this request.
    #[inline]
    pub(super) fn had_asked(&self, number: u64) -> bool {
        number <= self.newest_asked
    }

    /// Request number `number`.
    pub(super) fn request(&mut self, number: u64) -> &[u8] {
        self.request.with(number, self.digits.clone())
    }

    /// The right answer to it.
    pub(super) fn answer(&mut self, number: u64) -> &[u8] {
        self.answer.with(number, self.digits.clone())
    }

    /// Bytes of an answer.
    pub(super) fn answer_len(&self) -> usize {
        self.answer.bytes.len()
    }

    /// Bytes of a request or of an answer, whichever is longer.
    pub(super) fn longest(&self) -> usize {
        self.request.bytes.len().max(self.answer.bytes.len())
    }

    /// Whether an answer ends with a line end, by which the next answer is found after a wrong one.
    pub(super) fn is_line(&self) -> bool {
        self.answer.bytes.ends_with(b"\n")
    }

    /// Whether messages carry a number.
    pub(super) fn is_numbered(&self) -> bool {
        !self.digits.is_empty()
    }

    /// Whether only their order tells which request an answer belongs to, and one may be lost on the way.
    pub(super) fn are_by_order(&self) -> bool {
        self.is_datagram && !self.is_numbered()
    }

    /// How many bytes of an answer tell which request it belongs to.
    pub(super) fn identified_at(&self) -> usize {
        if self.is_numbered() { self.digits.end } else { 0 }
    }

    /// The number of the request that an answer claims to belong to: the newest request that shows these digits.
    pub(super) fn number_of(&self, answer: &[u8]) -> Option<u64> {
        let digits = answer.get(self.digits.clone()).filter(|digits| !digits.is_empty())?;
        let shown = digits.iter().try_fold(0, |number, digit| match digit {
            b'0'..=b'9' => Some(number * 10 + u64::from(digit - b'0')),
            _ => None,
        })?;
        let age = (self.newest % self.modulus + self.modulus - shown) % self.modulus;
        self.newest.checked_sub(age)
    }
}

impl Numbered {
    /// The message with this number. Mostly it is the next one, and one digit changes.
    #[inline]
    fn with(&mut self, number: u64, digits: Range<usize>) -> &[u8] {
        let places = &mut self.bytes[digits];
        if number == self.shown + 1 {
            increment(places);
        } else if number != self.shown {
            write_number(places, number);
        }
        self.shown = number;
        &self.bytes
    }
}

/// Adds one to a number in digits; the highest number is followed by 0.
fn increment(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        if *digit != b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

fn write_number(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pong(size: usize) -> Messages {
        Messages::new(&Probe::Pong(size), Framing::Line, false)
    }

    #[test]
    fn messages_are_as_long_as_asked_and_answered_by_the_same_bytes_but_one() {
        for size in 5..200 {
            let mut messages = pong(size);
            let request = messages.request(42).to_vec();
            let answer = messages.answer(42).to_vec();
            assert_eq!(request.len(), size);
            assert!(request.starts_with(b"ping") && request.ends_with(b"\n"));
            assert_eq!(String::from_utf8(request).unwrap().replacen('i', "o", 1).as_bytes(), answer);
        }
    }

    #[test]
    fn a_message_shows_its_number_and_a_pattern() {
        assert_eq!(pong(30).request(1_234), b"ping 000000001234 abcdefghijk\n");
        assert_eq!(pong(30).answer(7), b"pong 000000000007 abcdefghijk\n");
        assert!(pong(60).request(1).ends_with(b" abcdefghijklmnopqrstuvwxyzabcdefghijklmno\n"));
        assert_eq!(pong(13).request(1_234_567), b"ping 1234567\n");
        assert_eq!(pong(5).request(9), b"ping\n");
    }

    #[test]
    fn numbers_count_on_and_jump_and_begin_anew() {
        let mut messages = pong(12);
        for number in [1, 2, 9, 10, 99, 100, 99, 999_999, 1_000_000, 1_000_001, 5, 5] {
            let shown = format!("ping {:06}\n", number % 1_000_000);
            assert_eq!(messages.request(number), shown.as_bytes());
        }
    }

    #[test]
    fn even_one_byte_can_be_echoed() {
        for (framing, bytes) in [(Framing::Line, b"\n"), (Framing::Raw, b"p")] {
            assert_eq!(Messages::new(&Probe::Echo(1), framing, false).request(3), bytes);
        }
        assert_eq!(Messages::new(&Probe::Echo(1), Framing::Line, true).request(3), b"p");
    }

    #[test]
    fn an_answer_tells_its_request_also_after_the_number_has_begun_anew() {
        let mut messages = pong(12);
        assert_eq!(messages.modulus, 1_000_000);
        for (number, newest) in [(5, 5), (5, 900_000), (999_999, 1_000_003), (3_000_000, 3_000_010)] {
            messages.newest = newest;
            let answer = messages.answer(number).to_vec();
            assert_eq!(messages.number_of(&answer), Some(number));
        }
        messages.newest = 8;
        assert_eq!(messages.number_of(b"pong 000009\n"), None, "nobody has asked that yet");
        assert_eq!(messages.number_of(b"pong 00000x\n"), None);
        assert_eq!(messages.number_of(b"pong\n"), None);
        assert_eq!(pong(5).number_of(b"pong\n"), None);
    }

    #[test]
    fn fixed_texts_stay_as_they_are() {
        let probe = Probe::Fixed { send: b"PING\r\n".to_vec(), expect: b"+PONG\r\n".to_vec() };
        let mut messages = Messages::new(&probe, Framing::Line, false);
        assert_eq!(
            (messages.request(1).to_vec(), messages.answer(1).to_vec()),
            (b"PING\r\n".to_vec(), b"+PONG\r\n".to_vec())
        );
        assert!(messages.is_line() && !messages.is_numbered());
    }
}
