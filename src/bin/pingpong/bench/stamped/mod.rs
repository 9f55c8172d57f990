//! A socket whose messages carry the kernel's stamps (SO_TIMESTAMPING, Documentation/networking/timestamping.rst): when
//! each was given to the device, and when its answer came to our kernel.
//!
//! It is a socket of the load's own beside the engine's, watched in the same poll ([`Reactor::watch`]): its calls are
//! recvmsg(2) with control data and reads of the error queue, and no other connection is to pay for those.
//!
//! Stamps are of CLOCK_REALTIME, and the load counts by CLOCK_MONOTONIC. `clock` reads both around each call. Where the
//! distance between them changes, the machine's clock was set: then stamps from before and after cannot be compared.
//!
//! [`Reactor::watch`]: pingpong::Reactor::watch

mod clock;
mod error_queue;

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, Timestamping};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, TimestampingFlag, Timestamps, UnixAddr, bind, recvmsg, send, setsockopt,
};
use pingpong::{Address, Moment};
use socket2::{Domain, SockAddr, Socket, Type};

pub(super) use clock::Clock;

/// A connected socket that tells when what was.
pub(super) trait Line: fmt::Debug {
    /// Whether it is connected by now; an error when it never will be.
    fn is_made(&mut self) -> io::Result<bool>;

    /// Whether the kernel stamps what is sent and what comes.
    fn is_stamped(&self) -> bool;

    /// Sends as much of `bytes` as the kernel takes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<Sending>;

    /// Receives into `room`.
    fn receive(&mut self, room: &mut [u8]) -> io::Result<Received>;

    /// The next stamp of what was sent; `None` when there is none now.
    fn departure(&mut self) -> Option<Departure>;
}

/// What a send has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    pub(super) count: usize,
    /// Just before the call.
    pub(super) at: Moment,
    /// How often the machine's clock was set before.
    pub(super) steps: u32,
}

/// What a receive has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) count: usize,
    /// When the last byte of it came to our kernel.
    pub(super) came: Option<Moment>,
    /// Just after the call.
    pub(super) at: Moment,
    /// How often the machine's clock was set before.
    pub(super) steps: u32,
}

/// Something sent has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    /// On a stream, the bytes sent before the last one of it; otherwise the datagrams sent before it. Modulo 2^32.
    pub(super) key: u32,
    pub(super) place: Place,
    pub(super) at: Moment,
}

/// How far something sent has come. Some drivers do not tell of the second place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The device's queue.
    Queue,
    /// The device.
    Device,
}

/// [`Line`] over a real socket.
#[derive(Debug)]
pub(super) struct StampedSocket {
    socket: Socket,
    is_stream: bool,
    /// TCP and UDP have stamps.
    is_ip: bool,
    is_stamped: bool,
    clock: Clock,
    /// Room for control data, aligned as the kernel wants it.
    control: Vec<u8>,
}

impl StampedSocket {
    /// Begins to connect.
    pub(super) fn connect(to: &Address, from: Option<IpAddr>, is_stream: bool, clock: Clock) -> io::Result<Self> {
        let kind = if is_stream { Type::STREAM } else { Type::DGRAM };
        let (domain, address) = match to {
            Address::Ip(to) => (Domain::for_address(*to), SockAddr::from(*to)),
            Address::Unix(Some(path)) => (Domain::UNIX, SockAddr::unix(path)?),
            Address::Unix(None) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let socket = Socket::new(domain, kind.nonblocking(), None)?;
        match (to, from) {
            (Address::Ip(_), Some(from)) => {
                setsockopt(&socket, IpBindAddressNoPort, &true)?;
                socket.bind(&std::net::SocketAddr::new(from, 0).into())?;
            }
            // It needs a name to be answered at: the kernel picks an abstract one (unix(7), autobind).
            (Address::Unix(_), _) if !is_stream => bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?,
            _ => {}
        }
        let is_ip = matches!(to, Address::Ip(_));
        if is_stream && is_ip {
            socket.set_tcp_nodelay(true)?;
        }
        match socket.connect(&address) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let control = cmsg_space!(Timestamps, libc::sock_extended_err, SockaddrIn6, u64);
        Ok(Self { socket, is_stream, is_ip, is_stamped: false, clock, control })
    }

    /// Asks for stamps. On a stream that is connected: there bytes are counted from then on.
    fn ask_for_stamps(&mut self) {
        let queued = TimestampingFlag::from_bits_retain(libc::SOF_TIMESTAMPING_TX_SCHED);
        let stamps = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY
            | queued;
        // Unix sockets take the option, and give no stamps.
        self.is_stamped = self.is_ip && setsockopt(&self.socket, Timestamping, &stamps).is_ok();
    }
}

impl AsFd for StampedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Line for StampedSocket {
    fn is_made(&mut self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
            // For a port of the ephemeral range without a listener the kernel may pick that very port to connect from.
            Ok(peer) if self.is_ip && self.socket.local_addr()? == peer => {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(_) => {}
        }
        self.ask_for_stamps();
        Ok(true)
    }

    fn is_stamped(&self) -> bool {
        self.is_stamped
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<Sending> {
        // What follows is not to join the same segment, which has one stamp only.
        let end = if self.is_stream && self.is_ip { MsgFlags::MSG_EOR } else { MsgFlags::empty() };
        let at = self.clock.look();
        let count = send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT | end)?;
        Ok(Sending { count, at, steps: self.clock.steps() })
    }

    fn receive(&mut self, room: &mut [u8]) -> io::Result<Received> {
        let Self { socket, control, .. } = self;
        let mut room = [IoSliceMut::new(room)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut room, Some(control), MsgFlags::MSG_DONTWAIT)?;
        let count = message.bytes;
        let stamp = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::ScmTimestampsns(stamps) => clock::nanos(stamps.system),
            _ => None,
        });
        let at = self.clock.look();
        let came = stamp.and_then(|stamp| self.clock.moment_of(stamp));
        Ok(Received { count, came, at, steps: self.clock.steps() })
    }

    fn departure(&mut self) -> Option<Departure> {
        if !self.is_stamped {
            return None;
        }
        let Self { socket, control, clock, .. } = self;
        while let Some(stamp) = error_queue::next(socket, control) {
            // What else an error queue may hold is of no interest.
            if let Some((key, place, stamp)) = stamp
                && let Some(at) = clock.moment_of(stamp)
            {
                return Some(Departure { key, place, at });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
