//! The load over the fake kernel with a virtual clock: it ends when a percentile is known well enough.

use std::time::Duration;

use fake::Dice;

use super::{MILLI, asking, rates};
use crate::bench::Extent;
use crate::bench::record::Fact;
use crate::bench::requirement::Kind;
use crate::bench::until::{Looks, Until};

/// Blocks of 100 ms.
const WHOLE: Duration = Duration::from_millis(6_400);

/// What comes of a server that takes so long for each request, as its dice fall: the looks, the seconds measured, the
/// requests sent.
fn run(percent: f64, share: f64, mut service: impl FnMut() -> Duration) -> (Looks, f64, u64) {
    let until = Until { text: String::new(), kind: Kind::Main, percent, share };
    let mut server = asking(|options| (options.rates, options.extent) = (rates(500.0), Extent::Duration(WHOLE)));
    let mut looks = Looks::default();
    while !server.is_over() {
        server.echo_for(0, service(), MILLI);
        let now = server.now();
        if !looks.is_reached && server.load(|load| looks.look(&until, &load.ledger, now)) {
            server.with(|load, out| load.end_early(out));
        }
    }
    let now = server.now();
    let measured = server.load(|load| {
        load.conclude(now, 0).unwrap();
        looks.end(&until, &load.ledger, now);
        load.ledger.measured(now).as_secs_f64()
    });
    assert_eq!((server.count(Fact::Unsent), server.count(Fact::Lost)), (0, 0));
    assert_eq!(server.count(Fact::Sent), server.count(Fact::Requests));
    (looks, measured, server.count(Fact::Sent))
}

#[test]
fn a_run_whose_times_are_alike_ends_at_the_first_look() {
    let (looks, measured, sent) = run(50.0, 0.05, || MILLI);
    // A quarter of the time is the least.
    assert!(looks.is_reached && (1.6..1.65).contains(&measured), "{looks:?} {measured}");
    assert!(sent.abs_diff((500.0 * measured) as u64) <= 1, "{sent}");
}

#[test]
fn a_run_whose_times_differ_goes_on_to_the_end_and_says_how_well_it_is_known() {
    let mut dice = Dice::new(1);
    let (looks, measured, sent) = run(90.0, 0.0001, move || MILLI * (1 + dice.below(9)) as u32);
    assert!(!looks.is_reached && looks.share > Some(0.0001), "{looks:?}");
    assert_eq!((measured, sent), (6.4, 3200));
}

#[test]
fn too_few_answers_tell_nothing() {
    let (looks, measured, _) = run(99.9, 1.0, || MILLI);
    assert!(!looks.is_reached && looks.share.is_none() && measured == 6.4, "{looks:?}");
}
