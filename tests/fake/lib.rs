//! A fake kernel: edge-triggered sockets without a network, for the engine to run on under a virtual clock.
//!
//! It keeps those rules of the real kernel that servers trip over: an edge is reported once, a short read of TCP means
//! "empty" except at a FIN or an urgent mark, reads of Unix streams end anywhere, sends are cut where the buffer is
//! full, and closing with unread input destroys what is under way to the peer.
//!
//! - [`World`]: the kernel's state; a test acts on it as the clients do
//! - [`FakeNet`]: the engine's side of it, an implementation of [`Net`](pingpong::engine::Net)
//! - [`server`]: an engine on it and the loop around the engine; nothing else drives an engine
//! - [`Dice`]: random numbers that a seed repeats

mod dice;
mod net;
pub mod server;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use pingpong::Address;
use pingpong::Moment;
use pingpong::engine::{Arrival, Event, LocalAddress, Readiness};
use pingpong::service::ConnId;

pub use dice::Dice;
pub use net::FakeNet;

/// The kernel, shared by the engine's [`FakeNet`] and the test.
pub type Kernel = Rc<RefCell<World>>;

#[derive(Default)]
pub struct World {
    pub connections: Vec<Connection>,
    backlog: VecDeque<usize>,
    listener_woken: bool,
    listening: bool,
    /// Errors that the next accepts return, before any connection.
    pub accept_errors: VecDeque<i32>,
    /// How many of the next registrations fail.
    pub failing_registrations: usize,
    /// How many of the next receives and sends are interrupted.
    pub interruptions: usize,
    /// What the engine has dialled.
    pub dialled: Vec<Address>,
    /// What the next dials return at once: an error, or `None` to go on as usual.
    pub dial_errors: VecDeque<Option<i32>>,
    pub calls: Calls,
    pub datagrams: Vec<Mailbox>,
    /// A clock that moves on whenever it is read: its time, and the nanoseconds that a reading takes.
    exact: Option<(Moment, u64)>,
}

/// How often the engine made each call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub accept: usize,
    pub register: usize,
    pub recv: usize,
    pub send: usize,
    pub arm: usize,
}

/// One connection, both ends of it.
pub struct Connection {
    id: Option<ConnId>,
    is_unix: bool,
    address: Address,
    /// From the client, unread by the server.
    inbound: VecDeque<u8>,
    /// What the client's kernel sends once the server has read something: the receive window was full.
    held_back: Vec<u8>,
    /// How many bytes of `inbound` lie before the urgent mark.
    mark: Option<usize>,
    client_fin: bool,
    client_reset: bool,
    /// The client has closed both directions: a send fails.
    client_gone: bool,
    /// From the server, unread by the client.
    outbound: VecDeque<u8>,
    outbound_room: usize,
    no_space: bool,
    server_fin: bool,
    pub server_closed: bool,
    /// The server has reset the client: what it had not read is lost.
    pub client_was_reset: bool,
    woken: bool,
    urgent: bool,
    armed: bool,
    /// The most bytes that one read of a Unix stream returns.
    pub boundary: usize,
    /// How often the server has tried to read it.
    pub reads: usize,
    /// For a connection that the engine has dialled.
    outcome: Option<Outcome>,
    /// The client's kernel has not acknowledged what was sent.
    pub is_slow: bool,
}

/// What has become of a dialled connection.
#[derive(Clone, Copy)]
enum Outcome {
    Pending,
    Connected,
    Failed(i32),
}

/// One datagram socket of the server, seen from outside.
#[derive(Default)]
pub struct Mailbox {
    /// The number that its events carry.
    name: u32,
    pub arrivals: VecDeque<(Arrival, Vec<u8>)>,
    pub sent: Vec<(Address, Option<LocalAddress>, Vec<u8>)>,
    /// How many datagrams each send of a run had, also of those that failed.
    pub runs: Vec<usize>,
    /// Errors that the next sends of runs return.
    pub run_errors: VecDeque<i32>,
    /// The longest datagrams that may leave in a run; `None` is no bound.
    pub longest_segment: Option<usize>,
    /// How many sends succeed before the buffer is full.
    pub room: usize,
    /// The error that sends fail with.
    pub send_error: Option<i32>,
    /// An error that ICMP has left: the next send returns it, and sends nothing.
    pub pending_error: Option<i32>,
    /// Errors that the next receives return, before any datagram.
    pub receive_errors: VecDeque<i32>,
    /// Receivers whose buffer is full, as that of a Unix socket which is not read.
    pub full: Vec<Address>,
    /// Datagrams lost for want of room in the receive buffer.
    pub lost: u64,
    pub armed: bool,
    pub woken: bool,
    pub open: bool,
}

pub fn kernel() -> Kernel {
    Kernel::default()
}

impl World {
    /// A client connects; returns its number. It waits in the backlog until it is accepted.
    pub fn connect(&mut self, is_unix: bool, outbound_room: usize) -> usize {
        let port = 1024 + (self.connections.len() % 60_000) as u16;
        let address = if is_unix { Address::Unix(None) } else { Address::Ip(([127, 0, 0, 1], port).into()) };
        self.connect_from(address, outbound_room)
    }

    /// A client connects from this address.
    pub fn connect_from(&mut self, address: Address, outbound_room: usize) -> usize {
        let number = self.add_connection(address, outbound_room);
        if self.listening {
            self.backlog.push_back(number);
            self.listener_woken = true;
        } else {
            self.connections[number].client_was_reset = true;
        }
        number
    }

    /// The far side takes `room` bytes before it has to read.
    pub fn leaves_room(&mut self, number: usize, room: usize) {
        self.connections[number].outbound_room = room;
    }

    /// A dialled connection is established.
    pub fn answers_the_dial(&mut self, number: usize) {
        self.connections[number].outcome = Some(Outcome::Connected);
        self.connections[number].woken = true;
    }

    /// A dialled connection fails.
    pub fn fails_the_dial(&mut self, number: usize, error: i32) {
        self.connections[number].outcome = Some(Outcome::Failed(error));
        self.connections[number].client_reset = true;
        self.connections[number].woken = true;
    }

    fn add_connection(&mut self, address: Address, outbound_room: usize) -> usize {
        let number = self.connections.len();
        self.connections.push(Connection {
            id: None,
            is_unix: matches!(address, Address::Unix(_)),
            address,
            inbound: VecDeque::new(),
            mark: None,
            client_fin: false,
            client_reset: false,
            client_gone: false,
            outbound: VecDeque::new(),
            outbound_room,
            no_space: false,
            server_fin: false,
            server_closed: false,
            client_was_reset: false,
            woken: false,
            urgent: false,
            armed: false,
            boundary: usize::MAX,
            reads: 0,
            outcome: None,
            held_back: Vec::new(),
            is_slow: false,
        });
        number
    }

    pub fn client_sends(&mut self, client: usize, bytes: &[u8]) {
        let connection = &mut self.connections[client];
        assert!(!connection.client_fin, "it has finished sending");
        if connection.server_closed {
            return connection.reset_client();
        }
        connection.inbound.extend(bytes);
        connection.woken = true;
    }

    /// Sends bytes that find the receive window full, and so arrive once the server has read something.
    pub fn client_holds_back(&mut self, client: usize, bytes: &[u8]) {
        self.connections[client].held_back.extend(bytes);
    }

    /// Sends bytes of which the last is urgent: a read stops before it.
    pub fn client_sends_urgent(&mut self, client: usize, bytes: &[u8]) {
        self.client_sends(client, bytes);
        let connection = &mut self.connections[client];
        if connection.server_closed {
            return;
        }
        connection.mark = Some(connection.inbound.len() - 1);
        connection.urgent = true;
    }

    pub fn client_finishes(&mut self, client: usize) {
        let connection = &mut self.connections[client];
        connection.client_fin = true;
        connection.woken = true;
    }

    pub fn client_resets(&mut self, client: usize) {
        let connection = &mut self.connections[client];
        connection.client_reset = true;
        connection.outbound.clear();
        connection.woken = true;
    }

    /// The client of a Unix stream closes it. (A TCP client's close is a FIN, then a reset of what is sent to it.)
    pub fn client_closes(&mut self, client: usize) {
        assert!(self.connections[client].is_unix);
        self.connections[client].client_gone = true;
        self.client_finishes(client);
    }

    /// The client reads up to `most` bytes.
    pub fn client_reads(&mut self, client: usize, most: usize) -> Vec<u8> {
        let connection = &mut self.connections[client];
        let count = most.min(connection.outbound.len());
        let bytes = connection.outbound.drain(..count).collect();
        // The kernel reports room only after a send has met the lack of it.
        if count > 0 && connection.no_space {
            connection.no_space = false;
            connection.woken = true;
        }
        bytes
    }

    /// Whether the client has read all there was and then the end of the stream.
    pub fn client_sees_end(&self, client: usize) -> bool {
        let connection = &self.connections[client];
        connection.outbound.is_empty() && (connection.server_fin || connection.server_closed)
    }

    /// Whether the server has left something unread: bytes, or the end of the stream.
    pub fn unread(&self, client: usize) -> bool {
        let connection = &self.connections[client];
        connection.id.is_some()
            && !connection.server_closed
            && (!connection.inbound.is_empty() || connection.client_fin)
    }

    /// How many bytes of this client the server has not read.
    pub fn unread_bytes(&self, client: usize) -> usize {
        self.connections[client].inbound.len()
    }

    /// The name that events of this connection carry.
    #[track_caller]
    pub fn id(&self, client: usize) -> ConnId {
        self.connections[client].id.expect("it has been accepted")
    }

    /// Whether the server waits for this connection to become writable.
    pub fn is_armed(&self, client: usize) -> bool {
        self.connections[client].armed
    }

    /// Whether a listener is open.
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    pub fn datagram_arrives(&mut self, number: usize, from: Address, to: Option<IpAddr>, bytes: &[u8]) {
        let local = to.map(LocalAddress::from);
        self.deliver(number, Arrival { length: bytes.len(), source: from, local, to_many: false }, bytes);
    }

    /// A datagram arrives that was sent to a broadcast address or a multicast group.
    pub fn broadcast_arrives(&mut self, number: usize, from: Address, bytes: &[u8]) {
        self.deliver(number, Arrival { length: bytes.len(), source: from, local: None, to_many: true }, bytes);
    }

    pub fn deliver(&mut self, number: usize, arrival: Arrival, bytes: &[u8]) {
        let mailbox = &mut self.datagrams[number];
        mailbox.arrivals.push_back((arrival, bytes.to_vec()));
        mailbox.woken = true;
    }

    /// There is room in a datagram socket's send buffer again.
    pub fn datagram_room(&mut self, number: usize, room: usize) {
        self.datagrams[number].room = room;
        self.datagrams[number].woken = true;
    }

    /// A receiver of datagrams whose buffer was full takes them again.
    pub fn datagram_peer_reads(&mut self, number: usize, peer: &Address) {
        self.datagrams[number].full.retain(|full| full != peer);
        self.datagrams[number].woken = true;
    }

    /// Reads the clock that moves on whenever it is read, where there is one.
    fn tell_time(&mut self) -> Option<Moment> {
        let (now, reading) = self.exact.as_mut()?;
        *now = *now + Duration::from_nanos(*reading);
        Some(*now)
    }

    /// Whether there are events. Each is reported once, with the readiness at the time of the report (epoll(7)).
    pub fn pending(&self) -> bool {
        self.listener_woken
            || self
                .connections
                .iter()
                .any(|connection| connection.woken && connection.id.is_some() && !connection.server_closed)
            || self.datagrams.iter().any(|mailbox| mailbox.woken)
    }

    /// Takes the events of the sources that `picked` picks; it is asked once for each.
    pub fn poll(&mut self, mut picked: impl FnMut() -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        if self.listener_woken && picked() {
            self.listener_woken = false;
            events.push(Event::Listener(0));
        }
        for connection in &mut self.connections {
            let Some(id) = connection.id else { continue };
            if connection.woken && !connection.server_closed && picked() {
                connection.woken = false;
                let readiness = connection.readiness();
                if readiness != Readiness::default() {
                    events.push(Event::Connection(id, readiness));
                }
            }
        }
        for mailbox in &mut self.datagrams {
            if mailbox.woken && picked() {
                mailbox.woken = false;
                let has_input = !mailbox.arrivals.is_empty() || !mailbox.receive_errors.is_empty();
                let (readable, writable) = (has_input, mailbox.armed && mailbox.room > 0);
                events.push(Event::Datagram { number: mailbox.name, readable, writable });
            }
        }
        events
    }
}

impl Connection {
    /// The readiness that mio makes of epoll's bits.
    fn readiness(&self) -> Readiness {
        let input = !self.inbound.is_empty() || self.client_fin || self.client_reset;
        let hung_up = self.client_reset || self.client_gone || self.client_fin && self.server_fin;
        let room = self.outbound.len() < self.outbound_room || self.client_reset || self.client_gone;
        Readiness::READABLE.when(input || self.urgent)
            | Readiness::WRITABLE.when(room && (self.armed || !self.is_unix))
            | Readiness::READ_CLOSED.when(hung_up || input && self.client_fin)
            | Readiness::WRITE_CLOSED.when(hung_up)
            | Readiness::ERROR.when(self.client_reset)
            | Readiness::PRIORITY.when(self.urgent)
    }

    fn reset_client(&mut self) {
        self.client_was_reset = true;
        self.outbound.clear();
    }
}
