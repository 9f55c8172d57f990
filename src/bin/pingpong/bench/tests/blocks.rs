//! The load over the fake kernel with a virtual clock: which block of the measured time a request belongs to.

use std::time::Duration;

use super::{MILLI, Rig, asking, rates};
use crate::bench::record::{Fact, Outcomes};
use crate::bench::trials::Times;
use crate::bench::{Arrivals, Extent};
use crate::probe::Probe;

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
        options.rates = rates(100.0);
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
fn every_request_ends_in_one_block() {
    let mut server = asking(|options| {
        options.rates = rates(100.0);
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
    assert!(counts.errors() > 0, "{counts:?}");
    assert_eq!(sum, outcomes(counts[Fact::Requests] - counts[Fact::CarriedOver], counts.errors()), "{counts:?}");
    let times: u64 = blocks.iter().map(|(_, times)| times.len()).sum();
    assert_eq!(times, counts[Fact::Requests] + counts[Fact::Late]);
}

#[test]
fn what_was_never_sent_failed_in_the_block_in_which_it_was_due() {
    // A block of 20 ms has two requests. Sixteen may be unanswered: what is due from 640 to 960 ms, and no more.
    for arrivals in [Arrivals::Even, Arrivals::Poisson { seed: 7 }] {
        let mut server = asking(|options| {
            (options.rates, options.arrivals) = (rates(100.0), arrivals);
            (options.extent, options.warmup) = (Extent::Duration(1_280 * MILLI), 10 * MILLI);
            (options.probe, options.timeout) = (Probe::Pong(1 << 20), Duration::from_secs(5));
        });
        let until = server.now() + 650 * MILLI;
        while server.now() < until {
            let asked = server.hears(0);
            server.says(0, asked.replace("ping", "pong"));
            server.pass(MILLI);
        }
        server.pass(Duration::from_secs(9));
        assert!(server.is_over());
        let counts = server.counts();
        let failed: Vec<u64> = blocks(&mut server).iter().map(|(ended, _)| ended.failed).collect();
        assert_eq!((failed.len(), failed.iter().sum::<u64>()), (64, counts.errors()), "{counts:?}");
        assert!(counts[Fact::Unsent] > 8, "{counts:?}");
        if arrivals == Arrivals::Even {
            assert_eq!((counts[Fact::Lost], counts[Fact::Unsent]), (16, 48), "{counts:?}");
            assert_eq!(failed, [[0; 32], [2; 32]].concat());
        }
    }
}

#[test]
fn what_is_due_after_the_server_has_gone_failed_in_its_block() {
    let mut server = asking(|options| {
        options.rates = rates(100.0);
        options.extent = Extent::Duration(1_280 * MILLI);
    });
    server.echo_for(0, MILLI, 320 * MILLI);
    server.resets(0);
    server.pass(Duration::from_secs(3));
    let failed: Vec<u64> = blocks(&mut server).iter().map(|(ended, _)| ended.failed).collect();
    let counts = server.counts();
    assert_eq!((counts.errors(), counts[Fact::Unsent] > 90), (failed.iter().sum(), true), "{counts:?}");
    assert!(failed[..15] == [0; 15] && failed[16..] == [2; 48], "{failed:?}");
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
