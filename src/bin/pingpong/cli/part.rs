//! `--part` of `bench`, and what goes together with it.

use std::ffi::OsString;

use clap::Arg;

use super::arguments::option;
use crate::bench::{BenchOptions, Part};

/// An engine that starts parts, and the variables by which it tells each which one it is.
struct Engine {
    /// Counted from 0.
    index: &'static str,
    count: &'static str,
    /// What is to be known where the second one is missing.
    hint: &'static str,
    /// The index of an engine in whose allocation it starts processes: they inherit that one's variables, which number
    /// something else.
    within: Option<&'static str>,
}

/// Kubernetes' Indexed Job, Slurm's srun(1), Open MPI's mpirun(1).
const ENGINES: [Engine; 3] = [
    Engine {
        index: "JOB_COMPLETION_INDEX",
        count: "JOB_COMPLETIONS",
        hint: " (Kubernetes does not set that one: give it in the container's env, the same as the Job's completions)",
        within: None,
    },
    Engine { index: "SLURM_PROCID", count: "SLURM_NTASKS", hint: " (start it with srun)", within: None },
    Engine {
        index: "OMPI_COMM_WORLD_RANK",
        count: "OMPI_COMM_WORLD_SIZE",
        hint: " (start it with mpirun)",
        within: Some("SLURM_PROCID"),
    },
];

pub(super) fn argument() -> Arg {
    option(
        "part",
        "I/N",
        "Be part I of N, counted from 1, of a load that N processes share; auto: as Kubernetes, Slurm or Open MPI say",
    )
    .value_parser(|text: &str| part_of(text, |name| std::env::var_os(name)))
}

/// `2/4`, or `auto`, where this process has such variables.
fn part_of(text: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<Part, String> {
    if text == "auto" {
        return automatic(variable);
    }
    let numbers = text.split_once('/').and_then(|(number, of)| Some((whole(number)?, whole(of)?)));
    let (number, of) = numbers.ok_or("write it like 2/4, or auto")?;
    if of > Part::MOST {
        return Err(format!("{} parts are the most", Part::MOST));
    }
    Part::new(number, of).ok_or_else(|| format!("parts are counted from 1/{of} to {of}/{of}"))
}

/// A number of digits alone, without a sign.
fn whole(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The part that the engine says this process is.
fn automatic(variable: impl Fn(&str) -> Option<OsString>) -> Result<Part, String> {
    let mut told: Option<(&Engine, Part)> = None;
    let mut half = None;
    let is_told = |engine: &&Engine| [engine.index, engine.count].iter().all(|name| variable(name).is_some());
    let inherited: Vec<&str> = ENGINES.iter().filter(is_told).filter_map(|engine| engine.within).collect();
    for engine in ENGINES.iter().filter(|engine| !inherited.contains(&engine.index)) {
        let Engine { index, count, hint, .. } = engine;
        let (own, all) = match (variable(index), variable(count)) {
            (Some(own), Some(all)) => (own, all),
            (None, None) => continue,
            (own, _) => {
                let (set, missing) = if own.is_some() { (index, count) } else { (count, index) };
                half.get_or_insert_with(|| format!("{set} is set, but {missing} is not{hint}"));
                continue;
            }
        };
        let numbers = own.to_str().and_then(whole).zip(all.to_str().and_then(whole));
        let part = numbers.and_then(|(own, all)| Part::new(own.checked_add(1)?, all));
        let Some(part) = part else {
            return Err(format!("{index}={} and {count}={} are no part of a load", own.display(), all.display()));
        };
        match told {
            Some((first, other)) if other != part => {
                return Err(format!(
                    "{} says {other} and {index} says {part}: write the one that is right in place of auto",
                    first.index
                ));
            }
            Some(_) => {}
            None => told = Some((engine, part)),
        }
    }
    let nothing = || {
        let names = ENGINES.map(|Engine { index, count, .. }| format!("{index} and {count}"));
        format!("it needs {}", names.join(", or "))
    };
    told.map(|(_, part)| part).ok_or_else(|| half.unwrap_or_else(nothing))
}

impl BenchOptions {
    /// What does not go together with being a part, and what to do about it.
    pub(super) fn mistake_of_part(&self) -> Option<String> {
        self.part?;
        let option = match self {
            Self { find: Some(_), .. } => "--find",
            Self { until: Some(_), .. } => "--until",
            _ if !self.against.is_empty() => "--against",
            _ => return None,
        };
        Some(format!(
            "--part does not go with {option}: each part would decide alone (let the parts ask at one --rate)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(variables: &[(&str, &str)]) -> Result<String, String> {
        let found = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
        part_of("auto", found).map(|part| part.to_string())
    }

    #[test]
    fn parts_are_written_like_2_of_4() {
        for text in ["1/1", "2/4", "4/4", "1000000/1000000"] {
            assert_eq!(part_of(text, |_| None).unwrap().to_string(), text);
        }
        for (wrong, word) in [
            ("", "2/4"),
            ("2", "2/4"),
            ("/", "2/4"),
            ("2/", "2/4"),
            ("+2/4", "2/4"),
            ("2/4/4", "2/4"),
            ("2 / 4", "2/4"),
            ("AUTO", "auto"),
            ("4294967296/4294967296", "2/4"),
            ("0/4", "from 1/4 to 4/4"),
            ("5/4", "from 1/4 to 4/4"),
            ("1/1000001", "1000000 parts"),
        ] {
            assert!(part_of(wrong, |_| None).unwrap_err().contains(word), "{wrong}");
        }
        assert!(part_of("1/0", |_| None).is_err());
    }

    #[test]
    fn each_engine_says_which_part_it_is() {
        let kubernetes = [("JOB_COMPLETION_INDEX", "2"), ("JOB_COMPLETIONS", "4")];
        let slurm = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")];
        let mpi = [("OMPI_COMM_WORLD_RANK", "7"), ("OMPI_COMM_WORLD_SIZE", "8")];
        assert_eq!(auto(&kubernetes).as_deref(), Ok("3/4"));
        assert_eq!(auto(&slurm).as_deref(), Ok("1/8"));
        assert_eq!(auto(&mpi).as_deref(), Ok("8/8"));
        let differ = auto(&[kubernetes, mpi].concat()).unwrap_err();
        assert!(differ.contains("JOB_COMPLETION_INDEX says 3/4 and OMPI_COMM_WORLD_RANK says 8/8"), "{differ}");
        let agree = [("OMPI_COMM_WORLD_RANK", "2"), ("OMPI_COMM_WORLD_SIZE", "4")];
        assert_eq!(auto(&[kubernetes, agree].concat()).as_deref(), Ok("3/4"));
    }

    /// A job script of Slurm's, and all that it starts by mpirun(1), has the variables of the task that it is itself.
    #[test]
    fn what_mpirun_starts_within_an_allocation_of_slurm_is_numbered_by_mpirun() {
        let mpi = [("OMPI_COMM_WORLD_RANK", "7"), ("OMPI_COMM_WORLD_SIZE", "8")];
        for slurm in [("SLURM_PROCID", "0"), ("SLURM_PROCID", "9"), ("SLURM_LOCALID", "0")] {
            assert_eq!(auto(&[&[slurm, ("SLURM_NTASKS", "8")], &mpi[..]].concat()).as_deref(), Ok("8/8"), "{slurm:?}");
        }
        let half = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2"), mpi[0]];
        assert_eq!(auto(&half).as_deref(), Ok("2/2"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let nothing = auto(&[]).unwrap_err();
        for engine in &ENGINES {
            assert!(nothing.contains(engine.index) && nothing.contains(engine.count), "{nothing}");
        }
        let half = auto(&[("JOB_COMPLETION_INDEX", "0")]).unwrap_err();
        assert!(half.contains("JOB_COMPLETIONS is not") && half.contains("Kubernetes does not set"), "{half}");
        assert!(auto(&[("SLURM_NTASKS", "2")]).unwrap_err().contains("SLURM_PROCID is not"));
        assert!(auto(&[("OMPI_COMM_WORLD_RANK", "2")]).unwrap_err().contains("OMPI_COMM_WORLD_SIZE is not"));
    }

    #[test]
    fn nonsense_is_shown() {
        for (index, count) in [("", "4"), ("-1", "4"), ("4", "4"), ("x", "4"), ("0", "0"), ("4294967295", "4")] {
            let told = auto(&[("SLURM_PROCID", index), ("SLURM_NTASKS", count)]).unwrap_err();
            assert_eq!(told, format!("SLURM_PROCID={index} and SLURM_NTASKS={count} are no part of a load"));
        }
    }
}
