//! The search for a rate over the fake kernel with a virtual clock: a server that takes its time for each request, one
//! after the other, has a limit that can be calculated.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use fake::Dice;
use pingpong::Moment;
use serde_json::Value;

use super::{MILLI, Rig, begin, options};
use crate::bench::finding::{self, Stand};
use crate::bench::load::Stage;
use crate::bench::options::{BenchOptions, Find, Phase};
use crate::bench::preflight::Ground;
use crate::bench::record::{Cost, Fact, Shares};
use crate::bench::report::{Report, Run, Searched};
use crate::bench::requirement::{Comparison, Quantity, Requirement};
use crate::bench::{Arrivals, Extent, Rate};
use crate::error::Error;

const SECOND: Duration = Duration::from_secs(1);

/// A queue before one server (FIFO), and the load that asks it.
struct Queue {
    rig: Rig,
    options: BenchOptions,
    /// How long each request takes.
    service: Box<dyn FnMut() -> Duration>,
    /// What is in it: when it will be answered, on which connection.
    inside: VecDeque<(Moment, usize, u64)>,
    free: Moment,
    /// What happens in the trial of this number.
    mishap: Option<(u32, Mishap)>,
    measured: u32,
    /// What the load generator used.
    cost: Option<Cost>,
    told: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Mishap {
    /// The server stands still for so long.
    Pause(Duration),
    /// It goes.
    Goes,
    /// The user has had enough.
    Signal,
    /// The server stands still, and half a second later the user has had enough.
    SilenceAndSignal,
    /// The load generator stands still for so long.
    Stopped(Duration),
}

impl Queue {
    fn new(service: impl FnMut() -> Duration + 'static, set: impl FnOnce(&mut BenchOptions)) -> Self {
        let options = options(|options| {
            (options.connections, options.timeout, options.extent) = (2, 5 * SECOND, Extent::Duration(5 * SECOND));
            options.warmup = 250 * MILLI;
            set(options);
        });
        // The first phase is over at once: the connections are made in it.
        let mut dialling = options.clone();
        (dialling.extent, dialling.warmup) = (Extent::Requests(1), Duration::ZERO);
        let mut rig = begin(dialling);
        let mut dialled = 0;
        while rig.load(|load| load.stage) != Stage::Asking {
            rig.kernel.borrow_mut().answers_the_dial(dialled);
            dialled += 1;
            rig.settle();
        }
        rig.echo_for(0, MILLI, 100 * MILLI);
        rig.echo_for(1, MILLI, 100 * MILLI);
        assert!(rig.is_over());
        let free = rig.now();
        Self {
            rig,
            options,
            service: Box::new(service),
            inside: VecDeque::new(),
            free,
            mishap: None,
            measured: 0,
            cost: None,
            told: String::new(),
        }
    }

    /// Every request takes the same time.
    fn even(service: Duration) -> Self {
        Self::new(move || service, |_| {})
    }

    /// Looks for the highest rate that meets these, from and to this one.
    fn finds(&mut self, wanted: &[(&str, f64)], from: f64, to: f64) -> (Report, Searched) {
        let find = Find { requirements: wanted.iter().map(below).collect(), from: Some(from), to };
        finding::find(&self.options.clone(), &find, self).unwrap()
    }

    fn serve(&mut self) {
        for connection in 0..2 {
            for number in self.rig.asked(connection) {
                let begins = self.free.max(self.rig.now());
                self.free = begins + (self.service)();
                self.inside.push_back((self.free, connection, number));
            }
        }
        while let Some((due, connection, number)) = self.inside.front().copied().filter(|one| one.0 <= self.rig.now()) {
            assert!(due <= self.rig.now());
            self.inside.pop_front();
            self.rig.answers(connection, &[number]);
        }
    }

    /// Lets time pass until something may happen.
    fn wait(&mut self) {
        let now = self.rig.now();
        let answer = self.inside.front().map(|one| one.0);
        let next = self.rig.engine.deadline().into_iter().chain(answer).min().unwrap_or(now + SECOND);
        self.rig.pass(next.since(now));
    }
}

impl Stand for Queue {
    fn measure(&mut self, phase: Phase) -> Result<Report, Error> {
        self.measured += 1;
        let now = self.rig.now();
        self.rig.load(|load| load.conclude(now, 0))?;
        self.rig.with(|load, out| load.go_on(phase, out));
        let mut mishap = self.mishap.filter(|(trial, _)| *trial == self.measured).map(|(_, mishap)| mishap);
        let (mut is_cut, due) = (false, now + phase.warmup + SECOND / 2);
        while !self.rig.is_over() && !is_cut {
            self.serve();
            if self.rig.now() >= due {
                match mishap.take() {
                    Some(Mishap::Pause(pause)) => self.free = self.free.max(self.rig.now()) + pause,
                    Some(Mishap::Goes) => (0..2).for_each(|connection| self.rig.resets(connection)),
                    Some(Mishap::Stopped(pause)) => self.rig.leap(pause),
                    Some(Mishap::Signal) => is_cut = true,
                    Some(Mishap::SilenceAndSignal) => {
                        self.rig.pass(SECOND / 2);
                        is_cut = true;
                    }
                    None => {}
                }
            }
            self.wait();
        }
        let ended = self.rig.now();
        let (options, cost) = (&self.options, self.cost);
        self.rig.load(|load| {
            load.conclude(ended, 0)?;
            let (started, ground) = (SystemTime::UNIX_EPOCH, Ground::default());
            Ok(Report::of(Run { options, load, started, ended, ground, cost, transport: None }))
        })
    }

    fn tell(&mut self, text: &str) {
        self.told += text;
    }
}

/// A figure and its limit, in the unit of the figure.
fn below((name, limit): &(&str, f64)) -> Requirement {
    let quantity = Quantity::named(name).unwrap();
    Requirement { text: format!("{name}<{limit}"), quantity, comparison: Comparison::Below, limit: *limit }
}

fn json(report: &Report) -> Value {
    serde_json::from_str(&report.to_json()).unwrap()
}

fn found(report: &Report) -> f64 {
    let search = &json(report)["search"];
    search["found_per_second"].as_f64().unwrap_or_else(|| panic!("nothing was found: {search:#}"))
}

#[test]
fn the_capacity_of_a_server_is_found_within_five_per_cent() {
    let capacity = 50.0;
    let off = (1..=20).filter(|seed| {
        let mut dice = Dice::new(*seed);
        // From nine to eleven tenths of 20 ms.
        let service = move || Duration::from_micros(18_000 + dice.below(4_001) as u64);
        let mut queue = Queue::new(service, |options| options.extent = Extent::Duration(10 * SECOND));
        (found(&queue.finds(&[("p90", 60_000.0)], 30.0, 1000.0).0) / capacity - 1.0).abs() > 0.05
    });
    assert!(off.count() <= 1);
}

#[test]
fn a_queue_at_random_is_found_at_its_calculated_rate() {
    // M/M/1: 90 % are answered within ln(10) / (service - arrivals). `search` has more of it.
    let (service, limit) = (200.0, 0.023);
    let truth = service - 10f64.ln() / limit;
    let mut dice = Dice::new(1);
    let mut uniform = move || (1.0 + dice.below(1 << 30) as f64) / (1u64 << 30) as f64;
    let mut queue = Queue::new(
        move || Duration::from_secs_f64(-uniform().ln() / service),
        |options| {
            (options.arrivals, options.extent) = (Arrivals::Poisson { seed: 1 }, Extent::Duration(60 * SECOND));
        },
    );
    let rate = found(&queue.finds(&[("p90", limit * 1e6)], 50.0, 400.0).0);
    assert!((rate / truth - 1.0).abs() < 0.1, "{rate} and not {truth}: {}", queue.told);
}

#[test]
fn a_scan_by_hand_crosses_the_limit_where_it_was_found() {
    let wanted = [("p90", 20_000.0)];
    let mut queue = Queue::even(5 * MILLI);
    let rate = found(&queue.finds(&wanted, 50.0, 1000.0).0);
    let mut meets = |rate: f64| {
        let phase = Phase {
            whole: None,
            rate: Some(Rate::even(rate)),
            arrivals: Arrivals::Even,
            warmup: 250 * MILLI,
            extent: Extent::Duration(5 * SECOND),
        };
        let mut report = queue.measure(phase).unwrap();
        report.judge(&wanted.map(|one| below(&one)));
        report.meets_requirements()
    };
    let scan = [0.9, 0.95, 1.0, 1.03, 1.05].map(|factor| meets(rate * factor));
    assert_eq!(scan, [true, true, true, false, false], "around {rate}");
}

#[test]
fn a_server_that_falls_behind_is_over_its_limit_though_every_answer_comes_in_time() {
    let mut queue = Queue::even(5 * MILLI);
    let (report, _) = queue.finds(&[("errors", 1.0)], 50.0, 1000.0);
    assert!((190.0..=210.0).contains(&found(&report)), "{}", queue.told);
    assert!(queue.told.contains("answers fell behind, by "), "{}", queue.told);
}

#[test]
fn one_stall_is_tolerated_and_named() {
    let mut queue = Queue::even(5 * MILLI);
    // In the trial at 100 a second.
    queue.mishap = Some((2, Mishap::Pause(700 * MILLI)));
    let (report, _) = queue.finds(&[("p90", 20_000.0)], 50.0, 1000.0);
    assert!((190.0..=210.0).contains(&found(&report)), "{}", queue.told);
    assert!(queue.told.contains("tolerated: 1 of ") && queue.told.contains("two others: 100\n"), "{}", queue.told);
    assert_eq!(json(&report)["search"]["tolerated_trials"], 1);
}

#[test]
fn the_lowest_rate_that_is_too_high_is_told() {
    let mut queue = Queue::even(5 * MILLI);
    let (report, _) = queue.finds(&[("p90", 20_000.0)], 400.0, 1000.0);
    let search = json(&report)["search"].clone();
    assert_eq!((search["end"].as_str(), search["found_per_second"].as_f64()), (Some("lowest_not_met"), None));
    assert!(queue.told.contains("not found: even 400 a second does not meet p90<20000"), "{}", queue.told);
}

#[test]
fn what_meets_it_up_to_the_end_has_its_limit_above() {
    let mut queue = Queue::even(MILLI / 2);
    let (report, _) = queue.finds(&[("p90", 20_000.0)], 50.0, 300.0);
    assert_eq!((found(&report), queue.measured), (300.0, 5));
    assert!(queue.told.contains("found: 300 a second meets p90<20000, and is the highest"), "{}", queue.told);
    // The last one is a full run, and the report is its.
    assert_eq!(json(&report)["metrics"]["seconds"], 5.0);
    assert_eq!(queue.rig.kernel.borrow().dialled.len(), 2, "all on the same connections");
}

#[test]
fn a_server_that_goes_ends_the_search() {
    let mut queue = Queue::even(5 * MILLI);
    queue.mishap = Some((3, Mishap::Goes));
    let (report, searched) = queue.finds(&[("p90", 20_000.0)], 50.0, 1000.0);
    assert!(searched.is_broken_off() && queue.measured == 3);
    let told = "broken off: the server was gone at 200 a second; before, 100 a second meets p90<20000";
    assert!(queue.told.contains(told), "{}", queue.told);
    assert_eq!(json(&report)["search"]["end"], "server_gone");
}

#[test]
fn a_server_that_stands_still_for_longer_than_a_timeout_has_not_gone_and_the_search_goes_on() {
    let mut queue = Queue::new(|| MILLI, |options| options.timeout = 300 * MILLI);
    queue.mishap = Some((3, Mishap::Pause(2 * SECOND)));
    let (report, searched) = queue.finds(&[("p90", 20_000.0)], 50.0, 300.0);
    assert!(!searched.is_broken_off(), "{}", queue.told);
    assert_eq!(found(&report), 300.0, "{}", queue.told);
    let trial = &json(&report)["search"]["trials"][2];
    let reason = trial["reason"].as_str().unwrap();
    assert!(trial["met"] == false && reason.contains("the server answered nothing after 0."), "{}", queue.told);
}

#[test]
fn a_signal_ends_a_search_whose_server_stands_still() {
    let mut queue = Queue::new(|| MILLI, |options| options.timeout = 200 * MILLI);
    queue.mishap = Some((3, Mishap::SilenceAndSignal));
    let (report, searched) = queue.finds(&[("p90", 20_000.0)], 50.0, 300.0);
    assert!(!searched.is_broken_off() && queue.measured == 3, "{}", queue.told);
    assert_eq!(json(&report)["search"]["end"], "interrupted");
}

#[test]
fn an_interruption_tells_the_bracket_so_far() {
    let mut queue = Queue::even(5 * MILLI);
    queue.mishap = Some((6, Mishap::Signal));
    let (report, _) = queue.finds(&[("p90", 20_000.0)], 50.0, 1000.0);
    let told = "interrupted: so far 200 a second meets p90<20000, 400 does not (p90<20000: it is ";
    let search = &json(&report)["search"];
    assert!(queue.told.contains(told), "{}", queue.told);
    assert_eq!((search["met_per_second"].as_f64(), search["not_met_per_second"].as_f64()), (Some(200.0), Some(400.0)));
    assert_eq!((search["end"].as_str(), search["trials"].as_array().unwrap().len()), (Some("interrupted"), 6));
}

#[test]
fn a_load_generator_that_is_too_slow_is_named_as_the_limit() {
    let queue = Queue::even(MILLI / 2);
    let find = Find { requirements: vec![below(&("errors", 1e9))], from: Some(50.0), to: 50.0 };
    // It stands still over the end of both trials.
    struct Slow(Queue);
    impl Stand for Slow {
        fn measure(&mut self, phase: Phase) -> Result<Report, Error> {
            self.0.mishap = Some((self.0.measured + 1, Mishap::Stopped(2 * SECOND)));
            self.0.measure(phase)
        }

        fn tell(&mut self, text: &str) {
            self.0.tell(text);
        }
    }
    let options = queue.options.clone();
    let mut slow = Slow(queue);
    let (report, _) = finding::find(&options, &find, &mut slow).unwrap();
    let told = &slow.0.told;
    assert!(told.contains("the load generator was too slow: "), "{told}");
    assert!(told.contains("that is the load generator's limit and not the server's"), "{told}");
    assert!(report.counts[Fact::Unsent] > 0);
}

/// A load generator that is busy all the time.
const BUSY: Option<Cost> = Some(Cost { cpu_seconds: 1.0, shares: Shares { working: 0.99, taken_away: None } });

#[test]
fn a_busy_load_generator_is_blamed_for_times_and_not_for_what_a_server_failed_to_do() {
    let blamed = |wanted: (&str, f64), timeout: Duration, mishap: Option<(u32, Mishap)>| {
        let mut queue = Queue::new(|| 5 * MILLI, |options| options.timeout = timeout);
        (queue.cost, queue.mishap) = (BUSY, mishap);
        let (report, _) = queue.finds(&[wanted], 400.0, 1000.0);
        let trials = json(&report)["search"]["trials"].as_array().unwrap().clone();
        let blamed = trials.iter().any(|trial| trial["load_generator_limit"] == true);
        assert_eq!(queue.told.contains("the load generator's"), blamed, "{}", queue.told);
        blamed
    };
    // Too slow, or ever slower.
    assert!(blamed(("p90", 20_000.0), 5 * SECOND, None));
    assert!(blamed(("errors", 1.0), 60 * SECOND, None));
    // Requests without an answer in time: as a count, and as the time of one that never came.
    assert!(!blamed(("errors", 1.0), 100 * MILLI, None));
    assert!(!blamed(("p99", 20_000.0), 100 * MILLI, None));
    assert!(!blamed(("p90", 60_000_000.0), 5 * SECOND, Some((1, Mishap::Goes))));
}

#[test]
fn the_trial_whose_reason_is_told_decides_whose_limit_it_is() {
    // At 400 a second the load generator stands still in the first trial; in the second one the server is too slow.
    let mut queue = Queue::even(5 * MILLI);
    queue.mishap = Some((1, Mishap::Stopped(2 * SECOND)));
    queue.finds(&[("p90", 20_000.0)], 400.0, 1000.0);
    assert!(queue.told.contains("the load generator was too slow: "), "{}", queue.told);
    assert!(
        queue.told.contains("not found: even 400 a second does not meet p90<20000 (p90<20000: it is "),
        "{}",
        queue.told
    );
}
