//! TCP servers that misbehave: each answer that is not right or not in time is counted by what was wrong with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use socket2::Socket;

use super::super::support::Launch;
use super::peers::{self, pong_line};
use super::{bench, words};

/// Loads a server that answers each line of a connection with `reply(number, line)`.
#[track_caller]
fn facts(options: &str, reply: impl Fn(u64, &str) -> Option<String> + Clone + Send + 'static) -> (Option<i32>, String) {
    let address = peers::tcp(move |_| reply.clone());
    let figures = bench(&format!("tcp://{address}"), options);
    (figures.code, figures.facts())
}

fn told(code: i32, facts: &str) -> (Option<i32>, String) {
    (Some(code), facts.to_owned())
}

#[test]
fn one_wrong_byte_is_a_wrong_answer_and_exits_with_5() {
    let third_is_wrong = |at: usize, letter: &'static str| {
        move |number, line: &str| {
            let mut answer = pong_line(line);
            if number % 3 == 0 {
                answer.replace_range(at..at + 1, letter);
            }
            Some(answer)
        }
    };
    // In the word, in the number, in the padding, in the last byte before the end of the line.
    for at in [0, 16, 30, 62] {
        let found = facts("-c 1 -n 30", third_is_wrong(at, "X"));
        assert_eq!(found, told(5, "sent=30 requests=20 wrong=10"), "at {at}");
        let found = facts("-c 1 -n 30 -r 1000", third_is_wrong(at, "X"));
        assert_eq!(found, told(5, "sent=30 requests=20 wrong=10"), "at {at}, open loop");
    }
    assert_eq!(facts("-c 1 -p 5 -n 30", third_is_wrong(30, "X")), told(5, "sent=30 requests=20 wrong=10"));
}

#[test]
fn answer_of_another_length_is_wrong_and_harms_no_other() {
    let found = facts("-c 1 -p 4 -n 20", |number, line| match number % 10 {
        3 => Some(pong_line(line).replace("abc", "ab")),
        6 => Some(pong_line(line).replace("abc", "abcc")),
        9 => Some("\n".to_owned()),
        _ => Some(pong_line(line)),
    });
    assert_eq!(found, told(5, "sent=20 requests=14 wrong=6"));
}

#[test]
fn the_first_wrong_answer_is_shown_and_its_protocol_guessed() {
    let address = peers::tcp(|_| |_, _: &str| Some("HTTP/1.1 400 Bad \x1bRequest\r\n".to_owned()));
    for options in ["-c 1 -n 3", "-c 1 -n 1 --warmup 100ms"] {
        let figures = bench(&format!("tcp://{address}"), options);
        let shown = "wrong answer was \"HTTP/1.1 400 Bad \\u{1b}Request\\r\\n\" and not \"pong 000000000001 abc";
        assert!(figures.warns(shown), "{:?}", figures.whole["warnings"]);
        assert!(figures.warns("(it speaks HTTP?)"));
        assert_eq!(figures.whole["first_wrong"]["got"], "HTTP/1.1 400 Bad \\u{1b}Request\\r\\n");
    }
    // In the warm-up it closes without a word, and nobody is left.
    let address = peers::tcp(|_| |_, _: &str| None);
    let figures = bench(&format!("tcp://{address}"), "-c 2 -d 1m --warmup 30s");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "connections_lost=2"));
    assert!(figures.warns("gone before the measured time began") && figures.warns("is it the right kind of server"));
}

#[test]
fn answer_left_out_is_lost() {
    let reply = |number, line: &str| Some(if number % 10 == 0 { String::new() } else { pong_line(line) });
    // The only connection waits for it in vain, so that nobody is left to ask.
    let found = facts("-c 1 -n 25 --timeout 150ms", reply);
    assert_eq!(found, told(1, "sent=10 requests=9 lost=1 unsent=15 connections_stalled=1"));
    // The requests behind a lost one in the pipeline are answered in time; from then on its place is free.
    assert_eq!(facts("-c 1 -p 4 -n 25 --timeout 150ms", reply), told(1, "sent=25 requests=23 lost=2"));
    assert_eq!(facts("-c 1 -r 500 -n 25 --timeout 150ms", reply), told(1, "sent=25 requests=23 lost=2"));
}

#[test]
fn answer_after_the_timeout_is_late_and_one_that_never_comes_lost() {
    let address = peers::tcp(|_| {
        let mut held = String::new();
        move |number, line: &str| match number {
            // Answered late, together with the next one; and the tenth never.
            3 | 7 => {
                held = pong_line(line);
                Some(String::new())
            }
            10 => Some(String::new()),
            _ => Some(std::mem::take(&mut held) + &pong_line(line)),
        }
    });
    let figures = bench(&format!("tcp://{address}"), "-c 1 -r 5 -n 12 --timeout 150ms");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=12 requests=9 late=2 lost=1"));
    // Late answers were waited for: their times are among the others.
    assert!(figures.figure("service_max_us") >= 150e3);
}

#[test]
fn late_answers_alone_are_answers() {
    // Each answer comes with the next question, the last one never.
    let address = peers::tcp(|_| {
        let mut held = String::new();
        move |_, line: &str| Some(std::mem::replace(&mut held, pong_line(line)))
    });
    let figures = bench(&format!("tcp://{address}"), "-c 1 -r 5 -n 3 --timeout 150ms");
    let facts = "sent=3 late=2 lost=1 connections_stalled=1";
    assert_eq!((figures.code, &*figures.facts()), (Some(1), facts));
}

#[test]
fn second_answer_is_a_duplicate() {
    let found = facts("-c 1 -n 21", |number, line| Some(pong_line(line).repeat(if number % 5 == 0 { 2 } else { 1 })));
    assert_eq!(found, told(0, "sent=21 requests=21 duplicate=4"));
}

#[test]
fn greeting_is_not_an_answer() {
    let found = facts("-c 1 -n 10", |number, line| match number {
        4 => Some(format!("Welcome!\n{}", pong_line(line))),
        _ => Some(pong_line(line)),
    });
    // The fourth request gets a wrong answer, then a superfluous one.
    assert_eq!(found, told(5, "sent=10 requests=9 wrong=1 duplicate=1"));
}

#[test]
fn answers_in_another_order_are_right() {
    let address = peers::tcp(|_| {
        let mut held = String::new();
        move |number, line: &str| match number % 2 {
            1 => {
                held = pong_line(line);
                Some(String::new())
            }
            _ => Some(pong_line(line) + &std::mem::take(&mut held)),
        }
    });
    let figures = bench(&format!("tcp://{address}"), "-c 1 -p 2 -n 20");
    assert_eq!((figures.code, figures.count("requests"), figures.count("wrong")), (Some(0), 20, 0));
}

#[test]
fn answers_may_come_in_pieces() {
    let address = peers::tcp(|_| |_, line: &str| Some(pong_line(line)));
    let figures = bench(&relayed_in_pieces(address), "-c 1 -p 3 -n 50");
    assert_eq!((figures.code, &*figures.facts()), (Some(0), "sent=50 requests=50"));

    // The wrong byte comes after right ones; from there the line's end has to be found.
    let address = peers::tcp(|_| {
        |number, line: &str| Some(if number % 3 == 0 { pong_line(line).replacen('m', "M", 1) } else { pong_line(line) })
    });
    let figures = bench(&relayed_in_pieces(address), "-c 1 -p 3 -n 30");
    assert_eq!((figures.code, &*figures.facts()), (Some(5), "sent=30 requests=20 wrong=10"));
}

/// The endpoint of a relay that hands on five bytes at a time, each in a segment of its own.
fn relayed_in_pieces(to: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let server = TcpStream::connect(to).expect("a server");
        [&client, &server].iter().for_each(|stream| stream.set_nodelay(true).expect("no delay"));
        let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || relay(&from_client, &to_server));
        relay(&server, &client);
    });
    endpoint
}

fn relay(mut from: &TcpStream, mut to: &TcpStream) {
    let mut piece = [0; 5];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn connection_closed_midway_breaks_what_was_asked_on_it() {
    let close_at = |last| move |number, line: &str| (number < last).then(|| pong_line(line));
    // No connection is left: the load does not wait for the minute to pass.
    let found = facts("-c 1 -d 1m", close_at(5));
    assert_eq!(found, told(1, "sent=5 requests=4 broken=1 connections_lost=1"));
    let found = facts("-c 1 -p 4 -d 1m", close_at(5));
    assert_eq!(found, told(1, "sent=8 requests=4 broken=4 connections_lost=1"));
    let found = facts("-c 3 -n 1000", close_at(5));
    assert_eq!(found, told(1, "sent=15 requests=12 broken=3 unsent=985 connections_lost=3"));
    // In the open loop more may be sent before the end is seen, or be due and not sent. Where the far side has not read
    // it, the reset takes answers along that have come and are not read.
    let address = peers::tcp(move |_| close_at(5));
    let figures = bench(&format!("tcp://{address}"), "-c 3 -r 1000 -d 1m");
    assert_eq!((figures.code, figures.count("connections_lost")), (Some(1), 3));
    assert!(figures.count("requests") <= 12, "{}", figures.facts());
    assert_eq!(figures.not_zero(&["wrong", "late", "lost", "refused", "duplicate"]), "", "{}", figures.facts());
    // Nothing was answered at all.
    assert_eq!(facts("-c 2 -d 1m", close_at(1)), told(1, "sent=2 broken=2 connections_lost=2"));
}

#[test]
fn the_others_go_on_without_a_lost_connection() {
    let address = peers::tcp(|connection| move |_, line: &str| (connection != 2).then(|| pong_line(line)));
    let figures = bench(&format!("tcp://{address}"), "-c 3 -n 60");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=60 requests=59 broken=1 connections_lost=1"));
    assert!(figures.warns("1 connections were lost"));
}

#[test]
fn lost_idle_connections_are_counted() {
    // After the tenth question two of the idle connections are closed.
    let there = Arc::new((Mutex::new(Vec::<(TcpStream, bool)>::new()), Condvar::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (index, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let all = there.clone();
            let (guests, changed) = &*there;
            guests.lock().unwrap().push((stream.try_clone().unwrap(), false));
            changed.notify_all();
            thread::spawn(move || {
                let (guests, changed) = &*all;
                for (number, line) in (1..).zip(BufReader::new(&stream).lines().map_while(Result::ok)) {
                    let mut guests = guests.lock().unwrap();
                    guests[index].1 = true;
                    if number == 10 {
                        guests = changed.wait_while(guests, |guests| guests.len() < 6).unwrap();
                        for (guest, _) in guests.iter().filter(|(_, has_spoken)| !has_spoken).take(2) {
                            guest.shutdown(Shutdown::Both).unwrap();
                        }
                    }
                    let _ = (&stream).write_all(pong_line(&line).as_bytes());
                }
            });
        }
    });
    let figures = bench(&endpoint, "-c 1 --idle 5 -n 100");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=100 requests=100 connections_lost=2"));
    assert_eq!(figures.not_zero(&["connections_opened", "idle_held"]), "connections_opened=6 idle_held=3");
    assert!(figures.warns("2 connections were lost"));
}

#[test]
fn server_that_never_answers_loses_every_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let figures = bench(&endpoint, "-c 3 -n 3 --timeout 150ms");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=3 lost=3 connections_unserved=3"));
    assert!(figures.warns("never answered") && figures.warns("3 connections got no answer"));
    let figures = bench(&endpoint, "-c 3 -r 100 -n 12 --timeout 150ms");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=12 lost=12 connections_unserved=3"));
    let figures = bench(&endpoint, "-c 3 --churn -n 3 --timeout 150ms");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=3 lost=3"));
    // The report in text has the figures too.
    let ended = Launch::new(&words(&endpoint, "-c 1 -n 1 --timeout 150ms").replace("--json", "")).run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("no answers") && ended.stdout.contains(" 1 lost"), "{ended:?}");
}

#[test]
fn visits_that_find_no_answer_or_nobody_are_told_apart() {
    // Each connection has one request; every fifth is closed without an answer.
    let address = peers::tcp(|connection| move |_, line: &str| (connection % 5 != 0).then(|| pong_line(line)));
    let figures = bench(&format!("tcp://{address}"), "--churn -c 1 -n 20");
    // The first connection of all only looks whether a server is there.
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=20 requests=16 broken=4"));

    // A server that has gone once its tenth connection has its answer.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut listener = Some(listener);
        for number in 1..=10 {
            let Some((mut guest, _)) = listener.as_ref().and_then(|listener| listener.accept().ok()) else { return };
            let mut line = String::new();
            BufReader::new(&guest).read_line(&mut line).expect("a line, or the end");
            // shutdown(2) rather than close: a child of another thread may still hold a copy of the descriptor.
            if let Some(gone) = listener.take_if(|_| number == 10) {
                Socket::from(gone).shutdown(Shutdown::Both).expect("it listens");
            }
            let _ = guest.write_all(peers::pong(&line).as_bytes());
        }
    });
    let figures = bench(&endpoint, "--churn -c 1 -n 12");
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=12 requests=9 refused=3"));
    assert_eq!(figures.whole["connect_errors"]["connection refused"], 3);
}
