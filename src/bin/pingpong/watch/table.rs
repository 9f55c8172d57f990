//! The table of all sockets that SIGUSR2 shows: what we do with each, and what the kernel says of it.
//!
//! The loop stands still meanwhile, so that it has to be quick with 19,000 connections. A dump by sock_diag(7) would walk
//! all sockets of the machine, other programs' and those in TIME-WAIT too, which takes longer the more there are. So
//! TCP_INFO (tcp(7)) tells of each connection whether it is in trouble, those that are to be shown are picked, and
//! sock_diag tells the rest of them alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::stat::fstat;
use pingpong::service::Service;
use pingpong::{Activity, Address, Calls, Reactor, SocketStatus};
use socket2::SockRef;

use super::text::{bytes, grouped, padded, time};
use super::{Figures, KernelState, Protocol, SockDiag, TcpInfo};

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
    /// How often what was sent last has been sent again in vain.
    retrying: u8,
    /// Unacknowledged segments, and bytes that have not been sent at all.
    unsent: (u32, u32),
    figures: Option<Figures>,
    /// Recv-Q and Send-Q: of those that are shown.
    queues: Option<(u32, u32)>,
}

/// The table, and the sum below it. Where the kernel does not answer, columns are empty and the sum says why.
pub(crate) fn sockets<S: Service, C: Calls>(reactor: &Reactor<S, C>) -> String {
    let mut rows: Vec<Row<'_>> = reactor.sockets().map(Row::of).collect();
    let asked = ask_of_unix(&mut rows).and_then(|()| SockDiag::open());
    worst_first(&mut rows);
    let refused = asked
        .and_then(|mut kernel| rows.iter_mut().take(LINES - 1).try_for_each(|row| row.ask_for_queues(&mut kernel)));
    let sum = sum(&rows, refused.err());
    rows.truncate(LINES - 1);
    render(&rows) + &sum
}

/// Unix sockets have no TCP_INFO: all of them are asked for at once, if there are any of ours.
fn ask_of_unix(rows: &mut [Row<'_>]) -> io::Result<()> {
    let mut by_inode = HashMap::new();
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.is_unix()) {
        by_inode.insert(fstat(row.status.descriptor)?.st_ino as u32, index);
    }
    if by_inode.is_empty() {
        return Ok(());
    }
    SockDiag::open()?.each_unix(|socket| {
        if let Some(index) = by_inode.get(&socket.inode) {
            let queues = Some((socket.received, socket.sent));
            rows[*index].kernel =
                Some(Told { state: socket.state, retrying: 0, unsent: (0, 0), figures: None, queues });
        }
    })
}

/// Sent in vain, activity, state out of order, unsent, an answer owed, idle: larger is worse.
type Trouble = (u8, u8, bool, (u32, u32), bool, Option<Duration>);

impl<'a> Row<'a> {
    fn of(status: SocketStatus<'a>) -> Self {
        let is_listening = status.activity == Activity::Listening;
        let kernel = TcpInfo::of(&status.descriptor).map(|info| Told {
            state: info.state(),
            retrying: info.retrying(),
            // Of a listener these are its queue and its bound.
            unsent: if is_listening { (0, 0) } else { info.unsent() },
            figures: (!is_listening).then(|| info.figures()),
            queues: None,
        });
        Self { status, kernel }
    }

    fn is_unix(&self) -> bool {
        match &self.status.peer {
            Some(peer) => matches!(peer, Address::Unix(_)),
            None => SockRef::from(&self.status.descriptor).local_addr().is_ok_and(|address| address.is_unix()),
        }
    }

    /// How much it wants looking at, what matters most first. (Bytes that nobody reads lie only where we do not read:
    /// where an answer is owed, or output waits.)
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
        let (retrying, unsent) = told.map_or((0, (0, 0)), |told| (told.retrying, told.unsent));
        let owes = self.status.activity == Activity::OwesAnswer;
        (retrying, activity, !is_in_order, unsent, owes, self.status.idle)
    }

    /// Has sock_diag tell of this one socket.
    fn ask_for_queues(&mut self, kernel: &mut SockDiag) -> io::Result<()> {
        let SocketStatus { descriptor, peer, activity, idle, .. } = &self.status;
        let Some(local) = SockRef::from(descriptor).local_addr()?.as_socket() else { return Ok(()) };
        let peer = match peer {
            Some(Address::Ip(peer)) => Some(*peer),
            _ => None,
        };
        let is_stream = *activity == Activity::Listening || idle.is_some();
        let protocol = if is_stream { Protocol::Tcp } else { Protocol::Udp };
        // It may have ended a moment ago, by a reset of its peer.
        if let Some(socket) = kernel.one(protocol, local, peer)? {
            self.kernel = Some(Told {
                state: socket.state,
                retrying: socket.retrying,
                unsent: (0, 0),
                figures: socket.figures.filter(|_| *activity != Activity::Listening),
                queues: Some((socket.received, socket.sent)),
            });
        }
        Ok(())
    }

    fn cells(&self) -> [String; 12] {
        let SocketStatus { descriptor, service, peer, activity, idle } = &self.status;
        let dash = || NOTHING.to_owned();
        let told = self.kernel.as_ref();
        let queues = told.and_then(|told| told.queues);
        let figures = told.and_then(|told| told.figures);
        let figure = |show: &dyn Fn(Figures) -> String| figures.map_or_else(dash, show);
        [
            descriptor.as_raw_fd().to_string(),
            (*service).to_owned(),
            peer.as_ref().map_or_else(dash, Address::to_string),
            told.map_or_else(dash, |told| told.state.to_string()),
            queues.map_or_else(dash, |(received, _)| received.to_string()),
            queues.map_or_else(dash, |(_, sent)| sent.to_string()),
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

/// How many there are in which state, how many are not shown, and why columns are empty, if they are.
fn sum(rows: &[Row<'_>], refused: Option<io::Error>) -> String {
    let mut states = BTreeMap::<KernelState, usize>::new();
    for told in rows.iter().filter_map(|row| row.kernel) {
        *states.entry(told.state).or_default() += 1;
    }
    // (A datagram socket's state is known where it is shown.)
    let mut text = format!("{} sockets", grouped(rows.len()));
    for (number, (state, count)) in states.iter().enumerate() {
        let _ = write!(text, "{} {} {state}", if number == 0 { ":" } else { "," }, grouped(*count));
    }
    if let Some(left @ 1..) = rows.len().checked_sub(LINES - 1) {
        let _ = write!(text, "; {} not shown", grouped(left));
    }
    if let Some(error) = refused {
        let _ = write!(text, "; the kernel does not tell more: sock_diag(7): {}", pingpong::describe(&error));
    }
    text + "\n"
}
