//! Results among other text.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::Results;
use super::super::scan::Scan;
use super::{changed, part_of, prompt, report};
use crate::bench::record::Fact;

/// A report of so many requests.
fn some(requests: u64) -> super::Report {
    report(&(0..requests).map(|number| prompt(Duration::from_millis(number))).collect::<Vec<_>>(), Some(100.0), 1)
}

fn line(requests: u64) -> String {
    changed(some(requests), |_| {})
}

/// The lines in which results begin, the requests of each, and how many lines were passed over; or what is wrong.
fn found(text: &[u8]) -> Result<(Vec<(u64, u64)>, u64), String> {
    let mut scan = Scan::new(text);
    let mut found = Vec::new();
    while let Some((line, results)) = scan.next().map_err(|error| error.to_string())? {
        found.push((line, results.reports().iter().map(|report| report.counts[Fact::Requests]).sum()));
    }
    Ok((found, scan.passed_over))
}

#[track_caller]
fn is_refused(text: &[u8], words: &[&str]) {
    let told = found(text).unwrap_err();
    assert!(words.iter().all(|word| told.contains(word)) && !told.contains('\n'), "{words:?} in {told}");
}

#[test]
fn results_are_found_whatever_stands_before_and_behind_them() {
    let text = [
        b"Pod started \xff\xfe\n\n{\n\"a\": {\"schema\": \"x\"}\n0: ".to_vec(),
        line(1).into(),
        b"\n[pod/bench-0-{abc}/bench] ".to_vec(),
        line(2).into(),
        b"\r\nhost\t".to_vec(),
        line(3).into(),
        b" \x1b[0m\n{\"schema\":1,\"message\":\"of another program\"}\n".to_vec(),
        line(4).into(),
        line(5).into(),
    ];
    let (results, passed_over) = found(&text.concat()).unwrap();
    assert_eq!(results, [(5, 1), (6, 2), (7, 3), (9, 4), (9, 5)]);
    assert_eq!(passed_over, 4);
    assert_eq!(found(b"").unwrap(), (Vec::new(), 0));
    assert_eq!(found(b"a\nb").unwrap(), (Vec::new(), 2));
    // With its names in another order.
    let value: serde_json::Value = serde_json::from_str(&line(6)).unwrap();
    assert_eq!(found(format!("x: {value}\n").as_bytes()).unwrap().0, [(1, 6)]);
}

#[test]
fn results_in_the_form_of_files_are_found() {
    let steps = Results::new(vec![some(3), some(4)], 2).to_json();
    let text = format!("first\n{}{steps}{{\nlast\n{{\n{}", some(1).to_json(), some(2).to_json());
    let (results, passed_over) = found(text.as_bytes()).unwrap();
    let second = 2 + some(1).to_json().lines().count() as u64;
    let third = second + steps.lines().count() as u64 + 3;
    assert_eq!(results, [(2, 1), (second, 7), (third, 2)]);
    assert_eq!(passed_over, 4);
    // As other tools write it.
    let value: serde_json::Value = serde_json::from_str(&line(5)).unwrap();
    let pretty = format!("{value:#}").replacen("{\n", "{\n  \"schema\": 2,\n", 1);
    assert_eq!(found(pretty.as_bytes()).unwrap().0, [(1, 5)]);
}

#[test]
fn what_is_cut_or_broken_is_told_by_its_line() {
    let whole = format!("0: {}\n", line(9));
    // A log that cuts lines, and a job that was killed.
    let pieces = format!("noise\n{}\n{}", &whole[..300], &whole[300..]);
    is_refused(pieces.as_bytes(), &["line 2 ", "cut after 297 bytes", "--json=FILE"]);
    is_refused(&whole.as_bytes()[..whole.len() - 2], &["line 1 ", "cut"]);
    is_refused(format!("{}{whole}", &whole[..300]).as_bytes(), &["line 1 "]);
    // The beginning is missing.
    is_refused(&whole.as_bytes()[40..], &["line 1 ", "a piece of a result"]);
    // The time of a piece, within a list.
    let place = whole.find("\"response\":[[").unwrap() + 13;
    let stamped = format!("{}2026-11-22T10:00:00Z {}", &whole[..place], &whole[place..]);
    is_refused(stamped.as_bytes(), &["line 1 ", "cannot be read"]);
    is_refused(whole.replace("\"lag\":[[", "\"lag\":[[12:00 ").as_bytes(), &["line 1 "]);
    is_refused(whole.replace("\"title\":", "\"title\" ").as_bytes(), &["line 1 ", "broken"]);
    is_refused(whole.replace("{\"schema\":2", "{\"schema\":3").as_bytes(), &["line 1 ", "another version"]);
    let quoted = format!("{{\"log\":\"{}\"}}", line(1).replace('"', "\\\""));
    is_refused(quoted.as_bytes(), &["line 1 ", "jq -r .log"]);
}

/// Without a checksum: as another program has written it.
#[test]
fn times_that_are_not_as_many_as_answers_are_told() {
    let of = |change: fn(&mut Value)| changed(some(640), change);
    let list = |value: &mut Value, change: fn(&mut Vec<Value>)| {
        change(value.as_array_mut().unwrap());
    };
    assert_eq!(found(of(|_| {}).as_bytes()).unwrap().0, [(1, 640)]);
    for kind in ["service", "response", "lag"] {
        let lost = changed(some(640), |whole| list(&mut whole["histograms"][kind], |times| times.truncate(0)));
        is_refused(lost.as_bytes(), &["line 1 ", &format!("it has 0 {kind} times, and 640 of them are counted")]);
        let twice =
            changed(some(640), |whole| list(&mut whole["histograms"][kind], |times| times.extend_from_within(..)));
        is_refused(twice.as_bytes(), &["line 1 ", &format!("it has 1,280 {kind} times")]);
        let fewer = changed(some(640), |whole| list(&mut whole["blocks"][kind], |blocks| _ = blocks.pop()));
        is_refused(fewer.as_bytes(), &["line 1 ", "its blocks are broken"]);
        let fuller =
            changed(some(640), |whole| list(&mut whole["blocks"][kind], |blocks| blocks[3] = json!([7, 9999])));
        is_refused(fuller.as_bytes(), &["line 1 ", &format!("its blocks of {kind} times are not those")]);
    }
    is_refused(of(|whole| whole["blocks"]["service"][3] = json!([])).as_bytes(), &["blocks of service times"]);
    is_refused(of(|whole| whole["blocks"]["service"][3] = json!([7])).as_bytes(), &["its blocks are broken"]);
    is_refused(of(|whole| whole["blocks"]["requests"][3] = json!(9999)).as_bytes(), &["more answers than there are"]);
    is_refused(of(|whole| whole["blocks"]["errors"] = json!([])).as_bytes(), &["its blocks are broken"]);
}

#[test]
fn a_file_that_is_cut_is_told() {
    let whole = some(9).to_json();
    let lines: Vec<&str> = whole.lines().collect();
    is_refused(lines[..lines.len() - 1].join("\n").as_bytes(), &["line 1 ", "end is missing"]);
    is_refused(format!("x\n{}\n{whole}", lines[..lines.len() - 2].join("\n")).as_bytes(), &["line 2 "]);
    let labelled: Vec<String> = lines.iter().map(|line| format!("0: {line}")).collect();
    is_refused(labelled.join("\n").as_bytes(), &["a piece of a result", "--json without a file"]);
}

#[test]
fn any_bytes_are_text_or_told() {
    let whole = part_of(some(2), 1, 2);
    for place in (0..whole.len()).step_by(7) {
        for byte in [b'"', b'{', b'}', b']', b'\n', 0, 0xff] {
            let mut text = whole.clone().into_bytes();
            text[place] = byte;
            let _ = found(&text);
        }
    }
}
