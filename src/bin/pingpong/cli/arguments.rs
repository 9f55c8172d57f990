//! Arguments that several commands have, and how any command builds and reads its own.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches};

use pingpong::service::Framing;
use pingpong::{Endpoint, EndpointError, EndpointProblem};

use super::units::{count_of, duration_of, unescaped};
use crate::probe::Probe;

/// An option with a value.
pub(super) fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// An option without a value.
pub(super) fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

pub(super) fn duration(name: &'static str, help: &'static str) -> Arg {
    option(name, "DUR", help).value_parser(duration_of)
}

/// A duration that cannot be zero.
pub(super) fn timeout(name: &'static str, help: &'static str) -> Arg {
    option(name, "DUR", help).value_parser(|text: &str| match duration_of(text)? {
        Duration::ZERO => Err("it must be longer than that".to_owned()),
        duration => Ok(duration),
    })
}

pub(super) fn count(name: &'static str, help: &'static str) -> Arg {
    option(name, "N", help).value_parser(count_of)
}

/// The server that `client` and `ping` talk to.
pub(super) fn endpoint() -> Arg {
    Arg::new("endpoint")
        .value_name("ENDPOINT")
        .required(true)
        .value_parser(OsStringValueParser::new().try_map(one_place))
        .help("Where: tcp://HOST:PORT, udp://HOST:PORT, unix://PATH, unixgram://PATH; HOST is tcp://HOST:8888")
}

/// The server that `bench` loads, which may answer at a range of ports.
#[cfg(feature = "bench")]
pub(super) fn endpoint_or_range() -> Arg {
    endpoint()
        .value_parser(OsStringValueParser::new().try_map(client_endpoint))
        .help("Where: as for ping, or tcp://HOST:7000-7019 (udp:// too): connections take these ports in turn")
}

/// The same, for more of them.
#[cfg(feature = "bench")]
pub(super) fn another_endpoint() -> impl TypedValueParser<Value = Endpoint> {
    OsStringValueParser::new().try_map(client_endpoint)
}

/// How the asking side cuts a stream into messages. It has to know: `auto` is for servers.
pub(super) fn framing(help: &'static str) -> Arg {
    let names = PossibleValuesParser::new(["line", "raw"]);
    option("framing", "FRAMING", help).default_value("line").value_parser(names.map(|name| match name.as_str() {
        "raw" => Framing::Raw,
        _ => Framing::Line,
    }))
}

/// `--send` and `--expect`, which go together.
pub(super) fn texts() -> [Arg; 2] {
    let parser = OsStringValueParser::new().try_map(|text| unescaped(text.as_bytes()));
    let text = |name, other, help| option(name, "TEXT", help).requires(other).value_parser(parser.clone());
    [
        text("send", "expect", "Ask this instead (C escapes: PING\\r\\n)"),
        text("expect", "send", "The answer to that (+PONG\\r\\n)").conflicts_with("echo"),
    ]
}

/// The longest message of UDP over IPv4 (udp(7)).
const LONGEST_DATAGRAM: usize = 65_507;

/// What is wrong with asking there in so many bytes, if anything.
pub(super) fn too_long(endpoint: &Endpoint, bytes: usize) -> Option<String> {
    (endpoint.is_datagram() && bytes > LONGEST_DATAGRAM)
        .then(|| format!("a datagram has no room for {bytes} bytes: {LONGEST_DATAGRAM} is the most"))
}

/// The value of an argument that is required or has a default.
pub(super) fn required<T: Clone + Send + Sync + 'static>(options: &ArgMatches, name: &str) -> T {
    options.get_one::<T>(name).cloned().expect("it is required or has a default")
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

/// An endpoint as a client may write it: TCP where there is no scheme, port 8888 where there is no port.
fn client_endpoint(mut text: OsString) -> Result<Endpoint, EndpointError> {
    if !text.as_bytes().windows(3).any(|window| window == b"://") {
        let place = std::mem::replace(&mut text, "tcp://".into());
        text.push(place);
    }
    match Endpoint::try_from(&*text) {
        Err(EndpointError { problem: EndpointProblem::NoPort, .. }) => {
            text.push(":8888");
            Endpoint::try_from(&*text)
        }
        parsed => parsed,
    }
}

/// The same, but no range of ports.
fn one_place(text: OsString) -> Result<Endpoint, String> {
    let endpoint = client_endpoint(text).map_err(|error| error.to_string())?;
    if endpoint.ports().is_some_and(|ports| ports.count() > 1) {
        return Err(format!("{endpoint} is a range of ports, which serve and bench take: name one port"));
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_of_ports_is_not_one_place() {
        let place = |text: &str| one_place(text.into());
        assert_eq!(place("localhost:7-7").unwrap().to_string(), "tcp://localhost:7");
        let mistake = place("localhost:7000-7019").unwrap_err();
        assert!(mistake.contains("tcp://localhost:7000-7019") && mistake.contains("one port"), "{mistake}");
    }

    #[test]
    fn a_client_may_leave_out_scheme_and_port() {
        for (short, full) in [
            ("localhost", "tcp://localhost:8888"),
            ("127.0.0.1:9", "tcp://127.0.0.1:9"),
            ("[::1]", "tcp://[::1]:8888"),
            ("udp://[::1]", "udp://[::1]:8888"),
            ("unix:///run/x", "unix:///run/x"),
        ] {
            assert_eq!(client_endpoint(short.into()).unwrap().to_string(), full);
        }
    }
}
