//! The load over the fake kernel with a virtual clock: which block of the measured time a request belongs to.

use std::time::Duration;

use super::{MILLI, Rig, asking};
use crate::bench::Extent;
use crate::bench::record::{Fact, Outcomes};
use crate::bench::trials::Times;

/// How requests ended in each block, and the times of each.
fn blocks(server: &mut Rig) -> Vec<(Outcomes, Times)> {
    let now = server.now();
    server.load(|load| {
        let times = load.ledger.response.as_ref().unwrap_or(&load.ledger.service);
        let full = load.ledger.full_blocks(now).iter().enumerate();
        full.map(|(block, outcomes)| (*outcomes, times.blocks.times(block))).collect()
    })
}

fn outcomes(answered: u64, failed: u64) -> Outcomes {
    Outcomes { answered, failed }
}

#[test]
fn a_stall_is_in_the_blocks_of_the_requests_that_waited_for_it() {
    // A block of 20 ms has two requests. What is due from 640 ms on is answered at 800 ms.
    let mut server = asking(|options| {
        options.rates = super::rates(100.0);
        options.extent = Extent::Duration(1_280 * MILLI);
    });
    server.echo_for(0, MILLI, 640 * MILLI);
    server.pass(160 * MILLI);
    server.echo_for(0, MILLI, Duration::from_secs(2));
    assert!(server.is_over());
    let blocks = blocks(&mut server);
    assert_eq!(blocks.len(), 64);
    for (place, (ended, times)) in blocks.iter().enumerate() {
        assert_eq!(*ended, outcomes(2, 0), "{place}");
        let slowest = times.percentile(100.0).unwrap() / 1e6;
        let waited = if (32..40).contains(&place) { 160.0 - (place as f64 - 32.0) * 20.0 } else { 0.0 };
        assert!((waited..waited + 4.0).contains(&slowest), "{place}: {slowest}");
    }
}

#[test]
fn every_request_that_was_sent_ends_in_one_block() {
    let mut server = asking(|options| {
        options.rates = super::rates(100.0);
        options.timeout = 50 * MILLI;
        options.warmup = 100 * MILLI;
    });
    server.echo_for(0, MILLI, 300 * MILLI);
    // Some are late, some are lost, and one has a wrong answer.
    let late = server.asked(0);
    server.pass(130 * MILLI);
    server.answers(0, &late);
    let asked = server.asked(0);
    server.says(0, "what?\n");
    server.pass(20 * MILLI);
    server.answers(0, &asked[1..]);
    server.echo_for(0, MILLI, Duration::from_secs(3));
    let counts = server.counts();
    let blocks = blocks(&mut server);
    let sum = blocks
        .iter()
        .fold(outcomes(0, 0), |sum, (ended, _)| outcomes(sum.answered + ended.answered, sum.failed + ended.failed));
    let failed = counts.errors() - counts[Fact::Unsent];
    assert!(failed > 0, "{counts:?}");
    assert_eq!(sum, outcomes(counts[Fact::Requests] - counts[Fact::CarriedOver], failed), "{counts:?}");
    let times: u64 = blocks.iter().map(|(_, times)| times.len()).sum();
    assert_eq!(times, counts[Fact::Requests] + counts[Fact::Late]);
}

#[test]
fn a_number_of_requests_has_32_blocks_at_least_however_long_it_takes() {
    let mut server = asking(|options| options.extent = Extent::Requests(500));
    server.echo_for(0, 10 * MILLI, Duration::from_secs(9));
    assert!(server.is_over());
    // 5 s, less the last request.
    let blocks = blocks(&mut server);
    assert_eq!(server.load(|load| load.ledger.blocks.length()), 80 * MILLI);
    assert_eq!(blocks.len(), 62);
    assert!(blocks.iter().all(|(ended, times)| ended.answered == 8 && times.len() == 8));
}

#[test]
fn what_was_interrupted_early_has_the_blocks_that_were_full() {
    let mut server = asking(|options| options.extent = Extent::Duration(6_400 * MILLI));
    server.echo_for(0, MILLI, 1_250 * MILLI);
    let now = server.now();
    server.load(|load| load.ledger.interrupt(now));
    assert_eq!(blocks(&mut server).len(), 12);
}
