//! The load over the fake kernel with a virtual clock: which runs meet what is required of them.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{MILLI, Rig, asking, options, rates};
use crate::bench::options::BenchOptions;
use crate::bench::preflight::Ground;
use crate::bench::report::{Report, Run};
use crate::bench::requirement::{Comparison, FIGURES, Quantity, Requirement};

const SECOND: Duration = Duration::from_secs(1);

/// A figure, a comparison as users write it, and a limit in the figure's own unit.
type Required = (&'static str, &'static str, f64);

pub(super) fn requirement((name, sign, limit): Required) -> Requirement {
    let quantity = Quantity::named(name.trim_end_matches('%')).unwrap();
    let quantity = if name.ends_with('%') { quantity.as_share().unwrap() } else { quantity };
    let (_, comparison) = Comparison::ALL.into_iter().find(|(other, _)| *other == sign).unwrap();
    Requirement { text: format!("{name}{sign}{limit}"), quantity, comparison, limit }
}

/// A load of which all this is required; it asks.
fn required(set: impl Fn(&mut BenchOptions)) -> (Rig, BenchOptions) {
    (asking(&set), options(&set))
}

/// What became of each requirement: `None` where it is met, else why it is not.
fn unmet(rig: &mut Rig, mut options: BenchOptions, requirements: &[Required]) -> Vec<Option<String>> {
    options.requirements = requirements.iter().copied().map(requirement).collect();
    let whole = report(rig, &options);
    let judged = whole["requirements"].as_array().unwrap();
    judged.iter().map(|one| one["reason"].as_str().filter(|_| one["met"] == false).map(str::to_owned)).collect()
}

pub(super) fn report(rig: &mut Rig, options: &BenchOptions) -> Value {
    let ended = rig.now();
    rig.load(|load| {
        load.conclude(ended, 0).unwrap();
        let (started, ground) = (SystemTime::UNIX_EPOCH, Ground::default());
        let report = Report::of(Run { options, load, started, ended, ground, cost: None, transport: None });
        serde_json::from_str(&report.to_json()).unwrap()
    })
}

#[test]
fn a_run_that_keeps_to_its_limits_meets_them() {
    let (mut server, options) = required(|options| (options.connections, options.rates) = (1, rates(1000.0)));
    server.echo_for(0, 2 * MILLI, 3 * SECOND);
    let outcomes = unmet(
        &mut server,
        options,
        &[
            ("p99", "<", 5_000.0),
            ("p99", "<", 1_000.0),
            ("service_p50", ">=", 1_999.0),
            ("max", "<=", 5_000.0),
            ("errors", "=", 0.0),
            ("errors%", "<", 0.001),
            ("rate", ">=", 1_000.0),
            ("rate", ">", 1_000.0),
            ("asked_per_second", "=", 1_000.0),
            ("connections_lost", "=", 0.0),
            ("p999", "<", 5_000.0),
            ("load_cpu_seconds", "<", 5.0),
            ("heartbeats", "=", 0.0),
        ],
    );
    let not_met = |place: usize| outcomes[place].clone().unwrap();
    assert!([0, 2, 3, 4, 5, 6, 8, 9].iter().all(|place| outcomes[*place].is_none()), "{outcomes:?}");
    assert!(not_met(1).starts_with("it is 3.") || not_met(1).starts_with("it is 2."), "{}", not_met(1));
    assert_eq!(not_met(7), "it is 1,000 a second");
    assert_eq!(not_met(10), "not enough answers to tell: 1,000, and 10,000 are the least");
    assert_eq!((not_met(11), not_met(12)), ("it is not known".to_owned(), "it is not known".to_owned()));
}

#[test]
fn what_was_measured_has_its_interval_where_there_is_one() {
    let (mut server, mut options) = required(|options| options.rates = rates(1000.0));
    server.echo_for(0, 2 * MILLI, 3 * SECOND);
    let wanted =
        [("p50", "<", 9e9), ("rate", ">", 1.0), ("p50_high", "<", 9e9), ("p999_high", "<", 9e9), ("errors", "=", 0.0)];
    options.requirements = wanted.map(requirement).to_vec();
    let judged = report(&mut server, &options)["requirements"].clone();
    for one in &judged.as_array().unwrap()[..2] {
        let [low, measured, high] = ["low", "measured", "high"].map(|name| one[name].as_f64().unwrap());
        assert!(low <= measured && measured <= high && low > 0.0, "{one}");
    }
    assert_eq!((&judged[2]["measured"], &judged[2]["met"]), (&judged[0]["high"], &Value::Bool(true)));
    assert_eq!(judged[3]["reason"], "not enough answers to tell: there is no interval");
    assert!(judged[4]["low"].is_null() && judged[4]["met"] == true, "{judged}");
}

#[test]
fn nothing_is_met_where_nothing_was_answered() {
    let anything = [("p99", "<", 1e9), ("errors", ">=", 0.0), ("connections_lost", "=", 0.0), ("lag_max", "<", 1e9)];
    let (mut silent, options) = required(|options| options.rates = rates(100.0));
    silent.pass(3 * SECOND);
    assert_eq!(unmet(&mut silent, options, &anything), vec![Some("nothing was answered".to_owned()); 4]);

    let (mut gone, options) = required(|options| (options.rates, options.warmup) = (rates(100.0), 100 * MILLI));
    gone.resets(0);
    gone.pass(SECOND);
    let outcomes = unmet(&mut gone, options, &anything);
    assert_eq!(outcomes, vec![Some("the server was gone before the measured time began".to_owned()); 4]);
}

#[test]
fn nothing_is_met_by_a_server_that_goes_or_a_run_that_is_interrupted() {
    let anything = [("p50", "<", 1e9), ("connections_lost", "<", 9.0)];
    let (mut dying, options) = required(|options| options.rates = rates(100.0));
    dying.echo_for(0, MILLI, 500 * MILLI);
    dying.resets(0);
    dying.pass(SECOND);
    let outcomes = unmet(&mut dying, options, &anything);
    assert_eq!(outcomes, vec![Some("the server was gone after 0.5 s".to_owned()); 2]);

    let (mut cut, options) = required(|options| options.rates = rates(100.0));
    cut.echo_for(0, MILLI, 500 * MILLI);
    let outcomes = unmet(&mut cut, options, &anything);
    assert_eq!(outcomes, vec![Some("interrupted after 0.5 s".to_owned()); 2]);

    let (mut cut, options) = required(|options| (options.rates, options.warmup) = (rates(100.0), SECOND));
    cut.echo_for(0, MILLI, 500 * MILLI);
    let outcomes = unmet(&mut cut, options, &anything);
    assert_eq!(outcomes, vec![Some("interrupted before it began to measure".to_owned()); 2]);

    // The last answer comes in the warm-up.
    let (mut silent, options) = required(|options| (options.rates, options.warmup) = (rates(100.0), SECOND));
    silent.echo_for(0, MILLI, 900 * MILLI);
    silent.pass(3 * SECOND);
    let outcomes = unmet(&mut silent, options, &anything);
    assert_eq!(outcomes, vec![Some("the server answered nothing in the measured time".to_owned()); 2]);
}

#[test]
fn a_request_without_an_answer_took_longer_than_any_other() {
    let (mut server, options) = required(|options| options.rates = rates(1000.0));
    // Fifteen of a thousand are not answered; what was asked before and after is.
    server.echo_for(0, MILLI, 500 * MILLI);
    let mut lost = 0;
    while lost < 15 {
        server.pass(MILLI);
        lost += server.asked(0).len();
    }
    server.echo_for(0, MILLI, 3 * SECOND);
    assert!(server.is_over());
    let outcomes = unmet(
        &mut server,
        options,
        &[
            ("p98", "<", 100_000.0),
            ("p99", "<", 100_000.0),
            ("p99", ">", 1.0),
            ("max", "<", 1e9),
            ("lag_p99", "<", 100_000.0),
            ("errors%", "<=", 0.02),
            ("errors%", "<", 0.01),
            ("lost", "=", 0.0),
        ],
    );
    let expected = format!("{lost} of 1,000 requests got no right answer");
    assert_eq!((&outcomes[0], &outcomes[2], &outcomes[4], &outcomes[5]), (&None, &None, &None, &None));
    assert_eq!((&outcomes[1], &outcomes[3]), (&Some(expected.clone()), &Some(expected)));
    assert!(outcomes[6].is_some() && outcomes[7].is_some(), "{outcomes:?}");
}

#[test]
fn every_name_of_the_metrics_can_be_required() {
    let (mut server, options) = required(|options| options.rates = rates(100.0));
    server.echo_for(0, MILLI, 2 * SECOND);
    let whole = report(&mut server, &options);
    let names: Vec<&String> = whole["metrics"].as_object().unwrap().keys().collect();
    assert!(names.len() > 50 && names.iter().all(|name| Quantity::named(name).is_some()), "{names:?}");
    assert!(FIGURES.iter().all(|(name, _)| names.iter().any(|other| other == name)), "{names:?}");
}
