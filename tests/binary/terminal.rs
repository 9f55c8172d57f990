//! On a terminal: prompts, Ctrl-C, Ctrl-D, what a client's bytes may do to it, and the state it is left in.

use std::fs;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::support::{BINARY, Client, Folder, Process, eventually};
use super::talk::{Places, Talk, Talker, is_nonblocking};

const CHAT: &str = "chat=tcp://127.0.0.1:0";
const CHAT_AND_HELLO: &str = "chat=tcp://127.0.0.1:0 hello=tcp://127.0.0.1:0 --delay 1m --drain 1m";

pub(super) const CTRL_C: &[u8] = b"\x03";
const CTRL_D: &[u8] = b"\x04";
pub(super) const CTRL_Q: &[u8] = b"\x11";
pub(super) const CTRL_S: &[u8] = b"\x13";

/// The rows of a terminal after these bytes. (It knows only as much of ECMA-48 and of the VT102 as we use, and is as wide
/// and as high as need be.)
fn picture(bytes: &str) -> Vec<String> {
    let mut rows: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut saved = (0, 0);
    let mut letters = bytes.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => row += 1,
            '\r' => column = 0,
            '\x08' => column -= 1,
            '\x1b' => match (letters.next(), letters.as_str().chars().next()) {
                (Some('D'), _) => row += 1,
                (Some('M'), _) => row -= 1,
                (Some('7'), _) => saved = (row, column),
                (Some('8'), _) => (row, column) = saved,
                (Some('['), Some('L')) => {
                    letters.next();
                    rows.insert(row, Vec::new());
                }
                other => panic!("{other:?} in {bytes:?}"),
            },
            _ => {
                let line = &mut rows[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = letter;
                column += 1;
            }
        }
        rows.resize(rows.len().max(row + 1), Vec::new());
    }
    // A row that was only passed is none.
    rows.truncate(rows.iter().rposition(|line| !line.is_empty()).unwrap_or(0).max(row) + 1);
    rows.into_iter().map(|row| row.into_iter().collect::<String>().trim_end().to_owned()).collect()
}

/// Waits until these are the rows on its terminal, apart from the lines about where it listens.
#[track_caller]
fn shows(talker: &mut Talker, rows: &[&str]) {
    let shown = |text: &str| {
        let mut rows = picture(text);
        rows.retain(|row| !row.starts_with("listening ") && row != "ready");
        rows
    };
    let mut last = Vec::new();
    let text = talker.written_until(|text| {
        last = shown(text);
        last == rows
    });
    assert!(text.is_some(), "{last:#?} instead of {rows:#?}");
}

#[track_caller]
pub(super) fn chat(arguments: &str) -> Option<(Talker, Places)> {
    let mut server = Talk::serve(arguments).on_terminal(false)?;
    let places = server.ready();
    Some((server, places))
}

#[test]
fn the_operators_prompt_stands_below_what_arrives() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    shows(&mut server, &["server:"]);
    let mut client = Client::tcp(places.tcp());
    let came = format!("[1] {} connected", client.name());
    shows(&mut server, &[&came, "server:"]);
    client.say("hi\n");
    shows(&mut server, &[&came, "[1] client: hi", "server:"]);
    server.types("hello\n");
    client.hears("hello\n");
    shows(&mut server, &[&came, "[1] client: hi", "server: hello", "server:"]);
    client.say("bye\n");
    drop(client);
    let rows = [&came, "[1] client: hi", "server: hello", "[1] client: bye", "[1] disconnected", "server:"];
    shows(&mut server, &rows);
    server.types("/quit\n");
    server.ends_well();
}

#[test]
fn a_line_that_is_being_typed_stays_on_the_screen() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let mut client = Client::tcp(places.tcp());
    let came = format!("[1] {} connected", client.name());
    client.say("hi\n");
    shows(&mut server, &[&came, "[1] client: hi", "server:"]);
    server.types("helo");
    shows(&mut server, &[&came, "[1] client: hi", "server: helo"]);
    client.say("are you\nthere?\n");
    let rows = [&came, "[1] client: hi", "[1] client: are you", "[1] client: there?", "server: helo"];
    shows(&mut server, &rows);
    // It is still the terminal's to edit.
    server.types("\x7flo\n");
    client.hears("hello\n");
    shows(&mut server, &[&rows[..4], &["server: hello", "server:"]].concat());

    // A message that may take several rows stands below the line.
    let long = "x".repeat(100);
    server.types("half a ");
    shows(&mut server, &[&rows[..4], &["server: hello", "server: half a"]].concat());
    client.say(format!("{long}\n"));
    let message = format!("[1] client: {long}");
    let rows = [&rows[..4], &["server: hello", "server: half a", &message, "server:"]].concat();
    shows(&mut server, &rows);
    server.types("line\n");
    client.hears("half a line\n");
}

#[test]
fn a_line_is_edited_before_it_is_sent() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let mut client = Client::tcp(places.tcp());
    client.say("hi\n");
    server.sees("client: hi");
    // Backspace, and Ctrl-U for the whole line.
    server.types("nonsense\x15helk\x7flo\n");
    client.hears("hello\n");
}

#[test]
fn the_operator_is_told_when_nobody_has_spoken() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    server.types("anybody?\n");
    server.sees("nobody here has spoken");
    let mut client = Client::tcp(places.tcp());
    server.sees("connected");
    server.types("you?\n");
    server.sees("nobody here has spoken");
    client.has_heard_nothing();
    server.types("@1 you\n@all all\n/who\n");
    client.hears("you\nall\n");
    server.sees("has not spoken");
    client.say("yes\n");
    server.sees("client: yes");
    server.types("good\n");
    client.hears("good\n");
}

#[test]
fn there_is_no_prompt_where_output_or_input_is_no_terminal() {
    let folder = Folder::new();
    let file = folder.file("out");
    let script = format!("exec \"$0\" \"$@\" >{}", file.display());
    let words = ["-c", &script, BINARY, "serve", CHAT];
    let Some(mut server) = Talk::program("sh", &words).on_terminal(false) else { return };
    let text = eventually("it is ready", || fs::read_to_string(&file).ok().filter(|text| text.contains("ready\n")));
    let place = text.lines().next().unwrap().strip_prefix("listening chat tcp://").unwrap();
    let mut client = Client::tcp(place.parse().unwrap());
    client.say("hi\n");
    eventually("it is shown", || fs::read_to_string(&file).ok().filter(|text| text.contains("client: hi\n")));
    // The operator is a person all the same, because the input is a terminal.
    server.types("hello\n");
    client.hears("hello\n");
    server.types(CTRL_D);
    client.hears_end();
    drop(client);
    server.ends_well();
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("server:") && !text.contains('\x1b'), "{text:?}");

    let script = "exec \"$0\" \"$@\" </dev/null";
    let Some(mut server) = Talk::program("sh", &["-c", script, BINARY, "serve", CHAT]).on_terminal(false) else {
        return;
    };
    let places = server.ready();
    let mut client = Client::tcp(places.tcp());
    client.say("hi\n");
    server.sees("client: hi\r\n");
    assert!(!server.written().contains("server:"));
}

#[test]
fn the_client_prompts_and_shows_who_answers() {
    let mut server = Talk::serve("ping=tcp://127.0.0.1:0").start();
    let place = server.ready().endpoint("tcp").to_owned();
    let Some(mut client) = Talk::client(&place, &[]).on_terminal(false) else { return };
    shows(&mut client, &["input:"]);
    client.types("ping\n");
    shows(&mut client, &["input:ping", "server: pong", "input:"]);
    client.types("ping 2\n");
    shows(&mut client, &["input:ping", "server: pong", "input:ping 2", "server: pong 2", "input:"]);
    client.types("exit\n");
    client.ends_well();
    let rows = picture(&client.written());
    assert_eq!(rows[4], "input:exit");
    assert_eq!(rows.last().unwrap(), "", "the shell's prompt comes on a line of its own");
}

#[test]
fn after_the_last_line_there_is_no_prompt() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let Some(mut client) = Talk::client(places.endpoint("tcp"), &[]).on_terminal(false) else { return };
    client.sees("input:");
    client.types("exit\n");
    client.ends_well();
    assert_eq!(picture(&client.written()), ["input:exit", ""]);
    server.sees("disconnected\r\n");
    server.types("/quit\n");
    server.ends_well();
    let rows = picture(&server.written());
    assert_eq!(rows[rows.len() - 2..], ["server: /quit", ""]);
}

#[test]
fn the_client_leaves_at_ctrl_d_with_all_that_it_is_owed() {
    let mut server = Talk::serve("hello=tcp://127.0.0.1:0 --delay 50ms").start();
    let place = server.ready().endpoint("tcp").to_owned();
    let Some(mut client) = Talk::client(&place, &[]).on_terminal(false) else { return };
    client.sees("Welcome!");
    client.types("Michael\n");
    client.types(CTRL_D);
    client.ends_well();
    let rows = picture(&client.written());
    assert!(rows.contains(&"server: Hello, Michael!".to_owned()), "{rows:#?}");
    assert_eq!(rows.last().unwrap(), "", "{rows:#?}");
}

#[test]
fn both_sides_of_a_chat_at_terminals() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let place = places.endpoint("tcp");
    let Some(mut client) = Talk::client(place, &[]).on_terminal(false) else { return };
    server.sees("connected");
    client.types("hello\n");
    server.sees("[1] client: hello\r\n");
    server.types("hi\n");
    shows(&mut client, &["input:hello", "server: hi", "input:"]);
    server.types("are you there?\n");
    shows(&mut client, &["input:hello", "server: hi", "server: are you there?", "input:"]);
    client.types("exit\n");
    server.sees("[1] disconnected\r\n");
    client.ends_well();
    server.types(CTRL_D);
    server.ends_well();
    assert_eq!(picture(&server.written()).last().unwrap(), "");
}

#[test]
fn the_client_sees_the_operator_leave() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let Some(mut client) = Talk::client(places.endpoint("tcp"), &[]).on_terminal(false) else { return };
    client.types("hello\n");
    server.sees("client: hello");
    server.types("bye\n/quit\n");
    server.ends_well();
    client.sees("server: bye");
    client.ends_well();
}

#[test]
fn ctrl_d_ends_the_server_and_a_begun_line_is_said_before() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let mut client = Client::tcp(places.tcp());
    client.say("hi\n");
    server.sees("client: hi");
    // The first Ctrl-D only hands over what has been typed, as for cat(1).
    server.types("bye");
    server.types(CTRL_D);
    server.types(CTRL_D);
    client.hears("bye\n");
    client.hears_end();
    drop(client);
    server.ends_well();
}

#[test]
fn ctrl_d_ends_other_services_too_once_they_have_answered() {
    let Some((mut server, places)) = chat("chat=tcp://127.0.0.1:0 hello=tcp://127.0.0.1:0 --delay 100ms") else {
        return;
    };
    let mut hello = Client::tcp(places.address(1));
    hello.ask("X\n", "Welcome!");
    server.types(CTRL_D);
    hello.hears("Hello, X!\n");
    hello.hears_end();
    drop(hello);
    server.ends_well();
}

#[test]
fn ctrl_c_kills_the_client() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let Some(mut client) = Talk::client(places.endpoint("tcp"), &[]).on_terminal(false) else { return };
    server.sees("connected");
    client.sees("input:");
    client.types(CTRL_C);
    assert_eq!(client.killed_by(), Some(Signal::SIGINT));
    server.sees("[1] disconnected");
}

#[test]
fn ctrl_c_drains_the_server_and_a_second_one_stops_it() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let mut client = Client::tcp(places.tcp());
    client.say("hi\n");
    server.sees("client: hi");
    server.types(CTRL_C);
    client.hears_end();
    drop(client);
    server.ends_well();

    let Some((mut server, places)) = chat(CHAT_AND_HELLO) else { return };
    let mut hello = Client::tcp(places.address(1));
    hello.ask("X\n", "Welcome!");
    server.types(CTRL_C);
    server.says_error("SIGINT: shutting down");
    server.types(CTRL_C);
    assert_eq!(server.ends().code, Some(130));
}

#[test]
fn strangers_cannot_steer_the_terminal() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let place = places.endpoint("tcp");
    let Some(mut client) = Talk::client(place, &[]).on_terminal(false) else { return };
    server.sees("connected");
    let nasty = b"\x1b[2J\x1b]0;x\x07 \xff\xfe \xc2\x9b2J \r over";
    let shown = r"\u{1b}[2J\u{1b}]0;x\u{7} \xff\xfe \u{9b}2J \r over";
    let mut stranger = Client::tcp(places.tcp());
    stranger.say([&nasty[..], b"\n"].concat());
    server.sees(&format!("[2] client: {shown}\r\n"));
    picture(&server.written());

    // Nor can a server steer the terminal of our client.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let Some(mut victim) = Talk::client(&endpoint, &[]).on_terminal(false) else { return };
    let (mut server, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut server, &[&nasty[..], b"\r\nsecond\n"].concat()).unwrap();
    shows(&mut victim, &[&format!("server: {shown}"), "server: second", "input:"]);
    drop(server);
    victim.ends_well();
    client.types("exit\n");
    client.ends_well();
}

#[test]
fn the_terminal_is_left_as_it_was() {
    let Some((mut server, places)) = chat(CHAT) else { return };
    let Some(mut client) = Talk::client(places.endpoint("tcp"), &[]).on_terminal(false) else { return };
    let modes = |talker: &Talker| nix::sys::termios::tcgetattr(talker.terminal()).unwrap();
    let before = modes(&server);
    client.types("hi\n");
    server.sees("client: hi");
    assert!(!is_nonblocking(client.terminal()) && !is_nonblocking(server.terminal()));
    client.types("exit\n");
    assert!(client.status().success());
    assert!(!is_nonblocking(client.terminal()));
    server.types("/quit\n");
    assert!(server.status().success());
    assert!(!is_nonblocking(server.terminal()));
    assert_eq!(modes(&server), before);
}

/// A chat in the background of a shell, which reads a line from `begin`, then brings it to the foreground.
#[track_caller]
fn background_chat(begin: &str) -> Option<(Talker, Places, Pid)> {
    // Job control in a script: until fg the shell reads what is typed.
    let script = format!("\"$0\" \"$@\" & echo job $!; {begin}; fg >/dev/null");
    let mut shell = Talk::program("bash", &["-m", "-c", &script, BINARY, "serve", CHAT]).on_terminal(true)?;
    let places = shell.ready();
    let text = shell.written_until(|text| text.contains("job ")).unwrap();
    let job = text.split_once("job ").unwrap().1.lines().next().unwrap().trim().parse().unwrap();
    Some((shell, places, Pid::from_raw(job)))
}

#[test]
fn in_the_background_it_serves_on_and_leaves_the_terminal_alone() {
    let begin = "read line; echo \"shell: $line\"; read line";
    let Some((mut shell, places, job)) = background_chat(begin) else { return };
    let mut client = Client::tcp(places.tcp());
    client.say("hi\n");
    shell.sees("[1] client: hi\r\n");
    shell.types("for the shell\n");
    shell.sees("shell: for the shell\r\n");
    client.say("again\n");
    shell.sees("[1] client: again\r\n");
    client.has_heard_nothing();
    assert!(!Process(job).is_stopped());
    shell.types("\n");
    eventually("it is in the foreground", || (shell.foreground() == job).then_some(()));
    shell.types("to the client\n");
    client.hears("to the client\n");
    drop(client);
    shell.sees("disconnected");
    shell.types(CTRL_D);
    shell.ends_well();
}

#[test]
fn what_was_typed_before_it_came_to_the_foreground_is_read_then() {
    let folder = Folder::new();
    let fifo = folder.file("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let Some((mut shell, places, job)) = background_chat(&format!("read line <{}", fifo.display())) else { return };
    let mut client = Client::tcp(places.tcp());
    client.say("hi\n");
    shell.sees("[1] client: hi\r\n");
    shell.types("typed ahead\n");
    shell.sees("typed ahead\r\n");
    client.say("again\n");
    shell.sees("[1] client: again\r\n");
    fs::write(&fifo, "\n").unwrap();
    eventually("it is in the foreground", || (shell.foreground() == job).then_some(()));
    client.hears("typed ahead\n");
}

#[test]
fn a_terminal_that_goes_away_takes_the_server_along() {
    let Some((mut server, _)) = chat(CHAT) else { return };
    server.hangs_up();
    assert_eq!(server.killed_by(), Some(Signal::SIGHUP));
}

#[test]
fn a_terminal_that_goes_away_is_the_end_of_input_where_the_signal_is_ignored() {
    let words = ["-c", "trap '' HUP; exec \"$0\" \"$@\"", BINARY, "serve", CHAT];
    let Some(mut server) = Talk::program("sh", &words).on_terminal(false) else { return };
    let mut client = Client::tcp(server.ready().tcp());
    client.say("hi\n");
    server.sees("client: hi");
    server.hangs_up();
    client.hears_end();
    drop(client);
    assert_eq!(server.status().code(), Some(0));
}

#[test]
fn a_terminal_that_is_not_the_controlling_one_is_typed_at_too() {
    // A process in a new session has no controlling terminal.
    let words = ["-c", "setsid --wait \"$0\" \"$@\"", BINARY, "serve", CHAT];
    let Some(mut server) = Talk::program("sh", &words).on_terminal(false) else { return };
    let mut client = Client::tcp(server.ready().tcp());
    client.say("hi\n");
    server.sees("client: hi");
    server.types("hello\n");
    client.hears("hello\n");
    server.types("/quit\n");
    client.hears_end();
    drop(client);
    server.ends_well();
}
