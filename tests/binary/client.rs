//! `pingpong client`, scripted and interactive, over every transport.
//!
//! - `addresses`: names with several, which are tried in order
//! - `greeting`: what the server says first
//! - `pace`: how far it goes ahead of a server that is slow, silent or not there, and how many calls it makes
//! - `ends`: how a conversation ends, and what is said of that

mod addresses;
mod ends;
mod greeting;
mod pace;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use fake::Dice;
use socket2::{Domain, Socket, Type};

use super::support::{BINARY, Ended, Folder};
use super::talk::{Talk, Talker};

const EVERYWHERE: [&str; 4] = ["tcp", "udp", "unix", "unixgram"];

/// Our server with one service on all transports; its endpoints in the order of `EVERYWHERE`.
#[track_caller]
fn serve(folder: &Folder, service: &str, options: &str) -> (Talker, Vec<String>) {
    let path = |name| folder.file(name).display().to_string();
    let mut server = Talk::serve(&format!(
        "{service}=127.0.0.1:0 {service}=unix://{} {service}=unixgram://{} {options}",
        path("stream"),
        path("gram")
    ))
    .start();
    let places = server.ready();
    let endpoints = EVERYWHERE.map(|scheme| places.endpoint(scheme).to_owned()).to_vec();
    (server, endpoints)
}

/// A listener of the test's own, and its endpoint.
fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

/// A listener that takes no more connections, and its endpoint: the queue of backlog 0 holds one, and the kernel drops
/// further SYNs. The connections in the queue live as long as the first value.
fn unanswering(address: &str) -> ((TcpListener, Vec<TcpStream>), String) {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(stream);
    }
    ((socket.into(), queue), format!("tcp://{address}"))
}

#[track_caller]
fn fails(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.stderr.starts_with("pingpong: ") && ended.stderr.lines().count() == 1, "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word}: {ended:?}");
    }
}

#[test]
fn says_each_message_and_prints_its_answer_over_every_transport() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "ping", "");
    for endpoint in &endpoints {
        let ended = Talk::client(endpoint, &["ping", "ping 7 abc", "foo", "PING"]).run();
        assert_eq!((ended.code, &*ended.stdout), (Some(0), "pong\npong 7 abc\npong\nPONG\n"), "{ended:?}");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn prints_what_comes_while_lines_are_typed_over_every_transport() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "ping", "");
    for (endpoint, end) in endpoints.iter().flat_map(|endpoint| [(endpoint, Some("exit\n")), (endpoint, None)]) {
        let mut client = Talk::client(endpoint, &[]).start();
        for (line, answer) in [("ping\n", "pong\n"), ("ping 2\n", "pong 2\n"), ("exit now\n", "pong\n")] {
            client.types(line);
            assert_eq!(client.sees(answer), "");
        }
        match end {
            Some(exit) => client.types(exit),
            None => client.ends_input(),
        }
        assert_eq!(client.ends_well(), "", "{endpoint}, {end:?}");
    }
}

#[test]
fn a_script_on_standard_input_is_said_whole_and_answered_whole() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "hello", "--delay 10ms");
    fs::write(folder.file("script"), "Michael\nTracy\nSarah").unwrap();
    for endpoint in &endpoints {
        let mut client = Talk::client(endpoint, &[]).stdin(File::open(folder.file("script")).unwrap()).start();
        let greeting = if endpoint.starts_with("tcp") || endpoint.starts_with("unix:") { "Welcome!" } else { "" };
        let expected = format!("{greeting}Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n");
        assert_eq!(client.ends_well(), expected, "{endpoint}");
    }
}

#[test]
fn what_follows_exit_is_not_said() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "ping", "");
    for endpoint in &endpoints {
        let mut client = Talk::client(endpoint, &[]).start();
        client.types("ping 1\nexit\nping 2\n");
        assert_eq!(client.ends_well(), "pong 1\n", "{endpoint}");
    }
}

#[test]
fn lines_are_sent_as_lines_and_raw_text_bare() {
    let (listener, endpoint) = listener();
    for (framing, sent) in [("line", &b"one\n"[..]), ("raw", b"one")] {
        let mut client = Talk::client(&endpoint, &["--framing", framing, "one", "two"]).start();
        let (mut server, _) = listener.accept().unwrap();
        let mut heard = [0; 100];
        let count = server.read(&mut heard).unwrap();
        assert_eq!(&heard[..count], sent, "{framing}");
        server.write_all(b"1\n").unwrap();
        let count = server.read(&mut heard).unwrap();
        assert_eq!(&heard[..count], [b"two", &sent[3..]].concat(), "{framing}");
        server.write_all(b"2\n").unwrap();
        assert_eq!(client.ends_well(), "1\n2\n");
        assert_eq!(server.read(&mut heard).unwrap(), 0, "it has left");
    }
}

#[test]
fn an_answer_in_pieces_is_one_line() {
    let (listener, endpoint) = listener();
    let mut client = Talk::client(&endpoint, &["question", "another"]).start();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    let mut heard = [0; 100];
    assert_eq!(server.read(&mut heard).unwrap(), "question\n".len());
    server.write_all(b"one ").unwrap();
    server.write_all(b"line\n").unwrap();
    assert_eq!(server.read(&mut heard).unwrap(), "another\n".len());
    // The rest before the end is a line too.
    server.write_all(b"the rest").unwrap();
    drop(server);
    assert_eq!(client.ends_well(), "one line\nthe rest\n");
}

#[test]
fn bytes_that_are_no_text_are_said_and_printed_as_they_are() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "echo", "");
    for endpoint in &endpoints {
        let words = ["-c", "\"$0\" client \"$1\" \"$(printf '\\377\\033\\200')\" | od -An -tx1", BINARY, endpoint];
        let ended = Talk::program("sh", &words).run();
        assert_eq!(ended.stdout.trim(), "ff 1b 80 0a", "{ended:?}");
    }
}

#[test]
fn a_path_need_not_be_text() {
    let folder = Folder::new();
    let run = |words: &str| {
        let script = format!("place=unix://$1/$(printf '\\377'); exec \"$0\" {words}");
        Talk::program("sh", &["-c", &script, BINARY, folder.file("").to_str().unwrap()])
    };
    let mut server = run("serve \"ping=$place\"").start();
    server.ready();
    assert_eq!(run("client \"$place\" ping").run().stdout, "pong\n");
    assert_eq!(run("ping \"$place\" -c 1").run().code, Some(0));
}

#[test]
fn half_a_close_is_not_the_end() {
    // The server answers once it has heard all.
    let (listener, endpoint) = listener();
    let mut client = Talk::client(&endpoint, &[]).start();
    let (mut server, _) = listener.accept().unwrap();
    client.types("one\ntwo\n");
    client.ends_input();
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "one\ntwo\n");
    server.write_all(b"2 lines\n").unwrap();
    assert_eq!(client.sees("2 lines\n"), "");
    assert!(client.is_running(), "the server may say more");
    server.write_all(b"and goodbye").unwrap();
    drop(server);
    assert_eq!(client.ends_well(), "and goodbye");
}

#[test]
fn without_standard_input_it_prints_what_comes() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "hello", "");
    let null = Talk::client(&endpoints[0], &[]).run();
    assert_eq!((null.code, &*null.stdout), (Some(0), "Welcome!"), "{null:?}");
    let closed = Talk::program("sh", &["-c", "exec \"$0\" client \"$1\" <&-", BINARY, &endpoints[0]]).run();
    assert_eq!((closed.code, &*closed.stdout), (Some(0), "Welcome!"), "{closed:?}");
}

#[test]
fn an_answer_that_takes_too_long_exits_4() {
    let (listener, endpoint) = listener();
    let ended = Talk::client(&endpoint, &["--timeout", "50ms", "anybody?"]).run();
    fails(&ended, 4, &["no answer", &endpoint, "50ms", "--timeout"]);
    assert!(!ended.stderr.contains("--framing raw"), "{ended:?}");
    drop(listener);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("udp://{}", socket.local_addr().unwrap());
    let ended = Talk::client(&endpoint, &["--timeout", "50ms", "anybody?"]).run();
    fails(&ended, 4, &["no answer", &endpoint]);
    // When interactive, the timeout begins at the end of input.
    let mut client = Talk::client(&endpoint, &["--timeout", "50ms"]).start();
    client.types("anybody?\n");
    client.ends_input();
    fails(&client.ends(), 4, &["no answer", &endpoint]);
}

#[test]
fn when_bytes_came_without_line_end_it_names_the_other_framing() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "ping", "--framing raw");
    let ended = Talk::client(&endpoints[0], &["--timeout", "50ms", "hello pdudo"]).run();
    fails(&ended, 4, &[&endpoints[0], "no line end", "--framing raw"]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn the_timeout_is_each_answers_own() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "hello", "--delay 150ms --framing line");
    let words = ["--timeout", "1s", "--greeting", "a", "b", "c", "d", "e", "f", "g", "h", "exit"];
    let ended = Talk::client(&endpoints[0], &words).run();
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 9), "{ended:?}");
}

#[test]
fn a_connection_that_is_not_answered_exits_4() {
    let (_listener, endpoint) = unanswering("127.0.0.1:0");
    let ended = Talk::client(&endpoint, &["--timeout", "100ms", "hi"]).run();
    fails(&ended, 4, &[&endpoint, "timed out", "--timeout"]);
}

/// Asserts that the client, scripted and interactive, finds no server there and says so at once.
#[track_caller]
fn finds_nobody(endpoint: &str, word: &str) {
    let words = [endpoint, word, "("];
    fails(&Talk::client(endpoint, &["--timeout", "1m", "hi"]).run(), 3, &words);
    let mut interactive = Talk::client(endpoint, &["--timeout", "1m"]).start();
    // The client may have ended before anything is typed.
    interactive.may_type("hi\n");
    fails(&interactive.ends(), 3, &words);
}

#[test]
fn nobody_there_exits_3() {
    // Bound, so that no other process gets the port, but not listening.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    finds_nobody(&format!("tcp://{}", silent.local_addr().unwrap().as_socket().unwrap()), "refused");
    // A datagram socket that is connected elsewhere receives from there alone.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.connect("127.0.0.1:9").unwrap();
    finds_nobody(&format!("udp://{}", deaf.local_addr().unwrap()), "refused");
    // A label of a name has 63 bytes at most.
    finds_nobody(&format!("tcp://{}:1", "x".repeat(64)), "resolve");
}

#[test]
fn nobody_at_a_path_exits_3() {
    let folder = Folder::new();
    let path = |name| folder.file(name).display().to_string();
    drop(std::os::unix::net::UnixListener::bind(path("stale")).unwrap());
    drop(std::os::unix::net::UnixDatagram::bind(path("stale-gram")).unwrap());
    finds_nobody(&format!("unix://{}", path("stale")), "refused");
    finds_nobody(&format!("unixgram://{}", path("stale-gram")), "refused");
    finds_nobody(&format!("unix://{}", path("nowhere")), "no such file");
    finds_nobody(&format!("unixgram://{}", path("nowhere")), "no such file");
}

#[test]
fn an_output_that_is_closed_ends_it_quietly() {
    let (listener, endpoint) = listener();
    let words = ["-c", "{ \"$0\" client \"$1\"; echo ended >&2; } | head -n 1", BINARY, &endpoint];
    let mut shell = Talk::program("sh", &words).start();
    let (mut server, _) = listener.accept().unwrap();
    server.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    // Until it has left.
    while server.write_all(b"line\n").is_ok() {}
    let ended = shell.ends();
    assert_eq!((&*ended.stdout, &*ended.stderr), ("line\n", "ended"));
}

/// Lines of random bytes, some long, some empty; none of them is `exit`.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = Dice::new(7).bytes(bytes);
    // CR LF would lose its CR: a line of input ends with either.
    noise.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'n');
    noise.extend([&b"x".repeat(300_000)[..], b"\n\n\n\0\n"].concat());
    noise
}

/// Asserts that a file sent to an echo server comes back unchanged, from a file and through pipes.
#[track_caller]
fn comes_back_whole(folder: &Folder, endpoint: &str) {
    let noise = noise(8 << 20);
    fs::write(folder.file("in"), &noise).unwrap();
    for script in ["exec \"$0\" client \"$1\" <in >out", "cat in | \"$0\" client \"$1\" | cat >out"] {
        let script = format!("cd {} && {script}", folder.file("").display());
        let ended = Talk::program("sh", &["-c", &script, BINARY, endpoint]).run();
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{script}: {ended:?}");
        let out = fs::read(folder.file("out")).unwrap();
        assert!(out == noise, "{} of {} bytes through {endpoint}", out.len(), noise.len());
    }
}

#[test]
fn megabytes_go_through_and_come_back_as_they_were() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "echo", "");
    comes_back_whole(&folder, &endpoints[0]);
}

#[test]
fn megabytes_come_back_over_unix_sockets_too() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "echo", "");
    comes_back_whole(&folder, &endpoints[2]);
}

#[test]
fn reads_on_while_it_cannot_send() {
    let folder = Folder::new();
    fs::write(folder.file("in"), noise(16 << 20)).unwrap();
    let (listener, endpoint) = listener();
    let file = File::open(folder.file("in")).unwrap();
    let mut client = Talk::client(&endpoint, &[]).stdin(file).stdout(Stdio::null()).start();
    let (mut server, _) = listener.accept().unwrap();
    server.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    // The server sends all that it has before it reads.
    server.write_all(&noise(16 << 20)).unwrap();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, noise(16 << 20));
    drop(server);
    client.ends_well();
}

#[test]
fn input_waits_for_a_server_that_does_not_read() {
    let folder = Folder::new();
    fs::write(folder.file("in"), noise(64 << 20)).unwrap();
    let (listener, endpoint) = listener();
    let client = Talk::client(&endpoint, &[]).stdin(File::open(folder.file("in")).unwrap()).start();
    let (mut server, _) = listener.accept().unwrap();
    client.rests();
    assert!(client.memory() < 24 << 20, "{} bytes", client.memory());
    // And goes on when it does.
    let mut heard = vec![0; 1 << 20];
    let mut all = 0;
    while all < 64 << 20 {
        all += server.read(&mut heard).unwrap();
    }
}

#[test]
fn mistakes_of_usage_exit_2_and_name_the_mistake() {
    for (words, mistake) in [
        (&["client"][..], "ENDPOINT"),
        (&["client", "ftp://localhost:21"], "scheme"),
        (&["client", "tcp://localhost:http"], "port"),
        (&["client", "unix://"], "path"),
        (&["client", "::1"], "brackets"),
        (&["client", "localhost", "--framing", "auto", "x"], "auto"),
        (&["client", "localhost", "--timeout", "0s", "x"], "longer"),
        (&["client", "localhost", "--timeout", "soon", "x"], "250ms"),
        (&["client", "localhost", "--no-such-option"], "--no-such-option"),
    ] {
        fails(&Talk::ours(words).run(), 2, &[mistake]);
    }
}

#[test]
fn without_scheme_it_is_tcp_and_without_port_8888() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "ping", "");
    let ended = Talk::client(endpoints[0].strip_prefix("tcp://").unwrap(), &["ping"]).run();
    assert_eq!(ended.stdout, "pong\n", "{ended:?}");
    // A label of a name has 63 bytes at most: no name server is asked for this one.
    let name = "x".repeat(64);
    fails(&Talk::client(&name, &["ping"]).run(), 3, &[&format!("tcp://{name}:8888")]);
}
