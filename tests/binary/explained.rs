//! `--explain`: held to strace(1), call by call.

use std::collections::HashSet;
use std::fs;
use std::io::{Write, pipe};
use std::path::Path;

use nix::sys::signal::Signal;

use super::support::{BINARY, Client, DatagramClient, Folder, Launch, Server, eventually, narrow_pipe, root, tool};
use super::talk::Talk;

/// A call: its name, the descriptor that it is made on, if it has one, what it returned; and the whole line.
#[derive(Clone, Debug)]
struct Call {
    name: String,
    descriptor: Option<u32>,
    result: String,
    line: String,
}

fn call(line: &str) -> Option<Call> {
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

/// The states that were told of a descriptor, from some line on.
fn states(lines: &[String], descriptor: &str) -> Vec<String> {
    let state = |line: &String| {
        let (of, state) = line.strip_prefix("    ")?.split_once(": ")?;
        (of == descriptor).then(|| state.split(" (").next().unwrap_or(state).to_owned())
    };
    lines.iter().filter_map(state).collect()
}

#[test]
fn states_are_the_kernels_as_the_peer_changes_them() {
    for host in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let server = Server::start(&format!("ping=tcp://{host} ping=udp://{host} hello=tcp://{host} --explain -q"));
        eventually("a listener", || {
            let lines = server.stderr();
            let line = lines.iter().find_map(|line| line.strip_prefix("listen("))?;
            (states(&lines, line.split(',').next()?) == ["LISTEN"]).then_some(())
        });
        let accepted = |from: usize| {
            eventually("an accept", || {
                let lines = server.stderr().split_off(from);
                let line = lines.into_iter().find(|line| line.starts_with("accept4(") && !line.contains("= -1"))?;
                Some(line.split(" = ").nth(1)?.split(':').next()?.to_owned())
            })
        };
        // The client ends first: its end has TIME-WAIT, ours none.
        let from = server.stderr().len();
        let to = |service: &str| {
            format!("{}:{}", if host.starts_with("127") { "127.0.0.1" } else { "[::1]" }, server.tcp(service).port())
        };
        let mut client = Client::tcp(to("ping").parse().unwrap());
        let descriptor = accepted(from);
        client.ask("ping\n", "pong\n");
        client.finish();
        client.hears_end();
        eventually("its end", || {
            let told = states(&server.stderr()[from..], &descriptor);
            (told == ["ESTABLISHED", "CLOSE-WAIT"]).then_some(())
        });
        drop(client);
        eventually("nothing is left", || {
            let told = states(&server.stderr()[from..], &format!("{descriptor}, closed"));
            (told.last()? == "nothing is left of it").then_some(())
        });
        // The server ends first.
        let from = server.stderr().len();
        let mut client = Client::tcp(to("hello").parse().unwrap());
        let descriptor = accepted(from);
        client.ask("exit\n", "Welcome!");
        client.hears_end();
        drop(client);
        // The kernel has TIME-WAIT as soon as both have ended, be our descriptor closed or not.
        eventually("its end", || {
            let lines = server.stderr().split_off(from);
            let (open, closed) = (states(&lines, &descriptor), states(&lines, &format!("{descriptor}, closed")));
            let all = [open, closed].concat();
            let (last, before) = all.split_last()?;
            let is_ending = |state: &String| ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2"].contains(&state.as_str());
            (last == "TIME-WAIT").then(|| assert!(before.iter().all(is_ending), "{all:?}"))
        });
    }
}

#[test]
fn the_backlog_that_is_told_is_the_kernels() {
    if !root() || !tool("unshare") {
        return;
    }
    // A network of its own has a setting of its own.
    let script = "echo 50 > /proc/sys/net/core/somaxconn && exec \"$0\" \"$@\"";
    let folder = Folder::new();
    let arguments = format!("serve echo=unix://{} --explain -q", folder.file("socket").display());
    let server = Launch::within(&["unshare", "-n", "sh", "-c", script], &arguments).start();
    let told = server.stderr().join(" ");
    assert!(told.contains("net.core.somaxconn lets up to 50 connections and one more wait here"), "{told}");
}

#[test]
fn client_tells_what_is_left_of_its_connection() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let ended = Launch::new(&format!("client {} ping --explain", server.endpoint("ping", "tcp"))).run();
    let lines: Vec<String> = ended.stderr.lines().map(str::to_owned).collect();
    assert!(
        lines.iter().any(|line| line.ends_with(": TIME-WAIT (both have ended; kept for a minute, against strays)")),
        "{lines:#?}"
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
}

#[test]
fn nothing_is_told_that_was_not_asked_for() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let ended = Launch::new(&format!("client {} ping", server.endpoint("ping", "tcp"))).run();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("pong", ""));
    let server = Server::start("ping=tcp://127.0.0.1:0 -q");
    server.dial("ping").ask("ping\n", "pong\n");
    assert_eq!(server.stderr(), [""; 0]);
    let ended = Launch::new("serve --explain=everything").run();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.lines().count() == 1 && ended.stderr.contains("--explain"), "{ended:?}");
}

#[test]
fn an_explanation_that_nobody_reads_costs_lines_and_no_answer() {
    let (reader, writer) = narrow_pipe();
    let mut server = Launch::new("serve ping=tcp://127.0.0.1:0 --explain").stderr(writer).start();
    let mut client = server.dial("ping");
    (0..1000).for_each(|n| client.ask(format!("ping {n}\n"), format!("pong {n}\n")));
    // Now it is read. An attempt to say how many are missing may be one of them.
    server.read_stderr(reader);
    let missing = eventually("a line gets through again", || {
        client.ask("ping\n", "pong\n");
        let told = server.stderr();
        let count = |line: &String| {
            line.strip_suffix(" lines are missing here: nobody read them in time)")?.get(1..)?.parse().ok()
        };
        told.iter().find_map(count)
    });
    assert!((2000..20_000).contains(&missing), "{missing}");
}

#[test]
fn colours_are_for_a_terminal_and_not_with_no_color() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let client = ["client", server.endpoint("ping", "tcp"), "ping", "--explain"];
    let on_terminal = |setting: &str| {
        let words = [&[setting, BINARY][..], &client].concat();
        let mut client = Talk::program("env", &words).on_terminal(true)?;
        client.status();
        Some(client.rest())
    };
    for (setting, is_coloured) in [("NO_COLOR=1", false), ("NO_COLOR=", true), ("LANG=C", true)] {
        let Some(text) = on_terminal(setting) else { return };
        assert!(text.contains("ESTABLISHED"), "{text}");
        assert_eq!(text.contains("\x1b["), is_coloured, "{setting}: {text}");
    }
    let ended = Talk::ours(&client).run();
    assert!(ended.stderr.contains("ESTABLISHED") && !ended.stderr.contains('\x1b'), "{ended:?}");
}

#[test]
fn turns_in_which_nothing_happens_are_told_of_together() {
    let folder = Folder::new();
    let place = folder.file("socket");
    let server = Server::start(&format!("hello=unix://{} --delay 0s --explain -q", place.display()));
    // A client that stays is waited for, by turns that only look at the clock, until it is closed without an event.
    let mut client = Client::unix(&place);
    client.ask("exit\n", "Welcome!");
    client.hears_end();
    let lines = eventually("its end", || {
        let lines = server.stderr();
        lines.iter().any(|line| line.starts_with("close(")).then_some(lines)
    });
    drop(client);
    let calls: Vec<_> = lines.iter().filter(|line| call(line).is_some()).collect();
    let has_no_news = |line: &str| line.starts_with("epoll_wait(") && line.contains(") = 0");
    let turns: Vec<_> = calls.windows(2).filter(|pair| has_no_news(pair[0])).collect();
    for pair in &turns {
        let is_idle = |line: &str| line.ends_with("nothing is due yet");
        assert!(!pair[1].starts_with("epoll_wait(") || is_idle(pair[0]) && !is_idle(pair[1]), "{pair:#?}");
    }
    assert!(turns.iter().any(|pair| pair[0].contains(" times: ")), "{turns:#?}");
    assert!(turns.iter().any(|pair| pair[0].ends_with("due now") && pair[1].starts_with("close(")), "{turns:#?}");
}
