//! Standard output in any state: slow, stopped, full, closed, dead. Nothing else waits for it.

use std::fs::File;
use std::io::{PipeReader, Read, Write, pipe};

use nix::sys::signal::Signal;
use nix::sys::termios::{FlowArg, tcflow};

use super::chat::{CHAT, CHAT_AND_ECHO, chat, join};
use super::support::{BINARY, Client, Folder, Launch, Server, Stats, eventually, narrow_pipe};
use super::talk::{Talk, Talker, pseudo_terminal};
use super::terminal::{CTRL_C, CTRL_Q, CTRL_S, chat as chat_at_terminal};

#[test]
fn an_output_that_takes_nothing_does_no_harm() {
    let folder = Folder::new();
    let (reader, dead) = pipe().unwrap();
    drop(reader);
    let (_unread, mut full) = narrow_pipe();
    full.write_all(&[b'x'; 4096]).unwrap();
    let places = ["closed", "dead", "full"].map(|name| folder.file(name));
    let arguments = |number: usize| format!("serve ping=unix://{}", places[number].display());
    let launches = [
        Launch::shell("exec \"$0\" \"$@\" >&-", &arguments(0)),
        Launch::new(&arguments(1)).stdout(dead),
        Launch::new(&arguments(2)).stdout(full),
    ];
    for (launch, place) in launches.into_iter().zip(&places) {
        let mut server = launch.spawn();
        // It cannot print that it is ready. Once a connect to its file succeeds, it listens.
        eventually("it listens", || std::os::unix::net::UnixStream::connect(place).ok());
        Client::unix(place).ask("ping", "pong");
        server.stop();
    }
}

#[test]
fn an_output_that_is_full_has_every_line_once_it_is_read() {
    let (mut reader, mut writer) = narrow_pipe();
    writer.write_all(&[b'x'; 4096]).unwrap();
    // More lines than the pipe takes at once.
    let mut server = Launch::new(&format!("serve {}", "ping=tcp://127.0.0.1:0 ".repeat(200))).stdout(writer).spawn();
    server.rests();
    let mut text = String::new();
    let mut page = [0; 4096];
    while !text.ends_with("ready\n") {
        let count = reader.read(&mut page).unwrap();
        text += std::str::from_utf8(&page[..count]).unwrap();
    }
    let lines: Vec<&str> = text.trim_start_matches('x').lines().collect();
    assert_eq!(lines.len(), 201);
    assert!(lines[..200].iter().all(|line| line.starts_with("listening ping tcp://127.0.0.1:")), "{lines:#?}");
    server.stop();
}

#[test]
fn help_whose_reader_has_gone_is_no_error() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = Launch::new("--help").stdout(writer).spawn();
    assert_eq!(command.exit_code(), Some(0));
    assert_eq!(command.stderr_all(), Vec::<String>::new());
}

#[test]
fn an_output_that_cannot_be_written_to_is_an_error() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let place = server.endpoint("ping", "tcp");
    let (ping, client) = (format!("ping {place} -c 3"), format!("client {place} hello"));
    let bench = format!("bench {place} -n 10 --warmup 0s");
    let mut commands = vec!["--help", "serve --help", "--version", "serve ping=tcp://127.0.0.1:0", &ping, &client];
    commands.extend(cfg!(feature = "bench").then_some(&bench[..]));
    for arguments in commands {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Launch::new(arguments).stdout(full).spawn();
        assert_eq!(command.exit_code(), Some(1), "{arguments}");
        assert_eq!(command.stderr_all(), ["pingpong: cannot write to standard output: no space left on device"]);
    }
}

#[test]
fn a_full_pipe_as_output_makes_ping_wait_until_a_signal_comes() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let (_unread, writer) = narrow_pipe();
    let mut child = Launch::new(&format!("ping {} -i 1ms", server.endpoint("ping", "tcp"))).stdout(writer).spawn();
    // It stops asking: no output is lost.
    child.rests();
    child.signal(Signal::SIGINT);
    assert_eq!(child.exit_code(), Some(0));
}

/// A `ping` whose output is full.
#[track_caller]
fn ping_at_a_full_pipe(server: &Server, options: &str) -> (Server, PipeReader) {
    let (reader, mut writer) = narrow_pipe();
    writer.write_all(&[b'x'; 4096]).unwrap();
    let arguments = format!("ping {} -i 1ms {options}", server.endpoint("ping", "tcp"));
    let ping = Launch::new(&arguments).stdout(writer).spawn();
    ping.rests();
    (ping, reader)
}

#[test]
fn a_reader_that_is_slow_gets_the_summary_of_a_ping_that_was_interrupted() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let (mut ping, mut reader) = ping_at_a_full_pipe(&server, "");
    ping.signal(Signal::SIGINT);
    // It has taken the signal, and waits again.
    ping.rests();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.lines().last().unwrap().starts_with("rtt min/avg/max/mdev = "), "{text}");
    assert_eq!(ping.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_ping_at_once_while_its_last_words_wait() {
    let server = Server::start("ping=tcp://127.0.0.1:0");
    for options in ["", "-q -c 3"] {
        let (mut ping, _unread) = ping_at_a_full_pipe(&server, options);
        // It asks for counters, and ends nothing.
        ping.signal(Signal::SIGUSR1);
        ping.rests();
        // Two of one kind might be one.
        ping.signal(Signal::SIGINT);
        ping.signal(Signal::SIGTERM);
        assert_eq!(ping.exit_code(), Some(143), "{options}");
    }
}

#[test]
fn output_that_nobody_reads_holds_nothing_up_and_is_counted() {
    let (mut server, places) = chat(CHAT_AND_ECHO);
    let mut client = join(&mut server, &places, 1);
    // Far more than the pipe and the queue hold.
    let line = format!("{}\n", "x".repeat(1000));
    (0..1000).for_each(|_| client.say(&line));
    client.finish();
    client.hears_end();
    Client::tcp(places.address(1)).ask("still here", "still here");
    let log = server.stops();
    let stats = log.iter().find_map(|line| Stats::parse(line)).expect("counters at the end");
    assert!(stats["console_lost"] > 0, "{stats:?}");
}

#[test]
fn clients_that_flood_leave_the_lines_of_others_alone() {
    let (mut server, places) = chat(CHAT);
    let mut clients: Vec<Client> = (1..=11).map(|number| join(&mut server, &places, number)).collect();
    let mut speaker = clients.pop().unwrap();
    // Each byte of it takes five on the console.
    let flood = format!("{}\n", "\x01".repeat(60_000));
    for number in 0..200 {
        clients[number % 10].say(&flood);
        speaker.say(format!("line {number}\n"));
    }
    for client in clients.iter_mut().chain([&mut speaker]) {
        client.finish();
        client.hears_end();
    }
    assert!(server.memory() < 64 << 20, "{} bytes", server.memory());
    // Only now is the console read.
    let mut seen = String::new();
    for number in 0..200 {
        seen += &server.sees(&format!("[11] client: line {number}\n"));
    }
    server.sees("[11] disconnected\n");
    let reported = seen.lines().filter(|line| line.starts_with("(… ") && line.ends_with(" not shown)")).count();
    assert!(reported > 0, "{}", seen.len());
    server.signal(Signal::SIGTERM);
    server.ends_well();
    let lost = server.says_error("console_lost=");
    assert!(Stats::parse(&lost).unwrap()["console_lost"] > 100, "{lost}");
}

#[test]
fn output_that_nobody_will_ever_read_ends_nothing() {
    let (mut server, places) = chat(CHAT_AND_ECHO);
    server.closes_output();
    let mut client = Client::tcp(places.tcp());
    (0..10).for_each(|_| client.say("hi\n"));
    server.types("hello\n");
    client.hears("hello\n");
    Client::tcp(places.address(1)).ask("still here", "still here");
}

/// More lines than a terminal and our queue hold.
#[track_caller]
fn flood(client: &mut Client) {
    let line = format!("{}\n", "x".repeat(999));
    (0..1000).for_each(|_| client.say(&line));
}

#[test]
fn a_stopped_terminal_freezes_nothing() {
    for stop in [true, false] {
        let Some((mut server, places)) = chat_at_terminal("chat=tcp://127.0.0.1:0 echo=tcp://127.0.0.1:0") else {
            return;
        };
        server.sees("server: ");
        if stop {
            // The same as Ctrl-S, without a key.
            tcflow(server.terminal(), FlowArg::TCOOFF).unwrap();
        } else {
            server.types(CTRL_S);
        }
        let mut client = Client::tcp(places.tcp());
        let mut echo = Client::tcp(places.address(1));
        for _ in 0..3 {
            flood(&mut client);
            echo.ask("still here", "still here");
        }
        client.finish();
        client.hears_end();
        drop((client, echo));
        assert!(!server.written().contains("client"), "it is stopped");
        if stop {
            tcflow(server.terminal(), FlowArg::TCOON).unwrap();
        } else {
            server.types(CTRL_Q);
        }
        // The lines that waited are written.
        server.sees("[1] client: xxx");
        let stats = stats_at_end(&mut server);
        assert!(stats["console_lost"] > 0, "{stats:?}");
    }
}

#[test]
fn a_server_that_starts_at_a_stopped_terminal_serves_and_ends() {
    let folder = Folder::new();
    let place = folder.file("ping");
    // The shell waits for a line, so that the terminal is stopped before the server prints.
    let endpoint = format!("ping=unix://{}", place.display());
    let words = ["-c", "read line; exec \"$0\" \"$@\"", BINARY, "serve", &endpoint];
    let Some(mut server) = Talk::program("sh", &words).on_terminal(false) else { return };
    tcflow(server.terminal(), FlowArg::TCOOFF).unwrap();
    server.types("\n");
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&place).ok());
    Client::unix(&place).ask("ping", "pong");
    assert!(!server.written().contains("ready"));
    tcflow(server.terminal(), FlowArg::TCOON).unwrap();
    server.sees(&format!("listening {}\r\nready\r\n", endpoint.replace('=', " ")));

    tcflow(server.terminal(), FlowArg::TCOOFF).unwrap();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.status().code(), Some(0));
}

#[test]
fn clients_that_do_not_read_do_not_keep_the_operator_from_quitting() {
    let folder = Folder::new();
    let place = folder.file("chat");
    let Some((mut server, _)) = chat_at_terminal(&format!("chat=unix://{} --drain 0s", place.display())) else {
        return;
    };
    // What is unsent to them all is far more than to one.
    let deaf: Vec<Client> = (0..32).map(|_| Client::unix(&place)).collect();
    server.sees("[32] unix connected");
    let line = format!("@all {}\n", "x".repeat(4000));
    while !server.written().contains("does not read") {
        server.types(&line);
        server.sees("x\r\n");
    }
    for number in 2..=32 {
        server.sees(&format!("[{number}] does not read"));
    }
    server.types("/quit\n");
    server.ends_well();
    drop(deaf);
}

#[test]
fn ctrl_c_ends_a_ping_at_a_stopped_terminal() {
    let mut server = Talk::serve("ping=tcp://127.0.0.1:0").start();
    let place = server.ready().endpoint("tcp").to_owned();
    let Some(mut ping) = Talk::ours(&["ping", &place, "-i", "1ms"]).on_terminal(false) else { return };
    ping.sees("seq=3 ");
    tcflow(ping.terminal(), FlowArg::TCOOFF).unwrap();
    // It asks no more: no output is lost.
    ping.rests();
    ping.types(CTRL_C);
    assert_eq!(ping.status().code(), Some(0));
}

#[test]
fn a_terminal_that_nobody_reads_freezes_nothing() {
    let arguments = "chat=tcp://127.0.0.1:0 echo=tcp://127.0.0.1:0 -vv";
    for with_errors in [false, true] {
        let Some(mut server) = Talk::serve(arguments).on_terminal(with_errors) else { return };
        let places = server.ready();
        let mut client = Client::tcp(places.tcp());
        let mut echo = Client::tcp(places.address(1));
        // Lines of many lengths, so that some line just fits the last byte of room.
        for length in 1..400 {
            client.say(format!("{}\n", "x".repeat(length)));
            echo.ask("y".repeat(length), "y".repeat(length));
        }
        flood(&mut client);
        echo.ask("still here", "still here");
    }
}

#[test]
fn a_terminal_that_has_hung_up_before_the_start_stops_no_server() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let (master, terminal) = pseudo_terminal();
    drop(master);
    let mut server = Talk::serve(&format!("ping=unix://{}", place.display())).stdout(terminal).start();
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&place).ok());
    Client::unix(&place).ask("ping", "pong");
    server.stops();
}

#[track_caller]
fn stats_at_end(server: &mut Talker) -> Stats {
    server.signal(Signal::SIGTERM);
    let ended = server.ends();
    ended.stderr.lines().find_map(Stats::parse).expect("counters at the end")
}
