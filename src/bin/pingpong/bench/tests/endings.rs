//! The load over the fake kernel with a virtual clock: how a run ends, and what becomes of what was due then.

use std::time::Duration;

use pingpong::Moment;

use super::{MILLI, asking, options, rates};
use crate::bench::Extent;
use crate::bench::load::Stage;
use crate::bench::record::{Answered, Fact, Ledger, Request};
use crate::probe::Probe;

#[test]
fn silence_is_lost_and_ends() {
    let mut server = asking(|options| options.rates = rates(100.0));
    server.pass(Duration::from_secs(3));
    assert!(server.is_over());
    server.assert_counts(&[(Fact::Sent, 100), (Fact::Lost, 100), (Fact::ConnectionsOpened, 1)]);
}

#[test]
fn as_many_requests_as_asked_for_and_no_more() {
    for (rate, warmup) in [(None, Duration::ZERO), (None, 50 * MILLI), (Some(1000.0), 50 * MILLI)] {
        let mut server = asking(|options| {
            options.extent = Extent::Requests(70);
            options.pipeline = if rate.is_none() { 3 } else { 1 };
            (options.rates, options.warmup) = (rates(rate), warmup);
        });
        server.echo_for(0, MILLI, Duration::from_secs(2));
        assert!(server.is_over());
        server.assert_counts(&[(Fact::Sent, 70), (Fact::Requests, 70), (Fact::ConnectionsOpened, 1)]);
    }
}

#[test]
fn fewer_requests_than_a_pipeline_holds() {
    let mut server = asking(|options| (options.extent, options.pipeline) = (Extent::Requests(2), 4));
    assert_eq!(server.asked(0), [1, 2]);
    server.answers(0, &[1, 2]);
    assert!(server.is_over());
}

#[test]
fn what_is_sent_a_little_late_makes_the_measured_time_longer() {
    let mut server = asking(|options| (options.rates, options.timeout) = (rates(100.0), Duration::from_secs(1)));
    server.echo_for(0, MILLI, 955 * MILLI);
    server.leap(90 * MILLI);
    server.echo_for(0, MILLI, Duration::from_secs(2));
    assert!(server.is_over());
    server.assert_counts(&[(Fact::Sent, 100), (Fact::Requests, 100), (Fact::ConnectionsOpened, 1)]);
    let now = server.now();
    assert!(server.load(|load| load.ledger.measured(now)) >= 1040 * MILLI);
}

#[test]
fn what_could_only_be_sent_long_after_the_end_is_not_sent_and_told_why() {
    let mut server = asking(|options| (options.rates, options.timeout) = (rates(100.0), Duration::from_secs(1)));
    server.echo_for(0, MILLI, 895 * MILLI);
    server.leap(300 * MILLI);
    server.echo_for(0, MILLI, Duration::from_secs(2));
    assert!(server.is_over());
    server.assert_counts(&[(Fact::Sent, 90), (Fact::Requests, 90), (Fact::Unsent, 10), (Fact::ConnectionsOpened, 1)]);
    let now = server.now();
    assert_eq!(server.load(|load| load.ledger.measured(now)), Duration::from_secs(1));
    assert_eq!(server.hindrances(), [("the load generator was too slow".to_owned(), 10)]);
}

#[test]
fn a_low_rate_lasts_as_long_as_asked_for() {
    let mut server = asking(|options| options.rates = rates(0.1));
    server.echo_for(0, MILLI, 990 * MILLI);
    assert!(!server.is_over(), "the next one would be due after the end");
    server.echo_for(0, MILLI, 20 * MILLI);
    assert!(server.is_over());
    server.assert_counts(&[(Fact::Sent, 1), (Fact::Requests, 1), (Fact::ConnectionsOpened, 1)]);
}

#[test]
fn a_rate_beyond_all_means_ends_on_time_and_overdue_answers_are_found_meanwhile() {
    let mut server = asking(|options| {
        options.rates = rates(1e9);
        options.extent = Extent::Duration(300 * MILLI);
        options.timeout = 20 * MILLI;
    });
    // Each look at the clock takes 60 microseconds, and each turn looks at it.
    server.keep_exact_time(60_000);
    let began = server.exact_now().unwrap();
    let mut lost = 0;
    while !server.is_over() {
        lost = server.load(|load| if load.stage == Stage::Asking { load.ledger.counts[Fact::Lost] } else { lost });
        server.dispatch(Vec::new());
    }
    assert!(lost > 0, "the sweep does not wait for the schedule");
    let took = server.exact_now().unwrap().since(began);
    assert!((300 * MILLI..325 * MILLI).contains(&took), "{took:?}");
    assert_eq!(server.count(Fact::Sent) + server.count(Fact::Unsent), 300_000_000);
    assert_eq!(server.hindrances()[0].0, "the load generator was too slow");
}

#[test]
fn what_the_warm_up_could_not_send_is_not_sent_in_the_measured_time() {
    let mut server = asking(|options| {
        (options.rates, options.warmup) = (rates(100.0), 500 * MILLI);
        options.probe = Probe::Pong(1 << 20);
        options.timeout = Duration::from_secs(5);
    });
    server.pass(545 * MILLI);
    let asked = server.hears(0);
    assert_eq!(asked.lines().count(), 16, "more may not be unanswered");
    server.says(0, asked.replace("ping", "pong"));
    server.settle();
    // 34 more were due in the warm-up, and 5 since.
    assert_eq!(server.hears(0).lines().count(), 5);
    assert_eq!((server.count(Fact::CarriedOver), server.count(Fact::Sent)), (16, 21));
}

#[test]
fn a_number_of_requests_ends_when_the_server_takes_nothing_any_more() {
    for (rate, pipeline, sent) in [(Some(100.0), 1, 16), (None, 3, 3)] {
        let mut server = asking(|options| {
            (options.rates, options.pipeline, options.extent) = (rates(rate), pipeline, Extent::Requests(50));
            options.probe = Probe::Pong(1 << 20);
        });
        server.pass(Duration::from_secs(2));
        assert!(server.is_over());
        server.assert_counts(&[
            (Fact::Sent, sent),
            (Fact::Lost, sent),
            (Fact::Unsent, 50 - sent),
            (Fact::ConnectionsOpened, 1),
        ]);
        assert_eq!(
            server.hindrances(),
            [("too many were unanswered, or the server took no more".to_owned(), 50 - sent)]
        );
    }
}

#[test]
fn an_interrupt_leaves_nothing_unsent_unless_the_schedule_was_behind() {
    for (probe, unsent) in [(Probe::Pong(30), 0), (Probe::Pong(1 << 20), 34)] {
        let mut server = asking(|options| (options.rates, options.probe) = (rates(100.0), probe));
        server.pass(495 * MILLI);
        server.shut_down();
        server.leap(30 * MILLI);
        server.settle();
        let now = server.now();
        server.load(|load| load.conclude(now, 0)).unwrap();
        assert!((unsent..=unsent + 3).contains(&server.count(Fact::Unsent)), "{:?}", server.counts());
        assert_eq!(server.count(Fact::Unsent) == 0, unsent == 0);
    }
}

#[test]
fn a_server_that_dies_leaves_the_rest_unsent_and_the_time_as_it_was_asked_for() {
    let mut server = asking(|options| options.rates = rates(100.0));
    server.echo_for(0, MILLI, 395 * MILLI);
    server.resets(0);
    server.settle();
    assert!(server.is_over(), "nobody is left");
    let now = server.now();
    server.load(|load| load.conclude(now, 0)).unwrap();
    server.assert_counts(&[
        (Fact::Sent, 40),
        (Fact::Requests, 40),
        (Fact::Unsent, 60),
        (Fact::ConnectionsLost, 1),
        (Fact::ConnectionsOpened, 1),
    ]);
    assert_eq!(server.hindrances(), [("no connection was left".to_owned(), 60)]);
    let (measured, gone) = server.load(|load| (load.ledger.measured(now), load.gone_after()));
    assert_eq!(measured, Duration::from_secs(1));
    assert!(gone.is_some_and(|gone| (390 * MILLI..400 * MILLI).contains(&gone)), "{gone:?}");
}

#[test]
fn idle_connections_that_go_with_the_server_are_not_held() {
    let mut server = asking(|options| options.idle = 3);
    server.resets(0);
    server.settle();
    server.resets(1);
    server.resets(2);
    server.pass(100 * MILLI);
    assert!(server.is_over());
    let now = server.now();
    server.load(|load| load.conclude(now, 0)).unwrap();
    assert_eq!((server.count(Fact::ConnectionsLost), server.count(Fact::IdleHeld)), (3, 1));
}

#[test]
fn a_server_that_falls_silent_is_told_from_one_that_is_slow() {
    let silent_after = |delay: Duration, time: Duration| {
        let mut server = asking(|options| options.rates = rates(100.0));
        server.echo_for(0, delay, time);
        server.pass(Duration::from_secs(2));
        assert!(server.is_over());
        let now = server.now();
        server.load(|load| load.ledger.silent_after(now))
    };
    let silent = silent_after(MILLI, 395 * MILLI).unwrap();
    assert!((380 * MILLI..400 * MILLI).contains(&silent), "{silent:?}");
    assert_eq!(silent_after(MILLI, Duration::from_secs(2)), None);
    // Each answer comes too late, and the last ones not before the end.
    assert_eq!(silent_after(250 * MILLI, Duration::from_secs(2)), None);
    // It has never said anything: that is told in other words.
    assert_eq!(silent_after(MILLI, Duration::ZERO), None);
}

#[test]
fn a_standstill_over_the_end_is_waited_out() {
    let waited = |delay: Duration| {
        let mut server = asking(|options| (options.rates, options.timeout) = (rates(100.0), Duration::from_secs(5)));
        server.echo_for(0, MILLI, 895 * MILLI);
        server.pass(delay);
        server.echo_for(0, MILLI, Duration::from_secs(5));
        assert!(server.is_over());
        let now = server.now();
        server.load(|load| load.ledger.waited(now)).as_millis()
    };
    assert!((0..=10).contains(&waited(MILLI)));
    assert!((1_890..=1_910).contains(&waited(Duration::from_secs(2))), "{}", waited(Duration::from_secs(2)));
}

#[test]
fn a_lost_datagram_is_no_standstill_and_a_late_one_is() {
    let end = Moment::from_nanos(1_000_000_000);
    for (answers_after, waited) in [([1, 2], Duration::ZERO), ([1, 1_300], 300 * MILLI)] {
        let options = options(|options| options.endpoint = "udp://192.0.2.1:8888".parse().unwrap());
        let mut ledger = Ledger::new(&options, false);
        ledger.measure(&options.phases()[0], Moment::default(), Moment::default(), Some(end));
        let requests = [0, 1, 2].map(|number| Request { number, due: Moment::default(), sent: Moment::default() });
        requests.iter().for_each(|request| assert!(ledger.sent(request)));
        for (request, after) in requests.into_iter().zip(answers_after) {
            let answered = Answered { request, was_overdue: false, is_overtaken: false };
            ledger.answered(&answered, true, Moment::default() + after * MILLI);
        }
        ledger.close();
        let ended = end + 5_000 * MILLI;
        ledger.failed(&requests[2], Fact::Lost, ended);
        assert_eq!(ledger.waited(ended), waited);
    }
}

#[test]
fn requests_lost_now_and_then_are_not_a_silence_at_the_end() {
    let mut server = asking(|options| (options.rates, options.extent) = (rates(100.0), Extent::Requests(20)));
    while !server.is_over() {
        let answered: Vec<u64> = server.asked(0).into_iter().filter(|number| number % 4 != 0).collect();
        server.pass(MILLI);
        server.answers(0, &answered);
    }
    // They are waited for until 390 ms, and the last answer came at 190.
    assert_eq!((server.count(Fact::Requests), server.count(Fact::Lost)), (15, 5));
    let now = server.now();
    assert_eq!(server.load(|load| load.ledger.silent_after(now)), None);
}

#[test]
fn a_pause_as_there_were_before_is_not_the_end_of_a_server() {
    // It answers once in 200 ms, and not in the last 210; then once in 270 ms, and not in the last 190.
    let mut server = asking(|options| (options.rates, options.timeout) = (rates(100.0), 50 * MILLI));
    for _ in 0..4 {
        server.pass(190 * MILLI);
        let asked = server.asked(0);
        server.answers(0, &asked[asked.len() - 1..]);
        server.pass(10 * MILLI);
    }
    server.pass(Duration::from_secs(1));
    assert!(server.is_over());
    assert_eq!((server.count(Fact::Requests), server.count(Fact::Lost)), (4, 96));
    let now = server.now();
    assert!(server.load(|load| load.ledger.silent_after(now)).is_some());

    let mut server = asking(|options| (options.rates, options.timeout) = (rates(100.0), 50 * MILLI));
    for _ in 0..3 {
        server.pass(270 * MILLI);
        let asked = server.asked(0);
        server.answers(0, &asked[asked.len() - 1..]);
    }
    server.pass(Duration::from_secs(1));
    assert!(server.is_over());
    let now = server.now();
    assert_eq!(server.load(|load| load.ledger.silent_after(now)), None);
}

#[test]
fn a_server_that_answered_in_the_warm_up_alone_was_gone_when_it_ended() {
    for warmup in [300 * MILLI, Duration::ZERO] {
        let mut server = asking(|options| (options.rates, options.warmup) = (rates(100.0), warmup));
        if !warmup.is_zero() {
            server.echo_for(0, MILLI, 250 * MILLI);
        }
        server.pass(Duration::from_secs(3));
        assert!(server.is_over());
        let now = server.now();
        let silent = server.load(|load| load.ledger.silent_after(now));
        assert_eq!(silent, (!warmup.is_zero()).then_some(Duration::ZERO));
    }
}

#[test]
fn a_connection_that_was_only_asked_in_the_warm_up_and_never_answered_is_told() {
    let mut server = asking(|options| {
        (options.connections, options.warmup) = (3, 300 * MILLI);
        options.timeout = 100 * MILLI;
    });
    server.echo_for(1, 10 * MILLI, Duration::from_secs(2));
    assert!(server.is_over());
    let now = server.now();
    server.load(|load| load.conclude(now, 0)).unwrap();
    assert_eq!((server.count(Fact::ConnectionsUnserved), server.count(Fact::ConnectionsHeld)), (2, 1));
    assert_eq!((server.count(Fact::CarriedOver), server.count(Fact::Lost)), (3, 2));
}

#[test]
fn a_connection_that_was_answered_in_the_warm_up_alone_has_stalled() {
    let mut server = asking(|options| {
        (options.connections, options.rates) = (2, rates(100.0));
        (options.warmup, options.timeout) = (300 * MILLI, 100 * MILLI);
    });
    let falls_silent = server.now() + 200 * MILLI;
    while !server.is_over() {
        for connection in [0, 1] {
            let asked = server.asked(connection);
            if connection == 0 || server.now() < falls_silent {
                server.answers(connection, &asked);
            }
        }
        server.pass(MILLI);
    }
    let now = server.now();
    server.load(|load| load.conclude(now, 0)).unwrap();
    let ends = [Fact::ConnectionsUnserved, Fact::ConnectionsStalled, Fact::ConnectionsHeld];
    assert_eq!(ends.map(|fact| server.count(fact)), [0, 1, 1]);
}

#[test]
fn a_connection_that_cannot_take_more_holds_the_schedule_up_and_that_is_told() {
    let mut server = asking(|options| {
        options.rates = rates(100.0);
        options.probe = Probe::Pong(1 << 20);
    });
    server.pass(Duration::from_secs(3));
    assert!(server.is_over());
    server.assert_counts(&[(Fact::Sent, 16), (Fact::Lost, 16), (Fact::Unsent, 84), (Fact::ConnectionsOpened, 1)]);
}

#[test]
fn answers_let_a_schedule_that_was_held_up_go_on_at_once_even_just_after_its_time() {
    // The seventeenth is due at 941 ms.
    for (answered_at, sent) in [(1_030, 17), (1_050, 16)] {
        let mut server = asking(|options| {
            options.rates = rates(17.0);
            options.probe = Probe::Pong(1 << 20);
            options.timeout = Duration::from_secs(5);
        });
        server.pass(1_000 * MILLI);
        let asked = server.hears(0);
        assert_eq!(asked.lines().count(), 16);
        server.leap(answered_at * MILLI - 1_000 * MILLI);
        server.says(0, asked.replace("ping", "pong"));
        server.settle();
        let rest = server.hears(0);
        server.says(0, rest.replace("ping", "pong"));
        server.settle();
        assert!(server.is_over());
        server.assert_counts(&[
            (Fact::Sent, sent),
            (Fact::Requests, sent),
            (Fact::Unsent, 17 - sent),
            (Fact::ConnectionsOpened, 1),
        ]);
    }
}

#[test]
fn a_connection_that_ends_takes_its_requests_with_it_and_the_others_go_on() {
    let mut server = asking(|options| options.connections = 2);
    let asked = [server.asked(0), server.asked(1)].concat();
    server.resets(0);
    server.settle();
    server.assert_counts(&[
        (Fact::Sent, 2),
        (Fact::Broken, 1),
        (Fact::ConnectionsLost, 1),
        (Fact::ConnectionsOpened, 2),
        (Fact::ConnectionsRequested, 2),
    ]);
    server.answers(1, &asked[1..]);
    assert_eq!(server.asked(1), [3]);
    server.finishes(1);
    server.settle();
    assert!(server.is_over(), "nobody is left");
    assert_eq!((server.count(Fact::Broken), server.count(Fact::ConnectionsLost)), (2, 2));
}

#[test]
fn interrupted_it_says_what_is_open() {
    let mut server = asking(|options| options.pipeline = 4);
    server.answers(0, &[1]);
    server.shut_down();
    server.settle();
    assert!(server.is_over());
    let now = server.now();
    server.load(|load| load.conclude(now, 0)).unwrap();
    assert_ne!(server.load(|load| load.stage), Stage::Resting);
    let counts = server.counts();
    assert_eq!((counts[Fact::Requests], counts[Fact::Unfinished], counts[Fact::ConnectionsLost]), (1, 4, 0));
}
