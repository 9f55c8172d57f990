//! The load over the fake kernel against servers of known character: they die, stall, drop, are slower than any timeout,
//! refuse connections, serve some and not others. Whatever they do, every request that was due and every connection that
//! was asked for is in exactly one counter, and the run ends when it should.

use std::collections::VecDeque;
use std::time::Duration;

use fake::Dice;
use nix::libc::ECONNREFUSED;
use pingpong::{Address, Moment};

use super::{MILLI, Rig, begin, options, rates};
use crate::bench::load::Stage;
use crate::bench::record::{Counts, Fact, Outcomes};
use crate::bench::{BenchOptions, Extent};
use crate::probe::Probe;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Character {
    /// Answers rightly, after a while.
    Honest,
    /// Ends all connections at some moment; nobody is there from then on.
    Dies,
    /// Answers nothing from some moment on, but stays.
    FallsSilent,
    /// Answers nothing for a while, then everything.
    Stalls,
    /// Leaves out one answer in a few.
    Drops,
    /// Answers later than any timeout.
    Slow,
    /// Refuses half of the connections, or lets them wait.
    RefusesHalf,
    /// Takes every other connection, and never serves it.
    ServesHalf,
}

use Character::{Dies, Drops, FallsSilent, Honest, RefusesHalf, ServesHalf, Slow, Stalls};

const CHARACTERS: [Character; 8] = [Honest, Dies, FallsSilent, Stalls, Drops, Slow, RefusesHalf, ServesHalf];

/// A server of some character, on the far side of every socket.
struct Far {
    character: Character,
    /// How long an answer takes.
    delay: Duration,
    /// When the character shows, where it is not there from the beginning.
    turns: Moment,
    /// Answers on their way: when they arrive, on which socket.
    owed: VecDeque<(Moment, usize, Vec<u8>)>,
    /// Which dials have had their outcome.
    dials: usize,
    has_died: bool,
    asked: usize,
}

impl Far {
    /// Does what is due now.
    fn act(&mut self, rig: &mut Rig, dice: &mut Dice) {
        let now = rig.now();
        let is_datagram = !rig.kernel.borrow().datagrams.is_empty();
        if !is_datagram {
            self.accept(rig, dice);
        }
        if self.character == Dies && now >= self.turns && !self.has_died {
            self.has_died = true;
            self.owed.clear();
            (0..self.dials).for_each(|client| rig.resets(client));
        }
        let sockets = if is_datagram { rig.kernel.borrow().datagrams.len() } else { self.dials };
        for socket in 0..sockets {
            self.listen(rig, socket, is_datagram);
        }
        let stalled_until = self.turns + 150 * MILLI;
        let is_silent = match self.character {
            Stalls => now >= self.turns && now < stalled_until,
            FallsSilent | Dies => now >= self.turns,
            _ => false,
        };
        while !is_silent
            && let Some((at, socket, answer)) = self.owed.front()
            && *at <= now
        {
            if is_datagram {
                let from = Address::Ip(([192, 0, 2, 1], 8888).into());
                rig.kernel.borrow_mut().datagram_arrives(*socket, from, None, answer);
            } else {
                rig.says(*socket, answer);
            }
            self.owed.pop_front();
        }
        rig.settle();
    }

    /// Decides the dials that have none outcome yet.
    fn accept(&mut self, rig: &mut Rig, dice: &mut Dice) {
        while self.dials < rig.kernel.borrow().dialled.len() {
            let refuses = match self.character {
                // The scout always comes through: else there would be nothing to load.
                RefusesHalf => self.dials > 0 && self.dials % 2 == 1,
                Dies => self.has_died,
                _ => false,
            };
            // Where half of the connections are refused, some seeds let them wait instead.
            let waits = refuses && self.character == RefusesHalf && self.delay.as_millis().is_multiple_of(2);
            if !waits {
                let mut kernel = rig.kernel.borrow_mut();
                if refuses {
                    kernel.fails_the_dial(self.dials, ECONNREFUSED);
                } else {
                    kernel.answers_the_dial(self.dials);
                }
            }
            self.dials += 1;
            if dice.one_in(3) {
                break;
            }
        }
        rig.settle();
    }

    /// Takes what a socket has asked, and notes when it is to be answered.
    fn listen(&mut self, rig: &mut Rig, socket: usize, is_datagram: bool) {
        let messages: Vec<Vec<u8>> = if is_datagram {
            let sent = std::mem::take(&mut rig.kernel.borrow_mut().datagrams[socket].sent);
            sent.into_iter().map(|(_, _, bytes)| bytes).collect()
        } else {
            rig.hears(socket).split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect()
        };
        for message in messages {
            self.asked += 1;
            let is_left_out = match self.character {
                Drops => self.asked.is_multiple_of(4),
                ServesHalf => socket % 2 == 1,
                _ => false,
            };
            if !is_left_out {
                let answer = String::from_utf8(message).unwrap().replace("ping", "pong");
                self.owed.push_back((rig.now() + self.delay, socket, answer.into()));
            }
        }
    }
}

/// A run, from the first dial to its end.
struct Course {
    options: BenchOptions,
    counts: Counts,
    /// How requests ended in all blocks together.
    in_blocks: Outcomes,
    gone: bool,
    /// How long it took from the beginning of the measured time.
    took: Duration,
}

fn random_options(dice: &mut Dice, character: Character) -> BenchOptions {
    let is_datagram = dice.one_in(2);
    options(|options| {
        if is_datagram {
            options.endpoint = "udp://192.0.2.1:8888".parse().unwrap();
        }
        options.connections = 1 + dice.below(5) as u32;
        options.idle = dice.below(3) as u32;
        options.rates = rates(dice.one_in(2).then(|| 20.0 + dice.below(300) as f64));
        options.pipeline = if options.rates.is_empty() { 1 + dice.below(3) as u32 } else { 1 };
        options.warmup = if dice.one_in(2) { Duration::ZERO } else { dice.below(300) as u32 * MILLI };
        options.extent = Extent::Duration((300 + dice.below(700) as u32) * MILLI);
        if dice.one_in(3) {
            options.extent = Extent::Requests(1 + dice.below(80) as u64);
        }
        options.churn = !is_datagram && dice.one_in(4);
        if options.churn {
            options.pipeline = 1;
        }
        options.timeout = (40 + dice.below(100) as u32) * MILLI;
        options.connect_timeout = options.timeout;
        // Without room for a number, now and then.
        options.probe = Probe::Pong(if dice.one_in(4) { 8 } else { 30 });
        if options.idle > 0 && dice.one_in(2) {
            options.heartbeat = Some((30 + dice.below(200) as u32) * MILLI);
        }
        if character == Slow && options.probe == Probe::Pong(8) && is_datagram {
            options.probe = Probe::Pong(30);
        }
    })
}

/// Two phases, one after the other.
fn courses(character: Character, seed: u64) -> [Course; 2] {
    let mut dice = Dice::new(seed);
    let options = random_options(&mut dice, character);
    let delay = match character {
        Slow => options.timeout * (1 + dice.below(4) as u32) + MILLI,
        _ => dice.below(9) as u32 * MILLI,
    };
    let mut rig = begin(options.clone());
    let turns = rig.now() + dice.below(1_000) as u32 * MILLI;
    let mut far = Far { character, delay, turns, owed: VecDeque::new(), dials: 0, has_died: false, asked: 0 };
    [0, 1].map(|phase| {
        let began = rig.now();
        if phase > 0 {
            rig.with(|load, out| load.go_on(options.phases()[0], out));
            rig.settle();
        }
        while !rig.is_over() {
            far.act(&mut rig, &mut dice);
            rig.pass(Duration::from_micros(500 + dice.below(4_000) as u64));
            assert!(rig.now().since(began) < Duration::from_secs(60), "{character:?} {seed} does not end: {options:?}");
        }
        let (now, died) = (rig.now(), far.has_died);
        rig.load(|load| load.conclude(now, 0)).unwrap();
        assert_eq!(rig.load(|load| load.stage), Stage::Resting);
        let (gone, from) = rig.load(|load| (load.gone_after().is_some(), load.ledger.from()));
        assert!(died || !gone, "{character:?} {seed}");
        let mut in_blocks = Outcomes::default();
        rig.load(|load| load.ledger.full_blocks(now).iter().for_each(|block| in_blocks.add(*block)));
        Course { options: options.clone(), counts: rig.counts(), in_blocks, gone, took: now.since(from) }
    })
}

impl Course {
    /// Every request that was due and every connection that was asked for is in exactly one counter.
    #[track_caller]
    fn balances(&self, told: &str) {
        let Self { options, counts, in_blocks, .. } = self;
        let sum = |facts: &[Fact]| facts.iter().map(|fact| counts[*fact]).sum::<u64>();
        let outcomes =
            [Fact::Requests, Fact::Wrong, Fact::Late, Fact::Lost, Fact::Refused, Fact::Broken, Fact::Unfinished];
        assert_eq!(counts[Fact::Sent], sum(&outcomes), "{told}");
        let ends = [
            Fact::ConnectionsFailed,
            Fact::ConnectionsLost,
            Fact::ConnectionsUnserved,
            Fact::ConnectionsStalled,
            Fact::ConnectionsHeld,
            Fact::IdleHeld,
            Fact::IdleSilent,
        ];
        assert_eq!(counts[Fact::ConnectionsRequested], sum(&ends), "{told}");
        assert_eq!(counts[Fact::Heartbeats], sum(&Fact::HEARTBEATS), "{told}");
        if let (Some(interval), Extent::Duration(duration)) = (options.heartbeat, options.extent) {
            let due = duration.as_secs_f64() / interval.as_secs_f64() * f64::from(options.idle);
            assert!((counts[Fact::Heartbeats] as f64 - due).abs() <= 1.0, "{due}: {told}");
        }
        if let Extent::Duration(_) = options.extent {
            assert_eq!(in_blocks.failed, counts.errors(), "{told}");
        }
        let accounted = counts[Fact::Sent] + counts[Fact::Unsent];
        match (options.extent, options.peak_rate()) {
            (Extent::Requests(requests), _) => assert_eq!(accounted, requests, "{told}"),
            (Extent::Duration(duration), Some(rate)) => {
                let due = (options.warmup + duration).as_secs_f64() * rate;
                let before = options.warmup.as_secs_f64() * rate;
                let due = due.ceil() - before.ceil();
                let carried = counts[Fact::CarriedOver];
                assert!((accounted as f64 - carried as f64 - due).abs() <= 1.0, "{accounted} of {due}: {told}");
            }
            (Extent::Duration(_), None) => assert_eq!(counts[Fact::Unsent], 0, "{told}"),
        }
    }

    /// The time asked for, what may be sent a little late, the longest wait for an answer, and the sweep that finds it.
    #[track_caller]
    fn ends_in_time(&self, told: &str) {
        if let Extent::Duration(duration) = self.options.extent {
            assert!(self.took <= duration + 100 * MILLI + self.options.timeout * 5 / 4 + 20 * MILLI, "{told}");
        }
    }

    #[track_caller]
    fn suits(&self, character: Character, told: &str) {
        let Self { options, counts, .. } = self;
        let is_stream = !options.endpoint.is_datagram();
        assert!(character == Drops || is_stream || counts[Fact::Duplicate] == 0, "{told}");
        match character {
            Honest => {
                assert_eq!(counts.errors(), 0, "{told}");
                assert_eq!(counts[Fact::Heartbeats], counts[Fact::HeartbeatsAnswered], "{told}");
                assert_eq!(counts[Fact::ConnectionsUnserved] + counts[Fact::ConnectionsLost], 0, "{told}");
            }
            // A late answer may be on its way when the time for all answers is over; else nothing is lost.
            Slow => assert!(counts[Fact::Requests] == 0 && counts[Fact::Duplicate] == 0, "{told}"),
            ServesHalf if !options.churn && options.rates.is_empty() && counts[Fact::ConnectionsLost] == 0 => {
                let unserved = u64::from(options.connections / 2);
                let is_counting = matches!(options.extent, Extent::Requests(_));
                assert!(counts[Fact::ConnectionsUnserved] == unserved || is_counting, "{told}");
            }
            Dies if self.gone && is_stream => {
                assert_eq!(counts[Fact::ConnectionsHeld] + counts[Fact::ConnectionsUnserved], 0, "{told}");
            }
            _ => {}
        }
    }
}

#[test]
fn every_request_and_every_connection_is_in_exactly_one_counter() {
    let mut all = Counts::default();
    let mut gone = 0;
    for character in CHARACTERS {
        for seed in 1..=60 {
            for (phase, course) in courses(character, seed).into_iter().enumerate() {
                let Course { counts, options, took, .. } = &course;
                let told = format!("{character:?} {seed}, phase {phase}: {counts:?} {options:?} in {took:?}");
                course.balances(&told);
                course.ends_in_time(&told);
                course.suits(character, &told);
                all.add(&course.counts);
                gone += u64::from(course.gone);
            }
        }
    }
    assert!(gone > 0);
    let not_here = [
        Fact::Wrong,
        Fact::Unfinished,
        Fact::Reordered,
        Fact::PortWaits,
        Fact::KernelDrops,
        Fact::HeartbeatsWrong,
        Fact::HeartbeatsBroken,
        Fact::HeartbeatsUnfinished,
    ];
    for (fact, name) in Fact::ALL.into_iter().filter(|(fact, _)| !fact.is_of_the_probe()) {
        assert!(all[fact] > 0 || not_here.contains(&fact) || fact == Fact::Duplicate, "never {name}");
    }
}
