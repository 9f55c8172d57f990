//! Chat through pipes and sockets: many clients, one operator whose lines come from a pipe, a file or nowhere.

use std::fs::{self, File};
use std::process::Stdio;

use fake::Dice;
use nix::sys::signal::Signal;

use super::support::{BINARY, Client, DatagramClient, Folder, Stats, eventually};
use super::talk::{Places, Talk, Talker};

pub(super) const CHAT: &str = "chat=tcp://127.0.0.1:0";
pub(super) const CHAT_AND_ECHO: &str = "chat=tcp://127.0.0.1:0 echo=tcp://127.0.0.1:0 echo=udp://127.0.0.1:0";

/// A chat whose operator is a pipe that the test writes to.
#[track_caller]
pub(super) fn chat(arguments: &str) -> (Talker, Places) {
    let mut server = Talk::serve(arguments).start();
    let places = server.ready();
    (server, places)
}

/// A new client, which the operator sees as this number.
#[track_caller]
pub(super) fn join(server: &mut Talker, places: &Places, number: usize) -> Client {
    let client = Client::tcp(places.tcp());
    server.sees(&format!("[{number}] {} connected\n", client.name()));
    client
}

/// The client says something, and the operator sees it.
#[track_caller]
fn say(server: &mut Talker, client: &mut Client, number: usize, text: &str) {
    client.say(format!("{text}\n"));
    server.sees(&format!("[{number}] client: {text}\n"));
}

#[test]
fn clients_are_numbered_and_shown_as_they_come_speak_and_go() {
    let (mut server, places) = chat(CHAT);
    let mut clients: Vec<Client> = (1..=3).map(|number| join(&mut server, &places, number)).collect();
    say(&mut server, &mut clients[2], 3, "hi");
    say(&mut server, &mut clients[0], 1, "hello");
    let second = clients.remove(1);
    drop(second);
    server.sees("[2] disconnected\n");
    // A number is given once.
    let _fourth = join(&mut server, &places, 4);
}

#[test]
fn an_answer_goes_to_the_oldest_unanswered_and_settles_all_that_it_has_said() {
    let (mut server, places) = chat(CHAT);
    let mut first = join(&mut server, &places, 1);
    let mut second = join(&mut server, &places, 2);
    say(&mut server, &mut second, 2, "b1");
    say(&mut server, &mut first, 1, "a1");
    say(&mut server, &mut second, 2, "b2");
    server.types("to b\n");
    second.hears("to b\n");
    server.types("to a\n");
    first.hears("to a\n");
    // All are answered: the line goes to the client that spoke last.
    server.types("to b again\n");
    second.hears("to b again\n");
    say(&mut server, &mut first, 1, "a2");
    server.types("to a again\n");
    first.hears("to a again\n");
    server.types("and again\n");
    first.hears("and again\n");
    second.has_heard_nothing();
}

#[test]
fn a_client_that_has_left_is_not_answered_in_place_of_the_next() {
    let (mut server, places) = chat(CHAT);
    let mut first = join(&mut server, &places, 1);
    let mut second = join(&mut server, &places, 2);
    say(&mut server, &mut first, 1, "anybody?");
    say(&mut server, &mut second, 2, "me too");
    drop(first);
    server.sees("[1] disconnected\n");
    server.types("yes\n");
    second.hears("yes\n");
    // The last client that has spoken leaves: the script waits again, and nothing is lost.
    drop(second);
    server.sees("[2] disconnected\n");
    server.types("later\n");
    let mut third = join(&mut server, &places, 3);
    third.has_heard_nothing();
    say(&mut server, &mut third, 3, "here");
    third.hears("later\n");
}

#[test]
fn one_client_is_named_or_all_are() {
    let (mut server, places) = chat(CHAT);
    let mut clients: Vec<Client> = (1..=3).map(|number| join(&mut server, &places, number)).collect();
    say(&mut server, &mut clients[0], 1, "hi");
    server.types("@2 only you\n@all everyone\n@1  two spaces\n");
    clients[1].hears("only you\neveryone\n");
    clients[2].hears("everyone\n");
    clients[0].hears("everyone\n two spaces\n");
    // The named client counts as answered, the other does not.
    say(&mut server, &mut clients[1], 2, "I");
    say(&mut server, &mut clients[2], 3, "and I");
    server.types("@2 you\nthe other\n");
    clients[1].hears("you\n");
    clients[2].hears("the other\n");
}

#[test]
fn who_lists_the_clients_and_what_they_wait_for() {
    let (mut server, places) = chat(CHAT);
    let mut first = join(&mut server, &places, 1);
    let mut second = join(&mut server, &places, 2);
    let third = join(&mut server, &places, 3);
    say(&mut server, &mut first, 1, "hi");
    say(&mut server, &mut second, 2, "hello");
    server.types("@2 hello\n/who\n");
    server.sees(&format!("[1] {} waits for an answer\n", first.name()));
    server.sees(&format!("[2] {} is answered\n", second.name()));
    server.sees(&format!("[3] {} has not spoken\n", third.name()));
}

#[test]
fn close_ends_one_conversation_and_quit_all() {
    let (mut server, places) = chat(CHAT);
    let mut first = join(&mut server, &places, 1);
    let mut second = join(&mut server, &places, 2);
    say(&mut server, &mut first, 1, "hi");
    server.types("@2 goodbye\n/close 2\n");
    second.hears("goodbye\n");
    second.hears_end();
    drop(second);
    server.sees("[2] disconnected\n");
    first.has_heard_nothing();
    server.types("see you\n/quit\n");
    first.hears("see you\n");
    first.hears_end();
    drop(first);
    let ended = server.ends();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let stats = ended.stderr.lines().find_map(Stats::parse).expect("counters at the end");
    assert_eq!((stats["accepted"], stats["service"], stats["shutdown"]), (2, 1, 1), "{stats:?}");
}

#[test]
fn mistakes_of_the_operator_are_named_and_sent_to_nobody() {
    let (mut server, places) = chat(CHAT);
    let mut client = join(&mut server, &places, 1);
    say(&mut server, &mut client, 1, "hi");
    for (line, word) in [
        ("@7 x", "no client 7"),
        ("@ x", "no client"),
        ("@one x", "no client one"),
        ("/close 7", "no client 7"),
        ("/close", "no client"),
        ("/close \x1b[2J", "no client \\u{1b}[2J"),
        ("/frob", "no /frob"),
        ("/\x1b[2J", "no /\\u{1b}[2J"),
    ] {
        server.types(format!("{line}\n"));
        server.sees(word);
        server.sees("\n");
    }
    client.has_heard_nothing();
    // And the client still waits.
    server.types("hello\n");
    client.hears("hello\n");
}

#[test]
fn what_clients_send_is_escaped() {
    let (mut server, places) = chat(CHAT);
    let mut client = join(&mut server, &places, 1);
    for (sent, shown) in [
        (&b"\x1b[2J\x1b]0;title\x07"[..], r"\u{1b}[2J\u{1b}]0;title\u{7}"),
        (b"\xff\xfe caf\xc3\xa9", "\\xff\\xfe caf\u{e9}"),
        (b"over\rwritten\x08\x7f\0", r"over\rwritten\u{8}\u{7f}\u{0}"),
        ("\u{9b}2J \u{202e}txt".as_bytes(), r"\u{9b}2J \u{202e}txt"),
    ] {
        client.say([sent, b"\n"].concat());
        server.sees(&format!("[1] client: {shown}\n"));
    }
}

#[test]
fn lines_of_a_pipe_wait_until_somebody_has_spoken() {
    let (mut server, places) = chat(CHAT);
    server.types("first\nsecond\n");
    let mut client = join(&mut server, &places, 1);
    client.has_heard_nothing();
    say(&mut server, &mut client, 1, "hello");
    client.hears("first\nsecond\n");
    server.types("third\n");
    client.hears("third\n");
}

#[test]
fn the_end_of_a_pipe_ends_chat_once_its_lines_are_delivered() {
    let (mut server, places) = chat(CHAT);
    server.types("hi\nbye");
    server.ends_input();
    // They are not delivered before a client has spoken.
    let mut client = join(&mut server, &places, 1);
    client.has_heard_nothing();
    client.say("hello\n");
    client.hears("hi\nbye\n");
    client.hears_end();
    drop(client);
    server.sees("[1] disconnected\n");
    server.ends_well();
}

#[test]
fn the_end_of_an_empty_pipe_ends_chat_at_once() {
    let (mut server, _) = chat(CHAT);
    server.ends_input();
    server.ends_well();
}

#[test]
fn the_end_of_chat_leaves_other_services_be() {
    let (mut server, places) = chat(CHAT_AND_ECHO);
    let mut echo = Client::tcp(places.address(1));
    echo.ask("before", "before");
    let mut client = join(&mut server, &places, 1);
    server.types("hi\n");
    server.ends_input();
    client.ask("hello\n", "hi\n");
    client.hears_end();
    drop(client);
    server.sees("[1] disconnected\n");
    echo.ask("after", "after");
    Client::tcp(places.address(1)).ask("new", "new");
    DatagramClient::udp(places.address(2)).ask("datagram", "datagram");
    let refused = || std::net::TcpStream::connect(places.tcp()).err();
    let error = eventually("its port refuses", refused);
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn without_an_operator_clients_are_served_and_shown_and_not_answered() {
    let closed = ["-c", "exec \"$0\" \"$@\" <&-", BINARY, "serve", CHAT];
    for server in [Talk::serve(CHAT).stdin(Stdio::null()), Talk::program("sh", &closed)] {
        let mut server = server.start();
        let places = server.ready();
        let mut client = join(&mut server, &places, 1);
        say(&mut server, &mut client, 1, "anybody?");
        let mut second = join(&mut server, &places, 2);
        say(&mut server, &mut second, 2, "nobody");
        client.finish();
        client.hears_end();
        server.sees("[1] disconnected\n");
        second.has_heard_nothing();
        assert!(server.is_running());
    }
}

#[test]
fn a_file_is_read_as_a_pipe_is() {
    let folder = Folder::new();
    fs::write(folder.file("script"), "one\n@2 two\nthree").unwrap();
    let mut server = Talk::serve(CHAT).stdin(File::open(folder.file("script")).unwrap()).start();
    let places = server.ready();
    let mut quiet = join(&mut server, &places, 1);
    let mut second = join(&mut server, &places, 2);
    second.ask("hello\n", "one\ntwo\nthree\n");
    second.hears_end();
    quiet.hears_end();
    drop((second, quiet));
    server.ends_well();
}

#[test]
fn a_large_file_goes_at_the_clients_pace_and_whole() {
    let folder = Folder::new();
    let line = |number: u64| format!("{number} {:x}\n", Dice::new(number).roll());
    let script: String = (0..200_000).map(line).collect();
    fs::write(folder.file("script"), &script).unwrap();
    let mut server = Talk::serve(CHAT_AND_ECHO).stdin(File::open(folder.file("script")).unwrap()).start();
    let places = server.ready();
    let mut client = join(&mut server, &places, 1);
    client.say("begin\n");
    // It does not read yet, and no other client waits for it.
    client.hears(&script[..1000]);
    Client::tcp(places.address(1)).ask("x", "x");
    let rest = client.rest();
    assert!(rest == script.as_bytes()[1000..], "{} of {} bytes", rest.len() + 1000, script.len());
}

#[test]
fn what_stands_behind_quit_in_a_file_is_not_said() {
    let folder = Folder::new();
    fs::write(folder.file("script"), "hi\n/quit\nnot said\n@all nor this\n").unwrap();
    let mut server = Talk::serve(CHAT).stdin(File::open(folder.file("script")).unwrap()).start();
    let places = server.ready();
    let mut client = join(&mut server, &places, 1);
    client.say("hello\n");
    client.hears("hi\n");
    client.hears_end();
    drop(client);
    server.ends_well();
}

#[test]
fn input_is_read_no_further_than_what_may_wait_for_a_speaker() {
    for line in ["\n", "a line of a script\n"] {
        let (mut server, places) = chat(CHAT_AND_ECHO);
        let typed = server.types_all_it_takes(line);
        // What the pipe holds, and what waits in the server.
        assert!(typed < 256 << 10, "{typed} bytes");
        Client::tcp(places.address(1)).ask("x", "x");
        // A client speaks: all of it is said, and there is room again.
        let mut client = join(&mut server, &places, 1);
        say(&mut server, &mut client, 1, "hello");
        server.types("/quit\n");
        let heard = client.rest();
        assert!(heard == line.repeat(typed / line.len()).as_bytes(), "{} of {typed} bytes", heard.len());
        drop(client);
        server.ends_well();
    }
}

#[test]
fn an_answer_ends_as_the_clients_last_message_did() {
    for (options, spoken, bare) in
        [("", "hi\n", "hi\n"), ("--framing line", "hi\n", "hi\n"), ("--framing raw", "hi", "hi")]
    {
        let (mut server, places) = chat(&format!("{CHAT} {options}"));
        let mut quiet = join(&mut server, &places, 1);
        let mut client = join(&mut server, &places, 2);
        client.say(spoken);
        server.sees("[2] client: hi");
        server.types("hi\n@1 hi\n@all ho\n");
        client.hears(bare);
        client.hears(bare.replace('i', "o"));
        // A client that has not spoken gets lines, or with --framing raw the bare text.
        quiet.hears(bare);
        quiet.hears(bare.replace('i', "o"));
    }
    let (mut server, places) = chat(CHAT);
    for (said, answer) in [("hi\r\n", "ho\r\n"), ("hi", "ho"), ("hi\n", "ho\n")] {
        let mut client = Client::tcp(places.tcp());
        client.say(said);
        server.sees("client: hi\n");
        server.types("ho\n");
        client.hears(answer);
        client.finish();
        client.hears_end();
        server.sees("disconnected\n");
    }
}

#[test]
fn end_of_stream_and_reset_are_goodbyes() {
    let (mut server, places) = chat(CHAT);
    let mut half = join(&mut server, &places, 1);
    half.say("unanswered\nand unterminated");
    half.finish();
    half.hears_end();
    server.sees("[1] client: unanswered\n[1] client: and unterminated\n[1] disconnected\n");
    let broken = join(&mut server, &places, 2);
    broken.reset();
    server.sees("[2] disconnected\n");
    let log = server.stops();
    let stats = log.iter().find_map(|line| Stats::parse(line)).expect("counters at the end");
    assert_eq!((stats["peer"], stats["reset"], stats["open"]), (1, 1, 0), "{stats:?}");
}

#[test]
fn all_endpoints_of_chat_are_one_room() {
    let folder = Folder::new();
    let path = folder.file("chat");
    let (mut server, places) = chat(&format!("{CHAT} chat=unix://{}", path.display()));
    let mut first = join(&mut server, &places, 1);
    let mut second = Client::unix(&path);
    server.sees("[2] unix connected\n");
    say(&mut server, &mut second, 2, "hi");
    say(&mut server, &mut first, 1, "hello");
    server.types("to 2\nto 1\n");
    second.hears("to 2\n");
    first.hears("to 1\n");
    drop((first, second));
    server.stops();
    assert!(!path.exists());
}

#[test]
fn a_signal_ends_it_and_a_second_one_at_once() {
    let (mut server, places) = chat(CHAT);
    let mut client = join(&mut server, &places, 1);
    say(&mut server, &mut client, 1, "hi");
    server.signal(Signal::SIGTERM);
    client.hears_end();
    drop(client);
    server.ends_well();
    server.says_error("SIGTERM: shutting down");

    // What hello owes keeps the server going; a second signal ends it.
    let (mut server, places) = chat(&format!("{CHAT} hello=tcp://127.0.0.1:0 --delay 1m --drain 1m"));
    let mut hello = Client::tcp(places.address(1));
    hello.ask("X\n", "Welcome!");
    let mut client = join(&mut server, &places, 1);
    server.signal(Signal::SIGTERM);
    client.hears_end();
    drop(client);
    server.sees("[1] disconnected\n");
    server.signal(Signal::SIGINT);
    assert_eq!(server.ends().code, Some(130));
}

#[test]
fn chat_over_datagrams_is_a_mistake() {
    for endpoint in ["udp://127.0.0.1:0", "unixgram:///tmp/chat"] {
        let ended = Talk::serve(&format!("chat={endpoint}")).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(endpoint) && ended.stderr.lines().count() == 1, "{ended:?}");
    }
}
