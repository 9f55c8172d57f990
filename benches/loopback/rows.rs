//! What is compared: each row's servers, its load, its figure, and its two targets.
//!
//! A bare server only echoes, so it is asked the very same questions as pingpong and its answers are checked as echoes.
//! A load's process is told its row's index, and so finds the row here again.

use std::net::Ipv4Addr;

use crate::load::{Answer, Load, Transport, Window};

/// One line of the table.
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) figure: Figure,
    baseline: Server,
    subject: Server,
    /// A third server, shown beside the two.
    threads: Option<Server>,
    pub(crate) load: Load,
    /// Connections to the subject that stay open and say nothing.
    pub(crate) idle: usize,
    /// What it must reach.
    pub(crate) bar: Option<f64>,
    /// What it should reach.
    pub(crate) aim: Option<f64>,
}

impl Row {
    pub(crate) const BASELINE: usize = 0;
    pub(crate) const SUBJECT: usize = 1;
    pub(crate) const THREADS: usize = 2;

    pub(crate) fn servers(&self) -> Vec<&Server> {
        [&self.baseline, &self.subject].into_iter().chain(&self.threads).collect()
    }
}

/// What a row reads off a window.
pub(crate) enum Figure {
    /// The server's CPU time per request, microseconds.
    Cpu,
    /// Requests per second.
    Rate,
    /// Resident bytes per idle connection. The one figure that is held to its targets itself, not by its ratio.
    Memory,
}

impl Figure {
    pub(crate) fn of(&self, window: &Window) -> f64 {
        match self {
            Self::Cpu => window.cpu_ns as f64 / 1e3 / window.requests as f64,
            Self::Rate => window.requests as f64 / window.seconds,
            Self::Memory => unreachable!("memory is not read off a window"),
        }
    }

    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Cpu => "µs/req",
            Self::Rate => "req/s",
            Self::Memory => "bytes",
        }
    }

    pub(crate) fn less_is_better(&self) -> bool {
        !matches!(self, Self::Rate)
    }
}

/// A server under measurement.
pub(crate) enum Server {
    BareStreams,
    BareDatagrams(Ipv4Addr),
    Threads,
    /// The binary, with these arguments.
    Pingpong(&'static str),
}

impl Server {
    /// What its process is told to be.
    pub(crate) fn role(&self) -> Vec<String> {
        match self {
            Self::BareStreams => vec!["bare-streams".to_owned()],
            Self::BareDatagrams(host) => vec!["bare-datagrams".to_owned(), host.to_string()],
            Self::Threads => vec!["threads".to_owned()],
            Self::Pingpong(arguments) => ["exec", env!("CARGO_BIN_EXE_pingpong")]
                .into_iter()
                .chain(arguments.split_whitespace())
                .map(str::to_owned)
                .collect(),
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        match self {
            Self::Pingpong(arguments) if arguments.contains("ping=") => Answer::Pong,
            _ => Answer::Echo,
        }
    }
}

const ECHO: Server = Server::Pingpong("serve -q echo=tcp://127.0.0.1:0");
const ECHO_SPINNING: Server = Server::Pingpong("serve -q echo=tcp://127.0.0.1:0 --spin 1ms");
const PING: Server = Server::Pingpong("serve -q ping=tcp://127.0.0.1:0");
const PING_LINES: Server = Server::Pingpong("serve -q ping=tcp://127.0.0.1:0 --framing line");
const ECHO_UDP: Server = Server::Pingpong("serve -q echo=udp://127.0.0.1:0");
const PING_UDP: Server = Server::Pingpong("serve -q ping=udp://127.0.0.1:0");
const ECHO_WILDCARD: Server = Server::Pingpong("serve -q echo=udp://0.0.0.0:0");
const PING_WILDCARD: Server = Server::Pingpong("serve -q ping=udp://0.0.0.0:0");

const ECHO_UDP_SINGLY: Server = Server::Pingpong("serve -q echo=udp://127.0.0.1:0 --no-segment");

const WILDCARD: Server = Server::BareDatagrams(Ipv4Addr::UNSPECIFIED);

/// `connections` over TCP, each with `depth` messages of 64 bytes under way.
const fn tcp(connections: usize, depth: usize) -> Load {
    Load { transport: Transport::Tcp, connections, depth, bytes: 64, reconnects: false, in_runs: false }
}

const fn udp(sockets: usize, depth: usize) -> Load {
    Load { transport: Transport::Udp, ..tcp(sockets, depth) }
}

/// pingpong's CPU per request against the bare loop's.
const fn row(work: &'static str, subject: Server, load: Load, bar: f64, aim: f64) -> Row {
    let baseline = match load.transport {
        Transport::Tcp => Server::BareStreams,
        Transport::Udp => Server::BareDatagrams(Ipv4Addr::LOCALHOST),
    };
    let (bar, aim) = (Some(bar), Some(aim));
    Row { work, figure: Figure::Cpu, baseline, subject, threads: None, load, idle: 0, bar, aim }
}

const fn beside_threads(row: Row) -> Row {
    Row { threads: Some(Server::Threads), ..row }
}

/// Beside a bare loop that does not care which address was asked.
const fn on_wildcard(work: &'static str, subject: Server) -> Row {
    Row { baseline: WILDCARD, ..row(work, subject, udp(50, 1), 1.10, 1.00) }
}

pub(crate) const ROWS: &[Row] = &[
    beside_threads(row("echo, 50 connections", ECHO, tcp(50, 1), 1.05, 0.95)),
    beside_threads(row("echo, 1,000 connections", ECHO, tcp(1_000, 1), 1.05, 0.95)),
    row("ping, lines, 50 connections", PING_LINES, tcp(50, 1), 1.08, 1.00),
    row("ping, lines, 1,000 connections", PING_LINES, tcp(1_000, 1), 1.08, 1.00),
    beside_threads(row("echo, 50 connections, 16 outstanding", ECHO, tcp(50, 16), 1.10, 1.00)),
    row("ping, lines, 50 connections, 16 outstanding", PING_LINES, tcp(50, 16), 1.30, 1.15),
    row("echo, 10,000 connections", ECHO, tcp(10_000, 1), 1.10, 1.00),
    Row { figure: Figure::Rate, ..row("echo, 64 KiB messages, 10 connections", ECHO, LARGE, 0.97, 1.00) },
    row("connect, one ping, close; 16 at a time", PING_LINES, CONNECTS, 1.08, 1.00),
    Row {
        baseline: ECHO,
        idle: 10_000,
        ..row("echo, 100 beside 10,000 idle (to: alone)", ECHO, tcp(100, 1), 1.05, 1.00)
    },
    row("UDP echo, 50 sockets", ECHO_UDP, udp(50, 1), 1.08, 1.00),
    row("UDP ping, 50 sockets", PING_UDP, udp(50, 1), 1.08, 1.00),
    row("UDP echo, 50 sockets, 32 outstanding", ECHO_UDP, udp(50, 32), 0.86, 0.80),
    row("UDP ping, 50 sockets, 32 outstanding", PING_UDP, udp(50, 32), 0.86, 0.80),
    row("UDP echo, the same, --no-segment", ECHO_UDP_SINGLY, udp(50, 32), 1.05, 1.00),
    row("UDP echo, the same, asked in runs", ECHO_UDP, IN_RUNS, 0.70, 0.65),
    on_wildcard("UDP echo, 50 sockets, wildcard bind", ECHO_WILDCARD),
    on_wildcard("UDP ping, 50 sockets, wildcard bind", PING_WILDCARD),
    Row {
        figure: Figure::Memory,
        ..row("memory of 10,000 idle connections, each", PING, tcp(10_000, 1), 256.0, 128.0)
    },
    Row {
        baseline: ECHO,
        figure: Figure::Rate,
        aim: None,
        ..row("echo, 1 connection, --spin 1ms (to: without)", ECHO_SPINNING, tcp(1, 1), 2.5, 0.0)
    },
];

const LARGE: Load = Load { bytes: 64 * 1024, ..tcp(10, 1) };
const IN_RUNS: Load = Load { in_runs: true, ..udp(50, 32) };
const CONNECTS: Load = Load { reconnects: true, ..tcp(16, 1) };
