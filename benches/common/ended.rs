//! A program that is run to its end: what it said, and the CPU time it took.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::Result;
use crate::child::Child;

/// The exit code of `pingpong bench` when answers were wrong: a result, not a failure to measure.
const WRONG: i32 = 5;

pub struct Ended {
    pub text: String,
    pub cpu: Duration,
}

impl Ended {
    /// Runs this role on this CPU. No other child may end meanwhile.
    pub fn of(role: &[String], cpu: usize) -> Result<Self> {
        let before = cpu_of_the_waited_for()?;
        let mut program = Child::start(cpu, role)?;
        let text = last_of(&mut program)?;
        Ok(Self { text, cpu: cpu_of_the_waited_for()? - before })
    }
}

/// All that a program says from now on to its end, which has to be a good one.
pub fn last_of(program: &mut Child) -> Result<String> {
    let mut text = String::new();
    while let Some(line) = program.next_line()? {
        text.push_str(&line);
        text.push('\n');
    }
    let code = program.exit_code()?;
    if !matches!(code, Some(0 | WRONG)) {
        let last_words = program.last_words();
        return Err(format!("`{}` ended with {code:?}: {last_words}", program.name()).into());
    }
    Ok(text)
}

/// The CPU time of all children that have been waited for (getrusage(2)). Exact: the kernel scales user and system time
/// so that they add up to the time that it has kept.
fn cpu_of_the_waited_for() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |time: TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).cast_unsigned());
    Ok(time(usage.user_time()) + time(usage.system_time()))
}
