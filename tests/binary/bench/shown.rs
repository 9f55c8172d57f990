//! What is printed where, and what signals do.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::super::support::{Ended, Folder, Launch, PATIENCE, Server, tool};
use super::super::talk::{Talk, Talker};
use super::peers::full_listener;
use super::{Figures, fails, load, peers};

/// A running server, and the words of a `bench` against it with these options.
#[track_caller]
fn ready(options: &str) -> (Server, String) {
    let server = Server::start("ping=127.0.0.1:0");
    let words = format!("bench {} --warmup 0s {options}", server.endpoint("ping", "tcp"));
    (server, words)
}

#[track_caller]
fn run(options: &str) -> Ended {
    let (_server, words) = ready(options);
    Launch::new(&words).run()
}

#[track_caller]
fn on_terminal(options: &str) -> Option<(Server, Talker)> {
    let (server, words) = ready(options);
    Some((server, Talk::ours(&words.split_whitespace().collect::<Vec<_>>()).on_terminal(true)?))
}

#[test]
fn report_has_all_that_a_reader_asks_for() {
    let ended = run("-c 2 -d 200ms -r 500");
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "nothing but the report, also no progress");
    for text in
        ["open loop", "requests ", "errors ", "service ", "response ", "lag ", "99.99 %", "max", "response time"]
    {
        assert!(ended.stdout.contains(text), "{text}: {ended:?}");
    }
    assert!(ended.stdout.contains("##"), "bars: {ended:?}");
    assert!(ended.stdout.contains("warning: too few answers for p99 and beyond: 100"), "{ended:?}");
    let last = ended.stdout.lines().last().unwrap();
    // The rate varies: the run is longer where the last request was sent late.
    assert!(last.starts_with("result: requests=100 per_second=") && !last.contains("partial"), "{last}");
    assert!(
        last.contains(" errors=0 lost=0 late=0 wrong=0 ")
            && last.contains(" connections_failed=0 ")
            && last.contains(" response_p99_us="),
        "{last}"
    );

    let ended = run("-c 2 -n 100");
    assert!(ended.stdout.contains("closed loop: a connection waits for its answer"), "{ended:?}");
    assert!(!ended.stdout.contains("\nresponse "), "{ended:?}");
    assert!(ended.stdout.lines().last().unwrap().contains(" service_p99_us="), "{ended:?}");
}

#[test]
fn quiet_prints_one_line() {
    let ended = run("-q -c 2 -n 100");
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 1), "{ended:?}");
    assert!(ended.stdout.starts_with("result: requests=100 "), "{ended:?}");
    // Warnings go to standard error.
    assert!(
        ended.stderr.lines().all(|line| line.starts_with("WARN ")) && ended.stderr.contains("too few"),
        "{ended:?}"
    );
}

#[test]
fn quiet_json_has_its_warnings_in_it_and_nothing_beside_it() {
    let ended = run("-n 100 --json -q");
    assert_eq!((&*ended.stderr, Figures::of(&ended).warns("too few")), ("", true));
    assert!(run("-n 100 --json").stderr.contains("too few"));
}

#[test]
fn result_is_the_last_line_also_where_warnings_go_to_the_same_place() {
    for option in ["-q", ""] {
        let (_server, words) = ready(&format!("-c 2 -n 100 {option}"));
        let ended = Launch::shell("exec \"$0\" \"$@\" 2>&1", &words).run();
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert!(lines.last().unwrap().starts_with("result: "), "{lines:?}");
        assert!(lines[..lines.len() - 1].iter().any(|line| line.contains("too few")), "{lines:?}");
    }
}

#[test]
fn json_goes_into_a_file_beside_the_report_or_in_its_place() {
    let folder = Folder::new();
    let file = folder.file("out.json");
    let ended = run(&format!("-q -n 100 --json={}", file.display()));
    assert!(ended.stdout.starts_with("result: requests=100 ") && ended.stdout.lines().count() == 1, "{ended:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let figures = Figures::of(&Ended { code: ended.code, stdout: text, stderr: ended.stderr });
    assert_eq!(figures.facts(), "sent=100 requests=100");
    // The same figures in both.
    let p50 = format!(" service_p50_us={:.1} ", figures.figure("service_p50_us"));
    assert!(ended.stdout.contains(&p50), "{p50} in {}", ended.stdout);

    for options in ["-n 100 --json", "-n 100 --json -q", "-n 100 --json=-"] {
        assert_eq!(Figures::of(&run(options)).facts(), "sent=100 requests=100", "{options}");
    }
}

#[test]
fn file_that_cannot_be_written_is_known_before_the_load() {
    for option in ["--json=/nowhere/a.json", "--html /nowhere/a.html", "--hdr /nowhere/a.hlog"] {
        let (server, words) = ready(&format!("-n 100 {option}"));
        let path = option.rsplit(['=', ' ']).next().unwrap();
        fails(&Launch::new(&words).run(), 1, &[path, "no such file"]);
        assert_eq!(server.stats()["accepted"], 0);
    }
}

#[test]
fn progress_is_drawn_on_a_terminal_and_cleared() {
    let Some((_server, mut loading)) = on_terminal("-c 2 -d 600ms") else { return };
    let text = loading.rest();
    assert!(loading.status().success());
    let drawn = text.rfind("/s, p99 ").unwrap_or_else(|| panic!("no progress in {text:?}"));
    for part in ["measuring", "2 connected", "0 errors"] {
        assert!(text[..text.rfind("result:").unwrap()].contains(part), "{part}: {text:?}");
    }
    // The progress row is cleared before the report's first row is written.
    let report = text.find("2 connections, closed loop").unwrap();
    let cleared = text.rfind("\x1b[2K").unwrap();
    assert!(drawn < cleared && cleared < report, "{text:?}");
    assert!(!text[cleared..report].contains("/s"), "{text:?}");
    assert!(!text[report..].contains('\x1b'), "{text:?}");
}

/// The rows that have been drawn over one another.
fn frames(written: &str) -> Vec<&str> {
    let drawn = written.split("\x1b[2K").skip(1).map(|rest| rest.split(['\r', '\x1b']).next().unwrap_or_default());
    drawn.filter(|frame| frame.contains(" s ")).collect()
}

#[test]
fn progress_keeps_to_one_row_however_wide_it_is() {
    if !tool("stty") {
        return;
    }
    let Some((_server, mut loading)) = on_terminal("-c 2 -d 1m") else { return };
    for (columns, is_cut) in [("80", false), ("40", true), ("20", true), ("200", false)] {
        let terminal = loading.terminal().try_clone().unwrap();
        let status = Command::new("stty").args(["cols", columns, "rows", "24"]).stdin(terminal).status();
        assert!(status.unwrap().success());
        let room = columns.parse::<usize>().unwrap() - 1;
        let before = frames(&loading.written()).len();
        // The first of them may have been drawn for the size before.
        let written = loading.written_until(|written| frames(written).len() > before + 2).expect("it is drawn");
        let rows = frames(&written)[before + 1..].iter().map(|row| row.chars().count()).collect::<Vec<_>>();
        assert!(rows.iter().all(|row| *row <= room), "{columns}: {written:?}");
        assert_eq!(rows.iter().all(|row| *row == room), is_cut, "{columns}: {written:?}");
    }
    let written = loading.written();
    assert!(frames(&written).iter().any(|row| row.contains(" s measuring: 2 connected, ")), "{written:?}");
    assert!(frames(&written).iter().all(|row| !row.ends_with("  ")), "not filled up: {written:?}");
    loading.signal(Signal::SIGINT);
    assert!(loading.rest().contains("result: "));
}

#[test]
fn progress_is_not_drawn_where_nobody_wants_it() {
    let Some((_server, mut loading)) = on_terminal("-c 2 -d 300ms --no-progress") else { return };
    let text = loading.rest();
    assert!(loading.status().success());
    assert!(!text.contains("/s, p99") && !text.contains('\x1b'), "{text:?}");
    assert!(text.contains("result: "), "{text:?}");
}

#[test]
fn interrupted_run_gives_what_there_is_and_says_so() {
    let server = Server::start("ping=127.0.0.1:0");
    for (options, signal) in [("", Signal::SIGINT), ("-r 1000", Signal::SIGTERM), ("--churn", Signal::SIGINT)] {
        let before = server.stats()["messages"];
        let mut loading = load(server.endpoint("ping", "tcp"), &format!("-c 3 -d 1m {options}")).spawn();
        server.stats_once("it asks", |stats| stats["messages"] > before + 20);
        loading.signal(signal);
        let figures = Figures::of(&loading.ends());
        assert_eq!((figures.code, &figures.whole["partial"]), (Some(0), &serde_json::Value::Bool(true)), "{options}");
        assert!(figures.count("requests") > 20 && figures.warns("interrupted"), "{}", figures.facts());
        let seconds = figures.figure("seconds");
        assert!(seconds > 0.0 && seconds < 59.0, "{seconds}");
        let unfinished = figures.count("unfinished");
        let mishaps = figures.mishaps();
        assert!(mishaps.is_empty() || mishaps == format!("unfinished={unfinished}"), "{options}: {mishaps}");
    }
    let (server, words) = ready("-c 2 -d 1m -q");
    let mut loading = Launch::new(&words).spawn();
    server.stats_once("it asks", |stats| stats["messages"] > 0);
    loading.signal(Signal::SIGINT);
    let ended = loading.ends();
    assert!(ended.code == Some(0) && ended.stdout.ends_with(" partial"), "{ended:?}");
}

#[test]
fn what_is_unanswered_at_an_interrupt_is_unfinished() {
    let (tell, told) = channel();
    let address = peers::tcp(move |_| {
        let tell = tell.clone();
        move |_, _: &str| {
            tell.send(()).expect("it is waited for");
            Some(String::new())
        }
    });
    let mut loading = load(&format!("tcp://{address}"), "-c 3 -p 2 -d 1m").spawn();
    (0..6).for_each(|_| told.recv_timeout(PATIENCE).expect("it asks"));
    loading.signal(Signal::SIGINT);
    let figures = Figures::of(&loading.ends());
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=6 unfinished=6 connections_unserved=3"));
}

#[test]
fn interrupt_while_connecting_does_not_wait_for_connections_that_may_never_come() {
    // SYNs of connections beyond the backlog are not answered.
    let (endpoint, _full) = full_listener();
    let mut loading = load(&endpoint, "-c 3 -d 1m --timeout 1m").spawn();
    loading.does_not_spin();
    let began = Instant::now();
    loading.signal(Signal::SIGINT);
    let figures = Figures::of(&loading.ends());
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "connections_failed=3"));
    assert!(figures.whole["partial"] == true && figures.warns("interrupted before they were made: 3"));
    assert!(began.elapsed() < DRAIN, "nobody is owed anything");
}

#[test]
fn interrupt_does_not_wait_for_a_server_that_reads_nothing() {
    let (mut loading, _server) = load_on_a_server_that_reads_nothing();
    let began = Instant::now();
    loading.signal(Signal::SIGINT);
    let figures = Figures::of(&loading.ends());
    assert_eq!((figures.code, &*figures.facts()), (Some(1), "sent=1 unfinished=1 connections_unserved=1"));
    assert!(began.elapsed() < DRAIN, "nobody is owed anything");
}

#[test]
fn server_that_reads_nothing_does_not_keep_the_load_busy() {
    let (loading, _server) = load_on_a_server_that_reads_nothing();
    loading.does_not_spin();
}

#[test]
fn second_signal_ends_it_at_once() {
    let (mut loading, _server) = load_on_a_server_that_reads_nothing();
    // Both signals are pending when the load goes on.
    loading.freeze();
    loading.signal(Signal::SIGINT);
    loading.signal(Signal::SIGTERM);
    loading.thaw();
    let ended = loading.ends();
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(143), "", ""));
}

/// Longer than ending takes, and shorter than a drain.
const DRAIN: Duration = Duration::from_secs(4);

/// A load that cannot get its first message through, and the connection on which it tries.
#[track_caller]
fn load_on_a_server_that_reads_nothing() -> (Server, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let loading = load(&endpoint, "-c 1 -s 16MiB --echo -d 1m --timeout 1m").spawn();
    let (guest, _) = listener.accept().unwrap();
    guest.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(guest.peek(&mut [0]).unwrap(), 1, "it has begun");
    (loading, guest)
}
