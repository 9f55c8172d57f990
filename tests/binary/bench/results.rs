//! Results that cannot be written, and readers that do not read.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{PipeReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;

use super::super::support::{BINARY, Ended, Folder, Launch, Server, narrow_pipe, tool};
use super::super::talk::Talk;
use super::{Figures, words};

const FULL: &str = "/dev/full";

/// A `bench` of a hundred requests against a server of its own, with its output at a full disk if `is_full`.
#[track_caller]
fn run(options: &str, is_full: bool) -> Ended {
    let server = Server::start("ping=127.0.0.1:0");
    let launch = Launch::new(&format!("bench {} --warmup 0s -n 100 {options}", server.endpoint("ping", "tcp")));
    if !is_full {
        return launch.run();
    }
    at_full_disk(launch)
}

/// Runs it to its end, with its output at a full disk.
#[track_caller]
fn at_full_disk(launch: Launch) -> Ended {
    let mut command = launch.stdout(File::options().write(true).open(FULL).unwrap()).spawn();
    Ended { code: command.exit_code(), stdout: String::new(), stderr: command.stderr_all().join("\n") }
}

#[test]
fn results_that_a_full_disk_does_not_take_are_an_error() {
    let at_output = "pingpong: cannot write to standard output: no space left on device";
    let at_file = "pingpong: cannot write /dev/full: no space left on device";
    let folder = Folder::new();
    let file = folder.file("a.json");
    let to_file = format!("--json={}", file.display());
    for (options, is_full, error) in [
        ("", true, at_output),
        ("-q", true, at_output),
        ("--json", true, at_output),
        (&to_file, true, at_output),
        ("--json=/dev/full", false, at_file),
        ("--json=/dev/full -q", false, at_file),
        ("--json=/dev/full", true, at_file),
        ("--html /dev/full", false, at_file),
        ("--html /dev/full --json", false, at_file),
        ("--hdr /dev/full", false, at_file),
        ("--hdr /dev/full --json", false, at_file),
    ] {
        let ended = run(options, is_full);
        assert_eq!(ended.code, Some(1), "{options}: {ended:?}");
        let errors: Vec<&str> = ended.stderr.lines().filter(|line| !line.starts_with("WARN ")).collect();
        assert_eq!(errors, [error], "{options}");
        // What one place does not take is not lost for the other.
        assert!(is_full || ended.stdout.contains("requests"), "{options}: {ended:?}");
    }
    let saved: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(saved["metrics"]["requests"], 100);
}

#[test]
fn results_that_a_disk_takes_and_cannot_keep_are_an_error() {
    if !tool("strace") {
        return;
    }
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let (file, trace) = (folder.file("a.json"), folder.file("trace"));
    let arguments = words(server.endpoint("ping", "tcp"), &format!("-n 100 --json={} -q", file.display()));
    let strace = ["strace", "-o", trace.to_str().unwrap(), "-e", "inject=fdatasync:error=EDQUOT"];
    let ended = Launch::within(&strace, &arguments.replacen("--json ", "", 1)).run();
    if !fs::read_to_string(&trace).unwrap_or_default().contains("INJECTED") {
        return;
    }
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&format!("cannot write {}", file.display())), "{ended:?}");
    assert!(ended.stdout.starts_with("result: "), "{ended:?}");
}

#[test]
fn a_sum_that_a_full_disk_does_not_take_is_an_error() {
    let folder = Folder::new();
    let file = folder.file("a.json");
    assert_eq!(run(&format!("--json={}", file.display()), false).code, Some(0));
    for (options, error) in
        [("", "standard output"), ("--json", "standard output"), ("--json=/dev/full", FULL), ("--html /dev/full", FULL)]
    {
        let ended = at_full_disk(Launch::new(&format!("bench merge {} {options}", file.display())));
        assert_eq!(ended.code, Some(1), "{options}: {ended:?}");
        assert!(ended.stderr.lines().last().unwrap().contains(error), "{options}: {ended:?}");
    }
}

#[test]
fn a_path_that_is_not_utf8_is_fine() {
    let folder = Folder::new();
    let server = Server::start(&format!("ping=unix://{}/ping", folder.file("").display()));
    let mut file = folder.file("a").into_os_string();
    file.push(OsStr::from_bytes(b"\xff.json"));
    let mut option = std::ffi::OsString::from("--json=");
    option.push(&file);
    let ended = Command::new(BINARY)
        .args(["bench", server.endpoint("ping", "unix"), "-n", "100", "--warmup", "0s", "-q"])
        .arg(&option)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let results: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let requested = results["settings"]["requested"].as_array().unwrap();
    assert!(requested.iter().any(|word| word.as_str().unwrap().ends_with("a\u{fffd}.json")), "{requested:?}");
}

/// A pipe without room.
fn full_pipe() -> (PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = narrow_pipe();
    writer.write_all(&[b'x'; 4096]).unwrap();
    (reader, writer)
}

#[test]
fn ctrl_c_ends_a_load_whose_report_nobody_reads() {
    let server = Server::start("ping=127.0.0.1:0");
    let (_unread, writer) = full_pipe();
    let arguments = words(server.endpoint("ping", "tcp"), "-c 2 -d 1m");
    let mut arguments: Vec<&str> = arguments.split(' ').filter(|word| !word.is_empty()).collect();
    arguments.retain(|word| *word != "--json");
    let mut loading = Talk::ours(&arguments).stdout(writer).start();
    server.stats_once("it asks", |stats| stats["messages"] > 0);
    loading.signal(Signal::SIGINT);
    // The load has ended, and the report does not get out.
    loading.rests();
    assert!(loading.is_running());
    loading.signal(Signal::SIGINT);
    assert_eq!(loading.status().signal(), Some(Signal::SIGINT as i32));
}

#[test]
fn a_pipe_that_does_not_wait_gets_the_whole_report() {
    let server = Server::start("ping=127.0.0.1:0");
    let (mut reader, writer) = full_pipe();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let arguments = words(server.endpoint("ping", "tcp"), "-c 2 -n 100");
    let mut loading =
        Command::new(BINARY).args(arguments.split_whitespace()).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let (code, stdout) = (loading.wait().unwrap().code(), text.trim_start_matches('x').to_owned());
    assert_eq!(code, Some(0));
    assert_eq!(Figures::of(&Ended { code, stdout, stderr: String::new() }).facts(), "sent=100 requests=100");
}
