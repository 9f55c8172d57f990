//! `pingpong lesson`: its arguments and its help.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::arguments::flag;
use crate::lesson::{self, Options};

pub(super) fn command() -> Command {
    let lesson = Arg::new("name").value_name("NAME").value_parser(PossibleValuesParser::new(lesson::names()));
    Command::new("lesson")
        .about("Teaches: sockets at work, step by step, each step checked with the kernel")
        .arg(lesson.hide_possible_values(true).help("Which lesson [default: lists them]"))
        .arg(Arg::new("v6").short('6').action(ArgAction::SetTrue).help("Over IPv6"))
        .arg(flag("no-wait", "Do not wait for Enter after each step"))
        .arg(flag("mermaid", "Print the sequence diagram alone, for Mermaid (mermaid.js.org)"))
        .after_help(HELP)
}

const HELP: &str = "\
Both ends are played in one process, on loopback. On a terminal a lesson waits for Enter after
each step, so that you can look with ss and strace in another one; it says how. Calls are written
as strace writes them, shortened; states and queues are the kernel's, as ss shows them.

Exits with 0, with 1 where the kernel says otherwise than the lesson, with 3 where there is no
loopback interface or address, or with 6 where descriptors, ports or memory are used up.";

/// Which lesson, if one is named, and how it is to be played.
pub(super) fn options(options: &ArgMatches) -> (Option<String>, Options) {
    let (is_v6, no_wait) = (options.get_flag("v6"), options.get_flag("no-wait"));
    (options.get_one("name").cloned(), Options { is_v6, no_wait, mermaid: options.get_flag("mermaid") })
}
