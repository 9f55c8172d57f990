//! `pingpong client`: its arguments and its help.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::arguments::{endpoint, flag, framing, required, timeout};
use crate::client::ClientOptions;

pub(super) fn command() -> Command {
    let command = Command::new("client")
        .about("Talks: says messages and prints their answers, or what is typed")
        .arg(endpoint())
        .arg(
            Arg::new("messages")
                .value_name("MESSAGE")
                .action(ArgAction::Append)
                .value_parser(value_parser!(OsString))
                .help(
                    "What to say: one after the other, each when the one before is answered [default: what is typed]",
                ),
        )
        .arg(flag("greeting", "Wait first for what the server says, and print it"))
        .arg(framing("line: send LF, an answer is a line; raw: send bare text, an answer is a chunk"))
        .arg(timeout("timeout", "How long an answer may take, when not interactive").default_value("5s"))
        .after_help(HELP);
    #[cfg(feature = "watch")]
    let command = command.arg(super::explain::argument());
    command
}

const HELP: &str = "\
Examples:
  pingpong client localhost ping
  pingpong client localhost:9999 --greeting Michael exit
  pingpong client localhost:12345      (a chat: type; 'exit' or Ctrl-D leaves)

Exits with 0 when all is answered, 1 when nothing was or the conversation broke off, 3 when nobody was there, 4 when
an answer took too long.";

impl ClientOptions {
    pub(super) fn of(options: &ArgMatches) -> Self {
        let messages = options.get_many::<OsString>("messages").into_iter().flatten();
        Self {
            endpoint: required(options, "endpoint"),
            messages: messages.map(|message| message.as_encoded_bytes().to_vec()).collect(),
            greeting: options.get_flag("greeting"),
            framing: required(options, "framing"),
            timeout: required(options, "timeout"),
            #[cfg(feature = "watch")]
            explain: super::explain::depth(options),
        }
    }
}
