//! Whether the runs of a load measured at the same time: by their clocks, and as far as these are to be trusted.
//!
//! Parts of one load (`--part`) say what their clock is worth. Where one kernel had several of them, their clocks are one
//! clock, and show the same time since it was booted. Of those of several kernels it has to be known what they may be wrong by
//! (`--clock-error`), and that is taken from what the runs have in common.

use std::collections::BTreeMap;

use pingpong::service::escaped;
use serde_json::Value;

use super::alike::{Mismatch, Span, TOGETHER, effective, in_common};
use super::text::shown;

/// How far clocks of one kernel may seem to be apart, in seconds: it may be set right while parts begin.
const SAME_CLOCK: f64 = 0.05;

/// A run of the load, as it stands in the JSON of a sum, and what it is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) run: &'a Value,
}

/// What keeps runs from being one load: the names of two of them, and why.
pub(super) type Trouble = (String, String, Mismatch);

/// What keeps these from having measured at the same time, the first reason first.
pub(super) fn troubles(members: &[Member<'_>]) -> Vec<Trouble> {
    let [first, .., last] = members else { return Vec::new() };
    let spans: Option<Vec<Span>> = members.iter().map(|member| Span::of(member.run)).collect();
    let Some(spans) = spans else {
        let undated = members.iter().rev().find(|member| Span::of(member.run).is_none()).unwrap_or(last);
        let dated = if undated.name == first.name { last } else { first };
        return vec![(dated.name.to_owned(), undated.name.to_owned(), Mismatch::Undated)];
    };
    let are_parts = members.iter().all(|member| effective(member.run)["part"].is_u64());
    let mut troubles = Vec::new();
    if are_parts {
        troubles.extend(shifted(members));
        troubles.extend(untold(members));
    }
    if in_common(&spans) < TOGETHER {
        troubles.push(apart(members, &spans));
    } else if are_parts && troubles.is_empty() {
        troubles.extend(vague(members, &spans));
    }
    troubles
}

/// The part that was at another time than most, beside one of these.
fn apart(members: &[Member<'_>], spans: &[Span]) -> Trouble {
    let middle = |of: fn(&Span) -> f64| {
        let mut all: Vec<f64> = spans.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[(all.len() - 1) / 2]
    };
    let (from, until) = (middle(|span| span.from), middle(|span| span.until));
    let off = |span: &Span| (span.from - from).abs().max((span.until - until).abs());
    let by_distance = |a: &&usize, b: &&usize| off(&spans[**a]).total_cmp(&off(&spans[**b]));
    let places: Vec<usize> = (0..spans.len()).collect();
    // Of two that are as far from each other, the later one.
    let far = *places.iter().max_by(by_distance).expect("there are two");
    let near = *places.iter().filter(|place| **place != far).min_by(by_distance).expect("there are two");
    let (begun, ended) = (spans[far].from - spans[near].from, spans[far].until - spans[near].until);
    let (verb, by) = if begun.abs() >= ended.abs() { ("began", begun) } else { ("ended", ended) };
    let told =
        format!("{} {verb} {} {}", told(&members[far]), seconds(by.abs()), if by < 0.0 { "earlier" } else { "later" });
    (members[near].name.to_owned(), members[far].name.to_owned(), Mismatch::Apart { share: in_common(spans), told })
}

/// A part whose clock is not that of the others, though they were on one kernel.
fn shifted(members: &[Member<'_>]) -> Option<Trouble> {
    let mut kernels: BTreeMap<&str, Vec<(f64, &Member<'_>)>> = BTreeMap::new();
    for member in members {
        if let Some((kernel, shows)) = boot_id(member).zip(clock(member)["unix_minus_boot_seconds"].as_f64()) {
            kernels.entry(kernel).or_default().push((shows, member));
        }
    }
    kernels.into_values().find_map(|mut clocks| {
        clocks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (right, one) = clocks[(clocks.len() - 1) / 2];
        let off = |clock: &&(f64, &Member<'_>)| (clock.0 - right).abs();
        let (shows, other) = *clocks.iter().max_by(|a, b| off(a).total_cmp(&off(b)))?;
        if (shows - right).abs() <= SAME_CLOCK {
            return None;
        }
        let by = seconds((shows - right).abs());
        let what = match clocks.len() {
            // Which of them is right, nobody knows.
            2 => format!("the clocks of {} and {} were {by} apart", told(one), told(other)),
            _ if shows > right => format!("the clock of {} was {by} ahead of that of {}", told(other), told(one)),
            _ => format!("the clock of {} was {by} behind that of {}", told(other), told(one)),
        };
        let why = format!(
            "they ran on one kernel, and {what} (a time namespace, a false clock, or one that was set meanwhile)"
        );
        Some((one.name.to_owned(), other.name.to_owned(), Mismatch::Clocks(why)))
    })
}

/// A part of which nobody knows how its clock is related to those of the other machines.
fn untold(members: &[Member<'_>]) -> Option<Trouble> {
    let kernel = boot_id(&members[0]);
    if kernel.is_some() && members.iter().all(|member| boot_id(member) == kernel) {
        return None;
    }
    let place = members.iter().position(|member| uncertainty(member).is_none())?;
    let why = format!(
        "how wrong the clock of {} may be is not known: give every part --clock-error (chronyc tracking tells it)",
        told(&members[place])
    );
    let other = usize::from(place == 0);
    Some((members[other].name.to_owned(), members[place].name.to_owned(), Mismatch::Clocks(why)))
}

/// Clocks that may be so wrong that the time in common may be too short. All parts on a kernel have the same one.
fn vague(members: &[Member<'_>], spans: &[Span]) -> Option<Trouble> {
    let mut kernels: BTreeMap<&str, (f64, &Member<'_>)> = BTreeMap::new();
    for member in members {
        if let Some((kernel, seconds)) = boot_id(member).zip(uncertainty(member)) {
            let worst = kernels.entry(kernel).or_insert((seconds, member));
            *worst = if seconds > worst.0 { (seconds, member) } else { *worst };
        }
    }
    let mut worst: Vec<(f64, &Member<'_>)> = kernels.into_values().collect();
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    let [(most, one), (next, other), ..] = worst[..] else { return None };
    let longest = spans.iter().map(Span::seconds).fold(0.0, f64::max);
    let share = in_common(spans) - (most + next) / longest.max(f64::MIN_POSITIVE);
    (share < TOGETHER).then(|| {
        let why = format!(
            "the clocks of {} and {} may be wrong by {} and {}, and so they may have measured at the same time for {:.0} % of \
             it only, and {:.0} % is the least: measure longer (-d), or have chronyd keep the clocks (--clock-error)",
            told(one),
            told(other),
            seconds(most),
            seconds(next),
            share.max(0.0) * 100.0,
            TOGETHER * 100.0,
        );
        (one.name.to_owned(), other.name.to_owned(), Mismatch::Clocks(why))
    })
}

fn clock<'a>(member: &Member<'a>) -> &'a Value {
    &member.run["run"]["clock"]
}

fn boot_id<'a>(member: &Member<'a>) -> Option<&'a str> {
    clock(member)["boot_id"].as_str()
}

/// What a clock may be wrong by, in seconds, as the user says.
fn uncertainty(member: &Member<'_>) -> Option<f64> {
    clock(member)["clock_error_seconds"].as_f64()
}

/// A run as it is called in a sentence.
fn told(member: &Member<'_>) -> String {
    let host = member.run["run"]["machine"]["host"].as_str().map(|host| format!(" ({})", escaped(host.as_bytes())));
    match effective(member.run)["part"].as_u64() {
        Some(part) => format!("part {part}{}", host.unwrap_or_default()),
        None => member.name.to_owned(),
    }
}

/// For people.
fn seconds(seconds: f64) -> String {
    shown((seconds * 1e9).round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Ten seconds, on this kernel, with a clock that may be wrong by 1 ms.
    fn part(part: u64, kernel: &str) -> Value {
        json!({
            "measured": [1000.0, 1010.0],
            "run": {
                "machine": { "host": format!("node-{kernel}") },
                "settings": { "effective": { "part": part, "parts": 4 } },
                "clock": { "clock_error_seconds": 0.001, "boot_id": kernel, "unix_minus_boot_seconds": 5.0 },
            },
        })
    }

    /// What is wrong with four parts on kernels a, a, b, c, after this change to one of them.
    #[track_caller]
    fn trouble(place: usize, change: impl FnOnce(&mut Value)) -> Option<(String, String)> {
        let mut runs = [part(1, "a"), part(2, "a"), part(3, "b"), part(4, "c")];
        change(&mut runs[place]);
        told_of(&runs)
    }

    fn told_of(runs: &[Value]) -> Option<(String, String)> {
        let names: Vec<String> = (1..=runs.len()).map(|number| format!("{number}.json")).collect();
        let members: Vec<Member<'_>> = names.iter().zip(runs).map(|(name, run)| Member { name, run }).collect();
        let (one, other, why) = troubles(&members).into_iter().next()?;
        Some((format!("{one} {other}"), why.to_string()))
    }

    #[track_caller]
    fn is_told(told: Option<(String, String)>, names: &str, words: &[&str]) {
        let (told_names, why) = told.expect("something is wrong");
        assert_eq!(told_names, names, "{why}");
        assert!(words.iter().all(|word| why.contains(word)), "{words:?} in {why}");
    }

    #[test]
    fn parts_that_measured_together_are_fine() {
        assert_eq!(trouble(0, |_| {}), None);
        assert_eq!(trouble(3, |run| run["measured"] = json!([1000.45, 1010.45])), None);
        assert_eq!(trouble(1, |run| run["run"]["clock"]["unix_minus_boot_seconds"] = json!(5.04)), None);
        // The clocks of different machines were started at different times.
        assert_eq!(trouble(2, |run| run["run"]["clock"]["unix_minus_boot_seconds"] = json!(9e6)), None);
    }

    #[test]
    fn the_one_that_is_apart_is_named() {
        let late = trouble(2, |run| run["measured"] = json!([1002.0, 1012.0]));
        is_told(late, "1.json 3.json", &["for 80 % of it", "part 3 (node-b) began 2.00 s later"]);
        let early = trouble(0, |run| run["measured"] = json!([998.5, 1008.5]));
        is_told(early, "2.json 1.json", &["for 85 % of it", "part 1 (node-a) began 1.50 s earlier"]);
        let cut = trouble(1, |run| run["measured"] = json!([1000.0, 1004.0]));
        is_told(cut, "1.json 2.json", &["for 40 % of it", "part 2 (node-a) ended 6.00 s earlier"]);
        let mut two = [part(1, "a"), part(2, "a")];
        two[1]["measured"] = json!([1001.0, 1011.0]);
        is_told(told_of(&two), "1.json 2.json", &["for 90 % of it", "part 2 (node-a) began 1.00 s later"]);
        two[0]["measured"] = Value::Null;
        is_told(told_of(&two), "2.json 1.json", &["does not say when it measured"]);
    }

    #[test]
    fn clocks_of_one_kernel_are_one_clock() {
        let ahead = trouble(1, |run| run["run"]["clock"]["unix_minus_boot_seconds"] = json!(5.06));
        is_told(
            ahead,
            "1.json 2.json",
            &["one kernel", "the clocks of part 1 (node-a) and part 2 (node-a) were 60.0 ms apart (a time namespace"],
        );
        let behind = [part(1, "a"), part(2, "a"), part(3, "a")].map(|mut run| {
            let shows = if effective(&run)["part"] == 1 { 2.5 } else { 5.0 };
            run["run"]["clock"]["unix_minus_boot_seconds"] = json!(shows);
            run
        });
        is_told(told_of(&behind), "2.json 1.json", &["the clock of part 1 (node-a) was 2.50 s behind that of part 2"]);
        // What it shows is told before what it seems to have done.
        let both = trouble(1, |run| {
            run["measured"] = json!([1003.0, 1013.0]);
            run["run"]["clock"]["unix_minus_boot_seconds"] = json!(8.0);
        });
        is_told(both, "1.json 2.json", &["3.00 s apart"]);
        let ahead = [(1, 5.0), (2, 5.0), (3, 5.06)].map(|(number, shows)| {
            let mut run = part(number, "a");
            run["run"]["clock"]["unix_minus_boot_seconds"] = json!(shows);
            run
        });
        is_told(told_of(&ahead), "2.json 3.json", &["part 3 (node-a) was 60.0 ms ahead of that of part 2 (node-a)"]);
    }

    #[test]
    fn a_clock_of_which_nobody_says_how_wrong_it_is_is_no_clock_beside_those_of_other_machines() {
        let way_out = ["may be is not known: give every part --clock-error (chronyc tracking tells it)"];
        let untold = trouble(2, |run| run["run"]["clock"]["clock_error_seconds"] = Value::Null);
        is_told(untold.clone(), "1.json 3.json", &way_out);
        is_told(untold, "1.json 3.json", &["how wrong the clock of part 3 (node-b) may be"]);
        let unknown = trouble(0, |run| run["run"]["clock"] = Value::Null);
        is_told(unknown, "2.json 1.json", &["how wrong the clock of part 1 (node-a) may be is not known"]);
        // On one kernel it is the same for all.
        let alone = [part(1, "a"), part(2, "a")].map(|mut run| {
            run["run"]["clock"]["clock_error_seconds"] = Value::Null;
            run
        });
        assert_eq!(told_of(&alone), None);
    }

    #[test]
    fn what_clocks_may_be_wrong_by_is_taken_from_the_time_in_common() {
        let set = |run: &mut Value, seconds: f64| run["run"]["clock"]["clock_error_seconds"] = json!(seconds);
        assert_eq!(trouble(2, |run| set(run, 0.498)), None);
        assert_eq!(trouble(2, |run| set(run, 0.0)), None);
        let told = trouble(2, |run| set(run, 0.6));
        is_told(told, "3.json 1.json", &["part 3 (node-b) and part 1 (node-a)", "600 ms and 1.00 ms", "94 %", "-d"]);
        // Two on one kernel have the same clock: its error counts once, and not beside itself.
        let near = [part(1, "a"), part(2, "a")].map(|mut run| {
            set(&mut run, 0.4);
            run
        });
        assert_eq!(told_of(&near), None);
    }

    #[test]
    fn runs_that_are_no_parts_are_asked_for_no_clock() {
        let runs = [1, 2].map(|number| {
            let mut run = part(number, &number.to_string());
            run["run"]["settings"]["effective"]["part"] = Value::Null;
            run["run"]["clock"] = Value::Null;
            run
        });
        assert_eq!(told_of(&runs), None);
    }
}
