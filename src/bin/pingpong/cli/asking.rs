//! `pingpong client` and `pingpong ping`: their options.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::units::{size_of, unescaped};
use super::{count, flag, option, required, timeout};
use crate::probe::Probe;
use pingpong::Endpoint;
use pingpong::service::Framing;

/// The options of `pingpong client`.
#[derive(Debug)]
pub(crate) struct ClientOptions {
    /// Whom to talk to.
    pub(crate) endpoint: Endpoint,
    /// What to say; nothing means: what is typed.
    pub(crate) messages: Vec<Vec<u8>>,
    /// Whether to wait first for what the server says.
    pub(crate) greeting: bool,
    /// Where a message ends in a stream: lines or chunks.
    pub(crate) framing: Framing,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
}

/// The options of `pingpong ping`.
#[derive(Debug)]
pub(crate) struct PingOptions {
    /// Whom to ask.
    pub(crate) endpoint: Endpoint,
    /// How often to ask; for ever, if not given.
    pub(crate) count: Option<u64>,
    /// From one question to the next.
    pub(crate) interval: Duration,
    /// An answer after this long is late.
    pub(crate) timeout: Duration,
    /// No line for each answer.
    pub(crate) quiet: bool,
    /// What to ask, and what answer is right.
    pub(crate) probe: Probe,
}

pub(super) fn client() -> Command {
    Command::new("client")
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
        .after_help(CLIENT_HELP)
}

const CLIENT_HELP: &str = "\
Examples:
  pingpong client localhost ping
  pingpong client localhost:9999 --framing raw --greeting Michael exit
  pingpong client localhost:12345      (a chat: type; 'exit' or Ctrl-D leaves)

Exits with 0 when all is answered, 1 when the conversation broke off, 3 when nobody was there, 4 when an answer
took too long.";

pub(super) fn ping() -> Command {
    Command::new("ping")
        .about("Asks: round trips, counted and timed")
        .arg(endpoint())
        .arg(count("count", "Ask so often and end [default: until interrupted]").short('c'))
        .arg(timeout("interval", "From one question to the next").short('i').default_value("1s"))
        .arg(
            option("size", "BYTES", "Padding in each question [default: 0]")
                .short('s')
                .value_parser(|text: &str| if text == "0" { Ok(0) } else { size_of(text) }),
        )
        .arg(timeout("timeout", "An answer after this long is late").short('W').default_value("1s"))
        .arg(flag("quiet", "No line for each answer").short('q'))
        .arg(flag("echo", "Expect the same bytes back"))
        .args(texts())
        .after_help(PING_HELP)
}

const PING_HELP: &str = "\
Examples:
  pingpong ping localhost -c 5
  pingpong ping udp://localhost -i 10ms -q
  pingpong ping tcp://localhost:6379 --send 'PING\\r\\n' --expect '+PONG\\r\\n'

Exits with 0 when something was answered, 1 when nothing was, 3 when nobody was there, 5 when an answer was wrong.";

/// `--send` and `--expect`, which go together.
pub(super) fn texts() -> [Arg; 2] {
    let text = |name, other, help| option(name, "TEXT", help).requires(other).value_parser(unescaped);
    [
        text("send", "expect", "Ask this instead (C escapes: PING\\r\\n)"),
        text("expect", "send", "The answer to that (+PONG\\r\\n)").conflicts_with("echo"),
    ]
}

/// Of one who asks, who has to know.
pub(super) fn framing(help: &'static str) -> Arg {
    let names = PossibleValuesParser::new(["line", "raw"]);
    option("framing", "FRAMING", help).default_value("line").value_parser(names.map(|name| match name.as_str() {
        "raw" => Framing::Raw,
        _ => Framing::Line,
    }))
}

pub(super) fn endpoint() -> Arg {
    Arg::new("endpoint")
        .value_name("ENDPOINT")
        .required(true)
        .value_parser(|text: &str| Endpoint::for_client(text).map_err(|error| error.to_string()))
        .help("Where: tcp://HOST:PORT, udp://HOST:PORT, unix://PATH, unixgram://PATH; HOST is tcp://HOST:8888")
}

impl ClientOptions {
    pub(super) fn of(options: &ArgMatches) -> Self {
        let messages = options.get_many::<OsString>("messages").into_iter().flatten();
        Self {
            endpoint: required(options, "endpoint"),
            messages: messages.map(|message| message.as_encoded_bytes().to_vec()).collect(),
            greeting: options.get_flag("greeting"),
            framing: required(options, "framing"),
            timeout: required(options, "timeout"),
        }
    }
}

impl PingOptions {
    pub(super) fn of(options: &ArgMatches) -> Self {
        let padding = options.get_one("size").copied().unwrap_or(0);
        Self {
            endpoint: required(options, "endpoint"),
            count: options.get_one::<u32>("count").copied().map(u64::from),
            interval: required(options, "interval"),
            timeout: required(options, "timeout"),
            quiet: options.get_flag("quiet"),
            probe: Probe::of(options, padding),
        }
    }
}

impl Probe {
    /// What `--send` and `--expect`, or `--echo`, or neither of them ask for.
    pub(super) fn of(options: &ArgMatches, bytes: usize) -> Self {
        let text = |name| options.get_one::<Vec<u8>>(name).cloned();
        match text("send").zip(text("expect")) {
            Some((send, expect)) => Self::Fixed { send, expect },
            None if options.get_flag("echo") => Self::Echo(bytes),
            None => Self::Pong(bytes),
        }
    }
}
