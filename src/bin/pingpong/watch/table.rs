//! The table of all sockets that SIGUSR2 shows: what we do with each, and what the kernel says of it.
//!
//! The loop stands still meanwhile, so that it has to be quick with 19,000 connections: the kernel is asked once for all
//! of them, only those that are shown are sorted, and only they are asked for TCP's figures.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::stat::fstat;
use pingpong::service::Service;
use pingpong::{Activity, Address, Reactor, SocketStatus};
use socket2::SockRef;

use super::text::{bytes, grouped, padded, time};
use super::{Figures, KernelState, Protocol, Question, SockDiag};

/// Lines of the table, its heading included.
const LINES: usize = 100;

/// Columns of the table. A peer's address is cut where it would be wider.
const COLUMNS: usize = 100;

/// The least that is left of a peer's address.
const SHORTEST_PEER: usize = 12;

/// What stands where there is nothing to tell: of a listener, in the peer's place, for one.
const NOTHING: &str = "-";

/// One socket of ours.
struct Row<'a> {
    status: SocketStatus<'a>,
    kernel: Option<Told>,
}

/// What the kernel says of it.
#[derive(Clone, Copy, Debug)]
struct Told {
    state: KernelState,
    received: u32,
    sent: u32,
    retrying: u8,
    /// Of an internet socket: where it is found again.
    ends: Option<(Protocol, SocketAddr, SocketAddr)>,
    figures: Option<Figures>,
}

/// The table, and the sum below it. Where the kernel does not answer, its columns are empty and the sum says why.
pub(crate) fn sockets<S: Service>(reactor: &Reactor<S>) -> String {
    let mut rows: Vec<Row<'_>> = reactor.sockets().map(|status| Row { status, kernel: None }).collect();
    let asked = ask(&mut rows);
    let sum = sum(&rows, &asked);
    worst_first(&mut rows);
    rows.truncate(LINES - 1);
    if let Ok(mut kernel) = asked {
        rows.iter_mut().for_each(|row| row.ask_for_figures(&mut kernel));
    }
    render(&rows) + &sum
}

/// Asks the kernel about all of them at once. Returns whom to ask further.
fn ask(rows: &mut [Row<'_>]) -> io::Result<SockDiag> {
    let mut kernel = SockDiag::open()?;
    let mut by_inode = HashMap::with_capacity(rows.len());
    let mut questions = Questions::default();
    for (index, row) in rows.iter().enumerate() {
        by_inode.insert(fstat(row.status.descriptor)?.st_ino as u32, index);
        // A connection has its listener's port.
        if row.status.activity == Activity::Listening || row.status.idle.is_none() {
            questions.note(&row.status)?;
        }
    }
    let mut tell = |inode: u32, told: Told| {
        if let Some(index) = by_inode.get(&inode) {
            rows[*index].kernel = Some(told);
        }
    };
    for question in questions.inet() {
        kernel.each(&question, |socket| {
            let told = Told {
                state: socket.state,
                received: socket.received,
                sent: socket.sent,
                retrying: socket.retrying,
                ends: Some((socket.protocol, socket.local, socket.peer)),
                figures: None,
            };
            tell(socket.inode, told);
        })?;
    }
    if questions.of_unix {
        kernel.each_unix(|socket| {
            let (state, received, sent) = (socket.state, socket.received, socket.sent);
            tell(socket.inode, Told { state, received, sent, retrying: 0, ends: None, figures: None });
        })?;
    }
    Ok(kernel)
}

/// What has to be asked: for each kind of socket the span of the ports at which we serve.
#[derive(Default)]
struct Questions {
    spans: HashMap<(Protocol, bool), (u16, u16)>,
    of_unix: bool,
}

impl Questions {
    fn note(&mut self, status: &SocketStatus<'_>) -> io::Result<()> {
        let Some(address) = SockRef::from(&status.descriptor).local_addr()?.as_socket() else {
            self.of_unix = true;
            return Ok(());
        };
        let protocol = if status.activity == Activity::Listening { Protocol::Tcp } else { Protocol::Udp };
        let port = address.port();
        let (first, last) = self.spans.entry((protocol, address.is_ipv6())).or_insert((port, port));
        (*first, *last) = ((*first).min(port), (*last).max(port));
        Ok(())
    }

    fn inet(&self) -> Vec<Question> {
        let question = |(&(protocol, is_v6), &(first, last)): (&(Protocol, bool), &(u16, u16))| {
            Question::all(protocol, is_v6).local_ports(first..=last).with_owner()
        };
        self.spans.iter().map(question).collect()
    }
}

/// Sent in vain, activity, state out of order, unsent, unread, an answer owed, idle: larger is worse.
type Trouble = (u8, u8, bool, u32, u32, bool, Option<Duration>);

impl Row<'_> {
    /// How much it wants looking at, what matters most first.
    fn trouble(&self) -> Trouble {
        let activity = match self.status.activity {
            Activity::OutputWaits => 4,
            Activity::Lingering => 3,
            Activity::Finishing => 2,
            Activity::Connecting => 1,
            Activity::Listening | Activity::Open | Activity::OwesAnswer => 0,
        };
        let told = self.kernel.as_ref();
        let is_in_order = told.is_none_or(|told| {
            matches!(told.state, KernelState::Established | KernelState::Listen | KernelState::Unconnected)
        });
        // The number beside a listener's queue is its bound.
        let is_listening = self.status.activity == Activity::Listening;
        let (received, sent) = told.map_or((0, 0), |told| (told.received, if is_listening { 0 } else { told.sent }));
        let owes = self.status.activity == Activity::OwesAnswer;
        (told.map_or(0, |told| told.retrying), activity, !is_in_order, sent, received, owes, self.status.idle)
    }

    fn ask_for_figures(&mut self, kernel: &mut SockDiag) {
        let Some(told) = &mut self.kernel else { return };
        if let Some((Protocol::Tcp, local, peer)) = told.ends
            && told.state != KernelState::Listen
            && let Ok(Some(socket)) = kernel.one(Protocol::Tcp, local, Some(peer))
        {
            told.figures = socket.figures;
        }
    }

    fn cells(&self) -> [String; 12] {
        let SocketStatus { descriptor, service, peer, activity, idle } = &self.status;
        let dash = || NOTHING.to_owned();
        let told = self.kernel.as_ref();
        let queue = |of: fn(&Told) -> u32| told.map_or_else(dash, |told| of(told).to_string());
        let figures = told.and_then(|told| told.figures);
        let figure = |show: &dyn Fn(Figures) -> String| figures.map_or_else(dash, show);
        [
            descriptor.as_raw_fd().to_string(),
            (*service).to_owned(),
            peer.as_ref().map_or_else(dash, Address::to_string),
            told.map_or_else(dash, |told| told.state.to_string()),
            queue(|told| told.received),
            queue(|told| told.sent),
            figure(&|figures| bytes(figures.bytes_received)),
            figure(&|figures| bytes(figures.bytes_acked)),
            idle.map_or_else(dash, |idle| time(Duration::from_secs(idle.as_secs()))),
            figure(&|figures| time(figures.rtt)),
            figure(&|figures| figures.retransmits.to_string()),
            match peer {
                Some(_) => state(*activity, service),
                None => format!("{} {}", state(*activity, service), here(&self.status)),
            },
        ]
    }
}

/// The local address of a socket that has no peer.
fn here(status: &SocketStatus<'_>) -> String {
    let Ok(address) = SockRef::from(&status.descriptor).local_addr() else { return "?".to_owned() };
    match address.as_socket() {
        Some(address) => address.to_string(),
        None => Address::Unix(address.as_pathname().map(Into::into)).to_string(),
    }
}

fn state(activity: Activity, service: &str) -> String {
    match activity {
        Activity::Listening => "listening".to_owned(),
        Activity::Connecting => "connecting".to_owned(),
        Activity::Open => "open".to_owned(),
        Activity::OwesAnswer => format!("waiting for {service}'s answer"),
        Activity::OutputWaits => "output waits".to_owned(),
        Activity::Finishing => "finishing".to_owned(),
        Activity::Lingering => "lingering".to_owned(),
    }
}

/// Moves the sockets that are shown to the front, in order. The others stay unsorted.
fn worst_first(rows: &mut [Row<'_>]) {
    let order = |row: &Row<'_>| (Reverse(row.trouble()), row.status.descriptor.as_raw_fd());
    let shown = rows.len().min(LINES - 1);
    if rows.len() > shown {
        rows.select_nth_unstable_by_key(shown, order);
    }
    rows[..shown].sort_unstable_by_key(order);
}

/// The columns, each as wide as its widest cell, the peer's cut to what is left. The last one is not padded; what stands
/// there of a listener may be a long path, and is cut too.
fn render(rows: &[Row<'_>]) -> String {
    const PEER: usize = 2;
    const LAST: usize = 11;
    const TEXTS: [usize; 4] = [1, PEER, 3, LAST];
    let headings =
        ["fd", "service", "peer", "kernel", "Recv-Q", "Send-Q", "in", "out", "idle", "rtt", "retr", "our state"];
    let mut lines = vec![headings.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; LAST + 1];
    for cells in &lines {
        let is_padded = |column: usize| column < LAST || cells[PEER] != NOTHING;
        for (column, cell) in cells.iter().enumerate().filter(|(column, _)| is_padded(*column)) {
            widths[column] = widths[column].max(cell.chars().count());
        }
    }
    let others = widths.iter().sum::<usize>() - widths[PEER] + LAST;
    widths[PEER] = widths[PEER].min(COLUMNS.saturating_sub(others).max(SHORTEST_PEER));
    widths[LAST] = COLUMNS.saturating_sub(widths[..LAST].iter().sum::<usize>() + LAST).max(widths[LAST]);
    let mut table = String::new();
    for cells in &lines {
        let cell = |(column, text): (usize, &String)| padded(text, widths[column], TEXTS.contains(&column));
        let line: Vec<String> = cells.iter().enumerate().map(cell).collect();
        table.push_str(line.join(" ").trim_end());
        table.push('\n');
    }
    table
}

/// How many there are in which state, what is in their queues, and how many are not shown.
fn sum(rows: &[Row<'_>], asked: &io::Result<SockDiag>) -> String {
    let mut states = BTreeMap::<KernelState, usize>::new();
    let (mut received, mut sent) = (0, 0);
    for told in rows.iter().filter_map(|row| row.kernel) {
        *states.entry(told.state).or_default() += 1;
        if told.state != KernelState::Listen {
            received += u64::from(told.received);
            sent += u64::from(told.sent);
        }
    }
    let mut text = format!("{} sockets", grouped(rows.len()));
    for (number, (state, count)) in states.iter().enumerate() {
        let _ = write!(text, "{} {} {state}", if number == 0 { ":" } else { "," }, grouped(*count));
    }
    match asked {
        Ok(_) => {
            let _ = write!(text, "; Recv-Q {}, Send-Q {}", bytes(received), bytes(sent));
        }
        Err(error) => {
            let _ = write!(text, "; the kernel does not tell more: sock_diag(7): {}", pingpong::describe(error));
        }
    }
    if let Some(left @ 1..) = rows.len().checked_sub(LINES - 1) {
        let _ = write!(text, "; {} not shown", grouped(left));
    }
    text + "\n"
}
