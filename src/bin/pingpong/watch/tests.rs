//! Each state, made on loopback and asked for at the same moment through sock_diag and of ss(8).

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::stat::fstat;
use socket2::{Domain, Socket, Type};

use super::sock_diag::Question;
use super::*;
use KernelState::{CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynSent, TimeWait, Unconnected};

/// Whether this command is there. Without it a test is skipped, or fails where `PINGPONG_REQUIRE_TOOLS=1`.
#[track_caller]
fn tool(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    if !is_there {
        let is_required = std::env::var_os("PINGPONG_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!is_required, "this test needs {name}");
        let _ = writeln!(std::io::stderr(), "skipped: this test needs {name}");
    }
    is_there
}

/// A socket as ss shows it: state, queues, both ends.
type Row = (String, u32, u32, String, String);

fn ss(options: &str, port: u16) -> Vec<Row> {
    let filter = format!("( sport = :{port} or dport = :{port} )");
    let output = Command::new("ss").args([options, &filter]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse().unwrap();
        (words[0].to_owned(), number(words[1]), number(words[2]), words[3].to_owned(), words[4].to_owned())
    };
    let mut rows: Vec<Row> = String::from_utf8(output.stdout).unwrap().lines().map(row).collect();
    rows.sort();
    rows
}

fn row(socket: &InetSocket) -> Row {
    let end = |address: SocketAddr| if address.port() == 0 { wild(address) } else { address.to_string() };
    (socket.state.to_string(), socket.received, socket.sent, socket.local.to_string(), end(socket.peer))
}

fn wild(address: SocketAddr) -> String {
    if address.is_ipv6() { "[::]:*".to_owned() } else { "0.0.0.0:*".to_owned() }
}

/// All sockets with this port at either end, dumped.
fn dumped(protocol: Protocol, is_v6: bool, port: u16) -> Vec<Row> {
    let mut kernel = SockDiag::open().unwrap();
    let mut rows = Vec::new();
    kernel.each(&Question::all(protocol, is_v6).local_ports(port..=port), |socket| rows.push(row(&socket))).unwrap();
    kernel.each(&Question::all(protocol, is_v6).remote_ports(port..=port), |socket| rows.push(row(&socket))).unwrap();
    rows.sort();
    rows
}

/// Two ends of a connection, and the listener that it came by.
struct Pair {
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

const HOSTS: [std::net::IpAddr; 2] =
    [std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), std::net::IpAddr::V6(Ipv6Addr::LOCALHOST)];

impl Pair {
    fn new(host: std::net::IpAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        Self { listener, client, server }
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.listener.local_addr().unwrap(), self.client.local_addr().unwrap())
    }
}

/// Writes until the kernel takes no more, far more than the receiver's has room for: what follows waits behind it.
fn fill(stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = stream.write(&[0; 1 << 16]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
}

/// Asserts that the ends are in these states (`None`: gone), and that a look-up, a dump and ss agree. Ends need a moment
/// to hear of each other.
#[track_caller]
fn are((server, client): (SocketAddr, SocketAddr), expected: (Option<KernelState>, Option<KernelState>)) {
    let mut kernel = SockDiag::open().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut ask = |local, peer| kernel.one(Protocol::Tcp, local, Some(peer)).unwrap();
        let (at_server, at_client) = (ask(server, client), ask(client, server));
        let dumped = dumped(Protocol::Tcp, server.is_ipv6(), server.port());
        let shown = ss("-tanH", server.port());
        let mut found: Vec<Row> = [&at_server, &at_client].into_iter().flatten().map(row).collect();
        found.extend(kernel.one(Protocol::Tcp, server, None).unwrap().as_ref().map(row));
        found.sort();
        let states = (at_server.map(|socket| socket.state), at_client.map(|socket| socket.state));
        if states == expected && dumped == shown && found == shown {
            return;
        }
        assert!(Instant::now() < deadline, "{states:?}, not {expected:?}\n{found:#?}\n{dumped:#?}\n{shown:#?}");
    }
}

#[test]
fn a_conversation_from_listen_to_time_wait() {
    if !tool("ss") {
        return;
    }
    for host in HOSTS {
        let Pair { listener, client, mut server } = Pair::new(host);
        let ends = (listener.local_addr().unwrap(), client.local_addr().unwrap());
        let mut kernel = SockDiag::open().unwrap();
        let listening = kernel.one(Protocol::Tcp, ends.0, None).unwrap().unwrap();
        assert_eq!((listening.state, listening.received), (Listen, 0));
        are(ends, (Some(Established), Some(Established)));
        server.write_all(b"hello").unwrap();
        are(ends, (Some(Established), Some(Established)));
        (&client).read_exact(&mut [0; 5]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        are(ends, (Some(CloseWait), Some(FinWait2)));
        drop(server);
        are(ends, (None, Some(TimeWait)));
    }
}

#[test]
fn a_fin_behind_bytes_that_nobody_reads_waits_in_fin_wait_1_or_last_ack() {
    if !tool("ss") {
        return;
    }
    for host in HOSTS {
        let mut pair = Pair::new(host);
        let ends = pair.ends();
        fill(&mut pair.server);
        drop(pair.server);
        are(ends, (Some(FinWait1), Some(Established)));

        let mut pair = Pair::new(host);
        let ends = pair.ends();
        pair.client.shutdown(Shutdown::Write).unwrap();
        are(ends, (Some(CloseWait), Some(FinWait2)));
        fill(&mut pair.server);
        drop(pair.server);
        are(ends, (Some(LastAck), Some(FinWait2)));
    }
}

#[test]
fn a_connection_that_a_full_backlog_leaves_out_is_in_syn_sent() {
    if !tool("ss") {
        return;
    }
    for host in HOSTS {
        let domain = if host.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = |domain| Socket::new(domain, Type::STREAM, None).unwrap();
        let listener = socket(domain);
        listener.bind(&SocketAddr::new(host, 0).into()).unwrap();
        listener.listen(0).unwrap();
        let place = listener.local_addr().unwrap();
        // Linux takes one more than asked.
        let _first = TcpStream::connect(place.as_socket().unwrap()).unwrap();
        let late = socket(domain);
        late.set_nonblocking(true).unwrap();
        assert!(late.connect(&place).is_err_and(|error| error.raw_os_error() == Some(nix::libc::EINPROGRESS)));
        let ends = (place.as_socket().unwrap(), late.local_addr().unwrap().as_socket().unwrap());
        let mut kernel = SockDiag::open().unwrap();
        let waits = kernel.one(Protocol::Tcp, ends.1, Some(ends.0)).unwrap().unwrap();
        assert_eq!(waits.state, SynSent);
        let shown = ss("-tanH", ends.0.port());
        assert!(shown.contains(&row(&waits)), "{shown:#?}");
        assert_eq!(dumped(Protocol::Tcp, host.is_ipv6(), ends.0.port()), shown);
        assert_eq!(kernel.one(Protocol::Tcp, ends.0, Some(ends.1)).unwrap(), None, "not the listener in its place");
        let listening = kernel.one(Protocol::Tcp, ends.0, None).unwrap().unwrap();
        assert_eq!((listening.received, listening.sent), (1, 0), "one waits, none may");
    }
}

#[test]
fn a_datagram_socket_is_unconnected_until_it_connects() {
    if !tool("ss") {
        return;
    }
    for host in HOSTS {
        let one = UdpSocket::bind((host, 0)).unwrap();
        let other = UdpSocket::bind((host, 0)).unwrap();
        let (place, other_place) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        other.send_to(b"hello", place).unwrap();
        let mut kernel = SockDiag::open().unwrap();
        let socket = kernel.one(Protocol::Udp, place, None).unwrap().unwrap();
        assert_eq!(socket.state, Unconnected);
        assert!(socket.received > 5, "the kernel counts the memory that they take");
        assert_eq!(ss("-uanH", place.port()), [row(&socket)]);
        assert_eq!(dumped(Protocol::Udp, host.is_ipv6(), place.port()), [row(&socket)]);
        one.connect(other_place).unwrap();
        let socket = kernel.one(Protocol::Udp, place, Some(other_place)).unwrap().unwrap();
        assert_eq!(socket.state, Established);
        assert_eq!(kernel.one(Protocol::Udp, place, None).unwrap(), None, "it is connected now");
    }
}

#[test]
fn figures_are_those_of_ss() {
    if !tool("ss") {
        return;
    }
    let mut pair = Pair::new(HOSTS[0]);
    let (place, client) = pair.ends();
    for _ in 0..10 {
        pair.client.write_all(b"ping").unwrap();
        pair.server.read_exact(&mut [0; 4]).unwrap();
        pair.server.write_all(b"pong!").unwrap();
        pair.client.read_exact(&mut [0; 5]).unwrap();
    }
    let mut kernel = SockDiag::open().unwrap();
    let mut seen = Vec::new();
    let question = Question::all(Protocol::Tcp, false).remote_ports(place.port()..=place.port()).with_figures();
    kernel.each(&question, |socket| seen.push(socket)).unwrap();
    assert_eq!(kernel.one(Protocol::Tcp, client, Some(place)).unwrap().as_ref(), Some(&seen[0]));
    let figures = seen[0].figures.unwrap();
    // The connect's SYN counts as a byte.
    assert_eq!((figures.bytes_acked, figures.bytes_received, figures.retransmits), (41, 50, 0));
    let filter = format!("( dport = :{} )", place.port());
    let output = Command::new("ss").args(["-tinH", &filter]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let ms = |time: Duration| (time.as_micros() as f64 / 1e3).to_string();
    for word in [
        format!("rtt:{}/", ms(figures.rtt)),
        format!("minrtt:{}", ms(figures.min_rtt)),
        format!("cwnd:{}", figures.window),
        format!("bytes_acked:{}", figures.bytes_acked),
        format!("bytes_received:{}", figures.bytes_received),
    ] {
        assert!(text.split_whitespace().any(|shown| shown.starts_with(&word)), "{word}: {text}");
    }
}

#[test]
fn unix_sockets_are_told_by_their_inode() {
    let folder = std::env::temp_dir().join(format!("pingpong-watch-{}", std::process::id()));
    let listener = UnixListener::bind(&folder).unwrap();
    let mut client = UnixStream::connect(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    let mut kernel = SockDiag::open().unwrap();
    let inode = |socket: &dyn std::os::fd::AsFd| fstat(socket.as_fd()).unwrap().st_ino as u32;
    let listening = kernel.one_unix(inode(&listener)).unwrap().unwrap();
    assert_eq!((listening.state, listening.received), (Listen, 1));
    let (server, _) = listener.accept().unwrap();
    client.write_all(b"hello").unwrap();
    let told = kernel.one_unix(inode(&server)).unwrap().unwrap();
    assert_eq!((told.state, told.received, told.peer), (Established, 5, Some(inode(&client))));
    let gram = UnixDatagram::unbound().unwrap();
    assert_eq!(kernel.one_unix(inode(&gram)).unwrap().unwrap().state, Unconnected);
    let mut all = Vec::new();
    kernel.each_unix(|socket| all.push(socket)).unwrap();
    assert!(all.contains(&told) && all.contains(&kernel.one_unix(inode(&gram)).unwrap().unwrap()));
    let gone = inode(&gram);
    drop(gram);
    assert_eq!(kernel.one_unix(gone).unwrap(), None);
}
