//! [`Bench`]: one service and one client, over the real engine and the fake kernel.

use std::time::Duration;

use fake::server::Server;
use pingpong::Stats;
use pingpong::engine::Event;
use pingpong::engine::Readiness;
use pingpong::service::{Echo, Service};

/// A service, its one client and its console. After each act the loop runs until it would sleep; time passes only
/// in [`pass`](Self::pass).
pub(crate) struct Bench {
    server: Server<Box<dyn Service>>,
    client: Option<usize>,
    sent: Vec<u8>,
    printed: Vec<u8>,
    /// The service's datagram socket.
    socket: usize,
    /// The datagram socket of another service: it stays open when the service under test retires.
    beside: usize,
}

/// What a datagram brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer(Vec<u8>),
    Silence,
}

impl Outcome {
    pub(crate) fn answer(text: &str) -> Self {
        Self::Answer(text.as_bytes().to_vec())
    }
}

impl Bench {
    pub(crate) fn new(service: impl Service + 'static) -> Self {
        let mut server = Server::<Box<dyn Service>>::new(Box::new(service));
        let other = server.engine.add("beside", Box::new(Echo));
        let (socket, beside) = (server.bind("127.0.0.1:8888"), server.bind_for(other, "127.0.0.1:50007"));
        Self { server, client: None, sent: Vec::new(), printed: Vec::new(), socket, beside }
    }

    /// The client connects, over a Unix stream.
    pub(crate) fn open(&mut self) {
        self.client = Some(self.server.open_unix(1 << 30));
        self.settle();
    }

    /// Bytes arrive in one piece.
    pub(crate) fn arrive(&mut self, bytes: &[u8]) {
        self.server.says(self.client(), bytes);
        self.settle();
    }

    /// The client has finished sending, and still reads.
    pub(crate) fn end(&mut self) {
        self.server.finishes(self.client());
        self.settle();
    }

    /// The client closes the connection.
    pub(crate) fn close(&mut self) {
        self.server.kernel.borrow_mut().client_closes(self.client());
        self.settle();
    }

    /// A line comes from the console.
    pub(crate) fn line(&mut self, text: &[u8]) {
        self.lines([text]);
    }

    /// Several lines come from the console in one turn.
    pub(crate) fn lines(&mut self, lines: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        self.server.lines(lines);
        self.settle();
    }

    /// The console will bring no more lines.
    pub(crate) fn lines_ended(&mut self) {
        self.server.lines_ended();
        self.settle();
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.server.pass(time);
        self.settle();
    }

    /// A datagram arrives, from another socket of this host.
    pub(crate) fn datagram(&mut self, bytes: &[u8]) -> Outcome {
        self.server.datagram(self.socket, "127.0.0.1:40000", bytes).map_or(Outcome::Silence, Outcome::Answer)
    }

    /// All that the client has read.
    pub(crate) fn sent(&self) -> &[u8] {
        &self.sent
    }

    pub(crate) fn sent_text(&self) -> String {
        String::from_utf8_lossy(&self.sent).into_owned()
    }

    pub(crate) fn clear_sent(&mut self) {
        self.sent.clear();
    }

    /// All that went to the console.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }

    pub(crate) fn clear_printed(&mut self) {
        self.printed.clear();
    }

    /// Whether the connection is open and not read from: an edge that says "readable" leads to no read.
    pub(crate) fn is_paused(&mut self) -> bool {
        let client = self.client();
        let (id, before) = (self.server.kernel.borrow().id(client), self.reads());
        self.server.turn_with(vec![Event::Connection(id, Readiness::READABLE)]);
        self.settle();
        self.reads() == before && !self.is_closed()
    }

    fn reads(&self) -> usize {
        self.server.kernel.borrow().connections[self.client()].reads
    }

    /// Whether the client has read the end of the stream.
    pub(crate) fn is_closed(&self) -> bool {
        self.server.kernel.borrow().client_sees_end(self.client())
    }

    /// Whether the service takes no more clients, and the other service goes on.
    pub(crate) fn is_retired(&self) -> bool {
        !self.server.kernel.borrow().is_listening() && !self.is_draining()
    }

    /// Whether the whole server shuts down.
    pub(crate) fn is_draining(&self) -> bool {
        !self.server.kernel.borrow().datagrams[self.beside].open
    }

    pub(crate) fn stats(&mut self) -> Stats {
        self.server.stats()
    }

    #[track_caller]
    fn client(&self) -> usize {
        self.client.expect("a test opens the bench before its client does anything")
    }

    /// Lets the engine come to rest, and takes what it has sent and printed.
    fn settle(&mut self) {
        self.server.settle();
        if let Some(client) = self.client {
            self.sent.extend(self.server.hears_bytes(client, usize::MAX));
        }
        self.printed.extend(self.server.printed());
    }
}
