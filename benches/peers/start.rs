//! Starts a server on a free port of 127.0.0.1.
//!
//! Each has one process and, where it may have several threads, one of them, pinned to one CPU. Nothing is logged or
//! saved, and no limit is in the way. Configuration lies in a temporary folder, which is gone once the server is up.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use common::Result;
use common::child::Child;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;

use crate::family;
use crate::servers::{Exchange, Kind, Transport, find};

/// The binary under measurement.
pub(crate) const PINGPONG: &str = env!("CARGO_BIN_EXE_pingpong");

/// Connections that a server is told it may have, where descriptors suffice.
const MOST: u64 = 19_000;
/// Descriptors that are no connection's.
const RESERVED: u64 = 100;
/// Attempts to find a free port: another process may take it meanwhile.
const ATTEMPTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_millis(10);
const GET: &str = "GET / HTTP/1.1\r\nHost: peers\r\n\r\n";

/// A server that is up.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    endpoint: String,
    /// The options of `pingpong bench` that ask it and know its answer.
    asked: Vec<String>,
}

impl Server {
    /// A fresh one.
    pub(crate) fn start(kind: Kind, transport: Transport, cpu: usize) -> Result<Self> {
        let (child, address) = match kind {
            Kind::Echo => announced(cpu, &pingpong("echo", transport))?,
            Kind::Ping => announced(cpu, &pingpong("ping", transport))?,
            Kind::Tokio => announced(cpu, &words(&["tokio", transport.scheme()]))?,
            Kind::TokioCurrentThread => announced(cpu, &words(&["tokio-current-thread", transport.scheme()]))?,
            Kind::Std => announced(cpu, &words(&["std", transport.scheme()]))?,
            _ => on_free_port(kind, transport, cpu)?,
        };
        let asked = match kind.exchange(transport) {
            Exchange::Echo => words(&["--echo"]),
            Exchange::Fixed(send, expect) => words(&["--send", &send, "--expect", &expect]),
            Exchange::Http => words(&["--send", &escaped(GET.as_bytes()), "--expect", &escaped(&learn(address)?)]),
        };
        Ok(Self { child, address, endpoint: format!("{}://{address}", transport.scheme()), asked })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// The role of a child that loads it with `pingpong bench`.
    pub(crate) fn bench(&self, load: &str) -> Vec<String> {
        let begin = words(&["exec", PINGPONG, "bench", &self.endpoint, "--warmup", "0s", "--json"]);
        [&begin[..], &self.asked, &words(&load.split(' ').collect::<Vec<_>>())].concat()
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn pingpong(service: &str, transport: Transport) -> Vec<String> {
    words(&["exec", PINGPONG, "serve", "-q", &format!("{service}={}://127.0.0.1:0", transport.scheme())])
}

/// A server that says itself where it listens.
fn announced(cpu: usize, role: &[String]) -> Result<(Child, SocketAddr)> {
    let mut child = Child::start(cpu, role)?;
    let address = child.address()?;
    Ok((child, address))
}

fn on_free_port(kind: Kind, transport: Transport, cpu: usize) -> Result<(Child, SocketAddr)> {
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let folder = Folder::create()?;
        let address = free_port()?;
        let mut child = Child::start(cpu, &role(kind, transport, address.port(), &folder)?)?;
        if is_up(&child, transport, address)? {
            return Ok((child, address));
        }
        failure = child.last_words();
    }
    Err(format!("{} does not start: {failure}", kind.name()).into())
}

pub(crate) fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The command line of a server that others have written.
fn role(kind: Kind, transport: Transport, port: u16, folder: &Folder) -> Result<Vec<String>> {
    let most = getrlimit(Resource::RLIMIT_NOFILE)?.0.saturating_sub(RESERVED).min(MOST);
    let path = folder.0.display();
    let line = match (kind, transport) {
        (Kind::Redis, _) => format!(
            "--bind 127.0.0.1 --port {port} --protected-mode no --maxclients {most} --tcp-backlog 4096 --appendonly no --save"
        ),
        (Kind::Memcached, _) => {
            format!("-u root -l 127.0.0.1 -p {port} -U {port} -t 1 -c {most} -b 4096")
        }
        (Kind::Nginx, _) => {
            folder.write("conf", &nginx_conf(&folder.0.display().to_string(), port, most))?;
            format!("-p {path} -c {path}/conf -e stderr")
        }
        (Kind::Haproxy, _) => {
            folder.write("conf", &haproxy_conf(port))?;
            format!("-db -q -f {path}/conf")
        }
        (Kind::Socat, Transport::Tcp) => format!("TCP4-LISTEN:{port},bind=127.0.0.1,fork,backlog=4096,nodelay PIPE"),
        (Kind::Socat, Transport::Udp) => format!("UDP4-RECVFROM:{port},bind=127.0.0.1,fork PIPE"),
        (Kind::Sockperf, _) => format!("server --tcp -i 127.0.0.1 -p {port}"),
        _ => return Err(format!("{} announces itself", kind.name()).into()),
    };
    let program = kind.program().and_then(find).ok_or_else(|| format!("{} is not installed", kind.name()))?;
    let mut role = words(&["exec", &program.display().to_string()]);
    role.extend(line.split(' ').map(str::to_owned));
    if kind == Kind::Redis {
        // Never: what `--save` is given is empty.
        role.push(String::new());
    }
    Ok(role)
}

/// Without a master process. The clock is read at the start only (`timer_resolution`), so that all answers have the same
/// date and can be compared byte by byte.
fn nginx_conf(path: &str, port: u16, most: u64) -> String {
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders: String = folders.map(|name| format!("{name}_temp_path {path}/{name};\n")).concat();
    format!(
        "daemon off; master_process off; pid {path}/pid; error_log stderr crit; timer_resolution 1h;
events {{ worker_connections {most}; }}
http {{
    {folders}
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 \"pong\\n\"; }}
    }}
}}
"
    )
}

/// It finds out by itself how many connections the descriptors allow.
fn haproxy_conf(port: u16) -> String {
    format!(
        "global
    nbthread 1
defaults
    mode http
    timeout connect 1h
    timeout client 1h
    timeout server 1h
frontend pong
    bind 127.0.0.1:{port} backlog 4096
    http-request return status 200 content-type text/plain string pong
"
    )
}

/// Waits until the server answers; false when it has ended.
fn is_up(child: &Child, transport: Transport, address: SocketAddr) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if !family::is_running(child.pid()) {
            return Ok(false);
        }
        if answers(transport, address) {
            return Ok(true);
        }
        thread::sleep(NAP);
    }
    Err(format!("`{}` does not listen within {PATIENCE:?}", child.name()).into())
}

/// Whether somebody listens there. Over UDP only the next call tells that nobody did (ECONNREFUSED).
fn answers(transport: Transport, address: SocketAddr) -> bool {
    if transport == Transport::Tcp {
        return TcpStream::connect(address).is_ok();
    }
    let asked = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.send(b"up?")?;
        socket.send(b"up?")
    });
    asked.is_ok()
}

/// What an HTTP server answers to [`GET`].
fn learn(address: SocketAddr) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(GET.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while !answer.trim_ascii_end().ends_with(b"\r\n\r\npong") {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Err(format!("no answer to a GET but {:?}", String::from_utf8_lossy(&answer)).into());
        }
        answer.extend_from_slice(&chunk[..length]);
    }
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("an answer to a GET that is not 200: {:?}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(answer)
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// A server's configuration. Dropping it removes it.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self> {
        let path = env::temp_dir().join(format!("pingpong-peers-{}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.0.join(name), text)?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}
