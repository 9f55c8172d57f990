//! The layers of the library, held by its text: what neither the compiler nor clippy can see.
//!
//! Within one crate any module may import any other, so that the direction of imports is checked here; the commands
//! are a crate of their own and need no check. Comments are not looked at, nor are unit tests.

use std::fs;
use std::path::Path;

/// Data that every layer shares.
const BOTTOM: [&str; 5] = ["endpoint", "error", "limits", "moment", "stats"];

/// The modules above the bottom, and which of each other they may name. (`lib` puts all of them together.)
const LAYERS: [(&str, &[&str]); 4] =
    [("reactor", &["engine", "outlet", "service"]), ("engine", &["service"]), ("service", &[]), ("outlet", &[])];

/// Sockets, clocks, threads and randomness: the reactor's alone.
const OUTSIDE: &str = "TcpStream TcpListener UdpSocket UnixStream UnixListener UnixDatagram socket2 \
    Instant SystemTime thread RandomState rand getrandom";

const SERVICES: &str = "Ping Hello Echo Chat";

/// Lines of a file before its unit tests.
const LONGEST: usize = 450;

#[test]
fn every_file_keeps_to_its_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = rust_files(&root.join("src"));
    assert!(files.len() > 40, "the source is somewhere else");
    let findings = files.iter().flat_map(|path| {
        let text = fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        check(path, &text)
    });
    let findings: Vec<String> = findings.collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// The Rust files below a folder, as `src/…`.
fn rust_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("the folder stays while it is read").path());
    let files = paths.flat_map(|path| match path.strip_prefix(env!("CARGO_MANIFEST_DIR")) {
        _ if path.is_dir() => rust_files(&path),
        Ok(name) if path.extension().is_some_and(|extension| extension == "rs") => vec![name.display().to_string()],
        _ => Vec::new(),
    });
    files.collect()
}

/// Everything that is wrong with one file, each with its line.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let steps: Vec<&str> = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
    let (module, depth) = (steps[0], steps.iter().filter(|step| **step != "mod").count());
    for (line, number) in code.lines().zip(1..) {
        let line = line.split("//").next().unwrap_or_default();
        let mut found = |what: &str| findings.push(format!("{path}:{number}: {what}"));
        if number == LONGEST + 1 {
            found("too long before its tests: look for the second idea");
        }
        if module == "bin" {
            continue;
        }
        let named = |names: &str| names.split_whitespace().any(|name| words(line).any(|word| word == name));
        if named("mio") && module != "reactor" {
            found("only `reactor` names mio");
        }
        if named(OUTSIDE) && !["reactor", "outlet", "lib"].contains(&module) {
            found("below `reactor` nothing names sockets, clocks, threads or randomness");
        }
        if named(SERVICES) && module == "engine" {
            found("`engine` names no concrete service");
        }
        if named("engine Engine reactor Reactor") && module == "service" {
            found("`service` names neither `engine` nor `reactor`");
        }
        if line.contains(&"super::".repeat(depth)) {
            found("the root of the crate is named by `crate::`, not by `super`");
        }
        for import in line.split("crate::").skip(1) {
            let name = words(import).next().filter(|name| import.starts_with(name)).unwrap_or("{");
            if !may_name(module, name) {
                found(&format!("`{module}` may not name `crate::{name}`"));
            }
        }
    }
    findings
}

fn may_name(module: &str, name: &str) -> bool {
    let below = LAYERS.iter().find(|(layer, _)| *layer == module).map_or(&[][..], |(_, below)| below);
    module == "lib" || name == module || BOTTOM.contains(&name) || below.contains(&name)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// A check that never finds anything shows nothing.
#[test]
fn every_rule_can_be_broken() {
    let long = "\n".repeat(LONGEST) + "//";
    for (path, code, finding) in [
        ("src/lib.rs", "pub use mio::Poll;", "only `reactor` names mio"),
        ("src/stats.rs", "use std::net::{IpAddr, UdpSocket};", "below `reactor`"),
        ("src/service/chat.rs", "fn now() { Instant::now() }", "below `reactor`"),
        ("src/engine/step.rs", "use crate::service::Echo;", "no concrete service"),
        ("src/service/mod.rs", "type E = Engine;", "neither `engine` nor `reactor`"),
        ("src/engine/mod.rs", "use crate::reactor::Reactor;", "`engine` may not name `crate::reactor`"),
        ("src/engine/mod.rs", "use crate::CloseReason;", "`engine` may not name `crate::CloseReason`"),
        ("src/engine/mod.rs", "use crate::{moment, reactor};", "`engine` may not name `crate::{`"),
        ("src/moment.rs", "fn f() { crate::service::f() }", "`moment` may not name `crate::service`"),
        ("src/outlet.rs", "use crate::reactor::f;", "`outlet` may not name `crate::reactor`"),
        ("src/fancy.rs", "use crate::engine::f;", "`fancy` may not name `crate::engine`"),
        ("src/engine/mod.rs", "use super::reactor;", "by `crate::`, not by `super`"),
        ("src/engine/step.rs", "use super::super::reactor;", "by `crate::`, not by `super`"),
        ("src/bin/pingpong/main.rs", &long, "too long"),
    ] {
        let findings = check(path, code);
        assert!(findings.len() == 1 && findings[0].contains(finding), "{path}: {code}: {findings:?}");
    }
    for (path, code) in [
        ("src/reactor/udp.rs", "use mio::net::UdpSocket; use crate::engine::Batch; use std::time::Instant;"),
        ("src/engine/connection/io.rs", "use super::super::net::Net; use crate::service::Service;"),
        ("src/engine/net.rs", "// as mio does\nfn f() {} // Echo\n#[cfg(test)]\nmod tests {\n    use mio::Poll;\n}\n"),
        ("src/lib.rs", "pub use engine::Engine; use crate::reactor::Reactor;"),
    ] {
        assert_eq!(check(path, code), Vec::<String>::new(), "{path}: {code}");
    }
}
