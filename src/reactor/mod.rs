//! The only code that names mio: it polls, and tells the engine what happened and what time it is.
//!
//! A [`Reactor`] owns one `mio::Poll` and everything registered there: listeners, connections, datagram sockets, the
//! signals (signalfd(2)) and its own [`Handle`]'s waker (eventfd(2)). One thread, no callback from anywhere else.
//!
//! - `socket`, `listener`, `udp`: the engine's seam, made of mio's sockets; thin
//! - `token`: what an event is for; `clock`: the time; `signals`, `handle`: who else has a say

mod clock;
mod handle;
mod listener;
mod signals;
mod socket;
mod token;
mod udp;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use nix::sys::signal::Signal;

use crate::endpoint::{Address, Endpoint};
use crate::engine::{Engine, Readiness, ServiceId};
use crate::error::Error;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::service::Service;
use crate::stats::Stats;

use clock::Clock;
pub use handle::Handle;
use handle::Request;
use listener::Refusal;
use signals::Signals;
pub use signals::block as block_signals;
pub use socket::Sockets;
use token::Token;

/// Events taken from the kernel at once. Fewer than 64 cost up to 7 % more.
const EVENTS: usize = 1024;

/// A server's loop: services of one type (often `Box<dyn Service>`), their sockets, one `mio::Poll`.
///
/// ```
/// use pingpong::{Limits, Reactor, service::{Echo, Service}};
///
/// let mut reactor = Reactor::<Echo>::new(Limits::default())?;
/// let echo = reactor.add("echo", Echo);
/// let bound = reactor.listen(echo, &"tcp://127.0.0.1:0".parse()?)?;
/// println!("listening {}", bound[0]);
/// # reactor.handle().shutdown();
/// reactor.run()?;
/// # Ok::<(), pingpong::Error>(())
/// ```
#[derive(Debug)]
pub struct Reactor<S> {
    events: Events,
    clock: Clock,
    engine: Engine<S, Sockets>,
    handle: Handle,
    requests: Receiver<Request>,
    signals: Option<Signals>,
    /// The signals that asked us to end.
    ending: Vec<Signal>,
    spin: Duration,
    /// When an event came last.
    last_event: Moment,
}

/// How sockets listen; the default is what `pingpong serve` does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Connections that wait to be accepted, per listener (listen(2)); net.core.somaxconn caps it. Default: 4096.
    pub backlog: i32,
    /// Whether several processes may share the port (SO_REUSEPORT, socket(7)). Default: no.
    pub reuse_port: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 4096, reuse_port: false }
    }
}

/// Whether a reactor goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is more to do.
    Running,
    /// It has ended.
    Ended(Ending),
}

/// How a reactor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to and owes nobody an answer (or its time for giving them was up).
    Drained,
    /// A second signal, of this number, stopped it at once.
    Signal(i32),
}

impl<S: Service> Reactor<S> {
    /// A reactor without services and sockets. Fails when the kernel gives no epoll(7) or eventfd(2) descriptor.
    pub fn new(limits: Limits) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Loop { part: "epoll", source };
        let poll = Poll::new().map_err(failed)?;
        let (handle, requests) = handle::pair(&poll)?;
        // Each RandomState has keys of its own, from the system's randomness.
        let seed = RandomState::new().build_hasher().finish();
        Ok(Self {
            events: Events::with_capacity(EVENTS),
            clock: Clock::start(),
            engine: Engine::new(Sockets::new(poll), limits, seed),
            handle,
            requests,
            signals: None,
            ending: Vec::new(),
            spin: Duration::ZERO,
            last_event: Moment::default(),
        })
    }

    /// Adds a service, named so in logs. It serves nothing until [`listen`](Self::listen) gives it an endpoint.
    pub fn add(&mut self, name: impl Into<String>, service: S) -> ServiceId {
        self.engine.add(name, service)
    }

    /// Has a service answer at an endpoint, connections and datagrams alike. Returns where it really listens: one
    /// endpoint for each address of the host, with the port that the kernel picked where it was 0.
    pub fn listen(&mut self, service: ServiceId, endpoint: &Endpoint) -> Result<Vec<Endpoint>, Error> {
        self.listen_with(service, endpoint, &ListenOptions::default())
    }

    /// [`listen`](Self::listen), with options.
    pub fn listen_with(
        &mut self,
        service: ServiceId,
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> Result<Vec<Endpoint>, Error> {
        match endpoint {
            Endpoint::Tcp(place) | Endpoint::Udp(place) => {
                let addresses =
                    place.resolve().map_err(|source| Error::Resolve { endpoint: endpoint.clone(), source })?;
                self.listen_at_all(service, endpoint, &addresses, options)
            }
            Endpoint::Unix(path) | Endpoint::UnixGram(path) => {
                self.listen_unix(service, endpoint.is_datagram(), path, options).map_err(|refusal| match refusal {
                    Refusal::Occupied(by) => Error::Occupied { endpoint: endpoint.clone(), by },
                    Refusal::Failed(source) => Error::Listen { endpoint: endpoint.clone(), source },
                })?;
                Ok(vec![endpoint.clone()])
            }
        }
    }

    /// Binds every address of a name. One that this machine does not have (IPv6 switched off, say) does not stop the
    /// others.
    fn listen_at_all(
        &mut self,
        service: ServiceId,
        endpoint: &Endpoint,
        addresses: &[SocketAddr],
        options: &ListenOptions,
    ) -> Result<Vec<Endpoint>, Error> {
        let mut bound = Vec::new();
        let mut refused = None;
        for address in addresses {
            match self.listen_ip(service, endpoint.is_datagram(), *address, options) {
                Ok(local) if endpoint.is_datagram() => bound.push(Endpoint::Udp(local.into())),
                Ok(local) => bound.push(Endpoint::Tcp(local.into())),
                Err(source) if is_missing(&source) => {
                    refused = Some(Error::Listen { endpoint: at(endpoint, *address), source });
                }
                Err(source) => return Err(Error::Listen { endpoint: at(endpoint, *address), source }),
            }
        }
        match refused {
            Some(error) if bound.is_empty() => Err(error),
            Some(error) => {
                log::warn!("{error}");
                Ok(bound)
            }
            None => Ok(bound),
        }
    }

    fn listen_ip(
        &mut self,
        service: ServiceId,
        is_datagram: bool,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<SocketAddr> {
        if is_datagram {
            let (socket, local) = udp::udp(address, options)?;
            if !local.ip().is_loopback() {
                log::warn!(
                    "udp://{local} answers datagrams from other hosts, whose addresses can be forged (see --udp-budget)"
                );
            }
            self.engine.bind(service, socket, Address::Ip(local))?;
            return Ok(local);
        }
        let (socket, local) = listener::tcp(address, options)?;
        self.engine.listen(service, socket)?;
        Ok(local)
    }

    fn listen_unix(
        &mut self,
        service: ServiceId,
        is_datagram: bool,
        path: &Path,
        options: &ListenOptions,
    ) -> Result<(), Refusal> {
        match is_datagram {
            true => self.engine.bind(service, udp::unix(path)?, Address::Unix(Some(path.into())))?,
            false => self.engine.listen(service, listener::unix(path, options)?)?,
        }
        Ok(())
    }

    /// Takes SIGINT, SIGTERM and SIGUSR1 from now on: the first of the former two shuts down, a second stops at once;
    /// SIGUSR1 logs the counters. They must be blocked in every thread: see [`block_signals`].
    pub fn watch_signals(&mut self) -> Result<(), Error> {
        let signals = Signals::new()?;
        self.engine
            .net()
            .poll
            .registry()
            .register(&mut SourceFd(&signals.raw_fd()), Token::Signals.into(), Interest::READABLE)
            .map_err(|source| Error::Loop { part: "epoll", source })?;
        self.signals = Some(signals);
        Ok(())
    }

    /// After the last event keeps polling without sleeping for so long. It costs a CPU, and spares a lone connection
    /// the waking of a sleeping one, which is two thirds of its round trip.
    pub fn spin(&mut self, spin: Duration) {
        self.spin = spin;
    }

    /// Reaches this reactor from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The counters.
    pub fn stats(&mut self) -> Stats {
        self.engine.stats()
    }

    /// Begins to shut down, as SIGTERM would: answers that are owed are given first.
    pub fn shutdown(&mut self) {
        self.engine.begin(self.clock.now());
        self.engine.drain();
    }

    /// Turns until it has ended: by [`Handle::shutdown`], by signals if they are watched.
    pub fn run(&mut self) -> Result<Ending, Error> {
        loop {
            if let Status::Ended(ending) = self.turn(None)? {
                return Ok(ending);
            }
        }
    }

    /// Waits for events, for `wait` at the most (or for ever), and does what they ask for. For a host that has a loop
    /// of its own.
    pub fn turn(&mut self, wait: Option<Duration>) -> Result<Status, Error> {
        let wait = self.patience(wait);
        match self.engine.net_mut().poll.poll(&mut self.events, wait) {
            Ok(()) => {}
            // A signal that is not ours.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(source) => return Err(Error::Loop { part: "epoll", source }),
        }
        let now = self.clock.now();
        self.engine.begin(now);
        if !self.events.is_empty() {
            self.last_event = now;
        }
        for event in &self.events {
            match Token::from(event.token()) {
                Token::Connection(id) => self.engine.ready(id, readiness(event)),
                Token::Listener(number) => self.engine.acceptable(number),
                Token::Datagram(number) => {
                    let readable = event.is_readable() || event.is_error();
                    self.engine.datagram_ready(number, readable, event.is_writable());
                }
                Token::Signals => take_signals(self.signals.as_ref(), &mut self.engine, &mut self.ending),
                Token::Waker => take_requests(&self.requests, &mut self.engine),
            }
        }
        self.engine.finish();
        Ok(self.status())
    }

    /// How long to wait for events.
    fn patience(&self, wait: Option<Duration>) -> Option<Duration> {
        if !self.spin.is_zero() && self.clock.now().since(self.last_event) < self.spin {
            return Some(Duration::ZERO);
        }
        let due = self.engine.deadline().map(|at| match at <= self.engine.now() {
            true => Duration::ZERO,
            false => at.since(self.clock.now()),
        });
        due.into_iter().chain(wait).min()
    }

    fn status(&self) -> Status {
        match self.ending[..] {
            [_, second, ..] => Status::Ended(Ending::Signal(second as i32)),
            _ if self.engine.is_stopped() => Status::Ended(Ending::Drained),
            _ => Status::Running,
        }
    }
}

fn readiness(event: &mio::event::Event) -> Readiness {
    Readiness {
        readable: event.is_readable(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed(),
        write_closed: event.is_write_closed(),
        error: event.is_error(),
        priority: event.is_priority(),
    }
}

fn take_signals<S: Service>(signals: Option<&Signals>, engine: &mut Engine<S, Sockets>, ending: &mut Vec<Signal>) {
    while let Some(signal) = signals.and_then(Signals::next) {
        if signal == Signal::SIGUSR1 {
            log::info!("{}", engine.stats());
            continue;
        }
        log::info!("{signal}: {}", if ending.is_empty() { "shutting down" } else { "stopping at once" });
        ending.push(signal);
        engine.drain();
    }
}

fn take_requests<S: Service>(requests: &Receiver<Request>, engine: &mut Engine<S, Sockets>) {
    for request in requests.try_iter() {
        match request {
            Request::Shutdown => engine.drain(),
            Request::Stats(reply) => {
                // Who asked may have gone.
                let _ = reply.send(engine.stats());
            }
        }
    }
}

/// Whether this machine does not have such an address, or such a kind of address.
fn is_missing(error: &io::Error) -> bool {
    let unsupported = error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT);
    unsupported || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// The endpoint at one of its host's addresses.
fn at(endpoint: &Endpoint, address: SocketAddr) -> Endpoint {
    match endpoint.is_datagram() {
        true => Endpoint::Udp(address.into()),
        false => Endpoint::Tcp(address.into()),
    }
}
