//! Lessons: each comes to its end over both families, tells what strace sees, and draws what Mermaid reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::support::{BINARY, Folder, Launch, Namespace, eventually, tool};
use super::talk::Talk;

/// The names that the list has.
fn names() -> Vec<String> {
    let list = Launch::new("lesson").run();
    assert_eq!(list.code, Some(0));
    let entries = list.stdout.lines().filter_map(|line| line.strip_prefix("  "));
    entries.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn the_list_names_the_twelve() {
    let mut found = names();
    found.sort();
    let mut expected = [
        "handshake",
        "half-close",
        "time-wait",
        "close-wait",
        "backlog",
        "zero-window",
        "reset",
        "refused",
        "message-boundaries",
        "nagle",
        "edge-triggered",
        "one-thread",
    ];
    expected.sort();
    assert_eq!(found, expected);
    let unknown = Launch::new("lesson handshakes").run();
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("handshake"), "{unknown:?}");
}

#[test]
fn each_comes_to_its_end_over_both_families_within_its_columns() {
    // Elsewhere other tests' loads may use up what TIME-WAIT there may be (net.ipv4.tcp_max_tw_buckets).
    let Some(namespace) = Namespace::new() else { return };
    for name in names() {
        for family in ["", "-6"] {
            let ended = namespace.launch(&format!("lesson {name} {family}")).run();
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name} {family}: {ended:?}");
            let (text, diagram) = ended.stdout.split_once("All of it, from top to bottom\n").expect("a diagram");
            let width = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
            let columns = if text.contains("client 3") { 100 } else { 80 };
            assert!(width(text) <= 80 && width(diagram) <= columns, "{text}{diagram}");
            assert!(!ended.stdout.contains('\x1b'), "no colours where nobody sees them");
            assert!(ended.stdout.lines().all(|line| line == line.trim_end()), "{}", ended.stdout);
            assert!(text.contains("ss -"), "how to look oneself: {text}");
            assert_eq!(text.contains("[::1]"), family == "-6");
        }
    }
}

/// A call: its name, the descriptor that it is made on, if it has one, and what it returned.
type Call = (String, Option<u32>, String);

fn call(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let descriptor = arguments.split([',', ')']).next()?.parse().ok();
    let mut words = result.split_whitespace();
    let result = match words.next()? {
        "-1" => format!("-1 {}", words.next()?),
        number => number.to_owned(),
    };
    Some((name.to_owned(), descriptor, result))
}

/// The calls that a lesson tells of. (Those that it only counts end with "…".)
fn told(text: &str) -> Vec<Call> {
    let shown = |line: &str| {
        let what = line.strip_prefix("  client").or_else(|| line.strip_prefix("  server"))?;
        let what = what.trim_start_matches([' ', '1', '2', '3']);
        what.split_once('(').is_some_and(|(name, _)| !name.contains(' ')).then(|| call(what)).flatten()
    };
    text.lines().filter_map(shown).filter(|(name, _, result)| name != "poll" && result != "…").collect()
}

#[test]
fn every_call_that_is_told_of_is_one_that_strace_sees_in_this_order() {
    let Some(namespace) = Namespace::new().filter(|_| tool("strace")) else { return };
    let folder = Folder::new();
    for name in names() {
        let log = folder.file(&name);
        let strace = format!("strace -e trace=network,close,epoll_wait,epoll_ctl -o {}", log.display());
        let traced = namespace.within_tool(&strace, &format!("lesson {name}")).run();
        assert_eq!(traced.code, Some(0), "{name}: {traced:?}");
        let seen: Vec<Call> = fs::read_to_string(&log).unwrap().lines().filter_map(call).collect();
        let told = told(&traced.stdout);
        assert!(told.len() >= 8, "{name}: {told:#?}");
        let mut rest = seen.iter();
        for call in &told {
            assert!(rest.any(|other| other == call), "{name}: {call:?} is not among {seen:#?}");
        }
    }
}

/// A folder where node finds the package mermaid: installed there once, if it can be.
fn mermaid() -> Option<PathBuf> {
    if !tool("node") || !tool("npm") {
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mermaid");
    if !folder.join("node_modules/mermaid").is_dir() {
        fs::create_dir_all(&folder).unwrap();
        let install = ["install", "--no-audit", "--no-fund", "--no-save", "mermaid@11"];
        let installed = Command::new("npm").args(install).current_dir(&folder).output().unwrap();
        if !installed.status.success() {
            let _ = fs::remove_dir_all(&folder);
            return super::support::skip("the npm package mermaid");
        }
    }
    Some(folder)
}

#[test]
fn mermaid_reads_every_diagram() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(folder) = mermaid() else { return };
    let mut all = Vec::new();
    for name in names() {
        let ended = namespace.launch(&format!("lesson {name} --mermaid")).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.starts_with("sequenceDiagram\n"), "{ended:?}");
        all.push(ended.stdout);
    }
    let script = "import mermaid from 'mermaid';
        for (const text of process.env.DIAGRAMS.split('\\u0001')) await mermaid.parse(text);
        let isRead = true;
        try { await mermaid.parse('sequenceDiagram\\n  a->>>b'); } catch { isRead = false; }
        if (isRead) throw new Error('it reads anything');";
    let parsed = Command::new("node")
        .args(["--input-type=module", "-e", script])
        .env("DIAGRAMS", all.join("\u{1}"))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
}

#[test]
fn on_a_terminal_it_waits_for_enter_and_is_coloured() {
    let Some(mut lesson) = Talk::ours(&["lesson", "half-close"]).on_terminal(false) else { return };
    for step in ["1. ", "2. ", "3. ", "4. "] {
        let seen = lesson.sees("Enter goes on");
        assert!(seen.contains(&format!("\x1b[1m{step}")), "{seen}");
        assert!(!seen.contains("All of it, from"), "{seen}");
        lesson.types("\n");
    }
    lesson.sees("All of it, from");
    assert_eq!(lesson.status().code(), Some(0));
}

#[test]
fn a_kernel_that_says_otherwise_is_exit_1() {
    if !tool("strace") {
        return;
    }
    // The call is never made, and says that it went well.
    let injected = Command::new("strace")
        .args(["-o", "/dev/null", "-e", "inject=shutdown:retval=0", BINARY, "lesson", "half-close"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(injected.status.code(), Some(1), "{injected:?}");
    let error = String::from_utf8(injected.stderr).unwrap();
    assert!(
        error.starts_with("pingpong: lesson half-close: it expects client FIN-WAIT-2; server CLOSE-WAIT"),
        "{error}"
    );
    assert!(error.contains("ESTAB") && error.lines().count() == 1, "{error}");
}

#[test]
fn what_the_machine_lacks_is_told_with_its_exit_code_and_the_way_out() {
    let Some(namespace) = Namespace::new() else { return };
    let few = namespace.within_tool("prlimit --nofile=6 --", "lesson handshake").run();
    assert_eq!(few.code, Some(6), "{few:?}");
    assert!(few.stderr.contains("ulimit -n") && few.stderr.lines().count() == 1, "{few:?}");
    for family in ["", "-6"] {
        // A network in which not even the loopback interface has ever been up.
        let lone = namespace.within_tool("unshare --net --", &format!("lesson handshake {family}")).run();
        assert_eq!(lone.code, Some(3), "{family}: {lone:?}");
        assert!(lone.stderr.contains("ip addr") && lone.stderr.lines().count() == 1, "{family}: {lone:?}");
    }
}

#[test]
fn what_comes_over_the_wire_is_told_before_the_call_that_learns_of_it() {
    for (name, order) in [
        (
            "nagle",
            &[
                "\"head\", 1024) = 4",
                "-1 EAGAIN",
                " late: server -> client",
                "4 bytes: client -> server",
                "epoll_wait",
                "\"body\", 1024) = 4",
            ][..],
        ),
        (
            "backlog",
            &[
                "ACK: client 1 -> server",
                "client 1 getsockopt",
                "ACK: client 2 -> server",
                "client 2 getsockopt",
                "SYN: client 3 -> nobody",
                "ACK: client 3 -> server",
                "client 3 getsockopt",
            ],
        ),
        ("zero-window", &["window 0", "recvfrom", "window open", "the rest", "recvfrom"]),
    ] {
        let ended = Launch::new(&format!("lesson {name}")).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let mut rest = ended.stdout.as_str();
        for what in order {
            rest = rest.split_once(what).unwrap_or_else(|| panic!("no {what:?} in order: {}", ended.stdout)).1;
        }
    }
}

/// The last table in this text: state, Recv-Q, Send-Q, local and peer address of each socket that is there.
fn last_table(text: &str) -> Vec<Vec<String>> {
    let Some((_, table)) = text.rsplit_once("State       Recv-Q") else { return Vec::new() };
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("           "));
    let words = rows.map(|row| row.split_whitespace().take(5).map(str::to_owned).collect::<Vec<_>>());
    words.filter(|row| row.len() == 5 && row[1].parse::<u32>().is_ok()).collect()
}

#[test]
fn at_each_pause_ss_shows_the_table() {
    let Some(namespace) = Namespace::new().filter(|_| tool("ss") && tool("setsid")) else { return };
    for name in names() {
        let mut lesson = namespace.within(|| Talk::ours(&["lesson", &name]).on_terminal(false)).expect("a terminal");
        let mut rows = 0;
        for pauses in 1.. {
            let is_there =
                |text: &str| text.matches("ends)\x1b[0m ").count() == pauses || text.contains("All of it, from");
            let written = lesson.written_until(is_there).expect("a prompt, or the end");
            let written = ["\r", "\x1b[0m", "\x1b[36m"].iter().fold(written, |text, noise| text.replace(noise, ""));
            if written.contains("All of it, from") {
                break;
            }
            let step = written.rsplit("Enter goes on").nth(1).expect("the text before the prompt");
            let ss = namespace.within(|| Command::new("ss").args(["-Hantu"]).output().expect("ss runs"));
            let ss = String::from_utf8(ss.stdout).unwrap();
            let seen: Vec<Vec<&str>> = ss.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
            for row in last_table(step) {
                // What has no peer is 0.0.0.0:* to ss.
                let columns = if row[4].ends_with('*') { 4 } else { 5 };
                let is_seen = seen.iter().any(|socket| socket[..columns] == row[..columns]);
                assert!(is_seen, "{name}: {row:?} is not among\n{ss}and the lesson says{step}");
                rows += 1;
            }
            lesson.types("\n");
        }
        assert!(rows > 0, "{name}: no table");
        lesson.ends_well();
    }
}

#[test]
fn a_queue_shorter_than_asked_for_is_named_with_its_sysctl() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.within(|| fs::write("/proc/sys/net/core/somaxconn", "50").expect("root may write there"));
    let ended = namespace.launch("lesson handshake").run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("This machine allows 50: net.core.somaxconn"), "{ended:?}");
}

/// epoll_wait(2) is interrupted by that, handlers or not (signal(7)).
#[test]
fn a_lesson_that_is_stopped_goes_on() {
    let mut lesson = Launch::new("lesson edge-triggered --no-wait").spawn();
    eventually("it comes to its end", || {
        lesson.signal(Signal::SIGSTOP);
        lesson.signal(Signal::SIGCONT);
        lesson.stdout().iter().any(|line| line.contains("All of it, from top to bottom")).then_some(())
    });
    let ended = lesson.ends();
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
}
