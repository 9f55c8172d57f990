//! A load in parts that something else starts: the README's recipes for Slurm, Kubernetes and GNU parallel, taken from its
//! text and run.
//!
//! What is changed in a recipe is where the server is, how long it takes, and where its parts run; each change is
//! asserted to change something. Sums are held against the server's own counters.

mod kubernetes;
mod parallel;
mod slurm;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::readme;
use super::support::{BINARY, Ended, Folder, Server, pass};
use super::talk::Talk;

/// The blocks of this language in this section of the README.
#[track_caller]
fn blocks(section: &str, language: &str) -> Vec<String> {
    let readme = readme::text();
    let (_, section) = readme.split_once(&format!("\n### {section}\n")).expect("the section");
    let section = section.split("\n## ").next().and_then(|section| section.split("\n### ").next()).expect("its end");
    let fence = format!("\n```{language}\n");
    section.split(&fence).skip(1).map(|block| block.split("```\n").next().expect("its end").to_owned()).collect()
}

/// The text with these words in the place of others.
#[track_caller]
fn with(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old:?} is not in {text:?}");
        text.replace(old, new)
    })
}

/// A folder in which recipes run: `pingpong` is this binary.
struct Workshop(Folder);

impl Workshop {
    fn new() -> Self {
        let folder = Folder::new();
        symlink(BINARY, folder.file("pingpong")).expect("a link");
        Self(folder)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.file(name)
    }

    /// Runs a recipe, as the command of another one, in here. Its exit code is that of the first command of a pipe that fails.
    #[track_caller]
    fn run(&self, engine: &[&str], recipe: &str) -> Ended {
        let here = self.file("");
        let script = format!("set -eo pipefail; cd {0}; export PATH={0}:$PATH\n{recipe}", here.display());
        Talk::program("timeout", &[&["60"], engine, &["bash", "-c", &script]].concat()).run()
    }

    /// The sum that a recipe has written there.
    #[track_caller]
    fn sum(&self, ended: &Ended) -> Value {
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
        json(&self.file("sum.json"))
    }
}

#[track_caller]
fn json(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).expect("a file")).expect("JSON")
}

/// That the sum of these parts has what the server has counted, no more and no less, but for so many pings of others.
#[track_caller]
fn agrees(sum: &Value, parts: u64, server: &mut Server, pings: u64) {
    let of_parts: Vec<_> = runs(sum).iter().map(|run| &run["run"]["settings"]["effective"]["part"]).collect();
    let mut numbers: Vec<_> = of_parts.iter().filter_map(|part| part.as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=parts).collect::<Vec<_>>(), "{of_parts:?}");
    let stats = server.stop();
    let metric = |name: &str| sum["metrics"][name].as_u64().unwrap_or_else(|| panic!("{name} in {}", sum["metrics"]));
    assert_eq!(metric("requests"), metric("sent"));
    let counted = (metric("sent") + pings, metric("connections_opened") + pings);
    assert_eq!((stats["messages"], stats["accepted"]), counted);
    assert_eq!(stats["bytes_in"], stats["bytes_out"]);
}

fn runs(sum: &Value) -> &[Value] {
    sum["runs"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Waits until the next multiple of so many seconds is far enough that parts which start now all mean the same one.
fn early_in(period: f64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    let phase = now.as_secs_f64() % period;
    if !(0.05..=period * 0.3).contains(&phase) {
        pass(Duration::from_secs_f64(period - phase + 0.05));
    }
}
