//! `--explain`: states, words, lines that are lost, colours; `strace`: its calls.

mod strace;

use super::support::{BINARY, Client, Folder, Launch, Server, eventually, narrow_pipe, root, tool};
use super::talk::Talk;
use strace::call;

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
        lines.iter().any(|line| line.ends_with(": TIME-WAIT (both ended; kept for a minute, against strays)")),
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
