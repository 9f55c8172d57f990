//! `pingpong lesson`: sockets at work, step by step, both ends played in one process on loopback.
//!
//! Each lesson is a file that reads like what it teaches. What it says of a state is asked of the kernel while it runs;
//! one that finds otherwise says so and ends.
//!
//! - `stage`: tells, shows, checks, waits; `ends`: what the actors do; `polls`: what events tell them; `diagram`: the
//!   picture at the end; `trouble`: why one breaks off

mod backlog;
mod close_wait;
mod diagram;
mod edge_triggered;
mod ends;
mod half_close;
mod handshake;
mod message_boundaries;
mod nagle;
mod one_thread;
mod polls;
mod refused;
mod reset;
mod stage;
mod time_wait;
mod trouble;
mod zero_window;

use std::io::Write;

use crate::error::Error;
use stage::Stage;
pub(crate) use trouble::Trouble;

/// How a lesson is played.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Over IPv6.
    pub(crate) is_v6: bool,
    /// It does not wait for Enter.
    pub(crate) no_wait: bool,
    /// Only the diagram, for Mermaid.
    pub(crate) mermaid: bool,
}

struct Lesson {
    name: &'static str,
    /// What it teaches, in a line.
    title: &'static str,
    /// Who takes part, from left to right in the diagram.
    actors: &'static [&'static str],
    play: fn(&mut Stage) -> Result<(), Trouble>,
}

const CLIENT: &str = "client";
const SERVER: &str = "server";

/// All of them, the easiest first.
const LESSONS: [Lesson; 12] = [
    handshake::LESSON,
    half_close::LESSON,
    time_wait::LESSON,
    close_wait::LESSON,
    message_boundaries::LESSON,
    refused::LESSON,
    reset::LESSON,
    backlog::LESSON,
    zero_window::LESSON,
    nagle::LESSON,
    edge_triggered::LESSON,
    one_thread::LESSON,
];

/// The names of all lessons.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    LESSONS.iter().map(|lesson| lesson.name)
}

/// Plays the lesson of this name, or lists all.
pub(crate) fn run(name: Option<&str>, options: Options) -> Result<(), Error> {
    let Some(lesson) = name.and_then(|name| LESSONS.iter().find(|lesson| lesson.name == name)) else {
        return list();
    };
    let played = Stage::new(lesson.name, lesson.actors, options).and_then(|mut stage| {
        (lesson.play)(&mut stage)?;
        stage.end()
    });
    played.map_err(|trouble| match trouble {
        Trouble::Output(source) => pingpong::Error::Output { source }.into(),
        trouble => Error::Lesson { name: lesson.name, trouble },
    })
}

fn list() -> Result<(), Error> {
    let mut text = String::from("Sockets at work, step by step, each step checked with the kernel:\n\n");
    for Lesson { name, title, .. } in &LESSONS {
        text += &format!("  {name:<19} {title}\n");
    }
    text += "\nBegin with 'pingpong lesson handshake'.\n";
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(pingpong::Error::Output { source }.into())
        }
        _ => Ok(()),
    }
}
