//! What shows that a result is as it was written. On its way through other programs a piece of a line may be lost, come twice
//! or in another place, and what is left may still look like a result.
//!
//! A line that `--json` prints ends with a checksum of all that stands before it in its object (CRC-32 as in IEEE 802.3).
//! Other programs that write the object anew (jq, Python) write this member in another way, and then there is nothing to
//! check it against: what every result has to have is that its times are as many as its answers.

use std::io;

use super::Report;
use super::blocks::Blocks;
use super::json::foreign;
use super::text::grouped;
use crate::bench::record::{Fact, ProbePart};
use crate::bench::trials::Times;

/// How the last member of a line begins: as no other program writes it, with a blank only behind the colon.
const NAME: &str = ",\"checksum\": \"";

/// Hexadecimal digits, and what stands behind them.
const DIGITS: usize = 8;
const END: &str = "\"}";

/// What a piece that is lost or doubled looks like, for the user.
const HOW: &str = "a piece of it is lost, or there twice, or elsewhere";

/// An object on one line, with its checksum.
pub(super) fn sealed(object: &str) -> String {
    let open = object.strip_suffix('}').unwrap_or(object);
    format!("{open}{NAME}{:08x}{END}", crc32fast::hash(open.as_bytes()))
}

/// Fails where an object has a checksum, and it is that of others.
pub(super) fn check(object: &[u8]) -> io::Result<()> {
    let Some((open, digits)) = parts(object) else { return Ok(()) };
    let sum = format!("{:08x}", crc32fast::hash(open));
    if sum.as_bytes() == digits {
        return Ok(());
    }
    let written = digits.escape_ascii();
    Err(foreign(&format!("its checksum is {sum}, and was {written} when it was written: {HOW}")))
}

/// What the checksum is made of, and its digits.
fn parts(object: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, digits) = object.strip_suffix(END.as_bytes())?.split_last_chunk::<DIGITS>()?;
    Some((before.strip_suffix(NAME.as_bytes())?, digits))
}

/// Fails where a report has not as many times as answers.
pub(super) fn check_totals(report: &Report) -> io::Result<()> {
    let count = |fact: Fact| report.counts[fact];
    let sum = |facts: &[Fact]| facts.iter().map(|fact| u128::from(count(*fact))).sum::<u128>();
    let answers = sum(&[Fact::Requests, Fact::Late]);
    // Those carried over were sent before they could be late.
    let sent = sum(&[Fact::Sent]).saturating_sub(sum(&[Fact::CarriedOver]));
    for (kind, times) in report.times() {
        let counted = if kind == "lag" { sent } else { answers };
        if let Some(times) = times.filter(|times| u128::from(times.len()) != counted) {
            return Err(unlike(kind, times.len(), counted));
        }
    }
    let probes = sum(&[Fact::ProbesAnswered, Fact::ProbesLate]);
    let whole = report.probe.as_ref().map(|probe| probe.of(ProbePart::Whole).len());
    if let Some(times) = whole.filter(|times| u128::from(*times) != probes) {
        return Err(unlike("probe", times, probes));
    }
    check_blocks(report, &report.blocks)
}

/// Blocks are of the measured time or less, so that there may be fewer of all in them.
fn check_blocks(report: &Report, blocks: &Blocks) -> io::Result<()> {
    let answered = |block: usize| blocks.outcomes[block].answered;
    let most = u128::from(report.counts[Fact::Requests]);
    let all = (0..blocks.outcomes.len()).map(|block| u128::from(answered(block))).sum::<u128>();
    if all > most {
        return Err(foreign(&format!("its blocks have more answers than there are: {HOW}")));
    }
    for (kind, times) in report.times() {
        let of_blocks = blocks.times(kind);
        let all: u128 = of_blocks.iter().map(|block| u128::from(block.len())).sum();
        let is_short = |(block, times): (usize, &Times)| times.len() < answered(block);
        if all > times.map_or(0, |times| times.len().into()) || of_blocks.iter().enumerate().any(is_short) {
            return Err(foreign(&format!("its blocks of {kind} times are not those of its answers: {HOW}")));
        }
    }
    let lengths = |kind: &str| blocks.times(kind).iter().map(|block| block.len()).collect::<Vec<_>>();
    let response = lengths("response");
    if !response.is_empty() && response != lengths("service") {
        return Err(foreign(&format!("its blocks have not as many response times as service times: {HOW}")));
    }
    Ok(())
}

fn unlike(kind: &str, times: u64, counted: u128) -> io::Error {
    let (times, counted) = (grouped(times), grouped(counted as u64));
    foreign(&format!("it has {times} {kind} times, and {counted} of them are counted: {HOW}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_changed_is_known_by_its_checksum() {
        let line = sealed(r#"{"schema": 2,"a": [[1,2],[1,2]],"b": {"c": 7}}"#);
        assert_eq!(line, r#"{"schema": 2,"a": [[1,2],[1,2]],"b": {"c": 7},"checksum": "f73c6875"}"#);
        assert!(check(line.as_bytes()).is_ok());
        let told = check(line.replacen("[1,2],", "", 1).as_bytes()).unwrap_err().to_string();
        assert!(told.contains(", and was f73c6875 when it was written: a piece of it is lost"), "{told}");
        assert!(check(line.replace("f73c6875", "f73c687\"").as_bytes()).is_err());
        for place in 0..line.len() - NAME.len() - DIGITS - END.len() {
            let mut other = line.clone().into_bytes();
            other[place] ^= 1;
            assert!(check(&other).is_err(), "{place}");
        }
    }

    #[test]
    fn what_other_programs_wrote_anew_has_none_to_check() {
        for other in
            [r#"{"a":1,"checksum":"00000000"}"#, r#"{"a": 1, "checksum": "00000000"}"#, r#"{"a": 1}"#, "{}", ""]
        {
            assert!(check(other.as_bytes()).is_ok(), "{other}");
        }
    }
}
