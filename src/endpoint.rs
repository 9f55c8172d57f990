//! Where sockets are: an [`Endpoint`] as a user writes it, an [`Address`] as the kernel names it.
//!
//! The endpoint of a TCP or UDP socket may have a range of ports ([`Ports`]): it then stands for a socket at each of
//! them.
//!
//! Parses, resolves and displays them. Opens no socket. `packed` keeps an address in half the room.

mod packed;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub(crate) use packed::PackedAddress;

/// A place to listen at or to connect to.
///
/// ```
/// use pingpong::Endpoint;
///
/// let endpoint: Endpoint = "udp://[::1]:8888".parse()?;
/// assert!(endpoint.is_datagram());
/// assert_eq!(endpoint.to_string(), "udp://[::1]:8888");
/// # Ok::<(), pingpong::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `tcp://HOST:PORT`: see tcp(7).
    Tcp(HostPort),
    /// `udp://HOST:PORT`: see udp(7).
    Udp(HostPort),
    /// `unix://PATH`: a stream socket, see unix(7).
    Unix(PathBuf),
    /// `unixgram://PATH`: a datagram socket, see unix(7).
    UnixGram(PathBuf),
}

/// A host name or address, and a port or a range of ports. Displays as `host:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, or the ports.
    pub ports: Ports,
}

/// One port, or a range of them. Displays as `8888`, or as `7000-7019`.
///
/// ```
/// use pingpong::{Endpoint, Ports};
///
/// let endpoint: Endpoint = "tcp://localhost:7000-7019".parse()?;
/// assert_eq!(endpoint.ports(), Ports::between(7000, 7019));
/// # Ok::<(), pingpong::EndpointError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    /// Not below the first.
    last: u16,
}

/// A text that is no [`Endpoint`]. Displays as one line with the text, what is wrong, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError {
    /// The text, as the user wrote it.
    pub text: String,
    /// What is wrong with it.
    pub problem: EndpointProblem,
}

/// What is wrong with an endpoint as the user wrote it. Displays with the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointProblem {
    /// No `scheme://` at its beginning.
    NoScheme,
    /// A scheme other than tcp, udp, unix and unixgram.
    UnknownScheme,
    /// No `:PORT` at its end.
    NoPort,
    /// A port that is not a number up to 65535.
    BadPort,
    /// A range of ports that ends before it begins, begins with 0, or goes beyond 65535.
    BadRange,
    /// An empty host, or stray brackets.
    BadHost,
    /// An IPv6 address without its brackets.
    BareIpv6,
    /// No path after `unix://` or `unixgram://`.
    NoPath,
    /// Bytes that are not UTF-8, outside of a path.
    NotUtf8,
}

/// The address of a socket, as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// The address of a TCP or UDP socket. On a dual-stack socket an IPv4 peer is `::ffff:a.b.c.d` here (ipv6(7)).
    Ip(SocketAddr),
    /// The path of a Unix socket, if it is bound (unix(7)). An abstract name begins with a NUL byte.
    Unix(Option<Box<Path>>),
}

impl Endpoint {
    /// Whether messages arrive here as datagrams rather than over connections.
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::UnixGram(_))
    }

    /// The address and port, where the host is an address: so is all that [`Reactor::listen`](crate::Reactor::listen)
    /// returns for TCP and UDP. `None` for a name, which has to be looked up ([`addresses`](Self::addresses)), for a
    /// range of ports, and for a Unix socket.
    ///
    /// ```
    /// use pingpong::Endpoint;
    ///
    /// let endpoint: Endpoint = "tcp://[::1]:8888".parse()?;
    /// assert_eq!(endpoint.socket_addr(), Some("[::1]:8888".parse().unwrap()));
    /// # Ok::<(), pingpong::EndpointError>(())
    /// ```
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            // As text, because an IPv6 address may have a scope, which only a SocketAddr's parser reads.
            Self::Tcp(place) | Self::Udp(place) => place.to_string().parse().ok(),
            Self::Unix(_) | Self::UnixGram(_) => None,
        }
    }

    /// The port, or the range of ports; `None` for a Unix socket, which has none.
    pub fn ports(&self) -> Option<Ports> {
        match self {
            Self::Tcp(place) | Self::Udp(place) => Some(place.ports),
            Self::Unix(_) | Self::UnixGram(_) => None,
        }
    }

    /// Looks up every address of this endpoint, in order: those of its host (getaddrinfo(3)), each with all of the
    /// ports; or its path. May block; fails if the host has none.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        match self {
            Self::Tcp(place) | Self::Udp(place) => Ok(place.resolve()?.into_iter().map(Address::Ip).collect()),
            Self::Unix(path) | Self::UnixGram(path) => Ok(vec![Address::Unix(Some(path.as_path().into()))]),
        }
    }
}

impl HostPort {
    /// Looks up every address of the host, in order, each once (getaddrinfo(3); hosts(5) may name one twice), and returns
    /// it with each of the ports. May block; fails if there is none.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let mut hosts: Vec<SocketAddr> = Vec::new();
        for host in (self.host.as_str(), self.ports.first).to_socket_addrs()? {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        let at_ports = |mut host: SocketAddr| {
            self.ports.iter().map(move |port| {
                host.set_port(port);
                host
            })
        };
        Ok(hosts.into_iter().flat_map(at_ports).collect())
    }
}

impl Ports {
    /// The ports from `first` to `last`, both included. `None` if `last` is below `first`, or `first` is 0, which is no
    /// port but lets the kernel pick one.
    pub const fn between(first: u16, last: u16) -> Option<Self> {
        if first == 0 || last < first { None } else { Some(Self { first, last }) }
    }

    /// How many there are: one at least.
    pub const fn count(self) -> usize {
        (self.last - self.first) as usize + 1
    }

    /// The ports, in order.
    pub fn iter(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

/// One port; 0 lets the kernel pick one when listening.
impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl Address {
    /// The IP address; `None` for a Unix socket. An IPv4-mapped IPv6 address is returned as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        // A link-local IPv6 address is of use only with its scope; getaddrinfo(3) reads `%` and the number back.
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self { host, ports: address.port().into() }
    }
}

impl FromStr for HostPort {
    type Err = EndpointProblem;

    fn from_str(text: &str) -> Result<Self, EndpointProblem> {
        // A text that ends in a bracket is an IPv6 address without a port.
        let (host, port) = text.rsplit_once(':').filter(|_| !text.ends_with(']')).ok_or(EndpointProblem::NoPort)?;
        let host = match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
            Some(Some(inner)) => inner,
            Some(None) => return Err(EndpointProblem::BadHost),
            None if host.contains(':') => return Err(EndpointProblem::BareIpv6),
            None => host,
        };
        if host.is_empty() || host.contains(['[', ']', '/']) {
            return Err(EndpointProblem::BadHost);
        }
        Ok(Self { host: host.to_owned(), ports: port.parse()? })
    }
}

impl FromStr for Ports {
    type Err = EndpointProblem;

    fn from_str(text: &str) -> Result<Self, EndpointProblem> {
        let Some((first, last)) = text.split_once('-') else {
            return text.parse::<u16>().map(Self::from).map_err(|_| EndpointProblem::BadPort);
        };
        let bounds = first.parse().ok().zip(last.parse().ok());
        bounds.and_then(|(first, last)| Self::between(first, last)).ok_or(EndpointProblem::BadRange)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        OsStr::new(text).try_into()
    }
}

/// An endpoint as a command line gives it: its path need not be UTF-8.
impl TryFrom<&OsStr> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: &OsStr) -> Result<Self, EndpointError> {
        parse(text.as_bytes()).map_err(|problem| EndpointError { text: text.to_string_lossy().into_owned(), problem })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.ports)
        } else {
            write!(f, "{}:{}", self.host, self.ports)
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => write!(f, "tcp://{place}"),
            Self::Udp(place) => write!(f, "udp://{place}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::UnixGram(path) => write!(f, "unixgram://{}", path.display()),
        }
    }
}

/// `127.0.0.1:40112`, `[::1]:40112`, the escaped path of a Unix socket, or `unix` if it has none.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => match (address.ip().to_canonical(), address) {
                (IpAddr::V4(ip), _) => write!(f, "{ip}:{}", address.port()),
                (IpAddr::V6(_), address) => write!(f, "{address}"),
            },
            Self::Unix(Some(path)) => write!(f, "{}", path.as_os_str().as_encoded_bytes().escape_ascii()),
            Self::Unix(None) => f.write_str("unix"),
        }
    }
}

impl std::error::Error for EndpointError {}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read the endpoint '{}': {}", self.text, self.problem)
    }
}

impl std::error::Error for EndpointProblem {}

impl fmt::Display for EndpointProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "no scheme (write tcp://HOST:PORT, udp://HOST:PORT, unix://PATH or unixgram://PATH)",
            Self::UnknownScheme => "unknown scheme (there are tcp, udp, unix and unixgram)",
            Self::NoPort => "no port (write HOST:PORT; port 0 lets the kernel pick)",
            Self::BadPort => "the port is not a number from 0 to 65535",
            Self::BadRange => "a range of ports goes from a lower to a higher one, 1 to 65535 (write HOST:7000-7019)",
            Self::BadHost => "no host, or one that cannot be read (write HOST:PORT or [IPV6]:PORT)",
            Self::BareIpv6 => "an IPv6 address goes in brackets (write [::1]:8888)",
            Self::NoPath => "no path (write unix:///run/pingpong.sock)",
            Self::NotUtf8 => "only a path may have bytes that are not UTF-8",
        })
    }
}

fn parse(text: &[u8]) -> Result<Endpoint, EndpointProblem> {
    let colon = text.windows(3).position(|window| window == b"://").ok_or(EndpointProblem::NoScheme)?;
    let (scheme, place) = (&text[..colon], &text[colon + 3..]);
    let host = || str::from_utf8(place).map_err(|_| EndpointProblem::NotUtf8)?.parse();
    let path = || if place.is_empty() { Err(EndpointProblem::NoPath) } else { Ok(OsStr::from_bytes(place).into()) };
    match scheme {
        b"tcp" => Ok(Endpoint::Tcp(host()?)),
        b"udp" => Ok(Endpoint::Udp(host()?)),
        b"unix" => Ok(Endpoint::Unix(path()?)),
        b"unixgram" => Ok(Endpoint::UnixGram(path()?)),
        _ => Err(EndpointProblem::UnknownScheme),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(text: &str) -> Endpoint {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_scheme_reads_and_displays_alike() {
        for text in [
            "tcp://127.0.0.1:8888",
            "udp://[::1]:0",
            "tcp://localhost:1",
            "tcp://my-host:7000-7019",
            "udp://[::1]:1-65535",
            "unix:///run/pp.sock",
            "unixgram://a b",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn range_of_ports_is_each_of_them_at_each_address() {
        let addresses = parse("tcp://127.0.0.1:7000-7002").addresses().unwrap();
        let shown: Vec<String> = addresses.iter().map(Address::to_string).collect();
        assert_eq!(shown, ["127.0.0.1:7000", "127.0.0.1:7001", "127.0.0.1:7002"]);
        assert_eq!(parse("udp://[::1]:1-65535").addresses().unwrap().len(), 65_535);
        assert_eq!(parse("tcp://[::1]:7-7"), parse("tcp://[::1]:7"));
        assert_eq!(parse("tcp://127.0.0.1:7000-7002").ports().map(Ports::count), Some(3));
    }

    #[test]
    fn range_of_ports_goes_up() {
        for text in ["7019-7000", "0-7", "0-0", "7000-70000", "7000-", "-7000", "7000-7005-7010", "a-b", "-"] {
            let error = format!("tcp://localhost:{text}").parse::<Endpoint>().unwrap_err();
            assert_eq!(error.problem, EndpointProblem::BadRange, "{text}");
            assert!(error.to_string().contains("HOST:7000-7019"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("127.0.0.1:1", "scheme"),
            ("http://a:1", "scheme"),
            ("tcp://a", "port"),
            ("tcp://a:70000", "port"),
            ("tcp://:1", "host"),
            ("tcp://[::1:1", "host"),
            ("tcp://::1:1", "brackets"),
            ("unix://", "path"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn only_a_path_need_not_be_utf8() {
        let path = OsStr::from_bytes(b"/run/\xff.sock");
        let text = OsStr::from_bytes(b"unix:///run/\xff.sock");
        assert_eq!(Endpoint::try_from(text).unwrap(), Endpoint::Unix(path.into()));
        for (text, problem) in [
            (&b"tcp://\xff:1"[..], EndpointProblem::NotUtf8),
            (b"udp://a:\xff", EndpointProblem::NotUtf8),
            (b"\xff://a:1", EndpointProblem::UnknownScheme),
            (b"\xff", EndpointProblem::NoScheme),
        ] {
            let error = Endpoint::try_from(OsStr::from_bytes(text)).unwrap_err();
            assert_eq!(error.problem, problem, "{error}");
        }
    }

    #[test]
    fn address_that_a_socket_is_bound_to_comes_back_whole() {
        for text in ["127.0.0.1:8888", "[::1]:1", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Endpoint::Tcp(address.into()).socket_addr(), Some(address));
            assert_eq!(Endpoint::Udp(address.into()).socket_addr(), Some(address));
        }
        for text in ["tcp://localhost:1", "tcp://127.0.0.1:1-2", "unix:///run/pp.sock", "unixgram://a"] {
            assert_eq!(parse(text).socket_addr(), None, "{text}");
        }
    }

    #[test]
    fn ipv4_over_a_dual_stack_socket_reads_as_ipv4() {
        let address = Address::Ip("[::ffff:10.1.2.3]:9".parse().unwrap());
        assert_eq!(address.to_string(), "10.1.2.3:9");
        assert_eq!(address.ip(), Some("10.1.2.3".parse().unwrap()));
    }
}
