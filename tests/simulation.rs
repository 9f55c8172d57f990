//! Random schedules through the engine, over a fake kernel and a virtual clock, checked against a plain model.
//!
//! Every seed is one schedule: clients of ping, hello and echo that send in pieces, read when they please, finish or
//! break off; events that come late, in parts and in any order; interrupted calls; time in leaps; now and then a
//! shutdown. Checked: each client reads what the model says, no readable byte is forgotten, and at the end the engine
//! holds nothing. `PINGPONG_SEED=n cargo test --test simulation` replays one.

use std::num::NonZeroU32;
use std::time::Duration;

use fake::server::dispatch;
use fake::{Dice, FakeNet, Kernel};
use pingpong::engine::{Engine, Event, Usage};
use pingpong::service::{Echo, Framing, Hello, Ping, Service};
use pingpong::{Limits, Moment};

const SEEDS: u64 = 400;
const DELAY: Duration = Duration::from_millis(300);

#[test]
fn every_schedule_keeps_the_model() {
    if let Some(seed) = std::env::var("PINGPONG_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return Simulation::new(seed).run();
    }
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| Simulation::new(seed).run());
        assert!(outcome.is_ok(), "seed {seed} fails: PINGPONG_SEED={seed} cargo test --test simulation");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ping,
    Hello,
    Echo,
}

/// A client, what it sends and what it should read.
struct Client {
    /// All that it will send, and how much of that it has sent.
    script: Vec<u8>,
    said: usize,
    /// All that it should read, and how much of that it has read.
    model: Vec<u8>,
    heard: usize,
    /// How much of the model it gets even from a server that shuts down.
    owed: usize,
    finished: bool,
    reset: bool,
}

struct Simulation {
    dice: Dice,
    kernel: Kernel,
    engine: Engine<Box<dyn Service>, FakeNet>,
    now: Moment,
    clients: Vec<Client>,
    draining: bool,
    kind: Kind,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let kernel = fake::kernel();
        let net = FakeNet(kernel.clone());
        let listener = net.listener();
        let mut limits = Limits::default();
        // No timeout ends a slow client here: what a client does not read, the server has not sent.
        limits.stall_timeout = Duration::from_secs(1 << 30);
        limits.linger = Duration::from_secs(1 << 30);
        limits.drain = Duration::from_secs(1 << 30);
        limits.max_connections = 2 + dice.below(6);
        limits.udp_budget = NonZeroU32::new(1);
        let kind = [Kind::Ping, Kind::Hello, Kind::Echo][dice.below(3)];
        let service: Box<dyn Service> = match kind {
            Kind::Ping => Box::new(Ping::new(Framing::Line)),
            Kind::Hello => Box::new(Hello::new(Framing::Line, DELAY)),
            Kind::Echo => Box::new(Echo),
        };
        let mut engine = Engine::new(net, limits, seed);
        let service = engine.add("simulated", service);
        engine.listen(service, listener).expect("the fake kernel registers all");
        Self { dice, kernel, engine, now: Moment::default(), clients: Vec::new(), draining: false, kind }
    }

    fn run(mut self) {
        for _ in 0..200 + self.dice.below(400) {
            self.act();
            if self.dice.one_in(3) {
                self.turn();
            }
        }
        self.end();
    }

    /// A client, the kernel or the server does something.
    fn act(&mut self) {
        if self.clients.len() < 12 && self.dice.one_in(8) {
            return self.connect();
        }
        if self.dice.one_in(40) {
            self.kernel.borrow_mut().interruptions = self.dice.below(3);
        }
        if self.dice.one_in(2000) && !self.draining {
            return self.drain();
        }
        if self.clients.is_empty() {
            return;
        }
        let client = self.dice.below(self.clients.len());
        match self.dice.below(10) {
            0..5 => self.say(client),
            5..8 => self.hear(client),
            8 if self.clients[client].said == self.clients[client].script.len() => self.finish(client),
            9 if self.dice.one_in(30) => self.reset(client),
            _ => {}
        }
    }

    /// The server shuts down: each client is owed the answers to what it has sent by now.
    fn drain(&mut self) {
        self.draining = true;
        for client in &mut self.clients {
            let said = &client.script[..client.said];
            let complete = match self.kind {
                Kind::Echo => said.len(),
                _ if client.finished => said.len(),
                _ => said.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1),
            };
            client.owed = self.kind.model(&said[..complete]).len();
        }
        dispatch(&mut self.engine, &self.kernel, self.now, vec![Event::Drain]);
    }

    fn connect(&mut self) {
        let is_unix = self.dice.one_in(3);
        // Sometimes so little room that every answer is cut, sometimes enough for all.
        let room = [1, 7, 100, 1 << 20][self.dice.below(4)];
        let client = self.kernel.borrow_mut().connect(is_unix, room);
        self.kernel.borrow_mut().connections[client].boundary = 1 + self.dice.below(50);
        let script = self.script();
        let model = self.kind.model(&script);
        self.clients.push(Client { script, said: 0, model, heard: 0, owed: 0, finished: false, reset: false });
    }

    fn script(&mut self) -> Vec<u8> {
        let mut script = Vec::new();
        for _ in 0..self.dice.below(12) {
            let line: &[u8] = match self.dice.below(9) {
                0 => b"ping",
                1 => b"PING 12 abc",
                2 => b"",
                3 => b"hello pdudo",
                4 => b"pingping",
                5 => &[b'x'; 3000],
                6 if self.dice.one_in(6) => b"exit",
                _ => b"Michael",
            };
            script.extend_from_slice(line);
            script.extend_from_slice([&b"\n"[..], b"\r\n"][self.dice.below(2)]);
        }
        if self.dice.one_in(3) {
            script.extend_from_slice(b"rest");
        }
        script
    }

    fn say(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let left = client.script.len() - client.said;
        if client.finished || client.reset || left == 0 {
            return;
        }
        let most = [1, 5, 4000][self.dice.below(3)];
        let count = 1 + self.dice.below(left.min(most));
        let bytes = &client.script[client.said..client.said + count];
        let mut kernel = self.kernel.borrow_mut();
        if self.dice.one_in(10) {
            kernel.client_sends_urgent(number, bytes);
        } else {
            kernel.client_sends(number, bytes);
        }
        client.said += count;
        // The end of a stream often shares an edge with its last bytes.
        if client.said == client.script.len() && self.dice.one_in(2) {
            kernel.client_finishes(number);
            client.finished = true;
        }
    }

    fn hear(&mut self, number: usize) {
        let most = 1 + self.dice.below(5000);
        self.hear_up_to(number, most);
    }

    /// The client reads, and is held against the model.
    fn hear_up_to(&mut self, number: usize, most: usize) {
        let bytes = self.kernel.borrow_mut().client_reads(number, most);
        let client = &mut self.clients[number];
        assert!(client.model[client.heard..].starts_with(&bytes), "client {number} hears what the model does not say");
        client.heard += bytes.len();
    }

    fn finish(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if !client.finished && !client.reset {
            client.finished = true;
            self.kernel.borrow_mut().client_finishes(number);
        }
    }

    fn reset(&mut self, number: usize) {
        self.clients[number].reset = true;
        self.kernel.borrow_mut().client_resets(number);
    }

    /// One turn of the loop, some time later and with some of the events.
    fn turn(&mut self) {
        self.now = self.now + Duration::from_micros(self.dice.below(100_000) as u64);
        let dice = &mut self.dice;
        let share = 1 + dice.below(4);
        let events = self.kernel.borrow_mut().poll(|| dice.below(4) < share);
        self.tell(events);
    }

    fn tell(&mut self, mut events: Vec<Event>) {
        for last in (1..events.len()).rev() {
            events.swap(last, self.dice.below(last + 1));
        }
        dispatch(&mut self.engine, &self.kernel, self.now, events);
    }

    /// Turns, with clients that read, until there is neither an event nor a deadline.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            for client in 0..self.clients.len() {
                self.hear_up_to(client, usize::MAX);
            }
            let events = self.kernel.borrow_mut().poll(|| true);
            let deadline = self.engine.deadline();
            if events.is_empty() && deadline.is_none() {
                return;
            }
            // Timeouts that end in years are not waited for.
            let patient = deadline.is_some_and(|at| at.since(self.now) > Duration::from_secs(60));
            if events.is_empty() && patient {
                return;
            }
            if let (true, Some(at)) = (events.is_empty(), deadline) {
                self.now = self.now.max(at);
            }
            self.tell(events);
        }
        panic!("it never comes to rest");
    }

    fn end(mut self) {
        self.settle();
        self.check_nothing_forgotten();
        // All clients send the rest, and finish.
        while let Some(client) = self
            .clients
            .iter()
            .position(|client| !client.finished && !client.reset && client.said < client.script.len())
        {
            self.say(client);
        }
        for client in 0..self.clients.len() {
            self.finish(client);
        }
        self.settle();
        self.check_all_heard();
        self.check_nothing_forgotten();
        assert_eq!(self.engine.usage(), Usage::default(), "something is still held");
        assert_eq!(self.engine.stats().open(), 0);
    }

    fn check_all_heard(&self) {
        let kernel = self.kernel.borrow();
        for (number, client) in self.clients.iter().enumerate() {
            let connection = &kernel.connections[number];
            if client.reset || connection.client_was_reset && self.draining {
                continue;
            }
            assert!(!connection.client_was_reset, "client {number} was reset");
            assert!(kernel.client_sees_end(number), "client {number} is not told the end");
            let due = if self.draining { client.owed } else { client.model.len() };
            assert!(client.heard >= due, "client {number} of {:?} heard {} of {due}", self.kind, client.heard);
        }
    }

    /// At rest nothing readable may be left: no event would bring the engine back to it.
    fn check_nothing_forgotten(&self) {
        let kernel = self.kernel.borrow();
        for client in 0..self.clients.len() {
            assert!(self.draining || !kernel.unread(client), "client {client}: bytes left that nobody will read");
        }
    }
}

impl Kind {
    /// All that a client should read that sends all of `script` and finishes.
    fn model(self, script: &[u8]) -> Vec<u8> {
        match self {
            Self::Echo => script.to_vec(),
            Self::Ping => lines(script).flat_map(|(line, end)| [pong(line), end.to_vec()].concat()).collect(),
            Self::Hello => {
                let heard = lines(script).take_while(|(line, _)| *line != b"exit");
                let answers = heard.flat_map(|(line, end)| [b"Hello, ", line, b"!", end].concat());
                b"Welcome!\n".iter().copied().chain(answers).collect()
            }
        }
    }
}

fn pong(line: &[u8]) -> Vec<u8> {
    let is_ping = line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"ping");
    if is_ping && line.get(4).is_none_or(u8::is_ascii_whitespace) {
        [&line[..1], if line[1] == b'i' { b"o" } else { b"O" }, &line[2..]].concat()
    } else {
        b"pong".to_vec()
    }
}

/// Each line and its terminator; an unterminated rest is a line too.
fn lines(script: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    script.split_inclusive(|byte| *byte == b'\n').map(|line| match line {
        [text @ .., b'\r', b'\n'] => (text, &b"\r\n"[..]),
        [text @ .., b'\n'] => (text, &b"\n"[..]),
        text => (text, &b""[..]),
    })
}
