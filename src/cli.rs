//! The command line, as data: what may be written, and what it means. No input or output.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};
use log::LevelFilter;

use crate::endpoint::{Endpoint, HostPort};
use crate::limits::Limits;
use crate::reactor::ListenOptions;
use crate::service::Framing;

/// What the user wants.
#[derive(Debug)]
pub struct Invocation {
    /// How much to log.
    pub level: LevelFilter,
    /// The command, with its options.
    pub command: CommandLine,
}

/// A command with its options.
#[derive(Debug)]
pub enum CommandLine {
    /// `pingpong serve`
    Serve(Serve),
}

/// The options of `pingpong serve`.
#[derive(Debug)]
pub struct Serve {
    /// What answers where.
    pub services: Vec<(Kind, Vec<Endpoint>)>,
    /// How streams are cut into messages.
    pub framing: Framing,
    /// How long `hello` thinks.
    pub delay: Duration,
    /// `--max-connections`, if given.
    pub max_connections: Option<usize>,
    /// All other limits.
    pub limits: Limits,
    /// How sockets listen.
    pub listen: ListenOptions,
    /// How often to log the counters.
    pub stats: Option<Duration>,
    /// How long to poll on without sleeping.
    pub spin: Duration,
}

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ping`
    Ping,
    /// `hello`
    Hello,
    /// `echo`
    Echo,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Ping, Self::Hello, Self::Echo];

    /// Its name on the command line and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Hello => "hello",
            Self::Echo => "echo",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Ping => 8888,
            Self::Hello => 9999,
            Self::Echo => 50007,
        }
    }

    fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("there is no service '{name}' (there are ping, hello and echo)"))
    }
}

/// Reads the arguments. On `--help`, `--version` or a mistake: what to print, and where.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let (name, options) = matches.subcommand().expect("clap asks for one");
    let command = match name {
        "serve" => CommandLine::Serve(serve_options(options)),
        _ => unreachable!("clap knows the commands"),
    };
    Ok(Invocation { level: level(options), command })
}

/// A usage mistake in one line, with the way out; `None` for help and version, which are no mistakes.
pub fn mistake(error: &clap::Error) -> Option<String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand) {
        return None;
    }
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let what = lines.join(" ");
    Some(format!("{} (see 'pingpong serve --help')", what.strip_prefix("error: ").unwrap_or(&what)))
}

fn command() -> Command {
    Command::new("pingpong")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Answers, asks and measures over TCP, UDP and Unix sockets.")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(serve())
        .after_help("'pingpong serve' starts ping, hello and echo on their usual ports of 127.0.0.1.")
}

fn serve() -> Command {
    Command::new("serve")
        .about("Answers: ping, hello and echo, in one process and one thread")
        .arg(
            Arg::new("services")
                .value_name("SERVICE[=ENDPOINT]")
                .action(ArgAction::Append)
                .value_parser(service_argument)
                .help("What answers where [default: ping hello echo]"),
        )
        .arg(
            option("host", "HOST", "Address for services named without an endpoint; 0.0.0.0 or :: for all")
                .default_value("127.0.0.1"),
        )
        .arg(
            option("framing", "FRAMING", "Where a message ends in a stream: auto, line or raw")
                .default_value("auto")
                .value_parser(PossibleValuesParser::new(["auto", "line", "raw"]).map(|name| match name.as_str() {
                    "line" => Framing::Line,
                    "raw" => Framing::Raw,
                    _ => Framing::Auto,
                })),
        )
        .arg(duration("delay", "How long hello thinks about each message of a stream").default_value("1s"))
        .arg(flag("once", "Serve until the first accepted connection has ended, then drain and exit"))
        .arg(count(
            "max-connections",
            "Accept no more at once; the backlog holds the rest [default: what the descriptor limit allows]",
        ))
        .arg(count("max-per-ip", "Close further connections from one address at once [default: none]"))
        .arg(
            option("max-message", "BYTES", "A longer line closes its connection")
                .default_value("64KiB")
                .value_parser(size_of),
        )
        .arg(timeout("idle-timeout", "Close connections with no byte in or out for that long [default: none]"))
        .arg(
            timeout("stall-timeout", "Close connections that take none of their answers for that long")
                .default_value("60s"),
        )
        .arg(count("backlog", "How many connections may wait to be accepted, per listener").default_value("4096"))
        .arg(flag("reuse-port", "Several processes share a port, the kernel spreads the load (SO_REUSEPORT)"))
        .arg(
            option("udp-budget", "RATE", "Datagram answers per second to one far address, 'none' for no limit")
                .default_value("100/s")
                .value_parser(rate_of),
        )
        .arg(duration("drain", "How long a shutdown waits for answers that are owed").default_value("5s"))
        .arg(timeout("stats", "Log the counters at this interval [default: off]"))
        .arg(duration(
            "spin",
            "After the last event poll on without sleeping for that long: a core for latency [default: off]",
        ))
        .arg(flag("verbose", "Log each connection; twice: each message too").short('v').action(ArgAction::Count))
        .arg(flag("quiet", "Log warnings only").short('q').conflicts_with("verbose"))
        .after_help(SERVE_HELP)
}

const SERVE_HELP: &str = "\
SERVICE is ping, hello or echo; ENDPOINT is tcp://HOST:PORT, udp://HOST:PORT, unix://PATH,
unixgram://PATH, or HOST:PORT for TCP and UDP. IPv6 addresses go in brackets; port 0 lets the
kernel pick. Without an endpoint: TCP and UDP at --host; ping on 8888, hello on 9999, echo on 50007.
Services repeat freely.

Durations: 250ms, 1s, 5m. Sizes: 512, 64KiB, 1MiB. Counts: 10k, 1m.

  pingpong serve
  pingpong serve echo=tcp://0.0.0.0:7000 ping=unix:///run/ping.sock -v

Prints 'listening SERVICE ENDPOINT' for each endpoint, then 'ready'; logs go to standard error.
SIGTERM or Ctrl-C drains and ends, a second one ends at once; SIGUSR1 logs the counters.";

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn duration(name: &'static str, help: &'static str) -> Arg {
    option(name, "DUR", help).value_parser(duration_of)
}

/// A duration that cannot be zero.
fn timeout(name: &'static str, help: &'static str) -> Arg {
    option(name, "DUR", help).value_parser(|text: &str| match duration_of(text)? {
        Duration::ZERO => Err("it must be longer than that".to_owned()),
        duration => Ok(duration),
    })
}

fn count(name: &'static str, help: &'static str) -> Arg {
    option(name, "N", help).value_parser(count_of)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn level(options: &ArgMatches) -> LevelFilter {
    match (options.get_flag("quiet"), options.get_count("verbose")) {
        (true, _) => LevelFilter::Warn,
        (_, 0) => LevelFilter::Info,
        (_, 1) => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

fn serve_options(options: &ArgMatches) -> Serve {
    let duration = |name| options.get_one::<Duration>(name).copied();
    let count = |name| options.get_one::<u32>(name).copied();
    let (limits, listen) = (Limits::default(), ListenOptions::default());
    let limits = Limits {
        max_per_ip: count("max-per-ip"),
        max_message: options.get_one("max-message").copied().unwrap_or(limits.max_message),
        idle_timeout: duration("idle-timeout"),
        stall_timeout: duration("stall-timeout").unwrap_or(limits.stall_timeout),
        drain: duration("drain").unwrap_or(limits.drain),
        udp_budget: options.get_one("udp-budget").copied().unwrap_or(limits.udp_budget),
        once: options.get_flag("once"),
        ..limits
    };
    let listen = ListenOptions {
        backlog: count("backlog").map_or(listen.backlog, |backlog| i32::try_from(backlog).unwrap_or(i32::MAX)),
        reuse_port: options.get_flag("reuse-port"),
    };
    Serve {
        services: services(options),
        framing: options.get_one("framing").copied().unwrap_or_default(),
        delay: duration("delay").unwrap_or_default(),
        max_connections: count("max-connections").map(|count| count as usize),
        limits,
        listen,
        stats: duration("stats"),
        spin: duration("spin").unwrap_or_default(),
    }
}

/// The services asked for, each with its endpoints: several services may be of one kind.
fn services(options: &ArgMatches) -> Vec<(Kind, Vec<Endpoint>)> {
    let host = options.get_one::<String>("host").map_or("127.0.0.1", String::as_str);
    let asked = options.get_many::<(Kind, Option<Vec<Endpoint>>)>("services");
    let asked: Vec<_> = match asked {
        Some(asked) => asked.cloned().collect(),
        None => Kind::ALL.into_iter().map(|kind| (kind, None)).collect(),
    };
    let at_host = |kind: Kind| both(HostPort { host: unbracketed(host).to_owned(), port: kind.default_port() });
    asked.into_iter().map(|(kind, endpoints)| (kind, endpoints.unwrap_or_else(|| at_host(kind)))).collect()
}

/// `SERVICE`, `SERVICE=SCHEME://…` or `SERVICE=HOST:PORT`.
fn service_argument(text: &str) -> Result<(Kind, Option<Vec<Endpoint>>), String> {
    let Some((name, place)) = text.split_once('=') else { return Ok((Kind::named(text)?, None)) };
    let kind = Kind::named(name)?;
    let endpoints = match place.contains("://") {
        true => vec![place.parse::<Endpoint>().map_err(|error| error.to_string())?],
        false => both(place.parse::<HostPort>().map_err(|problem| problem.to_string())?),
    };
    Ok((kind, Some(endpoints)))
}

fn both(place: HostPort) -> Vec<Endpoint> {
    vec![Endpoint::Tcp(place.clone()), Endpoint::Udp(place)]
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// `250ms`, `1s`, `5m`, `1.5s`.
fn duration_of(text: &str) -> Result<Duration, String> {
    let seconds = match split_unit(text) {
        (number, "us") => number.map(|number| number / 1e6),
        (number, "ms") => number.map(|number| number / 1e3),
        (number, "s") => number,
        (number, "m") => number.map(|number| number * 60.0),
        (number, "h") => number.map(|number| number * 3600.0),
        _ => None,
    };
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.filter(|duration| *duration <= LONGEST).ok_or_else(|| "write it like 250ms, 1s or 5m".to_owned())
}

/// Longer than anyone will wait, and short enough for any sum.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `512`, `64KiB`, `1MiB`.
fn size_of(text: &str) -> Result<usize, String> {
    let unit = match split_unit(text) {
        (number, "" | "B") => number,
        (number, "KiB") => number.map(|number| number * 1024.0),
        (number, "MiB") => number.map(|number| number * 1024.0 * 1024.0),
        _ => None,
    };
    let most = f64::from(1 << 30);
    unit.filter(|bytes| (1.0..=most).contains(bytes) && bytes.fract() == 0.0)
        .map(|bytes| bytes as usize)
        .ok_or_else(|| "write it like 512, 64KiB or 1MiB (1 GiB at the most)".to_owned())
}

/// `200`, `10k`, `1m`; at least 1.
fn count_of(text: &str) -> Result<u32, String> {
    let count = match split_unit(text) {
        (number, "") => number,
        (number, "k") => number.map(|number| number * 1e3),
        (number, "m") => number.map(|number| number * 1e6),
        _ => None,
    };
    count
        .filter(|count| (1.0..=f64::from(u32::MAX)).contains(count) && count.fract() == 0.0)
        .map(|count| count as u32)
        .ok_or_else(|| "write a number from 1 on, like 200, 10k or 1m".to_owned())
}

/// `100/s`, `100` or `none`.
fn rate_of(text: &str) -> Result<Option<NonZeroU32>, String> {
    if text == "none" {
        return Ok(None);
    }
    let rate = count_of(text.strip_suffix("/s").unwrap_or(text)).ok().and_then(NonZeroU32::new);
    rate.map(Some).ok_or_else(|| "write it like 100/s, or none".to_owned())
}

/// A number, if it is one, and the letters behind it.
fn split_unit(text: &str) -> (Option<f64>, &str) {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (number.parse().ok().filter(|_| is_plain), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn serve(arguments: &str) -> Serve {
        let words = ["pingpong", "serve"].into_iter().chain(arguments.split_whitespace()).map(Into::into);
        let CommandLine::Serve(serve) = parse(words).unwrap_or_else(|error| panic!("{error}")).command;
        serve
    }

    fn listed(serve: &Serve) -> Vec<String> {
        let each = serve.services.iter().flat_map(|(kind, endpoints)| endpoints.iter().map(move |at| (kind, at)));
        each.map(|(kind, at)| format!("{} {at}", kind.name())).collect()
    }

    #[test]
    fn serve_alone_is_three_services_on_loopback_over_tcp_and_udp() {
        let serve = serve("");
        assert_eq!(
            listed(&serve),
            [
                "ping tcp://127.0.0.1:8888",
                "ping udp://127.0.0.1:8888",
                "hello tcp://127.0.0.1:9999",
                "hello udp://127.0.0.1:9999",
                "echo tcp://127.0.0.1:50007",
                "echo udp://127.0.0.1:50007",
            ]
        );
        assert_eq!(serve.delay, Duration::from_secs(1));
        assert_eq!(serve.listen.backlog, 4096);
        assert_eq!(serve.limits.max_message, 64 << 10);
    }

    #[test]
    fn services_repeat_and_name_their_endpoints() {
        let serve = serve("ping=tcp://[::]:7000 ping=unix:///run/pp.sock echo=localhost:1 hello --host ::1");
        assert_eq!(
            listed(&serve),
            [
                "ping tcp://[::]:7000",
                "ping unix:///run/pp.sock",
                "echo tcp://localhost:1",
                "echo udp://localhost:1",
                "hello tcp://[::1]:9999",
                "hello udp://[::1]:9999",
            ]
        );
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(duration_of("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration_of("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration_of("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(size_of("64KiB"), Ok(65_536));
        assert_eq!(count_of("10k"), Ok(10_000));
        assert_eq!(count_of("1m"), Ok(1_000_000));
        assert_eq!(rate_of("none"), Ok(None));
        assert_eq!(rate_of("100/s"), Ok(NonZeroU32::new(100)));
        for wrong in ["", "1", "-1s", "1x", "inf", "infs", "1e3s", "99999h0", "nan"] {
            assert!(duration_of(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "-1", "1.5", "10kk", "5000m"] {
            assert!(count_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mistakes_are_usage_errors_that_name_the_thing() {
        for (arguments, word) in [
            ("pong", "pong"),
            ("echo=tcp://nowhere", "port"),
            ("echo=::1:7", "brackets"),
            ("--delay never", "250ms"),
            ("--framing tight", "tight"),
            ("--idle-timeout 0s", "longer"),
            ("-q -v", "--verbose"),
        ] {
            let words = ["pingpong", "serve"].into_iter().chain(arguments.split_whitespace()).map(Into::into);
            let error = parse(words).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let line = mistake(&error).unwrap();
            assert!(line.contains(word) && !line.contains('\n'), "{arguments}: {line}");
        }
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        command().debug_assert();
    }
}
