//! How long `pingpong bench merge -` takes for the results of a thousand parts, and how much memory.
//!
//! ```text
//! cargo bench --bench merge                  results of two sizes, under a minute
//! ```
//!
//! One part of a load runs and writes its results; the others are copies of them under other numbers. They come from a
//! file, as fast as they are read. Slowness never fails; exit 1 when the sum is not that of all parts.

use std::env::temp_dir;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{self, Command, ExitCode, Output};
use std::time::Instant;

use common::Result;
use common::child::{self, Child, Cpus};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

const PINGPONG: &str = env!("CARGO_BIN_EXE_pingpong");
const PARTS: u64 = 1_000;

/// Of each load, the requests of a part per second, and for how many seconds.
const LOADS: [(u64, u64); 2] = [(5_000, 4), (10_000, 10)];

/// Of each sum.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    child::enter("merge", play, bench)
}

/// All children are other programs here.
fn play(role: &str, arguments: &[&str]) -> Result<()> {
    Err(format!("no such role: {role} {arguments:?}").into())
}

/// False when a sum was not that of all parts.
fn bench(_: &[String]) -> Result<bool> {
    let role = ["exec", PINGPONG, "serve", "ping=127.0.0.1:0"].map(str::to_owned);
    let mut server = Child::start(Cpus::pick()?.server, &role)?;
    let endpoint = server.endpoint()?;
    let file = temp_dir().join(format!("pingpong-merge-{}.json", process::id()));
    let sums = LOADS.map(|(rate, seconds)| sum(&endpoint, &file, rate, seconds));
    fs::remove_file(&file)?;
    sums.into_iter().try_fold(true, |is_right, sum| Ok(is_right & sum?))
}

/// Shows what it takes to add up the results of such parts. Returns whether all of them are in the sum.
fn sum(endpoint: &str, file: &Path, rate: u64, seconds: u64) -> Result<bool> {
    let load = format!("-c {PARTS} -r {} -d {seconds}s --part 1/{PARTS} --json -q", PARTS * rate);
    let ended = Command::new(PINGPONG).args(["bench", endpoint]).args(load.split(' ')).output()?;
    let part = said(ended)?;
    let length = write_parts(&part, file)?;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        said(Command::new(PINGPONG).args(["bench", "merge", "-"]).stdin(File::open(file)?).output()?)?;
        took.push(began.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    // The most of any child so far: the loads take less.
    let megabytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss() / 1_000;
    let (least, most) = (took[0], took[ROUNDS - 1]);
    println!(
        "{PARTS} parts of {} kB, {seconds} s at {rate} a second each: {least:.2} to {most:.2} s, {megabytes} MB",
        length / 1_000
    );
    let whole =
        said(Command::new(PINGPONG).args(["bench", "merge", "-", "--json"]).stdin(File::open(file)?).output()?)?;
    let requests =
        |text: &str| Ok::<_, serde_json::Error>(serde_json::from_str::<Value>(text)?["metrics"]["requests"].as_u64());
    Ok(requests(&whole)? == requests(&part)?.map(|requests| requests * PARTS))
}

/// Writes the results of all parts, each on its line with its checksum; returns the length of the last one.
fn write_parts(first: &str, file: &Path) -> Result<usize> {
    let (open, _) = first.rsplit_once(",\"checksum\"").ok_or("results without a checksum")?;
    let mut out = BufWriter::new(File::create(file)?);
    let mut length = 0;
    for part in 1..=PARTS {
        let open = open.replacen("\"part\":1,", &format!("\"part\":{part},"), 1);
        let line = format!("{open},\"checksum\": \"{:08x}\"}}\n", crc32fast::hash(open.as_bytes()));
        out.write_all(line.as_bytes())?;
        length = line.len();
    }
    out.flush()?;
    Ok(length)
}

/// What a command has said that went well.
fn said(ended: Output) -> Result<String> {
    match ended.status.success() {
        true => Ok(String::from_utf8(ended.stdout)?),
        false => Err(format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr)).into()),
    }
}
