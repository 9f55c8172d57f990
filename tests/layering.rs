//! The layers of the crate, held by its text: who may name whom, and what no file may do.
//!
//! The commands are a crate of their own. `reactor` stands on `engine`, that on `service`, that on the plain data at the bottom.
//! Imports point down only. Comments and strings are not looked at, nor is what stands under `#[cfg(test)]`.

use std::fs;
use std::path::Path;

/// Data that all the others share; these may name each other.
const BOTTOM: [&str; 5] = ["endpoint", "error", "limits", "moment", "stats"];

/// Which modules of the crate each module may name, apart from itself and the bottom.
const LAYERS: [(&str, &[&str]); 9] = [
    ("endpoint", &[]),
    ("error", &[]),
    ("limits", &[]),
    ("moment", &[]),
    ("stats", &[]),
    ("outlet", &[]),
    ("service", &[]),
    ("engine", &["service"]),
    ("reactor", &["service", "engine", "outlet"]),
];

/// Modules that stand beside the layers: they put all together.
const BESIDE: [&str; 1] = ["lib"];

/// What nobody below the reactor may name: sockets, clocks, randomness.
const OUTSIDE: [&str; 13] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "socket2",
    "Instant",
    "SystemTime",
    "RandomState",
    "rand",
    "getrandom",
    "thread",
];

const LONGEST: usize = 450;

#[test]
fn every_file_keeps_to_its_layer() {
    let mut files = Vec::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    assert!(files.len() > 20, "the source is somewhere else");
    let only_tests: Vec<String> = files.iter().flat_map(|(path, text)| test_files(path, text)).collect();
    let findings: Vec<String> = files
        .iter()
        .filter(|(path, _)| !only_tests.contains(path))
        .flat_map(|(path, text)| check(path, text))
        .collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// All Rust files below `folder`, as `src/…` and their text.
fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("the folder stays while it is read").path()) {
        if path.ends_with("src/bin") {
            // The compiler keeps the commands out of the library.
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("it lies below").display().to_string();
            files.push((name, text));
        }
    }
}

/// Everything that is wrong with one file, each with its line.
fn check(path: &str, text: &str) -> Vec<String> {
    let file = File::read(path, text);
    let mut findings = file.layout(text);
    findings.extend(file.forbidden());
    findings.extend(file.imports());
    findings
}

/// A file's code before its tests, as words and signs with their lines.
struct File<'a> {
    path: &'a str,
    /// The module of the crate's root that it belongs to.
    module: &'a str,
    tokens: Vec<(usize, String)>,
    /// The line of its first `#[cfg(test)]`, or one after its last.
    end: usize,
    /// Lines on which something else than a test begins after that.
    stray: Vec<usize>,
}

impl<'a> File<'a> {
    fn read(path: &'a str, text: &str) -> Self {
        let module = path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
        let code = bare(text);
        let lines: Vec<&str> = code.lines().collect();
        let end = lines.iter().position(|line| line.starts_with("#[cfg(test)]")).unwrap_or(lines.len());
        let begins_item = |line: &str| line.starts_with(|c: char| c.is_ascii_alphabetic());
        let stray = (end + 1..lines.len())
            .filter(|at| begins_item(lines[*at]))
            .filter(|at| {
                !lines[..*at].iter().rev().take_while(|line| line.starts_with('#')).any(|line| *line == "#[cfg(test)]")
            })
            .collect();
        let tokens = lines[..end].iter().enumerate().flat_map(|(at, line)| words(line).map(move |word| (at + 1, word)));
        Self { path, module, tokens: tokens.collect(), end: end + 1, stray }
    }

    fn finding(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    fn layout(&self, text: &str) -> Vec<String> {
        let mut findings: Vec<String> =
            self.stray.iter().map(|at| self.finding(at + 1, "tests stand last; this is none")).collect();
        if !text.starts_with("//!") {
            findings.push(self.finding(1, "a file begins with what it is about: `//!`"));
        }
        if self.end > LONGEST + 1 {
            findings.push(self.finding(LONGEST + 1, "too long before its tests: look for the second idea"));
        }
        findings
    }

    fn forbidden(&self) -> Vec<String> {
        let is_low = BOTTOM.contains(&self.module) || ["service", "engine"].contains(&self.module);
        let judge = |at: usize, word: &str| match word {
            "unsafe" => Some("no `unsafe`"),
            "unwrap" if at > 0 && self.tokens[at - 1].1 == "." => {
                Some("no `.unwrap()`: say why with `expect`, or handle it")
            }
            "mio" if self.module != "reactor" => Some("only `reactor` names `mio`"),
            _ if is_low && OUTSIDE.contains(&word) => {
                Some("below `reactor` nobody names sockets, clocks, threads or randomness")
            }
            "Ping" | "Hello" | "Echo" | "Chat" if self.module == "engine" => Some("`engine` names no concrete service"),
            "engine" | "reactor" | "Engine" | "Reactor" if self.module == "service" => {
                Some("`service` names neither `engine` nor `reactor`")
            }
            _ => None,
        };
        let tokens = self.tokens.iter().enumerate();
        tokens.filter_map(|(at, (line, word))| judge(at, word).map(|what| self.finding(*line, what))).collect()
    }

    fn imports(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if !BESIDE.contains(&self.module) && !LAYERS.iter().any(|(module, _)| *module == self.module) {
            findings.push(self.finding(1, "a new module: give it a place in `LAYERS`"));
        }
        // From here `super` is the root of the crate, by which every rule could be got around.
        let is_top = self.path.matches('/').count() == 1 || self.path.ends_with("/mod.rs");
        for at in 0..self.tokens.len() {
            let line = self.tokens[at].0;
            if self.follows(at, &["crate", ":", ":"]) {
                let named = self.roots(at + 3);
                findings.extend(named.iter().filter(|(_, name)| !self.may_name(name)).map(|(line, name)| {
                    self.finding(*line, &format!("`{}` may not name `crate::{name}`", self.module))
                }));
            } else if is_top && self.follows(at, &["super", ":", ":"])
                || self.follows(at, &["super", ":", ":", "super"])
            {
                findings.push(self.finding(line, "the root is named by `crate::`, not by `super`"));
            }
        }
        findings
    }

    fn follows(&self, at: usize, words: &[&str]) -> bool {
        self.tokens.get(at..at + words.len()).is_some_and(|found| found.iter().map(|(_, word)| word).eq(words))
    }

    /// What is named first in a path or in each part of a group.
    fn roots(&self, at: usize) -> Vec<(usize, String)> {
        let mut depth = 0;
        let mut roots = Vec::new();
        for (index, (line, word)) in self.tokens.iter().enumerate().skip(at) {
            match word.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ if depth == 0 => roots.push((*line, word.clone())),
                "," => {}
                _ if depth == 1 && ["{", ","].contains(&self.tokens[index - 1].1.as_str()) => {
                    roots.push((*line, word.clone()));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        roots
    }

    fn may_name(&self, name: &str) -> bool {
        if BESIDE.contains(&self.module) || BOTTOM.contains(&name) || name == self.module {
            return true;
        }
        LAYERS.iter().any(|(module, below)| *module == self.module && below.contains(&name))
    }
}

/// Files that are modules of tests only: `#[cfg(test)] mod name;`.
fn test_files(path: &str, text: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let code = bare(text);
    let lines: Vec<&str> = code.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    declared
        .filter_map(|pair| pair[1].strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name.to_owned()))
        .map(|name| format!("{folder}/{name}.rs"))
        .collect()
}

/// The identifiers and signs of a line.
fn words(line: &str) -> impl Iterator<Item = String> {
    let mut rest = line.trim();
    std::iter::from_fn(move || {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let first = rest.chars().next()?;
        let length = match is_word(first) {
            true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(length);
        rest = behind.trim_start();
        Some(word.to_owned())
    })
}

/// The code without comments and without what strings and characters say; lines stay where they are.
fn bare(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let is_prefix = !before.is_alphanumeric() && before != '_';
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, '"'),
            'r' if is_prefix || before == 'b' => raw(rest).unwrap_or(0),
            '\'' if rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'') => quoted(rest, '\''),
            _ => 0,
        };
        let (skipped, behind) = rest.split_at(length.max(first.len_utf8()));
        match length {
            0 => code.push(first),
            _ => code.extend(skipped.chars().filter(|c| *c == '\n')),
        }
        before = first;
        rest = behind;
    }
    code
}

/// The length of a quoted literal at the beginning.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string at the beginning, if there is one.
fn raw(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&close).map_or(text.len(), |end| 1 + hashes + 1 + end + close.len()))
}

/// The rules, each broken once: a check that finds nothing shows nothing.
mod rules {
    use super::{check, test_files};

    /// Exactly one finding, on this line, that says this.
    #[track_caller]
    fn assert_found(path: &str, code: &str, line: usize, what: &str) {
        let findings = check(path, &["//! A file.\n", code].concat());
        let [finding] = &findings[..] else { panic!("{path}: {findings:?}") };
        assert!(finding.starts_with(&format!("{path}:{line}: ")) && finding.contains(what), "{finding}");
    }

    #[track_caller]
    fn assert_fine(path: &str, code: &str) {
        assert_eq!(check(path, &["//! A file.\n", code].concat()), Vec::<String>::new());
    }

    #[test]
    fn mio_is_named_by_the_reactor_only() {
        for path in ["src/engine/net.rs", "src/service/mod.rs", "src/lib.rs"] {
            assert_found(path, "\nuse mio::Poll;\n", 3, "mio");
        }
        assert_fine("src/reactor/socket.rs", "use mio::net::TcpStream;\n");
    }

    #[test]
    fn sockets_clocks_and_randomness_are_above_the_engine() {
        for path in ["src/engine/accept.rs", "src/service/ping.rs", "src/endpoint.rs", "src/moment.rs"] {
            for code in [
                "use std::net::{IpAddr, UdpSocket};",
                "use std::os::unix::net::UnixStream;",
                "fn now() { std::time::Instant::now(); }",
                "use std::time::SystemTime;",
                "use std::hash::RandomState;",
                "use rand::random;",
            ] {
                assert_found(path, code, 2, "below `reactor`");
            }
            assert_fine(path, "use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;\nfn instant() {}\n");
        }
        assert_fine("src/reactor/clock.rs", "use std::time::Instant;\n");
    }

    #[test]
    fn engine_names_no_concrete_service() {
        for name in ["Ping", "Hello", "Echo", "Chat"] {
            assert_found("src/engine/step.rs", &format!("use crate::service::{name};\n"), 2, "concrete");
        }
        assert_fine("src/engine/step.rs", "use crate::service::{Service, Outbox};\n");
        assert_fine("src/lib.rs", "use crate::service::Echo;\n");
    }

    #[test]
    fn service_names_no_engine() {
        assert_found("src/service/mod.rs", "type E = Engine;\n", 2, "neither");
        assert_found("src/service/mod.rs", "fn reactor() {}\n", 2, "neither");
    }

    #[test]
    fn imports_point_down() {
        for (path, up) in [
            ("src/engine/mod.rs", "reactor"),
            ("src/engine/net.rs", "reactor"),
            ("src/service/mod.rs", "outlet"),
            ("src/stats.rs", "service"),
            ("src/moment.rs", "engine"),
            ("src/outlet.rs", "reactor"),
            ("src/engine/mod.rs", "CloseReason"),
        ] {
            assert_found(path, &format!("use crate::{up}::Thing;\n"), 2, &format!("crate::{up}"));
            assert_found(path, &format!("fn f() {{ crate::{up}::f() }}\n"), 2, &format!("crate::{up}"));
            let group = format!("use crate::{{\n    error::{{self, Error}},\n    {up}::{{A, B}},\n}};\n");
            assert_found(path, &group, 4, &format!("crate::{up}"));
        }
        assert_fine("src/engine/mod.rs", "pub(crate) use crate::{error::CloseReason, service::Service};\n");
        assert_fine("src/engine/mod.rs", "use crate::moment::Moment;\nuse crate::engine::net::Net;\n");
        assert_fine("src/lib.rs", "use crate::engine;\n");
    }

    #[test]
    fn root_is_not_reached_by_super() {
        assert_found("src/engine/step.rs", "use super::super::reactor;\n", 2, "super");
        assert_found("src/engine/mod.rs", "use super::reactor;\n", 2, "super");
        assert_found("src/stats.rs", "use super::engine;\n", 2, "super");
        assert_fine("src/engine/step.rs", "use super::net::Net;\n");
    }

    #[test]
    fn new_module_has_to_find_its_place() {
        assert_found("src/fancy.rs", "", 1, "LAYERS");
    }

    #[test]
    fn no_unsafe_and_no_unwrap() {
        assert_found("src/reactor/udp.rs", "fn f() {\n    unsafe { g() }\n}\n", 3, "unsafe");
        assert_found("src/lib.rs", "fn f() {\n    g()\n        .unwrap();\n}\n", 4, "unwrap");
        assert_fine("src/lib.rs", "fn f() { g().unwrap_or_default() }\n#![forbid(unsafe_code)]\n");
    }

    #[test]
    fn file_says_what_it_is_about_and_is_not_long() {
        assert_eq!(check("src/lib.rs", "\n//! Late.\n").len(), 1);
        assert_fine("src/lib.rs", &"\n".repeat(449));
        assert_found("src/lib.rs", &"\n".repeat(450), 451, "too long");
    }

    #[test]
    fn tests_comments_and_strings_are_free() {
        assert_fine("src/engine/net.rs", "// mio, unsafe\n/* Echo */ const A: &str = \"mio\\\" // unsafe\";\n");
        assert_fine(
            "src/engine/net.rs",
            "const A: &str = r#\"\"mio\"#;\nconst B: u8 = b'\"';\nconst C: char = '\\'';\n",
        );
        assert_fine(
            "src/engine/net.rs",
            "#[cfg(test)]\nmod tests {\n    use mio::Poll;\n    fn f() { g().unwrap() }\n}\n",
        );
        assert_found("src/engine/net.rs", "const A: &str = \"\"; fn f<'a>(_: &'a mio::Poll) {}\n", 2, "mio");
    }

    #[test]
    fn nothing_hides_behind_the_tests() {
        let code = "#[cfg(test)]\nmod testing;\n\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n\nuse mio::Poll;\n";
        assert_found("src/engine/net.rs", code, 10, "tests stand last");
        assert_eq!(test_files("src/engine/mod.rs", code), ["src/engine/testing.rs"]);
    }
}
