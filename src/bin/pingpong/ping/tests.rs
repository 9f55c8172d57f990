//! The prober over the fake kernel: a far side that answers late, out of order, wrongly, or not at all, and what must be
//! told of each question all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use fake::Dice;
use fake::server::Server;
use nix::libc::ECONNREFUSED;
use pingpong::{Address, Moment};

use super::PingOptions;
use super::prober::Prober;
use crate::probe::Probe;

const MILLI: Duration = Duration::from_millis(1);
const INTERVAL: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_millis(30);
const COUNT: u64 = 40;

/// What the far side does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    AnsweredWrongly,
    Refused,
    Lost,
}

/// What comes of a question, and when.
struct Event {
    at: Moment,
    question: u64,
    socket: usize,
    fate: Fate,
}

/// A far side, and what the prober has to tell of it.
struct Simulation {
    server: Server<Prober>,
    fixed: bool,
    dice: Dice,
    /// Datagrams of each socket that the far side has looked at.
    seen: Vec<usize>,
    asked: u64,
    coming: Vec<Event>,
    /// Lines that must be printed for each question.
    told: BTreeMap<u64, String>,
}

impl Simulation {
    fn new(fixed: bool, seed: u64) -> Self {
        let text = |text: &str| text.as_bytes().to_vec();
        let options = PingOptions {
            endpoint: "udp://192.0.2.1:9".parse().unwrap(),
            count: Some(COUNT),
            interval: INTERVAL,
            timeout: TIMEOUT,
            connect_timeout: TIMEOUT,
            quiet: false,
            probe: if fixed { Probe::Fixed { send: text("ping"), expect: text("pong") } } else { Probe::Pong(0) },
            #[cfg(feature = "watch")]
            explain: None,
        };
        let mut server = Server::new(Prober::new(options, usize::MAX).unwrap());
        server.with(|prober, out| prober.begin(out));
        server.settle();
        let (seen, coming, told) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { server, fixed, dice: Dice::new(seed), seen, asked: 0, coming, told }
    }

    /// Lets the far side decide what comes of the questions that have arrived.
    fn decide(&mut self, fates: &[Fate], longest: usize) {
        let sent: Vec<usize> = self.server.kernel.borrow().datagrams.iter().map(|socket| socket.sent.len()).collect();
        self.seen.resize(sent.len(), 0);
        for (socket, sent) in sent.into_iter().enumerate() {
            for _ in self.seen[socket]..sent {
                self.asked += 1;
                let fate = fates[self.dice.below(fates.len())];
                let at = self.server.now() + MILLI * self.dice.below(longest) as u32;
                self.coming.push(Event { at, question: self.asked, socket, fate });
            }
            self.seen[socket] = sent;
        }
    }

    /// Lets what is due happen, one after the other, and notes what has to be told.
    fn happen(&mut self, asked_at: &BTreeMap<u64, Moment>) {
        let now = self.server.now();
        let (due, coming) = std::mem::take(&mut self.coming).into_iter().partition(|event: &Event| event.at <= now);
        self.coming = coming;
        for Event { question, socket, fate, .. } in due {
            if self.server.engine.is_stopped() {
                return;
            }
            let trip = now.since(asked_at[&question]);
            let late = if trip > TIMEOUT { " (late)" } else { "" };
            let far = Address::Ip(([192, 0, 2, 1], 9).into());
            let mut world = self.server.kernel.borrow_mut();
            match fate {
                Fate::Lost => continue,
                Fate::Answered => {
                    let text = if self.fixed { "pong".to_owned() } else { format!("pong {question}") };
                    world.datagram_arrives(socket, far, None, text.as_bytes());
                    let line = format!("seq={question} time={:.3} ms{late}", trip.as_secs_f64() * 1e3);
                    self.told.insert(question, line);
                }
                Fate::AnsweredWrongly => {
                    let text = if self.fixed { "nonsense".to_owned() } else { format!("pong {question} nonsense") };
                    world.datagram_arrives(socket, far, None, text.as_bytes());
                    self.told.insert(question, "wrong answer".to_owned());
                }
                Fate::Refused => {
                    world.datagrams[socket].receive_errors.push_back(ECONNREFUSED);
                    world.datagrams[socket].woken = true;
                    self.told.insert(question, format!("seq={question} refused"));
                }
            }
            drop(world);
            self.server.settle();
        }
    }

    /// Runs to the end, and checks the counts and every line.
    #[track_caller]
    fn run(mut self, fates: &[Fate], longest: usize, what: &str) -> usize {
        let start = self.server.now();
        let asked_at = (1..=COUNT).map(|number| (number, start + INTERVAL * (number as u32 - 1))).collect();
        for _ in 0..1000 {
            self.decide(fates, longest);
            self.happen(&asked_at);
            if self.server.engine.is_stopped() {
                break;
            }
            self.server.pass(MILLI);
        }
        assert!(self.server.engine.is_stopped(), "{what}: it goes on");

        let now = self.server.now();
        let printed = String::from_utf8(self.server.printed()).unwrap();
        let (tally, error) = self.server.look(|prober| prober.take_outcome(now).unwrap());
        assert!(error.is_none(), "{what}: {error:?}");
        let tells = |word: &str| self.told.values().filter(|line| line.contains(word)).count() as u64;
        assert_eq!(tally.sent, COUNT, "{what}");
        assert_eq!(tally.received + tally.late, tells("time="), "{what}: {printed}");
        assert_eq!(tally.late, tells("(late)"), "{what}: {printed}");
        assert_eq!(tally.wrong, tells("wrong"), "{what}: {printed}");
        assert_eq!(tally.undelivered(), tells("refused"), "{what}: {printed}");
        assert_eq!(tally.lost(), COUNT - self.told.len() as u64, "{what}: {printed}");
        assert_eq!((tally.duplicate, tally.under_way), (0, 0), "{what}: {printed}");
        for line in self.told.values().filter(|line| self.fixed || !line.contains("refused")) {
            assert!(printed.lines().any(|found| found.ends_with(line) || found.starts_with(line)), "{what}: {line}");
        }
        self.seen.len()
    }
}

#[test]
fn every_question_is_in_one_count_and_every_answer_is_its_own() {
    use Fate::{Answered, AnsweredWrongly, Lost, Refused};
    for seed in 0..200 {
        for fixed in [true, false] {
            let what = format!("seed {seed}, fixed {fixed}");
            Simulation::new(fixed, seed).run(&[Answered, Lost], 9, &what);
            Simulation::new(fixed, seed).run(&[Answered, Answered, Lost], 100, &what);
            Simulation::new(fixed, seed).run(&[Refused, Lost], 100, &what);
            // A refusal has no number. Among answers that are late it would be taken for another question's.
            let last = if fixed { Refused } else { Lost };
            Simulation::new(fixed, seed).run(&[Answered, AnsweredWrongly, Lost, last], 100, &what);
        }
    }
}

#[test]
fn one_socket_does_while_answers_come_before_the_next_question() {
    for fixed in [true, false] {
        assert_eq!(Simulation::new(fixed, 1).run(&[Fate::Answered], 9, "in time"), 1);
    }
    assert_eq!(Simulation::new(false, 1).run(&[Fate::Answered, Fate::Lost], 100, "numbered"), 1);
}
