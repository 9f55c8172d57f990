//! What the load generator itself uses while it measures: processor time, and what it does with its own time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use pingpong::Moment;

use super::counts::Fact;
use super::ledger::Ledger;

/// What a load generator used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Processor time, in seconds.
    pub(crate) cpu_seconds: f64,
    pub(crate) shares: Shares,
}

impl Cost {
    /// Of two loads that ran at the same time: the shares are those of the one that had less time left.
    pub(crate) fn plus(self, other: Self) -> Self {
        let shares = if other.shares.waiting() < self.shares.waiting() { other.shares } else { self.shares };
        Self { cpu_seconds: self.cpu_seconds + other.cpu_seconds, shares }
    }
}

/// What a load generator did with its time: shares that add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    /// Sending, receiving and checking.
    pub(crate) working: f64,
    /// Ready to run, but its CPU did other things. `None` where the kernel does not say; it is then a part of the waiting.
    pub(crate) taken_away: Option<f64>,
}

impl Shares {
    /// Waiting for what is to come, asleep or polling.
    pub(crate) fn waiting(&self) -> f64 {
        (1.0 - self.working - self.taken_away.unwrap_or_default()).max(0.0)
    }

    /// Of the time between two samples.
    ///
    /// The loop's own clock tells how long it worked and how long it polled without waiting, and in both it may have lost
    /// its processor. Nobody tells how the processor time that it did get was spent on the two; it is taken to be in
    /// proportion.
    fn between(first: &Sample, last: &Sample) -> Self {
        let seconds = |of: fn(&Sample) -> Duration| of(last).saturating_sub(of(first)).as_secs_f64();
        let passed = last.at.since(first.at).as_secs_f64();
        let spun = seconds(|sample| sample.polling.spun);
        let worked = (passed - seconds(|sample| sample.polling.all)).max(0.0);
        let of_work = if worked > 0.0 { worked / (worked + spun) } else { 0.0 };
        let working = (seconds(|sample| sample.cpu) * of_work / passed).clamp(0.0, 1.0);
        let delayed = first.delayed.zip(last.delayed).map(|(first, last)| last.saturating_sub(first).as_secs_f64());
        Self { working, taken_away: delayed.map(|delayed| (delayed / passed).clamp(0.0, 1.0 - working)) }
    }
}

/// Time that a loop has spent on looking for events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polling {
    /// In polls, and in turns that had nothing to do.
    pub(crate) all: Duration,
    /// The part of it in which it kept the processor.
    pub(crate) spun: Duration,
}

/// Reads the clocks while a load measures.
#[derive(Debug)]
pub(crate) struct CostMeter {
    due: Moment,
    first: Option<Sample>,
    last: Option<Sample>,
    /// This thread's entry in /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst).
    schedstat: Option<File>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Moment,
    cpu: Duration,
    /// Time in which this thread could have run and did not.
    delayed: Option<Duration>,
    polling: Polling,
    sent: u64,
}

impl CostMeter {
    /// How often the meter is to be read.
    pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

    /// Of this thread.
    pub(crate) fn new() -> Self {
        let schedstat = File::open("/proc/thread-self/schedstat").ok();
        Self { due: Moment::default(), first: None, last: None, schedstat }
    }

    /// When the meter is to be read next.
    pub(crate) fn due(&self) -> Moment {
        self.due
    }

    /// Takes a sample, if requests are measured now. The loop has spent this time on polling so far.
    pub(crate) fn read(&mut self, ledger: &Ledger, polling: Polling, now: Moment) {
        self.due = now + Self::INTERVAL;
        if !ledger.is_asking() {
            return;
        }
        let from = ledger.from();
        if now < from {
            self.due = self.due.min(from);
            return;
        }
        let sample =
            Sample { at: now, cpu: cpu_time(), delayed: self.delayed(), polling, sent: ledger.counts[Fact::Sent] };
        self.first.get_or_insert(sample);
        self.last = Some(sample);
    }

    /// What `sent` requests cost, estimated from those sent between the first sample and the last. `None` where the run
    /// was too short to tell.
    pub(crate) fn cost(&self, sent: u64) -> Option<Cost> {
        let (first, last) = self.first.as_ref().zip(self.last.as_ref())?;
        let sampled = last.sent - first.sent;
        let cpu = last.cpu.saturating_sub(first.cpu).as_secs_f64();
        (sampled > 0 && last.at > first.at)
            .then(|| Cost { cpu_seconds: cpu / sampled as f64 * sent as f64, shares: Shares::between(first, last) })
    }

    fn delayed(&self) -> Option<Duration> {
        let mut text = [0; 128];
        let length = self.schedstat.as_ref()?.read_at(&mut text, 0).ok()?;
        delay_in(std::str::from_utf8(&text[..length]).ok()?)
    }
}

/// The second number: nanoseconds spent waiting for a processor. The first is the time on one, and 0 where the kernel
/// keeps no account.
fn delay_in(schedstat: &str) -> Option<Duration> {
    let mut numbers = schedstat.split_whitespace().map(|number| number.parse::<u64>().ok());
    let (run, delayed) = (numbers.next()??, numbers.next()??);
    (run > 0).then_some(Duration::from_nanos(delayed))
}

/// User and system time of this thread (getrusage(2)).
fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Duration::ZERO };
    let duration = |time: TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    duration(usage.user_time()) + duration(usage.system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shares of ten seconds: of CPU time, of time polled, spun and delayed, in seconds.
    fn shares(cpu: u64, all: u64, spun: u64, delayed: Option<u64>) -> Shares {
        let seconds = Duration::from_secs;
        let sample = |at: Moment, cpu, all, spun, delayed: Option<Duration>| Sample {
            at,
            cpu,
            delayed,
            polling: Polling { all, spun },
            sent: 0,
        };
        let zero = Duration::ZERO;
        let first = sample(Moment::default(), zero, zero, zero, delayed.map(|_| zero));
        let last = sample(first.at + seconds(10), seconds(cpu), seconds(all), seconds(spun), delayed.map(seconds));
        Shares::between(&first, &last)
    }

    #[track_caller]
    fn are(shares: Shares, working: f64, waiting: f64, taken_away: Option<f64>) {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(shares.working, working) && near(shares.waiting(), waiting), "{shares:?}");
        assert!(shares.taken_away.zip(taken_away).is_none_or(|(a, b)| near(a, b)), "{shares:?}");
        assert_eq!(shares.taken_away.is_some(), taken_away.is_some());
        assert!(near(shares.working + shares.waiting() + shares.taken_away.unwrap_or_default(), 1.0), "{shares:?}");
    }

    #[test]
    fn sleeping_and_polling_are_waiting() {
        are(shares(4, 6, 0, Some(0)), 0.4, 0.6, Some(0.0));
        are(shares(10, 6, 6, Some(0)), 0.4, 0.6, Some(0.0));
        are(shares(7, 6, 3, Some(0)), 0.4, 0.6, Some(0.0));
    }

    #[test]
    fn time_in_which_the_cpu_did_other_things_is_no_work() {
        // It never waited: its clock says that it worked all the time.
        are(shares(4, 0, 0, Some(6)), 0.4, 0.0, Some(0.6));
        // It worked half of the time and polled the other half, and lost half of both.
        are(shares(5, 5, 5, Some(5)), 0.25, 0.25, Some(0.5));
        // It was ready after a sleep, and its CPU was not.
        are(shares(3, 7, 0, Some(2)), 0.3, 0.5, Some(0.2));
    }

    #[test]
    fn where_the_kernel_keeps_no_account_what_was_taken_away_is_not_known() {
        are(shares(4, 0, 0, None), 0.4, 0.6, None);
        assert_eq!(delay_in("0 0 0\n"), None);
        assert_eq!(delay_in(""), None);
        assert_eq!(delay_in("7 9 2\n"), Some(Duration::from_nanos(9)));
    }

    #[test]
    fn shares_add_up_also_where_clocks_disagree() {
        are(shares(9, 2, 0, Some(3)), 0.9, 0.0, Some(0.1));
        are(shares(0, 11, 11, Some(0)), 0.0, 1.0, Some(0.0));
    }

    #[test]
    fn of_two_loads_the_one_with_less_time_left_counts() {
        let cost = |cpu_seconds, working, taken_away| Cost { cpu_seconds, shares: Shares { working, taken_away } };
        let (light, robbed) = (cost(1.0, 0.5, Some(0.0)), cost(2.0, 0.2, Some(0.7)));
        assert_eq!(light.plus(robbed), cost(3.0, 0.2, Some(0.7)));
        assert_eq!(robbed.plus(light), cost(3.0, 0.2, Some(0.7)));
    }
}
