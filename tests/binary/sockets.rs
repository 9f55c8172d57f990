//! SIGUSR2's table of sockets, held to ss(8) in the same moment.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::process::Command;

use nix::sys::signal::Signal;

use super::support::{Client, Folder, Server, Strace, eventually, tool};

/// A line of the table: the cells before the state, by their headings, and the state.
struct Line {
    cells: HashMap<&'static str, String>,
    state: String,
}

const HEADINGS: [&str; 11] =
    ["fd", "service", "peer", "kernel", "Recv-Q", "Send-Q", "in", "out", "idle", "rtt", "retr"];

/// The table, shown anew, with the heading and the sum.
#[track_caller]
fn shown(server: &Server) -> Vec<String> {
    let from = server.stderr().len();
    server.signal(Signal::SIGUSR2);
    eventually("the table", || {
        let lines = server.stderr().split_off(from);
        lines.last().is_some_and(|line| line.contains(" sockets")).then_some(lines)
    })
}

#[track_caller]
fn table(server: &Server) -> Vec<Line> {
    let shown = shown(server);
    assert!(shown[0].split_whitespace().take(11).eq(HEADINGS), "{}", shown[0]);
    assert!(shown.iter().all(|line| line.chars().count() <= 100), "{shown:#?}");
    let line = |line: &String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let cells = HEADINGS.into_iter().zip(words.iter().map(|&word| word.to_owned())).collect();
        Line { cells, state: words[11..].join(" ") }
    };
    shown[1..shown.len() - 1].iter().map(line).collect()
}

impl Line {
    fn is_of(&self, client: &Client) -> bool {
        // A long table cuts an address at its beginning.
        let name = client.name();
        let peer = self.cells["peer"].trim_start_matches('…');
        name.ends_with(peer) && peer.contains(':')
    }
}

/// The line of a client, once its state is this, and so the kernel's.
#[track_caller]
fn line_in_state(server: &Server, client: &Client, state: &str, kernel: &str) -> Line {
    let is_so = |line: &Line| line.is_of(client) && line.state == state && line.cells["kernel"] == kernel;
    eventually(state, || table(server).into_iter().find(is_so))
}

/// What ss says of the server's end of a connection: the words of both its lines.
#[track_caller]
fn ss(server: u16, client: &Client) -> Vec<String> {
    let client = client.socket().local_addr().unwrap().as_socket().unwrap().port();
    let filter = format!("( sport = :{server} and dport = :{client} )");
    let output = Command::new("ss").args(["-tinH", &filter]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

/// A number of ss's figures; 0 where it leaves it out.
fn figure(words: &[String], name: &str) -> String {
    let value = words.iter().find_map(|word| word.strip_prefix(name));
    value.map_or("0", |value| value.split('/').next_back().unwrap()).to_owned()
}

/// A round trip as the table shows it.
fn rtt(words: &[String]) -> String {
    let value = words.iter().find_map(|word| word.strip_prefix("rtt:")).unwrap();
    let ms: f64 = value.split('/').next().unwrap().parse().unwrap();
    match (ms * 1000.0).round() as u64 {
        micros @ 0..1000 => format!("{micros}µs"),
        micros @ 1000..100_000 => format!("{:.1}ms", micros as f64 / 1000.0),
        micros => format!("{}ms", micros / 1000),
    }
}

#[track_caller]
fn is_as_ss_says(line: &Line, port: u16, client: &Client) {
    let words = ss(port, client);
    let cells = ["kernel", "Recv-Q", "Send-Q", "in", "out", "retr", "rtt"].map(|name| line.cells[name].clone());
    let figures = [
        words[0].clone(),
        words[1].clone(),
        words[2].clone(),
        figure(&words, "bytes_received:"),
        figure(&words, "bytes_acked:"),
        figure(&words, "retrans:"),
        rtt(&words),
    ];
    assert_eq!(cells, figures, "{words:?}");
}

#[test]
fn a_line_has_our_state_and_what_ss_says() {
    if !tool("ss") {
        return;
    }
    let server = Server::start("hello=tcp://127.0.0.1:0 ping=tcp://[::]:0 ping=udp://127.0.0.1:0 --delay 30s");
    let (hello, ping) = (server.tcp("hello").port(), server.tcp("ping").port());
    let mut open = Client::tcp(([127, 0, 0, 1], ping).into());
    open.ask("ping 1\nping 2\n", "pong 1\npong 2\n");
    let mut owed = server.dial("hello");
    owed.say("Michael\nTracy\n");
    owed.hears("Welcome!");
    let mut left = server.dial("hello");
    left.ask("exit", "Welcome!");
    left.hears_end();
    let mut ended = server.dial("hello");
    ended.say("Sarah\n");
    ended.hears("Welcome!");
    ended.finish();
    for (client, port, state, kernel) in [
        (&open, ping, "open", "ESTAB"),
        (&owed, hello, "waiting for hello's answer", "ESTAB"),
        (&left, hello, "lingering", "FIN-WAIT-2"),
        (&ended, hello, "waiting for hello's answer", "CLOSE-WAIT"),
    ] {
        let line = line_in_state(&server, client, state, kernel);
        is_as_ss_says(&line, port, client);
    }
    let lines = table(&server);
    let listens = lines.iter().find(|line| line.state == format!("listening 127.0.0.1:{hello}")).unwrap();
    assert_eq!((&*listens.cells["kernel"], &*listens.cells["Send-Q"]), ("LISTEN", "4096"));
    let udp = server.udp("ping");
    let datagrams = lines.iter().find(|line| line.state == format!("open {udp}")).unwrap();
    assert_eq!(datagrams.cells["kernel"], "UNCONN");
    // What is being closed comes before what is in order.
    let order = |client: &Client| lines.iter().position(|line| line.is_of(client)).unwrap();
    assert!(order(&left) < order(&owed) && order(&owed) < order(&open));
}

#[test]
fn output_that_waits_is_shown_first_with_what_fills_the_kernels_queue() {
    if !tool("ss") {
        return;
    }
    let server = Server::start("ping=tcp://127.0.0.1:0 --framing line");
    let port = server.tcp("ping").port();
    let mut fine = server.dial("ping");
    fine.ask("ping\n", "pong\n");
    let deaf = server.dial("ping");
    deaf.socket().set_nonblocking(true).unwrap();
    let questions = "\n".repeat(1 << 16);
    let line = eventually("output waits", || {
        match deaf.socket().try_clone().unwrap().write(questions.as_bytes()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let first = table(&server).swap_remove(0);
        (first.is_of(&deaf) && first.state == "output waits").then_some(first)
    });
    assert!(line.cells["Send-Q"].parse::<u64>().unwrap() > 0, "{:?}", line.cells);
    assert_eq!(line.cells["Send-Q"], ss(port, &deaf)[2]);
}

#[test]
fn a_hundred_lines_and_the_sum_are_all() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let mut clients: Vec<Client> = (0..150).map(|_| server.dial("ping")).collect();
    clients.iter_mut().for_each(|client| client.ask("ping", "pong"));
    let lines = shown(&server);
    assert_eq!(lines.len(), 101);
    assert_eq!(lines[100], "151 sockets: 150 ESTAB, 1 LISTEN; 52 not shown");
    // Those that have been silent for longest come first, and the listener last.
    let number = |line: &str| line.split_whitespace().next().unwrap().parse::<u64>().unwrap();
    assert!(lines[1..100].iter().all(|line| line.contains("ESTAB")));
    assert!(number(&lines[1]) < number(&lines[99]));
}

#[test]
fn unix_sockets_are_in_the_table() {
    let folder = Folder::new();
    let place = folder.file("echo");
    let server = Server::start(&format!("echo=unix://{}", place.display()));
    let mut client = Client::unix(&place);
    client.ask("hello", "hello");
    let lines = table(&server);
    let row = |line: &Line| (line.cells["kernel"].clone(), line.cells["in"].clone(), line.state.clone());
    let rows: Vec<_> = lines.iter().map(row).collect();
    assert!(rows.contains(&("ESTAB".into(), "-".into(), "open".into())), "{rows:?}");
    assert!(rows.iter().any(|(kernel, ..)| kernel == "LISTEN"), "{rows:?}");
}

#[test]
fn without_the_kernels_word_our_own_is_shown() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let mut client = server.dial("ping");
    client.ask("ping", "pong");
    let Some(_strace) = Strace::inject(&server, "socket:error=EACCES") else { return };
    let lines = shown(&server);
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words[3..6], ["ESTAB", "-", "-"], "{lines:#?}");
    let sum = "2 sockets: 1 ESTAB, 1 LISTEN; the kernel does not tell more: sock_diag(7): ";
    assert!(lines[3].starts_with(sum), "{lines:#?}");
    client.ask("ping", "pong");
}
