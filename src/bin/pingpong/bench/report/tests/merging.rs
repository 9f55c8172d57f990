//! Parts of a load: which are added up, and what their sum says.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::merge::{Allowed, Sums, listed};
use super::super::{Report, Results};
use super::{End, Record, changed, part_of, prompt, read, report};
use crate::error::Error;

const STRICT: Allowed = Allowed { force: false, partial: false };
const PARTIAL: Allowed = Allowed { partial: true, ..STRICT };
const FORCE: Allowed = Allowed { force: true, ..STRICT };

/// A hundred prompt answers.
fn records() -> Vec<Record> {
    (0..100).map(|number| prompt(Duration::from_millis(6 * number))).collect()
}

fn part(part: u64, parts: u64) -> Value {
    serde_json::from_str(&part_of(report(&records(), Some(156.25), 1), part, parts)).unwrap()
}

fn merged(parts: &[Value], allowed: Allowed) -> Result<Report, Error> {
    let mut sums = Sums::new(allowed);
    for (number, part) in (1..).zip(parts) {
        sums.add(&format!("{number}.json"), read(&part.to_string()))?;
    }
    Ok(sums.into_results(&[])?.unwrap().into_reports().remove(0))
}

#[track_caller]
fn is_refused(parts: &[Value], allowed: Allowed, words: &[&str]) {
    let told = merged(parts, allowed).unwrap_err().to_string();
    assert!(words.iter().all(|word| told.contains(word)) && !told.contains('\n'), "{words:?} in {told}");
}

#[test]
fn missing_parts_are_named_and_left_out_only_where_that_is_allowed() {
    let some = [3, 1].map(|number| part(number, 4));
    is_refused(&some, STRICT, &["cannot add up: parts 2 and 4 of 4 are missing (--partial adds up the others)"]);
    is_refused(&some[..1], STRICT, &["parts 1–2 and 4 of 4 are missing"]);
    is_refused(&[1, 3, 4].map(|number| part(number, 4)), STRICT, &["part 2 of 4 is missing"]);
    for (allowed, by) in [(PARTIAL, "--partial"), (FORCE, "--force"), (Allowed { partial: true, ..FORCE }, "--partial")]
    {
        let sum = merged(&some, allowed).unwrap();
        assert!(sum.title.starts_with("2 of 4 parts at the same time, "), "{}", sum.title);
        assert_eq!(sum.about["missing_parts"], json!([2, 4]));
        assert_eq!(sum.warnings()[0], format!("2 parts are missing ({by}): 2 and 4"));
        assert!(sum.last_line().ends_with(" missing_parts=2"), "{}", sum.last_line());
        // It stays so, until the others are there.
        let half = Results::new(vec![sum], 1).to_json();
        let half: Value = serde_json::from_str(&half).unwrap();
        assert_eq!(half["missing_parts_by"], by);
        is_refused(&[half.clone(), part(2, 4)], STRICT, &["part 4 of 4 is missing"]);
        let whole = merged(&[half, part(2, 4), part(4, 4)], STRICT).unwrap();
        assert!(whole.title.starts_with("4 parts at the same time, ") && whole.about["missing_parts"].is_null());
    }
}

#[test]
fn a_part_that_is_there_twice_is_not_added_up() {
    let mut again = part(1, 2);
    again["started_unix_seconds"] = json!(1_700_000_001.5);
    let three = [part(1, 2), part(2, 2), again];
    is_refused(&three, PARTIAL, &["cannot add up 1.json and 3.json: both are part 1 of 2 (--force"]);
    let sum = merged(&three, FORCE).unwrap();
    assert!(sum.warnings()[0].contains("1.json and 3.json: both are part 1 of 2"), "{:?}", sum.warnings());
    is_refused(&[part(1, 2), part(1, 2)], PARTIAL, &["they are the same run"]);
    // A run that is no part.
    let none = serde_json::from_str(&changed(report(&records(), Some(156.25), 1), |_| {})).unwrap();
    is_refused(&[part(1, 2), none], PARTIAL, &["they differ in how many --part says there are: 2 and null"]);
}

#[test]
fn what_is_not_known_to_be_at_the_same_time_is_not_added_up() {
    let mut late = [1, 2, 3].map(|number| part(number, 3));
    for name in ["measured_from_unix_seconds", "measured_until_unix_seconds"] {
        late[1][name] = json!(late[1][name].as_f64().unwrap() + 0.32);
    }
    late[1]["blocks"]["from_unix_seconds"] = late[1]["measured_from_unix_seconds"].clone();
    is_refused(
        &late,
        PARTIAL,
        &["1.json and 2.json", "for 50 % of it", "part 2 (node-2) began 320 ms later", "--force"],
    );
    let sum = merged(&late, FORCE).unwrap();
    assert!(sum.title.starts_with("3 runs added up that are not one load") && sum.blocks.outcomes.is_empty());
    let mut unkept = [1, 2].map(|number| part(number, 2));
    unkept[0]["clock"]["clock_error_seconds"] = Value::Null;
    let why = "how wrong the clock of part 1 (node-1) may be is not known: give every part --clock-error";
    is_refused(&unkept, PARTIAL, &["2.json and 1.json", why, "--force"]);
    unkept[0]["clock"] = Value::Null;
    assert!(merged(&unkept, FORCE).unwrap().warnings()[0].contains(why));
}

#[test]
fn blocks_of_too_many_lengths_are_left_out_and_that_is_told() {
    let sum = |parts: u64| {
        let part = |number: u64| {
            let mut part = part(number, parts);
            part["blocks"]["seconds"] = json!(0.02 + 1e-7 * number as f64);
            part
        };
        let parts: Vec<Value> = (1..=parts).map(part).collect();
        merged(&parts, STRICT).unwrap()
    };
    let told = |sum: &Report| sum.warnings().iter().any(|warning| warning.contains("there are no intervals"));
    let most = sum(128);
    assert!(!most.blocks.outcomes.is_empty() && !told(&most));
    let many = sum(129);
    assert!(many.blocks.outcomes.is_empty() && told(&many), "{:?}", many.warnings());
    // Of a sum of sums it is as true.
    let mut sums = Sums::new(FORCE);
    for (name, report) in [("most", most), ("many", many)] {
        sums.add(name, Results::from_json(&report.to_json()).unwrap()).unwrap();
    }
    assert!(told(&sums.into_results(&[]).unwrap().unwrap().into_reports()[0]));
}

#[test]
fn reasons_of_refusals_are_added_up_and_shown_where_they_say_more() {
    let refused = |reasons: [&str; 2]| {
        let parts = [1, 2].map(|number| {
            let mut part = part(number, 2);
            part["metrics"]["refused"] = json!(10);
            part["refused_reasons"] =
                reasons.into_iter().take(number as usize).map(|why| (why.to_owned(), json!(5))).collect();
            part
        });
        merged(&parts, STRICT).unwrap()
    };
    let sum = refused(["permission denied", "connection refused"]);
    let written: Value = serde_json::from_str(&sum.to_json()).unwrap();
    assert_eq!(written["refused_reasons"], json!({ "connection refused": 5, "permission denied": 10 }));
    let told = "20 requests were refused: connection refused: 5, permission denied: 10";
    assert!(sum.warnings().iter().any(|warning| warning == told), "{:?}", sum.warnings());
    let usual = refused(["connection refused", "connection refused"]);
    assert!(!usual.warnings().iter().any(|warning| warning.contains("were refused")), "{:?}", usual.warnings());
}

#[test]
fn numbers_of_parts_are_listed_in_short() {
    for (parts, text) in [
        (vec![], ""),
        (vec![3], "3"),
        (vec![1, 2], "1–2"),
        (vec![2, 7, 8, 9], "2 and 7–9"),
        (vec![1, 3, 5], "1, 3 and 5"),
        ((1..=20).map(|part| 2 * part).collect(), "2, 4, 6, 8, 10, 12, 14, 16 and 12 others"),
    ] {
        assert_eq!(listed(&parts), text);
    }
}

#[test]
fn steps_are_added_up_with_all_of_them_or_not_at_all() {
    let results = |number: u64, measured: usize, planned: usize| {
        let part = read(&part(number, 2).to_string()).into_reports().remove(0);
        Results::new(vec![part; measured], planned)
    };
    let cut = "cannot add up: b.json was interrupted after 1 of 2 steps; steps are not added up without all of them";
    let others = "cannot add up a.json and b.json: they have 2 and 3 steps (--rate), and steps stand side by side";
    for (first, second, told) in [
        (("a.json", 2, 2), ("b.json", 1, 2), cut),
        (("b.json", 1, 2), ("a.json", 2, 2), cut),
        (("a.json", 2, 2), ("b.json", 3, 3), others),
    ] {
        for allowed in [STRICT, FORCE] {
            let mut sums = Sums::new(allowed);
            sums.add(first.0, results(1, first.1, first.2)).unwrap();
            let error = sums.add(second.0, results(2, second.1, second.2)).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }
}

/// The table of the parts of a sum.
fn table(sum: &Report) -> Vec<String> {
    let text = sum.to_string();
    text.lines().skip(2).take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn each_part_has_a_row_and_what_stands_out_is_marked() {
    let slow =
        records().into_iter().map(|record| Record { end: End::Answered(Duration::from_millis(9), true), ..record });
    let mut parts: Vec<Value> = [1, 2, 3].map(|number| part(number, 4)).into();
    parts.push(serde_json::from_str(&part_of(report(&slow.collect::<Vec<_>>(), Some(156.25), 1), 4, 4)).unwrap());
    (parts[0]["metrics"]["load_working"], parts[0]["metrics"]["load_taken_away"]) = (json!(0.93), json!(0.02));
    parts[1]["metrics"]["errors"] = json!(7);
    parts[2]["metrics"]["requests_per_second"] = json!(120.0);
    (parts[2]["partial"], parts[2]["machine"]["host"]) = (true.into(), "h\u{1b}[31m".into());
    let sum = merged(&parts, STRICT).unwrap();
    let rows = table(&sum);
    assert_eq!(rows[0], "part   host            rate       p99   errors   busy   away");
    assert_eq!(rows[1], "   1   node-1           156    103 µs        0   93 %!   2 %");
    assert_eq!(rows[2], "   2   node-2           156    103 µs        7!     -      -");
    assert_eq!(rows[3], r"   3!  h\u{1b}[31m      120!   103 µs        0      -      -");
    assert_eq!(rows[4], "   4   node-4           156   9.00 ms!       0      -      -");
    assert!(rows[5].starts_with("!: errors, cut short, p99 over 1.5 times"), "{rows:?}");
    assert!(rows.iter().all(|row| row.chars().count() <= 80));
    // One alone has no others.
    assert!(table(&merged(&parts[..1], PARTIAL).unwrap())[0].starts_with("requests "));
}

#[test]
fn of_many_parts_the_worst_are_shown_and_the_range_of_the_others() {
    let mut parts: Vec<Value> = (1..=30).map(|number| part(number, 30)).collect();
    for (place, micros) in [(17, 4_000.0), (25, 9_000.0)] {
        parts[place]["metrics"]["response_p99_us"] = json!(micros);
    }
    parts[4]["metrics"]["errors"] = json!(1);
    parts.iter_mut().for_each(|part| part["machine"]["host"] = "a-host-with-a-name-of-40-characters.local".into());
    let sum = merged(&parts, STRICT).unwrap();
    let rows = table(&sum);
    let first: Vec<&str> = rows[1..=10].iter().filter_map(|row| row.split_whitespace().next()).collect();
    assert_eq!(first[..4], ["26", "18", "5", "1"]);
    assert!(rows[11].starts_with("the other 20, least") && rows[12].starts_with("the other 20, most"), "{rows:?}");
    assert!(rows[12].contains("103 µs"), "{rows:?}");
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{rows:?}");
    // All of them are in the JSON.
    assert_eq!(sum.about["runs"].as_array().unwrap().len(), 30);
    assert_eq!(sum.about["runs"][25]["metrics"]["response_p99_us"], 9_000.0);
}
