//! `pingpong bench compare`: its flags and its help.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::arguments::{flag, option, required};
use super::bench::{html, json};
use crate::bench::CompareOptions;

pub(super) fn command() -> Command {
    Command::new("compare")
        .about("Compares results of runs: did it get worse?")
        .arg(
            Arg::new("old")
                .value_name("OLD")
                .required(true)
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("Results written with --json, of one run or of several"),
        )
        .arg(
            option("to", "NEW", "Results to compare with them, of one run or of several")
                .required(true)
                .num_args(1..)
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            option("tolerance", "SHARE", "Exit with 7 where a figure is worse by more than this: 5%, 0.05")
                .default_value("5%")
                .value_parser(share_of),
        )
        .arg(flag("force", "Compare also what was not the same load"))
        .arg(json())
        .arg(html())
        .arg(flag("quiet", "Only the verdict").short('q'))
        .after_help(
            "Of one run a side, intervals tell what differs within a run; of several, also from run to run.\n\
             Exits with 7 when a figure or the share of errors is worse by more than --tolerance, or a new run has failed;\n\
             with 2 when the runs cannot be compared, with 1 when a file cannot be read or written; else with 0.",
        )
}

/// A share below 1, also in per cent.
fn share_of(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    share.ok().filter(|share| (0.0..1.0).contains(share)).ok_or_else(|| "a share below 1 is 5% or 0.05".to_owned())
}

impl CompareOptions {
    pub(super) fn of(options: &ArgMatches) -> Self {
        let files = |name: &str| options.get_many::<PathBuf>(name).into_iter().flatten().cloned().collect();
        Self {
            old: files("old"),
            new: files("to"),
            tolerance: required(options, "tolerance"),
            force: options.get_flag("force"),
            json: options.get_one("json").cloned(),
            html: options.get_one("html").cloned(),
            quiet: options.get_flag("quiet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CommandLine, mistake, parse};

    fn words(arguments: &str) -> impl Iterator<Item = std::ffi::OsString> {
        ["pingpong", "bench", "compare"].into_iter().chain(arguments.split_whitespace()).map(Into::into)
    }

    #[test]
    fn old_and_new_stand_on_either_side_of_to() {
        let CommandLine::Compare(options) =
            parse(words("a.json b.json --to c.json d.json --tolerance 10% --json=e.json -q")).unwrap().command
        else {
            panic!("no comparison");
        };
        assert_eq!(
            (options.old, options.new),
            (vec!["a.json".into(), "b.json".into()], vec!["c.json".into(), "d.json".into()])
        );
        assert!(options.tolerance == 0.1 && options.quiet && !options.force);
        let CommandLine::Compare(options) = parse(words("--to c.json --force -- a.json")).unwrap().command else {
            panic!("no comparison");
        };
        assert!(options.tolerance == 0.05 && options.force && options.new.len() == 1);
    }

    #[test]
    fn mistakes_say_what_does() {
        for (arguments, word) in [
            ("a.json", "--to"),
            ("--to a.json", "OLD"),
            ("a.json --to b.json --tolerance 100%", "5%"),
            ("a.json --to b.json --tolerance much", "5%"),
            ("a.json --to b.json --json x.json", "--json=x.json"),
        ] {
            let error = parse(words(arguments)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}");
            let line = mistake(&error).unwrap();
            assert!(line.contains(word) && !line.contains('\n'), "{arguments}: {line}");
        }
    }
}
