//! Trouble: garbage, resets, urgent bytes, edges that hide a FIN, and system calls that fail (by strace's injection).

use std::time::Duration;

use fake::Dice;
use nix::sys::signal::Signal;

use super::support::{Client, DatagramClient, Folder, Server, Strace, pass};

const ALL: &str = "ping=tcp://127.0.0.1:0 hello=tcp://127.0.0.1:0 echo=tcp://127.0.0.1:0 --delay 20ms";

/// Of 127.0.0.0/8, an address for which a server on all addresses has no socket of its own.
const OTHER: u8 = 2;

#[test]
fn garbage_hurts_nobody() {
    let server = Server::start(&format!("{ALL} ping=udp://127.0.0.1:0 hello=udp://127.0.0.1:0 echo=udp://[::]:0 -vv"));
    let mut dice = Dice::new(8);
    let mut bystander = server.dial("ping");
    for round in 0..30 {
        for service in ["ping", "hello", "echo"] {
            let length = 1 + dice.below(30_000);
            let garbage = dice.bytes(length);
            let mut client = server.dial(service);
            client.say(&garbage);
            if round % 2 == 0 {
                client.finish();
            }
            let gram = DatagramClient::udp(server.udp(service));
            gram.say(&garbage);
            gram.say(&garbage[..garbage.len().min(3)]);
        }
        bystander.ask(format!("ping {round}\n"), format!("pong {round}\n"));
    }
    let stats = server.stats_once("they have gone", |stats| stats["open"] == 1);
    assert_eq!(stats["accepted"], 91);
}

#[test]
fn data_and_fin_in_one_edge_are_answered_and_closed() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let server = Server::start(&format!("{ALL} ping=unix://{}", place.display()));
    let dials: [(&dyn Fn() -> Client, &str, &str); 4] = [
        (&|| server.dial("ping"), "ping 1\nping 2", "pong 1\npong 2"),
        (&|| server.dial("hello"), "X", "Welcome!Hello, X!"),
        (&|| server.dial("echo"), "x\n", "x\n"),
        (&|| Client::unix(&place), "ping 3\n", "pong 3\n"),
    ];
    for (dial, question, answer) in dials {
        // Frozen before they come, and again when they are known already.
        server.freeze();
        let mut fresh: Vec<Client> = (0..25).map(|_| dial()).collect();
        server.thaw();
        let mut known: Vec<Client> = (0..25).map(|_| dial()).collect();
        server.stats_once("they are in", |stats| stats["open"] == 50);
        server.freeze();
        fresh.extend((0..25).map(|_| dial()));
        fresh.append(&mut known);
        for client in &mut fresh {
            client.say(question);
            client.finish();
        }
        server.thaw();
        for client in &mut fresh {
            assert_eq!(client.rest(), answer.as_bytes());
        }
        server.stats_once("none is left over", |stats| stats["open"] == 0);
    }
    assert_eq!(server.stats()["peer"], 300);
}

#[test]
fn connections_reset_before_they_are_accepted_do_no_harm() {
    let server = Server::start(ALL);
    server.freeze();
    for service in ["ping", "hello", "echo"] {
        for _ in 0..50 {
            let mut client = server.dial(service);
            client.say("ping");
            client.reset();
        }
    }
    server.thaw();
    server.dial("ping").ask("ping", "pong");
    let stats = server.stats_once("all have gone", |stats| stats["open"] == 0);
    assert_eq!(stats["peer"] + stats["reset"], stats["accepted"]);
}

#[test]
fn a_reset_in_the_middle_of_writing_closes_that_connection_alone() {
    let server = Server::start(ALL);
    let mut bystander = server.dial("hello");
    bystander.hears("Welcome!");
    for service in ["ping", "echo"] {
        let mut greedy = server.dial(service);
        greedy.stuff(&b"x\n".repeat(1 << 15), 256 << 20);
        greedy.reset();
        let stats = server.stats_once("it has gone", |stats| stats["open"] == 1);
        assert!(stats["reset"] > 0 || stats["peer"] > 0);
        bystander.ask("X\n", "Hello, X!\n");
    }
    server.rests();
}

#[test]
fn an_urgent_byte_neither_closes_nor_loses_what_follows_nor_keeps_the_server_busy() {
    let server = Server::start(ALL);
    for service in ["ping", "echo"] {
        let answer = |text: &str| if service == "ping" { text.replace("ping", "pong") } else { text.to_owned() };
        let mut client = server.dial(service);
        client.ask("ping 1\n", answer("ping 1\n"));
        client.socket().send_out_of_band(b"!").unwrap();
        server.rests();
        client.ask("ping 2\n", answer("ping 2\n"));
        client.say("pin");
        client.socket().send_out_of_band(b"!").unwrap();
        client.say("g 3\n");
        client.hears(answer("ping 3\n"));
        // All of it waits when the server looks: a read ends at the mark.
        server.freeze();
        client.say("ping 4\n");
        client.socket().send_out_of_band(b"!").unwrap();
        client.say("ping 5\n");
        server.thaw();
        client.hears(answer("ping 4\nping 5\n"));
        server.rests();
        server.freeze();
        client.say("ping 6\n");
        client.socket().send_out_of_band(b"!").unwrap();
        client.say("ping 7");
        client.finish();
        server.thaw();
        client.hears(answer("ping 6\nping 7"));
        client.hears_end();
    }
    let mut owed = server.dial("hello");
    owed.ask("X\n", "Welcome!");
    owed.socket().send_out_of_band(b"!").unwrap();
    owed.ask("Y\n", "Hello, X!\nHello, Y!\n");
    drop(owed);
    server.stats_once("all have gone", |stats| stats["open"] == 0);
}

#[test]
fn client_that_leaves_while_owed_an_answer_is_noticed_and_costs_nothing() {
    let server = Server::start("hello=tcp://127.0.0.1:0 --delay 1h");
    let mut left = server.dial("hello");
    left.ask("X", "Welcome!");
    server.stats_once("it has been heard", |stats| stats["bytes_in"] == 1);
    left.reset();
    let stats = server.stats_once("it has gone", |stats| stats["open"] == 0);
    assert_eq!(stats["reset"], 1);
    server.rests();
}

#[test]
fn question_and_reset_in_one_edge_are_noticed() {
    let server = Server::start("hello=tcp://127.0.0.1:0 --delay 1h");
    let mut left = server.dial("hello");
    left.hears("Welcome!");
    server.freeze();
    left.say("X");
    left.reset();
    server.thaw();
    let stats = server.stats_once("it has gone", |stats| (stats["accepted"], stats["open"]) == (1, 0));
    assert_eq!(stats["reset"], 1);
}

#[test]
fn a_storm_of_signals_does_no_harm() {
    let mut server = Server::start(ALL);
    let mut client = server.dial("ping");
    for round in 0..200 {
        for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE, Signal::SIGCONT, Signal::SIGWINCH] {
            server.signal(signal);
        }
        client.ask(format!("ping {round}\n"), format!("pong {round}\n"));
    }
    drop(client);
    server.stop();
}

#[test]
fn a_long_stop_delays_answers_and_loses_none() {
    let server = Server::start("hello=tcp://127.0.0.1:0 --delay 50ms --idle-timeout 1h");
    let mut clients: Vec<Client> = (0..20).map(|_| server.dial("hello")).collect();
    clients.iter_mut().for_each(|client| client.ask("1\n2\n", "Welcome!"));
    server.freeze();
    let mut late = server.dial("hello");
    late.say("X\n");
    pass(Duration::from_millis(150));
    server.thaw();
    clients.iter_mut().for_each(|client| client.hears("Hello, 1!\nHello, 2!\n"));
    late.hears("Welcome!Hello, X!\n");
    assert_eq!(server.stats()["messages"], 41);
}

#[test]
fn signals_that_cannot_be_read_end_the_server_all_the_same() {
    for error in ["EIO", "EPERM"] {
        let mut server = Server::start(ALL);
        let Some(_strace) = Strace::inject(&server, &format!("read:error={error}")) else { return };
        server.signal(Signal::SIGUSR1);
        server.log("signals cannot be read");
        server.dial("ping").ask("ping", "pong");
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code(), None, "SIGTERM killed it");
    }
    // An interruption is no reason to end without draining.
    let mut server = Server::start(ALL);
    let Some(_strace) = Strace::inject(&server, "read:error=EINTR:when=1..3") else { return };
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn accept_errors_of_one_connection_do_not_keep_the_next_waiting() {
    for error in ["ECONNABORTED", "EINTR", "EPROTO", "EPERM"] {
        let server = Server::start(ALL);
        let Some(strace) = Strace::inject(&server, &format!("accept4:error={error}:when=1..3")) else { return };
        // No further client comes that would wake the listener again.
        server.dial("ping").ask("ping", "pong");
        assert_eq!(strace.injected(), 3, "{error}");
    }
}

#[test]
fn running_out_of_something_on_accept_makes_clients_wait_and_no_more() {
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        let server = Server::start(ALL);
        let mut known = server.dial("ping");
        known.ask("ping", "pong");
        let Some(strace) = Strace::inject(&server, &format!("accept4:error={error}:when=1..2")) else { return };
        let mut waiting = server.dial("hello");
        known.ask("ping", "pong");
        waiting.hears("Welcome!");
        assert_eq!(strace.injected(), 2, "{error}");
        // Lines that were logged before the counters have been read with them.
        server.stats();
        let warnings = server.stderr().iter().filter(|line| line.starts_with("WARN")).count();
        assert_eq!(warnings, 1, "{error}: {:#?}", server.stderr());
    }
}

#[test]
fn interrupted_calls_are_made_again() {
    for what in [
        "epoll_wait:error=EINTR:when=1+2",
        "recvfrom:error=EINTR:when=1+2",
        "sendto:error=EINTR:when=1+2",
        "recvmmsg:error=EINTR:when=1+2",
        "recvmsg:error=EINTR:when=1+2",
    ] {
        let server = Server::start(&format!("{ALL} echo=udp://127.0.0.1:0 ping=udp://0.0.0.0:0"));
        let Some(strace) = Strace::inject(&server, what) else { return };
        let [mut ping, mut hello, mut echo] = ["ping", "hello", "echo"].map(|service| server.dial(service));
        let (grams, pings) =
            (DatagramClient::udp(server.udp("echo")), ([127, 0, 0, OTHER], server.udp("ping").port()).into());
        let pings = DatagramClient::udp(pings);
        hello.hears("Welcome!");
        for _ in 0..4 {
            ping.ask("ping 1\nx\n", "pong 1\npong\n");
            hello.ask("X\n", "Hello, X!\n");
            echo.ask("y", "y");
            grams.ask("z", "z");
            pings.ask("ping", "pong");
        }
        for mut client in [ping, hello, echo] {
            client.finish();
            client.hears_end();
        }
        assert!(strace.injected() >= 3, "{what}");
        assert_eq!(server.stats_once("all have gone", |stats| stats["open"] == 0)["peer"], 3, "{what}");
    }
}

#[test]
fn a_call_that_fails_ends_its_connection_and_no_other() {
    for (what, reason) in [
        ("epoll_ctl:error=ENOSPC:when=1", "limit"),
        ("epoll_ctl:error=ENOMEM:when=1", "limit"),
        ("recvfrom:error=ENOMEM:when=1", "reset"),
        ("recvfrom:error=ETIMEDOUT:when=1", "reset"),
        ("sendto:error=EPIPE:when=1", "peer"),
        ("sendto:error=ECONNRESET:when=1", "reset"),
        ("sendto:error=ENOBUFS:when=1", "reset"),
    ] {
        let server = Server::start(ALL);
        let mut bystander = server.dial("hello");
        bystander.ask("X\n", "Welcome!Hello, X!\n");
        let Some(strace) = Strace::inject(&server, what) else { return };
        let mut unlucky = server.dial("ping");
        unlucky.say("ping");
        // The connection ends, perhaps by RST: bytes may have stayed unread.
        let end = std::io::Read::read(&mut unlucky.socket(), &mut [0; 1]);
        assert!(end.is_err() || end.is_ok_and(|count| count == 0), "{what}");
        server.dial("ping").ask("ping", "pong");
        bystander.ask("X\n", "Hello, X!\n");
        assert_eq!(strace.injected(), 1, "{what}");
        let stats = server.stats_once("one is left", |stats| stats["open"] == 1);
        let expected = if reason == "peer" { 2 } else { 1 };
        assert_eq!((stats[reason], stats["accepted"]), (expected, 3), "{what}: {stats:?}");
    }
}

#[test]
fn a_datagram_that_cannot_be_sent_is_dropped_and_counted() {
    for error in ["EPERM", "EHOSTUNREACH", "ENOBUFS", "EINVAL"] {
        let server = Server::start("ping=udp://127.0.0.1:0");
        let Some(_strace) = Strace::inject(&server, &format!("sendto:error={error}:when=1")) else { return };
        let client = DatagramClient::udp(server.udp("ping"));
        client.say("ping 1");
        server.stats_once("it is dropped", |stats| stats["dropped"] == 1);
        client.ask("ping 2", "pong 2");
        let stats = server.stats();
        assert_eq!((stats["dropped"], stats["datagrams_out"]), (1, 1), "{error}");
    }
}

#[test]
fn datagrams_that_find_no_room_in_the_send_buffer_leave_later_and_in_order() {
    for (host, asked, call, least) in [
        ("127.0.0.1:0 --no-segment", 1, "sendto", 4),
        // Once a run has found no room, its datagrams leave from the queue one by one.
        ("127.0.0.1:0", 1, "sendmmsg", 1),
        ("0.0.0.0:0", OTHER, "sendmmsg", 4),
    ] {
        let server = Server::start(&format!("ping=udp://{host}"));
        let Some(strace) = Strace::inject(&server, &format!("{call}:error=EAGAIN:when=1+3")) else { return };
        let client = DatagramClient::udp(([127, 0, 0, asked], server.udp("ping").port()).into());
        server.freeze();
        (0..20).for_each(|n| client.say(format!("ping {n}")));
        server.thaw();
        (0..20).for_each(|n| client.hears(format!("pong {n}")));
        assert!(strace.injected() >= least, "{host} {call}");
        let stats = server.stats();
        assert_eq!((stats["dropped"], stats["datagrams_out"]), (0, 20));
        strace.detach(&server);
        server.rests();
    }
}

#[test]
fn receives_that_always_fail_are_warned_about_and_keep_nobody_busy() {
    for (host, asked, call) in [("127.0.0.1", 1, "recvmmsg"), ("0.0.0.0", OTHER, "recvmsg")] {
        for error in ["EPERM", "ENOSYS"] {
            let server = Server::start(&format!("ping=udp://{host}:0 ping=tcp://127.0.0.1:0"));
            let Some(strace) = Strace::inject(&server, &format!("{call}:error={error}")) else { return };
            let client = DatagramClient::udp(([127, 0, 0, asked], server.udp("ping").port()).into());
            client.say("ping");
            server.log("ping: cannot receive datagrams: ");
            server.does_not_spin();
            server.dial("ping").ask("ping", "pong");
            // The datagram has waited.
            drop(strace);
            client.hears("pong");
            let warnings = server.stderr().iter().filter(|line| line.contains("cannot receive datagrams")).count();
            assert_eq!(warnings, 1, "{error}: {:#?}", server.stderr());
        }
    }
}

#[test]
fn an_error_that_waits_on_a_datagram_socket_is_read_over() {
    for (host, asked, call) in [("127.0.0.1", 1, "recvmmsg"), ("0.0.0.0", OTHER, "recvmsg")] {
        let server = Server::start(&format!("ping=udp://{host}:0"));
        let Some(strace) = Strace::inject(&server, &format!("{call}:error=ECONNREFUSED:when=1..6")) else { return };
        // One datagram, one event: a server that stops at the error leaves the datagram unread.
        DatagramClient::udp(([127, 0, 0, asked], server.udp("ping").port()).into()).ask("ping", "pong");
        assert_eq!(strace.injected(), 6, "{call}");
    }
}
