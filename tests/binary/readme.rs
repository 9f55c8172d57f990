//! The README's "Sixty seconds", typed at a shell: it shows what the README says.

use std::fs;
use std::path::Path;

use super::support::{BINARY, Folder, root, tool};
use super::talk::Talk;

/// The lines of the README's session.
fn session() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    let (_, section) = readme.split_once("## Sixty seconds\n\n```console\n").expect("the section");
    let (session, _) = section.split_once("\n```\n").expect("its end");
    session.lines().map(String::from).collect()
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
