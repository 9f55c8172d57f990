//! A skeptic's list: in each of these ways a server, or the load's own machine, can misbehave, and what an honest report
//! says then: which counter has how many, which warning, what exit code, and whether the result is all that was asked for.
//!
//! `streams` and `datagrams` have the single answer that is wrong; here it is the run as a whole.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::support::{Folder, PATIENCE, Server, eventually, pass};
use super::peers::{self, listener_for, pong, pong_line};
use super::{Figures, bench, load};

/// Longer than the time that answers are waited for in these tests.
const STALL: Duration = Duration::from_millis(300);

/// What a report says as a whole.
#[track_caller]
fn says(figures: &Figures, code: i32, is_partial: bool, warnings: &[&str]) {
    let told = &figures.whole["warnings"];
    assert_eq!(figures.code, Some(code), "{} {told}", figures.facts());
    assert_eq!(figures.whole["partial"], is_partial, "{} {told}", figures.facts());
    assert_eq!(figures.is_null("gone_after_seconds"), !is_partial, "{told}");
    warnings.iter().for_each(|warning| assert!(figures.warns(warning), "{warning:?} in {told}"));
}

/// Loads a server that answers the lines of all connections like this.
fn streams(options: &str, reply: impl Fn(u64, &str) -> Option<String> + Clone + Send + 'static) -> Figures {
    bench(&tcp(peers::tcp(move |_| reply.clone())), options)
}

/// Loads a server that answers datagrams like this. The first one does not count.
fn datagrams(options: &str, reply: impl FnMut(u64, &str) -> Vec<String> + Send + 'static) -> Figures {
    let mut reply = reply;
    bench(&format!("udp://{}", peers::udp(move |number, text| Some(reply(number, text)))), options)
}

fn tcp(address: SocketAddr) -> String {
    format!("tcp://{address}")
}

/// What was due in an open loop without a warm-up.
fn due(figures: &Figures) -> u64 {
    figures.count("sent") + figures.count("unsent")
}

#[test]
fn it_dies_in_the_middle() {
    let gone = ["the server was gone after ", "2 connections were lost"];
    for (options, duration) in [("-c 2 -r 500 -d 1200ms", 1.2), ("-c 2 -d 1200ms", 1.2)] {
        let server = Server::start("ping=tcp://127.0.0.1:0 --stats 10ms");
        let mut loading = load(server.endpoint("ping", "tcp"), options).spawn();
        server.stats_once("it is loaded", |stats| stats["messages"] > 50);
        server.signal(Signal::SIGKILL);
        let figures = Figures::of(&loading.ends());
        says(&figures, 1, true, &gone);
        assert!(figures.figure("seconds") == duration && figures.count("connections_lost") == 2, "{}", figures.facts());
        if options.contains("-r") {
            assert_eq!(due(&figures), 600, "{}", figures.facts());
            assert_eq!(figures.whole["unsent_because"]["no connection was left"], figures.count("unsent"));
        }
    }
}

#[test]
fn it_dies_in_a_step_and_the_steps_after_it_do_not_ask_what_kind_of_server_it_is() {
    let dying = peers::tcp(|_| |number, line: &str| (number <= 20).then(|| pong_line(line)));
    let ended = load(&tcp(dying), "-c 1 -r 100,200,300 -d 100ms --timeout 100ms").run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let whole: Value = serde_json::from_str(&ended.stdout).unwrap();
    let warnings = |step: usize| whole["steps"][step]["warnings"].to_string();
    assert!(warnings(1).contains("the server was gone after "), "{}", warnings(1));
    assert!(warnings(2).contains("the server was gone before the measured time began"), "{}", warnings(2));
    assert!(!warnings(2).contains("the right kind of server"), "{}", warnings(2));
}

#[test]
fn it_answers_datagrams_later_than_several_timeouts() {
    // Each answer comes with the tenth datagram after its own: ten timeouts later.
    let mut held = VecDeque::new();
    let figures = datagrams("-c 1 -n 30 --timeout 20ms", move |number, text| {
        if number == 1 {
            return vec![pong(text)];
        }
        held.push_back(pong(text));
        if held.len() > 10 { held.pop_front().into_iter().collect() } else { vec![] }
    });
    assert_eq!(figures.facts(), "sent=30 late=20 lost=10");
    says(&figures, 1, false, &["20 requests were answered right, but only after --timeout"]);
}

#[test]
fn it_loses_datagrams_whose_answers_carry_no_number() {
    for options in ["-c 1 -n 50 --timeout 100ms", "-c 8 -r 200 -n 50 --timeout 200ms"] {
        let figures = datagrams(&format!("{options} --send ping --expect pong"), |number, text| {
            if number % 10 == 0 { vec![] } else { vec![pong(text)] }
        });
        assert_eq!(figures.facts(), "sent=50 requests=45 lost=5", "{options}");
        says(&figures, 0, false, &["a guess by their order", "5 requests were never answered"]);
    }
}

#[test]
fn it_takes_connections_and_serves_only_some() {
    let server = Server::start("ping=tcp://127.0.0.1:0 --max-connections 2 --backlog 50");
    let figures = bench(server.endpoint("ping", "tcp"), "-c 6 -d 300ms --warmup 100ms --timeout 1s");
    assert_eq!(figures.mishaps(), "lost=4 connections_unserved=4");
    assert_eq!(figures.count("connections_held"), 2);
    says(&figures, 1, false, &["4 connections got no answer (is the server at its limit of connections?"]);
}

#[test]
fn it_stops_answering_in_the_warm_up_and_is_at_no_limit_of_connections() {
    let options = "-c 4 -d 300ms --warmup 200ms --timeout 100ms";
    let figures = streams(options, |number, line| Some(if number % 50 == 0 { String::new() } else { pong_line(line) }));
    assert_eq!((figures.count("connections_unserved"), figures.count("connections_stalled")), (0, 4));
    assert_eq!(figures.code, Some(1));
    assert!(figures.warns("4 connections still waited") && !figures.warns("limit of connections"));
    let reply = |number, text: &str| if number <= 10 { vec![pong(text)] } else { vec![] };
    let figures = datagrams("-c 1 -r 100 -d 300ms --warmup 200ms --timeout 100ms", reply);
    assert_eq!((figures.count("connections_unserved"), figures.count("connections_stalled")), (0, 1));
    says(&figures, 1, true, &["1 sockets, which had been answered before"]);
}

#[test]
fn it_does_not_answer_some_who_connect_and_closes_others() {
    // Its queue holds three; the SYNs of the others are not answered.
    let (endpoint, _listener) = listener_for(2);
    let figures = bench(&endpoint, "-c 6 -n 6 --connect-timeout 200ms --timeout 100ms");
    assert_eq!(figures.facts(), "sent=3 lost=3 unsent=3 connections_failed=3 connections_unserved=3");
    says(&figures, 1, false, &["3 connections could not be made (timed out after 200ms: 3)"]);

    let address = peers::tcp(|connection| move |_, line: &str| (connection % 2 == 1).then(|| pong_line(line)));
    let figures = bench(&tcp(address), "-c 6 -d 200ms");
    assert_eq!(figures.mishaps(), "broken=3 connections_lost=3");
    assert_eq!(figures.count("connections_held"), 3);
    says(&figures, 1, false, &["3 connections were lost on the way"]);
}

#[test]
fn it_takes_less_than_is_due() {
    // Nothing at all: 16 messages may be under way.
    let (endpoint, _listener) = listener_for(10);
    for (options, due) in [("-r 1000 -d 300ms", 300), ("-r 1000 -n 2000", 2_000)] {
        let figures = bench(&endpoint, &format!("-c 1 -s 300KiB --timeout 100ms {options}"));
        assert_eq!(figures.facts(), format!("sent=16 lost=16 unsent={} connections_unserved=1", due - 16));
        assert_eq!(figures.whole["unsent_because"]["too many were unanswered, or the server took no more"], due - 16);
        says(&figures, 1, false, &["requests were due but never sent"]);
    }
    // More than any machine sends: it ends in time and says whose fault it is.
    let server = Server::start("ping=tcp://127.0.0.1:0");
    let figures = bench(server.endpoint("ping", "tcp"), "-c 4 -r 50m -d 200ms --warmup 200ms");
    assert_eq!(due(&figures) - figures.count("carried_over"), 10_000_000);
    assert!(figures.count("requests") > figures.count("carried_over"), "{}", figures.facts());
    assert_eq!(figures.whole["unsent_because"]["the load generator was too slow"], figures.count("unsent"));
    says(&figures, 1, false, &["the load generator was too slow", "asked for 50000000 requests a second, sent"]);
}

#[test]
fn it_falls_silent_and_leaves_its_connections_open() {
    let silent = |number, line: &str| Some(if number <= 20 { pong_line(line) } else { String::new() });
    let figures = streams("-c 1 -r 100 -d 600ms --timeout 200ms", silent);
    assert_eq!(figures.facts(), "sent=60 requests=20 lost=40 connections_stalled=1");
    says(&figures, 1, true, &["the server was gone after ", "40 requests were never answered"]);
    let figures = streams("-c 3 -d 600ms --timeout 200ms", silent);
    assert_eq!(figures.facts(), "sent=63 requests=60 lost=3 connections_stalled=3");
    says(&figures, 1, true, &["the server was gone after ", "3 connections still waited"]);
    let figures =
        datagrams(
            "-c 1 -r 100 -d 600ms --timeout 200ms",
            |number, text| {
                if number <= 21 { vec![pong(text)] } else { vec![] }
            },
        );
    assert_eq!(figures.facts(), "sent=60 requests=20 lost=40");
    says(&figures, 1, true, &["the server was gone after "]);
}

#[test]
fn it_stalls_and_goes_on() {
    let stalls = |number, line: &str| {
        if number == 10 {
            pass(STALL);
        }
        Some(pong_line(line))
    };
    let figures = streams("-c 1 -n 50 -r 100 --timeout 5s", stalls);
    assert_eq!(figures.facts(), "sent=50 requests=50");
    says(&figures, 0, false, &[]);
    let figures = streams("-c 1 -n 50 -r 100 --timeout 200ms", stalls);
    let (late, requests) = (figures.count("late"), figures.count("requests"));
    assert!(late > 0 && late + requests == 50 && figures.mishaps() == format!("late={late}"), "{}", figures.facts());
    says(&figures, 0, false, &["only after --timeout"]);
}

#[test]
fn it_speaks_another_protocol_or_closes_what_it_does_not_know() {
    let figures = streams("-c 2 -n 10", |_, _| Some("HTTP/1.0 400 Bad Request\r\n".to_owned()));
    assert_eq!(figures.facts(), "sent=10 wrong=10");
    says(&figures, 5, false, &["10 answers had wrong bytes", "it speaks HTTP?"]);
    let figures = streams("-c 2 -d 200ms --warmup 100ms", |_, _| None);
    assert_eq!(figures.facts(), "connections_lost=2");
    says(&figures, 1, true, &["gone before the measured time", "is it the right kind of server"]);
    let figures = streams("-c 2 -d 200ms", |number, line| (number == 1).then(|| pong_line(line)));
    assert_eq!(figures.facts(), "sent=4 requests=2 broken=2 connections_lost=2");
    says(&figures, 1, true, &["the server was gone after "]);
    // It closes each connection that it has accepted.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = tcp(listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().for_each(drop));
    let figures = bench(&endpoint, "-c 5 -d 200ms --warmup 100ms");
    assert_eq!(figures.count("connections_lost"), 5, "{}", figures.facts());
    says(&figures, 1, true, &["gone before the measured time", "5 connections were lost"]);
}

#[test]
fn a_deep_pipeline_meets_a_queue_that_is_short_and_a_server_that_stalls() {
    let folder = Folder::new();
    let server = Server::start(&format!("ping=unixgram://{}", folder.file("s").display()));
    let figures = bench(server.endpoint("ping", "unixgram"), "-c 1 -p 5000 -n 20k");
    assert_eq!(figures.facts(), "sent=20000 requests=20000");
    says(&figures, 0, false, &[]);
    // What timed out keeps its place: no timeout adds another pipeline.
    let silent = |number, line: &str| Some(if number <= 100 { pong_line(line) } else { String::new() });
    let figures = streams("-c 2 -p 16 -d 500ms --timeout 20ms", silent);
    assert_eq!((figures.count("sent"), figures.count("lost")), (232, 32), "{}", figures.facts());
    says(&figures, 1, true, &["2 connections still waited"]);
}

#[test]
fn it_answers_only_every_other_request() {
    let half = |number, line: &str| Some(if number % 2 == 1 { pong_line(line) } else { String::new() });
    let figures = streams("-c 1 -r 200 -n 40 --timeout 200ms", half);
    assert_eq!(figures.facts(), "sent=40 requests=20 lost=20 connections_stalled=1");
    says(&figures, 1, false, &["20 requests were never answered"]);
    let figures = streams("-c 2 -d 300ms --timeout 200ms", half);
    assert_eq!(figures.facts(), "sent=4 requests=2 lost=2 connections_stalled=2");
    assert_eq!(figures.code, Some(1));
    let half = |number, text: &str| if number % 2 == 1 { vec![pong(text)] } else { vec![] };
    let figures = datagrams("-c 1 -n 20 --timeout 100ms", half);
    assert_eq!(figures.facts(), "sent=20 requests=10 lost=10");
    says(&figures, 1, false, &["10 requests were never answered"]);
    // Datagrams may be lost: up to a tenth of them is no failure.
    let most = |number, text: &str| if number % 10 == 5 { vec![] } else { vec![pong(text)] };
    let figures = datagrams("-c 1 -n 20 --timeout 100ms", most);
    assert_eq!(figures.facts(), "sent=20 requests=18 lost=2");
    says(&figures, 0, false, &["2 requests were never answered"]);
}

#[test]
fn it_answers_everything_twice() {
    for options in ["-n 20", "-n 20 --send ping\\n --expect pong\\n"] {
        let figures = streams(&format!("-c 1 {options}"), |_, line| Some(pong_line(line).repeat(2)));
        // The run may be over before the last one's second answer.
        let duplicates = figures.count("duplicate");
        assert!((19..=20).contains(&duplicates), "{}", figures.facts());
        assert_eq!(figures.facts(), format!("sent=20 requests=20 duplicate={duplicates}"));
        says(&figures, 0, false, &["the first answer that no request waited for"]);
    }
}

#[test]
fn it_is_started_anew_in_the_middle() {
    let folder = Folder::new();
    let path = folder.file("s");
    let listener = UnixListener::bind(&path).unwrap();
    let endpoint = format!("unix://{}", path.display());
    thread::spawn(move || {
        // The one that looks whether a server is there, and twenty more.
        visits(&listener, 21);
        drop(listener);
        fs::remove_file(&path).unwrap();
        pass(STALL);
        visits(&anew(&path), u64::MAX);
    });
    let figures = bench(&endpoint, "--churn -c 1 -n 300");
    let refused = figures.count("refused");
    assert!(refused > 0 && figures.count("requests") > 21, "{}", figures.facts());
    assert_eq!(figures.count("requests") + refused + figures.count("broken"), 300);
    says(&figures, 1, false, &["requests were never answered"]);
}

/// Answers one line on each of so many connections.
fn visits(listener: &UnixListener, count: u64) {
    for stream in (0..count).map_while(|_| listener.accept().ok()) {
        let (mut line, mut stream) = (String::new(), stream.0);
        let _ = BufReader::new(&stream).read_line(&mut line);
        let _ = stream.write_all(pong(&line).as_bytes());
    }
}

fn anew(path: &Path) -> UnixListener {
    eventually("the path is free", || UnixListener::bind(path).ok())
}

#[test]
fn the_load_itself_is_stopped_beyond_its_end() {
    let (tell, told) = channel();
    let address = peers::tcp(move |_| {
        let tell = tell.clone();
        move |number, line| {
            if number == 20 {
                tell.send(()).expect("it is waited for");
            }
            Some(pong_line(line))
        }
    });
    let mut loading = load(&tcp(address), "-c 1 -d 300ms --timeout 200ms").spawn();
    told.recv_timeout(PATIENCE).expect("it has begun");
    loading.freeze();
    pass(2 * STALL);
    loading.thaw();
    let figures = Figures::of(&loading.ends());
    assert!(figures.count("late") <= 1 && figures.count("lost") == 0, "{}", figures.facts());
    says(&figures, 0, false, &["the load generator stood still"]);
}
