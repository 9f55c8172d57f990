//! The servers to compare with, as bare as possible: no limits, no timers, no log, no service, no shutdown.
//!
//! [`streams`] and [`datagrams`] are level-triggered epoll loops; [`threads`] is the simplest server that the standard
//! library allows. They announce themselves as pingpong does.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

use common::Result;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Socket, Type};

const EVENTS: usize = 1024;
const BUFFER: usize = 64 * 1024;
const BACKLOG: i32 = 4096;
const DATAGRAM_QUEUE: usize = 4 * 1024 * 1024;

/// Echoes over TCP: level-triggered epoll, one recv and one send per event.
pub(crate) fn streams() -> Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let mut server = Streams {
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        listener,
        peers: Vec::new(),
        unsent: HashMap::new(),
        buffer: vec![0; BUFFER],
    };
    server.epoll.add(&server.listener, watch(EpollFlags::EPOLLIN, &server.listener))?;
    let mut events = vec![EpollEvent::empty(); EVENTS];
    loop {
        let count = server.epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            server.serve(event.data() as RawFd, event.events())?;
        }
    }
}

fn watch(flags: EpollFlags, socket: &impl AsRawFd) -> EpollEvent {
    EpollEvent::new(flags, socket.as_raw_fd() as u64)
}

struct Streams {
    epoll: Epoll,
    listener: TcpListener,
    /// By descriptor. Only opening, closing and a full send buffer look in here.
    peers: Vec<Option<TcpStream>>,
    /// By descriptor: what the kernel did not take.
    unsent: HashMap<RawFd, Vec<u8>>,
    buffer: Vec<u8>,
}

impl Streams {
    fn serve(&mut self, fd: RawFd, ready: EpollFlags) -> Result<()> {
        if fd == self.listener.as_raw_fd() {
            self.accept()
        } else if ready.contains(EpollFlags::EPOLLOUT) {
            self.flush(fd)
        } else {
            self.echo(fd)
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.epoll.add(&stream, watch(EpollFlags::EPOLLIN, &stream))?;
            let slot = usize::try_from(stream.as_raw_fd())?;
            if self.peers.len() <= slot {
                self.peers.resize_with(slot + 1, || None);
            }
            self.peers[slot] = Some(stream);
        }
    }

    fn echo(&mut self, fd: RawFd) -> Result<()> {
        // MSG_DONTWAIT saves the system call that makes a socket non-blocking.
        let received = match recv(fd, &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return self.close(fd),
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(_) => return self.close(fd),
        };
        let sent = match send(fd, &self.buffer[..received], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::EAGAIN) => 0,
            Err(_) => return self.close(fd),
        };
        if sent < received {
            self.unsent.insert(fd, self.buffer[sent..received].to_vec());
            self.watch_again(fd, EpollFlags::EPOLLOUT)?;
        }
        Ok(())
    }

    fn flush(&mut self, fd: RawFd) -> Result<()> {
        let Some(unsent) = self.unsent.get_mut(&fd) else { return Ok(()) };
        match send(fd, unsent, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => drop(unsent.drain(..sent)),
            Err(Errno::EAGAIN) => return Ok(()),
            Err(_) => return self.close(fd),
        }
        if unsent.is_empty() {
            self.unsent.remove(&fd);
            self.watch_again(fd, EpollFlags::EPOLLIN)?;
        }
        Ok(())
    }

    fn watch_again(&self, fd: RawFd, flags: EpollFlags) -> Result<()> {
        if let Some(stream) = &self.peers[usize::try_from(fd)?] {
            self.epoll.modify(stream, &mut watch(flags, stream))?;
        }
        Ok(())
    }

    /// Closing a descriptor takes it out of the epoll set too.
    fn close(&mut self, fd: RawFd) -> Result<()> {
        self.unsent.remove(&fd);
        self.peers[usize::try_from(fd)?] = None;
        Ok(())
    }
}

/// Echoes over UDP: epoll, then recvfrom and sendto until the socket is empty
/// (one datagram per event would cost a sixth more).
pub(crate) fn datagrams(host: Ipv4Addr) -> Result<()> {
    let socket = UdpSocket::bind((host, 0))?;
    socket.set_nonblocking(true)?;
    Socket::from(socket.try_clone()?).set_recv_buffer_size(DATAGRAM_QUEUE)?;
    announce("udp", socket.local_addr()?);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&socket, watch(EpollFlags::EPOLLIN, &socket))?;
    let mut events = vec![EpollEvent::empty(); EVENTS];
    let mut buffer = vec![0; BUFFER];
    loop {
        epoll.wait(&mut events, EpollTimeout::NONE)?;
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            // A lost answer is the load's to count.
            let _ = socket.send_to(&buffer[..length], peer);
        }
    }
}

/// Echoes over TCP: a blocking thread for every connection.
pub(crate) fn threads() -> Result<()> {
    for stream in listen()?.incoming() {
        let mut stream = stream?;
        thread::Builder::new().stack_size(BUFFER).spawn(move || {
            let mut buffer = vec![0; BUFFER];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        })?;
    }
    Ok(())
}

/// The accepted sockets inherit TCP_NODELAY.
fn listen() -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    announce("tcp", listener.local_addr()?);
    Ok(listener)
}

fn announce(scheme: &str, address: SocketAddr) {
    println!("listening echo {scheme}://{address}\nready");
}
