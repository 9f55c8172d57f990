//! Why a call is made, or what its result means, for somebody who has never seen a socket: one sentence each.

use std::io;
use std::os::fd::RawFd;

use nix::libc;
use pingpong::{Address, Call, Ready, describe};

use super::sockets::Family::{Internet, Unix};
use super::sockets::{Kind, Link, Sockets};
use super::written::signal_name;

/// Descriptors whose events are put into words.
const MOST: usize = 3;

/// The reason for a call with this result.
pub(super) fn made(call: &Call<'_>, result: Result<usize, &io::Error>, sockets: &Sockets) -> String {
    match result {
        Ok(value) => went_well(call, value, sockets),
        Err(error) => failed(call, error, sockets.kind_of(call)),
    }
}

fn went_well(call: &Call<'_>, value: usize, sockets: &Sockets) -> String {
    let kind = sockets.kind_of(call);
    let text = match call {
        Call::EpollCreate => "an epoll: here the loop waits for all its sockets at once",
        Call::EventFd => "a bell that other threads could ring, to wake the loop",
        Call::SignalFd => "signals come as something to read, in turn with all else, and do not interrupt",
        Call::TimerCreate => "a timer to wake up by: epoll_wait itself counts whole milliseconds",
        Call::TimerSet { .. } => "the loop has something to do then, and sleeps until just before",
        Call::EpollCtl { operation, events, .. } => watched(operation, kind, events),
        Call::EpollWait { ready, .. } => return found(ready, sockets),
        Call::ReadSignal { signal, .. } => return taken(*signal),
        Call::Socket { kind: "SOCK_DGRAM", .. } => "a socket for datagrams; no call on it will wait",
        Call::Socket { kind: "SOCK_SEQPACKET", .. } => {
            "a file is there already: a probe, whether anybody listens behind it"
        }
        Call::Socket { .. } => "a socket for a stream of bytes; no call on it will wait",
        Call::SetOption { name, value, .. } => option(name, *value),
        Call::GetOption { name: "SO_ERROR", value: Some(0), .. } => "has the connect failed? 0: not so far",
        Call::GetOption { name: "SO_ERROR", value: Some(code), .. } => {
            let error = io::Error::from_raw_os_error(*code as i32);
            return format!("has the connect failed? It has: {}", describe(&error));
        }
        Call::GetOption { name: "TCP_INFO", .. } if kind == Kind::Listener(Internet) => {
            "does anybody wait to be accepted?"
        }
        Call::GetOption { name: "TCP_INFO", .. } => "has the peer's kernel acknowledged all that was sent?",
        Call::GetOption { .. } => "can this kernel cut one send into several datagrams? It can",
        Call::Bind { to: Address::Ip(to), .. } if to.port() == 0 => "its address; port 0: the kernel picks a free one",
        Call::Bind { to: Address::Ip(_), .. } => "its address: what is sent there comes here",
        Call::Bind { to: Address::Unix(None), .. } => "the kernel picks a name for it, where answers can come to",
        Call::Bind { .. } => "a file by which clients find it",
        Call::Listen { backlog, .. } => return listening(*backlog, kind, sockets.most_waiting),
        Call::Accept { .. } if kind == Kind::Listener(Unix) => {
            return format!("a client has connected; {value} is our end");
        }
        Call::Accept { .. } => {
            return format!("a client's handshake was complete before we knew; {value} is our end of the connection");
        }
        Call::Connect { .. } if matches!(kind, Kind::Stream(Unix) | Kind::Datagram(Unix)) => {
            "connected at once: no network is between"
        }
        Call::Connect { .. } if kind == Kind::Datagram(Internet) => {
            "nothing is sent: it only says whom to talk to, and lets refusals be told"
        }
        Call::Connect { .. } => "the handshake is complete already",
        Call::SocketName { .. } if kind == Kind::Stream(Internet) => {
            "our own address: not the peer's, or it talks to itself"
        }
        Call::SocketName { .. } => "where is it? The kernel may have picked the port",
        Call::PeerName { .. } => "there is a peer: the handshake is complete",
        Call::Receive { is_peek: true, .. } => "a look at how much has come, which takes nothing",
        Call::Receive { .. } if matches!(kind, Kind::Datagram(_)) => "one datagram, whole: datagrams keep their bounds",
        Call::Receive { .. } if value == 0 => "the end of the stream: the peer says no more",
        Call::Receive { room, .. } if value < *room && kind == Kind::Stream(Internet) => {
            "what has come so far, and less than there was room for: now it is empty"
        }
        Call::Receive { .. } => "what has come so far: a stream keeps no bounds of messages",
        Call::ReceiveMany { .. } if value == 1 => "a datagram, whole; one call would take several",
        Call::ReceiveMany { .. } => "datagrams, each whole: one call takes several",
        Call::Send { segment: Some(size), bytes, .. } => {
            return format!("{} datagrams in one call: the kernel cuts them", bytes.len().div_ceil((*size).into()));
        }
        Call::Send { .. } if kind == Kind::Datagram(Unix) => "it is in the receiver's queue now",
        Call::Send { .. } if kind == Kind::Datagram(Internet) => "given to the network, which promises nothing",
        Call::Send { bytes, .. } if value < bytes.len() => {
            "the kernel has room for this much; the rest waits until it has more"
        }
        Call::Send { .. } if kind == Kind::Stream(Unix) => "it is in the peer's queue now",
        Call::Send { .. } => "the kernel has it, and sees to it that it arrives",
        Call::Read { .. } if value == 0 => "the end of standard input",
        Call::Read { .. } => "what was typed, or what another program has written",
        Call::Write { bytes, .. } if value < bytes.len() => "standard output takes this much; the rest waits",
        Call::Write { .. } => "printed on standard output",
        Call::Poll { event: "POLLIN", .. } if value == 0 => "nothing to read there now",
        Call::Poll { event: "POLLIN", .. } => "would a read of standard input wait? No",
        Call::Poll { .. } if value == 0 => "standard output takes nothing now",
        Call::Poll { .. } => "would a write to standard output wait? No",
        Call::Shutdown { .. } if kind == Kind::Stream(Unix) => {
            "we say no more, and still listen: the peer's reads end behind what was sent"
        }
        Call::Shutdown { .. } => "we say no more, and still listen: a FIN follows what was sent",
        _ => "",
    };
    text.to_owned()
}

/// What a listen(2) with this backlog leads to, where net.core.somaxconn is so much. (Linux takes one more than that.)
fn listening(backlog: i32, kind: Kind, most: Option<u32>) -> String {
    let who = match kind {
        Kind::Listener(Unix) => "clients can connect now, also while we do something else",
        _ => "the kernel completes handshakes by itself now",
    };
    // To the kernel, -1 is the most.
    let asked = backlog as u32;
    match most {
        Some(most) if most < asked => {
            format!("{who}; net.core.somaxconn lets up to {most} connections and one more wait here")
        }
        Some(_) => format!("{who}; up to {asked} connections and one more wait here"),
        None => {
            format!("{who}; up to {asked} connections and one more wait here, fewer where net.core.somaxconn is less")
        }
    }
}

/// Why a call has failed, and what follows.
fn failed(call: &Call<'_>, error: &io::Error, kind: Kind) -> String {
    let text = match (call, error.raw_os_error().unwrap_or(0)) {
        (Call::ReadSignal { .. }, libc::EAGAIN) => "no other signal has come",
        (Call::Accept { .. }, libc::EAGAIN) => "nobody else waits; the loop will be told",
        (Call::Accept { .. }, libc::ECONNABORTED) => "that client has given up meanwhile; the next one",
        (Call::Accept { .. }, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            "there are not enough descriptors or memory: clients wait in the backlog, and it is tried again"
        }
        (Call::Connect { .. }, libc::EINPROGRESS) => "a SYN is on its way; an event will tell of its answer",
        (Call::Connect { .. }, libc::EAGAIN) if kind == Kind::Stream(Unix) => "its backlog is full",
        (Call::Connect { .. }, libc::ECONNREFUSED) => "nobody listens there",
        (Call::Connect { .. } | Call::Send { .. }, libc::ENOENT) => "there is no such file",
        (Call::Connect { .. }, libc::EPROTOTYPE) => "somebody is there, with a socket of another type",
        (Call::Connect { .. }, libc::ENETUNREACH | libc::EHOSTUNREACH) => "no way leads there from this machine",
        (Call::Connect { .. }, libc::EADDRNOTAVAIL) => "no local port is left for this peer",
        (Call::PeerName { .. }, libc::ENOTCONN) => "not connected yet",
        (Call::Bind { .. }, libc::EADDRINUSE) => "another socket has this address",
        (Call::Bind { .. }, libc::EADDRNOTAVAIL) => "this machine has no such address",
        (Call::Bind { .. }, libc::EACCES | libc::EPERM) => "this user may not have it",
        (Call::EpollCtl { .. }, libc::EPERM) => "a file is always ready, and cannot be watched",
        (Call::EpollWait { .. }, libc::EINTR) => "a signal came in between: it is asked again",
        (Call::Receive { .. } | Call::ReceiveMany { .. }, libc::EAGAIN) => "nothing there yet; the loop will be told",
        (Call::Send { .. }, libc::EAGAIN) if matches!(kind, Kind::Datagram(_)) => {
            "no room now: it waits, and is sent later"
        }
        (Call::Send { .. }, libc::EAGAIN) => "no room: the peer does not read. It waits; the loop will be told",
        (Call::Write { .. }, libc::EAGAIN) => "standard output takes nothing now: it waits",
        (Call::Write { .. }, libc::EPIPE) => "nobody reads standard output any more",
        (Call::Send { .. }, libc::EPIPE) => "the peer takes no more",
        (Call::Send { segment: Some(_), .. }, libc::EIO | libc::EINVAL | libc::EMSGSIZE) => {
            "this way does not take them in one call: they are sent one by one"
        }
        (Call::Send { .. }, libc::EMSGSIZE) => "too large for a datagram",
        (Call::Send { .. }, libc::ECONNREFUSED) if kind == Kind::Datagram(Unix) => {
            "nobody has that socket any more: this datagram is lost"
        }
        (Call::Send { .. } | Call::Receive { .. } | Call::ReceiveMany { .. }, libc::ECONNREFUSED) => {
            "an earlier datagram has met nobody: its refusal (ICMP) is told now"
        }
        (_, libc::ECONNRESET) if kind == Kind::Stream(Unix) => "the peer has closed without reading all that was sent",
        (_, libc::ECONNRESET) if kind == Kind::Datagram(Unix) => "the peer talks to somebody else now",
        (_, libc::ECONNRESET) => "the peer has thrown the connection away (RST)",
        (_, libc::ETIMEDOUT) => "the peer has not answered for too long",
        (_, libc::EMFILE | libc::ENFILE) => "there are no more descriptors ('ulimit -n')",
        (_, libc::EINTR) => "a signal came in between: it is tried again",
        _ => return describe(error),
    };
    text.to_owned()
}

fn watched(operation: &str, kind: Kind, events: &str) -> &'static str {
    let wants_room = events.contains("EPOLLOUT");
    match (operation, kind) {
        ("EPOLL_CTL_DEL", _) => "it has ended: no more news of it",
        ("EPOLL_CTL_MOD", _) if wants_room => "output waits: news when there is room for it, too",
        ("EPOLL_CTL_MOD", _) => "no output waits any more: room is no news",
        (_, Kind::Listener(_)) => "have the loop told when a client waits to be accepted",
        (_, Kind::Stream(_)) if wants_room => {
            "have the loop told when it can be read or written (ET: once each time that this begins)"
        }
        (_, Kind::Stream(_) | Kind::Datagram(_)) => "have the loop told when something comes (ET: once each time)",
        (_, Kind::Signals) => "have the loop told of signals",
        (_, Kind::Timer) => "have the loop told when it is time",
        (_, Kind::Waker) => "have the loop told when it rings",
        (_, Kind::Stdin) => "have the loop told when something is typed",
        (_, Kind::Stdout) => "have the loop told when standard output has room again",
        _ => "have the loop told of its news",
    }
}

/// What an epoll_wait has found.
fn found(ready: &Ready<'_>, sockets: &Sockets) -> String {
    let found: Vec<_> = ready.events().collect();
    if found.is_empty() {
        return "no news; the kernel has gone on with what was closed".to_owned();
    }
    let said = found.iter().take(MOST).filter_map(|(token, events)| {
        let fd = sockets.descriptor(*token)?;
        Some(news(fd, sockets.kind(fd), events))
    });
    let mut text = said.collect::<Vec<_>>().join("; ");
    if found.len() > MOST {
        text += "; and others";
    }
    text
}

pub(super) fn news(fd: RawFd, kind: Kind, events: &str) -> String {
    let has = |name: &str| events.split('|').any(|event| event == name);
    let what = match kind {
        Kind::Listener(_) => "a client waits at {}",
        Kind::Signals => "a signal has come",
        Kind::Timer => "it is time",
        Kind::Waker => "another thread rings",
        Kind::Stdin => "something was typed, or the input has ended",
        Kind::Stdout => "standard output has room",
        _ if has("EPOLLERR") => "{} has an error, which the next call will tell",
        _ if has("EPOLLHUP") => "both directions of {} are closed",
        Kind::Stream(Unix) if has("EPOLLRDHUP") => "the peer of {} says no more; its last words may wait",
        _ if has("EPOLLRDHUP") => "the peer of {} says no more (FIN); its last words may wait",
        _ if has("EPOLLPRI") => "urgent bytes have come at {}",
        _ if has("EPOLLIN") => "something has come at {}",
        _ if has("EPOLLOUT") => "{} can be written",
        _ => "{} has news",
    };
    what.replace("{}", &fd.to_string())
}

fn taken(signal: Option<i32>) -> String {
    let what = match signal {
        Some(libc::SIGINT | libc::SIGTERM) => "it is to end",
        Some(libc::SIGUSR1) => "the counters are asked for",
        Some(libc::SIGUSR2) => "the table of sockets is asked for",
        _ => "not one of ours",
    };
    format!("{}: {what}", signal.map_or_else(|| "a signal".to_owned(), signal_name))
}

fn option(name: &str, value: i64) -> &'static str {
    match (name, value) {
        ("SO_REUSEADDR", 0) => "from now on nobody shares this port",
        ("SO_REUSEADDR", _) => "the port may be used though old connections are remembered there (TIME-WAIT)",
        ("SO_REUSEPORT", _) => "several processes may listen here; the kernel deals clients out",
        ("TCP_NODELAY", _) => "small answers leave at once, not gathered (Nagle)",
        ("SO_KEEPALIVE", _) => "the kernel asks silent peers whether they are still there",
        ("TCP_KEEPIDLE", _) => "after so many seconds of silence",
        ("TCP_KEEPINTVL", _) => "then every so many seconds",
        ("TCP_KEEPCNT", _) => "and gives up after so many questions",
        ("SO_RCVBUF", _) => "room for datagrams that come faster than they are read",
        ("IPV6_V6ONLY", _) => "take IPv4 here, too",
        ("IP_PKTINFO" | "IPV6_RECVPKTINFO", _) => "each datagram is to say which of our addresses it was sent to",
        ("IP_BIND_ADDRESS_NO_PORT", _) => "the port is picked at connect, when the peer is known",
        _ => "",
    }
}

/// Why a descriptor of this kind is closed, or what follows from that.
pub(super) fn closed(kind: Kind, link: Link) -> &'static str {
    match (kind, link) {
        (Kind::Listener(_), _) => "nobody can connect here any more",
        (Kind::Stream(_), Link::None) => "it is not connected: nothing is left to say",
        (Kind::Stream(_), Link::Broken) => "the connection is gone already: nothing is left to say",
        (Kind::Stream(Internet), Link::Up) => {
            "our end is given back; what is still to be said the kernel says by itself"
        }
        (Kind::Stream(Unix), Link::Up) => "our end is given back; what was sent waits in the peer's queue",
        (Kind::Datagram(_), _) => "nothing comes here any more",
        (Kind::Epoll, _) => "the loop has ended",
        _ => "it is needed no more",
    }
}
