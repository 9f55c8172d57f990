//! Exact time: each receipt and each timer has a time of its own instead of its turn's.

use std::time::Duration;

use fake::server::Server;
use pingpong::service::{Input, Outbox, Peer, Service};

/// How long reading the clock takes in this kernel, in nanoseconds.
const LOOK: u64 = 7;

/// Notes the time of each call, and sets timers: the text `20 30` sets two, 20 and 30 nanoseconds from now.
#[derive(Default)]
struct Punctual {
    times: Vec<u64>,
}

impl Service for Punctual {
    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        self.times.push(out.now().as_nanos());
        for word in String::from_utf8_lossy(input.take_rest()).split_whitespace() {
            let delay = Duration::from_nanos(word.parse().expect("a number"));
            out.wake_at(out.now() + delay, 0);
        }
    }

    fn expired(&mut self, _: u64, out: &mut Outbox<'_>) {
        self.times.push(out.now().as_nanos());
    }
}

fn times(server: &mut Server<Punctual>) -> Vec<u64> {
    server.look(|punctual| std::mem::take(&mut punctual.times))
}

/// The differences between neighbouring times.
fn steps(times: &[u64]) -> Vec<u64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_servers_turn_has_one_time() {
    let mut server = Server::new(Punctual::default());
    let clients = [server.open(), server.open(), server.open()];
    clients.iter().for_each(|client| server.says(*client, "1000000"));
    server.settle();
    let times = times(&mut server);
    assert_eq!(steps(&times[..3]), [0, 0]);
}

#[test]
fn where_time_is_exact_each_message_has_its_own() {
    let mut server = Server::new(Punctual::default());
    let clients = [server.open(), server.open(), server.open()];
    server.keep_exact_time(LOOK);
    clients.iter().for_each(|client| server.says(*client, "99999999999"));
    server.settle();
    let steps = steps(&times(&mut server));
    assert!(steps.len() == 2 && steps.iter().all(|step| *step >= LOOK), "{steps:?}");
}

#[test]
fn where_time_is_exact_each_timer_has_its_own_and_none_is_early() {
    let mut server = Server::new(Punctual::default());
    let client = server.open();
    server.keep_exact_time(LOOK);
    server.says(client, "1 2 3");
    server.pass(Duration::from_micros(1));
    let times = times(&mut server);
    assert_eq!(times.len(), 4);
    assert!(steps(&times).iter().all(|step| *step >= LOOK), "{times:?}");
}

#[test]
fn a_timer_of_the_services_own_outlives_the_connection_it_was_set_from() {
    let mut server = Server::new(Punctual::default());
    let client = server.open();
    server.says(client, "1000");
    server.settle();
    server.resets(client);
    server.settle();
    assert_eq!(server.engine.usage().connections, 0);
    times(&mut server);
    server.pass(Duration::from_micros(1));
    assert_eq!(times(&mut server).len(), 1);
}
