//! `pingpong bench`: its flags and its help, and which of them go together.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use pingpong::Endpoint;
use pingpong::service::Framing;

use super::against;
use super::arguments::{self, duration, flag, option, required, timeout};
use super::part;
use super::rate::{per_second, random_seed, rates_of, seed_of};
use super::start;
use super::units::{count_of, duration_of, number_of, size_of};
use super::wanted;

use crate::bench::{Allowed, Arrivals, BenchOptions, Extent, MergeOptions, Output, Rate, Sources};
use crate::probe::Probe;

pub(super) fn command() -> Command {
    Command::new("bench")
        .about("Loads a server: many connections, every answer checked and timed")
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand_negates_reqs(true)
        .arg(arguments::endpoint_or_range())
        .arg(against::argument())
        .arg(option("connections", "N", "Sockets that ask").short('c').default_value("50").value_parser(count_of))
        .arg(timeout("duration", "How long it measures [default: 10s]").short('d'))
        .arg(
            option("requests", "N", "Measure this many requests instead")
                .short('n')
                .value_parser(number_of)
                .conflicts_with("duration"),
        )
        .arg(
            option(
                "rate",
                "R",
                "Open loop: this many requests a second, sent on schedule whether or not answers came; R,R,… one after \
                 another; R..R rising from one to the other",
            )
            .short('r')
            .value_parser(rates_of),
        )
        .arg(
            option(
                "arrivals",
                "HOW",
                "Open loop: requests are evenly spaced, or come at random (poisson) [default: even]",
            )
            .value_parser(["even", "poisson"])
            .requires("schedule"),
        )
        .arg(option("seed", "N", "Repeat the times of --arrivals poisson").value_parser(seed_of).requires("arrivals"))
        .arg(
            option("pipeline", "N", "Closed loop: requests that each connection has under way [default: 1]")
                .short('p')
                .value_parser(count_of)
                .conflicts_with_all(["rate", "churn"]),
        )
        .arg(flag("no-segment", "Send each UDP request in a call of its own, also with -p (without UDP_SEGMENT)"))
        .arg(option("size", "BYTES", "Bytes of a message [default: 64]").short('s').value_parser(size_of))
        .arg(flag("echo", "Expect the same bytes back, instead of pong with the same tail"))
        .arg(option("idle", "N", "Connections beside them that only stay open").value_parser(or_none(count_of)))
        .arg(timeout("heartbeat", "Each idle connection asks once in that time, and its answer is checked"))
        .arg(
            option(
                "probe",
                "R",
                "One connection more asks this often, reported apart and part by part: what a client feels meanwhile",
            )
            .value_parser(per_second),
        )
        .arg(flag("churn", "A new connection for each request"))
        .arg(
            option(
                "connect-rate",
                "R",
                "Connections made a second, before the start [default: as fast as they come about]",
            )
            .value_parser(per_second),
        )
        .arg(
            option("source", "ADDR", "Local addresses to come from: ADDR, ADDR-ADDR or ADDR/BITS")
                .value_parser(|text: &str| text.parse::<Sources>()),
        )
        .arg(
            duration("warmup", "How long to ask before it counts")
                .default_value("1s")
                .value_parser(or_none(duration_of)),
        )
        .args(against::texts())
        .arg(arguments::framing("line: messages end with LF; raw: they do not"))
        .arg(timeout("timeout", "An answer after this long is lost, or late if it still comes").default_value("5s"))
        .arg(timeout("connect-timeout", "Connections without an outcome for this long have failed").default_value("5s"))
        .arg(wanted::require())
        .args(wanted::find_and_bounds())
        .arg(wanted::until())
        .group(ArgGroup::new("schedule").args(["rate", "find"]))
        .arg(part::argument())
        .args(start::arguments())
        .arg(flag("allow-failures", "Exit with 0 though connections failed, were lost or got no answer"))
        .arg(json())
        .arg(html())
        .arg(
            option("hdr", "FILE", "Write the histograms there, as an HdrHistogram log")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(flag("quiet", "Only the last line of the report").short('q'))
        .arg(flag("no-progress", "Do not show on a terminal how it goes"))
        .after_help(HELP)
        .subcommand(super::compare::command())
        .subcommand(
            Command::new("merge")
                .about("Adds up the results of runs that were one load, from several processes or machines")
                .arg(
                    Arg::new("files")
                        .value_name("JSON")
                        .required(true)
                        .action(ArgAction::Append)
                        .value_parser(value_parser!(PathBuf))
                        .help("Results written with --json; -: from standard input, among other text"),
                )
                .arg(flag("partial", "Add up also where parts (--part) are missing"))
                .arg(flag("force", "Add up also what was not one load: settings, times, a run twice, parts missing"))
                .arg(wanted::require())
                .arg(json())
                .arg(html()),
        )
}

const HELP: &str = "\
Examples:
  pingpong bench localhost -c 50 -d 10s
  pingpong bench localhost -c 100 --idle 18900 --heartbeat 60s -r 20k
  pingpong bench udp://localhost --echo -s 512 -r 50k --json=result.json
  pingpong bench tcp://localhost:6379 --send 'PING\\r\\n' --expect '+PONG\\r\\n'
  pingpong bench localhost -r 10k,20k,40k --require 'p99<5ms' --require errors=0
  pingpong bench localhost --find 'p99<5ms' --find errors=0 -d 10s
  pingpong bench localhost:7001 --against localhost:7002
  pingpong bench localhost -r 20k --html result.html
  pingpong bench localhost -c 1k -r 20k --part 1/2 --start-at 'next 30s' --json=a.json
  pingpong bench merge a.json b.json
  srun -n 4 --label pingpong bench localhost --part auto --start-at 'next 10s' --json | pingpong bench merge -
  pingpong bench compare old1.json old2.json --to new1.json new2.json

Exits with 0 when requests were answered, 1 when none was, or connections failed, were lost or got no answer, 3 when
nobody was there, 4 when nobody took the connection in time, 5 when an answer was wrong, 6 when this machine has too few
descriptors, ports or bytes for it, 7 when a requirement was not met.";

pub(super) fn json() -> Arg {
    option("json", "FILE", "Write the results as JSON, to standard output in place of the report or into a file")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("-")
        .value_parser(
            clap::builder::PathBufValueParser::new()
                .map(|path: PathBuf| if path.as_os_str() == "-" { Output::Stdout } else { Output::File(path) }),
        )
}

pub(super) fn html() -> Arg {
    option("html", "FILE", "Write the results there as a page with pictures, which loads nothing from elsewhere")
        .value_parser(clap::builder::PathBufValueParser::new().try_map(page_of))
}

/// A file for a page. Standard output has the report, or JSON.
fn page_of(path: PathBuf) -> Result<PathBuf, &'static str> {
    if path.as_os_str() == "-" { Err("a page goes to a file: name one, like result.html") } else { Ok(path) }
}

/// `--json FILE` with a space: FILE would be taken for a subcommand, or for one more result to add up. Bare `--json` may
/// well stand before an endpoint or before the first result, but not behind them.
pub(super) fn mistake_of_json(arguments: &[OsString]) -> Option<clap::Error> {
    let mut words = arguments.iter().skip(1).map(|word| word.as_bytes());
    if words.next() != Some(b"bench") {
        return None;
    }
    let words: Vec<&[u8]> = words.collect();
    let place = words.iter().position(|word| *word == b"--json")?;
    let file = words.get(place + 1).filter(|word| !word.starts_with(b"-") && !word.is_empty())?;
    let matches = |words: &[&[u8]]| {
        let words = words.iter().map(|word| OsStr::from_bytes(word).to_owned());
        command().try_get_matches_from(["bench".into()].into_iter().chain(words))
    };
    let rest = [&words[..=place], &words[place + 2..]].concat();
    let is_one_too_many = match words.first() {
        Some(&b"merge" | &b"compare") => matches(&words[..place]).is_ok(),
        _ => matches(&words).is_err() && matches(&rest).is_ok(),
    };
    let file = String::from_utf8_lossy(file);
    is_one_too_many.then(|| {
        let text = format!("--json takes its file after '=': write --json={file}");
        clap::Error::raw(ErrorKind::ValueValidation, text)
    })
}

/// A higher rate is no rate of requests, and passing over those that were not sent would take long.
const MOST_AT_RANDOM: f64 = 1e7;

/// A parser that takes 0 too.
fn or_none<T: Default>(parse: fn(&str) -> Result<T, String>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| if text == "0" || text == "0s" { Ok(T::default()) } else { parse(text) }
}

fn arrivals(options: &ArgMatches) -> Arrivals {
    match options.get_one::<String>("arrivals").map(String::as_str) {
        Some("poisson") => Arrivals::Poisson { seed: options.get_one("seed").copied().unwrap_or_else(random_seed) },
        _ => Arrivals::Even,
    }
}

impl BenchOptions {
    /// Fails where the options do not go together.
    pub(super) fn of(options: &ArgMatches) -> Result<Self, clap::Error> {
        let size = options.get_one("size").copied().unwrap_or(64);
        let requests = options.get_one::<u64>("requests").copied();
        let duration = options.get_one("duration").copied().unwrap_or(Duration::from_secs(10));
        let probe = Probe::of(options, size);
        let bench = Self {
            endpoint: required(options, "endpoint"),
            against: against::servers(options, &probe)?,
            connections: required(options, "connections"),
            idle: options.get_one("idle").copied().unwrap_or(0),
            heartbeat: options.get_one("heartbeat").copied(),
            probe_rate: options.get_one("probe").copied(),
            extent: requests.map_or(Extent::Duration(duration), Extent::Requests),
            rates: options.get_one::<Vec<Rate>>("rate").cloned().unwrap_or_default(),
            arrivals: arrivals(options),
            chosen_seed: options.get_one("seed").copied(),
            pipeline: options.get_one("pipeline").copied().unwrap_or(1),
            segments: !options.get_flag("no-segment"),
            probe,
            churn: options.get_flag("churn"),
            connect_rate: options.get_one("connect-rate").copied(),
            sources: options.get_one("source").copied(),
            spread: None,
            part: options.get_one("part").copied(),
            dealt_before: 0,
            undivided: None,
            start_at: options.get_one("start-at").copied(),
            clock_error: options.get_one("clock-error").copied(),
            warmup: required(options, "warmup"),
            framing: required(options, "framing"),
            timeout: required(options, "timeout"),
            connect_timeout: required(options, "connect-timeout"),
            allow_failures: options.get_flag("allow-failures"),
            requirements: wanted::requirements(options),
            find: wanted::find(options),
            until: options.get_one("until").cloned(),
            json: options.get_one("json").cloned(),
            html: options.get_one("html").cloned(),
            hdr: options.get_one("hdr").cloned(),
            quiet: options.get_flag("quiet"),
            progress: !options.get_flag("no-progress"),
        };
        let mistake = bench.each_server().find_map(|one| one.mistake());
        let mistake = mistake.or_else(|| bench.mistake_of_rates()).or_else(|| bench.mistake_of_turns());
        match mistake.or_else(|| bench.mistake_of_part()) {
            None => bench.divided(),
            Some(mistake) => Err(mistake),
        }
        .map_err(|mistake| clap::Error::raw(ErrorKind::ValueValidation, mistake))
    }

    /// What does not go together, and what to do about it.
    fn mistake(&self) -> Option<String> {
        let is_datagram = self.endpoint.is_datagram();
        let is_ip = matches!(self.endpoint, Endpoint::Tcp(_) | Endpoint::Udp(_));
        let terminator = usize::from(self.framing == Framing::Line && !is_datagram);
        let (least, longest) = match &self.probe {
            Probe::Pong(size) => ("ping".len() + terminator, *size),
            Probe::Echo(size) => (1, *size),
            Probe::Fixed { send, expect } if send.is_empty() || expect.is_empty() => {
                return Some("--send and --expect cannot be empty".to_owned());
            }
            Probe::Fixed { send, .. } => (1, send.len()),
        };
        if longest < least {
            return Some(format!("--size {longest} has no room for 'ping': {least} is the least (or try --echo)"));
        }
        if let too_long @ Some(_) = arguments::too_long(&self.endpoint, longest) {
            return too_long;
        }
        if is_datagram && self.churn {
            return Some("--churn is for connections, and datagrams have none: leave it out".to_owned());
        }
        if !is_ip && self.sources.is_some() {
            return Some("--source is for tcp and udp: a Unix socket has no address of that kind".to_owned());
        }
        if self.heartbeat.is_some() && self.idle == 0 {
            return Some("--heartbeat is for idle connections: say how many with --idle".to_owned());
        }
        if self.connections.checked_add(self.idle).is_none() {
            return Some("--connections and --idle together are too many".to_owned());
        }
        None
    }

    /// The same of rates, and of what is required of them.
    fn mistake_of_rates(&self) -> Option<String> {
        if self.chosen_seed.is_some() && self.arrivals == Arrivals::Even {
            return Some("--seed is for --arrivals poisson: even arrivals have nothing random".to_owned());
        }
        if matches!(self.arrivals, Arrivals::Poisson { .. })
            && self.peak_rate().or(self.find.as_ref().map(|find| find.to)) > Some(MOST_AT_RANDOM)
        {
            return Some("--arrivals poisson is for up to 10m a second".to_owned());
        }
        if matches!(self.extent, Extent::Requests(_)) && self.rates.iter().any(|rate| rate.is_ramp()) {
            return Some("a --rate that rises takes a --duration, not --requests".to_owned());
        }
        self.mistake_of_figures()
    }
}

impl MergeOptions {
    pub(super) fn of(options: &ArgMatches) -> Self {
        let files = options.get_many::<PathBuf>("files").into_iter().flatten().cloned().collect();
        Self {
            files,
            json: options.get_one("json").cloned(),
            html: options.get_one("html").cloned(),
            allowed: Allowed { force: options.get_flag("force"), partial: options.get_flag("partial") },
            requirements: wanted::requirements(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CommandLine, mistake, parse};
    use super::*;

    fn words(arguments: &str) -> impl Iterator<Item = std::ffi::OsString> {
        ["pingpong", "bench"].into_iter().chain(arguments.split_whitespace()).map(Into::into)
    }

    #[track_caller]
    fn bench(arguments: &str) -> BenchOptions {
        match parse(words(arguments)).unwrap().command {
            CommandLine::Bench(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let options = bench("localhost");
        assert_eq!(options.endpoint.to_string(), "tcp://localhost:8888");
        assert_eq!((options.connections, options.idle, options.pipeline), (50, 0, 1));
        assert_eq!(options.extent, Extent::Duration(Duration::from_secs(10)));
        assert_eq!((options.warmup, options.timeout), (Duration::from_secs(1), Duration::from_secs(5)));
        assert_eq!((options.probe, options.framing), (Probe::Pong(64), Framing::Line));
        assert!(options.rates.is_empty() && options.json.is_none() && options.progress && !options.churn);
    }

    #[test]
    fn numbers_have_suffixes_and_json_may_name_a_file() {
        let options =
            bench("localhost -c 19k -n 1m -r 2.5k --idle 10k --warmup 0s --json=a.json --source 127.0.0.1/30");
        assert_eq!((options.connections, options.idle), (19_000, 10_000));
        assert_eq!((options.extent, options.rates), (Extent::Requests(1_000_000), vec![Rate::even(2_500.0)]));
        assert_eq!((options.warmup, options.json), (Duration::ZERO, Some(Output::File("a.json".into()))));
        assert_eq!(options.sources.unwrap().to_string(), "127.0.0.1-127.0.0.2");
        assert_eq!(bench("localhost --json -q").json, Some(Output::Stdout));
    }

    #[test]
    fn only_several_datagrams_at_once_leave_in_runs() {
        assert_eq!(bench("udp://localhost -p 2").sends_in_runs(), Some(true));
        assert_eq!(bench("udp://localhost -p 2 --no-segment").sends_in_runs(), Some(false));
        for never in ["udp://localhost", "tcp://localhost -p 2", "unixgram:///x -p 2", "udp://localhost -r 5"] {
            assert_eq!(bench(never).sends_in_runs(), None, "{never}");
        }
    }

    #[test]
    fn merge_is_a_command_of_its_own() {
        let CommandLine::Merge(options) = parse(words("merge a.json b.json --json=c.json")).unwrap().command else {
            panic!("no merge");
        };
        assert_eq!((options.files.len(), options.json), (2, Some(Output::File("c.json".into()))));
        assert!(options.html.is_none());
        assert!(!options.allowed.force && !options.allowed.partial);
    }

    #[test]
    fn a_file_for_json_stands_behind_an_equals_sign() {
        for arguments in [
            "localhost --json x.json",
            "localhost -c 5 --json x.json -q",
            "-d 1s localhost --json x.json",
            "merge a.json b.json --json x.json",
            "merge --force a.json --json x.json",
        ] {
            let error = parse(words(arguments)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}");
            let line = mistake(&error).unwrap();
            assert_eq!(line, "--json takes its file after '=': write --json=x.json (see --help)", "{arguments}");
        }
        for fine in ["--json localhost", "localhost --json -c 5", "-c 5 --json localhost -q", "localhost --json"] {
            assert_eq!(bench(fine).json, Some(Output::Stdout), "{fine}");
        }
        assert!(parse(words("merge --json a.json b.json")).is_ok());
        let mistaken = mistake(&parse(words("localhost elsewhere --json")).unwrap_err()).unwrap();
        assert!(!mistaken.contains("--json="), "{mistaken}");
    }

    #[test]
    fn what_does_not_go_together_is_a_usage_error_that_says_what_does() {
        for (arguments, word) in [
            ("localhost -s 4", "5 is the least"),
            ("localhost -s 3 --framing raw", "4 is the least"),
            ("udp://localhost --churn", "--churn is for connections"),
            ("udp://localhost -s 64KiB", "65507"),
            ("unix:///x --source 127.0.0.1", "--source is for tcp"),
            ("localhost --heartbeat 1s", "--idle"),
            ("localhost --html -", "result.html"),
            ("localhost --send x", "--expect"),
            ("localhost -d 1s -n 5", "--requests"),
            ("localhost -r 5 -p 2", "--pipeline"),
            ("localhost -r 0", "50k"),
            ("localhost --source here", "127.0.0.2-127.0.0.9"),
            ("", "ENDPOINT"),
        ] {
            let error = parse(words(arguments)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}");
            let line = mistake(&error).unwrap();
            assert!(line.contains(word) && !line.contains('\n'), "{arguments}: {line}");
        }
    }
}
