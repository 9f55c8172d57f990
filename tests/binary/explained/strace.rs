//! `--explain=calls`: held to strace(1), call by call.

use std::collections::HashSet;
use std::fs;
use std::io::{Write, pipe};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{BINARY, Client, DatagramClient, Folder, Launch, Server, eventually, tool};
use crate::talk::Talk;

/// A call: its name, the descriptor that it is made on, if it has one, what it returned; and the whole line.
#[derive(Clone, Debug)]
pub(super) struct Call {
    name: String,
    descriptor: Option<u32>,
    result: String,
    line: String,
}

pub(super) fn call(line: &str) -> Option<Call> {
    // strace -f: the process first.
    let line = line.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start();
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    // eventfd2 has a number first that is none.
    let first = arguments.trim_start_matches("[{fd=").trim_start_matches('[');
    let first = first.split([',', ')', ' ']).next()?.parse().ok();
    let descriptor = first.filter(|_| name != "eventfd2");
    let mut words = result.split_whitespace();
    let result = match words.next()? {
        "-1" => format!("-1 {}", words.next()?),
        number => number.to_owned(),
    };
    let is_name = name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    is_name.then(|| Call { name: name.to_owned(), descriptor, result, line: line.to_owned() })
}

impl Call {
    fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.descriptor, &self.result) == (&other.name, other.descriptor, &other.result)
    }

    /// Whether strace's line has each name of C that ours has.
    fn names_are_in(&self, seen: &Self) -> bool {
        let is_name = |word: &&str| word.len() > 1 && word.chars().any(char::is_alphabetic);
        let text = self.line.split('"').step_by(2).collect::<String>();
        let words =
            text.split(|letter: char| !(letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'));
        // A signal's number is among the bytes that strace shows; UDP_SEGMENT is newer than many a strace.
        let seen = seen.line.replace("0x67", "UDP_SEGMENT");
        self.name == "read" || words.filter(is_name).all(|word| seen.contains(word))
    }
}

/// The calls that strace saw, without those that are apart:
/// - standard error: the logger, and the explanation itself; whether others are terminals (ioctl(2))
/// - files: the folder and the file of a Unix socket, /proc, /dev/null, standard output opened anew and closed
/// - libc's own: memory, and its netlink socket by which getifaddrs(3) asks for this machine's addresses
/// - the table's of SIGUSR2: what it asks each socket, and the kernel by a netlink socket
/// - the standard library's in a debug build: fcntl(F_GETFD) before each close
fn seen(log: &Path) -> Vec<Call> {
    const FILES: [&str; 14] = [
        "mmap",
        "munmap",
        "mprotect",
        "statx",
        "newfstatat",
        "fstat",
        "flock",
        "ioctl",
        "fcntl",
        "readlink",
        "unlink",
        "fchmod",
        "access",
        "execve",
    ];
    let text = eventually("strace's log", || fs::read_to_string(log).ok().filter(|text| text.contains("+++ exited")));
    let mut others = HashSet::from([2]);
    let mut stdout = None;
    let mut is_table_due = false;
    let mut calls = Vec::new();
    for call in text.lines().filter_map(call) {
        is_table_due = match call.name.as_str() {
            // A signalfd_siginfo begins with the signal's number (signalfd(2)): SIGUSR2 is 12.
            "read" => is_table_due || call.line.contains(r#""\f\0\0\0"#),
            "epoll_wait" => false,
            _ => is_table_due,
        };
        let is_tables = is_table_due && (call.line.contains("TCP_INFO") || call.name == "getsockname");
        let is_netlink = call.line.contains("AF_NETLINK") && call.name == "socket";
        if call.name == "openat" && call.line.contains("\"/proc/self/fd/1\"") {
            stdout = call.result.parse::<u32>().ok();
        } else if call.name == "close" && call.descriptor == stdout {
            // It was not told of when it was opened.
        } else if call.name == "openat" || is_netlink {
            others.extend(call.result.parse::<u32>().ok());
        } else if call.descriptor.is_some_and(|fd| others.contains(&fd)) || call.line.starts_with("poll([{fd=2,") {
            if call.name == "close" {
                others.remove(&call.descriptor.unwrap());
            }
        } else if !is_tables && !FILES.contains(&call.name.as_str()) {
            calls.push(call);
        }
    }
    // Before the loop there is only what starts any program.
    let first = calls.iter().position(|call| call.name == "epoll_create1").expect("a loop");
    calls.split_off(first)
}

/// Holds what was told to what strace saw: the same calls, in the same order, on the same descriptors, with the same
/// results.
#[track_caller]
fn hold(told: &[String], log: &Path) -> Vec<Call> {
    let told: Vec<Call> = told.iter().filter_map(|line| call(line)).collect();
    let seen = seen(log);
    for (index, (told, seen)) in told.iter().zip(&seen).enumerate() {
        assert!(told.is_same(seen) && told.names_are_in(seen), "call {index}:\n{}\n{}", told.line, seen.line);
    }
    let (more, other) = (&told[seen.len().min(told.len())..], &seen[told.len().min(seen.len())..]);
    assert!(more.is_empty() && other.is_empty(), "only told: {more:#?}\nonly seen: {other:#?}");
    told
}

/// `pingpong` below strace, which is its grandchild: so signals reach it.
fn traced(log: &Path, arguments: &str) -> Launch {
    Launch::within(&strace(log.to_str().expect("a plain path")), arguments)
}

fn strace(log: &str) -> [&str; 9] {
    ["strace", "-D", "-f", "-s", "8", "-e", "trace=network,desc", "-o", log]
}

#[test]
fn server_tells_each_call_that_strace_sees() {
    if !tool("strace") {
        return;
    }
    let folder = Folder::new();
    let (log, stream, datagram) = (folder.file("log"), folder.file("stream"), folder.file("datagram"));
    let places = format!("echo=unix://{} echo=unixgram://{}", stream.display(), datagram.display());
    // The file of a socket that is closed: it is probed, and replaced.
    drop(std::os::unix::net::UnixListener::bind(&stream).unwrap());
    let services = "ping=tcp://127.0.0.1:0 ping=udp://127.0.0.1:0 hello=tcp://[::]:0 hello=udp://0.0.0.0:0";
    let options = "--explain=calls -q --delay 0s --reuse-port --unix-mode 600";
    let mut server = traced(&log, &format!("serve {options} {services} echo=tcp://127.0.0.1:0 {places}")).start();

    let mut client = server.dial("ping");
    client.ask("ping\n", "pong\n");
    let mut other = Client::tcp(format!("127.0.0.1:{}", server.tcp("hello").port()).parse().unwrap());
    other.ask("exit\n", "Welcome!");
    other.hears_end();
    drop(other);
    client.reset();
    let mut reader = server.dial("echo");
    let written = reader.stuff(b"0123456789abcdef", 64 << 20);
    reader.finish();
    assert_eq!(reader.rest().len(), written);
    drop(reader);

    let asker = DatagramClient::udp(server.udp("ping"));
    asker.ask("ping", "pong");
    server.freeze();
    (0..40).for_each(|_| asker.say("ping"));
    server.thaw();
    (0..40).for_each(|_| asker.hears("pong"));
    let greeted = DatagramClient::udp(format!("127.0.0.1:{}", server.udp("hello").port()).parse().unwrap());
    greeted.say("Michael");
    greeted.hear();

    let mut echo = Client::unix(&stream);
    echo.ask("one\n", "one\n");
    drop(echo);
    let echo = DatagramClient::unix(Some(&folder.file("client")), &datagram);
    echo.ask("two", "two");

    // A Unix stream is watched for room only while output waits.
    let mut reader = Client::unix(&stream);
    let written = reader.stuff(b"0123456789abcdef", 8 << 20);
    reader.finish();
    assert_eq!(reader.rest().len(), written);
    drop(reader);
    // At the end there are two that might have said something.
    let (mut tcp, mut unix) = (server.dial("ping"), Client::unix(&stream));
    tcp.ask("ping\n", "pong\n");
    unix.ask("three\n", "three\n");
    server.signal(Signal::SIGUSR2);
    eventually("the table", || server.stderr().iter().any(|line| line.contains(" sockets: ")).then_some(()));

    server.signal(Signal::SIGTERM);
    let ended = server.ends();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = hold(&server.stderr_all(), &log);
    for name in ["EPOLL_CTL_MOD", "MSG_PEEK", "UDP_SEGMENT", "SO_REUSEPORT", "IP_PKTINFO", "IPV6_V6ONLY"] {
        assert!(told.iter().any(|call| call.line.contains(name)), "no {name} among {told:#?}");
    }
    for name in [
        "epoll_create1",
        "eventfd2",
        "signalfd4",
        "epoll_ctl",
        "epoll_wait",
        "socket",
        "setsockopt",
        "getsockopt",
        "getsockname",
        "bind",
        "listen",
        "accept4",
        "connect",
        "recvfrom",
        "sendto",
        "recvmmsg",
        "sendmmsg",
        "recvmsg",
        "shutdown",
        "read",
        "close",
    ] {
        assert!(told.iter().any(|call| call.name == name), "no {name} among {told:#?}");
    }
    for error in ["EAGAIN", "ECONNREFUSED"] {
        assert!(told.iter().any(|call| call.result.ends_with(error)), "no {error} among {told:#?}");
    }
}

#[test]
fn clients_tell_each_call_that_strace_sees() {
    if !tool("strace") {
        return;
    }
    let folder = Folder::new();
    let (stream, datagram) = (folder.file("stream"), folder.file("datagram"));
    let places = format!("ping=unix://{} ping=unixgram://{}", stream.display(), datagram.display());
    let server = Server::start(&format!("ping=tcp://[::1]:0 ping=udp://127.0.0.1:0 {places}"));
    let nobody = format!("unix://{}", folder.file("nobody").display());
    let tcp = server.endpoint("ping", "tcp");
    let udp = server.endpoint("ping", "udp");
    for (arguments, code) in [
        (format!("client {tcp} ping ping"), 0),
        (format!("client {udp} ping"), 0),
        (format!("client unix://{} ping", stream.display()), 0),
        (format!("client unixgram://{} ping", datagram.display()), 0),
        ("client tcp://127.0.0.1:1 ping".to_owned(), 3),
        ("client udp://127.0.0.1:1 ping".to_owned(), 3),
        (format!("client {nobody} ping"), 3),
        (format!("ping {tcp} -c 3 -i 10ms"), 0),
        (format!("ping {udp} -c 3 -i 10ms"), 0),
    ] {
        let log = folder.file("log");
        let ended = traced(&log, &format!("{arguments} --explain=calls")).run();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let lines: Vec<String> = ended.stderr.lines().map(str::to_owned).collect();
        let told = hold(&lines, &log);
        assert!(told.len() > 5, "{arguments}: {told:#?}");
        fs::remove_file(&log).unwrap();
    }
}

#[test]
fn interactive_client_tells_of_its_standard_input_too() {
    if !tool("strace") {
        return;
    }
    let server = Server::start("echo=tcp://127.0.0.1:0");
    let folder = Folder::new();
    let (log, place) = (folder.file("log"), server.endpoint("echo", "tcp"));
    let talk = |explain: &str, log: &Path| {
        let (stdin, mut keyboard) = pipe().unwrap();
        keyboard.write_all(b"hello\nworld\n").unwrap();
        drop(keyboard);
        let words = [&strace(log.to_str().unwrap())[1..], &[BINARY, "client", explain, place]].concat();
        let ended = Talk::program("strace", &words).stdin(stdin).start().ends();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "hello\nworld\n"), "{ended:?}");
        ended.stderr
    };
    let told: Vec<String> = talk("--explain=calls", &log).lines().map(str::to_owned).collect();
    let told = hold(&told, &log);
    for name in ["poll", "read", "write"] {
        assert!(told.iter().any(|call| call.name == name), "no {name} among {told:#?}");
    }
    let told = talk("--explain", &folder.file("other"));
    assert!(told.contains("something was typed") && told.contains(": the end of standard input"), "{told}");
}
