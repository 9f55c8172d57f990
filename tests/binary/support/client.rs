//! Clients of streams and of datagrams, and one that forges the source of its datagrams.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{PATIENCE, skip};

/// A client of streams, TCP or Unix. Its reads and writes give up after [`PATIENCE`].
#[derive(Debug)]
pub(crate) struct Client(Socket);

impl Client {
    #[track_caller]
    pub(crate) fn tcp(to: SocketAddr) -> Self {
        Self::connected(Socket::new(Domain::for_address(to), Type::STREAM, None), &to.into())
    }

    /// A TCP client that comes from this local address.
    #[track_caller]
    pub(crate) fn tcp_from(local: &str, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
        let local = SocketAddr::new(local.parse().expect("an address"), 0);
        socket.bind(&local.into()).expect("a local address");
        Self::connected(Ok(socket), &to.into())
    }

    #[track_caller]
    pub(crate) fn unix(path: &Path) -> Self {
        Self::connected(Socket::new(Domain::UNIX, Type::STREAM, None), &SockAddr::unix(path).expect("a path"))
    }

    #[track_caller]
    fn connected(socket: io::Result<Socket>, to: &SockAddr) -> Self {
        let socket = socket.expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        if !to.is_unix() {
            socket.set_tcp_nodelay(true).expect("no delay");
        }
        socket.connect(to).unwrap_or_else(|error| panic!("cannot connect to {to:?}: {error}"));
        Self(socket)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0
    }

    /// Its own address, as the server's log names it.
    pub(crate) fn name(&self) -> String {
        let local = self.0.local_addr().expect("a local address");
        local.as_socket().map_or_else(|| "unix".to_owned(), |address| address.to_string())
    }

    #[track_caller]
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// The next `count` bytes.
    #[track_caller]
    pub(crate) fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.0.read(&mut heard[filled..]) {
                Ok(0) => panic!("the end after {}", shown(&heard[..filled])),
                Ok(more) => filled += more,
                // A call with a timeout is interrupted when a stopped process goes on (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {}", shown(&heard[..filled])),
            }
        }
        heard
    }

    /// Asserts that exactly these bytes come next.
    #[track_caller]
    pub(crate) fn hears(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let heard = self.hear(expected.len());
        assert!(heard == expected, "heard {} instead of {}", shown(&heard), shown(expected));
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, question: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
        self.say(question);
        self.hears(answer);
    }

    /// All that comes until the end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap_or_else(|error| panic!("{error} after {}", shown(&rest)));
        rest
    }

    /// Asserts that the server closes without a reset, and that nothing comes before that.
    #[track_caller]
    pub(crate) fn hears_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{} before the end", shown(&rest));
    }

    /// Asserts that nothing has come up to now.
    #[track_caller]
    pub(crate) fn has_heard_nothing(&self) {
        let mut peeked = [MaybeUninit::uninit(); 1];
        self.0.set_nonblocking(true).expect("non-blocking");
        let peeked = self.0.peek(&mut peeked);
        self.0.set_nonblocking(false).expect("blocking");
        assert!(matches!(&peeked, Err(error) if error.kind() == ErrorKind::WouldBlock), "{peeked:?} bytes came");
    }

    /// Closes the sending side.
    #[track_caller]
    pub(crate) fn finish(&self) {
        self.0.shutdown(Shutdown::Write).expect("half a close");
    }

    /// Breaks the connection off: RST.
    pub(crate) fn reset(self) {
        self.0.set_linger(Some(Duration::ZERO)).expect("no lingering");
    }

    /// Sends `pattern` over and over without reading, until no more goes in, or `most` bytes. Returns how many went in.
    #[track_caller]
    pub(crate) fn stuff(&mut self, pattern: &[u8], most: usize) -> usize {
        self.0.set_nonblocking(true).expect("non-blocking");
        let mut sent = 0;
        while sent < most {
            match self.0.write(&pattern[sent % pattern.len()..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // A server that still reads makes room at once: after a quarter of a second it does not.
                    let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    if poll(&mut polled, 250u16).expect("poll") == 0 {
                        break;
                    }
                }
                Err(error) => panic!("cannot send: {error}"),
            }
        }
        self.0.set_nonblocking(false).expect("blocking");
        sent
    }
}

/// A client of datagrams, UDP or Unix. It is connected: it receives from its server only.
pub(crate) struct DatagramClient(Socket);

impl DatagramClient {
    /// From any port of the loopback address of the server's family.
    #[track_caller]
    pub(crate) fn udp(to: SocketAddr) -> Self {
        Self::udp_from(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }, to)
    }

    #[track_caller]
    pub(crate) fn udp_from(local: &str, to: SocketAddr) -> Self {
        let local: SocketAddr = local.parse().expect("an address");
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None).expect("a socket");
        Self::connected(socket, Some(&local.into()), &to.into())
    }

    /// From the socket's own file, or without a name.
    #[track_caller]
    pub(crate) fn unix(local: Option<&Path>, to: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).expect("a socket");
        let address = |path| SockAddr::unix(path).expect("a path");
        Self::connected(socket, local.map(address).as_ref(), &address(to))
    }

    #[track_caller]
    fn connected(socket: Socket, local: Option<&SockAddr>, to: &SockAddr) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        if let Some(local) = local {
            socket.bind(local).unwrap_or_else(|error| panic!("cannot bind {local:?}: {error}"));
        }
        socket.connect(to).unwrap_or_else(|error| panic!("cannot connect to {to:?}: {error}"));
        Self(socket)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0
    }

    #[track_caller]
    pub(crate) fn say(&self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes.as_ref()).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// The next datagram.
    #[track_caller]
    pub(crate) fn hear(&self) -> Vec<u8> {
        let mut heard = vec![0; 1 << 16];
        loop {
            match (&self.0).read(&mut heard) {
                Ok(count) => {
                    heard.truncate(count);
                    return heard;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("heard nothing: {error}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn hears(&self, expected: impl AsRef<[u8]>) {
        let (expected, heard) = (expected.as_ref(), self.hear());
        assert!(heard == expected, "heard {} instead of {}", shown(&heard), shown(expected));
    }

    #[track_caller]
    pub(crate) fn ask(&self, question: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
        self.say(question);
        self.hears(answer);
    }

    /// The datagrams that have come up to now.
    pub(crate) fn pending(&self) -> Vec<Vec<u8>> {
        self.0.set_nonblocking(true).expect("non-blocking");
        let mut heard = vec![0; 1 << 16];
        let mut next = || (&self.0).read(&mut heard).ok().map(|count| heard[..count].to_vec());
        let pending = std::iter::from_fn(&mut next).collect();
        self.0.set_nonblocking(false).expect("blocking");
        pending
    }
}

/// Sends UDP datagrams with any source port (root only): the kernel fills in just the IP header.
pub(crate) struct Forger(Socket);

impl Forger {
    /// A forger at this local address; `None` where raw sockets are not allowed.
    #[track_caller]
    pub(crate) fn at(local: &str) -> Option<Self> {
        let socket = match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) {
            Ok(socket) => socket,
            Err(error) => return skip(&format!("raw sockets ({error})")),
        };
        let local = SocketAddr::new(local.parse().expect("an address"), 0);
        socket.bind(&local.into()).expect("a local address");
        Some(Self(socket))
    }

    #[track_caller]
    pub(crate) fn send(&self, source_port: u16, to: SocketAddr, bytes: &[u8]) {
        let length = u16::try_from(8 + bytes.len()).expect("a small datagram");
        let header = [source_port, to.port(), length, 0].map(u16::to_be_bytes).concat();
        self.0.send_to(&[&header, bytes].concat(), &to.into()).expect("a raw datagram");
    }
}

/// Bytes for the message of a failure: escaped, and cut where they are many.
fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=200 => format!("{:?}", bytes.escape_ascii().to_string()),
        length => format!("{length} bytes: {:?}…", bytes[..200].escape_ascii().to_string()),
    }
}
