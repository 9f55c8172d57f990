//! The servers: what each is called, what it is asked, and beside which service of pingpong it is put.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Where else programs are that only root has in its PATH.
const ROOTS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// The header of memcached's datagrams: a request's number, this datagram's, how many there are, and two zeros.
const FRAME: &str = r"\x00\x01\x00\x00\x00\x01\x00\x00";

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(crate) fn scheme(self) -> &'static str {
        if self == Self::Udp { "udp" } else { "tcp" }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// `pingpong serve echo`
    Echo,
    /// `pingpong serve ping`
    Ping,
    Tokio,
    TokioCurrentThread,
    Std,
    Redis,
    Memcached,
    Nginx,
    Haproxy,
    Socat,
    Sockperf,
}

/// Beside whom pingpong is measured.
pub(crate) const PEERS: [Kind; 8] = [
    Kind::Tokio,
    Kind::TokioCurrentThread,
    Kind::Std,
    Kind::Socat,
    Kind::Redis,
    Kind::Memcached,
    Kind::Nginx,
    Kind::Haproxy,
];

/// What `pingpong bench` asks, and which answer is right.
pub(crate) enum Exchange {
    /// 64 bytes, with a number in them.
    Echo,
    /// `--send` and `--expect`.
    Fixed(String, String),
    /// A GET; the answer is learnt once the server is up.
    Http,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "pingpong serve echo",
            Self::Ping => "pingpong serve ping",
            Self::Tokio => "tokio",
            Self::TokioCurrentThread => "tokio, current_thread",
            Self::Std => "std, threads",
            Self::Redis => "redis-server",
            Self::Memcached => "memcached",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Socat => "socat",
            Self::Sockperf => "sockperf server",
        }
    }

    /// The program that has to be installed.
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Self::Echo | Self::Ping | Self::Tokio | Self::TokioCurrentThread | Self::Std => None,
            Self::Sockperf => Some("sockperf"),
            Self::Redis | Self::Memcached | Self::Nginx | Self::Haproxy | Self::Socat => Some(self.name()),
        }
    }

    pub(crate) fn exchange(self, transport: Transport) -> Exchange {
        let fixed = |send: &str, expect: &str| Exchange::Fixed(send.to_owned(), expect.to_owned());
        match (self, transport) {
            (Self::Echo | Self::Tokio | Self::TokioCurrentThread | Self::Std | Self::Socat, _) => Exchange::Echo,
            (Self::Ping, _) => fixed(r"ping\r\n", r"pong\r\n"),
            (Self::Redis, _) => fixed(r"PING\r\n", r"+PONG\r\n"),
            (Self::Memcached, Transport::Tcp) => fixed(r"mn\r\n", r"MN\r\n"),
            (Self::Memcached, Transport::Udp) => fixed(&format!(r"{FRAME}mn\r\n"), &format!(r"{FRAME}MN\r\n")),
            (Self::Nginx | Self::Haproxy, _) => Exchange::Http,
            (Self::Sockperf, _) => fixed(&sockperf_message(3), &sockperf_message(2)),
        }
    }

    /// pingpong's service that does the most similar work.
    pub(crate) fn reference(self) -> Self {
        if let Exchange::Echo = self.exchange(Transport::Tcp) { Self::Echo } else { Self::Ping }
    }

    /// Why it cannot be measured over this transport.
    pub(crate) fn cannot(self, transport: Transport) -> Option<&'static str> {
        match self {
            Self::Redis | Self::Haproxy if transport == Transport::Udp => Some("serves no UDP"),
            Self::Nginx if transport == Transport::Udp => Some("over UDP it only passes on"),
            _ => None,
        }
    }

    /// Whether each connection has a process or a thread of its own.
    pub(crate) fn is_one_for_each(self) -> bool {
        matches!(self, Self::Std | Self::Socat)
    }
}

/// A message of sockperf's, of 64 bytes: its number, flags (1: from the client, 2: an answer is wanted), its length.
fn sockperf_message(flags: u8) -> String {
    let bytes = [0, 0, 0, 0, 0, 0, 0, 5, 0, flags, 0, 0, 0, 64].into_iter().chain([0; 50]);
    bytes.map(|byte: u8| format!("\\x{byte:02x}")).collect()
}

/// Where this program is, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(ROOTS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The name and version of a program: the first word of what it says that looks like a version.
pub(crate) fn version(program: &str) -> String {
    let Some(path) = find(program) else { return format!("{program} not installed") };
    // neper would leave a log in this folder.
    let quiet: &[&str] = if program == "tcp_rr" { &["--nolog"] } else { &[] };
    for option in ["--version", "-V", "-v"] {
        let Ok(output) = Command::new(&path).args(quiet).arg(option).output() else { continue };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut words = text.split(|c: char| c.is_whitespace() || "/=,".contains(c));
        if let Some(version) = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')) {
            return format!("{program} {version}");
        }
    }
    format!("{program} of unknown version")
}
