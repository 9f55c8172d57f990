//! Two responders and a forged source address: whatever the first datagram says, they fall silent.
//!
//! Every ordered pair of services is tried, as two processes on two hosts: neither knows the other's sockets.

use std::num::NonZeroU32;
use std::time::Duration;

use fake::server::Server;
use pingpong::service::{Echo, Framing, Hello, Ping, Service};

/// First datagrams that a forger might try, answers and half-answers among them.
const OPENINGS: [&str; 18] = [
    "",
    "x",
    "\n",
    "ping",
    "PING 7 abc\r\n",
    "ping\t",
    "pingpong",
    "pong",
    "pong\n",
    "PONG 7",
    "hello",
    "Hello, ",
    "Hello, x!",
    "Hello, Hello, x!!",
    "Welcome!",
    "welcome! ping",
    "exit",
    "\0\u{ff}",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ping,
    Hello,
    Echo,
}

const KINDS: [Kind; 3] = [Kind::Ping, Kind::Hello, Kind::Echo];

impl Kind {
    fn service(self) -> Box<dyn Service> {
        match self {
            Self::Ping => Box::new(Ping::new(Framing::Auto)),
            Self::Hello => Box::new(Hello::new(Framing::Auto, Duration::from_secs(1))),
            Self::Echo => Box::new(Echo),
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Ping => 8888,
            Self::Hello => 9999,
            Self::Echo => 50007,
        }
    }
}

struct Host {
    server: Server<Box<dyn Service>>,
    place: String,
}

fn host(kind: Kind, place: String, budget: Option<u32>) -> Host {
    let mut server = Server::limited(kind.service(), |limits| limits.udp_budget = budget.and_then(NonZeroU32::new));
    server.bind(&place);
    Host { server, place }
}

/// Has `opening` reach the first with the second as its source, and counts the datagrams that follow, up to `most`.
fn exchange(first: &mut Host, second: &mut Host, opening: &[u8], most: usize) -> usize {
    let mut flying = opening.to_vec();
    let (mut to, mut from) = (first, second);
    for sent in 0..most {
        let Some(answer) = to.server.datagram(0, &from.place, &flying) else { return sent };
        flying = answer;
        std::mem::swap(&mut to, &mut from);
    }
    most
}

#[test]
fn every_pair_of_services_on_two_hosts_falls_silent_within_two_answers_each() {
    for first in KINDS {
        for second in KINDS {
            if (first, second) == (Kind::Echo, Kind::Echo) {
                continue;
            }
            // On ports that neither knows, so that only the datagrams themselves can end the exchange.
            let mut first = host(first, "192.0.2.1:4001".into(), None);
            let mut second = host(second, "192.0.2.2:4002".into(), None);
            for opening in OPENINGS {
                let answers = exchange(&mut first, &mut second, opening.as_bytes(), 100);
                assert!(answers <= 3, "{opening:?}: {answers} answers");
            }
        }
    }
}

#[test]
fn every_pair_on_default_ports_falls_silent_at_once() {
    for first in KINDS {
        // On two hosts that serve the same ports, as they do by default.
        let mut hosts = ["192.0.2.1", "192.0.2.2"].map(|ip| {
            let mut host = host(first, format!("{ip}:{}", first.port()), None);
            for other in KINDS {
                host.server.bind(&format!("{ip}:{}", other.port()));
            }
            host
        });
        let [first_host, second_host] = &mut hosts;
        for second in KINDS {
            second_host.place = format!("192.0.2.2:{}", second.port());
            for opening in OPENINGS {
                let answers = exchange(first_host, second_host, opening.as_bytes(), 100);
                assert!(answers <= 1, "{first:?} and {second:?}, {opening:?}: {answers} answers");
            }
        }
    }
}

#[test]
fn every_pair_in_one_process_stays_silent() {
    for first in KINDS {
        for second in KINDS {
            let mut server = Server::new(first.service());
            let first_place = format!("127.0.0.1:{}", first.port());
            let second_place = format!("127.0.0.1:{}", second.port() + 1);
            server.bind(&first_place);
            let other = server.engine.add("other", second.service());
            server.bind_for(other, &second_place);
            for opening in OPENINGS {
                assert_eq!(server.datagram(0, &second_place, opening), None, "{first:?} to {second:?}: {opening:?}");
                assert_eq!(server.datagram(1, &first_place, opening), None, "{second:?} to {first:?}: {opening:?}");
                assert_eq!(server.datagram(0, &first_place, opening), None, "{first:?} to itself: {opening:?}");
            }
        }
    }
}

#[test]
fn two_echoes_on_ports_unknown_to_each_other_are_stopped_by_their_budgets() {
    let mut first = host(Kind::Echo, "192.0.2.1:4001".into(), Some(100));
    let mut second = host(Kind::Echo, "192.0.2.2:4002".into(), Some(100));
    assert_eq!(exchange(&mut first, &mut second, b"x", 10_000), 200);
    assert_eq!(exchange(&mut first, &mut second, b"x", 10_000), 0);
}
