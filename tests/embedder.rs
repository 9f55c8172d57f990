//! Four small services, as an embedder writes them from the documentation: set up in one thread, run in another, and
//! asked over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pingpong::service::{Input, Outbox, Peer, Service};
use pingpong::{CloseReason, Ending, Error, Handle, Limits, Reactor};

/// How long a client waits for an answer before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps values: `set KEY VALUE`, `get KEY`.
#[derive(Default)]
struct Store {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Service for Store {
    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        while out.has_room()
            && let Some(line) = input.line()
        {
            let mut words = line.trim_ascii().splitn(3, |byte| *byte == b' ');
            let answer = match (words.next(), words.next(), words.next()) {
                (Some(b"set"), Some(key), Some(value)) => {
                    self.values.insert(key.to_vec(), value.to_vec());
                    b"stored"
                }
                (Some(b"get"), Some(key), None) => self.values.get(key).map_or(&b"nothing"[..], Vec::as_slice),
                _ => b"what?",
            };
            out.reply(answer);
            out.reply(b"\n");
            out.record(line, || answer.to_vec());
        }
    }
}

/// A chat room. The first line of a member is its name.
#[derive(Default)]
struct Room {
    names: HashMap<Peer, String>,
}

impl Room {
    fn tell(&self, text: &str, out: &mut Outbox<'_>) {
        for member in self.names.keys() {
            out.send(*member, text.as_bytes());
        }
    }
}

impl Service for Room {
    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        while let Some(line) = input.line() {
            let line = String::from_utf8_lossy(line).trim_end().to_owned();
            match self.names.get(&from) {
                Some(name) => self.tell(&format!("{name}: {line}\n"), out),
                None => {
                    self.tell(&format!("{line} came\n"), out);
                    self.names.insert(from, line);
                }
            }
        }
    }

    fn closed(&mut self, peer: Peer, _: CloseReason, out: &mut Outbox<'_>) {
        if let Some(name) = self.names.remove(&peer) {
            self.tell(&format!("{name} left\n"), out);
        }
    }
}

/// Counts up to each connection until that says `stop`.
struct Ticker;

impl Ticker {
    const EVERY: Duration = Duration::from_millis(1);
    const TICK: u64 = 0;
}

impl Service for Ticker {
    fn opened(&mut self, _: Peer, out: &mut Outbox<'_>) {
        out.after(Self::EVERY, Self::TICK);
    }

    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        while let Some(line) = input.line() {
            if line.trim_ascii() == b"stop" {
                out.cancel(Self::TICK);
                out.reply(b"stopped\n");
            }
        }
    }

    fn expired(&mut self, key: u64, out: &mut Outbox<'_>) {
        out.set_tag(out.tag() + 1);
        out.reply(format!("{}\n", out.tag()).as_bytes());
        out.after(Self::EVERY, key);
    }
}

/// Tells each sender of datagrams how many came from its address and port.
#[derive(Default)]
struct Counter {
    counts: HashMap<String, u64>,
}

impl Service for Counter {
    fn received(&mut self, _: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        input.take_rest();
        let Some(address) = out.address() else { return };
        let count = self.counts.entry(address.to_string()).or_default();
        *count += 1;
        out.reply(count.to_string().as_bytes());
    }
}

/// A service that runs in a thread of its own.
struct Running {
    at: SocketAddr,
    handle: Handle,
    thread: JoinHandle<Result<Ending, Error>>,
}

fn run(service: impl Service + Send + 'static, endpoint: &str) -> Running {
    let mut reactor = Reactor::<Box<dyn Service + Send>>::new(Limits::default()).unwrap();
    let service = reactor.add("embedded", Box::new(service));
    let bound = reactor.listen(service, &endpoint.parse().unwrap()).unwrap();
    let at = bound[0].socket_addr().unwrap();
    Running { at, handle: reactor.handle(), thread: thread::spawn(move || reactor.run()) }
}

impl Running {
    fn dial(&self) -> Client {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn end(self) {
        self.handle.shutdown();
        assert_eq!(self.thread.join().unwrap().unwrap(), Ending::Drained);
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn says(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn key_value_store() {
    let server = run(Store::default(), "tcp://127.0.0.1:0");
    let (mut writer, mut reader) = (server.dial(), server.dial());
    writer.says("set a 1 2\n");
    assert_eq!(writer.hears(), "stored\n");
    reader.says("get a\nget b\n");
    assert_eq!(reader.hears(), "1 2\n");
    assert_eq!(reader.hears(), "nothing\n");
    assert_eq!(server.handle.stats().unwrap().messages, 3);
    server.end();
}

#[test]
fn chat_room() {
    let server = run(Room::default(), "tcp://[::1]:0");
    let (mut ann, mut bob) = (server.dial(), server.dial());
    ann.says("Ann\nhello?\n");
    assert_eq!(ann.hears(), "Ann: hello?\n");
    bob.says("Bob\n");
    assert_eq!(ann.hears(), "Bob came\n");
    ann.says("hello!\n");
    assert_eq!(bob.hears(), "Ann: hello!\n");
    drop(ann);
    assert_eq!(bob.hears(), "Ann left\n");
    server.end();
}

#[test]
fn ticker() {
    let server = run(Ticker, "tcp://127.0.0.1:0");
    let mut client = server.dial();
    assert_eq!((client.hears(), client.hears()), ("1\n".to_owned(), "2\n".to_owned()));
    client.says("stop\n");
    while client.hears() != "stopped\n" {}
    server.end();
    assert_eq!(client.hears(), "", "the end, and no tick before it");
}

#[test]
fn datagram_counter() -> io::Result<()> {
    let server = run(Counter::default(), "udp://127.0.0.1:0");
    for _ in 0..2 {
        let client = UdpSocket::bind("127.0.0.1:0")?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.connect(server.at)?;
        for count in [b"1", b"2"] {
            client.send(b"")?;
            let mut answer = [0; 9];
            let length = client.recv(&mut answer)?;
            assert_eq!(&answer[..length], count);
        }
    }
    server.end();
    Ok(())
}

/// Reads a socket of its own, and counts what came.
struct Listening {
    socket: UdpSocket,
    heard: usize,
}

impl Service for Listening {
    fn received(&mut self, _: Peer, _: &mut Input<'_>, _: &mut Outbox<'_>) {}

    fn ready(&mut self, out: &mut Outbox<'_>) {
        while self.socket.recv(&mut [0; 9]).is_ok() {
            self.heard += 1;
        }
        if self.heard >= 2 {
            out.stop();
        }
    }
}

#[test]
fn descriptor_of_the_programs_own_is_watched() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let service = reactor.add("listening", Listening { socket: socket.try_clone()?, heard: 0 });
    reactor.watch(service, &socket)?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.send_to(b"1", address)?;
    client.send_to(b"2", address)?;
    assert_eq!(reactor.run().unwrap(), Ending::Drained);
    Ok(())
}
