//! The asking side: one thread, one epoll loop, a closed loop: a connection that has its answer asks again.
//!
//! A load's process connects, warms up, says `ready`, and runs one window for every line that it is sent. It compares
//! every byte of every answer. It reads the server's CPU time itself, before the first question and after the last
//! answer: the server sleeps at both moments, so that the kernel's figure is exact, and all work for a request falls
//! into the window that counts it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use common::{Result, measure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

/// Warm-ups: before the first window, and again before each, because other processes had the CPU in between.
const FIRST_WARM_UP: Duration = Duration::from_millis(50);
const WARM_UP: Duration = Duration::from_millis(15);
/// A window lasts at least this long per connection, so that the burst of first questions is a small part of it.
const SHARE: Duration = Duration::from_micros(10);
/// What a server gets to fall asleep in after its last answer.
const NAP: Duration = Duration::from_millis(2);
/// A datagram without an answer for this long counts as lost, and the next question is sent.
const LOST_AFTER: Duration = Duration::from_millis(200);
/// A stream without an answer for this long is stuck: the row fails.
const STUCK_AFTER: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_millis(50);
const EVENTS: usize = 1024;

/// How a row asks.
pub(crate) struct Load {
    pub(crate) transport: Transport,
    pub(crate) connections: usize,
    /// Messages sent as one batch; the next batch goes when all are answered.
    pub(crate) depth: usize,
    pub(crate) bytes: usize,
    /// Closes after each answer and connects anew.
    pub(crate) reconnects: bool,
    /// A batch of datagrams leaves in one call (UDP_SEGMENT).
    pub(crate) in_runs: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// What comes back for `ping …`.
pub(crate) enum Answer {
    Echo,
    Pong,
}

/// What one window brought; one line between the load and the benchmark.
#[derive(Clone, Default)]
pub(crate) struct Window {
    pub(crate) requests: u64,
    /// On-CPU time of all the server's threads.
    pub(crate) cpu_ns: u64,
    pub(crate) seconds: f64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} {}", self.requests, self.cpu_ns, self.seconds, self.wrong, self.lost)
    }
}

impl FromStr for Window {
    type Err = Box<dyn std::error::Error>;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [requests, cpu_ns, seconds, wrong, lost] = words[..] else {
            return Err(format!("not a window: {line:?}").into());
        };
        Ok(Self {
            requests: requests.parse()?,
            cpu_ns: cpu_ns.parse()?,
            seconds: seconds.parse()?,
            wrong: wrong.parse()?,
            lost: lost.parse()?,
        })
    }
}

/// Loads the server with this address and process, in windows of this length; returns when its input ends.
pub(crate) fn run(load: &Load, answer: Answer, target: SocketAddr, pid: Pid, window: Duration) -> Result<()> {
    let batch = Batch::new(load, answer);
    let mut closed_loop = ClosedLoop::connect(load, target, batch)?;
    let window = window.max(SHARE * u32::try_from(load.connections)?);
    closed_loop.run(FIRST_WARM_UP)?;
    println!("ready");
    for line in io::stdin().lines() {
        line?;
        closed_loop.run(WARM_UP)?;
        thread::sleep(NAP);
        let before = measure::cpu_ns(pid)?;
        let mut measured = closed_loop.run(window)?;
        thread::sleep(NAP);
        measured.cpu_ns = measure::cpu_ns(pid)? - before;
        println!("{measured}");
    }
    Ok(())
}

/// Holds connections that say nothing, until its input ends.
pub(crate) fn idle(connections: usize, target: SocketAddr) -> Result<()> {
    let held: Result<Vec<Socket>> = (0..connections).map(|_| connect(Transport::Tcp, target)).collect();
    let _held = held?;
    println!("ready");
    io::stdin().lines().try_for_each(|line| line.map(drop))?;
    Ok(())
}

fn connect(transport: Transport, target: SocketAddr) -> Result<Socket> {
    let kind = if transport == Transport::Tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(target), kind, None)?;
    // Blocking: on loopback the handshake is over before connect(2) returns, whether accepted or not.
    socket.connect(&target.into())?;
    if transport == Transport::Tcp {
        socket.set_tcp_nodelay(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The connections of one load, and the loop that serves them.
struct ClosedLoop {
    transport: Transport,
    depth: u64,
    reconnects: bool,
    /// Bytes of a message, where a batch of datagrams leaves in one call.
    segment: Option<i32>,
    timeout: EpollTimeout,
    target: SocketAddr,
    epoll: Epoll,
    askers: Vec<Asker>,
    batch: Batch,
    /// Larger than a batch's answers, so that one read always empties the socket.
    scratch: Vec<u8>,
}

/// One socket and where its batch stands.
struct Asker {
    socket: Socket,
    round: u32,
    sent: usize,
    received: usize,
    asked: Instant,
    is_waiting: bool,
}

/// What a read of an asker brought.
enum Received {
    Nothing,
    /// Not all of the batch's answers yet.
    Part,
    All,
}

impl ClosedLoop {
    fn connect(load: &Load, target: SocketAddr, batch: Batch) -> Result<Self> {
        let mut closed_loop = Self {
            transport: load.transport,
            depth: load.depth as u64,
            reconnects: load.reconnects,
            segment: load.in_runs.then_some(i32::try_from(load.bytes)?),
            timeout: EpollTimeout::try_from(SWEEP_EVERY)?,
            target,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            askers: Vec::with_capacity(load.connections),
            scratch: vec![0; 2 * batch.answers.len()],
            batch,
        };
        for index in 0..load.connections {
            let socket = closed_loop.open(index)?;
            let asked = Instant::now();
            closed_loop.askers.push(Asker { socket, round: 0, sent: 0, received: 0, asked, is_waiting: false });
        }
        Ok(closed_loop)
    }

    fn open(&self, index: usize) -> Result<Socket> {
        let socket = connect(self.transport, self.target)?;
        if let Some(segment) = self.segment {
            setsockopt(&socket, sockopt::UdpGsoSegment, &segment)?;
        }
        let edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let flags = match self.transport {
            Transport::Tcp => edges | EpollFlags::EPOLLOUT,
            // With EPOLLOUT every datagram that leaves raises an edge.
            Transport::Udp => edges,
        };
        self.epoll.add(&socket, EpollEvent::new(flags, index as u64))?;
        Ok(socket)
    }

    /// Each connection asks again and again until `length` is over; then the last answers are awaited.
    fn run(&mut self, length: Duration) -> Result<Window> {
        let mut window = Window::default();
        let mut events = [EpollEvent::empty(); EVENTS];
        let started = Instant::now();
        let end = started + length;
        let mut now = started;
        let mut swept = started;
        for index in 0..self.askers.len() {
            self.ask(index, now)?;
        }
        while self.askers.iter().any(|asker| asker.is_waiting) {
            let count = self.wait(&mut events)?;
            now = Instant::now();
            for event in &events[..count] {
                let index = event.data() as usize;
                if self.turn(index, event.events(), &mut window)? && now < end {
                    self.ask(index, now)?;
                }
            }
            if now - swept > SWEEP_EVERY {
                swept = now;
                self.sweep(now, end, &mut window)?;
            }
        }
        window.seconds = started.elapsed().as_secs_f64();
        Ok(window)
    }

    fn wait(&self, events: &mut [EpollEvent]) -> Result<usize> {
        match self.epoll.wait(events, self.timeout) {
            Err(Errno::EINTR) => Ok(0),
            other => Ok(other?),
        }
    }

    fn ask(&mut self, index: usize, now: Instant) -> Result<()> {
        let asker = &mut self.askers[index];
        asker.round = asker.round.wrapping_add(1);
        (asker.sent, asker.received, asker.asked, asker.is_waiting) = (0, 0, now, true);
        self.send(index)
    }

    fn send(&mut self, index: usize) -> Result<()> {
        let asker = &mut self.askers[index];
        let is_one_by_one = self.transport == Transport::Udp && self.segment.is_none();
        let most = if is_one_by_one { self.batch.bytes } else { usize::MAX };
        let questions = self.batch.questions(stamp(index, asker.round));
        while asker.sent < questions.len() {
            let end = questions.len().min(asker.sent.saturating_add(most));
            match (&asker.socket).write(&questions[asker.sent..end]) {
                Ok(sent) => asker.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes in what has come; true when that completed a batch.
    fn turn(&mut self, index: usize, ready: EpollFlags, window: &mut Window) -> Result<bool> {
        if self.askers[index].sent < self.batch.questions.len() {
            self.send(index)?;
        }
        if ready == EpollFlags::EPOLLOUT {
            return Ok(false);
        }
        loop {
            match self.receive(index, window)? {
                // One edge may tell of several datagrams.
                Received::Part if self.transport == Transport::Udp && self.depth > 1 => {}
                Received::Part | Received::Nothing => return Ok(false),
                Received::All => return Ok(true),
            }
        }
    }

    fn receive(&mut self, index: usize, window: &mut Window) -> Result<Received> {
        let asker = &mut self.askers[index];
        let length = match (&asker.socket).read(&mut self.scratch) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) => return Err(error.into()),
        };
        let bytes = &self.scratch[..length];
        let stamp = stamp(index, asker.round);
        // Where nothing is waited for any more, the answers of this round are late too.
        let newest_late = if asker.is_waiting { stamp } else { stamp + 1 };
        if self.transport == Transport::Udp && self.batch.is_late(bytes, newest_late) {
            return Ok(Received::Part);
        }
        let answers = self.batch.answers(stamp);
        let expected = answers.get(asker.received..asker.received + length);
        if !asker.is_waiting || length == 0 || expected.is_none() && self.transport == Transport::Tcp {
            return Err(format!("the server closed, or said what nobody asked for ({length} bytes)").into());
        }
        window.wrong += u64::from(expected != Some(bytes));
        asker.received += length;
        if asker.received < answers.len() {
            return Ok(Received::Part);
        }
        asker.is_waiting = false;
        window.requests += self.depth;
        if self.reconnects {
            let socket = self.open(index)?;
            self.askers[index].socket = socket;
        }
        Ok(Received::All)
    }

    /// Gives up questions that have waited too long.
    fn sweep(&mut self, now: Instant, end: Instant, window: &mut Window) -> Result<()> {
        for index in 0..self.askers.len() {
            let asker = &mut self.askers[index];
            let silent = now - asker.asked;
            match self.transport {
                _ if !asker.is_waiting => {}
                Transport::Tcp if silent > STUCK_AFTER => {
                    return Err(format!("no answer in {STUCK_AFTER:?}").into());
                }
                Transport::Udp if silent > LOST_AFTER => {
                    window.lost += self.depth - asker.received as u64 / self.batch.bytes as u64;
                    asker.is_waiting = false;
                    if now < end {
                        self.ask(index, now)?;
                    }
                }
                Transport::Tcp | Transport::Udp => {}
            }
        }
        Ok(())
    }
}

/// The questions that go out together and the answers they must bring: `ping STAMP PADDING` lines.
///
/// All connections share one. Each message is stamped with the connection's number and its round (on a stream only the
/// first), so that an answer which belongs to another connection or to an earlier question is found out.
struct Batch {
    questions: Vec<u8>,
    answers: Vec<u8>,
    /// Of one message.
    bytes: usize,
    /// Messages that are stamped.
    stamped: usize,
}

impl Batch {
    const STAMP: std::ops::Range<usize> = 5..21;

    fn new(load: &Load, answer: Answer) -> Self {
        let mut questions = Vec::with_capacity(load.depth * load.bytes);
        for index in 0..load.depth {
            let padding = (b'a'..=b'z').cycle().skip(index).take(load.bytes - Self::STAMP.end - 1);
            questions.extend_from_slice(b"ping 0000000000000000");
            questions.extend(padding);
            questions.push(b'\n');
        }
        let mut answers = questions.clone();
        if let Answer::Pong = answer {
            answers.chunks_mut(load.bytes).for_each(|message| message[1] = b'o');
        }
        let stamped = if load.transport == Transport::Udp { load.depth } else { 1 };
        Self { questions, answers, bytes: load.bytes, stamped }
    }

    fn questions(&mut self, stamp: u64) -> &[u8] {
        write_stamps(&mut self.questions, self.bytes, self.stamped, stamp);
        &self.questions
    }

    fn answers(&mut self, stamp: u64) -> &[u8] {
        write_stamps(&mut self.answers, self.bytes, self.stamped, stamp);
        &self.answers
    }

    /// Whether this is the right answer to an earlier question of the same connection.
    fn is_late(&mut self, datagram: &[u8], now: u64) -> bool {
        let digits = datagram.get(Self::STAMP).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(then) = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else { return false };
        let bytes = self.bytes;
        then >> 32 == now >> 32 && then < now && self.answers(then).chunks(bytes).any(|answer| answer == datagram)
    }
}

fn stamp(index: usize, round: u32) -> u64 {
    (index as u64) << 32 | u64::from(round)
}

fn write_stamps(messages: &mut [u8], bytes: usize, stamped: usize, stamp: u64) {
    for message in messages.chunks_mut(bytes).take(stamped) {
        write_hex(&mut message[Batch::STAMP], stamp);
    }
}

fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}
