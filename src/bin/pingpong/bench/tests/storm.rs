//! The load over the fake kernel when far sides do what they like: right and wrong answers, none, halves and doubles,
//! resets, connections that never come about. Whatever happens, the load ends and its books balance.

use std::time::Duration;

use fake::Dice;
use nix::libc::ECONNREFUSED;
use pingpong::service::Framing;

use super::{MILLI, Rig, dialling, rates};
use crate::bench::record::{Counts, Fact};
use crate::bench::{BenchOptions, Extent};

fn random_options(dice: &mut Dice) -> impl FnOnce(&mut BenchOptions) {
    let (connections, idle, pipeline) = (1 + dice.below(4) as u32, dice.below(3) as u32, 1 + dice.below(3) as u32);
    let rate = dice.one_in(2).then(|| 10.0 + dice.below(500) as f64);
    let (churn, is_counted) = (dice.one_in(3), dice.one_in(3));
    let (requests, warmup, timeout) = (1 + dice.below(60) as u64, dice.below(200) as u32, 20 + dice.below(300) as u32);
    let connect_rate = dice.one_in(4).then_some(50.0);
    let is_raw = dice.one_in(4);
    let heartbeat = dice.one_in(2).then(|| (10 + dice.below(200) as u32) * MILLI);
    move |options| {
        (options.connections, options.idle, options.pipeline) = (connections, idle, pipeline);
        (options.rates, options.churn, options.connect_rate) = (rates(rate), churn, connect_rate);
        options.heartbeat = heartbeat;
        (options.warmup, options.timeout) = (warmup * MILLI, timeout * MILLI);
        if is_counted {
            options.extent = Extent::Requests(requests);
        }
        if is_raw {
            options.framing = Framing::Raw;
        }
    }
}

/// What a far side answers: mostly the right thing.
fn random_answer(dice: &mut Dice, asked: &str) -> String {
    let mut answer = asked.replace("ping", "pong");
    match dice.below(12) {
        0 => answer.push_str("pong\n"),
        1 => answer = answer.replacen('d', "D", 1),
        2 => answer.truncate(answer.len() / 2),
        3 => answer.clear(),
        4 => answer = answer.repeat(2),
        5 => answer = answer.lines().rev().map(|line| format!("{line}\n")).collect(),
        _ => {}
    }
    answer
}

/// One far side does something, or time passes.
fn disturb(server: &mut Rig, dice: &mut Dice, is_said: &mut Vec<bool>) {
    let dials = server.kernel.borrow().dialled.len();
    is_said.resize(dials, false);
    let connection = dice.below(dials);
    match dice.below(10) {
        0..=2 => {
            server.pass(Duration::from_micros(dice.below(30_000) as u64));
        }
        3 if !is_said[connection] => {
            is_said[connection] = true;
            if dice.one_in(8) {
                server.kernel.borrow_mut().fails_the_dial(connection, ECONNREFUSED);
            } else {
                server.kernel.borrow_mut().answers_the_dial(connection);
            }
            server.settle();
        }
        4 if is_said[connection] && dice.one_in(30) => {
            server.resets(connection);
            server.settle();
        }
        _ if is_said[connection] && !server.is_closed(connection) => {
            let asked = server.hears(connection);
            let answer = random_answer(dice, &asked);
            server.says(connection, answer);
            server.settle();
        }
        _ => {}
    }
}

#[test]
fn whatever_far_sides_do_it_ends_and_every_request_has_one_outcome() {
    let mut all = Counts::default();
    for seed in 1..=400 {
        let mut dice = Dice::new(seed);
        let mut server = dialling(random_options(&mut dice));
        let mut is_said = Vec::new();
        for _ in 0..600 {
            if server.is_over() {
                break;
            }
            disturb(&mut server, &mut dice, &mut is_said);
            let counts = server.counts();
            assert!(counts[Fact::Sent] >= counts[Fact::Requests] + counts[Fact::Lost], "seed {seed}: {counts:?}");
        }
        // From now on no far side answers, and no connection comes about.
        server.pass(Duration::from_secs(30));
        assert!(
            server.is_over(),
            "seed {seed} does not end: {server}",
            server = server.load(|load| format!("{load:?}"))
        );
        let counts = server.counts();
        assert_eq!(counts.pending(), 0, "seed {seed}: {counts:?}");
        let heartbeats: u64 = Fact::HEARTBEATS.iter().map(|fact| counts[*fact]).sum();
        assert_eq!(counts[Fact::Heartbeats], heartbeats, "seed {seed}: {counts:?}");
        let (answers, times) = server.load(|load| {
            let counts = &load.ledger.counts;
            (counts[Fact::Requests] + counts[Fact::Late], load.ledger.service.total.len())
        });
        assert_eq!(answers, times, "seed {seed}");
        all.add(&counts);
    }
    // The dice were good: everything that can happen over streams did.
    let elsewhere = [
        Fact::Unfinished,
        Fact::Unsent,
        Fact::Reordered,
        Fact::ConnectionsUnserved,
        Fact::ConnectionsStalled,
        Fact::ConnectionsHeld,
        Fact::IdleHeld,
        Fact::PortWaits,
        Fact::KernelDrops,
        Fact::HeartbeatsUnfinished,
        Fact::IdleSilent,
    ];
    for (fact, name) in Fact::ALL.into_iter().filter(|(fact, _)| !fact.is_of_the_probe()) {
        assert!(all[fact] > 0 || elsewhere.contains(&fact), "never {name}");
    }
}
