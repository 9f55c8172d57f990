//! One more connection whose messages are stamped: each of them is in one counter, and its parts are known to the
//! nanosecond.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use pingpong::Moment;

use super::{MILLI, Rig, dialling, times};
use crate::bench::load::Stage;
use crate::bench::record::{Fact, ProbePart};
use crate::bench::stamped::{Departure, Line, Place, Received, Sending};

/// What the test and the line share.
#[derive(Debug, Default)]
struct Wire {
    now: Moment,
    /// What was sent.
    asked: Vec<u8>,
    departures: VecDeque<Departure>,
    /// What has come, and when.
    answers: VecDeque<(Vec<u8>, Moment)>,
    has_ended: bool,
    /// The kernel takes no more.
    is_full: bool,
    steps: u32,
}

#[derive(Clone, Debug, Default)]
struct FakeLine(Rc<RefCell<Wire>>);

/// From a send to the device.
const SENDING: Duration = Duration::from_millis(1);

impl Line for FakeLine {
    fn is_made(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn is_stamped(&self) -> bool {
        true
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<Sending> {
        let mut wire = self.0.borrow_mut();
        if wire.is_full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wire.asked.extend_from_slice(bytes);
        let (key, at) = (wire.asked.len() as u32 - 1, wire.now + SENDING);
        wire.departures.push_back(Departure { key, place: Place::Device, at });
        Ok(Sending { count: bytes.len(), at: wire.now, steps: wire.steps })
    }

    fn receive(&mut self, room: &mut [u8]) -> io::Result<Received> {
        let mut wire = self.0.borrow_mut();
        let (at, steps) = (wire.now, wire.steps);
        let Some((bytes, came)) = wire.answers.pop_front() else {
            let ended = Received { count: 0, came: None, at, steps };
            return if wire.has_ended { Ok(ended) } else { Err(io::ErrorKind::WouldBlock.into()) };
        };
        room[..bytes.len()].copy_from_slice(&bytes);
        Ok(Received { count: bytes.len(), came: Some(came), at, steps })
    }

    fn departure(&mut self) -> Option<Departure> {
        self.0.borrow_mut().departures.pop_front()
    }
}

/// A load that asks for a second, with a probe at ten a second. (Answers are given up after 200 ms.)
fn probed() -> (Rig, FakeLine) {
    let mut server = dialling(|options| options.probe_rate = Some(10.0));
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    assert_eq!(server.load(|load| load.stage), Stage::Connecting, "the probe has no outcome");
    assert!(server.load(|load| load.wanted_line().is_some()));
    let line = FakeLine::default();
    line.0.borrow_mut().now = server.now();
    let dialled = Box::new(line.clone());
    server.with(|load, out| load.line_dialled(dialled, out));
    server.settle();
    assert_eq!(server.load(|load| load.stage), Stage::Asking);
    (server, line)
}

impl FakeLine {
    /// Lets time pass, millisecond by millisecond.
    fn pass(&self, server: &mut Rig, time: Duration) {
        for _ in 0..time.as_millis() {
            self.0.borrow_mut().now = server.now() + MILLI;
            server.pass(MILLI);
        }
    }

    /// The numbers of the messages that were sent.
    fn asked(&self) -> Vec<u64> {
        let text = String::from_utf8(self.0.borrow().asked.clone()).unwrap();
        text.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
    }

    /// Its answer comes now, and is read after `unread`.
    fn answers(&self, server: &mut Rig, number: u64, unread: Duration) {
        let answer = (format!("pong {number:012} abcdefghijk\n").into_bytes(), server.now());
        self.0.borrow_mut().answers.push_back(answer);
        self.pass(server, unread);
        self.ready(server);
    }

    fn ready(&self, server: &mut Rig) {
        server.with(pingpong::service::Service::ready);
        server.settle();
    }
}

fn part(server: &mut Rig, part: ProbePart) -> Vec<(u64, u64)> {
    server.load(|load| times(load.probing.as_ref().unwrap().passages.of(part)))
}

#[track_caller]
fn assert_probes(server: &mut Rig, due: u64, expected: &[(Fact, u64)]) {
    server.with(|load, out| load.conclude(out.now(), 0)).unwrap();
    let counts = server.counts();
    assert_eq!(counts[Fact::Probes], due);
    assert_eq!(Fact::PROBES.iter().map(|fact| counts[*fact]).sum::<u64>(), due, "{counts:?}");
    for (fact, count) in expected {
        assert_eq!(counts[*fact], *count, "{}", fact.name());
    }
}

#[test]
fn parts_are_known_and_a_late_answer_holds_up_no_message() {
    let (mut server, line) = probed();
    line.pass(&mut server, 150 * MILLI);
    assert_eq!(line.asked(), [1, 2], "the first one is not answered");
    line.answers(&mut server, 1, 3 * MILLI);
    line.answers(&mut server, 2, Duration::ZERO);
    assert_eq!(part(&mut server, ProbePart::Whole), [(53, 1), (153, 1)]);
    assert_eq!(part(&mut server, ProbePart::Lag), [(0, 2)]);
    assert_eq!(part(&mut server, ProbePart::Sending), [(1, 2)]);
    assert_eq!(part(&mut server, ProbePart::Away), [(52, 1), (149, 1)]);
    assert_eq!(part(&mut server, ProbePart::Reading), [(0, 1), (3, 1)]);
    line.pass(&mut server, 2_000 * MILLI);
    assert!(server.is_over(), "the others are lost");
    assert_probes(&mut server, 10, &[(Fact::ProbesAnswered, 2), (Fact::ProbesLost, 8), (Fact::ConnectionsStalled, 1)]);
}

#[test]
fn an_answer_after_its_time_is_late_and_a_wrong_one_is_wrong() {
    let (mut server, line) = probed();
    line.pass(&mut server, 350 * MILLI);
    line.answers(&mut server, 1, Duration::ZERO);
    line.0.borrow_mut().answers.push_back((b"pong 000000000002 abcdefghijX\n".to_vec(), Moment::default()));
    line.ready(&mut server);
    line.pass(&mut server, 2_000 * MILLI);
    let expected = [(Fact::ProbesLate, 1), (Fact::ProbesWrong, 1), (Fact::ProbesLost, 8), (Fact::ProbesAnswered, 0)];
    assert_probes(&mut server, 10, &expected);
}

#[test]
fn stamps_from_before_and_after_the_clock_was_set_are_not_compared() {
    let (mut server, line) = probed();
    line.pass(&mut server, 50 * MILLI);
    line.0.borrow_mut().steps = 1;
    line.answers(&mut server, 1, Duration::ZERO);
    line.pass(&mut server, 60 * MILLI);
    line.answers(&mut server, 2, Duration::ZERO);
    assert_eq!(part(&mut server, ProbePart::Service).len(), 2);
    assert_eq!(part(&mut server, ProbePart::Away).len(), 1);
    assert_eq!(server.count(Fact::ProbesUnstamped), 1);
}

#[test]
fn what_the_kernel_does_not_take_is_sent_late() {
    let (mut server, line) = probed();
    line.0.borrow_mut().is_full = true;
    line.pass(&mut server, 350 * MILLI);
    assert_eq!(line.asked().len(), 1);
    line.0.borrow_mut().is_full = false;
    line.ready(&mut server);
    assert_eq!(line.asked().len(), 4);
    let numbers = line.asked();
    for number in &numbers[1..] {
        line.answers(&mut server, *number, Duration::ZERO);
    }
    assert_eq!(part(&mut server, ProbePart::Lag), [(50, 1), (150, 1), (250, 1)]);
    line.0.borrow_mut().is_full = true;
    line.pass(&mut server, 2_000 * MILLI);
    assert_probes(&mut server, 10, &[(Fact::ProbesAnswered, 3), (Fact::ProbesLost, 1), (Fact::ProbesUnsent, 6)]);
}

#[test]
fn a_connection_that_ends_leaves_messages_broken_and_unsent() {
    let (mut server, line) = probed();
    line.pass(&mut server, 150 * MILLI);
    line.answers(&mut server, 1, Duration::ZERO);
    line.0.borrow_mut().has_ended = true;
    line.ready(&mut server);
    line.pass(&mut server, 2_000 * MILLI);
    let expected = [
        (Fact::ProbesAnswered, 1),
        (Fact::ProbesBroken, 1),
        (Fact::ProbesUnsent, 8),
        (Fact::ConnectionsLost, 1),
        (Fact::ConnectionsRequested, 2),
    ];
    assert_probes(&mut server, 10, &expected);
}

#[test]
fn a_probe_that_cannot_be_dialled_is_counted_and_the_load_goes_on() {
    let mut server = dialling(|options| options.probe_rate = Some(10.0));
    server.kernel.borrow_mut().answers_the_dial(0);
    server.settle();
    server.with(|load, out| load.line_refused(&io::ErrorKind::ConnectionRefused.into(), out));
    server.settle();
    assert_eq!(server.load(|load| load.stage), Stage::Asking);
    server.pass(2_000 * MILLI);
    assert_probes(&mut server, 10, &[(Fact::ProbesUnsent, 10), (Fact::ConnectionsFailed, 1)]);
}
