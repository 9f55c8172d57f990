//! `pingpong serve`: its arguments and its help.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};
use log::LevelFilter;

use pingpong::service::Framing;
use pingpong::{Endpoint, EndpointError, EndpointProblem, HostPort, Limits, ListenOptions, Ports};

use super::arguments::{count, duration, flag, option, required, timeout};
use super::units::{rate_of, size_of};
use crate::logger::Verbosity;
use crate::serve::{Kind, ServeOptions};

pub(super) fn command() -> Command {
    let command = Command::new("serve")
        .about("Answers: ping, hello, echo and chat, in one process and one thread")
        .arg(
            Arg::new("services")
                .value_name("SERVICE[=ENDPOINT]")
                .action(ArgAction::Append)
                .value_parser(OsStringValueParser::new().try_map(|text: OsString| service_argument(&text)))
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
        .arg(
            option("unix-mode", "MODE", "Permissions of Unix sockets' files, like 0660 [default: by umask]")
                .value_parser(mode_of),
        )
        .arg(flag("reuse-port", "Several processes share a port, the kernel spreads the load (SO_REUSEPORT)"))
        .arg(
            option("udp-budget", "RATE", "Datagram answers per second to one far address, 'none' for no limit")
                .default_value("100/s")
                .value_parser(rate_of),
        )
        .arg(flag("no-segment", "Send each UDP answer in a call of its own (without UDP_SEGMENT)"))
        .arg(duration("drain", "How long a shutdown waits for answers that are owed").default_value("5s"))
        .arg(timeout("stats", "Log the counters at this interval [default: off]"))
        .arg(duration(
            "spin",
            "After the last event poll on without sleeping for that long: a core for latency [default: off]",
        ))
        .arg(
            flag(
                "verbose",
                "Log each connection; twice: each message too; three times: each change of a connection's state",
            )
            .short('v')
            .action(ArgAction::Count),
        )
        .arg(flag("log-time", "Begin each line of the log with the time (RFC 3339, UTC)"))
        .arg(flag("quiet", "Log warnings only").short('q').conflicts_with("verbose"))
        .after_help(HELP);
    #[cfg(feature = "watch")]
    let command = command.arg(super::explain::argument());
    command
}

const HELP: &str = "\
SERVICE is ping, hello, echo or chat; ENDPOINT is tcp://HOST:PORT, udp://HOST:PORT, unix://PATH,
unixgram://PATH, or HOST:PORT for TCP and UDP. IPv6 addresses go in brackets; port 0 lets the
kernel pick; 7000-7019 is all of them. Without an endpoint: TCP and UDP at --host; ping on 8888,
hello on 9999, echo on 50007, chat (TCP only) on 12345. Services repeat freely.

Durations: 250ms, 1s, 5m. Sizes: 512, 64KiB, 1MiB. Counts: 10k, 1m.

  pingpong serve
  pingpong serve echo=tcp://0.0.0.0:7000 ping=unix:///run/ping.sock -v

Prints 'listening SERVICE ENDPOINT' for each endpoint, then 'ready'; logs go to standard error.
SIGTERM or Ctrl-C drains and ends, a second one ends at once; SIGUSR1 logs the counters,
SIGUSR2 shows all sockets.";

pub(super) fn verbosity(options: &ArgMatches) -> Verbosity {
    let verbose = options.get_count("verbose");
    let level = match verbose {
        _ if options.get_flag("quiet") => LevelFilter::Warn,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    Verbosity { level, shows_states: verbose > 2, shows_time: options.get_flag("log-time") }
}

impl ServeOptions {
    pub(super) fn of(options: &ArgMatches) -> Result<Self, clap::Error> {
        let duration = |name| options.get_one::<Duration>(name).copied();
        let count = |name| options.get_one::<u32>(name).copied();
        let mut limits = Limits::default();
        limits.max_per_ip = count("max-per-ip");
        limits.max_message = required(options, "max-message");
        limits.idle_timeout = duration("idle-timeout");
        limits.stall_timeout = required(options, "stall-timeout");
        limits.drain = required(options, "drain");
        limits.udp_budget = required(options, "udp-budget");
        let mut listen = ListenOptions::default();
        listen.backlog = i32::try_from(required::<u32>(options, "backlog")).unwrap_or(i32::MAX);
        listen.reuse_port = options.get_flag("reuse-port");
        listen.unix_mode = options.get_one("unix-mode").copied();
        let services = services(options);
        if let Some(mistake) = shared_place(&services) {
            return Err(clap::Error::raw(ErrorKind::ValueValidation, mistake));
        }
        Ok(Self {
            services,
            framing: options.get_one("framing").copied().unwrap_or_default(),
            delay: duration("delay").unwrap_or_default(),
            max_connections: count("max-connections").map(|count| count as usize),
            limits,
            listen,
            stats: duration("stats"),
            spin: duration("spin").unwrap_or_default(),
            once: options.get_flag("once"),
            segments: !options.get_flag("no-segment"),
            #[cfg(feature = "watch")]
            explain: super::explain::depth(options),
        })
    }
}

/// The services asked for, each with its endpoints.
fn services(options: &ArgMatches) -> Vec<(Kind, Vec<Endpoint>)> {
    let host = options.get_one::<String>("host").map_or("127.0.0.1", String::as_str);
    let asked = options.get_many::<(Kind, Option<Vec<Endpoint>>)>("services");
    let asked: Vec<_> = match asked {
        Some(asked) => asked.cloned().collect(),
        None => Kind::USUAL.into_iter().map(|kind| (kind, None)).collect(),
    };
    let at_host = |kind: Kind| {
        kind.endpoints_at(HostPort { host: unbracketed(host).to_owned(), ports: kind.default_port().into() })
    };
    asked.into_iter().map(|(kind, endpoints)| (kind, endpoints.unwrap_or_else(|| at_host(kind)))).collect()
}

/// The first place that is named twice. Of two sockets that share a port (`--reuse-port`) the kernel picks one at random,
/// and with it the service. Which places two names have in common, or an address and a wildcard, the kernel alone knows.
fn shared_place(services: &[(Kind, Vec<Endpoint>)]) -> Option<String> {
    let mut places: Vec<(&str, &Endpoint)> = Vec::new();
    for (kind, at) in services.iter().flat_map(|(kind, endpoints)| endpoints.iter().map(move |at| (kind.name(), at))) {
        for (earlier, place) in &places {
            if let Some(shared) = shared(place, at) {
                return Some(format!("{earlier}={place} and {kind}={at} share {shared}"));
            }
        }
        places.push((kind, at));
    }
    None
}

/// What two endpoints have in common, and the way out.
fn shared(a: &Endpoint, b: &Endpoint) -> Option<String> {
    match (a, b) {
        (Endpoint::Tcp(a), Endpoint::Tcp(b)) | (Endpoint::Udp(a), Endpoint::Udp(b)) if a.host == b.host => {
            shared_port(a.ports, b.ports).map(|port| format!("port {port}: give each a port of its own"))
        }
        (Endpoint::Unix(a) | Endpoint::UnixGram(a), Endpoint::Unix(b) | Endpoint::UnixGram(b)) if a == b => {
            Some("a path: give each a path of its own".to_owned())
        }
        _ => None,
    }
}

/// The first port that two ranges have in common. Each 0 is another port.
fn shared_port(a: Ports, b: Ports) -> Option<u16> {
    let (a, b) = (a.iter(), b.iter());
    let first = *a.start().max(b.start());
    (first > 0 && first <= *a.end().min(b.end())).then_some(first)
}

/// `SERVICE`, `SERVICE=SCHEME://…` or `SERVICE=HOST:PORT`.
fn service_argument(text: &OsStr) -> Result<(Kind, Option<Vec<Endpoint>>), String> {
    let mut parts = text.as_bytes().splitn(2, |byte| *byte == b'=').map(OsStr::from_bytes);
    let kind = kind(&parts.next().unwrap_or_default().to_string_lossy())?;
    let Some(place) = parts.next() else { return Ok((kind, None)) };
    let endpoints = match Endpoint::try_from(place) {
        Ok(endpoint) => vec![endpoint],
        Err(EndpointError { problem: EndpointProblem::NoScheme, .. }) => {
            let place = place.to_str().ok_or(EndpointProblem::NotUtf8).and_then(str::parse);
            kind.endpoints_at(place.map_err(|problem| problem.to_string())?)
        }
        Err(error) => return Err(error.to_string()),
    };
    match endpoints.iter().find(|endpoint| kind == Kind::Chat && endpoint.is_datagram()) {
        Some(endpoint) => Err(format!("chat needs connections, and {endpoint} has none (try tcp or unix)")),
        None => Ok((kind, Some(endpoints))),
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| format!("there is no service '{name}' (there are ping, hello, echo and chat)"))
}

/// `0660`, `600`: permissions as chmod(1) takes them in digits.
fn mode_of(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
    mode.ok_or_else(|| "write it in octal digits, like 0660 (owner and group) or 0600 (owner alone)".to_owned())
}

/// Without the brackets in which an IPv6 address may be written.
fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::super::{CommandLine, parse};
    use super::*;

    fn served(arguments: &str) -> Result<ServeOptions, clap::Error> {
        let words = ["pingpong", "serve"].into_iter().chain(arguments.split_whitespace()).map(Into::into);
        match parse(words)?.command {
            CommandLine::Serve(serve) => Ok(serve),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn serve(arguments: &str) -> ServeOptions {
        served(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    fn listed(serve: &ServeOptions) -> Vec<String> {
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
        assert!(serve.segments && !self::serve("--no-segment").segments);
    }

    #[test]
    fn a_port_or_path_has_one_service() {
        for (arguments, told) in [
            (
                "ping=tcp://a:1 echo=tcp://a:1",
                "ping=tcp://a:1 and echo=tcp://a:1 share port 1: give each a port of its own",
            ),
            ("ping ping", "ping=tcp://127.0.0.1:8888 and ping=tcp://127.0.0.1:8888 share port 8888"),
            (
                "ping echo=127.0.0.1:8000-9000",
                "ping=tcp://127.0.0.1:8888 and echo=tcp://127.0.0.1:8000-9000 share port 8888",
            ),
            (
                "--host [::1] ping hello=udp://[::1]:8888",
                "ping=udp://[::1]:8888 and hello=udp://[::1]:8888 share port 8888",
            ),
            (
                "ping=unix:///p echo=unix:///p",
                "ping=unix:///p and echo=unix:///p share a path: give each a path of its own",
            ),
            ("ping=unix:///p ping=unixgram:///p", "ping=unix:///p and ping=unixgram:///p share a path"),
            (
                "--reuse-port ping=tcp://a:1-5 hello=a:9 echo=tcp://a:4-9",
                "ping=tcp://a:1-5 and echo=tcp://a:4-9 share port 4",
            ),
        ] {
            let error = served(arguments).unwrap_err();
            let line = super::super::mistake(&error).unwrap();
            assert!(error.exit_code() == 2 && line.starts_with(told), "{arguments}: {line}");
        }
        for arguments in [
            "ping=127.0.0.1:0 echo=127.0.0.1:0 ping=tcp://127.0.0.1:0",
            "ping=tcp://a:1 echo=udp://a:1 hello=tcp://b:1",
            "ping=tcp://a:1-4 echo=tcp://a:5-9",
            "--host 0.0.0.0 ping echo=127.0.0.1:8888",
            "ping=unix:///p echo=unix:///q",
        ] {
            assert!(served(arguments).is_ok(), "{arguments}");
        }
    }

    #[test]
    fn permissions_are_octal() {
        assert_eq!(serve("").listen.unix_mode, None);
        assert_eq!(serve("--unix-mode 0660").listen.unix_mode, Some(0o660));
        assert_eq!(serve("--unix-mode 600").listen.unix_mode, Some(0o600));
        for wrong in ["", "+600", "-600", "0680", "1777", "rw", "0o660"] {
            let mistake = mode_of(wrong).expect_err(wrong);
            assert!(mistake.contains("0660"), "{mistake}");
        }
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
}
