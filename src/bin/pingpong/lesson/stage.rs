//! The stage that a lesson is played on: it tells, shows calls and what the kernel says, checks every state that is
//! spoken of, waits for Enter, and draws the diagram at the end.
//!
//! What the actors do is in `ends`. A lesson calls nothing else.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::Options;
use super::diagram::Diagram;
use super::polls::Watch;
use super::trouble::Trouble;
use crate::watch::{InetSocket, KernelState, Protocol, SockDiag, has_colours};

/// How long a state or an event is waited for: far longer than any takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Columns of the text: a terminal's least.
const COLUMNS: usize = 80;

/// Before what a step shows stands who does it.
const MARGIN: usize = 11;

pub(super) struct Stage {
    options: Options,
    lesson: &'static str,
    pub(super) watch: Watch,
    /// The sockets that no actor has closed, and whose they are: they live until the reader has had the last look.
    pub(super) open: Vec<(&'static str, Rc<Socket>)>,
    kernel: SockDiag,
    pub(super) diagram: Diagram,
    /// The states that have been drawn.
    states: HashMap<(Protocol, SocketAddr, Option<SocketAddr>), &'static str>,
    steps: usize,
    /// A step has begun and something has been shown in it.
    is_under_way: bool,
    /// The ports that ss is to be asked about, until that has been said.
    look: Vec<(Protocol, u16)>,
    /// The kinds of sockets for which it has been said.
    looked: Vec<Protocol>,
    /// The first failure of standard output; from then on nothing is written.
    output: Option<io::Error>,
    shows_colours: bool,
    waits: bool,
}

/// A socket's ends, by which the kernel finds it, also when its descriptor is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) actor: &'static str,
    pub(super) protocol: Protocol,
    pub(super) local: SocketAddr,
    pub(super) peer: Option<SocketAddr>,
}

/// What the kernel is to say of a socket.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    place: Place,
    /// `None`: that it has no such socket (any more).
    state: Option<KernelState>,
    received: RangeInclusive<u32>,
    sent: RangeInclusive<u32>,
}

impl Place {
    pub(super) fn is(self, state: KernelState) -> Expected {
        Expected { place: self, state: Some(state), received: 0..=u32::MAX, sent: 0..=u32::MAX }
    }

    pub(super) fn is_gone(self) -> Expected {
        Expected { state: None, ..self.is(KernelState::Unconnected) }
    }

    /// The other end of the connection.
    pub(super) fn other_end(self, actor: &'static str) -> Self {
        let nobody = SocketAddr::new(self.local.ip(), 0);
        Self { actor, local: self.peer.unwrap_or(nobody), peer: Some(self.local), ..self }
    }
}

impl Expected {
    pub(super) fn received(self, count: u32) -> Self {
        Self { received: count..=count, ..self }
    }

    pub(super) fn sent(self, count: u32) -> Self {
        Self { sent: count..=count, ..self }
    }

    fn is_met(&self, found: Option<&InetSocket>) -> bool {
        match (self.state, found) {
            (None, None) => true,
            (Some(state), Some(socket)) => {
                socket.state == state && self.received.contains(&socket.received) && self.sent.contains(&socket.sent)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(state) = self.state else { return write!(f, "{} gone", self.place.actor) };
        write!(f, "{} {state}", self.place.actor)?;
        for (name, range) in [("Recv-Q", &self.received), ("Send-Q", &self.sent)] {
            if range.start() == range.end() {
                write!(f, ", {name} {}", range.start())?;
            }
        }
        Ok(())
    }
}

impl Stage {
    pub(super) fn new(
        lesson: &'static str,
        actors: &'static [&'static str],
        options: Options,
    ) -> Result<Self, Trouble> {
        let failed = |call| move |source| Trouble::Call { call, source };
        let is_terminal = io::stdout().is_terminal() && !options.mermaid;
        Ok(Self {
            lesson,
            watch: Watch::new().map_err(failed("epoll_create1"))?,
            open: Vec::new(),
            kernel: SockDiag::open().map_err(failed("socket(AF_NETLINK)"))?,
            diagram: Diagram::of(actors),
            states: HashMap::new(),
            steps: 0,
            is_under_way: false,
            look: Vec::new(),
            looked: Vec::new(),
            output: None,
            shows_colours: has_colours(is_terminal),
            waits: is_terminal && io::stdin().is_terminal() && !options.no_wait,
            options,
        })
    }

    pub(super) fn is_v6(&self) -> bool {
        self.options.is_v6
    }

    pub(super) fn loopback(&self) -> IpAddr {
        if self.is_v6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
    }

    /// The lesson's name, and what it is about.
    pub(super) fn begin(&mut self, text: &str) {
        let title = self.styled(BOLD, self.lesson);
        self.write(&format!("{title}\n\n"));
        self.say(text);
    }

    /// A new step: first the reader has time for the one before.
    pub(super) fn step(&mut self, title: &str) {
        self.pause();
        self.steps += 1;
        let title = self.styled(BOLD, &format!("{}. {title}", self.steps));
        self.write(&format!("\n{title}\n"));
        self.is_under_way = false;
    }

    /// A paragraph.
    pub(super) fn say(&mut self, text: &str) {
        if self.is_under_way {
            self.write("\n");
            self.is_under_way = false;
        }
        let mut line = String::from(" ");
        for word in text.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > COLUMNS {
                self.write(&format!("{line}\n"));
                line = String::from(" ");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.write(&format!("{line}\n"));
    }

    /// A line of what is shown, and who or what it is of.
    pub(super) fn show(&mut self, who: &str, what: &str) {
        if !self.is_under_way {
            self.write("\n");
            self.is_under_way = true;
        }
        let who = self.styled(CYAN, &format!("{who:<width$}", width = MARGIN - 2));
        self.write(&format!("  {who}{what}\n"));
    }

    /// A call, as strace writes it, shortened; the diagram has it without its arguments.
    pub(super) fn called(&mut self, actor: &'static str, call: &str) {
        // An error's name says enough where its text has no room.
        let is_long = MARGIN + call.chars().count() > COLUMNS;
        let shown = if is_long { call.split_once(" (").map_or(call, |(call, _)| call) } else { call };
        self.show(actor, shown);
        self.diagram.does(actor, short(call));
    }

    /// A segment or a datagram that goes from one end to the other.
    pub(super) fn goes(&mut self, from: &'static str, to: &'static str, what: &str) {
        self.show("wire", &format!("{what}: {from} -> {to}"));
        self.diagram.goes(from, to, what, false);
    }

    /// One that nobody takes.
    pub(super) fn is_lost(&mut self, from: &'static str, to: &'static str, what: &str) {
        self.show("wire", &format!("{what}: {from} -> nobody (no room at {to})"));
        self.diagram.goes(from, to, what, true);
    }

    /// Asks the kernel, and shows what it says as ss does. It is an error if that stays otherwise than expected.
    pub(super) fn shows<const N: usize>(
        &mut self,
        expected: [Expected; N],
    ) -> Result<[Option<InetSocket>; N], Trouble> {
        self.shows_once("", expected, |_| true)
    }

    /// The same, where it is so this very moment: for what soon passes by itself. Nothing is shown where it is not so.
    pub(super) fn shows_now<const N: usize>(&mut self, expected: [Expected; N]) -> Result<bool, Trouble> {
        match self.shows_within(Duration::ZERO, "", expected, |_| true) {
            Ok(_) => Ok(true),
            Err(Trouble::Otherwise { .. }) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// The same, once this is so of what it says, too.
    pub(super) fn shows_once<const N: usize>(
        &mut self,
        what: &str,
        expected: [Expected; N],
        is_so: impl Fn(&[Option<InetSocket>; N]) -> bool,
    ) -> Result<[Option<InetSocket>; N], Trouble> {
        self.shows_within(PATIENCE, what, expected, is_so)
    }

    fn shows_within<const N: usize>(
        &mut self,
        patience: Duration,
        what: &str,
        expected: [Expected; N],
        is_so: impl Fn(&[Option<InetSocket>; N]) -> bool,
    ) -> Result<[Option<InetSocket>; N], Trouble> {
        let deadline = Instant::now() + patience;
        let found = loop {
            let mut found = [const { None }; N];
            for (found, Expected { place, .. }) in found.iter_mut().zip(&expected) {
                let asked = self.kernel.one(place.protocol, place.local, place.peer);
                *found = asked.map_err(|source| Trouble::Call { call: "sock_diag(7)", source })?;
            }
            if expected.iter().zip(&found).all(|(expected, found)| expected.is_met(found.as_ref())) && is_so(&found) {
                break found;
            }
            if Instant::now() >= deadline {
                let mut expected: Vec<String> = expected.iter().map(Expected::to_string).collect();
                expected.extend((!what.is_empty()).then(|| what.to_owned()));
                let expected = expected.join("; ");
                let told = found.iter().map(|found| match found {
                    Some(socket) => format!("{}, Recv-Q {}, Send-Q {}", socket.state, socket.received, socket.sent),
                    None => "no socket".to_owned(),
                });
                return Err(Trouble::Otherwise { expected, found: told.collect::<Vec<_>>().join("; ") });
            }
            // The other end's kernel may be a moment behind.
            std::thread::sleep(Duration::from_millis(1));
        };
        self.show("kernel", &row(["State", "Recv-Q", "Send-Q", "Local", "Peer", ""]));
        for (Expected { place, .. }, socket) in expected.iter().zip(&found) {
            self.row(*place, socket.as_ref());
        }
        self.hint();
        Ok(found)
    }

    fn row(&mut self, place: Place, socket: Option<&InetSocket>) {
        let whose = format!("({})", place.actor);
        let (local, peer) =
            (place.local.to_string(), place.peer.map_or_else(|| "*".to_owned(), |peer| peer.to_string()));
        let text = match socket {
            Some(socket) => {
                let (received, sent) = (socket.received.to_string(), socket.sent.to_string());
                self.draw(place, socket.state.name());
                row([socket.state.name(), &received, &sent, &local, &peer, &whose])
            }
            None => {
                self.draw(place, "gone");
                row(["(none)", "", "", &local, &peer, &whose])
            }
        };
        self.show("", &text);
    }

    /// Draws a state when it has changed.
    fn draw(&mut self, place: Place, state: &'static str) {
        if self.states.insert((place.protocol, place.local, place.peer), state) != Some(state) {
            self.diagram.is(place.actor, state);
        }
    }

    /// Whether this is so; if not, the lesson does not go on.
    pub(super) fn holds(&self, is_so: bool, expected: &str, found: impl fmt::Display) -> Result<(), Trouble> {
        if is_so {
            return Ok(());
        }
        Err(Trouble::Otherwise { expected: expected.to_owned(), found: found.to_string() })
    }

    /// Where to look for oneself, from the next look of ours on.
    pub(super) fn will_hint(&mut self, protocol: Protocol, port: u16) {
        if !self.looked.contains(&protocol) {
            self.look.push((protocol, port));
        }
    }

    fn hint(&mut self) {
        let look = std::mem::take(&mut self.look);
        let Some(&(protocol, first)) = look.first() else { return };
        self.looked.push(protocol);
        let (sockets, filter) = match protocol {
            Protocol::Tcp => ("-tan", format!("sport = :{first} or dport = :{first}")),
            Protocol::Udp => {
                let own: Vec<String> = look.iter().map(|(_, port)| format!("sport = :{port}")).collect();
                ("-uan", own.join(" or "))
            }
        };
        let (intro, strace) = if self.waits {
            ("Look for yourself, in a second terminal:", format!("strace -p {}", std::process::id()))
        } else {
            let strace = format!("strace -e trace=network pingpong lesson {} --no-wait", self.lesson);
            ("To look for yourself (on a terminal the lesson waits for you here):", strace)
        };
        self.say(intro);
        self.write(&format!("    ss {sockets} '( {filter} )'\n    {strace}\n"));
    }

    /// Waits for Enter, where there is somebody to press it.
    fn pause(&mut self) {
        if !self.waits || self.steps == 0 {
            return;
        }
        let prompt = self.styled(DIM, "(Enter goes on, Ctrl-C ends)");
        self.write(&format!("\n  {prompt} "));
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => {
                self.waits = false;
                self.write("\n");
            }
            Ok(_) => {}
        }
    }

    /// Says which descriptors no actor has closed.
    fn say_what_is_open(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let open: Vec<String> =
            self.open.iter().map(|(actor, socket)| format!("{} ({actor})", socket.as_raw_fd())).collect();
        self.say(&format!("What is still open is closed when the lesson ends: {}.", open.join(", ")));
    }

    /// The diagram, and how it went with standard output. The sockets are closed after that.
    pub(super) fn end(mut self) -> Result<(), Trouble> {
        self.is_under_way = true;
        self.say_what_is_open();
        self.pause();
        if self.options.mermaid {
            self.options.mermaid = false;
            let mermaid = self.diagram.mermaid();
            self.write(&mermaid);
        } else {
            let title = self.styled(BOLD, "All of it, from top to bottom");
            self.write(&format!("\n{title}\n\n"));
            let text = self.diagram.text();
            self.write(&text);
        }
        match self.output {
            None => Ok(()),
            // Whoever closed the pipe has seen enough.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Some(error) => Err(Trouble::Output(error)),
        }
    }

    /// Where only the diagram is asked for, nothing else is written.
    fn write(&mut self, text: &str) {
        if self.options.mermaid || self.output.is_some() {
            return;
        }
        let mut out = io::stdout().lock();
        self.output = out.write_all(text.as_bytes()).and_then(|()| out.flush()).err();
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.shows_colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const CYAN: &str = "36";

/// ss's columns.
fn row([state, received, sent, local, peer, whose]: [&str; 6]) -> String {
    format!("{state:<10} {received:>7} {sent:>7} {local:<15} {peer:<15} {whose}").trim_end().to_owned()
}

/// `sendto(6, "hello", 5) = 5` as `sendto(6) = 5`, which has room in a diagram.
fn short(call: &str) -> String {
    let (Some((name, rest)), Some((_, result))) = (call.split_once('('), call.rsplit_once(" = ")) else {
        return call.to_owned();
    };
    let descriptor = rest.split([',', ')']).next().filter(|word| word.parse::<u32>().is_ok()).unwrap_or_default();
    // What the error means is for the text.
    let result = result.split(" (").next().unwrap_or(result);
    format!("{name}({descriptor}) = {result}")
}
