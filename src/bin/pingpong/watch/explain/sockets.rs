//! What each descriptor is, and the state that the kernel has it in.
//!
//! What a descriptor is follows from the calls. Its state does not: the peer and the kernel change it too. So the kernel is
//! asked (sock_diag(7)) after each call that may have changed it or shows that it has changed.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use nix::sys::socket::{SockaddrStorage, getsockname};
use pingpong::{Address, Call};

use crate::watch::{KernelState, Protocol, SockDiag};

/// Closed connections that are still asked for: the last ones.
const MOST_CLOSED: usize = 8;

/// Whose words a socket is told of in: there is no SYN, FIN, RST and ICMP between Unix sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Internet,
    Unix,
}

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Epoll,
    Waker,
    Signals,
    Timer,
    Stdin,
    Stdout,
    Listener(Family),
    Stream(Family),
    Datagram(Family),
    /// None of ours.
    Unknown,
}

/// What calls have told of a socket's far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// It is not connected: not yet, or it never was.
    None,
    Up,
    /// It was connected, and the connection is gone.
    Broken,
}

/// A descriptor's socket, if it is one.
#[derive(Clone, Debug)]
struct Known {
    kind: Kind,
    link: Link,
    /// Its own address, once it has one.
    local: Option<SocketAddr>,
    /// Where it is connected to, or is to be.
    peer: Option<SocketAddr>,
    state: Option<KernelState>,
}

/// A state that was not there before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) fd: RawFd,
    pub(super) kind: Kind,
    pub(super) link: Link,
    pub(super) is_closed: bool,
    /// `None`: the kernel knows it no more.
    pub(super) now: Option<KernelState>,
}

#[derive(Debug)]
pub(super) struct Sockets {
    known: HashMap<RawFd, Known>,
    tokens: HashMap<u64, RawFd>,
    /// Connections that were closed, as they were then.
    closed: Vec<(RawFd, Known)>,
    /// `None` where states are not asked for, or the kernel does not tell.
    kernel: Option<SockDiag>,
    /// Connections that a listener may keep waiting, whatever its backlog (net.core.somaxconn, listen(2)), if known.
    pub(super) most_waiting: Option<u32>,
}

impl Sockets {
    pub(super) fn new(asks: bool) -> Self {
        let kernel = asks.then(SockDiag::open).and_then(Result::ok);
        let most = asks.then(|| std::fs::read_to_string("/proc/sys/net/core/somaxconn")).and_then(Result::ok);
        let most_waiting = most.and_then(|most| most.trim().parse().ok());
        let standard = [(0, Kind::Stdin), (1, Kind::Stdout)];
        let known = standard.into_iter().map(|(fd, kind)| (fd, Known::new(kind))).collect();
        Self { known, tokens: HashMap::new(), closed: Vec::new(), kernel, most_waiting }
    }

    pub(super) fn kind(&self, fd: RawFd) -> Kind {
        self.known.get(&fd).map_or(Kind::Unknown, |known| known.kind)
    }

    /// What a call's descriptor is.
    pub(super) fn kind_of(&self, call: &Call<'_>) -> Kind {
        descriptor(call).map_or(Kind::Unknown, |fd| self.kind(fd))
    }

    pub(super) fn link(&self, fd: RawFd) -> Link {
        self.known.get(&fd).map_or(Link::None, |known| known.link)
    }

    /// The descriptor that events with this token are for.
    pub(super) fn descriptor(&self, token: u64) -> Option<RawFd> {
        self.tokens.get(&token).copied()
    }

    /// Notes what a call says of descriptors.
    pub(super) fn note(&mut self, call: &Call<'_>, result: Result<usize, &io::Error>) {
        if let Some(known) = descriptor(call).and_then(|fd| self.known.get_mut(&fd)) {
            known.note(call, result.err());
        }
        let Ok(value) = result else { return };
        let (fd, known) = match *call {
            Call::EpollCreate => (value as RawFd, Known::new(Kind::Epoll)),
            Call::EventFd => (value as RawFd, Known::new(Kind::Waker)),
            Call::SignalFd => (value as RawFd, Known::new(Kind::Signals)),
            Call::TimerCreate => (value as RawFd, Known::new(Kind::Timer)),
            Call::Socket { family, kind } => {
                let family = if family == "AF_UNIX" { Family::Unix } else { Family::Internet };
                let kind = if kind == "SOCK_DGRAM" { Kind::Datagram(family) } else { Kind::Stream(family) };
                (value as RawFd, Known::new(kind))
            }
            Call::Accept { peer, .. } => {
                let (family, peer) = match peer {
                    Some(Address::Ip(peer)) => (Family::Internet, Some(*peer)),
                    _ => (Family::Unix, None),
                };
                (value as RawFd, Known { link: Link::Up, peer, ..Known::new(Kind::Stream(family)) })
            }
            Call::EpollCtl { operation: "EPOLL_CTL_ADD", fd, token, .. } => {
                // Standard output may have been opened anew.
                self.known.entry(fd).or_insert(Known::new(Kind::Stdout));
                self.tokens.insert(token, fd);
                return;
            }
            _ => return,
        };
        self.known.insert(fd, known);
    }

    /// Asks for the states that this call may have changed or may have learned of.
    pub(super) fn changes_after(&mut self, call: &Call<'_>, result: Result<usize, &io::Error>) -> Vec<Change> {
        let mut changes = Vec::new();
        match call {
            Call::Accept { .. } => changes.extend(result.ok().and_then(|fd| self.ask(fd as RawFd))),
            Call::EpollWait { ready, .. } => {
                let ready: Vec<RawFd> = ready.events().filter_map(|(token, _)| self.descriptor(token)).collect();
                changes.extend(ready.into_iter().filter_map(|fd| self.ask(fd)));
            }
            Call::Bind { fd, .. }
            | Call::Listen { fd, .. }
            | Call::Connect { fd, .. }
            | Call::GetOption { fd, .. }
            | Call::PeerName { fd, .. }
            | Call::Receive { fd, .. }
            | Call::Send { fd, .. }
            | Call::Shutdown { fd } => changes.extend(self.ask(*fd)),
            _ => {}
        }
        changes.extend(self.ask_of_closed());
        changes
    }

    /// A descriptor was closed: what the kernel keeps of it.
    pub(super) fn closed(&mut self, fd: RawFd) -> Vec<Change> {
        let mut changes = self.ask_of_closed();
        let Some(mut known) = self.known.remove(&fd) else { return changes };
        if known.kind != Kind::Stream(Family::Internet) || known.state.is_none() {
            return changes;
        }
        let change = self.kernel.as_mut().and_then(|kernel| known.ask(fd, true, kernel));
        // It goes on by itself, up to TIME-WAIT or to nothing.
        if !matches!(known.state, None | Some(KernelState::TimeWait)) {
            self.closed.push((fd, known));
            let surplus = self.closed.len().saturating_sub(MOST_CLOSED);
            self.closed.drain(..surplus);
        }
        changes.extend(change);
        changes
    }

    fn ask(&mut self, fd: RawFd) -> Option<Change> {
        self.known.get_mut(&fd)?.ask(fd, false, self.kernel.as_mut()?)
    }

    /// Whether a closed connection is on its way to its last state.
    pub(super) fn is_ending(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Asks for the connections that were closed.
    pub(super) fn ask_of_closed(&mut self) -> Vec<Change> {
        let Some(kernel) = &mut self.kernel else { return Vec::new() };
        let changes = self.closed.iter_mut().filter_map(|(fd, known)| known.ask(*fd, true, kernel)).collect();
        self.closed.retain(|(_, known)| !matches!(known.state, None | Some(KernelState::TimeWait)));
        changes
    }
}

impl Known {
    fn new(kind: Kind) -> Self {
        Self { kind, link: Link::None, local: None, peer: None, state: None }
    }

    /// Notes what a call on it says.
    fn note(&mut self, call: &Call<'_>, error: Option<&io::Error>) {
        if let Call::Connect { to: Address::Ip(to), .. } = call {
            self.peer = Some(*to);
        }
        match (call, self.kind, error) {
            (Call::Listen { .. }, Kind::Stream(family), None) => self.kind = Kind::Listener(family),
            (Call::Connect { .. } | Call::PeerName { .. }, _, None) => self.link = Link::Up,
            (Call::Send { .. } | Call::Receive { .. }, Kind::Stream(_), Some(error))
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                self.link = Link::Broken;
            }
            _ => {}
        }
    }

    /// Asks the kernel; tells whether it says anything new.
    fn ask(&mut self, fd: RawFd, is_closed: bool, kernel: &mut SockDiag) -> Option<Change> {
        let (protocol, family) = match self.kind {
            Kind::Listener(family) | Kind::Stream(family) => (Protocol::Tcp, family),
            Kind::Datagram(family) => (Protocol::Udp, family),
            _ => return None,
        };
        let now = match family {
            Family::Unix => kernel.one_unix(inode(fd)?).ok()?.map(|socket| socket.state),
            Family::Internet => {
                if !is_closed {
                    self.local = local_address(fd).or(self.local);
                }
                kernel.one(protocol, self.local?, self.peer).ok()?.map(|socket| socket.state)
            }
        };
        let before = std::mem::replace(&mut self.state, now);
        (before != now).then_some(Change { fd, kind: self.kind, link: self.link, is_closed, now })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: ", self.fd, if self.is_closed { ", closed" } else { "" })?;
        match self.now {
            None => f.write_str("nothing is left of it"),
            Some(state) => write!(f, "{} ({})", name(state), meaning(state, self.kind, self.link)),
        }
    }
}

/// As RFC 9293 writes it; ss(8) shortens one.
fn name(state: KernelState) -> &'static str {
    if state == KernelState::Established { "ESTABLISHED" } else { state.name() }
}

/// What a state means, in plain words.
fn meaning(state: KernelState, kind: Kind, link: Link) -> &'static str {
    match (state, kind) {
        // A client's connect gives both sockets this state (unix(7)).
        (KernelState::Established, Kind::Datagram(Family::Unix)) if link == Link::None => {
            "a client has connected to it; anybody may send"
        }
        (KernelState::Established, Kind::Datagram(_)) => "it knows whom to talk to; no connection",
        (KernelState::Established, _) => "both ends may speak",
        (KernelState::SynSent, _) => "our SYN is not answered yet",
        (KernelState::SynReceived, _) => "a SYN was answered; the last ACK is missing",
        (KernelState::FinWait1, _) => "our FIN is under way",
        (KernelState::FinWait2, _) => "the peer knows that we have ended; it has not",
        (KernelState::TimeWait, _) => "both ended; kept for a minute, against strays",
        (KernelState::Unconnected, Kind::Datagram(_)) => "it takes datagrams from anybody",
        (KernelState::Unconnected, _) => "not connected",
        (KernelState::CloseWait, _) => "the peer has ended, we have not",
        (KernelState::LastAck, _) => "both have ended; our FIN is not acknowledged yet",
        (KernelState::Listen, _) => "clients may connect",
        (KernelState::Closing, _) => "both ended at once; our FIN is not acknowledged yet",
        (KernelState::Unknown, _) => "a state that this program does not know",
    }
}

/// The descriptor of a socket, or of what may be one, that a call is made on.
fn descriptor(call: &Call<'_>) -> Option<RawFd> {
    match *call {
        Call::EpollCtl { fd, .. }
        | Call::SetOption { fd, .. }
        | Call::GetOption { fd, .. }
        | Call::Bind { fd, .. }
        | Call::Listen { fd, .. }
        | Call::Accept { fd, .. }
        | Call::Connect { fd, .. }
        | Call::SocketName { fd, .. }
        | Call::PeerName { fd, .. }
        | Call::Receive { fd, .. }
        | Call::ReceiveMany { fd, .. }
        | Call::Send { fd, .. }
        | Call::Shutdown { fd } => Some(fd),
        _ => None,
    }
}

/// The address of an internet socket that has one.
fn local_address(fd: RawFd) -> Option<SocketAddr> {
    let address: SockaddrStorage = getsockname(fd).ok()?;
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    let address = v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))?;
    (address.port() != 0).then_some(address)
}

/// The number by which the kernel knows a socket.
fn inode(fd: RawFd) -> Option<u32> {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
