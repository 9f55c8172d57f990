//! What the actors of a lesson do: each verb is one system call or two, made on a socket that does not block, shown as
//! strace writes it, and waited for in the stage's one poll (`polls`).

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use super::stage::{Expected, Place, Stage};
use super::trouble::Trouble;
use crate::watch::{KernelState, Protocol};

/// One end: a socket, and who has it. It is registered in the stage's poll, edge-triggered, as mio does. The stage holds
/// it open until `close`.
pub(super) struct End {
    pub(super) actor: &'static str,
    pub(super) socket: Rc<Socket>,
    protocol: Protocol,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    pub(super) token: usize,
}

impl End {
    pub(super) fn place(&self) -> Place {
        Place { actor: self.actor, protocol: self.protocol, local: self.local, peer: self.peer }
    }

    pub(super) fn is(&self, state: KernelState) -> Expected {
        self.place().is(state)
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

pub(super) fn failed(call: &'static str) -> impl FnOnce(io::Error) -> Trouble {
    move |source| Trouble::Call { call, source }
}

impl Stage {
    /// A TCP socket.
    pub(super) fn socket(&mut self, actor: &'static str) -> Result<Rc<Socket>, Trouble> {
        self.socket_of(actor, Type::STREAM)
    }

    fn socket_of(&mut self, actor: &'static str, kind: Type) -> Result<Rc<Socket>, Trouble> {
        let (domain, name) = if self.is_v6() { (Domain::IPV6, "AF_INET6") } else { (Domain::IPV4, "AF_INET") };
        let socket = Socket::new(domain, kind.nonblocking().cloexec(), None).map_err(failed("socket"))?;
        let kind = if kind == Type::DGRAM { "SOCK_DGRAM" } else { "SOCK_STREAM" };
        self.called(actor, &format!("socket({name}, {kind}) = {}", socket.as_raw_fd()));
        Ok(self.hold_open(actor, socket))
    }

    fn hold_open(&mut self, actor: &'static str, socket: Socket) -> Rc<Socket> {
        let socket = Rc::new(socket);
        self.open.push((actor, Rc::clone(&socket)));
        socket
    }

    /// A server's socket at a port that the kernel picks, listening.
    pub(super) fn listen(&mut self, actor: &'static str, backlog: i32) -> Result<End, Trouble> {
        let socket = self.socket(actor)?;
        let anywhere = SocketAddr::new(self.loopback(), 0);
        self.bind(actor, &socket, anywhere)?.map_err(failed("bind"))?;
        self.start_listening(actor, socket, backlog)
    }

    pub(super) fn start_listening(
        &mut self,
        actor: &'static str,
        socket: Rc<Socket>,
        backlog: i32,
    ) -> Result<End, Trouble> {
        socket.listen(backlog).map_err(failed("listen"))?;
        self.called(actor, &format!("listen({}, {backlog}) = 0", socket.as_raw_fd()));
        let end = self.end_of(actor, socket, Protocol::Tcp, None)?;
        self.will_hint(Protocol::Tcp, end.local.port());
        Ok(end)
    }

    /// A datagram socket at a port that the kernel picks.
    pub(super) fn datagram_socket(&mut self, actor: &'static str) -> Result<End, Trouble> {
        let socket = self.socket_of(actor, Type::DGRAM)?;
        let anywhere = SocketAddr::new(self.loopback(), 0);
        self.bind(actor, &socket, anywhere)?.map_err(failed("bind"))?;
        let end = self.end_of(actor, socket, Protocol::Udp, None)?;
        self.will_hint(Protocol::Udp, end.local.port());
        Ok(end)
    }

    /// Gives a socket its address, or fails as the kernel says.
    pub(super) fn bind(
        &mut self,
        actor: &'static str,
        socket: &Socket,
        to: SocketAddr,
    ) -> Result<io::Result<()>, Trouble> {
        let bound = socket.bind(&to.into());
        self.called(actor, &format!("bind({}, {to}) = {}", socket.as_raw_fd(), outcome(&bound)));
        Ok(bound)
    }

    /// Begins to connect; the handshake goes on without us.
    pub(super) fn begin_to_connect(&mut self, actor: &'static str, to: SocketAddr) -> Result<End, Trouble> {
        let socket = self.socket(actor)?;
        let begun = socket.connect(&to.into());
        self.called(actor, &format!("connect({}, {to}) = {}", socket.as_raw_fd(), outcome(&begun)));
        match begun {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(failed("connect")(error)),
            _ => self.end_of(actor, socket, Protocol::Tcp, Some(to)),
        }
    }

    /// A connected datagram socket: it sends there, and hears of nobody else.
    pub(super) fn connect_datagrams(&mut self, actor: &'static str, to: SocketAddr) -> Result<End, Trouble> {
        let socket = self.socket_of(actor, Type::DGRAM)?;
        let done = socket.connect(&to.into());
        self.called(actor, &format!("connect({}, {to}) = {}", socket.as_raw_fd(), outcome(&done)));
        done.map_err(failed("connect"))?;
        let end = self.end_of(actor, socket, Protocol::Udp, Some(to))?;
        self.will_hint(Protocol::Udp, end.local.port());
        Ok(end)
    }

    /// Connects: until the handshake is over.
    pub(super) fn connect(&mut self, actor: &'static str, to: SocketAddr) -> Result<End, Trouble> {
        let end = self.begin_to_connect(actor, to)?;
        self.is_connected(&end)?;
        Ok(end)
    }

    /// Waits until a connect has ended, well or not.
    pub(super) fn await_connect(&mut self, end: &End) -> Result<(), Trouble> {
        self.await_ready(end, |ready| ready.writable)
    }

    /// That a connect has ended well.
    pub(super) fn is_connected(&mut self, end: &End) -> Result<(), Trouble> {
        self.outcome_of_connect(end)?.map_err(failed("connect"))
    }

    /// How a connect ended: the poll says when to ask, SO_ERROR says how.
    pub(super) fn outcome_of_connect(&mut self, end: &End) -> Result<io::Result<()>, Trouble> {
        self.await_connect(end)?;
        let error = end.socket.take_error().map_err(failed("getsockopt"))?;
        let told = match &error {
            None => "[0]".to_owned(),
            Some(error) => format!("[{}]", error_name(error)),
        };
        self.called(end.actor, &format!("getsockopt({}, SO_ERROR, {told}) = 0", end.fd()));
        Ok(error.map_or(Ok(()), Err))
    }

    /// Takes a connection from a listener's queue; waits for one.
    pub(super) fn accept(&mut self, listener: &End) -> Result<End, Trouble> {
        let (socket, peer) = loop {
            match listener.socket.accept() {
                Ok((socket, peer)) => break (socket, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.await_new(listener)?,
                Err(error) => return Err(failed("accept4")(error)),
            }
        };
        socket.set_nonblocking(true).map_err(failed("fcntl"))?;
        let peer = peer.as_socket().ok_or_else(|| failed("accept4")(ErrorKind::InvalidData.into()))?;
        self.called(listener.actor, &format!("accept4({}, {peer}) = {}", listener.fd(), socket.as_raw_fd()));
        let socket = self.hold_open(listener.actor, socket);
        self.end_of(listener.actor, socket, Protocol::Tcp, Some(peer))
    }

    /// Finds that a listener's queue is empty.
    pub(super) fn accept_nobody(&mut self, listener: &End) -> Result<(), Trouble> {
        let outcome = listener.socket.accept().map(|(_, peer)| peer);
        let told = outcome.as_ref().map_or_else(|error| self::outcome(&Err(io_error(error))), |_| "…".to_owned());
        self.called(listener.actor, &format!("accept4({}, NULL) = {told}", listener.fd()));
        let is_empty = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.holds(is_empty, "nobody waiting", format_args!("{outcome:?}"))
    }

    /// Sends all of this, which the kernel has room for.
    pub(super) fn send(&mut self, end: &End, bytes: &[u8]) -> Result<(), Trouble> {
        let sent = self.try_send(end, bytes);
        match sent {
            Ok(count) => self.holds(count == bytes.len(), "all is sent", format_args!("{count} bytes")),
            Err(error) => Err(failed("sendto")(error)),
        }
    }

    pub(super) fn try_send(&mut self, end: &End, bytes: &[u8]) -> io::Result<usize> {
        let sent = end.socket.send(bytes);
        self.called(end.actor, &format!("sendto({}, {}, {}) = {}", end.fd(), quoted(bytes), bytes.len(), count(&sent)));
        sent
    }

    /// Sends a datagram from a socket that is not connected.
    pub(super) fn send_to(&mut self, end: &End, bytes: &[u8], to: SocketAddr) -> Result<(), Trouble> {
        let sent = end.socket.send_to(bytes, &to.into());
        let (fd, text, length) = (end.fd(), quoted(bytes), bytes.len());
        self.called(end.actor, &format!("sendto({fd}, {text}, {length}, {to}) = {}", count(&sent)));
        sent.map(drop).map_err(failed("sendto"))
    }

    /// Sends until the kernel takes no more. Returns how many bytes it took.
    pub(super) fn fill(&mut self, end: &End) -> Result<u64, Trouble> {
        static CHUNK: [u8; 1 << 16] = [b'x'; 1 << 16];
        let (mut total, mut calls) = (0, 0);
        let last = loop {
            match end.socket.send(&CHUNK) {
                Ok(count) => {
                    total += count as u64;
                    calls += 1;
                }
                last => break last,
            }
        };
        self.show(end.actor, &format!("sendto({}, {}, {}) = …", end.fd(), quoted(&CHUNK), CHUNK.len()));
        self.show("", &format!("… {calls} times, {total} bytes in all"));
        self.called(
            end.actor,
            &format!("sendto({}, {}, {}) = {}", end.fd(), quoted(&CHUNK), CHUNK.len(), count(&last)),
        );
        match last {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(total),
            Err(error) => Err(failed("sendto")(error)),
            Ok(_) => Ok(total),
        }
    }

    /// Receives what has arrived; waits for something.
    pub(super) fn receive(&mut self, end: &End, room: usize) -> Result<Vec<u8>, Trouble> {
        loop {
            match receive(&end.socket, room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.await_new(end)?,
                received => {
                    self.show_received(end, &received, room);
                    return received.map_err(failed("recvfrom"));
                }
            }
        }
    }

    /// Receives what has arrived, or fails as the kernel says.
    pub(super) fn try_receive(&mut self, end: &End, room: usize) -> io::Result<Vec<u8>> {
        let received = receive(&end.socket, room);
        self.show_received(end, &received, room);
        received
    }

    fn show_received(&mut self, end: &End, received: &io::Result<Vec<u8>>, room: usize) {
        let bytes = received.as_deref().map_or_else(|_| "0x…".to_owned(), quoted);
        let result = count(&received.as_ref().map(Vec::len).map_err(|error| io::Error::from(error.kind())));
        let result = received.as_ref().err().map_or(result, |error| outcome(&Err(io_error(error))));
        self.called(end.actor, &format!("recvfrom({}, {bytes}, {room}) = {result}", end.fd()));
    }

    /// Receives so many bytes, without a line for each call.
    pub(super) fn drain(&mut self, end: &End, total: u64) -> Result<(), Trouble> {
        let (mut left, mut calls) = (total, 0);
        while left > 0 {
            match receive(&end.socket, usize::try_from(left.min(1 << 20)).unwrap_or_default()) {
                Ok(bytes) => {
                    left = left.saturating_sub(bytes.len() as u64);
                    calls += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.await_new(end)?,
                Err(error) => return Err(failed("recvfrom")(error)),
            }
        }
        let times = if calls == 1 { "once".to_owned() } else { format!("{calls} times") };
        self.show(end.actor, &format!("recvfrom({}, …) = …", end.fd()));
        self.show("", &format!("… {times}, {total} bytes in all"));
        self.diagram.does(end.actor, format!("reads {total} bytes"));
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(super) fn shut_down(&mut self, end: &End) -> Result<(), Trouble> {
        end.socket.shutdown(Shutdown::Write).map_err(failed("shutdown"))?;
        self.called(end.actor, &format!("shutdown({}, SHUT_WR) = 0", end.fd()));
        Ok(())
    }

    /// Closes a descriptor. Returns where its socket, or what the kernel keeps of it, is found.
    pub(super) fn close(&mut self, end: End) -> Place {
        let (place, fd) = (end.place(), end.fd());
        self.open.retain(|(_, socket)| !Rc::ptr_eq(socket, &end.socket));
        drop(end);
        self.called(place.actor, &format!("close({fd}) = 0"));
        place
    }

    /// Sets an option, which is shown as `text`.
    pub(super) fn set(
        &mut self,
        actor: &'static str,
        socket: &Socket,
        text: &str,
        set: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<(), Trouble> {
        set(socket).map_err(failed("setsockopt"))?;
        self.called(actor, &format!("setsockopt({}, {text}) = 0", socket.as_raw_fd()));
        Ok(())
    }

    fn end_of(
        &mut self,
        actor: &'static str,
        socket: Rc<Socket>,
        protocol: Protocol,
        peer: Option<SocketAddr>,
    ) -> Result<End, Trouble> {
        let token = self.register(&socket)?;
        let local = socket.local_addr().map_err(failed("getsockname"))?;
        let local = local.as_socket().ok_or_else(|| failed("getsockname")(ErrorKind::InvalidData.into()))?;
        Ok(End { actor, socket, protocol, local, peer, token })
    }
}

fn receive(socket: &Socket, room: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; room];
    let count = Read::read(&mut { socket }, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// What a call returned, as strace writes it.
fn outcome(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "0".to_owned(),
        Err(error) => {
            let text = error.to_string();
            format!("-1 {} ({})", error_name(error), text.split(" (os error").next().unwrap_or(&text))
        }
    }
}

fn count(result: &io::Result<usize>) -> String {
    match result {
        Ok(count) => count.to_string(),
        Err(error) => outcome(&Err(io_error(error))),
    }
}

/// The same error once more.
fn io_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// The error's name in errno(3).
fn error_name(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| format!("{:?}", Errno::from_raw(number)))
}

/// Bytes as strace shows them: the first of many.
fn quoted(bytes: &[u8]) -> String {
    const MOST: usize = 12;
    let shown = bytes[..bytes.len().min(MOST)].escape_ascii();
    format!("\"{shown}\"{}", if bytes.len() > MOST { "..." } else { "" })
}
