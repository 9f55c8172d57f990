//! `--explain`, for each command whose calls can be told of.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgMatches};

use super::arguments::option;
use crate::watch::Depth;

pub(super) fn argument() -> Arg {
    let depths = PossibleValuesParser::new(["all", "calls"]).map(|name| match name.as_str() {
        "calls" => Depth::Calls,
        _ => Depth::All,
    });
    option("explain", "WHAT", "Tell each system call, why, and the kernel's state; 'calls': the calls alone")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("all")
        .hide_possible_values(true)
        .value_parser(depths)
}

pub(super) fn depth(options: &ArgMatches) -> Option<Depth> {
    options.get_one("explain").copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CommandLine, mistake, parse};

    #[test]
    fn the_value_is_optional_and_known() {
        let parsed = |option: &str| {
            let words = ["pingpong", "ping", "localhost"].into_iter().chain(option.split_whitespace());
            parse(words.map(Into::into)).map(|invocation| match invocation.command {
                CommandLine::Ping(options) => options.explain,
                command => panic!("{command:?}"),
            })
        };
        for (option, depth) in [
            ("", None),
            ("--explain", Some(Depth::All)),
            ("--explain=all", Some(Depth::All)),
            ("--explain=calls", Some(Depth::Calls)),
            ("--explain -c 1", Some(Depth::All)),
        ] {
            assert_eq!(parsed(option).unwrap(), depth, "{option}");
        }
        for option in ["--explain=", "--explain=everything", "--explain=calls --explain"] {
            let error = parsed(option).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{option}");
            assert!(mistake(&error).is_some_and(|line| line.contains("--explain")), "{option}");
        }
    }
}
