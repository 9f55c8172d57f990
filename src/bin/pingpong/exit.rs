//! Exit codes: all that a shell is told of how a command ended. They are promised in the README.

use std::io;
use std::process::ExitCode;

use pingpong::{Ending, is_exhaustion};

use crate::error::Error;
use crate::ping::Tally;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0
    Fine,
    /// 1: it ran, but nothing was answered, or the conversation broke off.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 3: it could not bind, resolve or connect.
    Unreachable,
    /// 4: an answer or a connection took too long.
    TimedOut,
    /// 5: an answer's bytes were wrong.
    WrongAnswer,
    /// 6: too little of a local resource: descriptors, ports, memory.
    LocalLimit,
    /// 7: what was required of a load did not come about.
    #[cfg(feature = "bench")]
    Unmet,
    /// 128 and its number, as a shell shows a command that a signal has ended: the second one stopped us at once.
    Signal(i32),
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::TimedOut => 4,
            Self::WrongAnswer => 5,
            Self::LocalLimit => 6,
            #[cfg(feature = "bench")]
            Self::Unmet => 7,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Of a command line that clap did not accept, or that only asked for help.
impl From<&clap::Error> for Exit {
    fn from(usage: &clap::Error) -> Self {
        if usage.use_stderr() { Self::Usage } else { Self::Fine }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        use pingpong::Error::{Endpoint, Listen, Loop, Occupied, Resolve};
        match error {
            Error::Library(Resolve { source, .. } | Listen { source, .. } | Loop { source, .. })
                if is_exhaustion(source) =>
            {
                Self::LocalLimit
            }
            Error::Library(Endpoint(_)) => Self::Usage,
            Error::Library(Resolve { .. } | Listen { .. } | Occupied { .. }) => Self::Unreachable,
            Error::Library(_) => Self::Failed,
            Error::Connect { source, .. } => match source.kind() {
                _ if is_exhaustion(source) => Self::LocalLimit,
                // No local port is left.
                io::ErrorKind::AddrNotAvailable => Self::LocalLimit,
                io::ErrorKind::TimedOut => Self::TimedOut,
                _ => Self::Unreachable,
            },
            Error::NoAnswer { .. } => Self::TimedOut,
            Error::Send { .. } | Error::LongAnswer { .. } | Error::BrokenOff { .. } | Error::CutShort { .. } => {
                Self::Failed
            }
            #[cfg(feature = "watch")]
            Error::Lesson { trouble, .. } if trouble.is_exhaustion() => Self::LocalLimit,
            #[cfg(feature = "watch")]
            Error::Lesson { trouble, .. } if trouble.lacks_loopback() => Self::Unreachable,
            #[cfg(feature = "watch")]
            Error::Lesson { .. } => Self::Failed,
            #[cfg(feature = "bench")]
            Error::Shortage { .. } => Self::LocalLimit,
            #[cfg(feature = "bench")]
            Error::Unreached { .. } | Error::Late { .. } => Self::TimedOut,
            #[cfg(feature = "bench")]
            Error::Source { .. } => Self::Unreachable,
            #[cfg(feature = "bench")]
            Error::NotOneLoad { .. }
            | Error::OtherSteps { .. }
            | Error::FewerSteps { .. }
            | Error::MissingParts { .. }
            | Error::NotComparable { .. }
            | Error::NotOneRun { .. }
            | Error::SameFile { .. } => Self::Usage,
            #[cfg(feature = "bench")]
            Error::File { .. } => Self::Failed,
            #[cfg(feature = "bench")]
            Error::EmptyFiles { .. } => Self::Usage,
        }
    }
}

/// Of `pingpong serve`.
impl From<Ending> for Exit {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Drained => Self::Fine,
            Ending::Signal(number) => Self::Signal(number),
        }
    }
}

/// Of `pingpong ping`.
impl From<&Tally> for Exit {
    fn from(tally: &Tally) -> Self {
        let is_answered = tally.received + tally.late > 0;
        if tally.wrong > 0 {
            Self::WrongAnswer
        } else if !is_answered && tally.is_turned_away() {
            Self::Unreachable
        } else if !is_answered || tally.is_cut_short || tally.undelivered() > 0 {
            Self::Failed
        } else {
            Self::Fine
        }
    }
}

/// Of `pingpong bench`, and of `bench merge`: that of the worst step.
#[cfg(feature = "bench")]
impl From<&crate::bench::Results> for Exit {
    fn from(results: &crate::bench::Results) -> Self {
        let broken_off = if results.is_broken_off() { Self::Failed } else { Self::Fine };
        Self::of_worst(results.reports().iter(), results.meets_requirements(), broken_off)
    }
}

/// Of `bench compare`.
#[cfg(feature = "bench")]
impl From<&crate::bench::Change> for Exit {
    fn from(change: &crate::bench::Change) -> Self {
        if change.is_worse() { Self::Unmet } else { Self::Fine }
    }
}

/// Of several servers by turns: that of the worst.
#[cfg(feature = "bench")]
impl From<&crate::bench::Versus> for Exit {
    fn from(versus: &crate::bench::Versus) -> Self {
        Self::of_worst(versus.reports(), versus.meets_requirements(), Self::Fine)
    }
}

#[cfg(feature = "bench")]
impl Exit {
    /// Of the worst of these. Where something else answers, or nobody does, no requirement is of interest. Otherwise a
    /// requirement says more than the general idea of a failure.
    fn of_worst<'a>(
        reports: impl Iterator<Item = &'a crate::bench::Report>,
        meets_requirements: bool,
        otherwise: Self,
    ) -> Self {
        let unmet = if meets_requirements { Self::Fine } else { Self::Unmet };
        let order = [Self::WrongAnswer, Self::Unreachable, Self::Unmet, Self::Failed];
        let place = |exit: &Self| order.iter().position(|other| other == exit).unwrap_or(order.len());
        reports.map(Self::from).chain([unmet, otherwise]).min_by_key(place).unwrap_or(Self::Failed)
    }
}

/// Of one step, whatever is required of it.
#[cfg(feature = "bench")]
impl From<&crate::bench::Report> for Exit {
    fn from(report: &crate::bench::Report) -> Self {
        use crate::bench::Fact;
        let count = |fact| report.counts[fact];
        if count(Fact::Wrong) + count(Fact::HeartbeatsWrong) + count(Fact::ProbesWrong) > 0 {
            Self::WrongAnswer
        } else if count(Fact::Requests) + count(Fact::Late) > 0 {
            if report.has_failed() { Self::Failed } else { Self::Fine }
        } else if count(Fact::Refused) > 0 && !report.tells_of_an_end() {
            Self::Unreachable
        } else {
            Self::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_code(error: impl Into<Error>, code: u8) {
        let error = error.into();
        assert_eq!(Exit::from(&error).code(), code, "{error}");
    }

    #[test]
    fn errors_exit_as_the_readme_promises() {
        use nix::libc::{EADDRINUSE, EADDRNOTAVAIL, ECONNREFUSED, EMFILE, ENOMEM, ENOSPC, ETIMEDOUT};
        let endpoint: pingpong::Endpoint = "tcp://localhost:1".parse().unwrap();
        let connect =
            |number| Error::Connect { endpoint: endpoint.clone(), source: io::Error::from_raw_os_error(number) };
        let listen = |number| pingpong::Error::Listen {
            endpoint: endpoint.clone(),
            source: io::Error::from_raw_os_error(number),
        };
        assert_code(pingpong::Error::from("nowhere".parse::<pingpong::Endpoint>().unwrap_err()), 2);
        assert_code(listen(EADDRINUSE), 3);
        assert_code(connect(ECONNREFUSED), 3);
        assert_code(connect(ETIMEDOUT), 4);
        for limit in [connect(EADDRNOTAVAIL), connect(ENOMEM), listen(EMFILE).into(), listen(ENOSPC).into()] {
            assert_code(limit, 6);
        }
    }

    #[test]
    fn a_second_signal_exits_as_a_shell_shows_it() {
        assert_eq!(Exit::from(Ending::Signal(2)).code(), 130);
        assert_eq!(Exit::from(Ending::Signal(15)).code(), 143);
    }

    #[test]
    fn a_wrong_answer_outweighs_all_others() {
        let tally = |received, wrong, undelivered: &str| {
            let mut tally = Tally::default();
            (tally.received, tally.wrong) = (received, wrong);
            if !undelivered.is_empty() {
                tally.add_failure(undelivered.to_owned());
            }
            tally
        };
        assert_eq!(Exit::from(&tally(9, 1, "refused")), Exit::WrongAnswer);
        assert_eq!(Exit::from(&tally(1, 0, "")), Exit::Fine);
        assert_eq!(Exit::from(&tally(0, 0, "")), Exit::Failed);
        assert_eq!(Exit::from(&tally(0, 0, "refused")), Exit::Unreachable);
        assert_eq!(Exit::from(&tally(0, 0, "too long")), Exit::Failed);
        assert_eq!(Exit::from(&tally(1, 0, "refused")), Exit::Failed, "the server has died");
        let mut cut_short = tally(3, 0, "");
        cut_short.is_cut_short = true;
        assert_eq!(Exit::from(&cut_short), Exit::Failed);
    }
}
