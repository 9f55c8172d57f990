//! A call as strace(1) writes it: its name, the descriptor first, what it returned. Shortened as in the lessons: an
//! address is `127.0.0.1:8888`, flags and lengths that are always the same are left out.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use pingpong::{Address, Call};

use super::sockets::Sockets;

/// Bytes of a text that are shown.
const LONGEST: usize = 12;

/// Descriptors that one call's line names.
const MOST: usize = 3;

/// Letters of a path that are shown: its end.
const LONGEST_PATH: usize = 40;

/// A call with its result.
pub(super) fn call(call: &Call<'_>, result: Result<usize, &io::Error>, sockets: &Sockets) -> String {
    let result_of = |text: String| match result {
        Ok(value) => format!("{text} = {value}"),
        Err(error) => format!("{text} = -1 {}", error_name(error)),
    };
    result_of(match call {
        Call::EpollCreate => "epoll_create1(EPOLL_CLOEXEC)".to_owned(),
        Call::EpollCtl { epoll, operation, fd, events: "", .. } => format!("epoll_ctl({epoll}, {operation}, {fd})"),
        Call::EpollCtl { epoll, operation, fd, events, .. } => {
            format!("epoll_ctl({epoll}, {operation}, {fd}, {})", events.replace("EPOLL", ""))
        }
        Call::EpollWait { epoll, ready, .. } => {
            let found: Vec<_> = ready.events().collect();
            let named = found.iter().take(MOST).map(|(token, events)| {
                let events = events.replace("EPOLL", "");
                sockets.descriptor(*token).map_or_else(|| format!("? {events}"), |fd| format!("{fd} {events}"))
            });
            let text = result_of(format!("epoll_wait({epoll})"));
            return if found.is_empty() { text } else { format!("{text} [{}]", listed(named, found.len())) };
        }
        Call::EventFd => "eventfd2(0)".to_owned(),
        Call::SignalFd => "signalfd4(-1, [INT USR1 USR2 TERM])".to_owned(),
        Call::ReadSignal { fd, signal: None } => format!("read({fd})"),
        Call::ReadSignal { fd, signal: Some(signal) } => format!("read({fd}, {})", signal_name(*signal)),
        Call::TimerCreate => "timerfd_create(CLOCK_MONOTONIC)".to_owned(),
        Call::TimerSet { fd, after } => format!("timerfd_settime({fd}, {:.6} s)", after.as_secs_f64()),
        Call::Socket { family, kind } => format!("socket({family}, {kind})"),
        Call::SetOption { fd, name, value } => format!("setsockopt({fd}, {name}, [{value}])"),
        Call::GetOption { fd, name: name @ "SO_ERROR", value: Some(code @ 1..) } => {
            format!("getsockopt({fd}, {name}, [{:?}])", Errno::from_raw(*code as i32))
        }
        Call::GetOption { fd, name, value: Some(value) } => format!("getsockopt({fd}, {name}, [{value}])"),
        Call::GetOption { fd, name, value: None } => format!("getsockopt({fd}, {name})"),
        Call::Bind { fd, to } => format!("bind({fd}, {})", address(to)),
        Call::Listen { fd, backlog } => format!("listen({fd}, {backlog})"),
        Call::Accept { fd, peer: Some(peer @ Address::Ip(_)) } => format!("accept4({fd}, {})", address(peer)),
        Call::Accept { fd, .. } => format!("accept4({fd})"),
        Call::Connect { fd, to } => format!("connect({fd}, {})", address(to)),
        Call::SocketName { fd, address: name } => format!("getsockname({fd}{})", argument(*name)),
        Call::PeerName { fd, address: name } => format!("getpeername({fd}{})", argument(*name)),
        Call::Receive { name, fd, room, is_peek: true, .. } => format!("{name}({fd}, {room}, MSG_PEEK)"),
        Call::Receive { name, fd, room, .. } if result.is_err() => format!("{name}({fd}, {room})"),
        Call::Receive { name, fd, bytes, room, from, .. } => {
            // Of a connected one it is known.
            let from = from.filter(|from| **from != Address::Unix(None));
            format!("{name}({fd}, {}, {room}{})", quoted(bytes), argument(from))
        }
        Call::ReceiveMany { fd, room, .. } if result.is_err() => format!("recvmmsg({fd}, {room})"),
        Call::ReceiveMany { fd, first, arrivals, room } => {
            let source = arrivals.first().map_or_else(String::new, |first| format!(" from {}", address(&first.source)));
            let others = match arrivals.len() {
                0 | 1 => String::new(),
                count => format!(", {} more", count - 1),
            };
            format!("recvmmsg({fd}, [{}{source}{others}], {room})", quoted(first))
        }
        Call::Send { name, fd, bytes, to, segment } => {
            let segment = segment.map_or_else(String::new, |size| format!(", UDP_SEGMENT {size}"));
            format!("{name}({fd}, {}, {}{}{segment})", quoted(bytes), bytes.len(), argument(*to))
        }
        Call::Read { fd, room, .. } if result.is_err() => format!("read({fd}, {room})"),
        Call::Read { fd, bytes, room } => format!("read({fd}, {}, {room})", quoted(bytes)),
        Call::Write { fd, bytes } => format!("write({fd}, {}, {})", quoted(bytes), bytes.len()),
        Call::Poll { fd, event } => format!("poll([{fd} {event}])"),
        Call::Shutdown { fd } => format!("shutdown({fd}, SHUT_WR)"),
        other => format!("{other:?}"),
    })
}

/// The error's name in errno(3).
pub(super) fn error_name(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| format!("{:?}", Errno::from_raw(number)))
}

pub(super) fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.as_str().to_owned())
}

fn argument(address: Option<&Address>) -> String {
    address.map_or_else(String::new, |address| format!(", {}", self::address(address)))
}

/// An address: of a path the end, an abstract name as strace writes it.
pub(super) fn address(address: &Address) -> String {
    match address {
        Address::Ip(ip) => ip.to_string(),
        Address::Unix(None) => "AF_UNIX".to_owned(),
        Address::Unix(Some(path)) => {
            let text = path.as_os_str().as_encoded_bytes().escape_ascii().to_string();
            let text = text.strip_prefix("\\x00").map_or(text.clone(), |name| format!("@{name}"));
            let start = text.len().saturating_sub(LONGEST_PATH);
            if start == 0 { format!("\"{text}\"") } else { format!("...\"{}\"", &text[start..]) }
        }
    }
}

/// Bytes as strace shows them: the first of many.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(LONGEST)].escape_ascii();
    format!("\"{shown}\"{}", if bytes.len() > LONGEST { "..." } else { "" })
}

/// The first of so many.
fn listed(first: impl Iterator<Item = String>, count: usize) -> String {
    let mut text = first.collect::<Vec<_>>().join(", ");
    if count > MOST {
        text += &format!(", {} more", count - MOST);
    }
    text
}
