//! A relay that records what passes between a client and a server, over TCP or UDP: one thread and poll(2).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::support::PATIENCE;

/// Records one conversation. All that one side sends until the other does is one entry, however TCP cuts it: `> ping`
/// from the client, `< pong` from the server. A datagram is an entry of its own.
pub(crate) struct Recorder {
    address: SocketAddr,
    thread: JoinHandle<Vec<Noted>>,
    /// Closing it ends a record of datagrams, which have no end of their own.
    _open: UnixStream,
}

struct Noted {
    by_client: bool,
    bytes: Vec<u8>,
}

impl Recorder {
    /// Between one client and the server at `to`.
    #[track_caller]
    pub(crate) fn tcp(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (open, closed) = UnixStream::pair().expect("a pair");
        let thread = thread::spawn(move || {
            let ready = wait(&[listener.as_fd(), closed.as_fd()]);
            if !ready[0] {
                return Vec::new();
            }
            let (client, _) = listener.accept().expect("a client");
            relay(&client, &TcpStream::connect(to).expect("a server"))
        });
        Self { address, thread, _open: open }
    }

    /// Between one client and the server at `to`.
    #[track_caller]
    pub(crate) fn udp(to: SocketAddr) -> Self {
        let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port"));
        far.connect(to).expect("a server");
        let address = near.local_addr().expect("its address");
        let (open, closed) = UnixStream::pair().expect("a pair");
        let thread = thread::spawn(move || relay_datagrams(&near, &far, &closed));
        Self { address, thread, _open: open }
    }

    /// The address for the client.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The record: over TCP once both sides have ended, over UDP up to now.
    #[track_caller]
    pub(crate) fn notes(self) -> Vec<String> {
        let Self { thread, _open, .. } = self;
        drop(_open);
        let notes = thread.join().expect("it has noted all");
        let side = |by_client| if by_client { ">" } else { "<" };
        notes.iter().map(|noted| format!("{} {}", side(noted.by_client), noted.bytes.escape_ascii())).collect()
    }
}

/// Relays until both sides have ended.
fn relay(client: &TcpStream, server: &TcpStream) -> Vec<Noted> {
    let mut notes: Vec<Noted> = Vec::new();
    let sides = [(client, server), (server, client)];
    let mut open = [true; 2];
    let mut chunk = [0; 1 << 16];
    while open != [false; 2] {
        let listened: Vec<usize> = (0..2).filter(|side| open[*side]).collect();
        let ready = wait(&listened.iter().map(|side| sides[*side].0.as_fd()).collect::<Vec<_>>());
        for side in listened.into_iter().zip(ready).filter_map(|(side, ready)| ready.then_some(side)) {
            let (mut from, mut to) = sides[side];
            match from.read(&mut chunk) {
                Ok(0) | Err(_) => {
                    open[side] = false;
                    // It fails when that side has gone already.
                    let _ = to.shutdown(Shutdown::Write);
                }
                Ok(count) => {
                    match notes.last_mut().filter(|last| last.by_client == (side == 0)) {
                        Some(last) => last.bytes.extend_from_slice(&chunk[..count]),
                        None => notes.push(Noted { by_client: side == 0, bytes: chunk[..count].to_vec() }),
                    }
                    let _ = to.write_all(&chunk[..count]);
                }
            }
        }
    }
    notes
}

fn relay_datagrams(near: &UdpSocket, far: &UdpSocket, closed: &UnixStream) -> Vec<Noted> {
    let mut notes = Vec::new();
    let mut client = None;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let ready = wait(&[near.as_fd(), far.as_fd(), closed.as_fd()]);
        if ready[0] {
            let (count, from) = near.recv_from(&mut chunk).expect("a datagram");
            client = Some(from);
            notes.push(Noted { by_client: true, bytes: chunk[..count].to_vec() });
            far.send(&chunk[..count]).expect("it goes on");
        }
        if ready[1] {
            let count = far.recv(&mut chunk).expect("a datagram");
            notes.push(Noted { by_client: false, bytes: chunk[..count].to_vec() });
            near.send_to(&chunk[..count], client.expect("it has asked")).expect("it goes on");
        }
        if ready == [false, false, true] {
            return notes;
        }
    }
}

/// Waits until some of these are readable; which ones are.
fn wait(descriptors: &[std::os::fd::BorrowedFd<'_>]) -> Vec<bool> {
    let mut polled: Vec<_> = descriptors.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Longer than a test's own patience, because a test's message says what it waited for.
    let patience = PATIENCE + Duration::from_secs(1);
    let ready = poll(&mut polled, PollTimeout::try_from(patience).expect("not too long")).expect("poll");
    assert!(ready > 0, "nobody said anything");
    polled.iter().map(|polled| polled.any().unwrap_or(false)).collect()
}
