//! The README's "Sixty seconds", typed at a shell: it shows what the README says. And its unit file for systemd.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use super::support::{BINARY, Folder, Namespace, root, tool};
use super::talk::Talk;

/// The first block of the README behind `start`.
fn block(start: &str) -> String {
    let readme = text();
    let (_, block) = readme.split_once(start).expect("the section");
    let (block, _) = block.split_once("\n```\n").expect("its end");
    block.to_owned()
}

pub(crate) fn text() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README")
}

/// The lines of the README's session.
fn session() -> Vec<String> {
    block("## Sixty seconds\n\n```console\n").lines().map(String::from).collect()
}

/// The unit file, for this binary.
fn unit() -> String {
    block("`/etc/systemd/system/pingpong@.service`:\n\n```ini\n").replace("/usr/local/bin/pingpong", BINARY)
}

/// What of a line is the same each time: the texts between the figures that a machine measures, which have a decimal
/// point or six digits, and before an ellipsis.
fn constant_parts(line: &str) -> Vec<&str> {
    let line = line.split(" …").next().unwrap_or(line);
    let mut parts = vec![];
    let (mut from, mut rest) = (0, 0);
    while let Some(start) = line[rest..].find(|c: char| c.is_ascii_digit()).map(|at| rest + at) {
        let number = |c: char| c.is_ascii_digit() || c == '.';
        rest = line[start..].find(|c| !number(c)).map_or(line.len(), |length| start + length);
        if line[start..rest].contains('.') || rest - start >= 6 {
            parts.push(&line[from..start]);
            from = rest;
        }
    }
    parts.push(&line[from..]);
    parts.retain(|part| !part.is_empty());
    parts
}

#[test]
fn sixty_seconds_are_what_the_readme_shows() {
    if !root() || !tool("unshare") || !tool("bash") || !tool("ip") || !tool("nc") {
        return;
    }
    // The services listen at their usual ports, in a network of their own.
    let folder = Folder::new();
    std::os::unix::fs::symlink(BINARY, folder.file("pingpong")).expect("a link");
    let mut shell = Talk::program("unshare", &["--net", "bash"]).start();
    shell.types(format!("exec 2>&1; set -m; ip link set lo up; PATH={}:$PATH\n", folder.file("").display()));
    // Whether the README leaves something out before what it shows next.
    let mut leaves_out = false;
    for line in session() {
        if let Some(command) = line.strip_prefix("$ ") {
            shell.types(format!("{command}\n"));
        } else if line == "…" {
            leaves_out = true;
        } else {
            for part in constant_parts(&line) {
                let before = shell.sees(part);
                let is_measured = before.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '\n');
                assert!(is_measured || leaves_out, "{line}: {before:?} stands before {part:?}");
                leaves_out = false;
            }
            leaves_out = line.ends_with('…');
        }
    }
    shell.types("wait\n");
    shell.ends_input();
    assert_eq!(shell.ends().code, Some(0));
}

#[test]
fn servers_of_the_unit_file_share_their_port() {
    let Some(namespace) = Namespace::new() else { return };
    let unit = unit();
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let command = command.strip_prefix(BINARY).and_then(|words| words.strip_prefix(" serve ")).expect("it serves");
    let mut servers = [namespace.serve(command), namespace.serve(command)];
    for server in &mut servers {
        assert_eq!(server.stdout(), ["listening ping tcp://0.0.0.0:8888", "ready"]);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code(), Some(0));
    }
}

#[test]
fn systemd_takes_the_unit_file() {
    if !tool("systemd-analyze") {
        return;
    }
    let folder = Folder::new();
    let file = folder.file("pingpong@.service");
    fs::write(&file, unit()).expect("a file");
    // Of an instance, for CPUAffinity=%i is no number otherwise. Mistakes are said, but have no exit code.
    let verified = Command::new("systemd-analyze").arg("verify").arg(folder.file("pingpong@0.service")).output();
    let verified = verified.expect("systemd-analyze runs");
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("pingpong@")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}
