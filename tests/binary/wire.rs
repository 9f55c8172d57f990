//! What is said on a TCP connection: framing, the three services, half-closes, the longest line.

use std::collections::VecDeque;
use std::io::Read;
use std::time::{Duration, Instant};
use std::{io, thread};

use fake::Dice;

use super::support::{Client, Server};

const PING: &str = "ping=tcp://127.0.0.1:0";
const HELLO: &str = "hello=tcp://127.0.0.1:0";
const ECHO: &str = "echo=tcp://127.0.0.1:0";

#[track_caller]
fn ping(options: &str) -> (Server, Client) {
    let server = Server::start(&format!("{PING} {options}"));
    let client = server.dial("ping");
    (server, client)
}

#[track_caller]
fn hello(options: &str) -> (Server, Client) {
    let server = Server::start(&format!("{HELLO} {options}"));
    let client = server.dial("hello");
    (server, client)
}

#[test]
fn hello_pdudo_without_line_end_gets_a_bare_pong() {
    let (mut server, mut client) = ping("");
    client.ask("hello pdudo", "pong");
    client.finish();
    client.hears_end();
    assert_eq!(server.stop()["bytes_out"], 4);
}

#[test]
fn auto_takes_a_short_first_chunk_without_line_end_as_raw_for_life() {
    let (_server, mut client) = ping("");
    client.ask("x", "pong");
    client.ask("a\nb\n", "pong");
    client.ask("ping 1\nping 2\n", "pong 1\nping 2\n");
    client.finish();
    client.hears_end();
}

#[test]
fn auto_takes_a_line_end_in_the_first_chunk_as_lines_for_life() {
    let (server, mut client) = ping("");
    client.ask("ping 1\n", "pong 1\n");
    client.say("ping");
    server.stats_once("the half line has arrived", |stats| stats["bytes_in"] == 11);
    client.has_heard_nothing();
    client.ask(" 2\n", "pong 2\n");
    client.ask("a\nb\n", "pong\npong\n");
    client.finish();
    client.hears_end();
}

#[test]
fn the_beginning_decides_for_each_connection_on_its_own() {
    let (server, mut lines) = ping("");
    let mut chunks = server.dial("ping");
    lines.ask("a\n", "pong\n");
    chunks.ask("a", "pong");
    lines.ask("a\nb\n", "pong\npong\n");
    chunks.ask("a\nb\n", "pong");
}

#[test]
fn auto_takes_1023_bytes_without_line_end_as_raw_at_once() {
    // One quick answer shows that the server does not wait; a slow one shows nothing.
    let server = Server::start(PING);
    let is_quick = || {
        let (mut client, began) = (server.dial("ping"), Instant::now());
        client.ask("x".repeat(1023), "pong");
        began.elapsed() < Duration::from_millis(150)
    };
    assert!((0..20).any(|_| is_quick()));
}

#[test]
fn auto_waits_for_the_end_of_a_long_first_line() {
    // An attempt shows something only if the test was quicker than the server's 200 ms.
    for _ in 0..20 {
        let (server, mut client) = ping("");
        let (long, began) = ("y".repeat(3000), Instant::now());
        client.say(format!("ping {long}"));
        server.stats_once("the first part has arrived", |stats| stats["bytes_in"] == 3005);
        client.say("z\r\nping 2\n");
        let was_quick = began.elapsed() < Duration::from_millis(150);
        client.finish();
        let heard = client.rest();
        if was_quick {
            assert_eq!(String::from_utf8_lossy(&heard), format!("pong {long}z\r\npong 2\n"));
            return;
        }
    }
    panic!("this machine is never quick enough");
}

#[test]
fn auto_takes_a_long_first_chunk_as_raw_when_no_line_end_comes_for_200_ms() {
    let (_server, mut client) = ping("");
    let began = Instant::now();
    client.ask("x".repeat(1024), "pong");
    assert!(began.elapsed() >= Duration::from_millis(200));
    client.ask("a\nb\n", "pong");
}

#[test]
fn a_long_first_chunk_is_answered_when_the_stream_ends_behind_it() {
    let (_server, mut client) = ping("");
    client.say("x".repeat(5000));
    client.finish();
    assert_eq!(client.rest(), b"pong");
}

#[test]
fn line_framing_waits_for_the_line_end() {
    let (server, mut client) = ping("--framing line");
    client.say("ping");
    server.stats_once("the half line has arrived", |stats| stats["bytes_in"] == 4);
    client.has_heard_nothing();
    client.ask("\n", "pong\n");
}

#[test]
fn raw_framing_answers_each_chunk_once() {
    let (_server, mut client) = ping("--framing raw");
    client.ask("a\nb\nc\n", "pong");
    client.ask("ping x\r\n", "pong x\r\n");
}

#[test]
fn one_carriage_return_before_the_line_end_is_part_of_it() {
    let (_server, mut client) = ping("");
    client.ask("ping\r\nping\nx\r\n\n\r\nping\r\r\n", "pong\r\npong\npong\r\npong\npong\r\npong\r\r\n");
    let (_server, mut client) = hello("--delay 0s --framing line");
    client.ask("A\r\nB\n\r\r\n\n", "Welcome!\nHello, A!\r\nHello, B!\nHello, \r!\r\nHello, !\n");
}

#[test]
fn ping_in_any_case_and_with_any_tail_is_mirrored_and_all_else_gets_pong() {
    let (_server, mut client) = ping("--framing line");
    client.ask(b"PING 7 abc\npInG\t\0\xff\n", b"PONG 7 abc\npOnG\t\0\xff\n");
    client.ask(b"ping \xff\x00\xfe\r\n", b"pong \xff\x00\xfe\r\n");
    client.ask("pingx\npin\n ping\nping-1\n\n", "pong\npong\npong\npong\npong\n");
    client.ask(b"\xff\x00\xfe\n", b"pong\n");
    client.ask("pong\n", "pong\n");
}

#[test]
fn an_unterminated_rest_at_the_end_is_one_last_message() {
    let (_server, mut client) = ping("");
    client.say("ping 1\nping 2");
    client.finish();
    assert_eq!(client.rest(), b"pong 1\npong 2");
}

#[test]
fn pipelined_pings_are_all_answered_in_order() {
    let (mut server, mut client) = ping("");
    let questions: String = (0..10_000).map(|n| format!("ping {n}\n")).collect();
    let answers = questions.replace("ping", "pong");
    let mut writer = client.socket().try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || io::Write::write_all(&mut writer, questions.as_bytes()).unwrap());
        client.hears(answers);
    });
    client.finish();
    client.hears_end();
    assert_eq!(server.stop()["messages"], 10_000);
}

#[test]
fn one_ping_in_many_segments_gets_one_answer() {
    let (server, mut client) = ping("--framing line");
    for (count, byte) in (1..).zip(b"ping 12 x\r\n") {
        client.has_heard_nothing();
        client.say([*byte]);
        server.stats_once("the byte has arrived", |stats| stats["bytes_in"] == count);
    }
    client.hears("pong 12 x\r\n");
    assert_eq!(server.stats()["messages"], 1);
}

#[test]
fn hello_says_welcome_and_nothing_else_until_it_is_spoken_to() {
    let (mut server, mut client) = hello("--delay 0s");
    client.hears("Welcome!");
    assert_eq!(server.stats()["bytes_out"], 8);
    client.ask("pdudo", "Hello, pdudo!");
    client.ask("a\nb", "Hello, a\nb!");
    client.finish();
    client.hears_end();
    let (mut other, mut client) = hello("--framing line");
    client.hears("Welcome!\n");
    client.finish();
    client.hears_end();
    assert_eq!(other.stop()["bytes_out"], 9);
    assert_eq!(server.stop()["bytes_out"], 8 + 13 + 11);
}

#[test]
fn hello_thinks_for_a_second_unless_told_otherwise() {
    let (_server, mut client) = hello("");
    client.hears("Welcome!");
    let began = Instant::now();
    client.ask("X\n", "Hello, X!\n");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn hello_answers_one_message_of_a_connection_at_a_time_and_others_never_wait() {
    let (mut server, mut many) = hello("--delay 100ms -vv");
    let began = Instant::now();
    many.say("1\n2\n3\n4\n5\n");
    server.stats_once("the five have arrived", |stats| stats["bytes_in"] == 10);
    let mut one = server.dial("hello");
    one.ask("one\n", "Welcome!Hello, one!\n");
    many.hears("Welcome!Hello, 1!\nHello, 2!\nHello, 3!\nHello, 4!\nHello, 5!\n");
    assert!(began.elapsed() >= Duration::from_millis(500), "each is thought about by itself");
    drop((many, one));
    server.stop();
    // By the order in the server's log: this test may look too late.
    let log = server.stderr_all();
    let line = |text: &str| log.iter().position(|line| line.contains(&format!("received \"{text}\""))).unwrap();
    assert!(line("one") < line("3"), "{log:#?}");
}

#[test]
fn hello_reads_no_more_while_it_owes_an_answer() {
    let (server, mut client) = hello("--delay 1h");
    client.hears("Welcome!");
    client.say("X\n");
    server.stats_once("the message has arrived", |stats| stats["bytes_in"] == 2);
    let sent = client.stuff(b"more and more\n", 64 << 20);
    assert!(sent < 64 << 20);
    assert_eq!(server.stats()["bytes_in"], 2);
    server.rests();
}

#[test]
fn exit_closes_when_its_turn_comes_and_at_once() {
    let (mut server, mut client) = hello("--delay 100ms");
    client.say("A\nexit\nB\n");
    assert_eq!(client.rest(), b"Welcome!Hello, A!\n");
    drop(client);
    // `exit` closes without the delay, which is an hour here.
    let (mut patient, mut client) = hello("--delay 1h");
    client.say("exit");
    assert_eq!(client.rest(), b"Welcome!");
    drop(client);
    for server in [&mut server, &mut patient] {
        assert_eq!(server.stop()["service"], 1);
    }
}

#[test]
fn only_exit_itself_closes() {
    let (_server, mut client) = hello("--delay 0s --framing line");
    client.ask("EXIT\n exit\nexit \n", "Welcome!\nHello, EXIT!\nHello,  exit!\nHello, exit !\n");
    client.say("exit\r\nB\n");
    client.hears_end();
}

#[test]
fn a_half_closed_client_still_gets_its_delayed_answers() {
    let (mut server, mut client) = hello("--delay 50ms");
    client.say("A\nB\nC");
    client.finish();
    assert_eq!(client.rest(), b"Welcome!Hello, A!\nHello, B!\nHello, C!");
    assert_eq!(server.stop()["peer"], 1);
}

#[test]
fn a_half_closed_client_still_gets_all_its_pongs() {
    let (mut server, mut client) = ping("");
    let questions: String = (0..20_000).map(|n| format!("ping {n}\n")).collect();
    let mut writer = client.socket().try_clone().unwrap();
    let heard = thread::scope(|scope| {
        scope.spawn(|| {
            io::Write::write_all(&mut writer, questions.as_bytes()).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        client.rest()
    });
    assert!(heard == questions.replace("ping", "pong").into_bytes());
    let stats = server.stop();
    assert_eq!((stats["peer"], stats["messages"]), (1, 20_000));
}

#[test]
fn echo_gives_megabytes_back_in_order_whatever_the_chunks() {
    let server = Server::start(ECHO);
    let sent = Dice::new(1).bytes(8 << 20);
    let mut client = server.dial("echo");
    let mut writer = client.socket().try_clone().unwrap();
    let heard = thread::scope(|scope| {
        scope.spawn(|| {
            let (mut dice, mut rest) = (Dice::new(2), &sent[..]);
            while !rest.is_empty() {
                let most = [10, 1500, 70_000, 400_000][dice.below(4)];
                let (chunk, later) = rest.split_at((1 + dice.below(most)).min(rest.len()));
                io::Write::write_all(&mut writer, chunk).unwrap();
                rest = later;
            }
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        client.rest()
    });
    assert!(heard == sent, "{} bytes of {}", heard.len(), sent.len());
}

#[test]
fn echo_gives_back_what_came_without_waiting_for_a_line() {
    let server = Server::start(&format!("{ECHO} --framing line"));
    let mut client = server.dial("echo");
    for chunk in [&b"a"[..], b"\0\xff", b"exit", b"\r\n"] {
        client.ask(chunk, chunk);
    }
}

#[test]
fn a_service_reads_only_as_fast_as_its_answers_are_taken() {
    const MOST: usize = 256 << 20;
    let server = Server::start(&format!("{PING} {ECHO}"));
    for (service, pattern) in [("echo", Dice::new(3).bytes(1 << 16)), ("ping", b"x\n".repeat(1 << 15))] {
        let mut client = server.dial(service);
        let before = server.memory();
        let sent = client.stuff(&pattern, MOST);
        assert!(sent < MOST, "{service} reads without end");
        let grown = server.memory().saturating_sub(before);
        assert!(grown < 4 << 20, "{service} keeps {grown} bytes of {sent}");
        server.does_not_spin();
        // Another client is served meanwhile, and nothing is lost.
        server.dial(service).ask("ping\n", if service == "ping" { "pong\n" } else { "ping\n" });
        client.finish();
        let expected: Box<dyn Fn(usize) -> u8> = match service {
            "echo" => Box::new(|at| pattern[at % pattern.len()]),
            _ => Box::new(|at| b"pong\n"[at % 5]),
        };
        let (mut heard, mut buffer) = (0, vec![0; 1 << 20]);
        loop {
            let count = client.socket().read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            let wrong = (0..count).find(|at| buffer[*at] != expected(heard + at));
            assert_eq!(wrong, None, "{service} after {heard} bytes");
            heard += count;
        }
        let due = if service == "echo" { sent } else { sent / 2 * 5 };
        // The last line may be a half one, whose answer is a bare pong.
        assert!((due..due + 5).contains(&heard), "{service} answers {heard} bytes instead of {due}");
    }
}

#[test]
fn the_longest_line_is_answered_and_one_byte_more_closes() {
    for terminator in ["\n", "\r\n"] {
        let (server, mut client) = ping("");
        let longest = "y".repeat(65_536 - 5);
        client.ask(format!("ping {longest}{terminator}"), format!("pong {longest}{terminator}"));
        client.say(format!("ping 1\nping 2\nping y{longest}{terminator}ping 3\n"));
        assert_eq!(client.rest(), b"pong 1\npong 2\n");
        // The server lingers until the client finishes too.
        drop(client);
        let stats = server.stats_once("it has ended", |stats| stats["open"] == 0);
        assert_eq!((stats["overflow"], stats["accepted"]), (1, 1));
    }
}

#[test]
fn a_line_that_never_ends_closes_its_connection_and_nothing_else() {
    let (server, mut bystander) = hello(&format!("{PING} --delay 500ms --framing line"));
    bystander.ask("X\n", "Welcome!\n");
    let mut client = server.dial("ping");
    client.ask("ping\n", "pong\n");
    // The server may close while the client is still sending; what was owed has come before.
    client.stuff(&[b'z'; 65_537], 65_537);
    client.hears_end();
    drop(client);
    bystander.hears("Hello, X!\n");
    let stats = server.stats_once("it has ended", |stats| stats["open"] == 1);
    assert_eq!(stats["overflow"], 1);
}

#[test]
fn the_answers_before_an_overlong_line_are_given_even_with_a_delay() {
    let (mut server, mut client) = hello("--max-message 8 --delay 50ms --framing line");
    client.say("12345678\nB\r\n123456789\nC\n");
    assert_eq!(client.rest(), b"Welcome!\nHello, 12345678!\nHello, B!\r\n");
    drop(client);
    assert_eq!(server.stop()["overflow"], 1);
}

#[test]
fn answers_under_way_outlive_a_close_with_unread_input() {
    // A close with unread input makes the kernel throw away what it has not delivered yet.
    let (server, mut client) = ping("--max-message 1000");
    let questions = "ping with some padding\n".repeat(50_000);
    client.say(&questions);
    client.say("z".repeat(2000) + "\n");
    client.say("never looked at\n".repeat(20_000));
    server.stats_once("all have been answered", |stats| stats["messages"] == 50_000);
    assert!(client.rest() == questions.replace("ping", "pong").into_bytes());
    drop(client);
    assert_eq!(server.stats_once("it has gone", |stats| stats["open"] == 0)["overflow"], 1);
}

#[test]
fn chunks_have_no_longest_one() {
    let (_server, mut client) = ping("--framing raw --max-message 8");
    client.ask("123456789", "pong");
    let server = Server::start(&format!("{ECHO} --max-message 8"));
    server.dial("echo").ask("123456789\n", "123456789\n");
}

#[test]
fn several_services_of_one_kind_live_side_by_side() {
    let server = Server::start(&format!("{PING} {PING} {ECHO} {HELLO} --delay 0s"));
    let listening: VecDeque<String> = server.stdout().into();
    let pings: Vec<_> =
        listening.iter().filter_map(|line| line.strip_prefix("listening ping tcp://")?.parse().ok()).collect();
    assert_eq!(pings.len(), 2, "{listening:?}");
    assert_ne!(pings[0], pings[1]);
    for address in pings {
        Client::tcp(address).ask("ping", "pong");
    }
    server.dial("echo").ask("x", "x");
    server.dial("hello").ask("x", "Welcome!Hello, x!");
}

#[test]
fn spinning_changes_nothing_but_the_latency() {
    let (server, mut client) = ping(&format!("{HELLO} --spin 20ms --delay 50ms"));
    client.ask("ping 1\n", "pong 1\n");
    let mut slow = server.dial("hello");
    slow.ask("X\n", "Welcome!Hello, X!\n");
    client.ask("ping 2\n", "pong 2\n");
    server.rests();
}
